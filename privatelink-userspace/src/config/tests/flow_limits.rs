//! How many flows are held, and how many of them any one endpoint may have.

use super::{Row, check_rows, model};
use crate::model::{Limits, Model};

#[test]
fn flow_limits() {
    check_rows(ROWS);
}

fn limits(flows: u32, half_open_flows: u32, new_flows_per_second: Option<u32>) -> Limits {
    Limits { flows, half_open_flows, new_flows_per_second }
}

/// What is appended to the example, and the limits of its two endpoints: the second one's own may be
/// appended.
fn check_limits(appended: &str, expected: [Limits; 2]) {
    let found: Vec<_> = model(("", appended)).endpoints.iter().map(|e| e.limits).collect();
    assert_eq!(found, expected, "{appended}");
}

#[test]
fn capacity_of_the_flow_table() {
    let capacity = |appended| model(("", appended)).flow_capacity;
    assert_eq!(Model::default().flow_capacity, 1_048_576);
    assert_eq!(capacity(""), 1_048_576);
    assert_eq!(capacity("[flow_table]"), 1_048_576);
    assert_eq!(capacity("[flow_table]\ncapacity = 1024"), 1024);
    assert_eq!(capacity("[flow_table]\ncapacity = 16_777_216"), 16_777_216);
}

#[test]
fn defaults_follow_the_capacity() {
    let both = |capacity: u32, flows, half_open_flows| {
        let appended = format!("[flow_table]\ncapacity = {capacity}");
        check_limits(&appended, [limits(flows, half_open_flows, None); 2]);
    };
    both(1024, 512, 64);
    both(4096, 2048, 64);
    both(4160, 2080, 65);
    both(1_048_575, 524_287, 16_383);
    both(1_048_576, 524_288, 16_384);
    both(16_777_216, 8_388_608, 16_384);
    check_limits("[endpoint_limits]", [limits(524_288, 16_384, None); 2]);
    check_limits("[endpoint.limits]", [limits(524_288, 16_384, None); 2]);
}

#[test]
fn an_endpoint_overrides_what_all_have() {
    let all = "[endpoint_limits]\nflows = 1000\nhalf_open_flows = 100\nnew_flows_per_second = 10\n";
    let first = limits(1000, 100, Some(10));
    check_limits(all, [first; 2]);
    let rows = [
        ("flows = 2000", limits(2000, 100, Some(10))),
        ("half_open_flows = 1000", limits(1000, 1000, Some(10))),
        ("new_flows_per_second = 1", limits(1000, 100, Some(1))),
        ("new_flows_per_second = 0", limits(1000, 100, None)),
        ("flows = 1048576\nhalf_open_flows = 1048576", limits(1_048_576, 1_048_576, Some(10))),
    ];
    for (own, second) in rows {
        check_limits(&format!("[endpoint.limits]\n{own}\n{all}"), [first, second]);
    }
}

/// Nobody who lowers the flows should have to lower the half-open ones as well.
#[test]
fn half_open_flows_that_are_not_written_follow_the_flows() {
    check_limits("[endpoint_limits]\nflows = 10", [limits(10, 10, None); 2]);
    check_limits(
        "[endpoint.limits]\nflows = 1\n[endpoint_limits]\nflows = 1000\nhalf_open_flows = 100",
        [limits(1000, 100, None), limits(1, 1, None)],
    );
    check_limits(
        "[endpoint.limits]\nflows = 100000\n[endpoint_limits]\nflows = 10",
        [limits(10, 10, None), limits(100_000, 16_384, None)],
    );
}

#[test]
fn new_flows_per_second() {
    let rate = |rate: u32| {
        let appended = format!("[endpoint_limits]\nnew_flows_per_second = {rate}");
        model(("", &appended)).endpoints[0].limits.new_flows_per_second
    };
    assert_eq!(rate(0), None);
    assert_eq!(rate(1), Some(1));
    assert_eq!(rate(10_000_000), Some(10_000_000));
}

