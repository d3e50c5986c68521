//! Which flows to list, and how.

use std::collections::HashSet;

use clap::Args;

use super::{Format, QueryArgs};
use crate::api::{Clients, FlowQuery, FlowSort, FlowState, Interval, Targets};
use crate::cli::columns::Field;
use crate::model::Protocol;

#[derive(Debug, Args)]
pub(in crate::cli) struct FlowsArgs {
    /// Only flows through this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only flows to this endpoint service
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    /// Only flows of clients in this vpc
    #[arg(long, value_name = "ID")]
    vpc: Option<String>,
    /// Only flows of this protocol
    #[arg(long, value_name = "PROTOCOL", value_enum)]
    protocol: Option<Protocol>,
    /// Only flows in this state
    #[arg(long, value_name = "STATE", value_enum)]
    state: Option<FlowState>,
    /// Only flows of the clients at this address, or of the one at this address and port, or of the clients in this CIDR
    #[arg(long, value_name = "ADDRESS[:PORT|/LENGTH]")]
    client: Option<Clients>,
    /// Only flows to the targets at this address, or to the one at this address and port
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    target: Option<Targets>,
    /// Only flows that have carried at least so many bytes, both directions together, e.g. 5000, 5k, 5M or 5G
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    min_bytes: Option<u64>,
    /// Also what each flow carries in a second, measured over 1s or this time, 100ms to 60s
    ///
    /// A table shows it in place of what the flow has carried. To choose a column of it, or to sort by it, is enough to
    /// have it measured over 1s.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s")]
    rate: Option<Interval>,
    /// Largest first by this measure, both directions together
    #[arg(long, value_name = "MEASURE", value_enum)]
    sort: Option<FlowSort>,
    /// Smallest first by that measure
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// At most so many flows, after sorting
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only these columns, separated by commas; in JSON, objects with these keys
    #[arg(long, value_name = "COLUMN", value_enum, value_delimiter = ',')]
    pub(in crate::cli) columns: Vec<Field>,
    /// List them again and again, with a pause of 2s or this time between, 100ms to 60s
    ///
    /// Until SIGINT (Ctrl-C) or SIGTERM. A terminal's screen is cleared before each listing.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s")]
    pub(in crate::cli) watch: Option<Interval>,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl FlowsArgs {
    /// The part of the arguments the daemon needs.
    pub(in crate::cli) fn flow_query(&self) -> FlowQuery {
        let chosen_rate = self.columns.iter().any(|column| column.is_rate());
        FlowQuery {
            endpoint: self.endpoint.clone(),
            service: self.service.clone(),
            vpc: self.vpc.clone(),
            protocol: self.protocol,
            state: self.state,
            client: self.client,
            target: self.target,
            min_bytes: self.min_bytes,
            rate_ms: self.rate.or(chosen_rate.then_some(Interval::SECOND)),
            sort: self.sort,
            reverse: self.reverse,
            limit: self.limit,
        }
    }

    /// The columns to show, none twice.
    pub(in crate::cli) fn shown(&self) -> Vec<Field> {
        let rates = self.flow_query().interval().is_some();
        let mut once = HashSet::new();
        let chosen = self.columns.iter().filter(|field| once.insert(field.name));
        match (self.columns.is_empty(), self.query.output) {
            (true, Format::Table) => Field::shown(rates),
            (true, Format::Json | Format::Csv) => Field::all(rates),
            (false, _) => chosen.copied().collect(),
        }
    }
}

/// A number of bytes, in thousands, millions or thousands of millions where a letter says so.
pub(super) fn bytes(text: &str) -> Result<u64, &'static str> {
    let units = [('k', 1_000), ('M', 1_000_000), ('G', 1_000_000_000)];
    let written =
        units.into_iter().find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, unit)));
    let (number, unit) = written.unwrap_or((text, 1));
    let number =
        number.parse::<u64>().map_err(|_| "not a number of bytes: write e.g. 5000 or 5k")?;
    number.checked_mul(unit).ok_or("more bytes than can be counted: write a smaller number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_and_without_a_letter() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1500", Some(1500)),
            ("2k", Some(2_000)),
            ("3M", Some(3_000_000)),
            ("4G", Some(4_000_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744074G", None),
            ("18446744073709551616", None),
            ("", None),
            ("k", None),
            ("1.5k", None),
            ("-1", None),
            ("2K", None),
            ("2kk", None),
            ("2 k", None),
            ("2ü", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
    }
}
