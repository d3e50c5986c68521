//! Attributes by AWS's names.

use std::time::Duration;

use super::{Row, check_rows, model, parse};
use crate::model::{MinimumHealthy, Protocols, TargetGroupAttributes};

const DELAY: &str = r#""deregistration_delay.timeout_seconds" = 90"#;

fn group(attributes: &str) -> TargetGroupAttributes {
    model((DELAY, attributes)).target_groups[0].attributes.clone()
}

#[test]
fn each_attribute_of_a_target_group() {
    type Edit = fn(&mut TargetGroupAttributes);
    const MINIMUM: &str = "target_group_health";
    const ROUTING: &str = "unhealthy_state_routing.minimum_healthy_targets";
    const FAILOVER: &str = "dns_failover.minimum_healthy_targets";
    let rows: [(&str, Edit); 16] = [
        ("", |_| {}),
        ("\"deregistration_delay.connection_termination.enabled\" = true", |read| {
            read.deregistration_ends_flows = true;
        }),
        ("\"target_health_state.unhealthy.connection_termination.enabled\" = false", |read| {
            read.unhealthy_ends_flows = false;
        }),
        (
            "\"target_health_state.unhealthy.connection_termination.enabled\" = false\n\
             \"target_health_state.unhealthy.draining_interval_seconds\" = 360000",
            |read| {
                read.unhealthy_ends_flows = false;
                read.unhealthy_draining = Duration::from_secs(360_000);
            },
        ),
        ("\"slow_start.duration_seconds\" = 30", |read| read.slow_start = Duration::from_secs(30)),
        ("\"slow_start.duration_seconds\" = 0", |_| {}),
        ("\"tcp.idle_timeout.seconds\" = 60", |read| {
            read.idle_timeout = Some(Duration::from_secs(60));
        }),
        ("\"stickiness.enabled\" = true\n\"stickiness.type\" = \"source_ip\"", |read| {
            read.sticky = true;
        }),
        ("\"stickiness.enabled\" = false", |_| {}),
        ("\"load_balancing.cross_zone.enabled\" = true", |read| read.cross_zone = Some(true)),
        ("\"load_balancing.cross_zone.enabled\" = false", |read| read.cross_zone = Some(false)),
        ("\"load_balancing.cross_zone.enabled\" = \"use_load_balancer_configuration\"", |_| {}),
        (&format!("\"{MINIMUM}.{ROUTING}.count\" = \"off\""), |read| {
            read.routing_minimum = MinimumHealthy::default();
        }),
        (&format!("\"{MINIMUM}.{ROUTING}.percentage\" = 100"), |read| {
            read.routing_minimum = MinimumHealthy { count: 1, percentage: 100 };
        }),
        (&format!("\"{MINIMUM}.{FAILOVER}.count\" = 3"), |read| {
            read.failover_minimum = MinimumHealthy { count: 3, percentage: 0 };
        }),
        (&format!("\"{MINIMUM}.{FAILOVER}.percentage\" = \"off\""), |_| {}),
    ];
    for (attributes, edit) in rows {
        let mut expected = TargetGroupAttributes::of(Protocols::Tcp);
        edit(&mut expected);
        assert_eq!(group(attributes), expected, "{attributes}");
    }
}

