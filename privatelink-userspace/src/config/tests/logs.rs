//! What is written of flows, and where.

use std::path::Path;
use std::time::Duration;

use super::{Row, check_rows, edited, model};
use crate::config::{Needed, Source};
use crate::flow_logs::{DEFAULT, Field};
use crate::model::{AccessLog, Destination, FlowLogs, LogFile, LogForm, TrafficType};

#[test]
fn logs() {
    check_rows(ROWS);
}

fn file(path: &str) -> Destination {
    let file = LogFile {
        path: path.into(),
        most_bytes: 64 << 20,
        longest: Duration::from_secs(3600),
        keep: 168,
    };
    Destination { file: Some(file), form: LogForm::Text }
}

#[test]
fn only_the_destination_must_be_written() {
    let none = model(("", ""));
    assert_eq!((none.flow_logs, none.access_log), (None, None));
    let text = "[flow_logs]\ndestination = \"/var/log/f\"\n[access_log]\ndestination = \"stdout\"";
    let both = model(("", text));
    let flow_logs = FlowLogs {
        to: file("/var/log/f"),
        traffic: TrafficType::All,
        interval: Duration::from_secs(600),
        fields: DEFAULT.to_vec(),
    };
    assert_eq!(both.flow_logs, Some(flow_logs));
    let to = Destination { file: None, form: LogForm::Json };
    assert_eq!(both.access_log, Some(AccessLog { to }));
}

#[test]
fn all_that_can_be_written() {
    let text = r#"[flow_logs]
destination = "/var/log/f"
form = "json"
traffic_type = "REJECT"
max_aggregation_interval = 60
log_format = "${srcaddr} ${pkt-dstaddr} ${endpoint-id}"
replace_bytes = 1048576
replace_after = "1m"
keep = 0"#;
    let logs = model(("", text)).flow_logs.unwrap();
    assert_eq!((logs.traffic, logs.interval.as_secs()), (TrafficType::Reject, 60));
    let fields = [Field::SourceAddress, Field::PacketDestinationAddress, Field::EndpointId];
    assert_eq!(logs.fields, fields);
    let rules = logs.to.file.unwrap();
    assert_eq!((rules.most_bytes, rules.longest.as_secs(), rules.keep), (1 << 20, 60, 0));
    assert_eq!(logs.to.form, LogForm::Json);
}

#[test]
fn the_file_must_be_writable_when_the_host_is_asked() {
    let text = edited(("", "[flow_logs]\ndestination = \"/nowhere/f.log\""));
    let source = Source::new("overlap.toml", &text);
    let has = |needed: Needed<'_>| needed != Needed::LogFile(Path::new("/nowhere/f.log"));
    let expected = r#"overlap.toml:79:15: "/nowhere/f.log": no file that can be written on this host; make its directory, and let the daemon write there"#;
    assert_eq!(source.check(&[], has).unwrap_err().to_string(), expected);
    assert!(source.check(&[], |_| true).is_ok());
}

const ROWS: &[Row] = &[
    (
        "no destination",
        ("", "[flow_logs]\n"),
        &[
            r#"overlap.toml:78:1: "[flow_logs]": the key destination is missing; add destination = "/var/log/privatelink/flow.log""#,
        ],
    ),
    (
        "a relative path",
        ("", "[access_log]\ndestination = \"access.log\""),
        &[
            r#"overlap.toml:79:15: "access.log": not an absolute path; write "stdout", or a file from /, such as "/var/log/privatelink/flow.log""#,
        ],
    ),
    (
        "values that there are not",
        (
            "",
            "[flow_logs]\ndestination = \"/f\"\nform = \"csv\"\ntraffic_type = \"all\"\nmax_aggregation_interval = 300",
        ),
        &[
            r#"overlap.toml:80:8: "csv": not a form of lines; write "text" or "json""#,
            r#"overlap.toml:81:16: "all": not a traffic type; write "ALL", "ACCEPT" or "REJECT""#,
            r#"overlap.toml:82:28: "300": not an aggregation interval; write 60 or 600 (seconds)"#,
        ],
    ),
    (
        "a field that is misspelt",
        ("", "[flow_logs]\ndestination = \"/f\"\nlog_format = \"${srcadr}\""),
        &[r#"overlap.toml:80:14: "${srcadr}": there is no field srcadr; did you mean ${srcaddr}?"#],
    ),
    (
        "a format without fields",
        ("", "[flow_logs]\ndestination = \"/f\"\nlog_format = \"srcaddr\""),
        &[
            r#"overlap.toml:80:14: "srcaddr": srcaddr is not of the form ${field}; write as in "${srcaddr} ${dstaddr}", with spaces between"#,
        ],
    ),
    (
        "standard output is not replaced",
        ("", "[access_log]\ndestination = \"stdout\"\nkeep = 3\nreplace_after = \"1h\""),
        &[
            r#"overlap.toml:80:8: "3": says nothing of standard output; remove it"#,
            r#"overlap.toml:81:17: "1h": says nothing of standard output; remove it"#,
        ],
    ),
    (
        "one file for both",
        ("", "[flow_logs]\ndestination = \"/f\"\n[access_log]\ndestination = \"/f\""),
        &[r#"overlap.toml:81:15: "/f": the flow log's file too; give each log a file of its own"#],
    ),
];
