//! The NAT as it should be, written down the plain way: a list of flows, searched from its start.
//!
//! The world is that of examples/overlap.toml as `run.rs` edits it. What chance decides, target and lease of a new
//! flow, is told by whoever runs the model; it refuses what may not be.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, FIN, RST, SYN};

use super::wire::{self, Link, Segment, Socket, address_at, u16_at, u32_at};
use crate::frame::{self, Mac, Message, internet_checksum};
use crate::world::{BALANCER, ENDPOINT, Port, TARGET_MACS};

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Live flows that an endpoint may have.
pub(crate) const FLOW_LIMIT: usize = 6;
/// Time-outs, in milliseconds.
const HALF_OPEN: u64 = 30_000;
const IDLE: u64 = 350_000;
const CLOSING: u64 = 10_000;
const HOLD: u64 = 60_000;
/// All of them: moments too close to which a test should not look.
pub(crate) const TIMEOUTS: [u64; 4] = [CLOSING, HALF_OPEN, HOLD, IDLE];
/// Target addresses, ports and weights: three of a group, and one of its own that is reached at any port.
pub(crate) const TARGETS: [(Socket, u32); 4] = [
    ((Ipv4Addr::new(10, 0, 1, 10), 8080), 1),
    ((Ipv4Addr::new(10, 0, 1, 11), 8081), 2),
    ((Ipv4Addr::new(10, 0, 1, 12), 8082), 0),
    ((Ipv4Addr::new(10, 0, 1, 13), 9092), 1),
];
/// Ports of the load balancer's addresses that health checks leave from.
const CHECK_PORTS: RangeInclusive<u16> = 1024..=10_239;
const GROUP: usize = 3;
const LONER: usize = 3;
/// The address of the load balancer before the target of its own.
const LONER_BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// Ports that a client may ask for, some of which nobody publishes.
pub(crate) const PORTS: [u16; 7] = [80, 81, 9000, 9001, 9002, 9003, 9004];

/// What serves a port of the endpoint address.
#[derive(Clone, Copy, Debug)]
struct Published {
    /// Number of the endpoint.
    endpoint: usize,
    /// Whether flows go to the port that the client asked for.
    keeps_port: bool,
}

/// Port 80 is A's and B's own; A's address is also that of a second endpoint, for ports 9000 to 9003.
const fn published(port: Port, asked: u16) -> Option<Published> {
    match (port, asked) {
        (Port::A | Port::B, 80) => {
            Some(Published { endpoint: port as usize - 1, keeps_port: false })
        }
        (Port::A, 9000..=9003) => Some(Published { endpoint: SECOND, keeps_port: asked != 9001 }),
        _ => None,
    }
}

/// Number of A's second endpoint.
const SECOND: usize = 2;

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
pub(crate) struct Seen {
    /// Target and lease of the flow that the frame's key has now.
    pub(crate) opened: Option<(usize, Socket)>,
    pub(crate) reason: Option<DropReason>,
}

/// One direction of a flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// SYN, FIN, ACK and RST as believed.
    pub(crate) flags: u8,
    /// The next sequence number expected of it.
    pub(crate) next: u32,
    /// The last acknowledgement it has sent.
    pub(crate) acknowledged: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    HalfOpen,
    Established,
    /// Over; the lease is kept.
    Held,
}

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) mac: Mac,
    pub(crate) tags: Vec<(u16, u16)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) port: Port,
    pub(crate) client: Socket,
    pub(crate) endpoint: Socket,
    /// Number of the endpoint.
    pub(crate) owner: usize,
    pub(crate) target: usize,
    /// The target's address, and the port that the flow goes to.
    pub(crate) to: Socket,
    pub(crate) lease: Socket,
    pub(crate) place: Place,
    /// From the client, from the target.
    pub(crate) sides: [Side; 2],
    pub(crate) stage: Stage,
    /// When it was last refreshed; when its hold began.
    pub(crate) last: u64,
}

