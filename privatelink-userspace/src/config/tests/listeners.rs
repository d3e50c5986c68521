//! Ports, ranges of ports, and which of them may stand beside each other.

use super::{Edit, OVERLAP, Row, check_rows, model, parse, reported};
use crate::model::{Listener, Ports};

/// The example with this in place of its listener's port.
fn published(keys: &str) -> String {
    OVERLAP.replacen("port = 80\n", &format!("{keys}\n"), 1)
}

fn listener(port: &str) -> String {
    format!(
        "[[load_balancer.listener]]\nprotocol = \"tcp\"\nport = {port}\ntarget_group = \"web\"\n"
    )
}

/// The example with more listeners of these ports, which stand on lines 52, 56 and so on.
fn several(ports: &[&str]) -> String {
    const ATTRIBUTES: &str = "[load_balancer.attributes]";
    let more: String = ports.iter().map(|port| listener(port)).collect();
    OVERLAP.replacen(ATTRIBUTES, &(more + ATTRIBUTES), 1)
}

/// A second load balancer, with listeners of these ports.
fn more(ports: &[&str]) -> String {
    let listeners: String = ports.iter().map(|port| listener(port)).collect();
    "[[load_balancer]]\nname = \"more\"\nvpc = \"vpc-provider\"\n\
     addresses = [{ zone = \"us-east-1a\", address = \"10.0.0.11/16\" }]\n"
        .to_owned()
        + &listeners
}

/// The example whose service has two load balancers: one with this port, one with those.
fn beside(first: &str, ports: &[&str]) -> String {
    let text = published(&format!("port = {first}"));
    text.replacen(r#"["web-nlb"]"#, r#"["web-nlb", "more"]"#, 1) + &more(ports)
}

/// The example with an endpoint for another service, which publishes this port, at A's address.
fn shared(port: &str) -> String {
    const REST: &str = r#"[[endpoint_service]]
id = "vpce-svc-more"
load_balancers = ["more"]
allowed_principals = ["*"]
[[endpoint]]
id = "vpce-more"
vpc = "vpc-consumer-a"
service = "vpce-svc-more"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]
"#;
    format!("{OVERLAP}{}{REST}", more(&[port]))
}

#[test]
fn ports() {
    let range = Ports { first: 9000, last: 9099 };
    for (keys, ports, keep_port) in [
        ("port = 443", Ports::one(443), false),
        ("port = \"9000-9099\"", range, false),
        ("port = \"1-65535\"", Ports { first: 1, last: 65_535 }, false),
        ("port = \"all\"", Ports::ALL, false),
        ("port = \"9000-9099\"\nkeep_port = true", range, true),
        ("port = 443\nkeep_port = false", Ports::one(443), false),
    ] {
        let model = parse("overlap.toml", &published(keys)).unwrap_or_else(|e| panic!("{e}"));
        let Listener { ports: found, keep_port: kept, .. } = model.load_balancers[0].listeners[0];
        assert_eq!((found, kept), (ports, keep_port), "{keys}");
    }
}

#[test]
fn no_ports() {
    const NO_RANGE: &str =
        r#"not a range of ports; write port = 80, port = "9000-9099" or port = "all""#;
    for (port, expected) in [
        ("\"9000-\"", NO_RANGE),
        ("\"80\"", NO_RANGE),
        ("\"ALL\"", NO_RANGE),
        ("\"\"", NO_RANGE),
        ("\"0-80\"", NO_RANGE),
        ("\"+1-80\"", NO_RANGE),
        ("\"1-65536\"", NO_RANGE),
        ("\"9000 - 9099\"", NO_RANGE),
        ("\"9099-9000\"", "the last port is not greater than the first; swap them"),
        ("\"80-80\"", "the last port is not greater than the first; write port = 80 for one port"),
        ("65536", "not a port; write a number from 1 to 65535"),
    ] {
        let text = port.trim_matches('"');
        let found = reported(&published(&format!("port = {port}")));
        assert_eq!(found, format!("overlap.toml:48:8: \"{text}\": {expected}"));
    }
}

