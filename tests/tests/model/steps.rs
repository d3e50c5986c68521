//! What may happen to a gateway, as proptest draws it, and the frames that it comes to.

use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use proptest::prelude::*;

use super::frames::{OPTIONS, PAYLOADS, STRANGERS, TAGS};
use super::mix::{Mix, TARGETS};
use super::wire::{TCP, UDP};
use crate::world::Port;

/// Seconds, around the time-outs.
const SECONDS: [u64; 11] = [1, 9, 11, 29, 31, 59, 61, 119, 121, 349, 351];
/// Ports that a client may ask for, some of which nobody publishes.
const PORTS: [u16; 7] = [80, 81, 9000, 9001, 9002, 9003, 9004];
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
    pub(super) const fn beside(self, right: u32) -> u32 {
        match self {
            Self::Right => right,
            Self::Beside(by) => right.wrapping_add(by),
            Self::Random(number) => number,
        }
    }
}

/// What a segment says, whoever sends it, or a datagram, as far as that can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying {
    pub(super) flags: u8,
    pub(super) sequence: Number,
    pub(super) acknowledgement: Number,
    pub(super) payload: usize,
    pub(super) options: usize,
    pub(super) tags: usize,
    pub(super) ttl: u8,
    pub(super) dont_fragment: bool,
    /// Whether a datagram has a checksum.
    pub(super) summed: bool,
    /// The seed of some damage.
    pub(super) damage: Option<u64>,
}

/// A client of A's or B's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(super) port: Port,
    pub(super) host: usize,
    pub(super) six: bool,
    pub(super) protocol: u8,
    /// Which of a few source ports.
    pub(super) number: u16,
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
        six: bool,
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
    /// A message of neighbour discovery; `asker` is one of a few, and so is `kind`.
    Neighbour {
        port: Port,
        kind: usize,
        asker: usize,
        wanted: usize,
        hops: u8,
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

fn mostly_right() -> impl Strategy<Value = bool> {
    prop_oneof![5 => Just(true), 1 => Just(false)]
}

fn damaged() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![9 => Just(None), 1 => any::<u64>().prop_map(Some)]
}

fn saying(flags: BoxedStrategy<u8>) -> impl Strategy<Value = Saying> {
    let ttl = prop_oneof![12 => Just(64_u8), 1 => 0_u8..4];
    let bits = (mostly_right(), mostly_right());
    let size = prop_oneof![4 => Just(0), 3 => 0..PAYLOADS.len()];
    let words = (number(), number());
    (flags, words, size, 0..OPTIONS.len(), 0..TAGS.len(), ttl, bits, damaged()).prop_map(
        |(
            flags,
            (sequence, acknowledgement),
            payload,
            options,
            tags,
            ttl,
            (dont_fragment, summed),
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
                summed,
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

fn client(mix: Mix) -> impl Strategy<Value = Client> {
    let host = prop_oneof![8 => 0_usize..2, 1 => 2_usize..4];
    let protocol = prop_oneof![3 => Just(TCP), 2 => Just(UDP)];
    let sixes = if mix == Mix::Four { 1 } else { 12 };
    let six = prop_oneof![9 => Just(false), sixes => Just(true)];
    (consumer(), host, six, protocol, 0_u16..5).prop_map(|(port, host, six, protocol, number)| {
        Client { port, host, six, protocol, number }
    })
}

/// Mostly as given; in one case of four as often the wrong way round.
fn mostly(yes: bool) -> impl Strategy<Value = bool> {
    prop_oneof![3 => Just(yes), 1 => Just(!yes)]
}

/// One step.
pub(crate) fn step(mix: Mix) -> impl Strategy<Value = Step> {
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
    let hops = prop_oneof![9 => Just(255_u8), 1 => 0_u8..3];
    let ttl = prop_oneof![9 => Just(61_u8), 1 => 0_u8..3];
    let stranger_port = prop::sample::select(&[1023_u16, 1024, 10_239, 10_240, 10_241][..]);
    let flow = || 0_usize..16;
    let mtus = prop::sample::select(&[1500_u32, 1500, 1400, 576, 300][..]);
    let usable = prop::sample::select(
        &[[true; 3], [true, false, true], [false, true, false], [false; 3]][..],
    );
    prop_oneof![
        30 => (client(mix), to(), rarely(), rarely(), saying(from_client.boxed())).prop_map(
            |(client, to, elsewhere, moved, saying)| Step::Client {
                client, to, elsewhere, moved, saying
            }
        ),
        22 => (flow(), saying(from_target.clone()))
            .prop_map(|(flow, saying)| Step::Target { flow, saying }),
        3 => (0..TARGETS + STRANGERS.len(), stranger_port, saying(from_target))
            .prop_map(|(target, port, saying)| Step::Stranger { target, port, saying }),
        8 => (client(mix), to()).prop_map(|(client, to)| Step::Connect { client, to }),
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
        2 => (any_port(), any::<bool>(), 0_usize..4, prop::collection::vec(any::<u8>(), 14..100))
            .prop_map(|(port, six, headers, bytes)| Step::Garbage { port, six, headers, bytes }),
        2 => (client(mix), 0_usize..90, damaged())
            .prop_map(|(client, length, damage)| Step::Echo { client, length, damage }),
        2 => (any_port(), 1_u16..3, 0_usize..3, 0..TAGS.len(), damaged()).prop_map(
            |(port, operation, wanted, tags, damage)| Step::Arp {
                port, operation, wanted, tags, damage
            }
        ),
        2 => (any_port(), 0_usize..4, 0_usize..4, 0_usize..3, hops, 0..TAGS.len(), damaged()).prop_map(
            |(port, kind, asker, wanted, hops, tags, damage)| Step::Neighbour {
                port, kind, asker, wanted, hops, tags, damage
            }
        ),
        6 => prop::sample::select(&SECONDS[..]).prop_map(Step::Pass),
        4 => Just(Step::Sweep),
        1 => (0..TARGETS, mostly(true)).prop_map(|(target, is)| Step::Reachable(target, is)),
        1 => usable.prop_map(Step::Usable),
        1 => (any_port(), mtus).prop_map(|(port, mtu)| Step::Mtu(port, mtu)),
        1 => (any_port(), mostly(true)).prop_map(|(port, is)| Step::Attached(port, is)),
        1 => (0_u32..3, mostly(true)).prop_map(|(endpoint, is)| Step::Available(endpoint, is)),
        1 => (consumer(), any::<bool>()).prop_map(|(port, is)| Step::Echoes(port, is)),
    ]
}
