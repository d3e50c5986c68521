//! The fields of a flow: what each is called, and what tables show of it.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::output::{Column, duration, number, text};
use crate::api::FlowRow;

/// A field of a flow, to choose as a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// What JSON and CSV call it.
    pub(super) name: &'static str,
    shown: Shown,
    /// Its column in a table.
    pub(super) column: Column,
    /// Its cell in a table; empty where there is nothing to say.
    pub(super) cell: fn(&FlowRow<'_>) -> String,
}

/// When tables show a field that was not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Always,
    /// Not beside rates, which take its place.
    WithoutRates,
    /// A rate: there is none unless rates are asked for.
    WithRates,
    /// It follows from others, and the row should stay within a wide terminal.
    Chosen,
}

use Shown::{Always, Chosen, WithRates, WithoutRates};

/// All fields, in the order of [`FlowRow`].
const FIELDS: &[Field] = &[
    field("protocol", Always, text("protocol"), |row| row.protocol.to_string()),
    field("state", Always, text("state"), |row| row.state.to_string()),
    field("vpc", Chosen, text("vpc"), |row| row.vpc.to_string()),
    field("endpoint", Always, text("endpoint"), |row| row.endpoint.to_string()),
    field("service", Chosen, text("service"), |row| row.service.to_string()),
    field("client", Always, text("client"), |row| row.client.to_string()),
    field("endpoint_address", Always, text("endpoint_address"), |row| {
        row.endpoint_address.to_string()
    }),
    field("nat", Always, text("nat"), |row| row.nat.to_string()),
    field("target", Always, text("target"), |row| row.target.to_string()),
    field("packets_to_target", WithoutRates, number("packets_\nto_target"), |row| {
        row.packets_to_target.to_string()
    }),
    field("bytes_to_target", WithoutRates, number("bytes_\nto_target"), |row| {
        row.bytes_to_target.to_string()
    }),
    field("packets_to_client", WithoutRates, number("packets_\nto_client"), |row| {
        row.packets_to_client.to_string()
    }),
    field("bytes_to_client", WithoutRates, number("bytes_\nto_client"), |row| {
        row.bytes_to_client.to_string()
    }),
    field("retransmissions_to_target", Chosen, number("retransmissions_\nto_target"), |row| {
        row.retransmissions_to_target.to_string()
    }),
    field("retransmissions_to_client", Chosen, number("retransmissions_\nto_client"), |row| {
        row.retransmissions_to_client.to_string()
    }),
    field("consumer_rtt_us", Chosen, number("consumer_rtt"), |row| time(row.consumer_rtt_us)),
    field("provider_rtt_us", Chosen, number("provider_rtt"), |row| time(row.provider_rtt_us)),
    field("age_ms", Always, number("age"), |row| duration(row.age_ms)),
    field("idle_ms", Always, number("idle"), |row| duration(row.idle_ms)),
    field("packets_to_target_per_s", WithRates, number("packets_to_\ntarget_per_s"), |row| {
        rate(row.packets_to_target_per_s)
    }),
    field("bytes_to_target_per_s", WithRates, number("bytes_to_\ntarget_per_s"), |row| {
        rate(row.bytes_to_target_per_s)
    }),
    field("packets_to_client_per_s", WithRates, number("packets_to_\nclient_per_s"), |row| {
        rate(row.packets_to_client_per_s)
    }),
    field("bytes_to_client_per_s", WithRates, number("bytes_to_\nclient_per_s"), |row| {
        rate(row.bytes_to_client_per_s)
    }),
];

const fn field(
    name: &'static str,
    shown: Shown,
    column: Column,
    cell: fn(&FlowRow<'_>) -> String,
) -> Field {
    Field { name, shown, column, cell }
}

/// In milliseconds.
fn time(microseconds: Option<u32>) -> String {
    microseconds.map_or_else(String::new, |time| format!("{:.3}ms", f64::from(time) / 1000.0))
}

fn rate(per_second: Option<u64>) -> String {
    per_second.map_or_else(String::new, |per_second| per_second.to_string())
}

impl Field {
    /// Whether it is there only if rates are asked for.
    pub(super) fn is_rate(self) -> bool {
        self.shown == WithRates
    }

    /// What a table shows unless told otherwise.
    pub(super) fn shown(rates: bool) -> Vec<Self> {
        let shown = |field: &&Self| match field.shown {
            Always => true,
            WithoutRates => !rates,
            WithRates => rates,
            Chosen => false,
        };
        FIELDS.iter().filter(shown).copied().collect()
    }

    /// What a row has.
    pub(super) fn all(rates: bool) -> Vec<Self> {
        FIELDS.iter().filter(|field| rates || !field.is_rate()).copied().collect()
    }
}

impl ValueEnum for Field {
    fn value_variants<'a>() -> &'a [Self] {
        FIELDS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fields_are_those_of_a_row_in_their_order() {
        let row = json!({
            "protocol": "", "state": "", "vpc": "", "endpoint": "", "service": "",
            "client": "1.2.3.4:5", "endpoint_address": "1.2.3.4:5", "nat": "1.2.3.4:5",
            "target": "1.2.3.4:5", "packets_to_target": 0, "bytes_to_target": 0,
            "packets_to_client": 0, "bytes_to_client": 0, "retransmissions_to_target": 0,
            "retransmissions_to_client": 0, "consumer_rtt_us": 0, "provider_rtt_us": 0,
            "age_ms": 0, "idle_ms": 0,
        });
        let mut row: FlowRow<'_> = serde_json::from_value(row).unwrap();
        for rates in [None, Some(0)] {
            row.packets_to_target_per_s = rates;
            row.bytes_to_target_per_s = rates;
            row.packets_to_client_per_s = rates;
            row.bytes_to_client_per_s = rates;
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.serialize(&row).unwrap();
            let derived = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let names: Vec<_> =
                Field::all(rates.is_some()).iter().map(|field| field.name).collect();
            assert_eq!(derived.lines().next().unwrap(), names.join(","));
        }
    }
}