const ROWS: &[Row] = &[
    (
        "capacity 1023",
        ("", "[flow_table]\ncapacity = 1023"),
        &[
            r#"overlap.toml:79:12: "1023": not a capacity of the flow table; write a number from 1024 to 16777216"#,
        ],
    ),
    (
        "capacity 16777217",
        ("", "[flow_table]\ncapacity = 16777217"),
        &[
            r#"overlap.toml:79:12: "16777217": not a capacity of the flow table; write a number from 1024 to 16777216"#,
        ],
    ),
    (
        "capacity as a string",
        ("", "[flow_table]\ncapacity = \"1M\""),
        &[
            r#"overlap.toml:79:12: "1M": wrong type, an integer is wanted but this is a string; write capacity = 1048576"#,
        ],
    ),
    (
        "a wrong capacity bounds no limits",
        (
            "",
            "[flow_table]\ncapacity = 0\n[endpoint_limits]\nflows = 16777216\nhalf_open_flows = 16777216",
        ),
        &[
            r#"overlap.toml:79:12: "0": not a capacity of the flow table; write a number from 1024 to 16777216"#,
        ],
    ),
    (
        "no flows, and a negative number of new ones",
        ("", "[endpoint_limits]\nflows = 0\nhalf_open_flows = 0\nnew_flows_per_second = -1"),
        &[
            r#"overlap.toml:79:9: "0": not a number of flows; write a number from 1 to 1048576"#,
            r#"overlap.toml:80:19: "0": not a number of half-open flows; write a number from 1 to 1048576"#,
            r#"overlap.toml:81:24: "-1": not a number of flows per second; write a number from 0 to 10000000"#,
        ],
    ),
    (
        "no flows of an endpoint",
        ("", "[endpoint.limits]\nflows = 0\nhalf_open_flows = 0\nnew_flows_per_second = -1"),
        &[
            r#"overlap.toml:79:9: "0": not a number of flows; write a number from 1 to 1048576"#,
            r#"overlap.toml:80:19: "0": not a number of half-open flows; write a number from 1 to 1048576"#,
            r#"overlap.toml:81:24: "-1": not a number of flows per second; write a number from 0 to 10000000"#,
        ],
    ),
    (
        "more flows than the table holds by default",
        ("", "[endpoint_limits]\nflows = 1048577"),
        &[
            r#"overlap.toml:79:9: "1048577": more than the flow table holds, 1048576; write a number from 1 to 1048576, or raise capacity of [flow_table]"#,
        ],
    ),
    (
        "more flows of an endpoint than the table holds",
        ("", "[endpoint.limits]\nflows = 2049\n[flow_table]\ncapacity = 2048"),
        &[
            r#"overlap.toml:79:9: "2049": more than the flow table holds, 2048; write a number from 1 to 2048, or raise capacity of [flow_table]"#,
        ],
    ),
    (
        "more flows than any table holds",
        ("", "[endpoint_limits]\nflows = 16777217"),
        &[
            r#"overlap.toml:79:9: "16777217": not a number of flows; write a number from 1 to 1048576"#,
        ],
    ),
    (
        "wrong flows do not bound the half-open ones",
        ("", "[endpoint_limits]\nflows = 2000000\nhalf_open_flows = 1048576"),
        &[
            r#"overlap.toml:79:9: "2000000": more than the flow table holds, 1048576; write a number from 1 to 1048576, or raise capacity of [flow_table]"#,
        ],
    ),
    (
        "more half-open flows than flows",
        ("", "[endpoint_limits]\nflows = 100\nhalf_open_flows = 101"),
        &[
            r#"overlap.toml:80:19: "101": more than the limit of flows, 100; write a number from 1 to 100, or raise flows"#,
        ],
    ),
    (
        "more half-open flows of an endpoint than all have flows",
        ("", "[endpoint.limits]\nhalf_open_flows = 101\n[endpoint_limits]\nflows = 100"),
        &[
            r#"overlap.toml:79:19: "101": more than the limit of flows, 100; write a number from 1 to 100, or raise flows"#,
        ],
    ),
    (
        "more half-open flows than the table holds",
        ("", "[endpoint_limits]\nflows = 100\nhalf_open_flows = 1048577"),
        &[
            r#"overlap.toml:80:19: "1048577": not a number of half-open flows; write a number from 1 to 100"#,
        ],
    ),
    (
        "10000001 new flows per second",
        ("", "[endpoint_limits]\nnew_flows_per_second = 10000001"),
        &[
            r#"overlap.toml:79:24: "10000001": not a number of flows per second; write a number from 0 to 10000000"#,
        ],
    ),
    (
        "wrong types",
        (
            "",
            "[endpoint.limits]\nflows = 1.5\nhalf_open_flows = \"all\"\nnew_flows_per_second = false",
        ),
        &[
            r#"overlap.toml:79:9: "1.5": wrong type, an integer is wanted but this is a float; write flows = 524288"#,
            r#"overlap.toml:80:19: "all": wrong type, an integer is wanted but this is a string; write half_open_flows = 16384"#,
            r#"overlap.toml:81:24: "false": wrong type, an integer is wanted but this is a boolean; write new_flows_per_second = 1000"#,
        ],
    ),
];
