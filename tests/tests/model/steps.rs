//! What may happen to a gateway, as proptest draws it, and the frames that it comes to.

use std::net::Ipv4Addr;

use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use proptest::prelude::*;

use super::nat::{Flow, Nat, PORTS, TARGETS};
use super::wire::{Link, Socket, unfinished};
use crate::damage::{Random, damage};
use crate::frame::{self, Message, Segment};
use crate::world::{BALANCER, ENDPOINT, Port};

const CLIENTS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 0, 2, 20),
    Ipv4Addr::new(10, 0, 2, 21),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(127, 0, 0, 1),
];
/// Nobody, and a target at a port that only clients can have chosen.
const STRANGERS: [Socket; 2] =
    [(Ipv4Addr::new(10, 0, 9, 9), 8080), (Ipv4Addr::new(10, 0, 1, 13), 12_345)];
const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 5)], &[(0x88a8, 7), (0x8100, 0xe064)]];
/// No options; MSS, NOP, window scale; NOP and MSS at an odd place; a MSS that is cut off.
const OPTIONS: [&[u8]; 4] =
    [&[], &[2, 4, 5, 0xb4, 1, 3, 3, 7], &[1, 2, 4, 0x23, 0x28, 1, 1, 0], &[1, 1, 2, 3]];
const PAYLOADS: [usize; 5] = [0, 1, 10, 500, 1420];
/// Seconds, around the time-outs.
const SECONDS: [u64; 9] = [1, 9, 11, 29, 31, 59, 61, 349, 351];
/// How far a number may be beside the right one: around every bound that following has.
const BESIDE: [i64; 16] = [
    -1,
    1,
    -500,
    500,
    0xffff,
    0x1_0000,
    -0xffff,
    -0x1_0000,
    0xf_ffff,
    0x10_0000,
    -0x10_0000,
    0x7fff_fffe,
    0xff_ffff,
    0x100_0000,
    0x100_0001,
    -0x100_0000,
];

/// A sequence number, beside the one that would be right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Right,
    Beside(u32),
    Random(u32),
}

impl Number {
    const fn beside(self, right: u32) -> u32 {
        match self {
            Self::Right => right,
            Self::Beside(by) => right.wrapping_add(by),
            Self::Random(number) => number,
        }
    }
}

/// What a segment says, whoever sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying {
    flags: u8,
    sequence: Number,
    acknowledgement: Number,
    payload: usize,
    options: usize,
    tags: usize,
    ttl: u8,
    dont_fragment: bool,
    /// The seed of some damage.
    damage: Option<u64>,
}

/// A client of A's or B's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    port: Port,
    host: usize,
    /// Which of a few source ports.
    number: u16,
}

/// What is wrong about what an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrong {
    Nothing,
    Port,
    Protocol,
    Fragment,
    Receiver,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A client says something to its endpoint, at this port; `elsewhere` is nobody's address.
    Client {
        client: Client,
        to: u16,
        elsewhere: bool,
        moved: bool,
        saying: Saying,
    },
    /// The target of some flow says something.
    Target {
        flow: usize,
        saying: Saying,
    },
    /// Somebody in the provider's vpc writes to the load balancer.
    Stranger {
        target: usize,
        port: u16,
        saying: Saying,
    },
    /// A handshake that goes as it should.
    Connect {
        client: Client,
        to: u16,
    },
    /// Both sides of a flow close.
    Close {
        flow: usize,
        target_first: bool,
    },
    /// An ICMP error about what some flow has sent.
    Error {
        flow: usize,
        to_client: bool,
        kind: u8,
        sequence: Number,
        quoted: usize,
        wrong: Wrong,
        ttl: u8,
        damage: Option<u64>,
    },
    /// A segment of some flow arrives where it does not belong.
    Astray {
        flow: usize,
        from_target: bool,
        by: Port,
        saying: Saying,
    },
    /// Any bytes; mostly behind headers that lead to us.
    Garbage {
        port: Port,
        headers: usize,
        bytes: Vec<u8>,
    },
    Echo {
        client: Client,
        length: usize,
        damage: Option<u64>,
    },
    Arp {
        port: Port,
        operation: u16,
        wanted: usize,
        tags: usize,
        damage: Option<u64>,
    },
    /// Time passes, seconds.
    Pass(u64),
    Sweep,
    Reachable(usize, bool),
    Usable([bool; 3]),
    Mtu(Port, u32),
    Attached(Port, bool),
    /// An endpoint, by its number.
    Available(u32, bool),
    Echoes(Port, bool),
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        12 => Just(Number::Right),
        4 => prop::sample::select(&BESIDE[..]).prop_map(|by| Number::Beside(by as u32)),
        1 => any::<u32>().prop_map(Number::Random),
    ]
}

