//! TCP, UDP and both: what fits together, and which attributes groups of UDP have.

use super::{OVERLAP, model, parse, reported};
use crate::model::{IngressRule, Protocol, Protocols, TargetGroupAttributes};

const DELAY: &str = r#""deregistration_delay.timeout_seconds" = 90"#;

/// The example with a group and a listener of these protocols, and this in place of the group's attribute.
fn with(group: &str, listener: &str, attribute: &str) -> String {
    OVERLAP
        .replacen(
            "vpc = \"vpc-provider\"\nprotocol = \"tcp\"",
            &format!("vpc = \"vpc-provider\"\nprotocol = \"{group}\""),
            1,
        )
        .replacen(
            "protocol = \"tcp\"\nport = 80\n",
            &format!("protocol = \"{listener}\"\nport = 80\n"),
            1,
        )
        .replacen(DELAY, attribute, 1)
}

/// The example with a `tcp_udp` group, a listener of the first protocol, and from line 50 on one of the second.
fn beside(first: &str, second: &str, port: &str) -> String {
    const ATTRIBUTES: &str = "[load_balancer.attributes]";
    let another = format!(
        "[[load_balancer.listener]]\nprotocol = \"{second}\"\nport = {port}\ntarget_group = \"web\"\n"
    );
    with("tcp_udp", first, DELAY).replacen(ATTRIBUTES, &(another + ATTRIBUTES), 1)
}

#[test]
fn a_listener_wants_a_group_that_speaks_what_it_accepts() {
    let wrong = |listener: &str, group: &str, remedy: &str| {
        format!(
            "overlap.toml:49:16: \"web\": target group of {group}, but the listener is {listener}; \
             choose a target group of {remedy}"
        )
    };
    for (listener, group, expected) in [
        ("tcp", "tcp", None),
        ("tcp", "tcp_udp", None),
        ("udp", "udp", None),
        ("udp", "tcp_udp", None),
        ("tcp_udp", "tcp_udp", None),
        ("tcp", "udp", Some("tcp or tcp_udp")),
        ("udp", "tcp", Some("udp or tcp_udp")),
        ("tcp_udp", "tcp", Some("tcp_udp")),
        ("tcp_udp", "udp", Some("tcp_udp")),
    ] {
        let expected = expected.map(|remedy| wrong(listener, group, remedy)).unwrap_or_default();
        assert_eq!(reported(&with(group, listener, DELAY)), expected, "{listener} to {group}");
        if expected.is_empty() {
            let model = parse("overlap.toml", &with(group, listener, DELAY)).unwrap();
            let found =
                [model.load_balancers[0].listeners[0].protocol, model.target_groups[0].protocol];
            assert_eq!(found.map(Protocols::name), [listener, group]);
        }
    }
}

#[test]
fn ports_of_one_protocol_are_apart_from_those_of_the_other() {
    for (first, second) in [("tcp", "udp"), ("udp", "tcp")] {
        assert_eq!(reported(&beside(first, second, "80")), "", "{first} beside {second}");
    }
    for (first, second, common) in [
        ("tcp", "tcp_udp", "tcp"),
        ("tcp_udp", "tcp", "tcp"),
        ("udp", "tcp_udp", "udp"),
        ("tcp_udp", "udp", "udp"),
        ("tcp_udp", "tcp_udp", "tcp"),
        ("udp", "udp", "udp"),
    ] {
        let cause = format!("repeated listener, {common}/80 is already on line 48");
        assert_eq!(
            reported(&beside(first, second, "80")),
            format!("overlap.toml:52:8: \"80\": {cause}; remove it, or give it another port"),
            "{first} beside {second}"
        );
    }
    for second in ["udp", "tcp_udp"] {
        let range =
            |port| beside("udp", second, port).replacen("port = 80\n", "port = \"80-89\"\n", 1);
        assert_eq!(
            reported(&range("\"85-95\"")),
            "overlap.toml:52:8: \"85-95\": overlaps udp/80-89 on line 48; keep the ranges of a load balancer apart"
        );
    }
}

/// The example with an endpoint at A's address for another service, which publishes port 80 of this protocol.
fn shared(protocol: &str) -> String {
    let rest = r#"[[target_group]]
name = "more"
vpc = "vpc-provider"
protocol = "tcp_udp"
port = 9000
[[load_balancer]]
name = "more"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.11/16" }]
[[load_balancer.listener]]
protocol = "PROTOCOL"
port = 80
target_group = "more"
[[endpoint_service]]
id = "vpce-svc-more"
load_balancers = ["more"]
allowed_principals = ["*"]
[[endpoint]]
id = "vpce-more"
vpc = "vpc-consumer-a"
service = "vpce-svc-more"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]
"#;
    format!("{OVERLAP}{}", rest.replace("PROTOCOL", protocol))
}

#[test]
fn endpoints_share_an_address_if_their_protocols_differ() {
    assert_eq!(reported(&shared("udp")), "");
    for protocol in ["tcp", "tcp_udp"] {
        let found = reported(&shared(protocol));
        assert!(
            found.contains(": \"10.0.1.10\": tcp/80 already published at this address by endpoint"),
            "{found}"
        );
    }
}

#[test]
fn flows_of_groups_with_udp_end_with_the_delay_and_not_with_health() {
    for (protocol, by_delay, by_health) in
        [("tcp", false, true), ("udp", true, false), ("tcp_udp", true, false)]
    {
        let model = parse("overlap.toml", &with(protocol, protocol, "")).unwrap();
        let TargetGroupAttributes { deregistration_ends_flows, unhealthy_ends_flows, .. } =
            model.target_groups[0].attributes;
        assert_eq!(
            (deregistration_ends_flows, unhealthy_ends_flows),
            (by_delay, by_health),
            "{protocol}"
        );
        let kept = "\"deregistration_delay.connection_termination.enabled\" = false";
        let model = parse("overlap.toml", &with(protocol, protocol, kept)).unwrap();
        assert!(!model.target_groups[0].attributes.deregistration_ends_flows, "{protocol}");
    }
}

#[test]
fn attributes_of_tcp_are_refused_to_groups_with_udp() {
    const STAY: &str = "remove it; flows of their unhealthy targets stay";
    for (name, value, remedy) in [
        ("target_health_state.unhealthy.connection_termination.enabled", "false", STAY),
        ("target_health_state.unhealthy.connection_termination.enabled", "true", STAY),
        ("target_health_state.unhealthy.draining_interval_seconds", "9", STAY),
        (
            "tcp.idle_timeout.seconds",
            "60",
            "remove it; [endpoint_service.timeouts] has idle and udp_idle",
        ),
    ] {
        for protocol in ["udp", "tcp_udp"] {
            let cause = format!("not an attribute of {protocol} target groups");
            assert!(
                reported(&with(protocol, protocol, &format!("\"{name}\" = {value}")))
                    .starts_with(&format!("overlap.toml:40:1: \"{name}\": {cause}; {remedy}")),
                "{name} {protocol}"
            );
        }
    }
}

#[test]
fn a_rule_for_udp() {
    let model = model((r#"[{ protocol = "tcp", from"#, r#"[{ protocol = "udp", from"#));
    let rule = IngressRule {
        protocol: Some(Protocol::Udp),
        from_port: 80,
        to_port: 80,
        cidr: "10.0.0.0/16".parse().unwrap(),
    };
    assert_eq!(model.endpoints[0].ingress, [rule]);
}