const FROM_CLIENT: usize = 0;
const FROM_TARGET: usize = 1;

impl Flow {
    pub(crate) fn state(&self) -> State {
        let [client, target] = &self.sides;
        let (either, both) = (client.flags | target.flags, client.flags & target.flags);
        if either & RST != 0 {
            State::Closed
        } else if both & FIN != 0 {
            State::TimeWait
        } else if either & FIN != 0 {
            State::FinWait
        } else if target.flags & SYN == 0 {
            State::SynSent
        } else if client.flags & ACK == 0 {
            State::SynReceived
        } else {
            State::Established
        }
    }

    fn is_live(&self) -> bool {
        self.stage != Stage::Held
    }

    /// Whether both sides have closed, or one has reset it.
    fn is_over(&self) -> bool {
        matches!(self.state(), State::TimeWait | State::Closed)
    }

    fn is_due(&self, now: u64) -> bool {
        let allowed = match self.stage {
            Stage::Held => HOLD,
            _ if self.is_over() => CLOSING,
            Stage::HalfOpen => HALF_OPEN,
            Stage::Established => IDLE,
        };
        now - self.last > allowed
    }

    /// The ends of the segments of a direction as they leave us.
    fn ends(&self, side: usize) -> (Socket, Socket) {
        match side {
            FROM_CLIENT => (self.lease, self.to),
            _ => (self.endpoint, self.client),
        }
    }

    /// Follows a segment that was sent on; whether it refreshes the flow.
    fn follow(&mut self, side: usize, segment: &Segment) -> bool {
        if segment.has(RST) {
            let believed = self.believes_reset(side, segment);
            if believed {
                self.sides[side].flags |= RST;
            }
            return believed;
        }
        let half_open = self.stage == Stage::HalfOpen;
        let own = &self.sides[side];
        let peer = &self.sides[1 - side];
        let mut end = segment.sequence.wrapping_add(segment.payload as u32);
        end = end.wrapping_add(u32::from(segment.has(SYN)) + u32::from(segment.has(FIN)));

        let retry = side == FROM_CLIENT && opens(segment) && half_open && peer.flags == 0;
        let ahead = i64::from(end.wrapping_sub(own.next) as i32);
        let in_flight = i64::from(end.wrapping_sub(peer.acknowledged));
        let near = (0..1 << 16).contains(&ahead);
        let acknowledged_lately = ahead >= 0 && in_flight < 1 << 20;
        let follows = own.flags & SYN == 0 || retry || near || acknowledged_lately;
        let next = if follows { end } else { own.next };
        let confirms = segment.has(ACK)
            && peer.flags & SYN != 0
            && peer.next.wrapping_sub(segment.acknowledgement) < 1 << 16;

        let own = &mut self.sides[side];
        own.next = next;
        let moves = segment.acknowledgement.wrapping_sub(own.acknowledged) as i32 > 0;
        if segment.has(ACK) && (own.flags & ACK == 0 || moves) {
            own.acknowledged = segment.acknowledgement;
        }
        own.flags &= !RST;
        own.flags |= segment.flags & SYN;
        if end == next {
            own.flags |= segment.flags & FIN;
        }
        if side == FROM_TARGET || !half_open {
            own.flags |= segment.flags & ACK;
        } else if confirms {
            own.flags |= ACK;
            self.stage = Stage::Established;
        }
        true
    }

