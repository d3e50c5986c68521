//! What a configuration file may say, and what is reported of one that may not.

mod accepted;
mod addresses;
mod attributes;
mod bounds;
mod consumer;
mod document;
mod events;
mod example;
mod files;
mod flow_limits;
mod health;
mod ipv6;
mod limits;
mod listen;
mod listeners;
mod logs;
mod missing;
mod mss_clamp;
mod mutations;
mod names;
mod protocols;
mod provider;
mod several;
mod tags;
mod timeouts;
mod usage;
mod vpcs;

use super::parse;
use crate::model::Model;

/// The example that every test starts from.
const OVERLAP: &str = include_str!("../../../examples/overlap.toml");

/// What is wrong, the edit of the example that makes it so, and the lines that are reported of it.
type Row = (&'static str, Edit<'static>, &'static [&'static str]);

/// What is found in the example, once at least, and what replaces it there the first time; where
/// nothing is to be found, what is appended.
type Edit<'a> = (&'a str, &'a str);

fn edited((find, replace): Edit<'_>) -> String {
    if find.is_empty() {
        return format!("{OVERLAP}{replace}");
    }
    assert!(OVERLAP.contains(find), "not in the example: {find}");
    OVERLAP.replacen(find, replace, 1)
}

/// The model of the edited example.
fn model(edit: Edit<'_>) -> Model {
    parse("overlap.toml", &edited(edit)).unwrap_or_else(|errors| panic!("{edit:?}\n{errors}"))
}

/// All that is reported of `text`; empty if it is accepted.
fn reported(text: &str) -> String {
    parse("overlap.toml", text).err().map(|errors| errors.to_string()).unwrap_or_default()
}

/// Checks every row, and shows all that differ.
fn check_rows(rows: &[Row]) {
    let mut wrong = String::new();
    for (name, edit, expected) in rows {
        let (expected, found) = (expected.join("\n"), reported(&edited(*edit)));
        if found != expected {
            wrong.push_str(&format!("\n{name}\nexpected:\n{expected}\nfound:\n{found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
