//! What a packet is about: a flow, or else who sent it.

use super::{Asked, NO_ENDPOINT, UNKNOWN};
use crate::flow_table::half::Direction;
use crate::records::Address;
use crate::tables::{Tables, WideTables};
use crate::wide::WideAddress;

/// What a packet is about, all in network order; 0 where it is not known.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Address of the client.
    pub client: WideAddress,
    /// Address of the target.
    pub target: WideAddress,
    /// Port of the client.
    pub client_port: u16,
    /// Port of the target.
    pub target_port: u16,
    /// Port of the endpoint.
    pub port: u16,
    /// Number of the client's vpc, native order; 0 where it is not known.
    pub vpc: u16,
    /// Number of the endpoint, native order, or [`NO_ENDPOINT`].
    pub endpoint: u32,
    /// Explicit padding, always zero.
    pub padding: u32,
}

impl Subject {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        client: UNKNOWN,
        target: UNKNOWN,
        client_port: 0,
        target_port: 0,
        port: 0,
        vpc: 0,
        endpoint: NO_ENDPOINT,
        padding: 0,
    };

    /// What a packet of a flow in this table is about; `None` where it has none.
    #[inline(always)]
    pub fn of_flow(tables: &impl Tables, asked: &Asked) -> Option<Self> {
        let found = tables.find(asked.key(&tables.settings()?.seeds).words())?;
        let half = found.half;
        let new_destination = match tables.ends(found.number()) {
            Some(ends) if ends.are(asked.source, asked.destination) => ends.leaving()[1],
            None if asked.is_ipv4() => WideAddress::of_ipv4(half.new_addresses()[1]),
            // Another's, whose addresses have the same names.
            _ => return None,
        };
        let new_ports = half.new_ports();
        Some(match found.direction() {
            Direction::Forward => Self {
                client: asked.source,
                target: new_destination,
                client_port: asked.source_port,
                target_port: (new_ports >> 16) as u16,
                port: asked.destination_port,
                vpc: asked.vpc,
                endpoint: half.place().endpoint(),
                padding: 0,
            },
            Direction::Reverse => Self {
                client: new_destination,
                target: asked.source,
                client_port: (new_ports >> 16) as u16,
                target_port: asked.source_port,
                port: new_ports as u16,
                vpc: half.client_vpc(),
                endpoint: tables
                    .record(tables.owner(found.number()))
                    .map_or(NO_ENDPOINT, |record| record.place().endpoint()),
                padding: 0,
            },
        })
    }

    /// A packet without a flow tells who sent it: a client, or somebody who claims to be a target.
    #[inline(always)]
    pub fn without_flow(tables: &impl WideTables, asked: &Asked) -> Self {
        let Asked { source, destination, source_port, destination_port, vpc, protocol, .. } =
            *asked;
        match tables.either_address(vpc, destination) {
            Some(&Address { kind: Address::ENDPOINT, index, .. }) => {
                let listener = tables.either_listener(vpc, destination, protocol, destination_port);
                Self {
                    client: source,
                    client_port: source_port,
                    port: destination_port,
                    vpc,
                    endpoint: listener.map_or(index, |listener| listener.endpoint),
                    ..Self::UNKNOWN
                }
            }
            Some(_) => Self { target: source, target_port: source_port, ..Self::UNKNOWN },
            None => Self::UNKNOWN,
        }
    }
}
