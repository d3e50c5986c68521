//! IPv6: in every place where an address is, types that say which, and what does not go together.

use super::{model, parse, reported};
use crate::model::{DEFAULT_FLOW_CAPACITY, Families, Family};

/// Two families everywhere.
pub(super) const BOTH: &str = include_str!("ipv6.toml");

/// What is reported of the file of both families with an edit, without the file's name.
fn faults(find: &str, replace: &str) -> String {
    assert!(BOTH.contains(find), "not in the file: {find}");
    reported(&BOTH.replacen(find, replace, 1)).replace("overlap.toml:", "")
}

#[test]
fn either_family_may_be_in_every_place() {
    let model = parse("ipv6.toml", BOTH).unwrap_or_else(|errors| panic!("{errors}"));
    let families: Vec<_> = model.target_groups.iter().map(|group| group.family).collect();
    assert_eq!(families, [Family::Ipv4, Family::Ipv6]);
    assert_eq!(model.target_groups[1].targets[1].end().to_string(), "[fd00:a::1:10]:81");
    assert_eq!(model.load_balancers[0].addresses[1].address.to_string(), "fd00:a::10/64");
    assert_eq!(model.services[0].families, Families::Dualstack);
    let from = |endpoint: usize| -> Vec<String> {
        model.endpoints[endpoint].ingress.iter().map(|rule| rule.cidr.to_string()).collect()
    };
    assert_eq!(from(0), ["fd00:a::/48", "10.0.0.0/16"], "all of the vpc");
    assert_eq!(from(1), ["10.0.0.0/8", "::/0"]);
}

#[test]
fn types_may_be_left_out() {
    let without: Vec<&str> =
        BOTH.lines().filter(|line| !line.starts_with("ip_address_type")).collect();
    assert_eq!(parse("ipv6.toml", &without.join("\n")), parse("ipv6.toml", BOTH));
}

#[test]
fn an_endpoint_may_have_another_family_than_the_targets() {
    let four = BOTH.replacen("target_group = \"six\"", "target_group = \"four\"", 1);
    let four = four.replacen(", { zone = \"a\", address = \"fd00:a::10/64\" }", "", 1);
    assert_eq!(reported(&four.replacen("ip_address_type = \"dualstack\"\n", "", 1)), "");
    let six = BOTH.replacen("target_group = \"four\"", "target_group = \"six\"", 1);
    let six = six.replacen("{ zone = \"a\", address = \"10.0.0.10/24\" }, ", "", 1);
    assert_eq!(
        reported(&six.replacen("ip_address_type = \"dualstack\"", "ip_address_type = \"ipv6\"", 1)),
        ""
    );
}

