//! Flows from their first SYN on.

use privatelink_common::flow_table::Flow;
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Segment, checksums_are_right};
use crate::scenarios;
use crate::world::{
    Engine, FlowExt as _, Host, Port, at_client, at_target, drops, end, expect, find, flow,
    from_client, from_target, key_of,
};

/// Opens a flow from a client port; its SYN's bytes are another scenario's business.
fn open(engine: &mut dyn Engine, port: Port, source_port: u16) -> Flow {
    let syn = from_client(port, source_port, SYN);
    assert_eq!(engine.receive(port, &syn.bytes()).verdict, Verdict::Redirect);
    find(engine, &key_of(port, &syn)).expect("the SYN made a flow")
}

/// What a flow has counted: packets and bytes to the target, packets and bytes to the client.
fn counts(flow: &Flow) -> [u64; 4] {
    let (forward, reverse) = (&flow.forward, &flow.reverse);
    [forward.packets, forward.bytes, reverse.packets, reverse.bytes]
}

fn state(flow: &Flow) -> State {
    flow.state
}

scenarios! {
    fn handshake_and_data_both_ways(engine) {
        let syn = from_client(Port::A, 40_000, SYN);
        let outcome = engine.receive(Port::A, &syn.bytes());
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let opened = flow(engine);
        assert_eq!(outcome.frame, at_target(&syn, &opened).bytes());
        assert!(checksums_are_right(&outcome.frame));
        assert!(opened.nat().1 >= 10_240, "{:?}", opened.nat());
        assert_eq!((counts(&opened), state(&opened)), ([1, 48, 0, 0], State::SynSent));

        let answer = from_target(&opened, SYN | ACK, &[]);
        expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
        assert_eq!(state(&flow(engine)), State::SynReceived);

        let request = syn.with_payload(b"GET / HTTP/1.1\r\n\r\n");
        expect(engine, Port::A, &request, &at_target(&request, &opened));
        assert_eq!(state(&flow(engine)), State::Established);

        let response = from_target(&opened, ACK | PSH, b"an odd number of bytes.");
        expect(engine, Port::Provider, &response, &at_client(&response, Port::A, 40_000));
        assert_eq!(counts(&flow(engine)), [2, 48 + 66, 2, 48 + 71]);
        assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
    }

    fn a_retransmitted_syn_keeps_its_lease(engine) {
        let opened = open(engine, Port::A, 40_000);
        for _ in 0..5 {
            let syn = from_client(Port::A, 40_000, SYN);
            expect(engine, Port::A, &syn, &at_target(&syn, &opened));
        }
        assert_eq!(counts(&flow(engine)), [6, 6 * 48, 0, 0]);
    }

    /// The very same client address and port in two vpcs, at once.
    fn the_vpc_is_part_of_every_key(engine) {
        let a = open(engine, Port::A, 40_000);
        let b = open(engine, Port::B, 40_000);
        assert_ne!((a.nat(), a.target()), (b.nat(), b.target()));
        for (port, opened) in [(Port::A, &a), (Port::B, &b)] {
            let answer = from_target(opened, SYN | ACK, port.name().as_bytes());
            expect(engine, Port::Provider, &answer, &at_client(&answer, port, 40_000));
        }
    }

    fn bits_that_are_not_ours_stay(engine) {
        let opened = open(engine, Port::A, 40_000);
        let mut odd = from_client(Port::A, 40_000, ACK | 0x20 | 0x40 | 0x80).with_payload(b"x");
        odd.flags |= 0x20 | 0x40 | 0x80;
        odd.dscp_ecn = 0xff;
        odd.identification = 0;
        odd.options = vec![8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 253, 4, 0, 1, 1, 1];
        expect(engine, Port::A, &odd, &at_target(&odd, &opened));
    }

    fn the_clients_place_is_learnt_from_its_frames(engine) {
        let opened = open(engine, Port::A, 40_000);
        let mut moved = from_client(Port::A, 40_000, ACK);
        moved.from = [2, 9, 9, 9, 9, 9];
        expect(engine, Port::A, &moved, &at_target(&moved, &opened));
        let answer = from_target(&opened, ACK, b"to the new place");
        let mut there = at_client(&answer, Port::A, 40_000);
        there.to = moved.from;
        expect(engine, Port::Provider, &answer, &there);
    }

    fn one_vlan_tag_comes_back(engine) {
        round_trip_with_tags(engine, &[(0x8100, 0x2064)]);
    }

    fn two_vlan_tags_come_back(engine) {
        round_trip_with_tags(engine, &[(0x88a8, 0x0007), (0x8100, 0xe064)]);
    }

    fn a_provider_that_tags_is_untagged_for_the_client(engine) {
        let opened = open(engine, Port::A, 40_000);
        let mut answer = from_target(&opened, SYN | ACK, b"tagged");
        answer.tags = vec![(0x8100, 5)];
        let mut untagged = at_client(&answer, Port::A, 40_000);
        untagged.tags = vec![];
        expect(engine, Port::Provider, &answer, &untagged);
    }

    fn a_syn_after_the_end_begins_anew(engine) {
        let opened = open(engine, Port::A, 40_000);
        let answer = from_target(&opened, SYN | ACK | FIN, &[]);
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Drop, "SYN+FIN");
        for (port, frame) in [
            (Port::Provider, from_target(&opened, SYN | ACK, &[])),
            (Port::A, from_client(Port::A, 40_000, ACK | FIN)),
            (Port::Provider, from_target(&opened, ACK | FIN, &[])),
        ] {
            assert_eq!(engine.receive(port, &frame.bytes()).verdict, Verdict::Redirect);
        }
        assert_eq!(state(&flow(engine)), State::TimeWait);
        let again = open(engine, Port::A, 40_000);
        assert_eq!((state(&again), counts(&again)), (State::SynSent, [1, 48, 0, 0]));
        assert_eq!(again.target(), opened.target());
        assert_ne!(again.nat(), opened.nat(), "the target's TIME_WAIT of the old lease is not met");
    }

    fn a_reset_closes(engine) {
        let opened = open(engine, Port::A, 40_000);
        let refused = from_target(&opened, RST | ACK, &[]);
        expect(engine, Port::Provider, &refused, &at_client(&refused, Port::A, 40_000));
        assert_eq!(state(&flow(engine)), State::Closed);
    }

    fn padding_behind_a_short_packet_stays(engine) {
        let opened = open(engine, Port::A, 40_000);
        let bare = Segment { options: vec![], ..from_client(Port::A, 40_000, ACK) };
        let padded = [bare.bytes(), vec![0xee; 6]].concat();
        let outcome = engine.receive(Port::A, &padded);
        assert_eq!(outcome.frame, [at_target(&bare, &opened).bytes(), vec![0xee; 6]].concat());
        assert_eq!(counts(&flow(engine)), [2, 48 + 40, 0, 0], "padding is not counted");
    }

    /// TCP Fast Open puts data on the SYN: its checksum is verified over lengths of every residue.
    fn data_on_a_syn(engine) {
        for (length, source_port) in (0..140).chain([1000, 1439, 1440]).zip(20_000..) {
            let mut syn = from_client(Port::A, source_port, SYN);
            syn.options.clear();
            syn.payload = (0..length).map(|byte| byte as u8 ^ 0x5a).collect();
            let outcome = engine.receive(Port::A, &syn.bytes());
            assert_eq!(outcome.verdict, Verdict::Redirect, "{length} bytes");
            assert!(checksums_are_right(&outcome.frame), "{length} bytes");
        }
        assert_eq!(drops(engine, Port::A), []);
    }
}

