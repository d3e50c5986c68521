//! Target groups, load balancers and endpoint services.

use super::{Row, check_rows};

#[test]
fn provider() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "port 0 of a target group",
        ("port = 8080 ", "port = 0 "),
        &[r#"overlap.toml:27:8: "0": not a port; write a number from 1 to 65535"#],
    ),
    (
        "port 0 of a target",
        ("port = 8081", "port = 0"),
        &[r#"overlap.toml:30:35: "0": not a port; write a number from 1 to 65535"#],
    ),
    (
        "port 0 of a listener",
        ("port = 80\n", "port = 0\n"),
        &[r#"overlap.toml:48:8: "0": not a port; write a number from 1 to 65535"#],
    ),
    (
        "port 65536 of a target group",
        ("port = 8080 ", "port = 65536 "),
        &[r#"overlap.toml:27:8: "65536": not a port; write a number from 1 to 65535"#],
    ),
    (
        "port 65536 of a target",
        ("port = 8081", "port = 65536"),
        &[r#"overlap.toml:30:35: "65536": not a port; write a number from 1 to 65535"#],
    ),
    (
        "port 65536 of a listener",
        ("port = 80\n", "port = 65536\n"),
        &[r#"overlap.toml:48:8: "65536": not a port; write a number from 1 to 65535"#],
    ),
    (
        "negative port",
        ("port = 8081", "port = -1"),
        &[r#"overlap.toml:30:35: "-1": not a port; write a number from 1 to 65535"#],
    ),
    (
        "port beyond 64 bits",
        ("port = 8081", "port = 99999999999999999999"),
        &[
            r#"overlap.toml:30:35: "99999999999999999999": not a port; write a number from 1 to 65535"#,
        ],
    ),
    (
        "weight 1000",
        ("weight = 2", "weight = 1000"),
        &[r#"overlap.toml:30:50: "1000": not a weight; write a number from 0 to 999"#],
    ),
    (
        "negative weight",
        ("weight = 2", "weight = -1"),
        &[r#"overlap.toml:30:50: "-1": not a weight; write a number from 0 to 999"#],
    ),
    (
        "registration",
        (
            "",
            r#"[[registration]]
target_group = "api"
[[registration]]
target_group = "web"
targets = [{ address = "10.0.0.10" }]
deregistered = ["10.0.1.10"]"#,
        ),
        &[
            r#"overlap.toml:45:47: "10.0.0.10/16": already the address of a target of web on line 82; choose a free address of vpc-provider"#,
            r#"overlap.toml:79:16: "api": unknown target group; declare it with [[target_group]], or use one that exists: web"#,
            r#"overlap.toml:83:17: "10.0.1.10": not a target; write it as 10.0.1.10:8080 or [fd00::1:10]:8080"#,
        ],
    ),
    (
        "target twice by the group's port",
        (r#""10.0.1.11", port = 8081"#, r#""10.0.1.10""#),
        &[
            r#"overlap.toml:30:15: "10.0.1.10": repeated target, 10.0.1.10:8080 is already on line 29; remove it, or give it another port"#,
        ],
    ),
    (
        "target twice by its own port",
        (r#""10.0.1.11", port = 8081"#, r#""10.0.1.10", port = 8080"#),
        &[
            r#"overlap.toml:30:15: "10.0.1.10": repeated target, 10.0.1.10:8080 is already on line 29; remove it, or give it another port"#,
        ],
    ),
    (
        "protocol tls of a target group, which fits every listener",
        (
            r#"vpc = "vpc-provider"
protocol = "tcp""#,
            r#"vpc = "vpc-provider"
protocol = "tls""#,
        ),
        &[r#"overlap.toml:26:12: "tls": protocol not supported; write "tcp", "udp" or "tcp_udp""#],
    ),
    (
        "protocol TLS of a listener",
        (
            r#"protocol = "tcp"
port = 80
"#,
            r#"protocol = "TLS"
port = 80
"#,
        ),
        &[r#"overlap.toml:47:12: "TLS": protocol not supported; write "tcp", "udp" or "tcp_udp""#],
    ),
    (
        "listener twice",
        (
            "[load_balancer.attributes]",
            r#"[[load_balancer.listener]]
protocol = "tcp"
port = 80
target_group = "web"
[load_balancer.attributes]"#,
        ),
        &[
            r#"overlap.toml:52:8: "80": repeated listener, tcp/80 is already on line 48; remove it, or give it another port"#,
        ],
    ),
    (
        "target group of another vpc",
        (
            r#"name = "web"
vpc = "vpc-provider""#,
            r#"name = "web"
vpc = "vpc-consumer-a""#,
        ),
        &[
            r#"overlap.toml:49:16: "web": target group of vpc-consumer-a, but the load balancer is in vpc-provider; choose a target group of vpc-provider"#,
            r#"overlap.toml:69:47: "10.0.1.10": already the address of a target of web on line 29; choose a free address of vpc-consumer-a"#,
        ],
    ),
    (
        "empty load balancers of a service",
        (r#"load_balancers = ["web-nlb"]"#, "load_balancers = []"),
        &[r#"overlap.toml:55:18: "[]": empty; write load_balancers = ["web-nlb"]"#],
    ),
    (
        "load balancer twice in a service",
        (r#"load_balancers = ["web-nlb"]"#, r#"load_balancers = ["web-nlb", "web-nlb"]"#),
        &[r#"overlap.toml:55:30: "web-nlb": repeated load balancer; name each once"#],
    ),
    (
        "principal: no ARN",
        (r#""arn:aws:iam::222222222222:root""#, r#""222222222222""#),
        &[
            r#"overlap.toml:57:23: "222222222222": not a principal; write "*" for everybody, or arn:aws:iam::ACCOUNT:root, …:user/NAME or …:role/NAME with the account's 12 digits"#,
        ],
    ),
    (
        "principal: ARN of 11 digits",
        (r#""arn:aws:iam::222222222222:root""#, r#""arn:aws:iam::22222222222:root""#),
        &[
            r#"overlap.toml:57:23: "arn:aws:iam::22222222222:root": not a principal; write "*" for everybody, or arn:aws:iam::ACCOUNT:root, …:user/NAME or …:role/NAME with the account's 12 digits"#,
        ],
    ),
    (
        "principal: ARN of another AWS service",
        (r#""arn:aws:iam::222222222222:root""#, r#""arn:aws:s3:::bucket""#),
        &[
            r#"overlap.toml:57:23: "arn:aws:s3:::bucket": not a principal; write "*" for everybody, or arn:aws:iam::ACCOUNT:root, …:user/NAME or …:role/NAME with the account's 12 digits"#,
        ],
    ),
    (
        "principal: ARN of a user without name",
        (r#""arn:aws:iam::222222222222:root""#, r#""arn:aws:iam::222222222222:user/""#),
        &[
            r#"overlap.toml:57:23: "arn:aws:iam::222222222222:user/": not a principal; write "*" for everybody, or arn:aws:iam::ACCOUNT:root, …:user/NAME or …:role/NAME with the account's 12 digits"#,
        ],
    ),
    (
        "principal: empty",
        (r#""arn:aws:iam::222222222222:root""#, r#""""#),
        &[
            r#"overlap.toml:57:23: "": not a principal; write "*" for everybody, or arn:aws:iam::ACCOUNT:root, …:user/NAME or …:role/NAME with the account's 12 digits"#,
        ],
    ),
];
