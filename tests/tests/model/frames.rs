//! The frames that steps come to, as things are when they are sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use privatelink_common::tcp::{ACK, FIN, SYN};

use super::build::{self, Around};
use super::flow::Flow;
use super::mix::{BALANCER_6, ENDPOINT_6, six};
use super::nat::Nat;
use super::steps::{Client, Number, Saying, Step};
use super::wire::{
    IPV4, IPV6, Link, Parcel, Socket, TCP, UDP, addresses, covered, ether_type_of, header_of,
};
use super::{cutting, quoting};
use crate::damage::{Random, damage};
use crate::frame::{self, Mac, internet_checksum};
use crate::world::{BALANCER, ENDPOINT, Port, TARGET_MACS};

/// How many clients there are of each family.
pub(super) const HOSTS: usize = 8;
/// Two, one whom no security group lets in, and some who are nobody, or the endpoint itself.
pub(super) const CLIENTS: [Ipv4Addr; HOSTS] = [
    Ipv4Addr::new(10, 0, 2, 20),
    Ipv4Addr::new(10, 0, 2, 21),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::BROADCAST,
    ENDPOINT,
];
/// The same of IPv6, with one who has an IPv4 address there.
pub(super) const CLIENTS_6: [Ipv6Addr; HOSTS] = [
    six(2, 0x20),
    six(2, 0x21),
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::UNSPECIFIED,
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    CLIENTS[0].to_ipv6_mapped(),
    ENDPOINT_6,
];
/// Nobody, and a target at a port that only clients can have chosen; nobody with IPv6.
pub(super) const STRANGERS: [Socket; 3] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 9, 9)), 8080),
    (IpAddr::V4(Ipv4Addr::new(10, 0, 1, 13)), 12_345),
    (IpAddr::V6(six(9, 9)), 8080),
];
pub(super) const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 5)], &[(0x88a8, 7), (0x8100, 0xe064)]];
/// No options; MSS, NOP, window scale; NOP and MSS at an odd place; a MSS that is cut off.
pub(super) const OPTIONS: [&[u8]; 4] =
    [&[], &[2, 4, 5, 0xb4, 1, 3, 3, 7], &[1, 2, 4, 0x23, 0x28, 1, 1, 0], &[1, 1, 2, 3]];
/// On both sides of what may be fragmented where it was IPv6, with TCP's header and with UDP's, and of what fits a link, of
/// either family.
pub(super) const PAYLOADS: [usize; 12] =
    [0, 1, 10, 500, 1220, 1221, 1233, 1420, 1440, 1441, 1460, 1461];

/// A frame on its way in.
pub(crate) type Arrival = (Port, Vec<u8>);

impl Client {
    const fn address(self) -> IpAddr {
        if self.six { IpAddr::V6(CLIENTS_6[self.host]) } else { IpAddr::V4(CLIENTS[self.host]) }
    }

    const fn socket(self) -> Socket {
        (self.address(), 40_000 + self.number)
    }

    /// The endpoint's address of its family.
    const fn endpoint(self) -> IpAddr {
        if self.six { IpAddr::V6(ENDPOINT_6) } else { IpAddr::V4(ENDPOINT) }
    }

    /// Its flow to a port.
    fn flow(self, nat: &Nat, to: u16) -> Option<&Flow> {
        nat.flows.iter().find(|flow| {
            (flow.port, flow.protocol, flow.client) == (self.port, self.protocol, self.socket())
                && flow.endpoint.1 == to
        })
    }
}

/// What is said where nothing is wrong with it.
const PLAIN: Saying = Saying {
    flags: ACK,
    sequence: Number::Right,
    acknowledgement: Number::Right,
    payload: 0,
    options: 0,
    tags: 0,
    ttl: 64,
    dont_fragment: true,
    summed: true,
    damage: None,
};

fn plain(flags: u8) -> Saying {
    Saying { flags, options: usize::from(flags & SYN != 0), ..PLAIN }
}

