//! The NAT as it should be, written down the plain way: a list of flows, searched from its start.
//!
//! The world is one of `mix.rs`. What chance decides, target and lease of a new flow, is told by whoever runs the model; it
//! refuses what may not be.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use privatelink_common::drop_reason::DropReason;

use super::answers::{advertisement, arp};
use super::extensions::{EXTENSIONS, cut_off};
use super::flow::{FROM_CLIENT, FROM_TARGET, Flow};
use super::mix::{GROUP, Mix, TARGETS};
use super::pieces::{Tracked, TrackedBy};
use super::wire::{self, ICMPV6, IPV4, IPV6, Link, Parcel, Socket, ipv4_at, u16_at};
use crate::world::Port;

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// Passed to the host without its extension headers.
    PassedBare(Vec<u8>),
    Refused(DropReason),
    /// Sent on.
    Sent(Port, Vec<u8>),
    /// Dropped, and its sender told so.
    Answered(DropReason, Vec<u8>),
    /// An answer that counts nothing.
    Replied(Vec<u8>),
}

/// What the engine was seen to do, where the model cannot know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen<'s> {
    /// Target and lease of the flow that the frame's key has now.
    pub(crate) opened: Option<(usize, Socket)>,
    pub(crate) reason: Option<DropReason>,
    /// The frame as it left.
    pub(crate) out: &'s [u8],
}

impl Seen<'_> {
    /// The identification of the IPv4 header that stands so far into the packet as it left.
    pub(super) fn identification(&self, at: usize) -> u16 {
        let packet = Link::read(self.out).map_or(0, |link| link.length);
        self.out.get(packet + at + 4..packet + at + 6).map_or(0, |bytes| u16_at(bytes, 0))
    }
}

/// An interface of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// The engine's number of it.
    pub(crate) slot: u16,
    pub(crate) attached: bool,
    pub(crate) mtu: u32,
}

/// An endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) available: bool,
    pub(crate) echo: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Nat {
    pub(crate) mix: Mix,
    /// Milliseconds.
    pub(crate) now: u64,
    pub(crate) interfaces: [Interface; 3],
    /// A's, B's, and A's second.
    pub(crate) endpoints: [Endpoint; 3],
    /// Targets of the group that new flows may go to.
    pub(crate) usable: [bool; GROUP],
    /// Targets whose next hop is known.
    pub(crate) reachable: [bool; TARGETS],
    pub(crate) flows: Vec<Flow>,
    /// How many flows there have been.
    pub(super) opened: u64,
    /// What datagrams' first fragments have left for the others.
    pub(super) tracked: HashMap<TrackedBy, Tracked>,
    /// The identifications that datagrams in fragments were given between two addresses.
    pub(super) given: HashSet<(IpAddr, IpAddr, u16)>,
    /// What this run's datagrams in fragments have in their identifications: another than those of the runs before.
    pub(crate) salt: u16,
    pub(crate) drops: HashMap<(Port, DropReason), u64>,
}

/// A frame that has come, as far as it has been read.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'f> {
    pub(crate) port: Port,
    pub(crate) link: &'f Link,
    /// The bytes of its Ethernet header.
    pub(crate) header: &'f [u8],
    /// The IP packet, and what is behind it.
    pub(crate) packet: &'f [u8],
    pub(crate) seen: &'f Seen<'f>,
}

/// Reads the whole frame, and judges it.
impl Nat {
    pub(crate) fn new(mix: Mix, salt: u16, slots: [u16; 3]) -> Self {
        let interface = |slot| Interface { slot, attached: true, mtu: 1500 };
        let endpoint = Endpoint { available: true, echo: false };
        Self {
            mix,
            now: 0,
            interfaces: slots.map(interface),
            endpoints: [endpoint.clone(), endpoint.clone(), endpoint],
            usable: [true; GROUP],
            reachable: [true; TARGETS],
            flows: Vec::new(),
            opened: 0,
            tracked: HashMap::new(),
            given: HashSet::new(),
            salt,
            drops: HashMap::new(),
        }
    }

    pub(crate) fn receive(&mut self, port: Port, frame: &[u8], seen: &Seen<'_>) -> Fate {
        if !self.interfaces[port as usize].attached {
            return Fate::Pass;
        }
        let fate = self.judge(port, frame, seen).unwrap_or_else(Fate::Refused);
        if let Fate::Refused(reason) | Fate::Answered(reason, _) = fate {
            *self.drops.entry((port, reason)).or_default() += 1;
        }
        fate
    }

