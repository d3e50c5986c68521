//! The records of endpoints, and their rules for clients of either family.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use privatelink_common::limits::MAX_RULES;
use privatelink_common::records::{Endpoint, FlowLimits, Rule, Timeouts};
use privatelink_common::ticks;
use privatelink_common::wide::{WideRule, WideRules};

use super::network_order;
use crate::model::{self, EndpointState, IngressRule, Model, MssClamp};

/// The record of an endpoint.
pub(super) fn endpoint(
    model: &Model,
    endpoint: &model::Endpoint,
    jiffies_per_second: u64,
) -> Endpoint {
    let service = &model.services[endpoint.service];
    let ticks = |time: Duration| ticks::from_ms(time.as_millis() as u64, jiffies_per_second);
    let rules: Vec<Rule> = endpoint.ingress.iter().filter_map(rule).collect();
    let mut record = Endpoint {
        available: u32::from(endpoint.state == EndpointState::Available),
        rule_count: rules.len().min(MAX_RULES) as u32,
        mss_clamp: match service.mss_clamp {
            MssClamp::Auto => Endpoint::MSS_AUTO,
            MssClamp::Off => Endpoint::MSS_OFF,
            MssClamp::Bytes(bytes) => u32::from(bytes),
        },
        icmp_echo: u32::from(endpoint.icmp_echo),
        timeouts: Timeouts {
            half_open: ticks(service.timeouts.half_open),
            idle: ticks(service.timeouts.idle),
            closing: ticks(service.timeouts.closing),
            lease_hold: ticks(service.timeouts.lease_hold),
            udp_unreplied: ticks(service.timeouts.udp_unreplied),
            udp_idle: ticks(service.timeouts.udp_idle),
        },
        limits: FlowLimits {
            flows: endpoint.limits.flows,
            half_open: endpoint.limits.half_open_flows,
            new_per_second: endpoint.limits.new_flows_per_second.unwrap_or(0),
            padding: 0,
        },
        ..Endpoint::default()
    };
    for (slot, rule) in record.rules.iter_mut().zip(rules) {
        *slot = rule;
    }
    record
}

/// The record of a rule for IPv4 clients.
fn rule(rule: &IngressRule) -> Option<Rule> {
    let IpNet::V4(cidr) = rule.cidr.trunc() else { return None };
    Some(Rule {
        network: network_order(cidr.network()),
        mask: network_order(cidr.netmask()),
        from_port: rule.from_port,
        to_port: rule.to_port,
        protocol: protocol(rule),
        padding: 0,
    })
}

/// The record of an endpoint's rules for IPv6 clients, if it has any.
pub(super) fn wide_rules(endpoint: &model::Endpoint) -> Option<WideRules> {
    let mut record = WideRules::default();
    for (slot, rule) in record.rules.iter_mut().zip(endpoint.ingress.iter().filter_map(wide_rule)) {
        *slot = rule;
        record.count += 1;
    }
    (record.count > 0).then_some(record)
}

/// The record of a rule for IPv6 clients.
fn wide_rule(rule: &IngressRule) -> Option<WideRule> {
    let IpNet::V6(cidr) = rule.cidr.trunc() else { return None };
    Some(WideRule {
        network: IpAddr::V6(cidr.network()).into(),
        from_port: rule.from_port,
        to_port: rule.to_port,
        protocol: protocol(rule),
        prefix: u16::from(cidr.prefix_len()),
    })
}

fn protocol(rule: &IngressRule) -> u16 {
    rule.protocol.map_or(Rule::ANY_PROTOCOL, |protocol| u16::from(protocol.number()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const OVERLAP: &str = include_str!("../../../examples/overlap.toml");

    fn endpoints(model: &Model) -> Vec<Endpoint> {
        model.endpoints.iter().map(|of| endpoint(model, of, 250)).collect()
    }

    #[test]
    fn an_endpoint_has_its_own_echo_and_the_mss_clamp_of_its_service() {
        let key = "acceptance_required = false\n";
        for (clamp, expected) in [
            ("", Endpoint::MSS_AUTO),
            ("mss_clamp = \"off\"\n", Endpoint::MSS_OFF),
            ("mss_clamp = 1360\n", 1360),
        ] {
            let text = OVERLAP.replacen(key, &format!("{key}{clamp}"), 1);
            let model = config::parse("overlap.toml", &(text + "icmp_echo = true\n")).unwrap();
            let endpoints = endpoints(&model);
            let found: Vec<_> = endpoints.iter().map(|e| (e.mss_clamp, e.icmp_echo)).collect();
            assert_eq!(found, [(expected, 0), (expected, 1)]);
        }
    }

    #[test]
    fn an_endpoint_has_the_mss_clamp_of_no_other_service() {
        let other = r#"icmp_echo = false
[[endpoint_service]]
id = "vpce-svc-other"
load_balancers = ["web-nlb"]
allowed_principals = ["*"]
mss_clamp = 536
[[endpoint]]
id = "vpce-c"
vpc = "vpc-consumer-b"
service = "vpce-svc-other"
addresses = [{ zone = "us-east-1a", address = "10.0.1.11" }]
"#;
        let model = config::parse("overlap.toml", &format!("{OVERLAP}{other}")).unwrap();
        let found: Vec<_> = endpoints(&model).iter().map(|e| e.mss_clamp).collect();
        assert_eq!(found, [Endpoint::MSS_AUTO, Endpoint::MSS_AUTO, 536]);
    }
}
