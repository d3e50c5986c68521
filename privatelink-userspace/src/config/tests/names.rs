//! Names and ids: unknown, repeated, ill-formed.

use super::{Row, check_rows};

#[test]
fn names() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "unknown vpc of a target group",
        (
            r#"name = "web"
vpc = "vpc-provider""#,
            r#"name = "web"
vpc = "vpc-provder""#,
        ),
        &[
            r#"overlap.toml:25:7: "vpc-provder": unknown vpc; did you mean vpc-provider? Otherwise declare it with [[vpc]]"#,
        ],
    ),
    (
        "unknown vpc of a load balancer",
        (
            r#"name = "web-nlb"
vpc = "vpc-provider""#,
            r#"name = "web-nlb"
vpc = "elsewhere""#,
        ),
        &[
            r#"overlap.toml:44:7: "elsewhere": unknown vpc; declare it with [[vpc]], or use one that exists: vpc-provider, vpc-consumer-a, vpc-consumer-b"#,
        ],
    ),
    (
        "unknown vpc of a security group",
        (
            r#"id = "sg-a"
vpc = "vpc-consumer-a""#,
            r#"id = "sg-a"
vpc = "vpc-nowhere""#,
        ),
        &[
            r#"overlap.toml:62:7: "vpc-nowhere": unknown vpc; declare it with [[vpc]], or use one that exists: vpc-provider, vpc-consumer-a, vpc-consumer-b"#,
        ],
    ),
    (
        "unknown vpc of an endpoint",
        (
            r#"1a"
vpc = "vpc-consumer-a""#,
            r#"1a"
vpc = "VPC""#,
        ),
        &[
            r#"overlap.toml:67:7: "VPC": unknown vpc; declare it with [[vpc]], or use one that exists: vpc-provider, vpc-consumer-a, vpc-consumer-b"#,
        ],
    ),
    (
        "unknown target group",
        (r#"target_group = "web""#, r#"target_group = "wbe""#),
        &[
            r#"overlap.toml:49:16: "wbe": unknown target group; declare it with [[target_group]], or use one that exists: web"#,
        ],
    ),
    (
        "unknown load balancer",
        (r#"load_balancers = ["web-nlb"]"#, r#"load_balancers = ["web-alb"]"#),
        &[
            r#"overlap.toml:55:19: "web-alb": unknown load balancer; did you mean web-nlb? Otherwise declare it with [[load_balancer]]"#,
        ],
    ),
    (
        "unknown service by name",
        (
            r#"vpce-svc-0e123abc123198abc"
addresses"#,
            r#"vpce-svc-0e123abc123198abd"
addresses"#,
        ),
        &[
            r#"overlap.toml:68:11: "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abd": unknown endpoint service; did you mean vpce-svc-0e123abc123198abc? Otherwise declare it with [[endpoint_service]]"#,
        ],
    ),
    (
        "unknown service by id",
        (
            r#"service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc""#,
            r#"service = "vpce-svc-ffff""#,
        ),
        &[
            r#"overlap.toml:68:11: "vpce-svc-ffff": unknown endpoint service; declare it with [[endpoint_service]], or use one that exists: vpce-svc-0e123abc123198abc"#,
        ],
    ),
    (
        "unknown security group",
        (r#"security_groups = ["sg-a"]"#, r#"security_groups = ["sg-web"]"#),
        &[
            r#"overlap.toml:70:20: "sg-web": unknown security group; declare it with [[security_group]], or use one that exists: sg-a"#,
        ],
    ),
    (
        "no security group at all",
        (
            r#"[[security_group]]
id = "sg-a"
vpc = "vpc-consumer-a"
ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]
"#,
            "",
        ),
        &[
            r#"overlap.toml:66:20: "sg-a": unknown security group; declare it with [[security_group]]; none is declared yet"#,
        ],
    ),
    (
        "no service of which the id is readable",
        (r#"id = "vpce-svc-0e123abc123198abc""#, "id = 7"),
        &[
            r#"overlap.toml:54:6: "7": wrong type, a string is wanted but this is an integer; write id = "vpce-svc-0e123abc123198abc""#,
        ],
    ),
    (
        "repeated vpc",
        (r#"id = "vpc-consumer-b""#, r#"id = "vpc-consumer-a""#),
        &[
            r#"overlap.toml:17:6: "vpc-consumer-a": repeated vpc id, first on line 11; give each vpc its own id"#,
            r#"overlap.toml:74:7: "vpc-consumer-b": unknown vpc; did you mean vpc-consumer-a? Otherwise declare it with [[vpc]]"#,
        ],
    ),
    (
        "repeated target group",
        (
            "",
            r#"
[[target_group]]
name = "web"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.12" }]
"#,
        ),
        &[
            r#"overlap.toml:80:8: "web": repeated target group name, first on line 24; give each target group its own name"#,
        ],
    ),
    (
        "repeated load balancer",
        (
            "",
            r#"[[load_balancer]]
name = "web-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.11/16" }]
"#,
        ),
        &[
            r#"overlap.toml:79:8: "web-nlb": repeated load balancer name, first on line 43; give each load balancer its own name"#,
        ],
    ),
    (
        "repeated service",
        (
            "",
            r#"[[endpoint_service]]
id = "vpce-svc-0e123abc123198abc"
load_balancers = ["web-nlb"]
"#,
        ),
        &[
            r#"overlap.toml:79:6: "vpce-svc-0e123abc123198abc": repeated endpoint service id, first on line 54; give each endpoint service its own id"#,
        ],
    ),
    (
        "repeated security group",
        (
            "",
            r#"[[security_group]]
id = "sg-a"
vpc = "vpc-consumer-b"
"#,
        ),
        &[
            r#"overlap.toml:79:6: "sg-a": repeated security group id, first on line 61; give each security group its own id"#,
        ],
    ),
    (
        "repeated endpoint",
        (r#"id = "vpce-0b22222222222222b""#, r#"id = "vpce-0a11111111111111a""#),
        &[
            r#"overlap.toml:73:6: "vpce-0a11111111111111a": repeated endpoint id, first on line 66; give each endpoint its own id"#,
        ],
    ),
    (
        "vpc id with a space",
        (r#"id = "vpc-consumer-b""#, r#"id = "vpc consumer b""#),
        &[
            r#"overlap.toml:17:6: "vpc consumer b": not a valid vpc id; use letters, digits, '.', '_' and '-', at most 128"#,
        ],
    ),
    (
        "empty target group name",
        (
            r#"name = "web"
"#,
            r#"name = ""
"#,
        ),
        &[
            r#"overlap.toml:24:8: "": not a valid target group name; use letters, digits, '.', '_' and '-', at most 128"#,
        ],
    ),
    (
        "load balancer name with a line break",
        (r#"name = "web-nlb""#, r#"name = "web\nnlb""#),
        &[
            r#"overlap.toml:43:8: "web\nnlb": not a valid load balancer name; use letters, digits, '.', '_' and '-', at most 128"#,
        ],
    ),
    (
        "service id without its prefix",
        (r#"id = "vpce-svc-0e123abc123198abc""#, r#"id = "svc-1""#),
        &[
            r#"overlap.toml:54:6: "svc-1": not a valid endpoint service id; write vpce-svc- and lower-case letters or digits, at most 128"#,
        ],
    ),
    (
        "service id of nothing but its prefix",
        (r#"id = "vpce-svc-0e123abc123198abc""#, r#"id = "vpce-svc-""#),
        &[
            r#"overlap.toml:54:6: "vpce-svc-": not a valid endpoint service id; write vpce-svc- and lower-case letters or digits, at most 128"#,
        ],
    ),
    (
        "security group id in capitals",
        (r#"id = "sg-a""#, r#"id = "sg-A""#),
        &[
            r#"overlap.toml:61:6: "sg-A": not a valid security group id; write sg- and lower-case letters, digits or '-', at most 128"#,
        ],
    ),
    (
        "endpoint id without its prefix",
        (r#"id = "vpce-0a11111111111111a""#, r#"id = "ep-a""#),
        &[
            r#"overlap.toml:66:6: "ep-a": not a valid endpoint id; write vpce- and lower-case letters or digits, at most 128"#,
        ],
    ),
    (
        "endpoint id in capitals",
        (r#"id = "vpce-0a11111111111111a""#, r#"id = "vpce-0A11""#),
        &[
            r#"overlap.toml:66:6: "vpce-0A11": not a valid endpoint id; write vpce- and lower-case letters or digits, at most 128"#,
        ],
    ),
    (
        "endpoint id that is a service id",
        (r#"id = "vpce-0a11111111111111a""#, r#"id = "vpce-svc-1""#),
        &[
            r#"overlap.toml:66:6: "vpce-svc-1": not a valid endpoint id; write vpce- and lower-case letters or digits, at most 128"#,
        ],
    ),
    (
        "name of 129 characters",
        (
            r#"name = "web"
"#,
            r#"name = "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"
"#,
        ),
        &[
            r#"overlap.toml:24:8: "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww…": not a valid target group name; use letters, digits, '.', '_' and '-', at most 128"#,
        ],
    ),
    (
        "zone with a space",
        (r#""pl-consumer-a", zone = "us-east-1a""#, r#""pl-consumer-a", zone = "us east""#),
        &[
            r#"overlap.toml:14:48: "us east": not a valid zone; use letters, digits, '.', '_' and '-', at most 128"#,
        ],
    ),
    (
        "empty zone of a load balancer",
        (
            r#"zone = "us-east-1a", address = "10.0.0.10/16""#,
            r#"zone = "", address = "10.0.0.10/16""#,
        ),
        &[
            r#"overlap.toml:45:23: "": not a valid zone; use letters, digits, '.', '_' and '-', at most 128"#,
        ],
    ),
    (
        "region with a dot",
        (r#"region = "us-east-1""#, r#"region = "us.east.1""#),
        &[
            r#"overlap.toml:2:10: "us.east.1": not a valid region; use lower-case letters, digits and '-', e.g. us-east-1"#,
        ],
    ),
    (
        "empty region",
        (r#"region = "us-east-1""#, r#"region = """#),
        &[
            r#"overlap.toml:2:10: "": not a valid region; use lower-case letters, digits and '-', e.g. us-east-1"#,
        ],
    ),
    (
        "service of another region",
        ("vpce.us-east-1.", "vpce.eu-west-1."),
        &[
            r#"overlap.toml:68:11: "com.amazonaws.vpce.eu-west-1.vpce-svc-0e123abc123198abc": service of another region, this gateway's is us-east-1; write com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc"#,
        ],
    ),
    (
        "service name that ends after the region",
        ("us-east-1.vpce-svc-0e123abc123198abc", "us-east-1"),
        &[
            r#"overlap.toml:68:11: "com.amazonaws.vpce.us-east-1": not a service name; write com.amazonaws.vpce.us-east-1.ID or ID, that of an endpoint_service"#,
        ],
    ),
    (
        "service name without an id",
        ("us-east-1.vpce-svc-0e123abc123198abc", "us-east-1."),
        &[
            r#"overlap.toml:68:11: "com.amazonaws.vpce.us-east-1.": unknown endpoint service; declare it with [[endpoint_service]], or use one that exists: vpce-svc-0e123abc123198abc"#,
        ],
    ),
    (
        "service name without its prefix",
        (
            r#"service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc""#,
            r#"service = "us-east-1.vpce-svc-0e123abc123198abc""#,
        ),
        &[
            r#"overlap.toml:68:11: "us-east-1.vpce-svc-0e123abc123198abc": not a service name; write com.amazonaws.vpce.us-east-1.ID or ID, that of an endpoint_service"#,
        ],
    ),
    (
        "service name of an AWS service",
        (
            r#"service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc""#,
            r#"service = "com.amazonaws.us-east-1.s3""#,
        ),
        &[
            r#"overlap.toml:68:11: "com.amazonaws.us-east-1.s3": not a service name; write com.amazonaws.vpce.us-east-1.ID or ID, that of an endpoint_service"#,
        ],
    ),
];