    fn judge(&mut self, port: Port, frame: &[u8], seen: &Seen<'_>) -> Result<Fate, DropReason> {
        let link = Link::read(frame).ok_or(DropReason::Truncated)?;
        let (header, packet) = frame.split_at(link.length);
        let arrival = Arrival { port, link: &link, header, packet, seen };
        match link.ether_type {
            IPV4 if link.to == port.mac() => self.ipv4(arrival),
            // Where nothing has IPv6, nobody looks at it.
            IPV6 if self.mix == Mix::Four => Ok(Fate::Pass),
            IPV6 => self.ipv6(arrival),
            0x0806 => {
                let wanted = |wanted| self.mix.is_ours(port, wanted);
                arp(arrival, wanted)
            }
            _ => Ok(Fate::Pass),
        }
    }

    fn ipv4(&mut self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, packet, .. } = arrival;
        if packet.len() < 20 {
            return Err(DropReason::Truncated);
        }
        match Parcel::read_v4(packet) {
            Ok(parcel) => self.parcel(arrival, &parcel),
            Err(_) if !self.mix.is_ours(port, ipv4_at(packet, 16)) => Ok(Fate::Pass),
            Err(DropReason::Fragment) => self.piece(arrival),
            Err(DropReason::Protocol) => self.icmp(arrival),
            Err(reason) => Err(reason),
        }
    }

    fn ipv6(&mut self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, link, packet, .. } = arrival;
        let parcel = Parcel::read_v6(packet);
        if packet.len() < 40 {
            return Err(DropReason::Truncated);
        }
        let whole = !matches!(parcel, Err(DropReason::Ipv6Header | DropReason::SourceAddress));
        let ours = self.mix.is_ours(port, wire::ipv6_at(packet, 24));
        if whole && let Some(wanted) = solicited(packet) {
            return if self.mix.is_ours(port, wanted) {
                advertisement(arrival, wanted)
            } else {
                Ok(Fate::Pass)
            };
        }
        if link.to != port.mac() && whole {
            return Ok(Fate::Pass);
        }
        match parcel {
            Ok(parcel) => self.parcel(arrival, &parcel),
            Err(_) if !ours => Ok(Fate::Pass),
            Err(DropReason::Protocol) if packet[6] == ICMPV6 => self.icmpv6(arrival),
            Err(DropReason::Protocol) if EXTENSIONS.contains(&packet[6]) => self.extended(arrival),
            Err(reason) => Err(reason),
        }
    }

    /// A packet with extension headers: as if it had come without those that say nothing.
    fn extended(&mut self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let bare = cut_off(arrival.packet)?;
        if bare == arrival.packet {
            return self.piece(arrival);
        }
        if bare[6] == ICMPV6 {
            let icmp = bare.get(40..48).ok_or(DropReason::Truncated)?;
            // RFC 6980, section 5.
            if matches!(icmp[0], 133..=137) {
                return Err(DropReason::Ipv6Extension);
            }
        }
        let fate = self.ipv6(Arrival { packet: &bare, ..arrival })?;
        Ok(match fate {
            Fate::Pass => Fate::PassedBare([arrival.header, &bare].concat()),
            fate => fate,
        })
    }

    /// The flow that has these ends in what arrives by `port`, live or held, and the direction.
    pub(super) fn find(
        &self,
        port: Port,
        protocol: u8,
        source: Socket,
        destination: Socket,
    ) -> Option<(usize, usize)> {
        self.flows.iter().enumerate().find_map(|(number, flow)| {
            if flow.protocol != protocol {
                return None;
            }
            if port == Port::Provider {
                return (flow.to == source && flow.lease == destination)
                    .then_some((number, FROM_TARGET));
            }
            let same = flow.port == port && flow.client == source && flow.endpoint == destination;
            (same && flow.is_live()).then_some((number, FROM_CLIENT))
        })
    }
}

/// What a packet with a neighbour solicitation asks for, if it is one.
fn solicited(packet: &[u8]) -> Option<IpAddr> {
    let length = usize::from(u16_at(packet, 4));
    let is_one =
        packet[6] == ICMPV6 && packet[7] == 255 && length >= 24 && packet[40..42] == [135, 0];
    is_one.then(|| wire::ipv6_at(packet, 48))
}
