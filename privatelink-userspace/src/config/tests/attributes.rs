//! Attributes by AWS's names.

use super::{Row, check_rows};

#[test]
fn attributes() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "delay of 3601 s",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""deregistration_delay.timeout_seconds" = 3601"#,
        ),
        &[
            r#"overlap.toml:40:42: "3601": not a number of seconds for this attribute; write a number from 0 to 3600"#,
        ],
    ),
    (
        "negative delay",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""deregistration_delay.timeout_seconds" = -1"#,
        ),
        &[
            r#"overlap.toml:40:42: "-1": not a number of seconds for this attribute; write a number from 0 to 3600"#,
        ],
    ),
    (
        "delay as a string",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""deregistration_delay.timeout_seconds" = "90""#,
        ),
        &[
            r#"overlap.toml:40:42: "90": wrong type, an integer is wanted but this is a string; write "deregistration_delay.timeout_seconds" = 300"#,
        ],
    ),
    (
        "delay without quotes around its name",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            "deregistration_delay.timeout_seconds = 90",
        ),
        &[
            r#"overlap.toml:40:1: "deregistration_delay": an attribute's name is one key; write it in quotes: "deregistration_delay.timeout_seconds""#,
        ],
    ),
    (
        "delay misspelt",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""deregistration_delay.timeout_second" = 90"#,
        ),
        &[
            r#"overlap.toml:40:1: "deregistration_delay.timeout_second": unknown attribute; did you mean deregistration_delay.timeout_seconds?"#,
        ],
    ),
    (
        "unknown attribute of a target group",
        (r#""deregistration_delay.timeout_seconds" = 90"#, r#""slow_start.duration_seconds" = 30"#),
        &[
            r#"overlap.toml:40:1: "slow_start.duration_seconds": unknown attribute; remove it; supported here: deregistration_delay.timeout_seconds, load_balancing.cross_zone.enabled, stickiness.enabled, stickiness.type"#,
        ],
    ),
    (
        "attribute of a target group to come",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""preserve_client_ip.enabled" = false"#,
        ),
        &[
            r#"overlap.toml:40:1: "preserve_client_ip.enabled": attribute not supported yet; remove it; supported here: deregistration_delay.timeout_seconds, load_balancing.cross_zone.enabled, stickiness.enabled, stickiness.type"#,
        ],
    ),
    (
        "cross-zone of a target group",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""load_balancing.cross_zone.enabled" = "as_load_balancer""#,
        ),
        &[
            r#"overlap.toml:40:39: "as_load_balancer": not a value of this attribute; write true, false or "use_load_balancer_configuration""#,
        ],
    ),
    (
        "stickiness as a string",
        (r#""deregistration_delay.timeout_seconds" = 90"#, r#""stickiness.enabled" = "yes""#),
        &[
            r#"overlap.toml:40:24: "yes": wrong type, a boolean is wanted but this is a string; write "stickiness.enabled" = true"#,
        ],
    ),
    (
        "another type of stickiness",
        (r#""deregistration_delay.timeout_seconds" = 90"#, r#""stickiness.type" = "lb_cookie""#),
        &[
            r#"overlap.toml:40:21: "lb_cookie": not a type of stickiness; write "source_ip", the only type of a network load balancer"#,
        ],
    ),
    (
        "attribute of a target group in a load balancer",
        (
            r#""load_balancing.cross_zone.enabled" = true"#,
            r#""deregistration_delay.timeout_seconds" = 90"#,
        ),
        &[
            r#"overlap.toml:51:1: "deregistration_delay.timeout_seconds": unknown attribute; remove it; supported here: load_balancing.cross_zone.enabled"#,
        ],
    ),
    (
        "cross-zone as a string",
        (
            r#""load_balancing.cross_zone.enabled" = true"#,
            r#""load_balancing.cross_zone.enabled" = "true""#,
        ),
        &[
            r#"overlap.toml:51:39: "true": wrong type, a boolean is wanted but this is a string; write "load_balancing.cross_zone.enabled" = true"#,
        ],
    ),
    (
        "cross-zone without quotes around its name",
        (
            r#""load_balancing.cross_zone.enabled" = true"#,
            "load_balancing.cross_zone.enabled = true",
        ),
        &[
            r#"overlap.toml:51:1: "load_balancing": an attribute's name is one key; write it in quotes: "load_balancing.cross_zone.enabled""#,
        ],
    ),
    (
        "attribute of a load balancer to come",
        (
            r#""load_balancing.cross_zone.enabled" = true"#,
            r#""deletion_protection.enabled" = true"#,
        ),
        &[
            r#"overlap.toml:51:1: "deletion_protection.enabled": attribute not supported yet; remove it; supported here: load_balancing.cross_zone.enabled"#,
        ],
    ),
    (
        "unknown attribute of a load balancer",
        (r#""load_balancing.cross_zone.enabled" = true"#, r#""idle_timeout" = 60"#),
        &[
            r#"overlap.toml:51:1: "idle_timeout": unknown attribute; remove it; supported here: load_balancing.cross_zone.enabled"#,
        ],
    ),
];
