//! Addresses and ranges: ill-formed, outside their vpc, held twice.

use super::{Row, check_rows};

#[test]
fn addresses() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "target outside its vpc",
        (r#""10.0.1.11""#, r#""10.1.1.11""#),
        &[
            r#"overlap.toml:30:15: "10.1.1.11": outside the cidrs of vpc-provider, 10.0.0.0/16; write an address inside, or add its range to the vpc"#,
        ],
    ),
    (
        "target outside both cidrs of its vpc",
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = ["10.0.0.0/24", "10.1.0.0/24"]"#),
        &[
            r#"overlap.toml:29:15: "10.0.1.10": outside the cidrs of vpc-provider, 10.0.0.0/24, 10.1.0.0/24; write an address inside, or add its range to the vpc"#,
            r#"overlap.toml:30:15: "10.0.1.11": outside the cidrs of vpc-provider, 10.0.0.0/24, 10.1.0.0/24; write an address inside, or add its range to the vpc"#,
            r#"overlap.toml:45:47: "10.0.0.10/16": the subnet is wider than 10.0.0.0/24 of vpc-provider; write a prefix length from 24 to 32"#,
        ],
    ),
    (
        "load balancer outside its vpc",
        ("10.0.0.10/16", "192.168.0.10/24"),
        &[
            r#"overlap.toml:45:47: "192.168.0.10/24": outside the cidrs of vpc-provider, 10.0.0.0/16; write an address inside, or add its range to the vpc"#,
        ],
    ),
    (
        "endpoint outside its vpc",
        (r#""10.0.1.10" }]      #"#, r#""172.16.0.1" }] #"#),
        &[
            r#"overlap.toml:69:47: "172.16.0.1": outside the cidrs of vpc-consumer-a, 10.0.0.0/16; write an address inside, or add its range to the vpc"#,
        ],
    ),
    (
        "address of a vpc whose cidrs are wrong",
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = ["10.0.0.0/33"]"#),
        &[
            r#"overlap.toml:7:10: "10.0.0.0/33": not a prefix length; write 10.0.0.0/ and a number from 0 to 32"#,
        ],
    ),
    (
        "two endpoints, one address",
        (r#"vpc = "vpc-consumer-b""#, r#"vpc = "vpc-consumer-a""#),
        &[
            r#"overlap.toml:76:47: "10.0.1.10": tcp/80 already published at this address by endpoint vpce-0a11111111111111a on line 69; choose another address, or a service of other ports"#,
        ],
    ),
    (
        "one endpoint, one address twice",
        (
            r#"addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]      #"#,
            r#"addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }, { zone = "us-east-1b", address = "10.0.1.10" }] #"#,
        ),
        &[
            r#"overlap.toml:69:95: "10.0.1.10": already the address of endpoint vpce-0a11111111111111a on line 69; choose a free address of vpc-consumer-a"#,
        ],
    ),
    (
        "two load balancers, one address",
        (
            "",
            r#"[[load_balancer]]
name = "spare"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.10/24" }]
"#,
        ),
        &[
            r#"overlap.toml:81:47: "10.0.0.10/24": already the address of load balancer web-nlb on line 45; choose a free address of vpc-provider"#,
        ],
    ),
    (
        "load balancer on a target",
        ("10.0.0.10/16", "10.0.1.10/16"),
        &[
            r#"overlap.toml:45:47: "10.0.1.10/16": already the address of a target of web on line 29; choose a free address of vpc-provider"#,
        ],
    ),
    (
        "endpoint on a load balancer",
        (
            "",
            r#"[[endpoint]]
id = "vpce-c"
vpc = "vpc-provider"
service = "vpce-svc-0e123abc123198abc"
addresses = [{ zone = "us-east-1a", address = "10.0.0.10" }]
"#,
        ),
        &[
            r#"overlap.toml:82:47: "10.0.0.10": already the address of load balancer web-nlb on line 45; choose a free address of vpc-provider"#,
        ],
    ),
    (
        "endpoint on a target",
        (
            "",
            r#"[[endpoint]]
id = "vpce-c"
vpc = "vpc-provider"
service = "vpce-svc-0e123abc123198abc"
addresses = [{ zone = "us-east-1a", address = "10.0.1.11" }]
"#,
        ),
        &[
            r#"overlap.toml:82:47: "10.0.1.11": already the address of a target of web on line 30; choose a free address of vpc-provider"#,
        ],
    ),
    (
        "network address of a target",
        (r#""10.0.1.11""#, r#""10.0.0.0""#),
        &[
            r#"overlap.toml:30:15: "10.0.0.0": the network address of 10.0.0.0/16; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "broadcast address of a target",
        (r#""10.0.1.11""#, r#""10.0.255.255""#),
        &[
            r#"overlap.toml:30:15: "10.0.255.255": the broadcast address of 10.0.0.0/16; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "multicast address of a target",
        (r#""10.0.1.11""#, r#""224.0.0.1""#),
        &[
            r#"overlap.toml:30:15: "224.0.0.1": a multicast address; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "loopback address of a target",
        (r#""10.0.1.11""#, r#""127.0.0.1""#),
        &[
            r#"overlap.toml:30:15: "127.0.0.1": a loopback address; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "limited broadcast address of a target",
        (r#""10.0.1.11""#, r#""255.255.255.255""#),
        &[
            r#"overlap.toml:30:15: "255.255.255.255": the broadcast address; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "this-network address of a target",
        (r#""10.0.1.11""#, r#""0.0.0.0""#),
        &[
            r#"overlap.toml:30:15: "0.0.0.0": an address of "this network"; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "network address of a load balancer",
        ("10.0.0.10/16", "10.0.1.0/24"),
        &[
            r#"overlap.toml:45:47: "10.0.1.0/24": the network address of 10.0.1.0/24; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "broadcast address of a load balancer",
        ("10.0.0.10/16", "10.0.1.255/24"),
        &[
            r#"overlap.toml:45:47: "10.0.1.255/24": the broadcast address of 10.0.1.0/24; write the address of a host in vpc-provider"#,
        ],
    ),
    (
        "load balancer without prefix length",
        ("10.0.0.10/16", "10.0.0.10"),
        &[
            r#"overlap.toml:45:47: "10.0.0.10": the prefix length is missing; write 10.0.0.10/ and the length, that of the subnet it stands in"#,
        ],
    ),
    (
        "prefix length beyond 32",
        ("10.0.0.10/16", "10.0.0.10/33"),
        &[
            r#"overlap.toml:45:47: "10.0.0.10/33": not a prefix length; write 10.0.0.10/ and a number from 0 to 32"#,
        ],
    ),
    (
        "prefix length with a sign",
        ("10.0.0.10/16", "10.0.0.10/+16"),
        &[
            r#"overlap.toml:45:47: "10.0.0.10/+16": not a prefix length; write 10.0.0.10/ and a number from 0 to 32"#,
        ],
    ),
    (
        "netmask for a prefix length",
        ("10.0.0.10/16", "10.0.0.10/255.255.0.0"),
        &[
            r#"overlap.toml:45:47: "10.0.0.10/255.255.0.0": not a prefix length; write 10.0.0.10/ and a number from 0 to 32"#,
        ],
    ),
    (
        "subnet wider than the vpc",
        ("10.0.0.10/16", "10.0.0.10/8"),
        &[
            r#"overlap.toml:45:47: "10.0.0.10/8": the subnet is wider than 10.0.0.0/16 of vpc-provider; write a prefix length from 16 to 32"#,
        ],
    ),
    (
        "target with a prefix length",
        (r#""10.0.1.11""#, r#""10.0.1.11/16""#),
        &[
            r#"overlap.toml:30:15: "10.0.1.11/16": a prefix length has no meaning here; write 10.0.1.11"#,
        ],
    ),
    (
        "endpoint with a prefix length",
        (r#""10.0.1.10" }]      #"#, r#""10.0.1.10/32" }] #"#),
        &[
            r#"overlap.toml:69:47: "10.0.1.10/32": a prefix length has no meaning here; write 10.0.1.10"#,
        ],
    ),
    (
        "host name for an address",
        (r#""10.0.1.11""#, r#""web.example.com""#),
        &[
            r#"overlap.toml:30:15: "web.example.com": not an IP address; write four numbers from 0 to 255, e.g. 10.0.1.10, or an IPv6 address, e.g. fd00::1:10"#,
        ],
    ),
    (
        "number beyond 255",
        (r#""10.0.1.11""#, r#""10.0.1.256""#),
        &[
            r#"overlap.toml:30:15: "10.0.1.256": not an IP address; write four numbers from 0 to 255, e.g. 10.0.1.10, or an IPv6 address, e.g. fd00::1:10"#,
        ],
    ),
    (
        "leading zero",
        (r#""10.0.1.11""#, r#""10.0.1.011""#),
        &[
            r#"overlap.toml:30:15: "10.0.1.011": not an IP address; write four numbers from 0 to 255, e.g. 10.0.1.10, or an IPv6 address, e.g. fd00::1:10"#,
        ],
    ),
    (
        "cidr without prefix length",
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = ["10.0.0.0"]"#),
        &[
            r#"overlap.toml:7:10: "10.0.0.0": the prefix length is missing; write 10.0.0.0/ and the length, 32 for a single address"#,
        ],
    ),
    (
        "cidr with address bits behind the prefix",
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = ["10.0.1.0/16"]"#),
        &[
            r#"overlap.toml:7:10: "10.0.1.0/16": address bits set behind the prefix; write 10.0.0.0/16"#,
        ],
    ),
    (
        "overlapping cidrs",
        (r#"cidrs = ["10.0.0.0/16"]"#, r#"cidrs = ["10.0.0.0/16", "10.0.1.0/24"]"#),
        &[
            r#"overlap.toml:7:25: "10.0.1.0/24": overlaps 10.0.0.0/16 of the same vpc; keep the wider of the two"#,
        ],
    ),
    (
        "empty cidrs",
        (r#"cidrs = ["10.0.0.0/16"]"#, "cidrs = []"),
        &[r#"overlap.toml:7:9: "[]": empty; write cidrs = ["10.0.0.0/16"]"#],
    ),
    (
        "empty addresses of a load balancer",
        (r#"addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]"#, "addresses = []"),
        &[
            r#"overlap.toml:45:13: "[]": empty; write addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]"#,
        ],
    ),
    (
        "empty addresses of an endpoint",
        (
            r#"addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]      #"#,
            "addresses = [] #",
        ),
        &[
            r#"overlap.toml:69:13: "[]": empty; write addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]"#,
        ],
    ),
];
