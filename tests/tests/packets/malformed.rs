//! Frames no sender should send: dropped by reason if addressed to us, the host's if not, never a flow.

use std::net::Ipv4Addr;

use privatelink_common::tcp::SYN;
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Segment, TAGS, checksums_are_right, internet_checksum};
use crate::scenarios;
use crate::world::{CLIENT, Engine, Port, all_dropped, drops, flows, from_client};

fn syn() -> Segment {
    from_client(Port::A, 40_000, SYN)
}

/// Sends frames to the endpoint that must be dropped for this reason; and the same to an address that is not ours,
/// which must pass untouched.
#[track_caller]
fn dropped(engine: &mut dyn Engine, reason: &'static str, frames: &[Vec<u8>]) {
    all_dropped(engine, Port::A, reason, frames);
    for frame in frames {
        let mut foreign = frame.clone();
        foreign[30..34].copy_from_slice(&Ipv4Addr::new(10, 0, 9, 9).octets());
        let outcome = engine.receive(Port::A, &foreign);
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Pass, foreign));
    }
    assert_eq!(drops(engine, Port::A), [(reason, frames.len() as u64)]);
    assert_eq!(flows(engine).len(), 0);
}

/// The frame with its IPv4 packet changed and its header checksum right.
fn edited(edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    syn().edited(edit)
}

fn cut_short(engine: &mut dyn Engine, segment: &Segment) {
    let whole = segment.bytes();
    let lengths = (14..whole.len()).filter(|&length| engine.takes(&whole[..length]));
    let lengths: Vec<usize> = lengths.collect();
    for &length in &lengths {
        let outcome = engine.receive(Port::A, &whole[..length]);
        assert_eq!(outcome.verdict, Verdict::Drop, "{length} bytes");
    }
    // Without the whole IPv4 header it is cut short; with it, its total length is a lie.
    let ip = segment.ethernet() + 20;
    let (without, with): (Vec<usize>, Vec<usize>) =
        lengths.into_iter().partition(|&length| length < ip);
    assert_eq!(
        drops(engine, Port::A),
        [("Ipv4Header", with.len() as u64), ("Truncated", without.len() as u64)]
    );
    assert_eq!(flows(engine).len(), 0);
}