fn framed(port: Port, from: Mac, tags: usize, ether_type: u16, packet: &[u8]) -> Vec<u8> {
    [&frame::ethernet(port.mac(), from, TAGS[tags], ether_type), packet].concat()
}

fn said(
    port: Port,
    mac: Mac,
    protocol: u8,
    ends: (Socket, Socket),
    numbers: (u32, u32),
    saying: &Saying,
) -> Arrival {
    let mut data: Vec<u8> = (0..PAYLOADS[saying.payload]).map(|byte| byte as u8 ^ 0x5a).collect();
    let carried = if protocol == UDP {
        // Datagrams have no options: these have a checksum that would be 0.
        if saying.options == 3 && data.len() > 1 {
            let between = (ends.0.0, ends.1.0);
            data[..2].fill(0);
            let checksum = internet_checksum(&covered(between, UDP, &build::udp(ends, &data)));
            data[..2].copy_from_slice(&checksum.to_be_bytes());
        }
        build::udp(ends, &data)
    } else {
        let numbers = (saying.sequence.beside(numbers.0), saying.acknowledgement.beside(numbers.1));
        build::tcp(ends, numbers, saying.flags, 0xfaf0, OPTIONS[saying.options], &data)
    };
    let around = Around {
        class: 0xb9,
        ttl: saying.ttl,
        identification: 0xbeef,
        dont_fragment: saying.dont_fragment,
        label: 0x54321,
    };
    let ends = (ends.0.0, ends.1.0);
    let summed = protocol == TCP || saying.summed;
    let packet = build::packet(around, ends, protocol, &carried, summed);
    let frame = framed(port, mac, saying.tags, ether_type_of(ends.0), &packet);
    (port, hurt(frame, saying.damage))
}

fn hurt(mut frame: Vec<u8>, seed: Option<u64>) -> Vec<u8> {
    match seed {
        Some(seed) if seed % 16 == 0 => leave_unfinished(&mut frame),
        Some(seed) => damage(&mut frame, &mut Random(seed)),
        None => {}
    }
    frame
}