fn damaged() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![9 => Just(None), 1 => any::<u64>().prop_map(Some)]
}

fn saying(flags: BoxedStrategy<u8>) -> impl Strategy<Value = Saying> {
    let ttl = prop_oneof![12 => Just(64_u8), 1 => 0_u8..4];
    let dont_fragment = prop_oneof![5 => Just(true), 1 => Just(false)];
    let size = prop_oneof![4 => Just(0), 3 => 0..PAYLOADS.len()];
    let words = (number(), number());
    (flags, words, size, 0..OPTIONS.len(), 0..TAGS.len(), ttl, dont_fragment, damaged()).prop_map(
        |(
            flags,
            (sequence, acknowledgement),
            payload,
            options,
            tags,
            ttl,
            dont_fragment,
            damage,
        )| {
            Saying {
                flags,
                sequence,
                acknowledgement,
                payload,
                options,
                tags,
                ttl,
                dont_fragment,
                damage,
            }
        },
    )
}

fn consumer() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::A), Just(Port::B)]
}

fn any_port() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::Provider), Just(Port::A), Just(Port::B)]
}

fn client() -> impl Strategy<Value = Client> {
    let host = prop_oneof![8 => 0_usize..2, 1 => 2_usize..4];
    (consumer(), host, 0_u16..5).prop_map(|(port, host, number)| Client { port, host, number })
}

/// Mostly as given; in one case of four as often the wrong way round.
fn mostly(yes: bool) -> impl Strategy<Value = bool> {
    prop_oneof![3 => Just(yes), 1 => Just(!yes)]
}

