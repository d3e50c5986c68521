//! Several mistakes at once, and how the offending text is shown.

use super::{Row, check_rows};

#[test]
fn several_mistakes() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "in the order of the file, not of the checks",
        (
            r#"region = "us-east-1"

[[vpc]]
id = "vpc-provider"
account = "111111111111""#,
            r#"region = "US"

[[vpc]]
id = "vpc-provider"
colour = "red"
account = "1""#,
        ),
        &[
            r#"overlap.toml:2:10: "US": not a valid region; use lower-case letters, digits and '-', e.g. us-east-1"#,
            r#"overlap.toml:6:1: "colour": unknown key; remove it; known here: id, account, cidrs, interfaces"#,
            r#"overlap.toml:7:11: "1": not an account number; write exactly 12 digits"#,
        ],
    ),
    (
        "two on one line",
        (r#""10.0.1.11", port = 8081, weight = 2"#, r#""10.9.1.11", port = 0, weight = 1000"#),
        &[
            r#"overlap.toml:30:15: "10.9.1.11": outside the cidrs of vpc-provider, 10.0.0.0/16; write an address inside, or add its range to the vpc"#,
            r#"overlap.toml:30:35: "0": not a port; write a number from 1 to 65535"#,
            r#"overlap.toml:30:47: "1000": not a weight; write a number from 0 to 999"#,
        ],
    ),
    (
        "columns count characters",
        (r#"{ address = "10.0.1.11", port = 8081"#, r#"{ address = "ü", port = 0"#),
        &[
            r#"overlap.toml:30:15: "ü": not an IP address; write four numbers from 0 to 255, e.g. 10.0.1.10, or an IPv6 address, e.g. fd00::1:10"#,
            r#"overlap.toml:30:27: "0": not a port; write a number from 1 to 65535"#,
        ],
    ),
    (
        "one cause is not reported again where it is used",
        (
            r#"id = "vpc-provider"
account"#,
            "account",
        ),
        &[r#"overlap.toml:4:1: "[[vpc]]": the key id is missing; add id = "vpc-a""#],
    ),
    (
        "control characters are shown escaped",
        (r#"id = "sg-a""#, r#"id = "sg-\u001b[31m""#),
        &[
            r#"overlap.toml:61:6: "sg-\u001b[31m": not a valid security group id; write sg- and lower-case letters, digits or '-', at most 128"#,
        ],
    ),
    (
        "a line break in a name that another mistake quotes",
        (
            r#"id = "vpc-consumer-b"
account = "333333333333"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "pl-consumer-b", zone = "us-east-1a" }]"#,
            r#"id = "vpc\n\u001b[31m"
account = "333333333333"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "eth1", zone = "a" }, { name = "eth1", zone = "a" }]"#,
        ),
        &[
            r#"overlap.toml:17:6: "vpc\n\u001b[31m": not a valid vpc id; use letters, digits, '.', '_' and '-', at most 128"#,
            r#"overlap.toml:20:55: "eth1": already an interface of vpc\n\u{1b}[31m on line 20; name each interface once, in one vpc"#,
        ],
    ),
    (
        "a long text is cut",
        (
            r#"id = "sg-a""#,
            r#"id = "sg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg A""#,
        ),
        &[
            r#"overlap.toml:61:6: "sg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg Asg A…": not a valid security group id; write sg- and lower-case letters, digits or '-', at most 128"#,
        ],
    ),
    (
        "only the first line of a text is shown",
        (
            r#"id = "sg-a""#,
            r#"id = """sg-
b""""#,
        ),
        &[
            r#"overlap.toml:61:6: "sg-…": not a valid security group id; write sg- and lower-case letters, digits or '-', at most 128"#,
        ],
    ),
];
