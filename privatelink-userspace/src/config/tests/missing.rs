//! Keys that must be there and are not.

use super::{Row, check_rows};

#[test]
fn missing_keys() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "missing region",
        (
            r#"region = "us-east-1"
"#,
            "",
        ),
        &[r#"overlap.toml:1:1: "": the key region is missing; add region = "us-east-1""#],
    ),
    (
        "missing id of a vpc",
        (
            r#"id = "vpc-provider"
"#,
            "",
        ),
        &[r#"overlap.toml:4:1: "[[vpc]]": the key id is missing; add id = "vpc-a""#],
    ),
    (
        "missing account of a vpc",
        (
            r#"account = "222222222222"
"#,
            "",
        ),
        &[
            r#"overlap.toml:10:1: "[[vpc]]": the key account is missing; add account = "111111111111""#,
        ],
    ),
    (
        "missing cidrs of a vpc",
        (
            r#"cidrs = ["10.0.0.0/16"]
"#,
            "",
        ),
        &[r#"overlap.toml:4:1: "[[vpc]]": the key cidrs is missing; add cidrs = ["10.0.0.0/16"]"#],
    ),
    (
        "missing interfaces of a vpc",
        (
            r#"interfaces = [{ name = "pl-consumer-a", zone = "us-east-1a" }]
"#,
            "",
        ),
        &[
            r#"overlap.toml:10:1: "[[vpc]]": the key interfaces is missing; add interfaces = [{ name = "eth1", zone = "us-east-1a" }]"#,
        ],
    ),
    (
        "missing name of a target group",
        (
            r#"name = "web"
"#,
            "",
        ),
        &[r#"overlap.toml:23:1: "[[target_group]]": the key name is missing; add name = "web""#],
    ),
    (
        "missing vpc of a target group",
        (
            r#"name = "web"
vpc = "vpc-provider""#,
            r#"name = "web""#,
        ),
        &[r#"overlap.toml:23:1: "[[target_group]]": the key vpc is missing; add vpc = "vpc-a""#],
    ),
    (
        "missing protocol of a target group",
        (
            r#"vpc = "vpc-provider"
protocol = "tcp""#,
            r#"vpc = "vpc-provider""#,
        ),
        &[
            r#"overlap.toml:23:1: "[[target_group]]": the key protocol is missing; add protocol = "tcp""#,
        ],
    ),
    (
        "missing name of a load balancer",
        (
            r#"name = "web-nlb"
"#,
            "",
        ),
        &[
            r#"overlap.toml:42:1: "[[load_balancer]]": the key name is missing; add name = "web-nlb""#,
        ],
    ),
    (
        "missing vpc of a load balancer",
        (
            r#"name = "web-nlb"
vpc = "vpc-provider""#,
            r#"name = "web-nlb""#,
        ),
        &[r#"overlap.toml:42:1: "[[load_balancer]]": the key vpc is missing; add vpc = "vpc-a""#],
    ),
    (
        "missing protocol of a listener",
        (
            r#"protocol = "tcp"
port = 80
"#,
            "port = 80\n",
        ),
        &[
            r#"overlap.toml:46:1: "[[load_balancer.listener]]": the key protocol is missing; add protocol = "tcp""#,
        ],
    ),
    (
        "missing port of a listener",
        ("port = 80\n", ""),
        &[
            r#"overlap.toml:46:1: "[[load_balancer.listener]]": the key port is missing; add port = 80"#,
        ],
    ),
    (
        "missing target group of a listener",
        (
            r#"target_group = "web"
"#,
            "",
        ),
        &[
            r#"overlap.toml:46:1: "[[load_balancer.listener]]": the key target_group is missing; add target_group = "web""#,
        ],
    ),
    (
        "missing id of a service",
        (
            r#"id = "vpce-svc-0e123abc123198abc"
"#,
            "",
        ),
        &[
            r#"overlap.toml:53:1: "[[endpoint_service]]": the key id is missing; add id = "vpce-svc-0e123abc123198abc""#,
        ],
    ),
    (
        "missing load balancers of a service",
        (
            r#"load_balancers = ["web-nlb"]
"#,
            "",
        ),
        &[
            r#"overlap.toml:53:1: "[[endpoint_service]]": the key load_balancers is missing; add load_balancers = ["web-nlb"]"#,
        ],
    ),
    (
        "missing id of a security group",
        (
            r#"id = "sg-a"
"#,
            "",
        ),
        &[r#"overlap.toml:60:1: "[[security_group]]": the key id is missing; add id = "sg-a""#],
    ),
    (
        "missing vpc of a security group",
        (
            r#"id = "sg-a"
vpc = "vpc-consumer-a"
"#,
            r#"id = "sg-a"
"#,
        ),
        &[r#"overlap.toml:60:1: "[[security_group]]": the key vpc is missing; add vpc = "vpc-a""#],
    ),
    (
        "missing id of an endpoint",
        (
            r#"id = "vpce-0a11111111111111a"
"#,
            "",
        ),
        &[
            r#"overlap.toml:65:1: "[[endpoint]]": the key id is missing; add id = "vpce-0a11111111111111a""#,
        ],
    ),
    (
        "missing vpc of an endpoint",
        (
            r#"id = "vpce-0b22222222222222b"
vpc = "vpc-consumer-b"
"#,
            r#"id = "vpce-0b22222222222222b"
"#,
        ),
        &[r#"overlap.toml:72:1: "[[endpoint]]": the key vpc is missing; add vpc = "vpc-a""#],
    ),
    (
        "missing service of an endpoint",
        (
            r#"vpc = "vpc-consumer-b"
service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc"
"#,
            r#"vpc = "vpc-consumer-b"
"#,
        ),
        &[
            r#"overlap.toml:72:1: "[[endpoint]]": the key service is missing; add service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc""#,
        ],
    ),
    (
        "missing port of a target group",
        ("port = 8080 ", ""),
        &[r#"overlap.toml:23:1: "[[target_group]]": the key port is missing; add port = 8080"#],
    ),
    (
        "missing addresses of a load balancer",
        (r#"addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]"#, ""),
        &[
            r#"overlap.toml:42:1: "[[load_balancer]]": the key addresses is missing; add addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]"#,
        ],
    ),
    (
        "missing addresses of an endpoint",
        (r#"addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]      #"#, "#"),
        &[
            r#"overlap.toml:65:1: "[[endpoint]]": the key addresses is missing; add addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]"#,
        ],
    ),
    (
        "missing name of an interface",
        (r#"name = "pl-consumer-a", "#, ""),
        &[
            r#"overlap.toml:14:15: "{ zone = "us-east-1a" }": the key name is missing; add name = "eth1""#,
        ],
    ),
    (
        "missing zone of an interface",
        (r#""pl-consumer-a", zone = "us-east-1a""#, r#""pl-consumer-a""#),
        &[
            r#"overlap.toml:14:15: "{ name = "pl-consumer-a" }": the key zone is missing; add zone = "us-east-1a""#,
        ],
    ),
    (
        "missing address of a target",
        (r#"address = "10.0.1.11", "#, ""),
        &[
            r#"overlap.toml:30:3: "{ port = 8081, weight = 2 }": the key address is missing; add address = "10.0.1.10""#,
        ],
    ),
    (
        "missing zone of a load balancer address",
        (r#"zone = "us-east-1a", address = "10.0.0.10/16""#, r#"address = "10.0.0.10/16""#),
        &[
            r#"overlap.toml:45:14: "{ address = "10.0.0.10/16" }": the key zone is missing; add zone = "us-east-1a""#,
        ],
    ),
    (
        "missing address of a load balancer address",
        (r#", address = "10.0.0.10/16""#, ""),
        &[
            r#"overlap.toml:45:14: "{ zone = "us-east-1a" }": the key address is missing; add address = "10.0.0.10/16""#,
        ],
    ),
    (
        "missing zone of an endpoint address",
        (
            r#"[{ zone = "us-east-1a", address = "10.0.1.10" }]      #"#,
            r#"[{ address = "10.0.1.10" }] #"#,
        ),
        &[
            r#"overlap.toml:69:14: "{ address = "10.0.1.10" }": the key zone is missing; add zone = "us-east-1a""#,
        ],
    ),
    (
        "missing address of an endpoint address",
        (r#", address = "10.0.1.10" }]      #"#, "}] #"),
        &[
            r#"overlap.toml:69:14: "{ zone = "us-east-1a"}": the key address is missing; add address = "10.0.1.10""#,
        ],
    ),
    (
        "missing protocol of a rule",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
        ),
        &[
            r#"overlap.toml:63:12: "{ from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }": the key protocol is missing; add protocol = "tcp""#,
        ],
    ),
    (
        "missing from_port of a rule",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ protocol = "tcp", to_port = 80, cidr = "10.0.0.0/16" }]"#,
        ),
        &[
            r#"overlap.toml:63:12: "{ protocol = "tcp", to_port = 80, cidr = "10.0.0.0/16" }": the key from_port is missing; add from_port = 80"#,
        ],
    ),
    (
        "missing to_port of a rule",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ protocol = "tcp", from_port = 80, cidr = "10.0.0.0/16" }]"#,
        ),
        &[
            r#"overlap.toml:63:12: "{ protocol = "tcp", from_port = 80, cidr = "10.0.0.0/16" }": the key to_port is missing; add to_port = 80"#,
        ],
    ),
    (
        "missing cidr of a rule",
        (
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
            r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80 }]"#,
        ),
        &[
            r#"overlap.toml:63:12: "{ protocol = "tcp", from_port = 80, to_port = 80 }": the key cidr is missing; add cidr = "10.0.0.0/16""#,
        ],
    ),
];
