//! Datagrams in fragments, there and back: the first one leads, the others follow.

use std::time::Duration;

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::Phase;
use privatelink_common::state::State;
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Datagram, edited};
use crate::scenarios;
use crate::udp::{at_client, at_target, both, from_client, from_target};
use crate::world::{
    ENDPOINT, Engine, FlowExt as _, Port, dropped, drops, expect, flow, flows, passes_untouched,
};

const MORE: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
/// Bytes behind the IPv4 header that a link of an MTU of 1500 takes.
const FITS: usize = 1480;

/// The frames of a datagram, each but the last with `size` bytes behind its IPv4 header, a multiple of eight.
pub(crate) fn cut(datagram: &Datagram, size: usize) -> Vec<Vec<u8>> {
    cut_frame(&datagram.bytes(), size)
}

/// The same of a datagram's frame.
pub(crate) fn cut_frame(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (headers, payload) = frame.split_at(34);
    let count = payload.len().div_ceil(size);
    let pieces = payload.chunks(size).enumerate().map(|(number, piece)| {
        let more = if number + 1 < count { MORE } else { 0 };
        let word = (number * size / 8) as u16 | more;
        edited([headers, piece].concat(), 14, |packet| {
            packet[2..4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
            packet[6..8].copy_from_slice(&word.to_be_bytes());
        })
    });
    pieces.collect()
}

fn identification(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[18], frame[19]])
}

/// Data of which no piece looks like its neighbour.
pub(crate) fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7) as u8).collect()
}

/// What is 4 000 bytes long, so that three frames carry it.
fn question(port: Port, source_port: u16) -> Datagram {
    from_client(port, source_port, &payload(4000))
}

/// Sends a first fragment, which must leave; with which identification.
#[track_caller]
fn begun(engine: &mut dyn Engine, port: Port, first: &[u8]) -> u16 {
    let outcome = engine.receive(port, first);
    assert_eq!(outcome.verdict, Verdict::Redirect);
    identification(&outcome.frame)
}

/// Sends all fragments of a question from port 40 000 in order, and expects them at the target; its identification there.
#[track_caller]
fn asked(engine: &mut dyn Engine, question: &Datagram) -> u16 {
    let frames = cut(question, FITS);
    let identification = begun(engine, Port::A, &frames[0]);
    let there = at_target(&Datagram { identification, ..question.clone() }, &flow(engine));
    for (frame, leaves_as) in frames.iter().zip(cut(&there, FITS)) {
        expect(engine, Port::A, frame, &leaves_as);
    }
    identification
}

