//! Resources and what became of them, in words for people or as rows for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::args::Format;
use super::output::{Column, Row, text, write_csv, write_table};
use crate::api::{Deleted, Registered, ResourceBody, write_listing};

/// A resource as a row: CSV has its settings as JSON.
#[derive(Serialize)]
struct ResourceRow<'r> {
    kind: &'r str,
    id: &'r str,
    origin: &'r str,
    state: &'r str,
    reason: &'r str,
    settings: String,
}

impl<'r> ResourceRow<'r> {
    fn of(resource: &'r ResourceBody) -> Self {
        let ResourceBody { kind, id, origin, state, reason, settings } = resource;
        let reason = reason.as_deref().unwrap_or_default();
        // Cannot fail: what was JSON before.
        let settings = serde_json::to_string(settings).unwrap_or_default();
        Self { kind, id, origin, state, reason, settings }
    }
}

impl Row for ResourceRow<'_> {
    const FIELDS: &'static [&'static str] =
        &["kind", "id", "origin", "state", "reason", "settings"];
    const COLUMNS: &'static [Column] = &[text("id"), text("origin"), text("state"), text("reason")];

    fn cells(&self) -> Vec<String> {
        [self.id, self.origin, self.state, self.reason].map(str::to_owned).to_vec()
    }
}

/// Writes resources, a row each.
pub(super) fn write_resources(
    out: &mut impl Write,
    format: Format,
    resources: &[ResourceBody],
) -> io::Result<()> {
    let rows: Vec<_> = resources.iter().map(ResourceRow::of).collect();
    match format {
        Format::Table => write_table(out, &rows),
        Format::Json => write_listing(out, resources),
        Format::Csv => write_csv(out, ResourceRow::FIELDS, &rows),
    }
}

/// Writes one resource: its state, and its settings as JSON.
pub(super) fn write_resource(
    out: &mut impl Write,
    format: Format,
    resource: &ResourceBody,
) -> io::Result<()> {
    if format != Format::Table {
        return write_resources(out, format, std::slice::from_ref(resource));
    }
    let ResourceBody { kind, id, origin, state, reason, settings } = resource;
    writeln!(out, "{kind} {id}, of the {origin}, {state}")?;
    if let Some(reason) = reason {
        writeln!(out, "{reason}")?;
    }
    serde_json::to_writer_pretty(&mut *out, settings)?;
    writeln!(out)
}

/// Writes what was deleted.
pub(super) fn write_deleted(
    out: &mut impl Write,
    format: Format,
    deleted: &Deleted,
) -> io::Result<()> {
    match format {
        Format::Table => {
            let Deleted { deleted, flows_cut, dry_run } = deleted;
            let (gone, ended) = if *dry_run {
                ("would be deleted", "would end; nothing has changed")
            } else {
                ("deleted", "ended")
            };
            deleted.iter().try_for_each(|what| writeln!(out, "{what} {gone}"))?;
            writeln!(out, "{flows_cut} flows {ended}")
        }
        Format::Json => write_listing(out, [deleted]),
        Format::Csv => write_csv(out, &["deleted"], &deleted.deleted),
    }
}

/// Writes what a target group has now.
pub(super) fn write_registered(
    out: &mut impl Write,
    format: Format,
    registered: &Registered,
) -> io::Result<()> {
    match format {
        Format::Table => {
            let Registered { target_group, targets } = registered;
            let targets = if targets.is_empty() { "none".into() } else { targets.join(", ") };
            writeln!(out, "targets of {target_group}: {targets}")
        }
        Format::Json => write_listing(out, [registered]),
        Format::Csv => write_csv(out, &["target"], &registered.targets),
    }
}
