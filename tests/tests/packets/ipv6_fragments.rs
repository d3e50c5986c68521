//! Datagrams in fragments with IPv6 on either side: from each family to each, put together again as their receiver would.

use std::time::Duration;

use privatelink_common::tcp::{ACK, SYN};
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::fragments::{cut_frame, payload};
use crate::frame::{UDP, internet_checksum, set_header_checksum};
use crate::packet::{Carried, FRAGMENT, Packet, headers, is_six, segment};
use crate::wide::{ENDPOINT_6, Ends, at_client, end, from_client, six, to_client};
use crate::world::{Engine, Port, dropped, drops, flows};
use crate::{mixes, scenarios};

/// The frames of a packet, each but the last with `size` bytes of it, a multiple of eight.
pub(crate) fn cut(packet: &Packet, size: usize, identification: u32) -> Vec<Vec<u8>> {
    let mut whole = packet.bytes();
    if !is_six(&whole) {
        whole[18..20].copy_from_slice(&(identification as u16).to_be_bytes());
        return cut_frame(&whole, size);
    }
    let (headers, carried) = whole.split_at(headers(&whole));
    let count = carried.len().div_ceil(size);
    let pieces = carried.chunks(size).enumerate().map(|(number, piece)| {
        let more = number + 1 < count;
        let mut frame = headers.to_vec();
        frame[18..20].copy_from_slice(&(piece.len() as u16 + 8).to_be_bytes());
        let protocol = std::mem::replace(&mut frame[20], FRAGMENT);
        frame.extend([protocol, 0]);
        frame.extend(((number * size) as u16 | u16::from(more)).to_be_bytes());
        frame.extend(identification.to_be_bytes());
        frame.extend(piece);
        frame
    });
    pieces.collect()
}

/// What a fragment says: identification, offset in bytes, whether more follow, and its bytes.
fn piece(frame: &[u8]) -> (u32, usize, bool, &[u8]) {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    if is_six(frame) {
        assert_eq!((frame[20], frame[54], frame[55], word(56) & 6), (FRAGMENT, UDP, 0, 0));
        assert_eq!(usize::from(word(18)), frame.len() - 54);
        let identification = u32::from(word(58)) << 16 | u32::from(word(60));
        return (identification, usize::from(word(56) & !7), word(56) & 1 != 0, &frame[62..]);
    }
    assert_eq!((frame[14], frame[23], internet_checksum(&frame[14..34])), (0x45, UDP, 0));
    assert_eq!((usize::from(word(16)), word(20) & 0xc000), (frame.len() - 14, 0));
    let offset = usize::from(word(20) & 0x1fff) * 8;
    (u32::from(word(18)), offset, word(20) & 0x2000 != 0, &frame[34..])
}

/// The packet that fragments make in this order, and their identification.
fn join(frames: &[Vec<u8>]) -> (Packet, u32) {
    let (first, _, _, _) = piece(&frames[0]);
    let mut carried: Vec<u8> = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let (identification, offset, more, bytes) = piece(frame);
        assert_eq!((identification, offset), (first, carried.len()));
        assert_eq!(more, number + 1 < frames.len());
        // All but lengths, offsets and header checksums are the same.
        let same: &[_] = if is_six(frame) { &[0..18, 21..54] } else { &[0..16, 22..24, 26..34] };
        for range in same {
            assert_eq!(frame[range.clone()], frames[0][range.clone()]);
        }
        carried.extend(bytes);
    }
    let mut whole = frames[0].clone();
    whole.truncate(headers(&whole));
    if is_six(&whole) {
        whole[18..20].copy_from_slice(&(carried.len() as u16).to_be_bytes());
        whole[20] = UDP;
    } else {
        whole[16..18].copy_from_slice(&(carried.len() as u16 + 20).to_be_bytes());
        whole[20..22].fill(0);
        set_header_checksum(&mut whole[14..34]);
    }
    whole.extend(carried);
    (Packet::read(&whole), first)
}

/// Sends a packet in fragments, which must all be carried; what they make where they leave.
#[track_caller]
fn through(engine: &mut dyn Engine, port: Port, frames: &[Vec<u8>]) -> (Packet, u32) {
    let mut left = Vec::new();
    for frame in frames {
        let outcome = engine.receive(port, frame);
        assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", drops(engine, port));
        left.push(outcome.frame);
    }
    join(&left)
}

fn question(client: Family) -> Packet {
    from_client(client, Carried::Datagram, &payload(4001))
}

/// Questions and answers up to the largest there are, in fragments of several sizes; also where a datagram that is whole comes
/// between.
fn there_and_back(engine: &mut dyn Engine, client: Family, target: Family) {
    let mut seen = Vec::new();
    for (number, size) in (7..).zip([1400, 1232, 64, 8]) {
        let question = question(client);
        let (got, identification) =
            through(engine, Port::A, &cut(&question, size, 0xbeef_0000 | number));
        let ends = Ends::of(&got, &question, target);
        seen.push(identification);
        let answer = ends.answer(Carried::Datagram, &payload(4096));
        let (read, _) = through(engine, Port::Provider, &cut(&answer, size, 3));
        assert_eq!(read, at_client(&answer, &question));
        to_client(engine, &question, ends, Carried::Datagram, &payload(100));
    }
    let longest = Packet { payload: payload(65_507), ..question(client) };
    let (got, _) = through(engine, Port::A, &cut(&longest, 1400, 99));
    Ends::of(&got, &longest, target);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4, "each datagram has another identification");
    assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
}

mixes!(there_and_back);