/// One step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let from_client = prop_oneof![
        6 => Just(SYN),
        1 => Just(SYN | ACK),
        6 => Just(ACK),
        3 => Just(ACK | PSH),
        3 => Just(ACK | FIN),
        2 => Just(RST),
        1 => Just(RST | ACK),
        1 => any::<u8>(),
    ];
    let from_target = prop_oneof![
        6 => Just(SYN | ACK),
        1 => Just(SYN),
        6 => Just(ACK),
        3 => Just(ACK | FIN),
        2 => Just(RST),
        2 => Just(RST | ACK),
        1 => any::<u8>(),
    ]
    .boxed();
    let any_flags = prop::sample::select(&[SYN, SYN | ACK, ACK, ACK | FIN, RST, RST | ACK][..]);
    let to = || prop_oneof![3 => Just(80_u16), 1 => prop::sample::select(&PORTS[..])];
    let rarely = || prop_oneof![20 => Just(false), 1 => Just(true)];
    let wrong = prop_oneof![
        6 => Just(Wrong::Nothing),
        1 => Just(Wrong::Port),
        1 => Just(Wrong::Protocol),
        1 => Just(Wrong::Fragment),
        1 => Just(Wrong::Receiver),
    ];
    let kind = prop::sample::select(&[3_u8, 3, 3, 11, 12, 5, 4, 13][..]);
    let quoted = prop::sample::select(&[20_usize, 28, 36, 37, 38, 39, 60, 600][..]);
    let ttl = prop_oneof![9 => Just(61_u8), 1 => 0_u8..3];
    let stranger_port = prop::sample::select(&[1023_u16, 1024, 10_239, 10_240, 10_241][..]);
    let flow = || 0_usize..16;
    let mtus = prop::sample::select(&[1500_u32, 1500, 1400, 576, 300][..]);
    let usable = prop::sample::select(
        &[[true; 3], [true, false, true], [false, true, false], [false; 3]][..],
    );
    prop_oneof![
        30 => (client(), to(), rarely(), rarely(), saying(from_client.boxed())).prop_map(
            |(client, to, elsewhere, moved, saying)| Step::Client {
                client, to, elsewhere, moved, saying
            }
        ),
        22 => (flow(), saying(from_target.clone()))
            .prop_map(|(flow, saying)| Step::Target { flow, saying }),
        3 => (0..TARGETS.len() + STRANGERS.len(), stranger_port, saying(from_target))
            .prop_map(|(target, port, saying)| Step::Stranger { target, port, saying }),
        8 => (client(), to()).prop_map(|(client, to)| Step::Connect { client, to }),
        4 => (flow(), any::<bool>())
            .prop_map(|(flow, target_first)| Step::Close { flow, target_first }),
        10 => (flow(), any::<bool>(), kind, number(), quoted, wrong, ttl, damaged()).prop_map(
            |(flow, to_client, kind, sequence, quoted, wrong, ttl, damage)| Step::Error {
                flow, to_client, kind, sequence, quoted, wrong, ttl, damage
            }
        ),
        3 => (flow(), any::<bool>(), any_port(), saying(any_flags.boxed())).prop_map(
            |(flow, from_target, by, saying)| Step::Astray { flow, from_target, by, saying }
        ),
        2 => (any_port(), 0_usize..4, prop::collection::vec(any::<u8>(), 14..100))
            .prop_map(|(port, headers, bytes)| Step::Garbage { port, headers, bytes }),
        2 => (client(), 0_usize..90, damaged())
            .prop_map(|(client, length, damage)| Step::Echo { client, length, damage }),
        2 => (any_port(), 1_u16..3, 0_usize..3, 0..TAGS.len(), damaged()).prop_map(
            |(port, operation, wanted, tags, damage)| Step::Arp {
                port, operation, wanted, tags, damage
            }
        ),
        6 => prop::sample::select(&SECONDS[..]).prop_map(Step::Pass),
        4 => Just(Step::Sweep),
        1 => (0..TARGETS.len(), mostly(true)).prop_map(|(target, is)| Step::Reachable(target, is)),
        1 => usable.prop_map(Step::Usable),
        1 => (any_port(), mtus).prop_map(|(port, mtu)| Step::Mtu(port, mtu)),
        1 => (any_port(), mostly(true)).prop_map(|(port, is)| Step::Attached(port, is)),
        1 => (0_u32..3, mostly(true)).prop_map(|(endpoint, is)| Step::Available(endpoint, is)),
        1 => (consumer(), any::<bool>()).prop_map(|(port, is)| Step::Echoes(port, is)),
    ]
}

/// A frame on its way in.
pub(crate) type Arrival = (Port, Vec<u8>);

impl Client {
    const fn socket(self) -> Socket {
        (CLIENTS[self.host], 40_000 + self.number)
    }

