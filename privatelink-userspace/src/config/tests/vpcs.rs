//! Accounts and interfaces.

use super::{Row, check_rows};

#[test]
fn vpcs() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "account of 11 digits",
        (r#""222222222222""#, r#""22222222222""#),
        &[r#"overlap.toml:12:11: "22222222222": not an account number; write exactly 12 digits"#],
    ),
    (
        "account with hyphens",
        (r#""222222222222""#, r#""2222-2222-2222""#),
        &[
            r#"overlap.toml:12:11: "2222-2222-2222": not an account number; write exactly 12 digits"#,
        ],
    ),
    (
        "account in other digits",
        (r#""222222222222""#, r#""２２２２２２２２２２２２""#),
        &[
            r#"overlap.toml:12:11: "２２２２２２２２２２２２": not an account number; write exactly 12 digits"#,
        ],
    ),
    (
        "empty interfaces",
        (r#"[{ name = "pl-consumer-a", zone = "us-east-1a" }]"#, "[]"),
        &[
            r#"overlap.toml:14:14: "[]": empty; write interfaces = [{ name = "eth1", zone = "us-east-1a" }]"#,
        ],
    ),
    (
        "interface of two vpcs",
        (r#""pl-consumer-b""#, r#""pl-consumer-a""#),
        &[
            r#"overlap.toml:20:24: "pl-consumer-a": already an interface of vpc-consumer-a on line 14; name each interface once, in one vpc"#,
        ],
    ),
    (
        "interface twice in a vpc",
        (
            r#"[{ name = "pl-consumer-a", zone = "us-east-1a" }]"#,
            r#"[{ name = "eth1", zone = "a" }, { name = "eth1", zone = "b" }]"#,
        ),
        &[
            r#"overlap.toml:14:55: "eth1": already an interface of vpc-consumer-a on line 14; name each interface once, in one vpc"#,
        ],
    ),
    (
        "interface of a vpc without id",
        (
            r#"account = "333333333333"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "pl-consumer-b""#,
            r#"account = "333333333333"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "eth0", zone = "a" }, { name = "eth0""#,
        ),
        &[
            r#"overlap.toml:20:55: "eth0": already an interface of vpc-consumer-b on line 20; name each interface once, in one vpc"#,
        ],
    ),
    (
        "interface of 16 characters",
        (r#""pl-consumer-a", zone"#, r#""pl-consumer-aaaa", zone"#),
        &[
            r#"overlap.toml:14:24: "pl-consumer-aaaa": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        "empty interface name",
        (r#""pl-consumer-a", zone"#, r#""", zone"#),
        &[
            r#"overlap.toml:14:24: "": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        "interface name with a slash",
        (r#""pl-consumer-a", zone"#, r#""eth/1", zone"#),
        &[
            r#"overlap.toml:14:24: "eth/1": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        "interface name with a colon",
        (r#""pl-consumer-a", zone"#, r#""eth0:1", zone"#),
        &[
            r#"overlap.toml:14:24: "eth0:1": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        "interface name with a space",
        (r#""pl-consumer-a", zone"#, r#""eth 0", zone"#),
        &[
            r#"overlap.toml:14:24: "eth 0": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        "interface name of two dots",
        (r#""pl-consumer-a", zone"#, r#""..", zone"#),
        &[
            r#"overlap.toml:14:24: "..": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        "interface name beyond ASCII",
        (r#""pl-consumer-a", zone"#, r#""ethé", zone"#),
        &[
            r#"overlap.toml:14:24: "ethé": not a valid interface name; write a name as "ip link" lists it, at most 15 characters"#,
        ],
    ),
    (
        r#"attach = "driver""#,
        (
            r#""pl-provider", zone = "us-east-1a""#,
            r#""pl-provider", attach = "driver", zone = "us-east-1a""#,
        ),
        &[
            r#"overlap.toml:8:48: "driver": not a way to attach; write "auto", "tcx", "xdp" (by the driver) or "xdp-generic" (slow)"#,
        ],
    ),
    (
        r#"attach = "generic""#,
        (
            r#""pl-provider", zone = "us-east-1a""#,
            r#""pl-provider", attach = "generic", zone = "us-east-1a""#,
        ),
        &[
            r#"overlap.toml:8:48: "generic": not a way to attach; write "auto", "tcx", "xdp" (by the driver) or "xdp-generic" (slow)"#,
        ],
    ),
    (
        r#"attach = "XDP""#,
        (
            r#""pl-provider", zone = "us-east-1a""#,
            r#""pl-provider", attach = "XDP", zone = "us-east-1a""#,
        ),
        &[
            r#"overlap.toml:8:48: "XDP": not a way to attach; write "auto", "tcx", "xdp" (by the driver) or "xdp-generic" (slow)"#,
        ],
    ),
    (
        r#"attach = """#,
        (
            r#""pl-provider", zone = "us-east-1a""#,
            r#""pl-provider", attach = "", zone = "us-east-1a""#,
        ),
        &[
            r#"overlap.toml:8:48: "": not a way to attach; write "auto", "tcx", "xdp" (by the driver) or "xdp-generic" (slow)"#,
        ],
    ),
    (
        "attach = true",
        (
            r#""pl-provider", zone = "us-east-1a""#,
            r#""pl-provider", attach = true, zone = "us-east-1a""#,
        ),
        &[
            r#"overlap.toml:8:48: "true": wrong type, a string is wanted but this is a boolean; write attach = "xdp""#,
        ],
    ),
];
