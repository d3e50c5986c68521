//! The flows: asked for, and shown in each form with the columns that were chosen, once or again and again.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::args::{FlowsArgs, Format};
use super::columns::Field;
use super::failure::Failure;
use super::output::{write_columns, write_csv};
use super::stdout::{copy, offer};
use super::watch::watch;
use crate::api::{FlowRow, write_listing};
use crate::control::{Answer, Client, ClientError, Question};

/// Lists the flows as the arguments say.
pub(super) async fn flows(args: &FlowsArgs) -> Result<(), Failure> {
    match args.watch {
        Some(pause) => watch(pause.duration(), || ask(args), |listing| show(args, listing)).await,
        None => show(args, ask(args).await?).await.map(drop),
    }
}

/// A listing as it came.
enum Listing {
    /// To be passed on as it arrives.
    Json(Answer),
    Rows(Vec<FlowRow<'static>>),
}

async fn ask(args: &FlowsArgs) -> Result<Listing, ClientError> {
    let client = Client::new(&args.query.socket);
    let question = Question::flows(&args.flow_query());
    if args.query.output == Format::Json && args.columns.is_empty() {
        client.open(&question).await.map(Listing::Json)
    } else {
        client.ask(&question).await.map(Listing::Rows)
    }
}

async fn show(args: &FlowsArgs, listing: Listing) -> Result<ControlFlow<()>, Failure> {
    match listing {
        Listing::Json(answer) => copy(answer).await,
        Listing::Rows(rows) => offer(|out| write(out, args, &rows)),
    }
}

fn write(out: &mut impl Write, args: &FlowsArgs, rows: &[FlowRow<'_>]) -> io::Result<()> {
    let fields = args.shown();
    match args.query.output {
        Format::Table => {
            let columns: Vec<_> = fields.iter().map(|field| field.column).collect();
            let cells = |row| fields.iter().map(|field| (field.cell)(row)).collect();
            write_columns(out, &columns, rows.iter().map(cells))
        }
        Format::Json => write_listing(out, rows.iter().map(|row| Part::of(row, &fields))),
        Format::Csv => {
            let names: Vec<_> = fields.iter().map(|field| field.name).collect();
            if args.columns.is_empty() {
                return write_csv(out, &names, rows);
            }
            let parts: Vec<_> = rows.iter().map(|row| Part::of(row, &fields)).collect();
            write_csv(out, &names, parts.iter().map(Part::values))
        }
    }
}

/// Fields of a row.
struct Part<'f> {
    row: Value,
    fields: &'f [Field],
}

impl<'f> Part<'f> {
    fn of(row: &FlowRow<'_>, fields: &'f [Field]) -> Self {
        // Cannot fail: texts and numbers.
        Self { row: serde_json::to_value(row).unwrap_or_default(), fields }
    }

    fn value(&self, field: &Field) -> &Value {
        &self.row[field.name]
    }

    fn values(&self) -> Vec<&Value> {
        self.fields.iter().map(|field| self.value(field)).collect()
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|field| (field.name, self.value(field))))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::cli::args::{Cli, Command};

    /// Columns of addresses.
    const NAMES: [&str; 4] = ["client", "endpoint_address", "nat", "target"];
    /// From each family to each: addresses as they are given, and as RFC 5952 writes them.
    const GIVEN: [[&str; 4]; 4] = [
        ["10.0.2.20:40000", "10.0.1.10:80", "10.0.0.10:10240", "10.0.1.10:8080"],
        [
            "[FD00:1234:5678:9ABC:DEF0:1234:5678:9ABC]:40000",
            "[fd00:1234:5678:9abc:def0:1234:5678:0001]:443",
            "[fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:0123]:65535",
            "[fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1234]:65535",
        ],
        [
            "255.255.255.255:65535",
            "10.0.1.10:81",
            "[2001:db8:0:0:1:0:0:1]:1",
            "[2001:db8:0:1:1:1:1:1]:1",
        ],
        ["[::0001]:1", "[fd00:0:0:0:0:0:0:0]:80", "10.0.0.10:10240", "10.0.1.10:8080"],
    ];
    const WRITTEN: [[&str; 4]; 4] = [
        GIVEN[0],
        [
            "[fd00:1234:5678:9abc:def0:1234:5678:9abc]:40000",
            "[fd00:1234:5678:9abc:def0:1234:5678:1]:443",
            "[fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:123]:65535",
            "[fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1234]:65535",
        ],
        [
            "255.255.255.255:65535",
            "10.0.1.10:81",
            "[2001:db8::1:0:0:1]:1",
            "[2001:db8:0:1:1:1:1:1]:1",
        ],
        ["[::1]:1", "[fd00::]:80", "10.0.0.10:10240", "10.0.1.10:8080"],
    ];