    /// Its flow to a port.
    fn flow(self, nat: &Nat, to: u16) -> Option<&Flow> {
        let mut own =
            nat.flows.iter().filter(|flow| (flow.port, flow.client) == (self.port, self.socket()));
        own.find(|flow| flow.endpoint.1 == to)
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
    damage: None,
};

fn plain(flags: u8) -> Saying {
    Saying { flags, options: usize::from(flags & SYN != 0), ..PLAIN }
}

fn said(
    port: Port,
    mac: frame::Mac,
    ends: (Socket, Socket),
    numbers: (u32, u32),
    saying: &Saying,
) -> Arrival {
    let segment = Segment {
        to: port.mac(),
        from: mac,
        tags: TAGS[saying.tags].to_vec(),
        source: ends.0,
        destination: ends.1,
        ttl: saying.ttl,
        flags: saying.flags,
        sequence: saying.sequence.beside(numbers.0),
        acknowledgement: saying.acknowledgement.beside(numbers.1),
        window: 0xfaf0,
        identification: 0xbeef,
        dscp_ecn: 0xb9,
        options: OPTIONS[saying.options].to_vec(),
        payload: (0..PAYLOADS[saying.payload]).map(|byte| byte as u8 ^ 0x5a).collect(),
    };
    let frame = segment.edited(|packet| packet[6] = u8::from(saying.dont_fragment) << 6);
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

/// Leaves a segment's checksum as a sender does whose card is to finish it.
fn leave_unfinished(frame: &mut [u8]) {
    let header = Link::read(frame).expect("it is whole").length;
    if let Some(packet) = frame.get_mut(header..).filter(|packet| packet.len() >= 40) {
        let checksum = unfinished(packet);
        packet[36..38].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The numbers that side `side` of a flow says next.
fn numbers(flow: Option<&Flow>, side: usize) -> (u32, u32) {
    const FIRST: [u32; 2] = [0x1234_5678, 0xffff_ff00];
    let next = |side: usize| match flow {
        Some(flow) if flow.sides[side].packets > 0 => flow.sides[side].next,
        _ => FIRST[side],
    };
    (next(side), next(1 - side))
}

fn by_client(nat: &Nat, client: Client, to: u16, saying: &Saying) -> Arrival {
    let numbers = numbers(client.flow(nat, to), 0);
    said(client.port, client.port.client(), (client.socket(), (ENDPOINT, to)), numbers, saying)
}

fn by_target(flow: &Flow, saying: &Saying) -> Arrival {
    let mac = crate::world::TARGET_MACS[flow.target % 2];
    let ends = (flow.to, flow.lease);
    said(Port::Provider, mac, ends, numbers(Some(flow), 1), saying)
}

fn pick(nat: &Nat, flow: usize) -> Option<&Flow> {
    (!nat.flows.is_empty()).then(|| &nat.flows[flow % nat.flows.len()])
}

impl Step {
    /// How many frames the step is at most.
    pub(crate) const fn frames(&self) -> usize {
        match self {
            Self::Connect { .. } => 3,
            Self::Close { .. } => 2,
            _ => 1,
        }
    }

    /// The step's frame of this number, as things are when it is sent.
    pub(crate) fn frame(&self, nat: &Nat, number: usize) -> Option<Arrival> {
        match *self {
            Self::Client { client, to, elsewhere, moved, ref saying } => {
                let mut mac = client.port.client();
                mac[4] = if moved { 9 } else { mac[4] };
                let endpoint = if elsewhere { Ipv4Addr::new(10, 0, 9, 9) } else { ENDPOINT };
                let ends = (client.socket(), (endpoint, to));
                Some(said(client.port, mac, ends, numbers(client.flow(nat, to), 0), saying))
            }
            Self::Target { flow, ref saying } => Some(by_target(pick(nat, flow)?, saying)),
            Self::Stranger { target, port, ref saying } => {
                let strangers = STRANGERS.into_iter();
                let source =
                    TARGETS.map(|target| target.0).into_iter().chain(strangers).nth(target)?;
                let ends = (source, (BALANCER, port));
                let mac = Port::Provider.client();
                Some(said(Port::Provider, mac, ends, numbers(None, 1), saying))
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
                    let ends = (flow.client, flow.endpoint);
                    let numbers = numbers(Some(flow), 0);
                    said(flow.port, flow.port.client(), ends, numbers, &plain(ACK | FIN))
                })
            }
            Self::Error { flow, to_client, kind, sequence, quoted, wrong, ttl, damage } => {
                let flow = pick(nat, flow)?;
                Some(error(flow, to_client, kind, sequence, quoted, wrong, ttl, damage))
            }
            Self::Astray { flow, from_target, by, ref saying } => {
                let flow = pick(nat, flow)?;
                let (ends, side) = if from_target {
                    ((flow.to, flow.lease), 1)
                } else {
                    ((flow.client, flow.endpoint), 0)
                };
                Some(said(by, by.client(), ends, numbers(Some(flow), side), saying))
            }
            Self::Garbage { port, headers, ref bytes } => {
                Some((port, garbage(port, headers, bytes)))
            }
            Self::Echo { client, length, damage } => {
                let message = Message {
                    source: client.socket().0,
                    destination: ENDPOINT,
                    kind: 8,
                    code: 0,
                    body: vec![0x77; length],
                    ..message(client.port)
                };
                Some((client.port, hurt(message.bytes(), damage)))
            }
            Self::Arp { port, operation, wanted, tags, damage } => {
                let wanted = [ENDPOINT, BALANCER, CLIENTS[0]][wanted];
                let mut frame = frame::ethernet([0xff; 6], port.client(), TAGS[tags], 0x0806);
                let sender = (port.client(), CLIENTS[0]);
                frame.extend(frame::arp(operation, sender, ([0; 6], wanted)));
                Some((port, hurt(frame, damage)))
            }
            _ => None,
        }
    }
}

/// Bytes that begin with none, one, two or three right headers: Ethernet, IPv4, TCP ports.
fn garbage(port: Port, headers: usize, bytes: &[u8]) -> Vec<u8> {
    let address = if port == Port::Provider { BALANCER } else { ENDPOINT };
    let ends = ((CLIENTS[0], 40_000), (address, 80));
    let (_, whole) = said(port, port.client(), ends, (0, 0), &PLAIN);
    let right = [0, 14, 14 + 20, 14 + 24][headers];
    let mut frame = [&whole[..right], bytes].concat();
    if headers > 1 {
        frame.resize(whole.len(), 0);
    }
    frame
}

fn message(port: Port) -> Message {
    Message {
        to: port.mac(),
        from: port.client(),
        tags: Vec::new(),
        source: Ipv4Addr::new(10, 0, 3, 1),
        destination: BALANCER,
        ttl: 61,
        identification: 0x1234,
        dscp_ecn: 0xc0,
        dont_fragment: false,
        kind: 3,
        code: 4,
        rest: [0, 0, 5, 0x78],
        body: Vec::new(),
    }
}

/// An error about what one side of a flow had sent, as it arrives from the other side.
#[expect(clippy::too_many_arguments, reason = "they are the step's own")]
fn error(
    flow: &Flow,
    to_client: bool,
    kind: u8,
    sequence: Number,
    quoted: usize,
    wrong: Wrong,
    ttl: u8,
    seed: Option<u64>,
) -> Arrival {
    let (port, ends, side) = if to_client {
        (flow.port, (flow.endpoint, flow.client), 1)
    } else {
        (Port::Provider, (flow.lease, flow.to), 0)
    };
    let (next, acknowledgement) = numbers(Some(flow), side);
    let sent = Segment {
        to: [0; 6],
        from: [0; 6],
        tags: Vec::new(),
        source: ends.0,
        destination: ends.1,
        ttl: 17,
        flags: ACK,
        sequence: sequence.beside(next),
        acknowledgement,
        window: 1000,
        identification: 7,
        dscp_ecn: 0,
        options: Vec::new(),
        payload: vec![0xa5; 700],
    };
    let mut body = sent.bytes().split_off(14);
    body.truncate(quoted);
    let mut destination = ends.0.0;
    match wrong {
        Wrong::Nothing => {}
        // The last byte of the destination port, which a short quote may lack.
        Wrong::Port => body.iter_mut().skip(23).take(1).for_each(|byte| *byte ^= 1),
        Wrong::Protocol => body[9] = 47,
        Wrong::Fragment => body[7] = 1,
        Wrong::Receiver => destination = if to_client { ENDPOINT } else { CLIENTS[0] },
    }
    let message = Message { destination, kind, ttl, body, ..message(port) };
    (port, hurt(message.bytes(), seed))
}
