//! Flows with IPv6 on either side: from each family to each, there and back.

use std::collections::HashSet;

use etherparse::PacketBuilder;
use privatelink_common::tcp::{ACK, PSH, RST, SYN};
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::frame::Mac;
use crate::packet::{Carried, Packet, segment};
use crate::wide::{
    CLIENT_6, ENDPOINT_6, dualstack, end, from_client, octets, sent_on, six, to_client, to_target,
};
use crate::world::{Engine, Port, drops};
use crate::{mixes, scenarios};

/// A connection with data both ways, and a question with its answer by UDP.
fn there_and_back(engine: &mut dyn Engine, client: Family, target: Family) {
    let syn = from_client(client, segment(SYN, 100, 0), &[]);
    let ends = to_target(engine, &syn, target);
    to_client(engine, &syn, ends, segment(SYN | ACK, 500, 101), &[]);
    let ack = from_client(client, segment(ACK, 101, 501), &[]);
    assert_eq!(to_target(engine, &ack, target), ends);
    let data = from_client(client, segment(ACK | PSH, 101, 501), b"an odd number of bytes.");
    assert_eq!(to_target(engine, &data, target), ends);
    to_client(engine, &data, ends, segment(ACK, 501, 124), &[7; 1200]);

    let question = from_client(client, Carried::Datagram, b"question");
    let ends = to_target(engine, &question, target);
    to_client(engine, &question, ends, Carried::Datagram, b"answer");
    assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
}

/// A message of ICMPv6 from one host of the link to another; `word` is what follows its checksum.
fn discovery(
    (from, source): (Mac, [u8; 16]),
    (to, destination): (Mac, [u8; 16]),
    kind: u8,
    word: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(from, to)
        .ipv6(source, destination, 255)
        .icmpv6_raw(kind, 0, word)
        .write(&mut bytes, payload)
        .expect("it fits");
    bytes
}

/// A question for the MAC address of `wanted`, to its solicited-node address.
pub(crate) fn solicitation(asker: &str, wanted: &str, options: &[u8]) -> Vec<u8> {
    let wanted = octets(wanted);
    let mut group = octets("ff02::1:ff00:0");
    group[13..].copy_from_slice(&wanted[13..]);
    let mac = [0x33, 0x33, group[12], group[13], group[14], group[15]];
    let from = (Port::A.client(), octets(asker));
    discovery(from, (mac, group), 135, [0; 4], &[&wanted, options].concat())
}

mixes!(there_and_back);

