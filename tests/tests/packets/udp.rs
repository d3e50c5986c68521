//! UDP datagrams, there and back, and what ends their flows.

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::Phase;
use privatelink_common::state::State;
use privatelink_common::tcp::SYN;
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Datagram, Message};
use crate::icmp::error_with;
use crate::scenarios;
use crate::world::{
    CLIENT, ENDPOINT, Engine, FlowExt as _, Port, dropped, drops, expect, flow, flows,
    from_client as segment, pass, passes_untouched, replaced, sweep,
};

/// The listener and its targets take both protocols, and clients may send either.
pub(crate) fn both(text: String) -> String {
    let changes = [
        ("provider\"\nprotocol = \"tcp\"", "provider\"\nprotocol = \"tcp_udp\""),
        ("protocol = \"tcp\"\nport", "protocol = \"tcp_udp\"\nport"),
        ("ingress = [{ protocol = \"tcp\"", "ingress = [{ protocol = \"udp\""),
    ];
    replaced(text, &changes)
}

pub(crate) fn from_client(port: Port, source_port: u16, payload: &[u8]) -> Datagram {
    Datagram {
        to: port.mac(),
        from: port.client(),
        source: (CLIENT, source_port),
        destination: (ENDPOINT, 80),
        ttl: 64,
        identification: 0xbeef,
        has_checksum: true,
        payload: payload.to_vec(),
    }
}

pub(crate) fn at_target(datagram: &Datagram, flow: &Flow) -> Datagram {
    Datagram {
        to: flow.target_mac(),
        from: Port::Provider.mac(),
        source: flow.nat(),
        destination: flow.target(),
        ttl: datagram.ttl - 1,
        ..datagram.clone()
    }
}

pub(crate) fn from_target(flow: &Flow, payload: &[u8]) -> Datagram {
    Datagram {
        to: Port::Provider.mac(),
        from: flow.target_mac(),
        source: flow.target(),
        destination: flow.nat(),
        ttl: 63,
        ..from_client(Port::A, 1, payload)
    }
}

pub(crate) fn at_client(datagram: &Datagram, port: Port, source_port: u16) -> Datagram {
    Datagram {
        to: port.client(),
        from: port.mac(),
        source: (ENDPOINT, 80),
        destination: (CLIENT, source_port),
        ttl: datagram.ttl - 1,
        ..datagram.clone()
    }
}

