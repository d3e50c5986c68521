//! What a namespace's kernel counts by itself.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// The counters of a line of /proc/net/`file`, e.g. "Tcp" of "snmp", by name; those below zero are left out.
///
/// # Errors
/// When there is no such line.
pub fn kernel_counters(
    namespace: &Namespace,
    file: &str,
    line: &str,
) -> Result<BTreeMap<String, u64>> {
    let path = format!("/proc/thread-self/net/{file}");
    let text = namespace.enter(|| fs::read_to_string(path))??;
    let mut lines = text.lines().filter_map(|row| row.strip_prefix(line)?.strip_prefix(": "));
    let both = lines.next().zip(lines.next());
    let (names, values) = both.with_context(|| format!("no {line} in {file}"))?;
    let pairs = names.split(' ').zip(values.split(' '));
    // Tcp's MaxConn is -1.
    Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}