#[test]
fn flows_of_either_table_have_a_capacity() {
    let capacities = |text: &str| {
        let model = parse("ipv6.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        (model.flow_capacity, model.wide_flow_capacity)
    };
    let with = |table: &str| format!("{BOTH}[flow_table]\n{table}");
    assert_eq!(capacities(BOTH), (DEFAULT_FLOW_CAPACITY, DEFAULT_FLOW_CAPACITY));
    assert_eq!(capacities(&with("capacity = 4096")), (4096, 4096));
    assert_eq!(capacities(&with("ipv6_flow_capacity = 4096")), (DEFAULT_FLOW_CAPACITY, 4096));
    assert_eq!(model(("", "[flow_table]\ncapacity = 4096\n")).wide_flow_capacity, 1024);
    assert_eq!(
        reported(&with("ipv6_flow_capacity = 1023")),
        "overlap.toml:69:22: \"1023\": not a capacity of the flow table; write a number from 1024 to 16777216"
    );
}

#[test]
fn addresses_that_no_host_has() {
    for (address, why) in [
        ("::", "the unspecified address"),
        ("::1", "a loopback address"),
        ("ff02::1", "a multicast address"),
        ("fe80::1", "a link-local address"),
        ("::ffff:10.0.1.10", "an IPv4 address in IPv6 form"),
        ("fd00:a::", "the subnet-router anycast address of fd00:a::/48"),
    ] {
        let found = faults("fd00:a::1:11", address);
        let expected =
            format!("66:38: \"{address}\": {why}; write the address of a host in consumer");
        assert_eq!(found, expected);
    }
    assert_eq!(faults("fd00:a::1:11", "fd00:a::ffff:ffff:ffff:ffff"), "", "no broadcast");
    assert_eq!(faults("fd00:a::10/64", "fd00:a::20/127"), "", "RFC 6164");
}

#[test]
fn what_does_not_go_together() {
    let mut wrong = String::new();
    for (find, replace, expected) in [
        (
            "fd00:a::1:11",
            "fd00:b::1:11",
            r#"66:38: "fd00:b::1:11": outside the cidrs of consumer, fd00:a::/48, 10.0.0.0/16; write an address inside, or add its range to the vpc"#,
        ),
        (
            "fd00:a::1:11",
            "fd00:a::1:10",
            r#"66:38: "fd00:a::1:10": tcp/4 already published at this address by endpoint vpce-a on line 60; choose another address, or a service of other ports"#,
        ),
        (
            "fd00:a::10/64",
            "fd00:a::1:10/64",
            r#"35:80: "fd00:a::1:10/64": already the address of a target of six on line 29; choose a free address of provider"#,
        ),
        (
            "fd00:a::10/64",
            "fd00:a::10/32",
            r#"35:80: "fd00:a::10/32": the subnet is wider than fd00:a::/48 of provider; write a prefix length from 48 to 128"#,
        ),
        (
            "fd00:a::10/64",
            "fd00:a::/64",
            r#"35:80: "fd00:a::/64": the subnet-router anycast address of fd00:a::/64; write the address of a host in provider"#,
        ),
        (
            "fd00:a::10/64",
            "fd00:a::10",
            r#"35:80: "fd00:a::10": the prefix length is missing; write fd00:a::10/ and the length, that of the subnet it stands in"#,
        ),
        (
            "fd00:a::10/64",
            "fd00:a::10/129",
            r#"35:80: "fd00:a::10/129": not a prefix length; write fd00:a::10/ and a number from 0 to 128"#,
        ),
        (
            "\"::/0\"",
            "\"fd00::1/64\"",
            r#"53:109: "fd00::1/64": address bits set behind the prefix; write fd00::/64"#,
        ),
        (
            "\"::/0\"",
            "\"::\"",
            r#"53:109: "::": the prefix length is missing; write ::/ and the length, 128 for a single address"#,
        ),
        (
            r#"type = "ipv6""#,
            r#"type = "dualstack""#,
            r#"28:19: "dualstack": not an IP address type here; write "ipv4" or "ipv6""#,
        ),
        (
            r#"targets = [{ address = "fd00:a::1:10" }, "#,
            r#"targets = [{ address = "10.0.1.11" }, "#,
            r#"29:24: "10.0.1.11": an IPv4 address, but the target group is one of ipv6; put it into a target group with ip_address_type = "ipv4""#,
        ),
        (
            r#""10.0.1.10" }]"#,
            r#""10.0.1.10" }, { address = "fd00:a::2" }]"#,
            r#"21:51: "fd00:a::2": an IPv6 address, but the target group is one of ipv4; put it into a target group with ip_address_type = "ipv6""#,
        ),
        (
            r#"type = "dualstack""#,
            r#"type = "ipv4""#,
            r#"34:19: "ipv4": the addresses are IPv4 and IPv6; write "dualstack", or other addresses"#,
        ),
        (
            r#"type = "dualstack""#,
            r#"type = "both""#,
            r#"34:19: "both": not an IP address type; write "ipv4", "ipv6" or "dualstack""#,
        ),
        (
            "ip_address_type = \"dualstack\"\naddresses = [{ zone = \"a\", address = \"10.0.0.10/24\" }, ",
            "addresses = [",
            r#"38:16: "four": target group of ipv4, but the load balancer has no IPv4 address; add one to its addresses, such as { zone = "us-east-1a", address = "10.0.0.10/16" }"#,
        ),
        (
            "ip_address_type = \"dualstack\"\naddresses = [{ zone = \"a\", address = \"10.0.0.10/24\" }, { zone = \"a\", address = \"fd00:a::10/64\" }",
            "addresses = [{ zone = \"a\", address = \"10.0.0.10/24\" }",
            r#"42:16: "six": target group of ipv6, but the load balancer has no IPv6 address; add one to its addresses, such as { zone = "us-east-1a", address = "fd00::10/64" }"#,
        ),
        (
            r#"["ipv4", "ipv6"]"#,
            r#"["ipv4", "ipv4", "ipv6"]"#,
            r#"48:39: "ipv4": repeated IP address type; name each once"#,
        ),
        (
            r#"["ipv4", "ipv6"]"#,
            "[]",
            r#"48:30: "[]": empty; write supported_ip_address_types = ["ipv4", "ipv6"]"#,
        ),
        (
            r#"["ipv4", "ipv6"]"#,
            r#"["ipv6"]"#,
            r#"60:38: "10.0.1.10": service vpce-svc-a supports no IPv4 endpoints; add "ipv4" to its supported_ip_address_types, or write an IPv6 address"#,
        ),
        (
            "supported_ip_address_types = [\"ipv4\", \"ipv6\"]\n",
            "",
            "59:77: \"fd00:a::1:10\": service vpce-svc-a supports no IPv6 endpoints; add \"ipv6\" to its supported_ip_address_types, or write an IPv4 address\n65:38: \"fd00:a::1:11\": service vpce-svc-a supports no IPv6 endpoints; add \"ipv6\" to its supported_ip_address_types, or write an IPv4 address",
        ),
    ] {
        let found = faults(find, replace);
        if found != expected {
            wrong.push_str(&format!(
                "\n{find} -> {replace}\nexpected:\n{expected}\nfound:\n{found}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
