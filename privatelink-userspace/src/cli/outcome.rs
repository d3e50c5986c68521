//! What a change came to or would come to, in words for people or as rows for programs.

use std::io::{self, Write};

use super::args::Format;
use super::output::{Column, Row, number, text, write_csv, write_table};
use crate::api::{Ordered, OrderedEndpoint, PlanRow, Reloaded, write_listing};

impl Row for OrderedEndpoint {
    const FIELDS: &'static [&'static str] = &["endpoint", "principal", "before", "state", "flows"];
    const COLUMNS: &'static [Column] =
        &[text("endpoint"), text("principal"), text("before"), text("state"), number("flows")];

    fn cells(&self) -> Vec<String> {
        vec![
            self.endpoint.clone(),
            self.principal.clone(),
            self.before.clone(),
            self.state.clone(),
            self.flows.to_string(),
        ]
    }
}

impl Row for PlanRow {
    const FIELDS: &'static [&'static str] =
        &["change", "kind", "id", "attribute", "before", "after", "flows_cut"];
    const COLUMNS: &'static [Column] = &[
        text("change"),
        text("kind"),
        text("id"),
        text("attribute"),
        text("before"),
        text("after"),
        number("flows_cut"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.change.name().into(),
            self.kind.clone(),
            self.id.clone(),
            self.attribute.clone(),
            self.before.clone(),
            self.after.clone(),
            self.flows_cut.to_string(),
        ]
    }
}

/// Writes what an order came to; as CSV, the endpoints alone.
pub(super) fn write_ordered(
    out: &mut impl Write,
    format: Format,
    ordered: &Ordered,
) -> io::Result<()> {
    match format {
        Format::Table => {
            let Ordered { service, allowed_principals, endpoints, flows_cut, dry_run } = ordered;
            writeln!(out, "service             {service}")?;
            writeln!(out, "allowed principals  {}", or_nobody(allowed_principals))?;
            let cut = if *dry_run { "would end; nothing has changed" } else { "ended" };
            writeln!(out, "flows               {flows_cut} {cut}")?;
            writeln!(out)?;
            write_table(out, endpoints)
        }
        Format::Json => write_listing(out, [ordered]),
        Format::Csv => write_csv(out, OrderedEndpoint::FIELDS, &ordered.endpoints),
    }
}

fn or_nobody(principals: &[String]) -> String {
    if principals.is_empty() { "nobody".into() } else { principals.join(", ") }
}

/// Writes what a reload came to.
pub(super) fn write_reloaded(
    out: &mut impl Write,
    format: Format,
    reloaded: &Reloaded,
) -> io::Result<()> {
    match format {
        Format::Table => {
            let Reloaded { config, flows_cut } = reloaded;
            writeln!(out, "{config} is in force, {flows_cut} flows ended")
        }
        Format::Json => write_listing(out, [reloaded]),
        Format::Csv => write_csv(out, &["config", "flows_cut"], std::slice::from_ref(reloaded)),
    }
}
