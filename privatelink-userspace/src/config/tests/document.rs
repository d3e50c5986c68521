//! Syntax, unknown keys and wrong types.

use super::{Row, check_rows};

#[test]
fn syntax_keys_and_types() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "not TOML",
        (r#"region = "us-east-1""#, "region = us-east-1"),
        &[
            r#"overlap.toml:2:10: "us-east-1": not valid TOML: string values must be quoted, expected literal string; correct it as https://toml.io says"#,
        ],
    ),
    (
        "an open string",
        (r#"region = "us-east-1""#, r#"region = "us-east-1"#),
        &[
            r#"overlap.toml:2:20: "": not valid TOML: invalid basic string, expected `"`; correct it as https://toml.io says"#,
        ],
    ),
    (
        "a key without value",
        (r#"region = "us-east-1""#, "region"),
        &[
            r#"overlap.toml:2:7: "": not valid TOML: key with no value, expected `=`; correct it as https://toml.io says"#,
        ],
    ),
    (
        "a key twice",
        (
            r#"region = "us-east-1""#,
            r#"region = "us-east-1"
region = "us-east-2""#,
        ),
        &[
            r#"overlap.toml:3:1: "region": not valid TOML: duplicate key; correct it as https://toml.io says"#,
        ],
    ),
    (
        "a table twice",
        ("[load_balancer.attributes]", "[load_balancer.listener]"),
        &[
            r#"overlap.toml:50:16: "listener": not valid TOML: duplicate key; correct it as https://toml.io says"#,
        ],
    ),
    (
        "a header without its second bracket",
        (
            r#"[[vpc]]
id = "vpc-provider""#,
            r#"[[vpc]
id = "vpc-provider""#,
        ),
        &[
            r#"overlap.toml:4:7: "": not valid TOML: unclosed array table, expected `]`; correct it as https://toml.io says"#,
        ],
    ),
    (
        "a syntax error hides the mistakes behind it",
        (
            r#"[[vpc]]
id = "vpc-provider""#,
            "regoin = 1\n[[vpc]\nid = 1",
        ),
        &[
            r#"overlap.toml:5:7: "": not valid TOML: unclosed array table, expected `]`; correct it as https://toml.io says"#,
        ],
    ),
    (
        "unknown key at the top",
        (
            r#"region = "us-east-1""#,
            r#"region = "us-east-1"
regions = "us-east-2""#,
        ),
        &[
            r#"overlap.toml:3:1: "regions": unknown key; did you mean region? Known here: region, flow_table, endpoint_limits, metrics, web, events, usage, flow_logs, access_log, vpc, target_group, registration, load_balancer, endpoint_service, security_group, endpoint"#,
        ],
    ),
    (
        "unknown table",
        (
            "",
            r#"[[vpn]]
id = "vpn-1"
"#,
        ),
        &[
            r#"overlap.toml:78:3: "vpn": unknown key; did you mean vpc? Known here: region, flow_table, endpoint_limits, metrics, web, events, usage, flow_logs, access_log, vpc, target_group, registration, load_balancer, endpoint_service, security_group, endpoint"#,
        ],
    ),
    (
        "unknown key like no other",
        (
            r#"region = "us-east-1""#,
            r#"region = "us-east-1"
colour = "blue""#,
        ),
        &[
            r#"overlap.toml:3:1: "colour": unknown key; remove it; known here: region, flow_table, endpoint_limits, metrics, web, events, usage, flow_logs, access_log, vpc, target_group, registration, load_balancer, endpoint_service, security_group, endpoint"#,
        ],
    ),
    (
        "unknown key of a vpc",
        (
            r#"account = "111111111111""#,
            r#"account = "111111111111"
tenancy = "default""#,
        ),
        &[
            r#"overlap.toml:7:1: "tenancy": unknown key; remove it; known here: id, account, cidrs, interfaces"#,
        ],
    ),
    (
        "unknown key of an interface",
        (r#"name = "pl-provider", zone"#, r#"name = "pl-provider", mtu = 9001, zone"#),
        &[r#"overlap.toml:8:39: "mtu": unknown key; remove it; known here: name, zone, attach"#],
    ),
    (
        "unknown key of a target",
        ("weight = 2", "wieght = 2"),
        &[
            r#"overlap.toml:30:41: "wieght": unknown key; remove it; known here: address, zone, port, weight"#,
        ],
    ),
    (
        "unknown key of a health check",
        ("healthy_threshold = 2", "healthy_treshold = 2"),
        &[
            r#"overlap.toml:37:1: "healthy_treshold": unknown key; did you mean healthy_threshold? Known here: protocol, port, path, host, matcher, server_name, verify_certificate, interval, timeout, healthy_threshold, unhealthy_threshold"#,
        ],
    ),
    (
        "unknown key of a load balancer",
        (
            r#"name = "web-nlb""#,
            r#"name = "web-nlb"
scheme = "internal""#,
        ),
        &[
            r#"overlap.toml:44:1: "scheme": unknown key; remove it; known here: name, vpc, addresses, ip_address_type, listener, attributes, tags"#,
        ],
    ),
    (
        "unknown key of a listener",
        (
            "port = 80\ntarget_group",
            r#"port = 80
alpn_policy = "None"
target_group"#,
        ),
        &[
            r#"overlap.toml:49:1: "alpn_policy": unknown key; remove it; known here: protocol, port, target_group, keep_port"#,
        ],
    ),
    (
        "unknown key of a service",
        ("acceptance_required = false", "acceptance_require = false"),
        &[
            r#"overlap.toml:56:1: "acceptance_require": unknown key; did you mean acceptance_required? Known here: id, load_balancers, supported_ip_address_types, acceptance_required, allowed_principals, mss_clamp, timeouts, tags"#,
        ],
    ),
    (
        "unknown key of a security group",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]
egress = []"#,
        ),
        &[
            r#"overlap.toml:64:1: "egress": unknown key; remove it; known here: id, vpc, ingress, tags"#,
        ],
    ),
    (
        "unknown key of a rule",
        (r#"cidr = "10.0.0.0/16" }]"#, r#"cidrs = "10.0.0.0/16", cidr = "10.0.0.0/16" }]"#),
        &[
            r#"overlap.toml:63:62: "cidrs": unknown key; did you mean cidr? Known here: protocol, from_port, to_port, cidr"#,
        ],
    ),
    (
        "unknown key of an endpoint",
        ("# no security_groups: allow", "private_dns_enabled = true #"),
        &[
            r#"overlap.toml:77:1: "private_dns_enabled": unknown key; remove it; known here: id, vpc, service, addresses, ip_address_type, security_groups, request_message, icmp_echo, limits, tags"#,
        ],
    ),
    (
        "unknown key of an endpoint address",
        (
            r#"addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]      #"#,
            r#"addresses = [{ subnet = "a", zone = "us-east-1a", address = "10.0.1.10" }] #"#,
        ),
        &[r#"overlap.toml:69:16: "subnet": unknown key; remove it; known here: zone, address"#],
    ),
    (
        "unknown key of the flow table",
        ("", "[flow_table]\ncapcity = 2048"),
        &[
            r#"overlap.toml:79:1: "capcity": unknown key; did you mean capacity? Known here: capacity, ipv6_flow_capacity"#,
        ],
    ),
    (
        "unknown key of the limits of all endpoints",
        ("", "[endpoint_limits]\nflow = 2048"),
        &[
            r#"overlap.toml:79:1: "flow": unknown key; did you mean flows? Known here: flows, half_open_flows, new_flows_per_second"#,
        ],
    ),
    (
        "unknown key of the limits of an endpoint",
        ("", "[endpoint.limits]\nbytes_per_second = 2048"),
        &[
            r#"overlap.toml:79:1: "bytes_per_second": unknown key; remove it; known here: flows, half_open_flows, new_flows_per_second"#,
        ],
    ),
    (
        "unknown key of timeouts",
        ("", "[endpoint_service.timeouts]\nhalf_opened = \"30s\""),
        &[
            r#"overlap.toml:79:1: "half_opened": unknown key; did you mean half_open? Known here: half_open, idle, closing, lease_hold, udp_unreplied, udp_idle"#,
        ],
    ),
    (
        "double brackets for those of the flow table",
        ("", "[[flow_table]]"),
        &[
            r#"overlap.toml:78:1: "[[flow_table]]": wrong type, a table is wanted but this is an array; write [flow_table] with its keys below"#,
        ],
    ),
    (
        "number for limits",
        ("", "limits = 1000"),
        &[
            r#"overlap.toml:78:10: "1000": wrong type, a table is wanted but this is an integer; write [endpoint.limits] with its keys below"#,
        ],
    ),
    (
        "string for timeouts",
        ("acceptance_required = false", r#"timeouts = "30s""#),
        &[
            r#"overlap.toml:56:12: "30s": wrong type, a table is wanted but this is a string; write [endpoint_service.timeouts] with its keys below"#,
        ],
    ),
    (
        "number for a string",
        (r#"region = "us-east-1""#, "region = 1"),
        &[
            r#"overlap.toml:2:10: "1": wrong type, a string is wanted but this is an integer; write region = "us-east-1""#,
        ],
    ),
    (
        "string for a number",
        ("port = 8080 ", r#"port = "8080" "#),
        &[
            r#"overlap.toml:27:8: "8080": wrong type, an integer is wanted but this is a string; write port = 8080"#,
        ],
    ),
    (
        "float for a number",
        ("port = 8080 ", "port = 8080.5 "),
        &[
            r#"overlap.toml:27:8: "8080.5": wrong type, an integer is wanted but this is a float; write port = 8080"#,
        ],
    ),
    (
        "date for a string",
        (r#"account = "111111111111""#, "account = 2026-01-01"),
        &[
            r#"overlap.toml:6:11: "2026-01-01": wrong type, a string is wanted but this is a datetime; write account = "111111111111""#,
        ],
    ),
    (
        "integer for a string",
        (r#"account = "111111111111""#, "account = 111111111111"),
        &[
            r#"overlap.toml:6:11: "111111111111": wrong type, a string is wanted but this is an integer; write account = "111111111111""#,
        ],
    ),
    (
        "string for a boolean",
        ("acceptance_required = false", r#"acceptance_required = "no""#),
        &[
            r#"overlap.toml:56:23: "no": wrong type, a boolean is wanted but this is a string; write acceptance_required = true"#,
        ],
    ),
    (
        "string for an array",
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = "10.0.0.0/16""#),
        &[
            r#"overlap.toml:7:9: "10.0.0.0/16": wrong type, an array is wanted but this is a string; write cidrs = ["10.0.0.0/16"]"#,
        ],
    ),
    (
        "string for a table",
        (r#"[{ name = "pl-consumer-a", zone = "us-east-1a" }]"#, r#"["pl-consumer-a"]"#),
        &[
            r#"overlap.toml:14:15: "pl-consumer-a": wrong type, a table is wanted but this is a string; write interfaces = [{ name = "eth1", zone = "us-east-1a" }]"#,
        ],
    ),
    (
        "table for an array",
        (
            r#"[{ name = "pl-consumer-a", zone = "us-east-1a" }]"#,
            r#"{ name = "pl-consumer-a", zone = "us-east-1a" }"#,
        ),
        &[
            r#"overlap.toml:14:14: "{ name = "pl-consumer-a", zone = "us-east-1a" }": wrong type, an array is wanted but this is a table; write interfaces = [{ name = "eth1", zone = "us-east-1a" }]"#,
        ],
    ),
    (
        "number in an array of strings",
        (r#"cidrs = ["10.0.0.0/16"]"#, "cidrs = [10]"),
        &[
            r#"overlap.toml:7:10: "10": wrong type, a string is wanted but this is an integer; write cidrs = ["10.0.0.0/16"]"#,
        ],
    ),
    (
        "single brackets for double ones",
        ("[[endpoint_service]]", "[endpoint_service]"),
        &[
            r#"overlap.toml:53:1: "[endpoint_service]": wrong type, an array is wanted but this is a table; write [[endpoint_service]] with its keys below"#,
            r#"overlap.toml:68:11: "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc": unknown endpoint service; declare it with [[endpoint_service]]; none is declared yet"#,
            r#"overlap.toml:75:11: "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc": unknown endpoint service; declare it with [[endpoint_service]]; none is declared yet"#,
        ],
    ),
    (
        "double brackets for single ones",
        ("[target_group.health_check]", "[[target_group.health_check]]"),
        &[
            r#"overlap.toml:32:1: "[[target_group.health_check]]": wrong type, a table is wanted but this is an array; write [target_group.health_check] with its keys below"#,
        ],
    ),
];