scenarios! {
    /// At every length from the Ethernet header to the last byte of TCP options.
    fn cut_short_anywhere(engine) {
        cut_short(engine, &syn());
    }

    fn cut_short_anywhere_behind_tags(engine) {
        cut_short(engine, &Segment { tags: TAGS.to_vec(), ..syn() });
    }

    /// Total length and frame agree, but leave no room for a TCP header.
    fn too_short_for_tcp(engine) {
        let frames: Vec<Vec<u8>> = (20..40_u16)
            .map(|length| {
                let mut frame = edited(|ip| ip[2..4].copy_from_slice(&length.to_be_bytes()));
                frame.truncate(14 + usize::from(length));
                frame
            })
            .collect();
        dropped(engine, "Truncated", &frames);
    }

    fn versions_and_lengths(engine) {
        let mut frames: Vec<Vec<u8>> =
            [0x05, 0x40, 0x44, 0x55, 0x65, 0xf5].map(|byte| edited(|ip| ip[0] = byte)).to_vec();
        let length = 48_u16;
        frames.extend([0, 19, length + 1, 0xffff].map(|total: u16| {
            edited(|ip| ip[2..4].copy_from_slice(&total.to_be_bytes()))
        }));
        dropped(engine, "Ipv4Header", &frames);
    }

    fn options(engine) {
        let frames: Vec<Vec<u8>> = (6..=15).map(|words| edited(|ip| ip[0] = 0x40 | words)).collect();
        dropped(engine, "Ipv4Options", &frames);
    }

    fn fragments(engine) {
        // First, middle, last; and a last one at the very end of the offset's range.
        let frames: Vec<Vec<u8>> = [0x2000_u16, 0x2001, 0x0001, 0x1fff, 0x6000, 0x0010]
            .map(|field| edited(|ip| ip[6..8].copy_from_slice(&field.to_be_bytes())))
            .to_vec();
        dropped(engine, "Fragment", &frames);
    }

    fn other_protocols(engine) {
        let frames: Vec<Vec<u8>> = [0, 2, 33, 47, 50, 132, 255].map(|protocol| edited(|ip| ip[9] = protocol)).to_vec();
        dropped(engine, "Protocol", &frames);
    }

    fn time_to_live(engine) {
        dropped(engine, "TtlExpired", &[0, 1].map(|ttl| edited(|ip| ip[8] = ttl)));
    }

    fn tcp_header_length(engine) {
        // 5 words are the least; the segment has 7; 8 and more reach beyond the packet.
        let frames: Vec<Vec<u8>> =
            (0..5).chain(8..16).map(|words: u8| edited(|ip| ip[32] = words << 4)).collect();
        dropped(engine, "TcpHeader", &frames);
    }

    fn ip_checksum_of_a_syn(engine) {
        let mut frame = syn().bytes();
        frame[24] ^= 0x10;
        assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("Ipv4Checksum", 1)]);
        assert_eq!(flows(engine).len(), 0);
    }

    fn tcp_checksum_of_a_syn(engine) {
        let mut segment = syn();
        segment.payload = vec![1, 2, 3];
        let whole = segment.bytes();
        // A flipped bit anywhere in what the checksum covers, the last odd byte included.
        for at in [34, 38, 45, 50, whole.len() - 1] {
            let mut frame = whole.clone();
            frame[at] ^= 0x08;
            assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Drop, "byte {at}");
        }
        assert_eq!(drops(engine, Port::A), [("TcpChecksum", 5)]);
        assert_eq!(flows(engine).len(), 0);
    }

    /// Longer than 1 480 bytes, a SYN's TCP checksum is left to the target; its IPv4 checksum is not.
    fn checksums_of_a_jumbo_syn(engine) {
        engine.set_mtu(Port::Provider, 9000);
        for (tcp_length, verdict) in [(1480, Verdict::Drop), (1481, Verdict::Redirect)] {
            let mut segment = syn();
            segment.payload = vec![0x5a; tcp_length - 28];
            let mut frame = segment.bytes();
            *frame.last_mut().expect("it has bytes") ^= 1;
            assert_eq!(engine.receive(Port::A, &frame).verdict, verdict, "{tcp_length}");
        }
        let mut segment = syn();
        segment.source.1 += 1;
        segment.payload = vec![0x5a; 1600];
        let mut frame = segment.bytes();
        frame[24] ^= 1;
        assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("Ipv4Checksum", 1), ("TcpChecksum", 1)]);
        assert_eq!(flows(engine).len(), 1);
    }

    /// DF or none, and even the reserved bit, make no fragment.
    fn fragment_flags_of_a_whole_packet(engine) {
        for (field, source_port) in [0x0000_u16, 0x4000, 0x8000, 0xc000].into_iter().zip(40_000..) {
            let frame = Segment { source: (CLIENT, source_port), ..syn() }
                .edited(|ip| ip[6..8].copy_from_slice(&field.to_be_bytes()));
            let outcome = engine.receive(Port::A, &frame);
            assert_eq!(outcome.verdict, Verdict::Redirect, "{field:#06x}");
            assert_eq!(outcome.frame[20..22], field.to_be_bytes());
            assert!(checksums_are_right(&outcome.frame));
        }
    }

    /// What a veth's sender leaves for a card to finish: the sum of the pseudo-header.
    fn unfinished_checksum_of_a_syn(engine) {
        let mut frame = syn().bytes();
        let tcp_length = (frame.len() - 34) as u16;
        let pseudo = [&frame[26..34], &[0, 6], &tcp_length.to_be_bytes()].concat();
        frame[50..52].copy_from_slice(&(!internet_checksum(&pseudo)).to_be_bytes());
        assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("ChecksumUnfinished", 1)]);
        assert_eq!(flows(engine).len(), 0);
    }
}