    fn rows() -> Vec<FlowRow<'static>> {
        let row = |[client, endpoint_address, nat, target]: [&str; 4]| {
            json!({
                "protocol": "tcp", "state": "established", "vpc": "vpc-a", "endpoint": "vpce-a",
                "service": "vpce-svc-a", "client": client, "endpoint_address": endpoint_address,
                "nat": nat, "target": target, "packets_to_target": 1, "bytes_to_target": 2,
                "packets_to_client": 3, "bytes_to_client": 4, "retransmissions_to_target": 5,
                "retransmissions_to_client": 6, "consumer_rtt_us": 7, "provider_rtt_us": 8,
                "age_ms": 9, "idle_ms": 10,
            })
        };
        GIVEN.map(|given| serde_json::from_value(row(given)).unwrap()).into()
    }

    fn arguments(words: &[&str]) -> FlowsArgs {
        let words = ["privatelink", "flows"].iter().chain(words);
        let Command::Flows(args) = Cli::try_parse_from(words).unwrap().command else {
            unreachable!("flows were asked for")
        };
        args
    }

    fn written(words: &[&str]) -> String {
        let mut out = Vec::new();
        write(&mut out, &arguments(words), &rows()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_every_address_below_its_header() {
        let table = written(&[]);
        let mut lines = table.lines();
        let header = lines.next().unwrap();
        let columns = header.split_whitespace().count();
        // The numbers' headers have a second line.
        lines.next().unwrap();
        let at = NAMES.map(|name| header.find(&format!(" {name} ")).unwrap() + 1);
        for (line, expected) in lines.zip(WRITTEN) {
            assert_eq!(line.split_whitespace().count(), columns, "{table}");
            let cells = at.map(|at| line[at..].split("  ").next().unwrap());
            assert_eq!(cells, expected, "{table}");
            assert!(at.iter().all(|&at| line[..at].ends_with("  ")), "{table}");
        }
        assert_eq!(table.lines().count(), 2 + WRITTEN.len());
    }

    #[test]
    fn csv_and_json_have_the_same_addresses() {
        let columns = NAMES.join(",");
        let csv = written(&["-o", "csv", "--columns", &columns]);
        let expected = [&[NAMES], &WRITTEN[..]].concat().into_iter().map(|row| row.join(","));
        assert!(csv.lines().eq(expected), "{csv}");
        for words in [&["-o", "json"][..], &["-o", "json", "--columns", &columns]] {
            let rows: Vec<Value> = serde_json::from_str(&written(words)).unwrap();
            let read = rows.iter().map(|row| NAMES.map(|name| row[name].as_str().unwrap()));
            assert_eq!(read.collect::<Vec<_>>(), WRITTEN);
        }
    }

    #[test]
    fn what_a_table_says_finds_the_flow_again() {
        for row in rows() {
            let [client, target] = [row.client, row.target].map(|end| end.to_string());
            let [client_ip, target_ip] = [row.client, row.target].map(|end| end.ip().to_string());
            for words in [
                ["--client", &client, "--target", &target],
                ["--client", &client_ip, "--target", &target_ip],
            ] {
                let query = arguments(&words).flow_query();
                assert!(query.matches(&row), "{words:?}");
                let elsewhere = SocketAddr::new("192.0.2.1".parse().unwrap(), 1);
                assert!(!query.matches(&FlowRow { client: elsewhere, ..row.clone() }), "{words:?}");
                assert!(!query.matches(&FlowRow { target: elsewhere, ..row.clone() }), "{words:?}");
            }
        }
    }
}
