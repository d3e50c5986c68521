//! What stands close to a mistake and is none, and what absent keys stand for.

use std::time::Duration;

use super::{Edit, model, parse};
use crate::model::{AttachMode, EndpointState, HealthProtocol, Model};

const RULE: &str = r#"{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }"#;
const SERVICE: &str = r#""com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc""#;
const PRINCIPAL: &str = r#""arn:aws:iam::222222222222:root""#;
const SPARE_GROUP: &str = r#"
[[target_group]]
name = "spare"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.10" }]
"#;

#[test]
fn accepted() {
    const EDITS: &[Edit<'static>] = &[
        ("port = 8080 ", "port = 65535 "),
        ("port = 8080 ", "port = 1 "),
        ("port = 8080 ", "port = 0x1f90 "),
        ("port = 8080 ", "port = 8_080 "),
        ("weight = 2", "weight = 0"),
        ("weight = 2", "weight = 999"),
        // The same address on another port, and the same target in another group.
        (r#""10.0.1.11", port = 8081"#, r#""10.0.1.10", port = 8081"#),
        ("", SPARE_GROUP),
        (r#"{ address = "10.0.1.11", port = 8081, weight = 2 },"#, ""),
        ("", "[[registration]]\ntarget_group = \"web\"\n"),
        // Neither end of a /31 is kept for the network (RFC 3021).
        ("10.0.0.10/16", "10.0.0.0/31"),
        ("10.0.0.10/16", "10.0.0.255/16"),
        ("10.0.0.10/16", "10.0.0.10/32"),
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = ["10.0.0.0/16", "10.1.0.0/16"]"#),
        (RULE, r#"{ protocol = "tcp", from_port = 0, to_port = 65535, cidr = "0.0.0.0/0" }"#),
        (RULE, r#"{ protocol = "tcp", from_port = 0, to_port = 1, cidr = "10.0.1.10/32" }"#),
        (SERVICE, r#""vpce-svc-0e123abc123198abc""#),
        (PRINCIPAL, r#""*""#),
        (PRINCIPAL, r#""arn:aws:iam::222222222222:user/division/jane@example.com""#),
        (PRINCIPAL, r#""arn:aws:iam::222222222222:role/connects""#),
        (r#""pl-consumer-a", zone"#, r#""fifteen-letters", zone"#),
        (r#"interval = "5s""#, r#"interval = "5m""#),
        (r#"timeout = "2s""#, r#"timeout = "4s 999ms""#),
        (r#"path = "/""#, r#"path = "/health?deep=1""#),
        (r#"path = "/""#, r#"path = "/%20?a=b&c=d""#),
        (r#"path = "/""#, r#"host = "www.example.com:8443""#),
        (r#"path = "/""#, r#"host = "10.0.1.10""#),
        (r#"path = "/""#, r#"matcher = "200,204-299,599""#),
        (r#"path = "/""#, r#"port = "traffic-port""#),
        ("timeout_seconds\" = 90", "timeout_seconds\" = 0"),
        ("timeout_seconds\" = 90", "timeout_seconds\" = 3600"),
    ];
    for edit in EDITS {
        model(*edit);
    }
}

#[test]
fn a_region_is_a_whole_gateway() {
    let empty = Model { region: "us-east-1".to_owned(), ..Model::default() };
    assert_eq!(parse("gateway.toml", "region = \"us-east-1\""), Ok(empty));
}

#[test]
fn attach_chooses_the_mode() {
    let mode = |attach: &str| {
        let found = r#""pl-provider", zone = "us-east-1a""#;
        model((found, &format!("{found}{attach}"))).vpcs[0].interfaces[0].attach
    };
    assert_eq!(mode(""), AttachMode::Auto);
    for (written, expected) in [
        ("auto", AttachMode::Auto),
        ("xdp", AttachMode::Xdp),
        ("xdp-generic", AttachMode::XdpGeneric),
        ("tcx", AttachMode::Tcx),
    ] {
        assert_eq!(mode(&format!(r#", attach = "{written}""#)), expected);
    }
}

#[test]
fn a_rule_for_any_protocol_needs_no_ports() {
    for protocol in ["-1", "all"] {
        let any = format!(r#"{{ protocol = "{protocol}", cidr = "10.0.2.0/24" }}"#);
        let rule = model((RULE, &any)).endpoints[0].ingress[0].clone();
        assert_eq!((rule.protocol, rule.from_port, rule.to_port), (None, 0, 65_535));
    }
}

#[test]
fn a_group_without_rules_admits_nothing() {
    let none = model((RULE, "")).endpoints[0].ingress.clone();
    assert_eq!(none, []);
}

#[test]
fn acceptance_is_required_unless_told_otherwise() {
    let model = model(("acceptance_required = false\n", ""));
    assert!(model.services[0].acceptance_required);
    assert!(model.endpoints.iter().all(|e| e.state == EndpointState::PendingAcceptance));
}

#[test]
fn ping_is_answered_where_told() {
    let echo = |edit| model(edit).endpoints.iter().map(|e| e.icmp_echo).collect::<Vec<_>>();
    assert_eq!(echo(("", "")), [false, false]);
    assert_eq!(echo(("", "icmp_echo = true\n")), [false, true]);
    assert_eq!(echo(("", "icmp_echo = false\n")), [false, false]);
}

#[test]
fn defaults_of_a_target_group_are_those_of_aws() {
    let model = model(("", SPARE_GROUP));
    let group = &model.target_groups[1];
    assert_eq!(group.attributes.deregistration_delay, Duration::from_secs(300));
    assert_eq!(group.health_check.protocol, HealthProtocol::Tcp);
    assert_eq!(group.health_check.interval, Duration::from_secs(30));
    assert_eq!(group.health_check.timeout, Duration::from_secs(10));
    assert_eq!(group.health_check.healthy_threshold, 5);
    assert_eq!(group.health_check.unhealthy_threshold, 2);
}

#[test]
fn cross_zone_is_off_unless_told_otherwise() {
    assert!(
        !model(("\"load_balancing.cross_zone.enabled\" = true\n", "")).load_balancers[0].cross_zone
    );
}
