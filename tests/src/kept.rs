//! The one lab with fixed names on this host: how `cargo xtask lab` finds it again, shows it and takes it down.
//!
//! Its processes are noted in files, so that one that was left behind (also by a `cargo xtask run` that was killed) can be
//! ended by pid and start time, never by name.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::identity::Identity;
use crate::namespace::{NAMED, delete, ip, path, require_root};
use crate::topology::Topology;

/// Where the lab with fixed names keeps its files.
const FOLDER: &str = "/run/privatelink-lab";

/// Where the daemon in it pins its maps and links.
pub(crate) const PINS: &str = "/sys/fs/bpf/privatelink-lab";

/// The lab's folder, whose existence means that the lab is up; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Folder {
    keep: bool,
}

impl Folder {
    /// Claims the folder for a new lab.
    pub(crate) fn create() -> Result<Self> {
        require_root()?;
        match fs::create_dir(FOLDER) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("lab is already up: cargo xtask lab down")
            }
            made => made.with_context(|| format!("cannot create {FOLDER}"))?,
        }
        let folder = Self { keep: false };
        if namespaces().iter().any(|name| path(name).exists()) {
            bail!("lab is already up: cargo xtask lab down");
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &'static Path {
        Path::new(FOLDER)
    }

    /// Leaves the folder behind when the value is dropped.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove(Path::new(FOLDER))
        {
            eprintln!("{error:#}");
        }
    }
}

/// The fixed names, in the order in which they go down.
fn namespaces() -> Vec<String> {
    let networks = Topology::dual_stack().networks;
    networks
        .iter()
        .rev()
        .map(|network| network.name.as_str())
        .chain(["gateway"])
        .map(|name| format!("pl-{name}"))
        .collect()
}

/// Takes down the lab with fixed names, whoever left it up. Returns whether there was one.
///
/// # Errors
/// When something of it cannot be removed; the rest is removed all the same.
pub fn down() -> Result<bool> {
    require_root()?;
    let mut steps: Vec<Result<()>> = Vec::new();
    for (_, identity) in processes() {
        steps.push(identity.end(Duration::from_secs(5)));
    }
    for name in namespaces().iter().filter(|name| path(name).exists()) {
        steps.push(delete(name));
    }
    for folder in [Path::new(PINS), Path::new(FOLDER)].into_iter().filter(|folder| folder.exists())
    {
        steps.push(remove(folder));
    }
    let found = !steps.is_empty();
    steps.into_iter().collect::<Result<()>>()?;
    Ok(found)
}

/// The noted processes with their names, the daemon before the targets.
fn processes() -> Vec<(String, Identity)> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
        .filter_map(|path| {
            Some((path.file_stem()?.to_string_lossy().into_owned(), Identity::read(&path)?))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// Removes a folder with all it holds; one that is not there is no error.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// What of the lab with fixed names is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its namespaces, each with its interfaces as `ip -brief address` shows them; none for one that does not exist.
    pub namespaces: Vec<(String, Option<String>)>,
    /// Its noted processes: name, pid, and whether it runs.
    pub processes: Vec<(String, i32, bool)>,
}

impl Status {
    /// Whether anything of it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.processes.is_empty()
            || self.namespaces.iter().any(|(_, interfaces)| interfaces.is_some())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, interfaces) in &self.namespaces {
            writeln!(f, "namespace {name}{}", if interfaces.is_some() { "" } else { ": missing" })?;
            for line in interfaces.iter().flat_map(|text| text.lines()) {
                writeln!(f, "    {}", line.trim_end())?;
            }
        }
        for (name, pid, runs) in &self.processes {
            writeln!(f, "process {name}: pid {pid}, {}", if *runs { "runs" } else { "has ended" })?;
        }
        Ok(())
    }
}

/// Looks what of the lab with fixed names is up.
///
/// # Errors
/// When `ip` fails, as it does without root.
pub fn status() -> Result<Status> {
    let mut found = Vec::new();
    for name in namespaces().into_iter().rev() {
        let interfaces = if path(&name).exists() {
            Some(ip(&["-n", &name, "-brief", "address"])?)
        } else {
            None
        };
        found.push((name, interfaces));
    }
    let processes =
        processes().into_iter().map(|(name, identity)| (name, identity.pid, identity.is_running()));
    Ok(Status { namespaces: found, processes: processes.collect() })
}

/// What labs have left on this host, tests' labs included: one line each, with the command that removes it.
#[must_use]
pub fn leftovers() -> Vec<String> {
    let list = |folder: &str, prefix: &str| -> Vec<PathBuf> {
        let entries =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        };
        entries.filter(ours).collect()
    };
    let namespaces = list(NAMED, "pl-");
    let names =
        namespaces.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
    let namespaces = names.map(|name| format!("namespace {name}: ip netns delete {name}"));
    let pins = list("/sys/fs/bpf", "privatelink");
    let pins = pins.iter().map(|path| format!("pins: rm -r {}", path.display()));
    namespaces.chain(pins).collect()
}
