//! ICMP errors about a flow's segments reach the flow's other side, as if the network had no seam; all other
//! ICMP ends here.

use std::net::Ipv4Addr;

use privatelink_common::flow_table::Flow;
use privatelink_common::tcp::{ACK, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Message, Segment, TAGS, internet_checksum, set_header_checksum};
use crate::world::{
    self, BALANCER, CLIENT, ENDPOINT, Engine, FlowExt as _, NOBODIES, Port, at_client, at_target,
    drops, end, expect, flow, flows, from_client, from_target, passes_untouched,
};
use crate::{connection, scenarios};

/// A router of the provider's, and one of the consumers'.
pub(crate) const PROVIDERS_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 1);
pub(crate) const CONSUMERS_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 1);
/// 20 bytes of IPv4, and as much of TCP as every error quotes.
const LEAST: usize = 28;

fn open(engine: &mut dyn Engine) -> Flow {
    answered(engine, &from_client(Port::A, 40_000, SYN))
}

/// Opens a flow by a SYN, and lets its target answer: both sides have sent something.
fn answered(engine: &mut dyn Engine, syn: &Segment) -> Flow {
    assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Redirect);
    let answer = from_target(&flow(engine), SYN | ACK, &[]);
    assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Redirect);
    flow(engine)
}

/// A long segment from the client as the target's network sees it, and as the client had sent it.
fn to_target(flow: &Flow) -> (Segment, Segment) {
    let sent = from_client(Port::A, 40_000, ACK | PSH).with_payload(&[0x5a; 333]);
    (at_target(&sent, flow), sent)
}

/// The same the other way.
fn to_client(flow: &Flow) -> (Segment, Segment) {
    let sent = from_target(flow, ACK | PSH, &[0xa5; 333]);
    (at_client(&sent, Port::A, 40_000), sent)
}

/// An error from one of the provider's routers that quotes this.
pub(crate) fn error_with(kind: u8, code: u8, body: Vec<u8>) -> Message {
    Message {
        to: [0; 6],
        from: [0; 6],
        tags: vec![],
        source: PROVIDERS_ROUTER,
        destination: BALANCER,
        ttl: 61,
        identification: 0x1234,
        dscp_ecn: 0xc0,
        dont_fragment: false,
        kind,
        code,
        rest: [0; 4],
        body,
    }
}

/// An error about a segment as it left us, from the host it was sent to.
pub(crate) fn error_about(segment: &Segment, length: usize) -> Message {
    Message {
        to: segment.from,
        from: segment.to,
        source: segment.destination.0,
        destination: segment.source.0,
        ..error_with(3, 4, segment.quote(length))
    }
}

/// An error that a router of the provider's sends about a segment to the target.
fn from_provider(flow: &Flow, kind: u8, code: u8, length: usize) -> Message {
    let body = to_target(flow).0.quote(length);
    Message { to: Port::Provider.mac(), from: flow.target_mac(), ..error_with(kind, code, body) }
}

/// What the client must get of it.
fn then_at_client(message: &Message, flow: &Flow, length: usize) -> Message {
    Message {
        to: Port::A.client(),
        from: Port::A.mac(),
        source: ENDPOINT,
        destination: CLIENT,
        ttl: message.ttl - 1,
        body: to_target(flow).1.quote(length),
        ..message.clone()
    }
}

/// An error that a router of a consumer's sends about a segment to the client.
fn from_consumer(flow: &Flow, kind: u8, code: u8, length: usize) -> Message {
    Message {
        to: Port::A.mac(),
        from: Port::A.client(),
        source: CONSUMERS_ROUTER,
        destination: ENDPOINT,
        ..error_with(kind, code, to_client(flow).0.quote(length))
    }
}

/// What the target must get of it.
fn then_at_target(message: &Message, flow: &Flow, length: usize) -> Message {
    Message {
        to: flow.target_mac(),
        from: Port::Provider.mac(),
        source: flow.nat().0,
        destination: flow.target().0,
        ttl: message.ttl - 1,
        body: to_client(flow).1.quote(length),
        ..message.clone()
    }
}

/// Sends frames that must be dropped for a reason, and neither end nor refresh the flow.
#[track_caller]
fn dropped(engine: &mut dyn Engine, port: Port, reason: &str, frames: &[Vec<u8>]) {
    let words = words(engine);
    for frame in frames {
        world::dropped(engine, port, reason, frame);
    }
    assert_eq!(self::words(engine), words);
}