#[test]
fn the_idle_timeout_of_a_service_is_its_own_or_that_of_its_groups() {
    const IDLE: &str = "\"tcp.idle_timeout.seconds\"";
    const OTHER: &str = r#"
[[load_balancer.listener]]
protocol = "tcp"
port = 81
target_group = "other"
[[target_group]]
name = "other"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.12" }]
[target_group.attributes]
"#;
    let read = |first: &str, second: &str, own: &str| {
        let text = super::OVERLAP
            .replacen(DELAY, first, 1)
            .replacen("\n[load_balancer.attributes]", "XX[load_balancer.attributes]", 1)
            .replacen("XX", &format!("{OTHER}{second}\n"), 1)
            .replacen(
                "[load_balancer.attributes]\n\"load_balancing.cross_zone.enabled\" = true",
                "",
                1,
            )
            .replacen("acceptance_required = false", own, 1);
        parse("overlap.toml", &text)
            .map(|model| model.services[0].timeouts.idle.as_secs())
            .map_err(|errors| errors.to_string())
    };
    let (sixty, ninety) = (format!("{IDLE} = 60"), format!("{IDLE} = 90"));
    assert_eq!(read("", "", ""), Ok(350));
    assert_eq!(read(&sixty, "", ""), Ok(60));
    assert_eq!(read("", &ninety, ""), Ok(90));
    assert_eq!(read(&sixty, &sixty, ""), Ok(60));
    assert_eq!(read(&sixty, &ninety, "timeouts = { idle = \"70s\" }"), Ok(70));
    let error = read(&sixty, &ninety, "").unwrap_err();
    assert!(
        error.ends_with("its target groups have different tcp.idle_timeout.seconds; give them the same, or write idle in [endpoint_service.timeouts]"),
        "{error}"
    );
}

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
        (r#""deregistration_delay.timeout_seconds" = 90"#, r#""slow_begin.duration_seconds" = 30"#),
        &[
            r#"overlap.toml:40:1: "slow_begin.duration_seconds": unknown attribute; did you mean slow_start.duration_seconds?"#,
        ],
    ),
    (
        "slow start of 29 s",
        (r#""deregistration_delay.timeout_seconds" = 90"#, r#""slow_start.duration_seconds" = 29"#),
        &[r#"overlap.toml:40:33: "29": slow start too short; write 0, which is off, or 30 to 900"#],
    ),
    (
        "idle timeout of 59 s",
        (r#""deregistration_delay.timeout_seconds" = 90"#, r#""tcp.idle_timeout.seconds" = 59"#),
        &[
            r#"overlap.toml:40:30: "59": not a number of seconds for this attribute; write a number from 60 to 6000"#,
        ],
    ),
    (
        "draining of what does not drain",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""target_health_state.unhealthy.draining_interval_seconds" = 9"#,
        ),
        &[
            r#"overlap.toml:40:1: "target_health_state.unhealthy.draining_interval_seconds": flows of unhealthy targets end at once; add "target_health_state.unhealthy.connection_termination.enabled" = false, or remove it"#,
        ],
    ),
    (
        "a count of none",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""target_group_health.dns_failover.minimum_healthy_targets.count" = 0"#,
        ),
        &[
            r#"overlap.toml:40:68: "0": not a number of targets; write "off" or a number from 1 to 10000"#,
        ],
    ),
    (
        "more than all",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""target_group_health.dns_failover.minimum_healthy_targets.percentage" = 101"#,
        ),
        &[r#"overlap.toml:40:73: "101": not a percentage; write "off" or a number from 1 to 100"#],
    ),
    (
        "another word than off",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""target_group_health.dns_failover.minimum_healthy_targets.percentage" = "no""#,
        ),
        &[r#"overlap.toml:40:73: "no": not a percentage; write "off" or a number from 1 to 100"#],
    ),
    (
        "attribute of a target group to come",
        (
            r#""deregistration_delay.timeout_seconds" = 90"#,
            r#""preserve_client_ip.enabled" = false"#,
        ),
        &[
            r#"overlap.toml:40:1: "preserve_client_ip.enabled": attribute not supported yet; remove it; OPERATIONS.md lists those supported here"#,
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
            r#"overlap.toml:51:1: "deregistration_delay.timeout_seconds": unknown attribute; remove it; OPERATIONS.md lists those supported here"#,
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
            r#"overlap.toml:51:1: "deletion_protection.enabled": attribute not supported yet; remove it; OPERATIONS.md lists those supported here"#,
        ],
    ),
    (
        "unknown attribute of a load balancer",
        (r#""load_balancing.cross_zone.enabled" = true"#, r#""idle_timeout" = 60"#),
        &[
            r#"overlap.toml:51:1: "idle_timeout": unknown attribute; remove it; OPERATIONS.md lists those supported here"#,
        ],
    ),
];