    /// A RST is believed with the number that its receiver waits for, or that its sender is to send next; near it
    /// once a side has closed. One that answers a SYN is believed by what it acknowledges.
    fn believes_reset(&self, side: usize, segment: &Segment) -> bool {
        let (own, peer) = (&self.sides[side], &self.sides[1 - side]);
        if own.flags & SYN == 0 {
            return segment.has(ACK) && segment.acknowledgement == peer.next;
        }
        if segment.sequence == own.next {
            return true;
        }
        let window = if (own.flags | peer.flags) & FIN != 0 { 1 << 16 } else { 1 };
        peer.flags & ACK != 0 && segment.sequence.wrapping_sub(peer.acknowledged) < window
    }
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
    /// Milliseconds.
    pub(crate) now: u64,
    pub(crate) interfaces: [Interface; 3],
    /// A's, B's, and A's second.
    pub(crate) endpoints: [Endpoint; 3],
    /// Targets of the group that new flows may go to.
    pub(crate) usable: [bool; GROUP],
    /// Targets whose next hop is known.
    pub(crate) reachable: [bool; TARGETS.len()],
    pub(crate) flows: Vec<Flow>,
    pub(crate) drops: HashMap<(Port, DropReason), u64>,
}

impl Default for Nat {
    fn default() -> Self {
        let interface = Interface { attached: true, mtu: 1500 };
        let endpoint = Endpoint { available: true, echo: false };
        Self {
            now: 0,
            interfaces: [interface.clone(), interface.clone(), interface],
            endpoints: [endpoint.clone(), endpoint.clone(), endpoint],
            usable: [true; GROUP],
            reachable: [true; TARGETS.len()],
            flows: Vec::new(),
            drops: HashMap::new(),
        }
    }
}

fn opens(segment: &Segment) -> bool {
    segment.has(SYN) && !segment.has(ACK | RST | FIN)
}

/// Flags that no TCP sends together, or alone.
fn are_impossible(segment: &Segment) -> bool {
    let exclusive = [SYN, RST, FIN].into_iter().filter(|&flag| segment.has(flag)).count();
    exclusive > 1 || !segment.has(SYN | RST | ACK)
}

fn may_be_client(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..=255)
}

/// Reads the whole frame, and judges it.
impl Nat {
    pub(crate) fn receive(&mut self, port: Port, frame: &[u8], seen: &Seen) -> Fate {
        if !self.interfaces[port as usize].attached {
            return Fate::Pass;
        }
        let fate = self.judge(port, frame, seen).unwrap_or_else(Fate::Refused);
        if let Fate::Refused(reason) | Fate::Answered(reason, _) = fate {
            *self.drops.entry((port, reason)).or_default() += 1;
        }
        fate
    }

    fn judge(&mut self, port: Port, frame: &[u8], seen: &Seen) -> Result<Fate, DropReason> {
        let link = Link::read(frame).ok_or(DropReason::Truncated)?;
        match link.ether_type {
            0x0800 if link.to == port.mac() => self.ipv4(port, &link, frame, seen),
            0x0806 => arp(port, &link, frame),
            _ => Ok(Fate::Pass),
        }
    }

    fn ipv4(
        &mut self,
        port: Port,
        link: &Link,
        frame: &[u8],
        seen: &Seen,
    ) -> Result<Fate, DropReason> {
        let packet = &frame[link.length..];
        if packet.len() < 20 {
            return Err(DropReason::Truncated);
        }
        match Segment::read(packet) {
            Ok(segment) => self.tcp(port, link, frame, &segment, seen),
            Err(_) if !is_ours(port, address_at(packet, 16)) => Ok(Fate::Pass),
            Err(DropReason::Protocol) if packet[9] == UDP => Err(refused_datagram(port, packet)),
            Err(DropReason::Fragment) if packet[9] == UDP => Err(refused_fragment(port, packet)),
            Err(DropReason::Protocol) => self.icmp(port, link, frame),
            Err(reason) => Err(reason),
        }
    }

    /// The flow that has these ends in the segments that arrive by `port`, live or held, and the direction.
    fn find(&self, port: Port, source: Socket, destination: Socket) -> Option<(usize, usize)> {
        self.flows.iter().enumerate().find_map(|(number, flow)| {
            if port == Port::Provider {
                return (flow.to == source && flow.lease == destination)
                    .then_some((number, FROM_TARGET));
            }
            let same = flow.port == port && flow.client == source && flow.endpoint == destination;
            (same && flow.is_live()).then_some((number, FROM_CLIENT))
        })
    }