/// What a new flow says of its client's place never looks like the mark of one, or that one would never be learnt: no
/// SYN-ACK would ever reach it. On the host 02:00:00:00:8c:ad was such a client.
#[test]
fn a_client_is_answered_wherever_it_is() {
    let mut host = Host::new(&|text| text);
    let known = u32::from_be_bytes([0, 0, 0x8c, 0xad]);
    for number in (0..100_000).chain([known]) {
        let mut syn = from_client(Port::A, 40_000, SYN);
        syn.from[2..].copy_from_slice(&u32::to_be_bytes(number));
        assert_eq!(host.receive(Port::A, &syn.bytes()).verdict, Verdict::Redirect);
        let opened = find(&host, &key_of(Port::A, &syn)).expect("its flow");
        assert_eq!(opened.client.mac().bytes(), syn.from);
        end(&mut host, &opened);
    }
}

fn round_trip_with_tags(engine: &mut dyn Engine, tags: &[(u16, u16)]) {
    let mut syn = from_client(Port::A, 40_000, SYN);
    syn.tags = tags.to_vec();
    let outcome = engine.receive(Port::A, &syn.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let opened = flow(engine);
    assert_eq!(outcome.frame, at_target(&syn, &opened).bytes());
    let answer = from_target(&opened, SYN | ACK, b"back");
    let mut tagged = at_client(&answer, Port::A, 40_000);
    tagged.tags = tags.to_vec();
    expect(engine, Port::Provider, &answer, &tagged);
}
