//! The NAT as it should be, written down the plain way: a list of flows, searched from its start.
//!
//! The world is one of `mix.rs`. What chance decides, target and lease of a new flow, is told by whoever runs the model; it
//! refuses what may not be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::tcp::{ACK, FIN, RST, SYN};

use super::answers::{advertisement, arp, error, framed, reset};
use super::flow::{FROM_CLIENT, FROM_TARGET, Flow, HOLD, Place, Stage, opens};
use super::icmp::EXTENSIONS;
use super::mix::{FLOW_LIMIT, GROUP, LONER, Mix, Published, SECOND, TARGETS, published};
use super::rewrite;
use super::wire::{
    self, ICMPV6, IPV4, IPV6, Link, Parcel, Socket, TCP, header_of, ipv4_at, u16_at,
};
use crate::world::{Port, TARGET_MACS};

/// Ports of the load balancer's addresses that health checks leave from.
const CHECK_PORTS: RangeInclusive<u16> = 1024..=10_239;
/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
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

/// An interface of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
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
    pub(crate) drops: HashMap<(Port, DropReason), u64>,
}

/// A frame that has come, as far as it has been read.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'f> {
    pub(crate) port: Port,
    pub(crate) link: &'f Link,
    /// The IP packet, and what is behind it.
    pub(crate) packet: &'f [u8],
    pub(crate) seen: &'f Seen<'f>,
}

/// Flags that no TCP sends together, or alone.
fn are_impossible(segment: &Parcel) -> bool {
    let exclusive = [SYN, RST, FIN].into_iter().filter(|&flag| segment.has(flag)).count();
    segment.is_tcp() && (exclusive > 1 || !segment.has(SYN | RST | ACK))
}

pub(super) fn may_be_client(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..=255),
        IpAddr::V6(address) => {
            let nobody = address.is_unspecified() || address.is_loopback();
            !nobody && !address.is_unicast_link_local() && !address.is_multicast()
        }
    }
}

