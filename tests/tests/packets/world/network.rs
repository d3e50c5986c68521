//! Who is in the world, at which interface of the gateway, and the segments they send each other.

use std::net::Ipv4Addr;

use privatelink_common::flow_table::Flow;
use privatelink_common::records::FlowKey;
use privatelink_userspace::contents::network_order;

use super::flows::FlowExt as _;
use crate::frame::{Mac, Segment, TCP};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 20);
pub(crate) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// Addresses that no host has.
pub(crate) const NOBODIES: [Ipv4Addr; 5] = [
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::new(0, 1, 2, 3),
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::BROADCAST,
];
pub(crate) const TARGET_MACS: [Mac; 2] = [[2, 0, 0, 0, 0, 0x71], [2, 0, 0, 0, 0, 0x72]];

/// An interface of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    Provider,
    A,
    B,
}

impl Port {
    pub(crate) const ALL: [Self; 3] = [Self::Provider, Self::A, Self::B];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Provider => "pl-provider",
            Self::A => "pl-consumer-a",
            Self::B => "pl-consumer-b",
        }
    }

    /// The number of its vpc.
    pub(crate) const fn vpc(self) -> u16 {
        self as u16 + 1
    }

    /// The gateway's own MAC address on it.
    pub(crate) const fn mac(self) -> Mac {
        [2, 0, 0, 0, 1, self as u8]
    }

    /// The MAC address of the client behind it.
    pub(crate) const fn client(self) -> Mac {
        [2, 0, 0, 0, 2, self as u8]
    }
}

/// A segment from a consumer's client to its endpoint.
pub(crate) fn from_client(port: Port, source_port: u16, flags: u8) -> Segment {
    Segment {
        to: port.mac(),
        from: port.client(),
        tags: Vec::new(),
        source: (CLIENT, source_port),
        destination: (ENDPOINT, 80),
        ttl: 64,
        flags,
        sequence: 0x1234_5678,
        acknowledgement: 0x1234_5679,
        window: 0xfaf0,
        identification: 0xbeef,
        dscp_ecn: 0xb9,
        options: vec![2, 4, 5, 0xb4, 1, 3, 3, 7],
        payload: Vec::new(),
    }
}

/// The key of the flow that a client's segment belongs to.
pub(crate) fn key_of(port: Port, segment: &Segment) -> FlowKey {
    FlowKey {
        source: network_order(segment.source.0),
        destination: network_order(segment.destination.0),
        source_port: segment.source.1.to_be(),
        destination_port: segment.destination.1.to_be(),
        vpc: port.vpc(),
        protocol: TCP,
    }
}

/// What a client's segment must look like at the target.
pub(crate) fn at_target(segment: &Segment, flow: &Flow) -> Segment {
    Segment {
        to: flow.target_mac(),
        from: Port::Provider.mac(),
        tags: Vec::new(),
        source: flow.nat(),
        destination: flow.target(),
        ttl: segment.ttl - 1,
        ..segment.clone()
    }
}

/// A target's answer on a flow.
pub(crate) fn from_target(flow: &Flow, flags: u8, payload: &[u8]) -> Segment {
    Segment {
        to: Port::Provider.mac(),
        from: flow.target_mac(),
        source: flow.target(),
        destination: flow.nat(),
        ttl: 63,
        payload: payload.to_vec(),
        ..from_client(Port::A, 1, flags)
    }
}

/// What a target's segment must look like at the client.
pub(crate) fn at_client(segment: &Segment, port: Port, source_port: u16) -> Segment {
    Segment {
        to: port.client(),
        from: port.mac(),
        source: (ENDPOINT, 80),
        destination: (CLIENT, source_port),
        ttl: segment.ttl - 1,
        ..segment.clone()
    }
}
