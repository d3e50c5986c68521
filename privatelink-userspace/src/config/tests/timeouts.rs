//! When the flows of a service end.

use std::time::Duration;

use super::{Row, check_rows, model};
use crate::model::Timeouts;

#[test]
fn timeouts() {
    check_rows(ROWS);
}

/// The timeouts of a service with these keys.
fn written(keys: &str) -> Timeouts {
    model(("", &format!("[endpoint_service.timeouts]\n{keys}"))).services[0].timeouts
}

#[test]
fn each_has_a_default() {
    assert_eq!(written(""), Timeouts::default());
    let expected = Timeouts { idle: Duration::from_secs(120), ..Timeouts::default() };
    assert_eq!(written(r#"idle = "2m""#), expected);
    let expected = Timeouts { lease_hold: Duration::from_millis(1500), ..Timeouts::default() };
    assert_eq!(written(r#"lease_hold = "1s 500ms""#), expected);
}

#[test]
fn shortest_and_longest() {
    let all = |seconds: [u64; 6]| {
        let [half_open, idle, closing, lease_hold, udp_unreplied, udp_idle] = seconds;
        let found = written(&format!(
            "half_open = \"{half_open}s\"\nidle = \"{idle}s\"\nclosing = \"{closing}s\"\n\
             lease_hold = \"{lease_hold}s\"\nudp_unreplied = \"{udp_unreplied}s\"\n\
             udp_idle = \"{udp_idle}s\"\n"
        ));
        let [half_open, idle, closing, lease_hold, udp_unreplied, udp_idle] =
            seconds.map(Duration::from_secs);
        let expected = Timeouts { half_open, idle, closing, lease_hold, udp_unreplied, udp_idle };
        assert_eq!(found, expected);
    };
    all([1, 1, 1, 1, 1, 1]);
    all([300, 8000, 300, 300, 300, 8000]);
    all([2, 3, 4, 5, 6, 7]);
}

const ROWS: &[Row] = &[
    (
        "too short",
        (
            "",
            r#"[endpoint_service.timeouts]
half_open = "999ms"
idle = "0s"
closing = "999999us"
lease_hold = "0s"
udp_unreplied = "0s"
udp_idle = "999ms""#,
        ),
        &[
            r#"overlap.toml:79:13: "999ms": half-open timeout too short; write "1s" to "300s""#,
            r#"overlap.toml:80:8: "0s": idle timeout too short; write "1s" to "8000s""#,
            r#"overlap.toml:81:11: "999999us": closing timeout too short; write "1s" to "300s""#,
            r#"overlap.toml:82:14: "0s": lease hold too short; write "1s" to "300s""#,
            r#"overlap.toml:83:17: "0s": timeout of unreplied UDP too short; write "1s" to "300s""#,
            r#"overlap.toml:84:12: "999ms": idle timeout of UDP too short; write "1s" to "8000s""#,
        ],
    ),
    (
        "too long",
        (
            "",
            r#"[endpoint_service.timeouts]
half_open = "301s"
idle = "8000s 1ms"
closing = "6m"
lease_hold = "300s 1ns"
udp_unreplied = "301s"
udp_idle = "8001s""#,
        ),
        &[
            r#"overlap.toml:79:13: "301s": half-open timeout too long; write "1s" to "300s""#,
            r#"overlap.toml:80:8: "8000s 1ms": idle timeout too long; write "1s" to "8000s""#,
            r#"overlap.toml:81:11: "6m": closing timeout too long; write "1s" to "300s""#,
            r#"overlap.toml:82:14: "300s 1ns": lease hold too long; write "1s" to "300s""#,
            r#"overlap.toml:83:17: "301s": timeout of unreplied UDP too long; write "1s" to "300s""#,
            r#"overlap.toml:84:12: "8001s": idle timeout of UDP too long; write "1s" to "8000s""#,
        ],
    ),
    (
        "no durations",
        (
            "",
            r#"[endpoint_service.timeouts]
half_open = "30"
idle = "-350s"
closing = ""
lease_hold = "a minute""#,
        ),
        &[
            r#"overlap.toml:79:13: "30": not a duration; write "1s" to "300s""#,
            r#"overlap.toml:80:8: "-350s": not a duration; write "1s" to "8000s""#,
            r#"overlap.toml:81:11: "": not a duration; write "1s" to "300s""#,
            r#"overlap.toml:82:14: "a minute": not a duration; write "1s" to "300s""#,
        ],
    ),
    (
        "wrong types",
        (
            "",
            r#"[endpoint_service.timeouts]
half_open = 30
idle = 350.0
closing = true
lease_hold = ["60s"]"#,
        ),
        &[
            r#"overlap.toml:79:13: "30": wrong type, a string is wanted but this is an integer; write half_open = "30s""#,
            r#"overlap.toml:80:8: "350.0": wrong type, a string is wanted but this is a float; write idle = "350s""#,
            r#"overlap.toml:81:11: "true": wrong type, a string is wanted but this is a boolean; write closing = "10s""#,
            r#"overlap.toml:82:14: "["60s"]": wrong type, a string is wanted but this is an array; write lease_hold = "60s""#,
        ],
    ),
];