scenarios! {
    /// Of a client that has the same identification for two datagrams, the target gets two.
    fn identifications_are_new(engine) with(six) {
        for client in [Family::Six, Family::Four] {
            let one = question(client);
            let other = Packet { source: end(&one.source.ip().to_string(), 40_001), ..one.clone() };
            let (_, first) = through(engine, Port::A, &cut(&one, 1232, 5));
            let (_, second) = through(engine, Port::A, &cut(&other, 1232, 6));
            assert_ne!(first, second);
            // One that was sent twice is the same, piece by piece.
            let frames = cut(&one, 1232, 7);
            let once = engine.receive(Port::A, &frames[0]).frame;
            let twice = engine.receive(Port::A, &frames[0]).frame;
            assert_eq!(once, twice);
        }
    }

    fn what_overtakes_its_first_is_lost(engine) with(six) {
        for client in [Family::Six, Family::Four] {
            let frames = cut(&question(client), 1232, 5);
            assert_eq!(engine.receive(Port::A, &frames[1]).verdict, Verdict::Drop);
            assert_eq!(engine.receive(Port::A, &frames[0]).verdict, Verdict::Redirect);
            assert_eq!(engine.receive(Port::A, &frames[2]).verdict, Verdict::Redirect);
            engine.wait(Duration::from_secs(3));
            assert_eq!(engine.receive(Port::A, &frames[3]).verdict, Verdict::Drop);
        }
        assert_eq!(drops(engine, Port::A), [("FragmentUnknown", 4)]);
    }

    /// What is as long as the MTU of IPv4 allows is too long for IPv6 by 28 bytes. Nobody cuts it here; the sender is told.
    fn a_fragment_that_grows_too_long(engine) with(six) {
        let frames = cut(&question(Family::Four), 1480, 5);
        let outcome = engine.receive(Port::A, &frames[0]);
        assert_eq!((outcome.verdict, outcome.frame.len()), (Verdict::Redirect, 14 + 56));
        let icmp = &outcome.frame[34..];
        assert_eq!((&icmp[..2], &icmp[6..8]), (&[3, 4][..], &1472_u16.to_be_bytes()[..]));
        assert_eq!(engine.receive(Port::A, &frames[1]).verdict, Verdict::Drop, "its first never left");
        through(engine, Port::A, &cut(&question(Family::Four), 1448, 6));
        // A later one is dropped without a word.
        engine.set_mtu(Port::Provider, 1400);
        let frames = cut(&question(Family::Six), 1360, 7);
        let small = Packet { payload: payload(100), ..question(Family::Six) };
        let head = [&cut(&small, 104, 7)[0][..54], &frames[0][54..62], &small.bytes()[54..158]].concat();
        let mut head = head;
        head[18..20].copy_from_slice(&112_u16.to_be_bytes());
        head[20] = FRAGMENT;
        // The first fragment of a datagram of 4 009 bytes.
        head[66..68].copy_from_slice(&4009_u16.to_be_bytes());
        assert_eq!(engine.receive(Port::A, &head).verdict, Verdict::Redirect);
        assert_eq!(engine.receive(Port::A, &frames[1]).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("FragmentUnknown", 1), ("TooBig", 2)]);
    }

    fn without_a_checksum_there_is_no_way_to_six(engine) with(six) {
        let mut frames = cut(&question(Family::Four), 1232, 5);
        frames[0][40..42].fill(0);
        assert_eq!(engine.receive(Port::A, &frames[0]).verdict, Verdict::Drop);
        assert_eq!(flows(engine).len(), 0, "what is not carried opens no flow");
        let mut frames = cut(&question(Family::Six), 1232, 5);
        frames[0][68..70].fill(0);
        assert_eq!(engine.receive(Port::A, &frames[0]).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("UdpChecksum", 2)]);
    }

    fn what_is_no_fragment_of_a_datagram(engine) with(six) {
        let frames = cut(&question(Family::Six), 1232, 5);
        let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = frames[0].clone();
            edit(&mut frame);
            frame
        };
        let segment = from_client(Family::Six, segment(SYN | ACK, 1, 1), &[7; 2000]);
        let refused = [
            ("Fragment", cut(&segment, 1232, 5)[0].clone()),
            // Not a multiple of eight bytes, and more to follow.
            ("Fragment", edited(&|frame| {
                let length = frame.len() - 1;
                frame.truncate(length);
                frame[18..20].copy_from_slice(&((length - 54) as u16).to_be_bytes());
            })),
            // It would end beyond the largest datagram.
            ("Fragment", edited(&|frame| frame[56..58].copy_from_slice(&0xfff9_u16.to_be_bytes()))),
            ("UdpLength", edited(&|frame| frame[66..68].copy_from_slice(&1231_u16.to_be_bytes()))),
            ("UdpLength", edited(&|frame| frame[66..68].copy_from_slice(&65_516_u16.to_be_bytes()))),
            ("TtlExpired", edited(&|frame| frame[21] = 1)),
        ];
        for (reason, frame) in refused {
            dropped(engine, Port::A, reason, &frame);
        }
        // Nobody listens there, or it is not ours at all.
        let unpublished = Packet { destination: end(ENDPOINT_6, 81), ..question(Family::Six) };
        assert_eq!(engine.receive(Port::A, &cut(&unpublished, 1232, 5)[0]).verdict, Verdict::Drop);
        let elsewhere = Packet { destination: end("fd00:b::99", 80), ..question(Family::Six) };
        for frame in cut(&elsewhere, 1232, 5) {
            assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Pass);
        }
    }
}
