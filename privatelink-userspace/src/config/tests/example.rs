//! The example, word for word, and the model it stands for.

use std::net::Ipv4Addr;
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use ipnet::IpNet;

use super::{OVERLAP, parse};
use crate::model::{
    AttachMode, Endpoint, EndpointAddress, EndpointService, EndpointState, Families, Family,
    HealthCheck, HealthProtocol, HttpCheck, IngressRule, Interface, Limits, Listener, LoadBalancer,
    LoadBalancerAddress, Matcher, Model, MssClamp, Ports, Protocol, Protocols, Target, TargetGroup,
    TargetGroupAttributes, Timeouts, UsageTerms, Vpc,
};

const ZONE: &str = "us-east-1a";

#[test]
fn the_example_is_this_model() {
    assert_eq!(parse("overlap.toml", OVERLAP), Ok(expected()));
}

fn expected() -> Model {
    Model {
        region: "us-east-1".to_owned(),
        flow_capacity: 1_048_576,
        wide_flow_capacity: 1024,
        metrics: None,
        web: None,
        webhook: None,
        flow_logs: None,
        access_log: None,
        usage: UsageTerms::default(),
        vpcs: vec![
            vpc("vpc-provider", "111111111111", "pl-provider"),
            vpc("vpc-consumer-a", "222222222222", "pl-consumer-a"),
            vpc("vpc-consumer-b", "333333333333", "pl-consumer-b"),
        ],
        target_groups: vec![TargetGroup {
            name: "web".to_owned(),
            vpc: 0,
            protocol: Protocols::Tcp,
            family: Family::Ipv4,
            targets: vec![
                Target {
                    address: Ipv4Addr::new(10, 0, 1, 10).into(),
                    port: 8080,
                    zone: None,
                    weight: 1,
                    draining_since: None,
                },
                Target {
                    address: Ipv4Addr::new(10, 0, 1, 11).into(),
                    port: 8081,
                    zone: None,
                    weight: 2,
                    draining_since: None,
                },
            ],
            health_check: HealthCheck {
                protocol: HealthProtocol::Http(HttpCheck {
                    path: PathAndQuery::from_static("/"),
                    host: None,
                    matcher: Matcher::default(),
                }),
                port: None,
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(2),
                healthy_threshold: 2,
                unhealthy_threshold: 2,
            },
            attributes: TargetGroupAttributes {
                deregistration_delay: Duration::from_secs(90),
                ..TargetGroupAttributes::of(Protocols::Tcp)
            },
        }],
        load_balancers: vec![LoadBalancer {
            name: "web-nlb".to_owned(),
            vpc: 0,
            addresses: vec![LoadBalancerAddress {
                zone: ZONE.to_owned(),
                address: IpNet::new_assert(Ipv4Addr::new(10, 0, 0, 10).into(), 16),
                draining: false,
            }],
            listeners: vec![Listener {
                protocol: Protocols::Tcp,
                ports: Ports::one(80),
                target_group: 0,
                keep_port: false,
            }],
            cross_zone: true,
        }],
        services: vec![EndpointService {
            id: "vpce-svc-0e123abc123198abc".to_owned(),
            load_balancers: vec![0],
            families: Families::Ipv4,
            acceptance_required: false,
            allowed_principals: vec![
                "arn:aws:iam::222222222222:root".to_owned(),
                "arn:aws:iam::333333333333:root".to_owned(),
            ],
            mss_clamp: MssClamp::Auto,
            timeouts: Timeouts {
                half_open: Duration::from_secs(30),
                idle: Duration::from_secs(350),
                closing: Duration::from_secs(10),
                lease_hold: Duration::from_secs(60),
                udp_unreplied: Duration::from_secs(30),
                udp_idle: Duration::from_secs(120),
            },
        }],
        endpoints: vec![
            endpoint("vpce-0a11111111111111a", 1, (Some(Protocol::Tcp), 80, 80)),
            endpoint("vpce-0b22222222222222b", 2, (None, 0, 65_535)),
        ],
    }
}

fn vpc(id: &str, account: &str, interface: &str) -> Vpc {
    Vpc {
        id: id.to_owned(),
        account: account.to_owned(),
        cidrs: vec![everywhere()],
        interfaces: vec![Interface {
            name: interface.to_owned(),
            zone: ZONE.to_owned(),
            attach: AttachMode::Auto,
        }],
    }
}

fn endpoint(
    id: &str,
    vpc: usize,
    (protocol, from_port, to_port): (Option<Protocol>, u16, u16),
) -> Endpoint {
    Endpoint {
        id: id.to_owned(),
        vpc,
        service: 0,
        addresses: vec![EndpointAddress {
            zone: ZONE.to_owned(),
            address: Ipv4Addr::new(10, 0, 1, 10).into(),
        }],
        ingress: vec![IngressRule { protocol, from_port, to_port, cidr: everywhere() }],
        state: EndpointState::Available,
        request_message: String::new(),
        icmp_echo: false,
        limits: Limits { flows: 524_288, half_open_flows: 16_384, new_flows_per_second: None },
    }
}

/// The range of all three vpcs.
fn everywhere() -> IpNet {
    IpNet::new_assert(Ipv4Addr::new(10, 0, 0, 0).into(), 16)
}
