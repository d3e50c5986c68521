//! Security groups, rules and whom a service admits.

use super::{Row, check_rows};

#[test]
fn consumer() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "icmp_echo as a string",
        ("", r#"icmp_echo = "yes""#),
        &[
            r#"overlap.toml:78:13: "yes": wrong type, a boolean is wanted but this is a string; write icmp_echo = false"#,
        ],
    ),
    (
        "icmp_echo as a number",
        ("", "icmp_echo = 1"),
        &[
            r#"overlap.toml:78:13: "1": wrong type, a boolean is wanted but this is an integer; write icmp_echo = false"#,
        ],
    ),
    (
        "security group of another vpc",
        ("# no security_groups: allow", r#"security_groups = ["sg-a"] #"#),
        &[
            r#"overlap.toml:77:20: "sg-a": security group of vpc-consumer-a, but the endpoint is in vpc-consumer-b; choose a security group of vpc-consumer-b"#,
        ],
    ),
    (
        "security group twice",
        (r#"security_groups = ["sg-a"]"#, r#"security_groups = ["sg-a", "sg-a"]"#),
        &[r#"overlap.toml:70:28: "sg-a": repeated security group; name each once"#],
    ),
    (
        "empty security groups",
        (r#"security_groups = ["sg-a"]"#, "security_groups = []"),
        &[
            r#"overlap.toml:70:19: "[]": empty; name a group, or remove the key to allow all from the vpc's cidrs"#,
        ],
    ),
    (
        "protocol tcp_udp of a rule",
        (r#"[{ protocol = "tcp", from"#, r#"[{ protocol = "tcp_udp", from"#),
        &[
            r#"overlap.toml:63:25: "tcp_udp": protocol not supported; write "tcp", "udp", or "-1" or "all" for any"#,
        ],
    ),
    (
        "from_port greater than to_port",
        ("from_port = 80", "from_port = 81"),
        &[r#"overlap.toml:63:44: "81": from_port greater than to_port, 80; swap them"#],
    ),
    (
        "from_port greater than to_port, any protocol",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ protocol = "-1", to_port = 80, from_port = 81, cidr = "10.0.0.0/16" }]"#,
        ),
        &[r#"overlap.toml:63:57: "81": from_port greater than to_port, 80; swap them"#],
    ),
    (
        "port 65536 of a rule",
        ("to_port = 80", "to_port = 65536"),
        &[r#"overlap.toml:63:58: "65536": not a port; write a number from 0 to 65535"#],
    ),
    (
        "negative port of a rule",
        ("from_port = 80", "from_port = -1"),
        &[r#"overlap.toml:63:44: "-1": not a port; write a number from 0 to 65535"#],
    ),
    (
        "port 0 of a rule",
        ("from_port = 80, to_port = 80", "from_port = 0, to_port = 0"),
        &[
            r#"overlap.toml:63:57: "0": a rule for port 0 alone admits nothing; write from_port = 0, to_port = 65535 for all ports"#,
        ],
    ),
    (
        "ports 0 to 0 of any protocol",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ protocol = "-1", from_port = 0, to_port = 0, cidr = "10.0.0.0/16" }]"#,
        ),
        &[
            r#"overlap.toml:63:56: "0": a rule for port 0 alone admits nothing; write from_port = 0, to_port = 65535 for all ports"#,
        ],
    ),
    (
        "rule cidr with address bits behind the prefix",
        (r#"cidr = "10.0.0.0/16""#, r#"cidr = "10.0.0.1/16""#),
        &[
            r#"overlap.toml:63:69: "10.0.0.1/16": address bits set behind the prefix; write 10.0.0.0/16"#,
        ],
    ),
    (
        "rule cidr without prefix length",
        (r#"cidr = "10.0.0.0/16""#, r#"cidr = "10.0.0.1""#),
        &[
            r#"overlap.toml:63:69: "10.0.0.1": the prefix length is missing; write 10.0.0.1/ and the length, 32 for a single address"#,
        ],
    ),
    (
        "security group for a rule source",
        (r#"cidr = "10.0.0.0/16""#, r#"cidr = "sg-b""#),
        &[
            r#"overlap.toml:63:69: "sg-b": not an IP address; write an address and a prefix length, e.g. 10.0.1.10/32 or fd00::/64"#,
        ],
    ),
];