scenarios! {
    fn mid_stream_without_a_flow_is_reset(engine) with(six) {
        let stray = from_client(Family::Six, segment(ACK | PSH, 100, 777), b"lost");
        let reset = sent_on(engine, Port::A, &stray);
        let expected = Packet {
            to: Port::A.client(),
            from: Port::A.mac(),
            source: stray.destination,
            destination: stray.source,
            ttl: 64,
            class: 0,
            carried: segment(RST, 777, 0),
            payload: Vec::new(),
        };
        // A RST announces no window: the builder's does not count.
        assert_eq!(reset, expected);
        assert_eq!(drops(engine, Port::A), [("NoFlow", 1)]);
    }

    fn who_is_no_client_opens_nothing(engine) with(six) {
        for source in ["fe80::1", "::1", "::", "ff02::1", ENDPOINT_6] {
            let mut syn = from_client(Family::Six, segment(SYN, 100, 0), &[]);
            syn.source = end(source, 40_000);
            assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Drop, "{source}");
        }
        assert_eq!(drops(engine, Port::A), [("SourceAddress", 5)]);
        let mut elsewhere = from_client(Family::Six, segment(SYN, 100, 0), &[]);
        elsewhere.destination = end("fd00:b::99", 80);
        assert_eq!(engine.receive(Port::A, &elsewhere.bytes()).verdict, Verdict::Pass);
        let mut unpublished = from_client(Family::Six, segment(SYN, 100, 0), &[]);
        unpublished.destination = end(ENDPOINT_6, 81);
        assert_eq!(engine.receive(Port::A, &unpublished.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("NoListener", 1), ("SourceAddress", 5)]);
    }

    fn neighbours_that_ask_are_answered(engine) with(six) {
        let own = [1, 1, 2, 0, 0, 0, 2, Port::A as u8];
        let told = [2, 1, 2, 0, 0, 0, 1, Port::A as u8];
        for (asker, options, receiver, mac, flags) in [
            ("fe80::1", &own[..], "fe80::1", Port::A.client(), 0x60),
            (CLIENT_6, &[], CLIENT_6, Port::A.client(), 0x60),
            ("::", &[], "ff02::1", [0x33, 0x33, 0, 0, 0, 1], 0x20),
        ] {
            let question = solicitation(asker, ENDPOINT_6, options);
            let outcome = engine.receive(Port::A, &question);
            assert_eq!(outcome.verdict, Verdict::Redirect, "{asker}");
            let (mut payload, to) = (octets(ENDPOINT_6).to_vec(), (mac, octets(receiver)));
            payload.extend(told);
            let from = (Port::A.mac(), octets(ENDPOINT_6));
            assert_eq!(outcome.frame, discovery(from, to, 136, [flags, 0, 0, 0], &payload), "{asker}");
        }
        for wanted in ["fd00:b::99", CLIENT_6] {
            let question = solicitation("fe80::1", wanted, &own);
            assert_eq!(engine.receive(Port::A, &question).verdict, Verdict::Pass, "{wanted}");
        }
        // From another link, or damaged.
        let mut far = solicitation("fe80::1", ENDPOINT_6, &own);
        far[21] = 254;
        assert_eq!(engine.receive(Port::A, &far).verdict, Verdict::Pass);
        let mut damaged = solicitation("fe80::1", ENDPOINT_6, &own);
        *damaged.last_mut().expect("bytes") ^= 1;
        assert_eq!(engine.receive(Port::A, &damaged).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("IcmpChecksum", 1)]);
    }

    fn what_is_too_big_is_told_in_the_senders_family(engine) with(six) {
        let syn = from_client(Family::Six, segment(SYN, 100, 0), &[]);
        to_target(engine, &syn, Family::Six);
        engine.set_mtu(Port::Provider, 1400);
        let data = from_client(Family::Six, segment(ACK, 101, 501), &[7; 1440]);
        let outcome = engine.receive(Port::A, &data.bytes());
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let (from, to) = ((Port::A.mac(), octets(ENDPOINT_6)), (Port::A.client(), octets(CLIENT_6)));
        let quote = &data.bytes()[14..14 + 1232];
        let mut expected = discovery(from, to, 2, 1400_u32.to_be_bytes(), quote);
        // Precedence "internetwork control", and an ordinary hop limit.
        expected[14] = 0x6c;
        expected[21] = 64;
        assert_eq!(outcome.frame, expected);
        assert_eq!(drops(engine, Port::A), [("TooBig", 1)]);

        engine.set_mtu(Port::Provider, 1500);
        let syn = from_client(Family::Four, segment(SYN, 100, 0), &[]);
        to_target(engine, &syn, Family::Six);
        let data = from_client(Family::Four, segment(ACK, 101, 501), &[7; 1460]);
        let outcome = engine.receive(Port::A, &data.bytes());
        assert_eq!((outcome.verdict, outcome.frame.len()), (Verdict::Redirect, 14 + 56));
        let icmp = &outcome.frame[14 + 20..];
        assert_eq!((&icmp[..2], &icmp[6..8]), (&[3, 4][..], &1480_u16.to_be_bytes()[..]));
        let fits = from_client(Family::Four, segment(ACK, 101, 501), &[7; 1440]);
        to_target(engine, &fits, Family::Six);
    }

    fn echo_requests_are_answered_where_the_endpoint_wants_that(engine) with(six) {
        let (from, to) = ((Port::A.client(), octets(CLIENT_6)), (Port::A.mac(), octets(ENDPOINT_6)));
        let mut question = discovery(from, to, 128, [1, 2, 3, 4], b"payload");
        question[21] = 9;
        assert_eq!(engine.receive(Port::A, &question).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("IcmpEcho", 1)]);
        engine.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
        let mut answer = discovery(to, from, 129, [1, 2, 3, 4], b"payload");
        answer[21] = 64;
        let outcome = engine.receive(Port::A, &question);
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, answer));
    }

    /// Flows of both tables lease ports of one IPv4 address towards one target: whom an answer is for, only the lease tells.
    fn a_lease_is_one_flows_whichever_table_has_it(engine) with(dualstack) {
        // One port of 64 is left, so that flows meet.
        let words: Vec<_> = (0..1024).map(|at| (at, !1)).collect();
        engine.reserve(&words);
        let mut leases = HashSet::new();
        for port in 40_000..40_200 {
            for family in [Family::Four, Family::Six] {
                let mut syn = from_client(family, segment(SYN, 100, 0), &[]);
                syn.source.set_port(port);
                let outcome = engine.receive(Port::A, &syn.bytes());
                if outcome.frame[6..12] != Port::Provider.mac() {
                    // None was found, and that was told.
                    continue;
                }
                let left = Packet::read(&outcome.frame);
                assert!(leases.insert((left.source, left.destination)), "twice: {left:?}");
            }
        }
        assert!(leases.len() > 200, "too few: {}", leases.len());
    }
}