#[test]
fn the_fewer_ports_may_stand_within_the_more() {
    let ports = ["\"all\"", "\"9000-9099\"", "9000", "9099", "\"9100-9101\""];
    assert_eq!(reported(&several(&ports)), "");
    assert_eq!(reported(&beside("\"9000-9099\"", &["\"9010-9019\"", "80", "\"all\""])), "");
    assert_eq!(reported(&beside("\"9000-9099\"", &["\"9000-9099\""])), "", "the first serves it");
}

#[test]
fn ranges_of_a_load_balancer_stay_apart() {
    const OVERLAPS: &str =
        "overlaps tcp/9000-9099 on line 52; keep the ranges of a load balancer apart";
    for ports in ["9099-9200", "8000-9000", "9000-9098", "9001-9099", "8000-9999", "9010-9019"] {
        let found = reported(&several(&["\"9000-9099\"", &format!("\"{ports}\"")]));
        assert_eq!(found, format!("overlap.toml:56:8: \"{ports}\": {OVERLAPS}"));
    }
    for ports in ["all", "9000-9099"] {
        let twice = format!("\"{ports}\"");
        let cause = format!("repeated listener, tcp/{ports} is already on line 52");
        assert_eq!(
            reported(&several(&[&twice, &twice])),
            format!("overlap.toml:56:8: {twice}: {cause}; remove it, or give it another port")
        );
    }
}

#[test]
fn ranges_of_a_service_do_not_cross() {
    for (first, second) in [("9000-9099", "9050-9199"), ("9050-9199", "9000-9099")] {
        let found = reported(&beside(&format!("\"{first}\""), &[&format!("\"{second}\"")]));
        let cause = format!("its tcp/{second} overlaps tcp/{first} of web-nlb");
        assert_eq!(
            found,
            format!(
                "overlap.toml:55:30: \"more\": {cause}; keep them apart, or one within the other"
            )
        );
    }
}

#[test]
fn endpoints_share_an_address_if_their_ports_differ() {
    for port in ["81", "\"81-65535\"", "\"1-79\""] {
        assert_eq!(reported(&shared(port)), "", "{port}");
    }
    for port in ["80", "\"80-99\"", "\"79-80\"", "\"all\""] {
        let found = reported(&shared(port));
        let (place, found) = found.split_once(": ").unwrap();
        assert!(place.starts_with("overlap.toml:9"), "the later one: {place}");
        assert_eq!(
            found,
            "\"10.0.1.10\": tcp/80 already published at this address by endpoint \
             vpce-0a11111111111111a on line 69; choose another address, or a service of other ports",
            "{port}"
        );
    }
}

#[test]
fn keep_port_is_a_boolean() {
    const ROWS: &[Row] = &[(
        "keep_port as a string",
        ("port = 80\n", "port = 80\nkeep_port = \"yes\"\n"),
        &[
            r#"overlap.toml:49:13: "yes": wrong type, a boolean is wanted but this is a string; write keep_port = false"#,
        ],
    )];
    check_rows(ROWS);
}

#[test]
fn a_target_may_have_a_zone() {
    const TARGET: &str = r#"{ address = "10.0.1.10" }"#;
    let zones = |edit: Edit<'_>| -> Vec<Option<String>> {
        model(edit).target_groups[0].targets.iter().map(|target| target.zone.clone()).collect()
    };
    assert_eq!(zones(("", "")), [None, None]);
    let zoned = r#"{ zone = "a", address = "10.0.1.10" }"#;
    assert_eq!(zones((TARGET, zoned)), [Some("a".to_owned()), None]);
    assert_eq!(
        reported(&OVERLAP.replacen(TARGET, &zoned.replace("\"a\"", "\"a b\""), 1)),
        "overlap.toml:29:12: \"a b\": not a valid zone; use letters, digits, '.', '_' and '-', at most 128"
    );
}
