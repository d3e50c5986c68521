//! Steps as proptest draws them.

use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use proptest::prelude::*;

use super::extensions::EXTENSIONS;
use super::frames::{HOSTS, OPTIONS, PAYLOADS, STRANGERS, TAGS};
use super::mix::{Mix, TARGETS};
use super::pieces::SALTED;
use super::quoting::KINDS;
use super::steps::{Client, Complaint, Extension, Number, Piece, Saying, Step, Wrong};
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

/// MTUs that an error tells: around the least of IPv6, plateaus and their neighbours, and what is none.
const TOLD_MTUS: [u32; 14] =
    [0, 1, 19, 68, 576, 1260, 1280, 1281, 1300, 1400, 1480, 1500, 9000, u32::MAX];
/// Bytes that an error quotes behind the IP header: about what it must, a checksum, and the most that an error of IPv6 may.
const QUOTED: [usize; 14] = [0, 7, 8, 9, 16, 17, 18, 19, 40, 600, 1191, 1192, 1193, 1440];
/// Where fragments belong, and how long they are: around what is the last of the largest datagram, and what fits a link as
/// either family.
const PLACES: [usize; 8] = [0, 8, 16, 1448, 4000, 65_496, 65_504, 65_512];
const LENGTHS: [usize; 16] =
    [0, 1, 3, 7, 8, 11, 24, 100, 1000, 1440, 1448, 1452, 1453, 1456, 1480, 1488];

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
    let host = prop_oneof![8 => 0_usize..2, 1 => 2..HOSTS];
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

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![12 => Just(61_u8), 1 => 0_u8..3]
}

fn complaint() -> impl Strategy<Value = Complaint> {
    let wrong = prop_oneof![
        24 => Just(Wrong::Nothing),
        2 => Just(Wrong::Port),
        2 => Just(Wrong::Protocol),
        2 => Just(Wrong::Other),
        2 => Just(Wrong::Fragment),
        1 => Just(Wrong::Version),
        4 => prop::sample::select(&[0_u16, 19, 20, 1280, 1492, 1493, 9000, u16::MAX][..])
            .prop_map(Wrong::Length),
        2 => Just(Wrong::Receiver),
        1 => Just(Wrong::Elsewhere),
    ];
    let kind = prop_oneof![3 => Just(0), 3 => Just(1), 4 => 2..4_usize, 1 => 4..KINDS];
    let code = prop_oneof![5 => 0_u8..3, 5 => 0_u8..17, 1 => any::<u8>()];
    let word = prop_oneof![
        1 => Just(0),
        4 => prop::sample::select(&TOLD_MTUS[..]),
        5 => 0_u32..48,
        1 => any::<u32>(),
    ];
    let quoted = prop::sample::select(&QUOTED[..]);
    let said = (kind, code, word);
    let bits = (any::<bool>(), damaged());
    (said, number(), quoted, wrong, ttl(), bits).prop_map(
        |((kind, code, word), sequence, quoted, wrong, ttl, (dont_fragment, damage))| Complaint {
            kind,
            code,
            word,
            sequence,
            quoted,
            wrong,
            ttl,
            dont_fragment,
            damage,
        },
    )
}

fn pieces(mix: Mix) -> BoxedStrategy<Step> {
    let at = prop_oneof![5 => Just(0_usize), 6 => prop::sample::select(&PLACES[..])];
    let length = prop_oneof![3 => Just(16_usize), 5 => prop::sample::select(&LENGTHS[..])];
    let claims = prop_oneof![
        6 => Just(Some(4000_u16)),
        1 => Just(None),
        2 => prop::sample::select(&[0_u16, 7, 8, 15, 65_515, 65_516][..]).prop_map(Some),
    ];
    let checksum = prop_oneof![6 => any::<u16>(), 1 => Just(0), 1 => Just(u16::MAX)];
    let protocol = prop_oneof![15 => Just(UDP), 1 => Just(TCP)];
    let bits = (mostly(true), prop_oneof![9 => Just(false), 1 => Just(true)]);
    let piece = (at, length, bits, claims, checksum, protocol, ttl(), damaged()).prop_map(
        |(at, length, (more, dont_fragment), claims, checksum, protocol, ttl, damage)| Piece {
            at,
            length,
            more,
            claims,
            checksum,
            dont_fragment,
            protocol,
            ttl,
            damage,
        },
    );
    let to = prop_oneof![6 => Just(80_u16), 2 => Just(9000), 1 => prop::sample::select(&PORTS[..])];
    let flow = prop::option::of(0_usize..16);
    let pieces = prop::collection::vec(piece, 1..=4);
    (client(mix), to, flow, 0..SALTED, 0..TAGS.len(), pieces)
        .prop_map(|(client, to, flow, datagram, tags, pieces)| Step::Pieces {
            client: Client { protocol: UDP, ..client },
            to,
            flow,
            datagram,
            tags,
            pieces,
        })
        .boxed()
}

fn extension() -> impl Strategy<Value = Extension> {
    let kind = prop_oneof![
        16 => prop::sample::select(&[0_u8, 43, 44, 60, 60][..]),
        1 => prop::sample::select(&EXTENSIONS[..]),
    ];
    let units = prop_oneof![4 => Just(0_u8), 1 => 1_u8..4, 1 => Just(120)];
    let says = prop_oneof![20 => Just(None), 1 => any::<u8>().prop_map(Some)];
    let word = prop_oneof![16 => Just(0_u16), 1 => Just(1), 1 => Just(6), 1 => any::<u16>()];
    (kind, units, says, word).prop_map(|(kind, units, says, word)| {
        let units = if kind == 44 { 0 } else { units };
        Extension { kind, units, says: says.unwrap_or(units), word }
    })
}

/// One step.
pub(crate) fn step(mix: Mix) -> BoxedStrategy<Step> {
    let extensions = prop::collection::vec(extension(), 1..=6);
    let extended = (plain(mix), extensions, damaged()).prop_map(|(step, extensions, damage)| {
        Step::Extended { step: Box::new(step), extensions, damage }
    });
    let share = if mix == Mix::Four { 1 } else { 15 };
    prop_oneof![100 => plain(mix), share => extended].boxed()
}

fn plain(mix: Mix) -> BoxedStrategy<Step> {
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
    let hops = prop_oneof![9 => Just(255_u8), 1 => 0_u8..3];
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
        10 => (flow(), any::<bool>(), complaint())
            .prop_map(|(flow, to_client, complaint)| Step::Error { flow, to_client, complaint }),
        7 => pieces(mix),
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
    .boxed()
}