/// A question of A's client from port 40 000 that its target gets.
#[track_caller]
fn asked(engine: &mut dyn Engine) -> Flow {
    let question = from_client(Port::A, 40_000, b"question");
    let outcome = engine.receive(Port::A, &question.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let opened = flow(engine);
    assert_eq!(outcome.frame, at_target(&question, &opened).bytes());
    opened
}

/// The same, and its answer, which the client gets.
#[track_caller]
fn answered(engine: &mut dyn Engine) -> Flow {
    let opened = asked(engine);
    let answer = from_target(&opened, b"an answer");
    expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
    flow(engine)
}

scenarios! {
    fn there_and_back(engine) with(both) {
        let opened = asked(engine);
        assert_eq!((opened.phase, opened.state), (Phase::HalfOpen, State::Unreplied));
        assert_eq!(opened.forward.key.protocol, 17);
        assert!(opened.nat().1 >= 10_240, "{:?}", opened.nat());
        // The client goes on before it has its answer.
        let more = from_client(Port::A, 40_000, b"an odd number of bytes.");
        expect(engine, Port::A, &more, &at_target(&more, &opened));
        assert_eq!(flow(engine).state, State::Unreplied);

        for turn in 0..3 {
            let answer = from_target(&opened, &[turn; 333]);
            expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
            let known = flow(engine);
            assert_eq!((known.phase, known.state), (Phase::Established, State::Replied));
        }
        expect(engine, Port::A, &more, &at_target(&more, &opened));
        let Flow { forward, reverse, .. } = flow(engine);
        let carried = [forward.packets, forward.bytes, reverse.packets, reverse.bytes];
        assert_eq!(carried, [3, 3 * 28 + 8 + 2 * 23, 3, 3 * (28 + 333)]);
        assert_eq!([forward.note.time(), reverse.note.time()], [None, None], "UDP has no handshake");
        assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
    }

    fn every_length_that_a_packet_may_have(engine) with(both) {
        let opened = answered(engine);
        for length in [0, 1, 2, 7, 1471, 1472] {
            let question = from_client(Port::A, 40_000, &vec![0xa5; length]);
            expect(engine, Port::A, &question, &at_target(&question, &opened));
            let answer = from_target(&opened, &vec![0x5a; length]);
            expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
        }
    }

    fn no_checksum_stays_none(engine) with(both) {
        let bare = |datagram: Datagram| Datagram { has_checksum: false, ..datagram };
        let question = bare(from_client(Port::A, 40_000, b"question"));
        let outcome = engine.receive(Port::A, &question.bytes());
        let opened = flow(engine);
        assert_eq!(outcome.frame, at_target(&question, &opened).bytes());
        let answer = bare(from_target(&opened, b"answer"));
        expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
    }

    /// A checksum that comes to 0 goes out as 0xffff: 0 would say that there is none (RFC 768).
    fn a_checksum_of_zero_is_written_as_ones(engine) with(both) {
        let opened = answered(engine);
        let zero = (0..=u16::MAX)
            .map(|word| from_client(Port::A, 40_000, &word.to_be_bytes()))
            .find(|datagram| at_target(datagram, &opened).checksum() == 0xffff);
        let zero = zero.expect("one of all words makes it so");
        expect(engine, Port::A, &zero, &at_target(&zero, &opened));
    }

    fn clients_of_two_vpcs_with_the_same_address_and_port(engine) with(both) {
        for port in [Port::A, Port::B] {
            let question = from_client(port, 40_000, port.name().as_bytes());
            assert_eq!(engine.receive(port, &question.bytes()).verdict, Verdict::Redirect);
        }
        let both = flows(engine);
        assert_ne!(both[0].nat(), both[1].nat());
        for (flow, port) in both.iter().zip([Port::A, Port::B]) {
            let answer = from_target(flow, b"answer");
            expect(engine, Port::Provider, &answer, &at_client(&answer, port, 40_000));
        }
    }

    /// The same addresses and ports by TCP are another flow.
    fn beside_tcp(engine) with(|text| replaced(both(text), &[("protocol = \"udp\"", "protocol = \"all\"")])) {
        assert_eq!(engine.receive(Port::A, &segment(Port::A, 40_000, SYN).bytes()).verdict, Verdict::Redirect);
        let question = from_client(Port::A, 40_000, b"question");
        assert_eq!(engine.receive(Port::A, &question.bytes()).verdict, Verdict::Redirect);
        let mut protocols: Vec<u8> = flows(engine).iter().map(|flow| flow.forward.key.protocol).collect();
        protocols.sort_unstable();
        assert_eq!(protocols, [6, 17]);
    }

    fn unreplied_flows_live_for_30_s_and_replied_ones_for_120(engine) with(both) {
        let end_after = |engine: &mut dyn Engine, seconds: u64| {
            pass(engine, seconds * 1000 - 500);
            sweep(engine);
            assert_eq!(flows(engine).len(), 1, "{seconds} s less a half");
            pass(engine, 1000);
            sweep(engine);
            assert_eq!(flows(engine).len(), 0, "{seconds} s and a half");
        };
        asked(engine);
        end_after(engine, 30);
        answered(engine);
        end_after(engine, 120);
    }

    fn either_side_keeps_it_alive(engine) with(both) {
        let opened = answered(engine);
        for _ in 0..3 {
            pass(engine, 100_000);
            let answer = from_target(&opened, b"still there");
            expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
            pass(engine, 100_000);
            let question = from_client(Port::A, 40_000, b"so am I");
            expect(engine, Port::A, &question, &at_target(&question, &opened));
        }
        assert_eq!(flow(engine).number, opened.number);
    }

    /// Nobody has swept: the datagram itself finds the flow over its time.
    fn after_its_time_a_datagram_opens_another_flow(engine) with(both) {
        let old = answered(engine);
        pass(engine, 121_000);
        // A late answer finds nobody, and must not reach whoever has the port next.
        dropped(engine, Port::Provider, "Unsolicited", &from_target(&old, b"late"));
        let new = asked(engine);
        assert_eq!(new.state, State::Unreplied);
        assert_ne!((new.nat(), new.number), (old.nat(), old.number));
    }

    fn what_is_not_published_or_not_allowed(engine) with(both) {
        let elsewhere = Datagram { destination: (ENDPOINT, 53), ..from_client(Port::B, 40_000, b"") };
        dropped(engine, Port::B, "NoListener", &elsewhere);
        let stranger = Datagram { source: ("192.0.2.1".parse().unwrap(), 9), ..from_client(Port::A, 9, b"") };
        dropped(engine, Port::A, "SecurityGroup", &stranger);
        let loopback = Datagram { source: ("127.0.0.1".parse().unwrap(), 9), ..from_client(Port::A, 9, b"") };
        dropped(engine, Port::A, "SourceAddress", &loopback);
        dropped(engine, Port::A, "SecurityGroup", &segment(Port::A, 40_000, SYN));
        let host = Datagram { destination: ("10.0.0.1".parse().unwrap(), 53), ..from_client(Port::B, 9, b"") };
        assert_eq!(engine.receive(Port::B, &host.bytes()).verdict, Verdict::Pass);
        assert_eq!(flows(engine).len(), 0);
    }

    fn without_a_listener_of_udp(engine) {
        dropped(engine, Port::B, "NoListener", &from_client(Port::B, 40_000, b"question"));
    }

    fn nobody_sends_to_a_load_balancer_address_of_his_own_accord(engine) with(both) {
        let opened = answered(engine);
        let to_other_port = Datagram {
            destination: (opened.nat().0, opened.nat().1 ^ 1),
            ..from_target(&opened, b"hello")
        };
        dropped(engine, Port::Provider, "Unsolicited", &to_other_port);
        let from_other_port = Datagram {
            source: (opened.target().0, opened.target().1 ^ 1),
            ..from_target(&opened, b"hello")
        };
        dropped(engine, Port::Provider, "Unsolicited", &from_other_port);
    }

    fn impossible_lengths(engine) with(both) {
        let whole = from_client(Port::A, 40_000, b"question");
        for length in [0_u16, 7, 17, 0xffff] {
            let frame = whole.edited(|packet| packet[24..26].copy_from_slice(&length.to_be_bytes()));
            dropped(engine, Port::A, "UdpLength", &frame);
        }
        let cut = whole.edited(|packet| packet[2..4].copy_from_slice(&27_u16.to_be_bytes()));
        dropped(engine, Port::A, "Truncated", &cut);
        assert_eq!(flows(engine).len(), 0);
    }

    /// Padding behind a datagram that is shorter than its packet goes along.
    fn a_datagram_shorter_than_its_packet(engine) with(both) {
        let opened = answered(engine);
        let frame = |datagram: &Datagram| datagram.edited(|packet| {
            packet[24..26].copy_from_slice(&12_u16.to_be_bytes());
            packet[26..28].fill(0);
        });
        let short = Datagram { has_checksum: false, ..from_client(Port::A, 40_000, b"question") };
        let outcome = engine.receive(Port::A, &frame(&short));
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, frame(&at_target(&short, &opened))));
    }

    fn a_damaged_first_datagram_opens_nothing(engine) with(both) {
        let damaged = from_client(Port::A, 40_000, b"question").edited(|packet| packet[30] ^= 1);
        dropped(engine, Port::A, "UdpChecksum", &damaged);
        let mut damaged = from_client(Port::A, 40_000, b"question").bytes();
        damaged[24] ^= 1;
        dropped(engine, Port::A, "Ipv4Checksum", &damaged);
        assert_eq!(flows(engine).len(), 0);
    }

    fn time_to_live(engine) with(both) {
        answered(engine);
        for ttl in [0, 1] {
            let tired = Datagram { ttl, ..from_client(Port::A, 40_000, b"question") };
            dropped(engine, Port::A, "TtlExpired", &tired);
        }
    }

    /// An error about a datagram reaches its sender, with the datagram as that had sent it, its checksum too.
    fn an_error_reaches_the_sender(engine) with(both) {
        let opened = answered(engine);
        for has_checksum in [true, false] {
            let sent = Datagram { has_checksum, ..from_client(Port::A, 40_000, b"nobody listens") };
            let arrived = at_target(&sent, &opened);
            for length in [28, 32, 42] {
                let error = Message {
                    to: Port::Provider.mac(),
                    from: opened.target_mac(),
                    source: opened.target().0,
                    destination: opened.nat().0,
                    ..error_with(3, 3, arrived.quote(length))
                };
                let outcome = engine.receive(Port::Provider, &error.bytes());
                let expected = Message {
                    to: Port::A.client(),
                    from: Port::A.mac(),
                    source: ENDPOINT,
                    destination: CLIENT,
                    ttl: error.ttl - 1,
                    body: sent.quote(length),
                    ..error
                };
                assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, expected.bytes()));
            }
        }
        assert_eq!(flow(engine).state, State::Replied, "an error ends nothing");
    }

    fn an_error_about_a_datagram_that_nobody_sent(engine) with(both) {
        let opened = answered(engine);
        let other = Datagram {
            source: (opened.nat().0, opened.nat().1 ^ 1),
            ..at_target(&from_client(Port::A, 40_000, b"question"), &opened)
        };
        let error = Message {
            to: Port::Provider.mac(),
            from: opened.target_mac(),
            source: opened.target().0,
            destination: opened.nat().0,
            ..error_with(3, 3, other.quote(28))
        };
        dropped(engine, Port::Provider, "IcmpNoFlow", &error);
    }

    /// The sender of what does not fit is told how much would.
    fn too_big(engine) with(both) {
        let opened = answered(engine);
        engine.set_mtu(Port::Provider, 1400);
        let long = Datagram { identification: 1, ..from_client(Port::A, 40_000, &[0xa5; 1373]) };
        let outcome = engine.receive(Port::A, &long.bytes());
        assert_eq!(outcome.verdict, Verdict::Redirect);
        assert_eq!(outcome.frame[34..36], [3, 4]);
        assert_eq!(outcome.frame[40..42], 1400_u16.to_be_bytes());
        assert_eq!(outcome.frame[42..70], long.bytes()[14..42]);
        assert_eq!(drops(engine, Port::A), [("TooBig", 1)]);
        let fits = from_client(Port::A, 40_000, &[0xa5; 1372]);
        expect(engine, Port::A, &fits, &at_target(&fits, &opened));
    }

    fn an_endpoint_that_is_not_available_opens_no_flow(engine) with(both) {
        engine.edit_endpoint(0, &|endpoint| endpoint.available = 0);
        dropped(engine, Port::A, "EndpointNotAvailable", &from_client(Port::A, 40_000, b""));
    }

    fn to_others_it_is_the_hosts_business(engine) with(both) {
        let to_host = Datagram { destination: ("10.0.0.1".parse().unwrap(), 53), ..from_client(Port::A, 5, b"x") };
        passes_untouched(engine, Port::A, &to_host.bytes());
        let to_another_mac = Datagram { to: [2, 9, 9, 9, 9, 9], ..from_client(Port::A, 5, b"x") };
        passes_untouched(engine, Port::A, &to_another_mac.bytes());
    }
}