scenarios! {
    fn there_and_back(engine) with(both) {
        let question = question(Port::A, 40_000);
        let frames = cut(&question, FITS);
        assert_eq!(frames.len(), 3);
        let new = asked(engine, &question);
        assert_ne!(new, question.identification);
        let opened = flow(engine);
        assert_eq!((opened.phase, opened.state), (Phase::HalfOpen, State::Unreplied));

        let answer = from_target(&opened, &question.payload[..3001]);
        let frames = cut(&answer, FITS);
        let outcome = engine.receive(Port::Provider, &frames[0]);
        let there = Datagram { identification: identification(&outcome.frame), ..answer };
        let there = cut(&at_client(&there, Port::A, 40_000), FITS);
        assert_eq!((outcome.verdict, &outcome.frame), (Verdict::Redirect, &there[0]));
        assert_eq!(flow(engine).state, State::Replied);
        // Behind the first one their order is nobody's business.
        for number in [2, 1] {
            expect(engine, Port::Provider, &frames[number], &there[number]);
        }
        let Flow { forward, reverse, .. } = flow(engine);
        // The question's first fragment was sent twice.
        let carried = [forward.packets, forward.bytes, reverse.packets, reverse.bytes];
        assert_eq!(carried, [4, 4008 + 1480 + 4 * 20, 3, 3009 + 3 * 20]);
        assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
    }

    fn no_checksum_stays_none(engine) with(both) {
        asked(engine, &Datagram { has_checksum: false, ..question(Port::A, 40_000) });
    }

    fn as_long_as_a_datagram_may_be(engine) with(both) {
        let longest = from_client(Port::A, 40_000, &[0xa5; 65_507]);
        assert_eq!(cut(&longest, FITS).len(), 45);
        asked(engine, &longest);
        assert_eq!(drops(engine, Port::A), []);
    }

    fn before_its_first_one_or_without_it(engine) with(both) {
        let frames = cut(&question(Port::A, 40_000), FITS);
        dropped(engine, Port::A, "FragmentUnknown", &frames[1]);
        assert_eq!(flows(engine).len(), 0);
        asked(engine, &question(Port::A, 40_000));
        let other = Datagram { identification: 1, ..question(Port::A, 40_000) };
        dropped(engine, Port::A, "FragmentUnknown", &cut(&other, FITS)[1]);
    }

    fn two_seconds_after_its_first_one_it_is_forgotten(engine) with(both) {
        let new = asked(engine, &question(Port::A, 40_000));
        let frames = cut(&question(Port::A, 40_000), FITS);
        engine.wait(Duration::from_millis(1500));
        assert_eq!(engine.receive(Port::A, &frames[2]).verdict, Verdict::Redirect);
        engine.wait(Duration::from_millis(800));
        dropped(engine, Port::A, "FragmentUnknown", &frames[2]);
        assert_ne!(asked(engine, &question(Port::A, 40_000)), new, "another datagram");
    }

    fn a_flow_that_has_ended_has_no_fragments(engine) with(both) {
        asked(engine, &question(Port::A, 40_000));
        let ended = flow(engine);
        engine.cut(&ended);
        let frames = cut(&question(Port::A, 40_000), FITS);
        dropped(engine, Port::A, "FragmentUnknown", &frames[1]);
        let late = cut(&from_target(&ended, &[0; 3000]), FITS);
        dropped(engine, Port::Provider, "Unsolicited", &late[0]);
        dropped(engine, Port::Provider, "FragmentUnknown", &late[1]);
    }

    /// Clients of two vpcs, their datagrams with the same identification, which would be the same at the target too.
    fn one_identification_of_two_clients(engine) with(both) {
        let frames = [Port::A, Port::B].map(|port| (port, cut(&question(port, 40_000), FITS)));
        let new = frames.each_ref().map(|(port, frames)| begun(engine, *port, &frames[0]));
        assert_ne!(new[0], new[1]);
        for ((port, frames), new) in frames.iter().zip(new) {
            assert_eq!(identification(&engine.receive(*port, &frames[1]).frame), new);
        }
    }

    /// Who sends two datagrams with one identification between the same addresses has mixed them up himself.
    fn one_identification_of_two_ports(engine) with(both) {
        let frames = [40_000, 40_001].map(|port| cut(&question(Port::A, port), FITS));
        let new = frames.each_ref().map(|frames| begun(engine, Port::A, &frames[0]));
        assert_ne!(new[0], new[1]);
        assert_eq!(identification(&engine.receive(Port::A, &frames[0][1]).frame), new[1]);
    }

    fn identifications_go_round(engine) with(both) {
        let count = 1000;
        let mut taken: Vec<u16> = (0..count)
            .map(|number| {
                let question = Datagram { identification: number, ..question(Port::A, 40_000) };
                begun(engine, Port::A, &cut(&question, FITS)[0])
            })
            .collect();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), usize::from(count));
    }

    fn a_first_one_sent_twice_keeps_its_identification(engine) with(both) {
        let frames = cut(&question(Port::A, 40_000), FITS);
        let new = begun(engine, Port::A, &frames[0]);
        assert_eq!(begun(engine, Port::A, &frames[0]), new);
        assert_eq!(identification(&engine.receive(Port::A, &frames[1]).frame), new);
        assert_eq!(identification(&engine.receive(Port::A, &frames[1]).frame), new, "a duplicate");
    }

    /// Whoever sends a fragment needs a first one of his own: of his vpc and address, to the same address.
    fn nobody_sends_a_piece_of_anothers_datagram(engine) with(both) {
        asked(engine, &question(Port::A, 40_000));
        let mine = question(Port::A, 40_000);
        dropped(engine, Port::B, "FragmentUnknown", &cut(&question(Port::B, 40_000), FITS)[1]);
        let neighbour = Datagram { source: ([10, 0, 2, 21].into(), 40_000), ..mine.clone() };
        dropped(engine, Port::A, "FragmentUnknown", &cut(&neighbour, FITS)[1]);

        let opened = flow(engine);
        let answer = from_target(&opened, &mine.payload);
        begun(engine, Port::Provider, &cut(&answer, FITS)[0]);
        let [a, b, c, d] = opened.target().0.octets();
        let neighbour = Datagram { source: ([a, b, c, d ^ 1].into(), opened.target().1), ..answer };
        dropped(engine, Port::Provider, "FragmentUnknown", &cut(&neighbour, FITS)[1]);
        dropped(engine, Port::Provider, "Unsolicited", &cut(&neighbour, FITS)[0]);
    }

    fn what_is_not_published_or_not_allowed(engine) with(both) {
        let elsewhere = Datagram { destination: (ENDPOINT, 53), ..question(Port::B, 9) };
        dropped(engine, Port::B, "NoListener", &cut(&elsewhere, FITS)[0]);
        let stranger = Datagram { source: ([192, 0, 2, 1].into(), 9), ..question(Port::A, 9) };
        dropped(engine, Port::A, "SecurityGroup", &cut(&stranger, FITS)[0]);
        dropped(engine, Port::B, "FragmentUnknown", &cut(&elsewhere, FITS)[1]);
        let mut damaged = cut(&question(Port::A, 40_000), FITS).remove(0);
        damaged[24] ^= 1;
        dropped(engine, Port::A, "Ipv4Checksum", &damaged);
        assert_eq!(flows(engine).len(), 0);
    }

    fn what_no_datagram_can_be_cut_into(engine) with(both) {
        let frames = cut(&question(Port::A, 40_000), FITS);
        let word = |frame: &[u8], word: u16| {
            edited(frame.to_vec(), 14, |packet| packet[6..8].copy_from_slice(&word.to_be_bytes()))
        };
        let length = |frame: &[u8], length: u16| {
            edited(frame.to_vec(), 14, |packet| packet[2..4].copy_from_slice(&length.to_be_bytes()))
        };
        // Nothing in it; a gap behind it; beyond the end of the longest packet.
        for frame in [
            length(&frames[0], 20),
            length(&frames[1], 20),
            length(&frames[0], 27),
            length(&frames[0], 20 + 1479),
            length(&frames[1], 20 + 1479),
            word(&frames[2], 0x1fff),
            word(&frames[2], 8059),
        ] {
            dropped(engine, Port::A, "Ipv4Header", &frame);
        }
        for udp_length in [0, 7, 1479, 65_516, 65_535_u16] {
            let frame = edited(frames[0].clone(), 14, |packet| {
                packet[24..26].copy_from_slice(&udp_length.to_be_bytes());
            });
            dropped(engine, Port::A, "UdpLength", &frame);
        }
        for frame in &frames {
            let tired = edited(frame.clone(), 14, |packet| packet[8] = 1);
            dropped(engine, Port::A, "TtlExpired", &tired);
        }
        assert_eq!(flows(engine).len(), 0);
        asked(engine, &question(Port::A, 40_000));
        // The last place that there is in a packet.
        let last = word(&frames[2], 8058);
        assert_eq!(engine.receive(Port::A, &last).verdict, Verdict::Redirect);
    }

    /// The sender of a first one that does not fit is told how much would, may it be cut or not; of a later one nothing is told
    /// (RFC 1122, section 3.2.2).
    fn too_big(engine) with(both) {
        let frames = cut(&question(Port::A, 40_000), FITS);
        begun(engine, Port::A, &frames[0]);
        engine.set_mtu(Port::Provider, 1400);
        let whole = |frame: &[u8]| edited(frame.to_vec(), 14, |packet| packet[6] |= (DONT_FRAGMENT >> 8) as u8);
        for first in [frames[0].clone(), whole(&frames[0])] {
            let outcome = engine.receive(Port::A, &first);
            assert_eq!((outcome.verdict, &outcome.frame[34..36]), (Verdict::Redirect, &[3, 4][..]));
            assert_eq!(outcome.frame[42..70], first[14..42]);
        }
        dropped(engine, Port::A, "TooBig", &frames[1]);
        dropped(engine, Port::A, "TooBig", &whole(&frames[1]));
        assert_eq!(engine.receive(Port::A, &frames[2]).verdict, Verdict::Redirect);
        assert_eq!(drops(engine, Port::A), [("TooBig", 4)]);
    }

    fn behind_vlan_tags(engine) with(both) {
        let tag = |frame: &[u8]| [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
        let question = question(Port::A, 40_000);
        let frames = cut(&question, FITS);
        let identification = begun(engine, Port::A, &tag(&frames[0]));
        let opened = flow(engine);
        let there = at_target(&Datagram { identification, ..question }, &opened);
        for (frame, leaves_as) in frames.iter().zip(cut(&there, FITS)) {
            expect(engine, Port::A, &tag(frame), &leaves_as);
        }
        let answer = from_target(&opened, &[7; 3000]);
        let frames = cut(&answer, FITS);
        let outcome = engine.receive(Port::Provider, &frames[0]);
        let new = u16::from_be_bytes([outcome.frame[22], outcome.frame[23]]);
        let there = at_client(&Datagram { identification: new, ..answer }, Port::A, 40_000);
        for (frame, leaves_as) in frames.iter().zip(cut(&there, FITS)) {
            expect(engine, Port::Provider, frame, &tag(&leaves_as));
        }
    }

    fn to_others_it_is_the_hosts_business(engine) with(both) {
        let to_host = Datagram { destination: ([10, 0, 0, 1].into(), 53), ..question(Port::A, 5) };
        for frame in cut(&to_host, FITS) {
            passes_untouched(engine, Port::A, &frame);
        }
    }
}