    fn tcp(
        &mut self,
        port: Port,
        link: &Link,
        frame: &[u8],
        segment: &Segment,
        seen: &Seen,
    ) -> Result<Fate, DropReason> {
        let found = self.find(port, segment.source, segment.destination);
        if let Some((number, side)) = found.filter(|&(number, _)| self.flows[number].is_live()) {
            let flow = &self.flows[number];
            let anew = side == FROM_CLIENT && opens(segment) && flow.is_over();
            if !anew && !flow.is_due(self.now) {
                return self.carry(port, link, frame, segment, number, side);
            }
            self.end(number);
        }
        if !is_ours(port, segment.destination.0) {
            return Ok(Fate::Pass);
        }
        if are_impossible(segment) {
            return Err(DropReason::TcpFlags);
        }
        if port == Port::Provider {
            let target = TARGETS.iter().any(|target| target.0 == segment.source)
                || segment.source.0 == TARGETS[LONER].0.0;
            let opening = segment.has(SYN) && !segment.has(ACK);
            if !opening && CHECK_PORTS.contains(&segment.destination.1) {
                return Ok(Fate::Pass);
            }
            if opening || !target {
                return Err(DropReason::Unsolicited);
            }
            return reset(port, link, segment);
        }
        let published = self.may_enter(port, segment)?;
        if !opens(segment) {
            return reset(port, link, segment);
        }
        verify(&frame[link.length..], segment)?;
        self.open(port, link, frame, segment, published, seen)
    }

    fn may_enter(&self, port: Port, segment: &Segment) -> Result<Published, DropReason> {
        let ((source, _), (destination, to)) = (segment.source, segment.destination);
        if !may_be_client(source) || source == destination {
            return Err(DropReason::SourceAddress);
        }
        let published = published(port, to).ok_or(DropReason::NoListener)?;
        // A's security group lets port 80 of its own addresses through. The others have none, which lets their own
        // addresses through.
        if source.octets()[..2] != [10, 0] {
            return Err(DropReason::SecurityGroup);
        }
        if !self.endpoints[published.endpoint].available && opens(segment) {
            return Err(DropReason::EndpointNotAvailable);
        }
        Ok(published)
    }

    /// The targets that a new flow may go to.
    fn allowed(&self, endpoint: usize) -> Vec<usize> {
        if endpoint == SECOND {
            return vec![LONER];
        }
        let weighty = || (0..GROUP).filter(|&target| TARGETS[target].1 > 0);
        let usable: Vec<usize> = weighty().filter(|&target| self.usable[target]).collect();
        if usable.is_empty() { weighty().collect() } else { usable }
    }

    fn open(
        &mut self,
        port: Port,
        link: &Link,
        frame: &[u8],
        segment: &Segment,
        published: Published,
        seen: &Seen,
    ) -> Result<Fate, DropReason> {
        let Published { endpoint, keeps_port } = published;
        let allowed = self.allowed(endpoint);
        let refusals: Vec<Option<DropReason>> =
            allowed.iter().map(|&target| self.refusal(endpoint, target, segment)).collect();
        let Some((target, lease)) = seen.opened.filter(|_| refusals.contains(&None)) else {
            let seen =
                refusals.iter().find(|refusal| refusal.is_some() && **refusal == seen.reason);
            let refusal =
                seen.copied().flatten().or_else(|| refusals.iter().copied().flatten().next());
            // Refusing where nothing speaks against it is what the run then finds wrong.
            let reason = refusal.unwrap_or(DropReason::NoTarget);
            return match reason {
                DropReason::TooBig => self.too_big(port, link, frame, segment, Port::Provider),
                DropReason::EndpointFlowLimit => {
                    Ok(Fate::Answered(reason, error(port, link, frame, segment, 13, 0)))
                }
                reason => Err(reason),
            };
        };
        let at = allowed.iter().position(|&allowed| allowed == target);
        assert!(at.is_some_and(|at| refusals[at].is_none()), "target {target} of {allowed:?}");
        let balancer = if target == LONER { LONER_BALANCER } else { BALANCER };
        assert_eq!(lease.0, balancer, "the lease is the load balancer's");
        assert!(lease.1 >= 10_240, "{lease:?}");
        let (address, own) = TARGETS[target].0;
        let to = (address, if keeps_port { segment.destination.1 } else { own });
        let other = self.flows.iter().find(|flow| flow.to == to && flow.lease == lease);
        assert!(other.is_none(), "a lease twice: {other:?}");
        self.flows.push(Flow {
            port,
            client: segment.source,
            endpoint: segment.destination,
            owner: endpoint,
            target,
            to,
            lease,
            place: Place { mac: link.from, tags: link.tags.clone() },
            sides: Default::default(),
            stage: Stage::HalfOpen,
            last: self.now,
        });
        self.carry(port, link, frame, segment, self.flows.len() - 1, FROM_CLIENT)
    }