/// Every word of every flow.
fn words(engine: &dyn Engine) -> Vec<String> {
    flows(engine).iter().map(|flow| format!("{:?}", engine.table().record(flow.number))).collect()
}

scenarios! {
    /// Each type with each code that RFC 792, 1122 and 1812 name, and some that nobody does.
    fn every_error_reaches_both_sides(engine) {
        let opened = open(engine);
        let rows = (0..=16).map(|code| (3, code)).chain([(11, 0), (11, 1), (12, 0), (12, 1), (12, 2)]);
        let before = words(engine);
        for (kind, code) in rows {
            // A next hop's MTU, a pointer, or RFC 4884's length: never looked at.
            for rest in [[0; 4], [0, 0, 0x05, 0x78], [0, 0, 0, 68], [0, 0, 0, 1], [20, 0, 0, 0], [0xff; 4]] {
                let message = Message { rest, ..from_provider(&opened, kind, code, LEAST) };
                expect(engine, Port::Provider, &message, &then_at_client(&message, &opened, LEAST));
                let message = Message { rest, ..from_consumer(&opened, kind, code, LEAST) };
                expect(engine, Port::A, &message, &then_at_target(&message, &opened, LEAST));
            }
        }
        assert_eq!(words(engine), before, "no error refreshes, counts, or ends");
        assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
    }

    /// From 18 bytes of TCP on, its checksum is there and must be right. Of half a checksum nothing can be made.
    fn however_much_is_quoted(engine) {
        const HALF_A_CHECKSUM: usize = 20 + 17;
        let opened = open(engine);
        for length in (LEAST..100).chain([380, 381]) {
            let leave_half = |message: &Message, mut there: Message| {
                if length == HALF_A_CHECKSUM {
                    there.body[length - 1] = message.body[length - 1];
                }
                there
            };
            let message = from_provider(&opened, 3, 1, length);
            let there = leave_half(&message, then_at_client(&message, &opened, length));
            expect(engine, Port::Provider, &message, &there);
            let message = from_consumer(&opened, 11, 0, length);
            let there = leave_half(&message, then_at_target(&message, &opened, length));
            expect(engine, Port::A, &message, &there);
        }
    }

    fn too_little_is_quoted(engine) {
        let opened = open(engine);
        let frames: Vec<_> =
            (0..LEAST).map(|length| from_provider(&opened, 3, 1, length).bytes()).collect();
        dropped(engine, Port::Provider, "IcmpQuote", &frames);
    }

    fn what_is_no_segment_of_ours(engine) {
        let opened = open(engine);
        let message = from_provider(&opened, 3, 1, 48);
        let quoting = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut message = message.clone();
            edit(&mut message.body);
            message.bytes()
        };
        let mut frames: Vec<_> = [0x05, 0x40, 0x44, 0x46, 0x4f, 0x55, 0x65]
            .map(|byte| quoting(&|quote| quote[0] = byte))
            .to_vec();
        frames.extend([0, 2, 47, 255].map(|protocol| quoting(&|quote| quote[9] = protocol)));
        // An error about an error: a quoted ICMP message.
        frames.push(quoting(&|quote| quote[9] = 1));
        frames.extend([0x0001_u16, 0x2001, 0x1fff, 0x6010].map(|field| {
            quoting(&|quote| quote[6..8].copy_from_slice(&field.to_be_bytes()))
        }));
        dropped(engine, Port::Provider, "IcmpQuote", &frames);
        // A first fragment is a segment all the same.
        let first = |message: &Message| {
            let mut message = message.clone();
            message.body[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
            set_header_checksum(&mut message.body[..20]);
            message
        };
        expect(engine, Port::Provider, &first(&message), &first(&then_at_client(&message, &opened, 48)));
    }

    fn no_flow_sent_that(engine) {
        let opened = open(engine);
        let (at_target, at_client) = (to_target(&opened).0, to_client(&opened).0);
        let stray = |base: Message, segment: Segment| Message { body: segment.quote(48), ..base }.bytes();
        let provider = || from_provider(&opened, 3, 4, LEAST);
        let other_port = |(address, port): (Ipv4Addr, u16)| (address, port ^ 1);
        let frames = [
            stray(provider(), Segment { source: other_port(at_target.source), ..at_target.clone() }),
            stray(provider(), Segment { destination: other_port(at_target.destination), ..at_target.clone() }),
            stray(provider(), Segment { destination: (CLIENT, at_target.destination.1), ..at_target.clone() }),
            // Not from the address that the error came back to.
            stray(provider(), Segment { source: (ENDPOINT, at_target.source.1), ..at_target.clone() }),
            // What the target sent, not we.
            stray(provider(), from_target(&opened, ACK, &[])),
            // What the provider's side can never have received.
            stray(provider(), at_client.clone()),
        ];
        dropped(engine, Port::Provider, "IcmpNoFlow", &frames);
        let consumer = || from_consumer(&opened, 3, 4, LEAST);
        let frames = [
            stray(consumer(), at_target),
            stray(consumer(), to_target(&opened).1),
            stray(consumer(), Segment { destination: (CLIENT, 40_001), ..at_client.clone() }),
        ];
        dropped(engine, Port::A, "IcmpNoFlow", &frames);
        // The same addresses in another vpc: none of its flows.
        let elsewhere = Message { to: Port::B.mac(), ..from_consumer(&opened, 3, 4, LEAST) };
        dropped(engine, Port::B, "IcmpNoFlow", &[elsewhere.bytes()]);
        // The flow is gone.
        let (from_a, from_provider) = (consumer().bytes(), provider().bytes());
        end(engine, &opened);
        dropped(engine, Port::A, "IcmpNoFlow", &[from_a]);
        dropped(engine, Port::Provider, "IcmpNoFlow", &[from_provider]);
    }

    /// Its next number is 0 then: nobody is believed for quoting one near that.
    fn the_target_has_sent_nothing_or_a_reset_only(engine) {
        let opened = connection::open(engine);
        let about = |flags| {
            let sent = Segment { sequence: 5, ..from_target(&opened, flags, &[]) };
            error_about(&at_client(&sent, Port::A, 40_000), LEAST).bytes()
        };
        dropped(engine, Port::A, "IcmpNoFlow", &[about(SYN | ACK)]);
        let guessed = Segment { acknowledgement: 1, ..from_target(&opened, RST | ACK, &[]) };
        assert_eq!(engine.receive(Port::Provider, &guessed.bytes()).verdict, Verdict::Redirect);
        assert_eq!(engine.receive(Port::A, &about(RST | ACK)).verdict, Verdict::Drop);
    }

    fn wrong_checksums(engine) {
        let opened = open(engine);
        let whole = from_provider(&opened, 3, 1, 101).bytes();
        // Every byte that the checksum covers; 34 is the type, the last one is odd.
        let frames: Vec<_> = (34..whole.len())
            .map(|at| {
                let mut frame = whole.clone();
                frame[at] ^= 0x40;
                frame
            })
            .collect();
        dropped(engine, Port::Provider, "IcmpChecksum", &frames);
        // Longer than can be verified, though an error has no reason to be.
        for (length, verdict) in [(1472, Verdict::Redirect), (1473, Verdict::Drop)] {
            engine.set_mtu(Port::A, 9000);
            let mut message = from_provider(&opened, 3, 1, LEAST);
            message.body.resize(length, 0);
            assert_eq!(engine.receive(Port::Provider, &message.bytes()).verdict, verdict, "{length}");
        }
    }

    /// A wrong IPv4 header checksum stays wrong: the receiver's to find, as on every segment.
    fn a_wrong_ip_checksum_stays_wrong(engine) {
        let opened = open(engine);
        let message = from_provider(&opened, 3, 1, LEAST);
        let mut frame = message.bytes();
        frame[25] ^= 1;
        let outcome = engine.receive(Port::Provider, &frame);
        assert_eq!(outcome.verdict, Verdict::Redirect);
        assert_ne!(internet_checksum(&outcome.frame[14..34]), 0);
    }

    fn types_that_are_not_carried(engine) {
        let opened = open(engine);
        let carried = [3, 8, 11, 12];
        let kinds = (0..=u8::MAX).filter(|kind| !carried.contains(kind));
        let frames: Vec<_> = kinds.map(|kind| from_provider(&opened, kind, 0, 48).bytes()).collect();
        dropped(engine, Port::Provider, "IcmpType", &frames);
        let frames: Vec<_> =
            (1..=u8::MAX).map(|code| from_consumer(&opened, 8, code, 48).bytes()).collect();
        dropped(engine, Port::A, "IcmpType", &frames);
    }

    fn sources_that_no_host_has(engine) {
        let opened = open(engine);
        let sources = NOBODIES.into_iter().chain([BALANCER]);
        let frames: Vec<_> = sources
            .map(|source| Message { source, ..from_provider(&opened, 3, 1, 48) }.bytes())
            .collect();
        dropped(engine, Port::Provider, "SourceAddress", &frames);
    }

    fn the_outer_header(engine) {
        let opened = open(engine);
        let message = from_provider(&opened, 3, 4, 48);
        let fragments = [0x2000_u16, 0x2001, 0x0001, 0x6000].map(|field| {
            message.edited(|ip| ip[6..8].copy_from_slice(&field.to_be_bytes()))
        });
        dropped(engine, Port::Provider, "Fragment", &fragments);
        dropped(engine, Port::Provider, "Ipv4Options", &[message.edited(|ip| ip[0] = 0x46)]);
        let spent = [0, 1].map(|ttl| Message { ttl, ..message.clone() }.bytes());
        dropped(engine, Port::Provider, "TtlExpired", &spent);
        let lies = [0, 19, 0xffff_u16].map(|length| {
            message.edited(|ip| ip[2..4].copy_from_slice(&length.to_be_bytes()))
        });
        dropped(engine, Port::Provider, "Ipv4Header", &lies);
        let short = (20..28_u16).map(|length| {
            message.edited(|ip| ip[2..4].copy_from_slice(&length.to_be_bytes()))
        });
        dropped(engine, Port::Provider, "Truncated", &short.collect::<Vec<_>>());
    }

    /// Every cut but the last is found by the lengths not agreeing.
    fn cut_short_anywhere(engine) {
        let opened = open(engine);
        let whole = from_provider(&opened, 3, 4, 60).bytes();
        for length in 14..whole.len() {
            assert_eq!(engine.receive(Port::Provider, &whole[..length]).verdict, Verdict::Drop, "{length}");
        }
    }

    fn padding_stays(engine) {
        let opened = open(engine);
        let message = from_provider(&opened, 3, 4, LEAST);
        let padded = [message.bytes(), vec![0xee; 5]].concat();
        let outcome = engine.receive(Port::Provider, &padded);
        let there = then_at_client(&message, &opened, LEAST).bytes();
        assert_eq!(outcome.frame, [there, vec![0xee; 5]].concat());
    }

    fn tags_are_the_other_sides(engine) {
        let tags = TAGS.to_vec();
        let syn = Segment { tags: tags.clone(), ..from_client(Port::A, 40_000, SYN) };
        let opened = answered(engine, &syn);
        for of_provider in [vec![], vec![(0x8100, 5)], vec![(0x88a8, 1), (0x8100, 2)]] {
            let message = Message { tags: of_provider, ..from_provider(&opened, 3, 4, 50) };
            let there = Message { tags: tags.clone(), ..then_at_client(&message, &opened, 50) };
            expect(engine, Port::Provider, &message, &there);
        }
        for of_consumer in [vec![], vec![(0x8100, 5)], tags] {
            let message = Message { tags: of_consumer, ..from_consumer(&opened, 3, 4, 50) };
            let there = Message { tags: vec![], ..then_at_target(&message, &opened, 50) };
            expect(engine, Port::A, &message, &there);
        }
    }

    fn where_it_cannot_go(engine) {
        let opened = open(engine);
        let message = from_provider(&opened, 3, 4, 381);
        let length = message.bytes().len() as u32 - 14;
        engine.set_mtu(Port::A, length - 1);
        dropped(engine, Port::Provider, "TooBig", &[message.bytes()]);
        engine.set_mtu(Port::A, length);
        expect(engine, Port::Provider, &message, &then_at_client(&message, &opened, 381));
        engine.hand_over(Port::A, Port::B);
        dropped(engine, Port::Provider, "InterfaceGone", &[message.bytes()]);
        engine.detach(Port::A);
        dropped(engine, Port::Provider, "InterfaceGone", &[message.bytes()]);
    }

    fn other_addresses_are_the_hosts(engine) {
        let opened = open(engine);
        let message = from_provider(&opened, 3, 4, 48);
        for (kind, destination) in [(3, [10, 0, 9, 9]), (8, [10, 0, 9, 9]), (3, [192, 168, 0, 1])] {
            let foreign = Message { kind, destination: Ipv4Addr::from(destination), ..message.clone() };
            passes_untouched(engine, Port::Provider, &foreign.bytes());
        }
    }
}