/// Reads the whole frame, and judges it.
impl Nat {
    pub(crate) fn new(mix: Mix) -> Self {
        let interface = Interface { attached: true, mtu: 1500 };
        let endpoint = Endpoint { available: true, echo: false };
        Self {
            mix,
            now: 0,
            interfaces: [interface.clone(), interface.clone(), interface],
            endpoints: [endpoint.clone(), endpoint.clone(), endpoint],
            usable: [true; GROUP],
            reachable: [true; TARGETS],
            flows: Vec::new(),
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
        let arrival = Arrival { port, link: &link, packet: &frame[link.length..], seen };
        match link.ether_type {
            IPV4 if link.to == port.mac() => self.ipv4(arrival),
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
            Err(DropReason::Protocol) if EXTENSIONS.contains(&packet[6]) => {
                Err(DropReason::Ipv6Extension)
            }
            Err(reason) => Err(reason),
        }
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

    fn parcel(&mut self, arrival: Arrival<'_>, parcel: &Parcel) -> Result<Fate, DropReason> {
        let Arrival { port, packet, .. } = arrival;
        let (ours, to_wide) = {
            let to = parcel.destination.0;
            (self.mix.is_ours(port, to), self.mix.is_wide(port, to))
        };
        let found = self.find(port, parcel.protocol, parcel.source, parcel.destination);
        let found = found.filter(|&(number, _)| self.flows[number].is_live());
        let [narrow, wide] =
            [false, true].map(|wide| found.filter(|&(at, _)| self.flows[at].wide == wide));
        if let Some(fate) = self.carry_live(arrival, parcel, narrow) {
            return fate;
        }
        if ours && to_wide {
            // A header that is written anew would heal the damage.
            fit_for_wide(packet, parcel)?;
        }
        if let Some(fate) = self.carry_live(arrival, parcel, wide) {
            return fate;
        }
        if !ours {
            return Ok(Fate::Pass);
        }
        if are_impossible(parcel) {
            return Err(DropReason::TcpFlags);
        }
        if port == Port::Provider {
            return self.unsolicited(arrival, parcel);
        }
        let opening = !parcel.is_tcp() || opens(parcel);
        let published = self.may_enter(port, parcel, opening)?;
        if !opening {
            return reset(arrival, parcel);
        }
        verify(packet, parcel)?;
        self.open(arrival, parcel, published)
    }

    /// Carries what is of a live flow. One that is due is ended, and so is one that is over when its client opens another.
    fn carry_live(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        found: Option<(usize, usize)>,
    ) -> Option<Result<Fate, DropReason>> {
        let (number, side) = found?;
        let flow = &self.flows[number];
        let anew = side == FROM_CLIENT && parcel.is_tcp() && opens(parcel) && flow.is_over();
        if !anew && !flow.is_due(self.now) {
            return Some(self.carry(arrival, parcel, number, side));
        }
        self.end(number);
        None
    }

    /// What comes to a load balancer and is of no flow.
    fn unsolicited(&self, arrival: Arrival<'_>, parcel: &Parcel) -> Result<Fate, DropReason> {
        if !parcel.is_tcp() {
            return Err(DropReason::Unsolicited);
        }
        let targets = self.mix.targets();
        let target = targets.iter().any(|target| target.0 == parcel.source)
            || parcel.source.0 == targets[LONER].0.0;
        let opening = parcel.has(SYN) && !parcel.has(ACK);
        if !opening && CHECK_PORTS.contains(&parcel.destination.1) {
            return Ok(Fate::Pass);
        }
        if opening || !target {
            return Err(DropReason::Unsolicited);
        }
        reset(arrival, parcel)
    }

    fn may_enter(
        &self,
        port: Port,
        parcel: &Parcel,
        opening: bool,
    ) -> Result<Published, DropReason> {
        let ((source, _), (destination, to)) = (parcel.source, parcel.destination);
        if !may_be_client(source) || source == destination {
            return Err(DropReason::SourceAddress);
        }
        let published = published(port, to).ok_or(DropReason::NoListener)?;
        // A's security group lets port 80 of its own addresses through. The others have none, which lets their own
        // addresses through.
        let allowed = match source {
            IpAddr::V4(source) => source.octets()[..2] == [10, 0],
            IpAddr::V6(source) => source.segments()[..4] == [0xfd00, 0, 0, 0],
        };
        if !allowed {
            return Err(DropReason::SecurityGroup);
        }
        if !self.endpoints[published.endpoint].available && opening {
            return Err(DropReason::EndpointNotAvailable);
        }
        Ok(published)
    }

    /// The targets that a new flow may go to.
    fn allowed(&self, endpoint: usize) -> Vec<usize> {
        if endpoint == SECOND {
            return vec![LONER];
        }
        let weighty = || (0..GROUP).filter(|&target| self.mix.target(target).1 > 0);
        let usable: Vec<usize> = weighty().filter(|&target| self.usable[target]).collect();
        if usable.is_empty() { weighty().collect() } else { usable }
    }

    fn open(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        published: Published,
    ) -> Result<Fate, DropReason> {
        let Arrival { port, link, seen, .. } = arrival;
        let Published { endpoint, keeps_port } = published;
        let allowed = self.allowed(endpoint);
        let refusals: Vec<Option<DropReason>> =
            allowed.iter().map(|&target| self.refusal(endpoint, target, parcel)).collect();
        let Some((target, lease)) = seen.opened.filter(|_| refusals.contains(&None)) else {
            let seen =
                refusals.iter().find(|refusal| refusal.is_some() && **refusal == seen.reason);
            let refusal =
                seen.copied().flatten().or_else(|| refusals.iter().copied().flatten().next());
            // Refusing where nothing speaks against it is what the run then finds wrong.
            let reason = refusal.unwrap_or(DropReason::NoTarget);
            return match reason {
                DropReason::TooBig => {
                    let family = self.mix.target(allowed[0]).0.0;
                    self.too_big(arrival, parcel, Port::Provider, family)
                }
                DropReason::EndpointFlowLimit if may_be_told(arrival, parcel) => {
                    Ok(Fate::Answered(reason, error(arrival, parcel, None)))
                }
                reason => Err(reason),
            };
        };
        let at = allowed.iter().position(|&allowed| allowed == target);
        assert!(at.is_some_and(|at| refusals[at].is_none()), "target {target} of {allowed:?}");
        assert_eq!(lease.0, self.mix.balancer(target), "the lease is the load balancer's");
        assert!(lease.1 >= 10_240, "{lease:?}");
        let (address, own) = self.mix.target(target).0;
        let to = (address, if keeps_port { parcel.destination.1 } else { own });
        let mut others = self.flows.iter().filter(|flow| flow.protocol == parcel.protocol);
        let other = others.find(|flow| flow.to == to && flow.lease == lease);
        assert!(other.is_none(), "a lease twice: {other:?}");
        self.flows.push(Flow {
            wide: self.mix.is_wide(port, parcel.destination.0),
            protocol: parcel.protocol,
            port,
            client: parcel.source,
            endpoint: parcel.destination,
            owner: endpoint,
            target,
            to,
            lease,
            place: Place { mac: link.from, tags: link.tags.clone() },
            sides: Default::default(),
            stage: Stage::HalfOpen,
            last: self.now,
        });
        self.carry(arrival, parcel, self.flows.len() - 1, FROM_CLIENT)
    }

    /// What speaks against a new flow to a target.
    fn refusal(&self, endpoint: usize, target: usize, parcel: &Parcel) -> Option<DropReason> {
        let own = self.flows.iter().filter(|flow| flow.owner == endpoint);
        let live = own.filter(|flow| flow.is_live()).count();
        let provider = &self.interfaces[Port::Provider as usize];
        let length = parcel.length() + header_of(self.mix.target(target).0.0);
        if !self.reachable[target] {
            Some(DropReason::NextHopUnresolved)
        } else if !provider.attached {
            Some(DropReason::InterfaceGone)
        } else if length as u32 > provider.mtu {
            Some(DropReason::TooBig)
        } else {
            (live >= FLOW_LIMIT).then_some(DropReason::EndpointFlowLimit)
        }
    }

    /// Where a direction of a flow leads.
    pub(super) fn route(&self, number: usize, side: usize) -> Result<(Port, Place), DropReason> {
        let flow = &self.flows[number];
        let (to, place) = match side {
            FROM_CLIENT if !self.reachable[flow.target] => {
                return Err(DropReason::NextHopUnresolved);
            }
            FROM_CLIENT => {
                (Port::Provider, Place { mac: TARGET_MACS[flow.target % 2], tags: Vec::new() })
            }
            _ => (flow.port, flow.place.clone()),
        };
        if !self.interfaces[to as usize].attached {
            return Err(DropReason::InterfaceGone);
        }
        Ok((to, place))
    }

    fn carry(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        number: usize,
        side: usize,
    ) -> Result<Fate, DropReason> {
        let Arrival { port, link, packet, seen } = arrival;
        if are_impossible(parcel) {
            return Err(DropReason::TcpFlags);
        }
        if side == FROM_CLIENT {
            self.flows[number].place = Place { mac: link.from, tags: link.tags.clone() };
        }
        let (to, place) = self.route(number, side)?;
        let (source, destination) = self.flows[number].ends(side);
        let header = header_of(destination.0);
        let mtu = self.interfaces[to as usize].mtu;
        if (parcel.length() + header) as u32 > mtu {
            return self.too_big(arrival, parcel, to, destination.0);
        }
        let room = |mtu: u32, header: usize| mtu.saturating_sub(header as u32 + 20) as u16;
        let mss = room(mtu, header).min(room(self.interfaces[port as usize].mtu, parcel.header));
        let mss = Some(mss).filter(|_| parcel.has(SYN));
        let flow = &mut self.flows[number];
        let own = &mut flow.sides[side];
        let mut identification = 0;
        if parcel.header == 40 && rewrite::may_be_fragmented(parcel, destination.0) {
            let out = Link::read(seen.out).map_or(0, |link| link.length);
            identification = seen.out.get(out + 4..out + 6).map_or(0, |bytes| u16_at(bytes, 0));
            assert_ne!(own.identification.replace(identification), Some(identification), "again");
        }
        let out = rewrite::translate(packet, parcel, source, destination, mss, identification);
        own.packets += 1;
        own.bytes += u64::from(parcel.total);
        if flow.follow(side, parcel) {
            flow.last = self.now;
        }
        Ok(Fate::Sent(to, framed(&place, to, &out)))
    }

    /// Too big for the interface `to` with the header of an address' family: its sender is told, even if it might have been
    /// fragmented.
    fn too_big(
        &self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        to: Port,
        family: IpAddr,
    ) -> Result<Fate, DropReason> {
        let is_four = parcel.source.0.is_ipv4();
        if !may_be_told(arrival, parcel) {
            return Err(DropReason::TooBig);
        }
        // As his own packets may be large: those of the other family have a header of another length.
        let mtu = self.interfaces[to as usize].mtu as usize + parcel.header - header_of(family);
        let mtu = if is_four { mtu } else { mtu.max(1280) };
        Ok(Fate::Answered(DropReason::TooBig, error(arrival, parcel, Some(mtu as u16))))
    }

    /// Ends a flow. One that was established keeps its lease, unless it was silent for as long as the hold.
    fn end(&mut self, number: usize) {
        let flow = &mut self.flows[number];
        if flow.stage == Stage::Established && self.now - flow.last <= HOLD {
            flow.stage = Stage::Held;
            flow.last = self.now;
        } else {
            self.flows.remove(number);
        }
    }

    /// Takes everything that is due one step further.
    pub(crate) fn sweep(&mut self) {
        let (now, mut number) = (self.now, 0);
        while number < self.flows.len() {
            let before = self.flows.len();
            if self.flows[number].is_due(now) {
                self.end(number);
            }
            number += 1 - (before - self.flows.len());
        }
    }
}

/// What a packet with a neighbour solicitation asks for, if it is one.
fn solicited(packet: &[u8]) -> Option<IpAddr> {
    let length = usize::from(u16_at(packet, 4));
    let is_one =
        packet[6] == ICMPV6 && packet[7] == 255 && length >= 24 && packet[40..42] == [135, 0];
    is_one.then(|| wire::ipv6_at(packet, 48))
}

/// Whether what is refused is answered by an error: nobody is named wrongly by its header.
fn may_be_told(arrival: Arrival<'_>, parcel: &Parcel) -> bool {
    match parcel.source.0 {
        IpAddr::V4(_) => wire::ipv4_is_right(arrival.packet),
        source => may_be_client(source),
    }
}

/// What a packet must be whose header is written anew: whole by all that is known of it.
fn fit_for_wide(packet: &[u8], parcel: &Parcel) -> Result<(), DropReason> {
    if parcel.header == 20 && !wire::ipv4_is_right(packet) {
        return Err(DropReason::Ipv4Checksum);
    }
    if !parcel.is_tcp() && parcel.covered_length(packet) != parcel.length() {
        return Err(DropReason::UdpLength);
    }
    Ok(())
}

/// The checksums of what is to open a flow; those of jumbo packets are their receivers' business.
fn verify(packet: &[u8], parcel: &Parcel) -> Result<(), DropReason> {
    if parcel.header == 20 && !wire::ipv4_is_right(packet) {
        return Err(DropReason::Ipv4Checksum);
    }
    if parcel.covered_length(packet) > 1480 || parcel.is_right(packet) {
        return Ok(());
    }
    let unfinished = u16_at(packet, parcel.checksum()) == parcel.unfinished(packet);
    Err(match parcel.protocol {
        _ if unfinished => DropReason::ChecksumUnfinished,
        TCP => DropReason::TcpChecksum,
        _ => DropReason::UdpChecksum,
    })
}