    /// What speaks against a new flow to a target.
    fn refusal(&self, endpoint: usize, target: usize, segment: &Segment) -> Option<DropReason> {
        let own = self.flows.iter().filter(|flow| flow.owner == endpoint);
        let live = own.filter(|flow| flow.is_live()).count();
        let provider = &self.interfaces[Port::Provider as usize];
        if !self.reachable[target] {
            Some(DropReason::NextHopUnresolved)
        } else if !provider.attached {
            Some(DropReason::InterfaceGone)
        } else if u32::from(segment.total) > provider.mtu {
            Some(DropReason::TooBig)
        } else {
            (live >= FLOW_LIMIT).then_some(DropReason::EndpointFlowLimit)
        }
    }

    /// Where a direction of a flow leads.
    fn route(&self, number: usize, side: usize) -> Result<(Port, Place), DropReason> {
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
        port: Port,
        link: &Link,
        frame: &[u8],
        segment: &Segment,
        number: usize,
        side: usize,
    ) -> Result<Fate, DropReason> {
        if are_impossible(segment) {
            return Err(DropReason::TcpFlags);
        }
        if side == FROM_CLIENT {
            self.flows[number].place = Place { mac: link.from, tags: link.tags.clone() };
        }
        let (to, place) = self.route(number, side)?;
        let mtu = self.interfaces[to as usize].mtu;
        if u32::from(segment.total) > mtu {
            return self.too_big(port, link, frame, segment, to);
        }
        let narrower = mtu.min(self.interfaces[port as usize].mtu);
        let mss = segment.has(SYN).then(|| narrower.saturating_sub(40) as u16);
        let flow = &mut self.flows[number];
        let (source, destination) = flow.ends(side);
        let packet = wire::translate_segment(&frame[link.length..], source, destination, mss);
        if flow.follow(side, segment) {
            flow.last = self.now;
        }
        flow.sides[side].packets += 1;
        flow.sides[side].bytes += u64::from(segment.total);
        Ok(Fate::Sent(to, framed(&place, to, &packet)))
    }