/// Leaves a checksum as a sender does whose card is to finish it.
fn leave_unfinished(frame: &mut [u8]) {
    let link = Link::read(frame).expect("it is whole");
    let packet = &mut frame[link.length..];
    let parcel = match link.ether_type {
        IPV4 => Parcel::read_v4(packet),
        IPV6 => Parcel::read_v6(packet),
        _ => return,
    };
    if let Ok(parcel) = parcel {
        let checksum = parcel.unfinished(packet);
        packet[parcel.checksum()..][..2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The numbers that side `side` of a flow says next.
pub(super) fn numbers(flow: Option<&Flow>, side: usize) -> (u32, u32) {
    const FIRST: [u32; 2] = [0x1234_5678, 0xffff_ff00];
    let next = |side: usize| match flow {
        Some(flow) if flow.sides[side].packets > 0 => flow.sides[side].next,
        _ => FIRST[side],
    };
    (next(side), next(1 - side))
}

fn by_client(nat: &Nat, client: Client, to: u16, saying: &Saying) -> Arrival {
    let numbers = numbers(client.flow(nat, to), 0);
    let ends = (client.socket(), (client.endpoint(), to));
    said(client.port, client.port.client(), client.protocol, ends, numbers, saying)
}

fn by_target(flow: &Flow, saying: &Saying) -> Arrival {
    let mac = TARGET_MACS[flow.target % 2];
    let ends = (flow.to, flow.lease);
    said(Port::Provider, mac, flow.protocol, ends, numbers(Some(flow), 1), saying)
}

fn pick(nat: &Nat, flow: usize) -> Option<&Flow> {
    (!nat.flows.is_empty()).then(|| &nat.flows[flow % nat.flows.len()])
}

impl Step {
    /// How many frames the step is at most.
    pub(crate) fn frames(&self) -> usize {
        match self {
            Self::Pieces { pieces, .. } => pieces.len(),
            Self::Extended { step, .. } => step.frames(),
            Self::Connect { .. } => 3,
            Self::Close { .. } => 2,
            _ => 1,
        }
    }

    /// The step's frame of this number.
    pub(crate) fn frame(&self, nat: &Nat, number: usize) -> Option<Arrival> {
        match *self {
            Self::Client { client, to, elsewhere, moved, ref saying } => {
                let mut mac = client.port.client();
                mac[4] = if moved { 9 } else { mac[4] };
                let endpoint = match client.endpoint() {
                    IpAddr::V4(_) if elsewhere => IpAddr::from([10, 0, 9, 9]),
                    IpAddr::V6(_) if elsewhere => IpAddr::from(six(9, 9)),
                    endpoint => endpoint,
                };
                let ends = (client.socket(), (endpoint, to));
                let numbers = numbers(client.flow(nat, to), 0);
                Some(said(client.port, mac, client.protocol, ends, numbers, saying))
            }
            Self::Target { flow, ref saying } => Some(by_target(pick(nat, flow)?, saying)),
            Self::Stranger { target, port, ref saying } => {
                let targets = nat.mix.targets().map(|target| target.0);
                let source = targets.into_iter().chain(STRANGERS).nth(target)?;
                let balancer = match source.0 {
                    IpAddr::V4(_) => BALANCER.into(),
                    IpAddr::V6(_) => BALANCER_6.into(),
                };
                let mac = Port::Provider.client();
                let protocol = if saying.summed { TCP } else { UDP };
                let ends = (source, (balancer, port));
                Some(said(Port::Provider, mac, protocol, ends, numbers(None, 1), saying))
            }
            Self::Connect { client, to } => match number {
                0 => Some(by_client(nat, client, to, &plain(SYN))),
                1 => Some(by_target(client.flow(nat, to)?, &plain(SYN | ACK))),
                _ => Some(by_client(nat, client, to, &plain(ACK))),
            },
            Self::Close { flow, target_first } => {
                let flow = pick(nat, flow)?;
                Some(if target_first == (number == 0) {
                    by_target(flow, &plain(ACK | FIN))
                } else {
                    let (ends, numbers) = ((flow.client, flow.endpoint), numbers(Some(flow), 0));
                    let mac = flow.port.client();
                    said(flow.port, mac, flow.protocol, ends, numbers, &plain(ACK | FIN))
                })
            }
            Self::Error { flow, to_client, ref complaint } => {
                let flow = pick(nat, flow)?;
                let (port, packet) = quoting::error(flow, to_client, complaint);
                let frame =
                    framed(port, port.client(), 0, ether_type_of(addresses(&packet).0), &packet);
                Some((port, hurt(frame, complaint.damage)))
            }
            Self::Pieces { client, to, flow, datagram, tags, ref pieces } => {
                let piece = &pieces[number];
                let (port, mac, ends) = match flow {
                    Some(flow) => {
                        let flow = pick(nat, flow)?;
                        (Port::Provider, TARGET_MACS[flow.target % 2], (flow.to, flow.lease))
                    }
                    None => {
                        let ends = (client.socket(), (client.endpoint(), to));
                        (client.port, client.port.client(), ends)
                    }
                };
                let packet = cutting::piece(ends, nat.salt + datagram, piece);
                let frame = framed(port, mac, tags, ether_type_of(ends.0.0), &packet);
                Some((port, hurt(frame, piece.damage)))
            }
            Self::Extended { ref step, ref extensions, damage } => {
                let (port, frame) = step.frame(nat, number)?;
                Some((port, hurt(cutting::extended(&frame, extensions)?, damage)))
            }
            Self::Astray { flow, from_target, by, ref saying } => {
                let flow = pick(nat, flow)?;
                let (ends, side) = if from_target {
                    ((flow.to, flow.lease), 1)
                } else {
                    ((flow.client, flow.endpoint), 0)
                };
                let numbers = numbers(Some(flow), side);
                Some(said(by, by.client(), flow.protocol, ends, numbers, saying))
            }
            Self::Garbage { port, six, headers, ref bytes } => {
                Some((port, garbage(port, six, headers, bytes)))
            }
            Self::Echo { client, length, damage } => {
                let body = vec![0x77; length];
                let (port, from) = (client.port, client.port.client());
                let ends = (client.address(), client.endpoint());
                let said = (if client.six { 128 } else { 8 }, 0, 0x578);
                let around = Around { class: 0xc0, ttl: 61, identification: 0x1234, ..build::OURS };
                let packet = build::icmp(around, ends, said, &body);
                let frame = framed(port, from, 0, ether_type_of(ends.0), &packet);
                Some((port, hurt(frame, damage)))
            }
            Self::Arp { port, operation, wanted, tags, damage } => {
                let wanted = [ENDPOINT, BALANCER, CLIENTS[0]][wanted];
                let mut frame = frame::ethernet([0xff; 6], port.client(), TAGS[tags], 0x0806);
                let sender = (port.client(), CLIENTS[0]);
                frame.extend(frame::arp(operation, sender, ([0; 6], wanted)));
                Some((port, hurt(frame, damage)))
            }
            Self::Neighbour { port, kind, asker, wanted, hops, tags, damage } => {
                let frame = discovery(port, kind, asker, wanted, hops, tags);
                Some((port, hurt(frame, damage)))
            }
            _ => None,
        }
    }
}

/// A message of neighbour discovery, mostly a solicitation, to the group of all who may have the address.
fn discovery(
    port: Port,
    kind: usize,
    asker: usize,
    wanted: usize,
    hops: u8,
    tags: usize,
) -> Vec<u8> {
    let asker =
        [CLIENTS_6[0], CLIENTS_6[3], Ipv6Addr::UNSPECIFIED, ENDPOINT_6].map(IpAddr::from)[asker];
    let wanted = [ENDPOINT_6, BALANCER_6, CLIENTS_6[0]][wanted];
    let [.., a, b, c] = wanted.octets();
    let group =
        IpAddr::from([0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c])]);
    let kind = [135, 135, 136, 133][kind];
    // Who has no address yet tells none of his link.
    let option =
        if asker.is_unspecified() { Vec::new() } else { [&[1, 1][..], &port.client()].concat() };
    let body = [&wanted.octets()[..], &option].concat();
    let packet =
        build::icmp(Around { ttl: hops, ..build::OURS }, (asker, group), (kind, 0, 0), &body);
    let mac = [0x33, 0x33, 0xff, a, b, c];
    [&frame::ethernet(mac, port.client(), TAGS[tags], IPV6), &packet[..]].concat()
}

/// Bytes that begin with none, one, two or three right headers: Ethernet, IP, TCP ports.
fn garbage(port: Port, is_six: bool, headers: usize, bytes: &[u8]) -> Vec<u8> {
    let (client, address): (IpAddr, IpAddr) = match (is_six, port) {
        (false, Port::Provider) => (CLIENTS[0].into(), BALANCER.into()),
        (false, _) => (CLIENTS[0].into(), ENDPOINT.into()),
        (true, Port::Provider) => (CLIENTS_6[0].into(), BALANCER_6.into()),
        (true, _) => (CLIENTS_6[0].into(), ENDPOINT_6.into()),
    };
    let ends = ((client, 40_000), (address, 80));
    let (_, whole) = said(port, port.client(), TCP, ends, (0, 0), &PLAIN);
    let header = header_of(client);
    let right = [0, 14, 14 + header, 14 + header + 4][headers];
    let mut frame = [&whole[..right], bytes].concat();
    if headers > 1 {
        frame.resize(whole.len(), 0);
    }
    frame
}