    /// Too big for the interface `to`: its sender is told, unless it might have been fragmented.
    fn too_big(
        &self,
        port: Port,
        link: &Link,
        frame: &[u8],
        segment: &Segment,
        to: Port,
    ) -> Result<Fate, DropReason> {
        let packet = &frame[link.length..];
        let dont_fragment = packet[6] & 0x40 != 0;
        if !dont_fragment || !wire::ipv4_is_right(packet) {
            return Err(DropReason::TooBig);
        }
        let mtu = self.interfaces[to as usize].mtu as u16;
        Ok(Fate::Answered(DropReason::TooBig, error(port, link, frame, segment, 4, mtu)))
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

    /// A packet to one of our addresses that is neither TCP nor UDP.
    fn icmp(&self, port: Port, link: &Link, frame: &[u8]) -> Result<Fate, DropReason> {
        let packet = &frame[link.length..];
        let length = usize::from(u16_at(packet, 2));
        if packet[9] != 1 {
            return Err(DropReason::Protocol);
        }
        if length < 28 {
            return Err(DropReason::Truncated);
        }
        if length > 1500 || internet_checksum(&packet[20..length]) != 0 {
            return Err(DropReason::IcmpChecksum);
        }
        let source = address_at(packet, 12);
        if !may_be_client(source) || source == address_at(packet, 16) {
            return Err(DropReason::SourceAddress);
        }
        match (packet[20], packet[21]) {
            (3 | 11 | 12, _) => self.icmp_error(port, packet, length),
            (8, 0) => {
                if port == Port::Provider || !self.endpoints[port as usize - 1].echo {
                    return Err(DropReason::IcmpEcho);
                }
                let place = Place { mac: link.from, tags: link.tags.clone() };
                Ok(Fate::Replied(framed(&place, port, &wire::echo_reply(packet))))
            }
            _ => Err(DropReason::IcmpType),
        }
    }

    /// An error about a segment that we had sent into a port's vpc.
    fn icmp_error(&self, port: Port, packet: &[u8], length: usize) -> Result<Fate, DropReason> {
        if packet[8] <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if length < 56 {
            return Err(DropReason::IcmpQuote);
        }
        let quote = &packet[28..length];
        let later_fragment = u16_at(quote, 6) & 0x1fff != 0;
        if quote[0] != 0x45 || later_fragment || ![TCP, UDP].contains(&quote[9]) {
            return Err(DropReason::IcmpQuote);
        }
        let sender = (address_at(quote, 12), u16_at(quote, 20));
        let receiver = (address_at(quote, 16), u16_at(quote, 22));
        // There are no flows of UDP.
        if sender.0 != address_at(packet, 16) || quote[9] == UDP {
            return Err(DropReason::IcmpNoFlow);
        }
        // The direction that answers what is quoted.
        let (number, side) = self.find(port, receiver, sender).ok_or(DropReason::IcmpNoFlow)?;
        let flow = &self.flows[number];
        // A side that has sent nothing, or only resets, has no number to be near to.
        let sent = &flow.sides[1 - side];
        let difference = sent.next.wrapping_sub(u32_at(quote, 24)) as i32;
        let near = sent.flags & !RST != 0 && (-(1 << 24)..1 << 24).contains(&difference);
        if !flow.is_live() || !near {
            return Err(DropReason::IcmpNoFlow);
        }
        let (to, place) = self.route(number, side)?;
        if length as u32 > self.interfaces[to as usize].mtu {
            return Err(DropReason::TooBig);
        }
        let (source, destination) = flow.ends(side);
        let out = wire::translate_error(packet, (source.0, destination.0), (destination, source));
        Ok(Fate::Sent(to, framed(&place, to, &out)))
    }
}

/// Why a datagram to one of our addresses is dropped: nobody publishes UDP here.
fn refused_datagram(port: Port, packet: &[u8]) -> DropReason {
    let length = u16_at(packet, 2);
    if length < 28 {
        return DropReason::Truncated;
    }
    if !(8..=length - 20).contains(&u16_at(packet, 24)) {
        return DropReason::UdpLength;
    }
    if packet[8] <= 1 {
        return DropReason::TtlExpired;
    }
    unpublished(port, packet)
}

/// The same of one in fragments, which open no flow either.
fn refused_fragment(port: Port, packet: &[u8]) -> DropReason {
    let (here, word) = (u16_at(packet, 2) - 20, u16_at(packet, 6));
    let (follows, offset) = (word & 0x2000 != 0, word & 0x1fff);
    let end = u32::from(offset) * 8 + u32::from(here);
    if here == 0 || follows && here % 8 != 0 || end > 65_515 {
        return DropReason::Ipv4Header;
    }
    if packet[8] <= 1 {
        return DropReason::TtlExpired;
    }
    if offset != 0 {
        return DropReason::FragmentUnknown;
    }
    if !(here..=65_515).contains(&u16_at(packet, 24)) {
        return DropReason::UdpLength;
    }
    unpublished(port, packet)
}

fn unpublished(port: Port, packet: &[u8]) -> DropReason {
    let source = address_at(packet, 12);
    match port {
        Port::Provider => DropReason::Unsolicited,
        _ if !may_be_client(source) || source == address_at(packet, 16) => {
            DropReason::SourceAddress
        }
        _ => DropReason::NoListener,
    }
}

/// Whether an address is a load balancer's or an endpoint's in a port's vpc.
fn is_ours(port: Port, address: Ipv4Addr) -> bool {
    match port {
        Port::Provider => [BALANCER, LONER_BALANCER].contains(&address),
        Port::A | Port::B => address == ENDPOINT,
    }
}

/// The checksums of a SYN that is to open a flow; those of jumbo segments are their receivers' business.
fn verify(packet: &[u8], segment: &Segment) -> Result<(), DropReason> {
    if !wire::ipv4_is_right(packet) {
        return Err(DropReason::Ipv4Checksum);
    }
    if segment.total > 1500 || wire::tcp_is_right(packet) {
        return Ok(());
    }
    let unfinished = u16_at(packet, 36) == wire::unfinished(packet);
    Err(if unfinished { DropReason::ChecksumUnfinished } else { DropReason::TcpChecksum })
}

/// A packet behind a new Ethernet header.
fn framed(place: &Place, from: Port, packet: &[u8]) -> Vec<u8> {
    [&frame::ethernet(place.mac, from.mac(), &place.tags, 0x0800), packet].concat()
}

fn arp(port: Port, link: &Link, frame: &[u8]) -> Result<Fate, DropReason> {
    let message = frame.get(link.length..link.length + 28).ok_or(DropReason::Truncated)?;
    let (asker, wanted) = (address_at(message, 14), address_at(message, 24));
    let request = message[..8] == [0, 1, 8, 0, 6, 4, 0, 1];
    if !request || asker == wanted || !is_ours(port, wanted) {
        return Ok(Fate::Pass);
    }
    let who: Mac = message[8..14].try_into().expect("six bytes");
    let mut out = frame::ethernet(link.from, port.mac(), &link.tags, 0x0806);
    out.extend(frame::arp(2, (port.mac(), wanted), (who, asker)));
    out.extend(&frame[link.length + 28..]);
    Ok(Fate::Replied(out))
}

/// A segment without a flow: a RST is dropped, everything else answered by one.
fn reset(port: Port, link: &Link, segment: &Segment) -> Result<Fate, DropReason> {
    if segment.has(RST) {
        return Err(DropReason::NoFlow);
    }
    let answer = frame::Segment {
        to: link.from,
        from: port.mac(),
        tags: link.tags.clone(),
        source: segment.destination,
        destination: segment.source,
        ttl: 64,
        flags: RST,
        sequence: segment.acknowledgement,
        acknowledgement: 0,
        window: 0,
        identification: 0,
        dscp_ecn: 0,
        options: Vec::new(),
        payload: Vec::new(),
    };
    Ok(Fate::Answered(DropReason::NoFlow, answer.bytes()))
}

/// A "destination unreachable" that answers a segment.
fn error(port: Port, link: &Link, frame: &[u8], segment: &Segment, code: u8, mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let message = Message {
        to: link.from,
        from: port.mac(),
        tags: link.tags.clone(),
        source: segment.destination.0,
        destination: segment.source.0,
        ttl: 64,
        identification: 0,
        dscp_ecn: 0xc0,
        dont_fragment: true,
        kind: 3,
        code,
        rest: [0, 0, high, low],
        body: frame[link.length..][..28].to_vec(),
    };
    message.bytes()
}
