//! The MSS option of SYNs is lowered to what the way carries, never raised; nothing else is touched.

use privatelink_common::records::Endpoint;
use privatelink_common::tcp::{ACK, PSH, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Segment, TAGS};
use crate::scenarios;
use crate::world::{Engine, Port, at_client, at_target, expect, flow, from_client, from_target};

/// The option, in network order.
const fn mss(value: u16) -> [u8; 4] {
    let [high, low] = value.to_be_bytes();
    [2, 4, high, low]
}

/// Options, filled up to whole words with "no operation".
fn options(parts: &[&[u8]]) -> Vec<u8> {
    let mut options = parts.concat();
    options.resize(options.len().next_multiple_of(4), 1);
    options
}

/// Sends a SYN with options to the target, which must get others; on the same flow, a SYN+ACK back.
#[track_caller]
fn both_ways(engine: &mut dyn Engine, sent: &[u8], got: &[u8]) {
    let syn = Segment { options: sent.to_vec(), ..from_client(Port::A, 40_000, SYN) };
    let outcome = engine.receive(Port::A, &syn.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let opened = flow(engine);
    let there = Segment { options: got.to_vec(), ..at_target(&syn, &opened) };
    assert_eq!(outcome.frame, there.bytes(), "{sent:02x?}");

    let answer = Segment { options: sent.to_vec(), ..from_target(&opened, SYN | ACK, &[]) };
    let there = Segment { options: got.to_vec(), ..at_client(&answer, Port::A, 40_000) };
    expect(engine, Port::Provider, &answer, &there);
}

fn set(engine: &mut dyn Engine, clamp: u32) {
    engine.edit_endpoint(0, &|endpoint| endpoint.mss_clamp = clamp);
}

scenarios! {
    fn how_low(engine) {
        // Endpoint's setting, MTUs of consumer and provider, announced, arriving.
        let rows = [
            (Endpoint::MSS_AUTO, 1500, 1500, 1460, 1460),
            (Endpoint::MSS_AUTO, 1500, 1500, 1461, 1460),
            (Endpoint::MSS_AUTO, 1500, 1500, 8960, 1460),
            (Endpoint::MSS_AUTO, 1500, 1500, 65_535, 1460),
            (Endpoint::MSS_AUTO, 1500, 1500, 536, 536),
            (Endpoint::MSS_AUTO, 1500, 1500, 0, 0),
            (Endpoint::MSS_AUTO, 1400, 1500, 1460, 1360),
            (Endpoint::MSS_AUTO, 1500, 1400, 1460, 1360),
            (Endpoint::MSS_AUTO, 9000, 9000, 8961, 8960),
            (Endpoint::MSS_AUTO, 65_535, 65_536, 65_535, 65_495),
            (1300, 1500, 1500, 1460, 1300),
            (1300, 1500, 1500, 1300, 1300),
            (1300, 1500, 1500, 1299, 1299),
            (9000, 1500, 1500, 1460, 1460),
            (9000, 1500, 1400, 1460, 1360),
            (Endpoint::MSS_OFF, 1400, 1400, 9000, 9000),
            (u32::MAX - 1, 1500, 1500, 9000, 1460),
        ];
        for (clamp, consumer, provider, announced, arriving) in rows {
            set(engine, clamp);
            engine.set_mtu(Port::A, consumer);
            engine.set_mtu(Port::Provider, provider);
            both_ways(engine, &mss(announced), &mss(arriving));
        }
    }

    fn wherever_it_stands(engine) {
        let (big, low) = (mss(9000), mss(1460));
        let timestamp = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        for before in 0..=36 {
            // Odd and even places, behind as many "no operation"s.
            let nops = vec![1; before];
            both_ways(engine, &options(&[&nops, &big]), &options(&[&nops, &low]));
        }
        for before in (2..=36).filter(|size| *size != 4) {
            // Behind another option of each size.
            let mut other = vec![0xfe; before];
            other[1] = before as u8;
            both_ways(engine, &options(&[&other, &big]), &options(&[&other, &low]));
        }
        let linux = |mss: [u8; 4]| options(&[&mss, &[4, 2], &timestamp, &[1, 3, 3, 7]]);
        both_ways(engine, &linux(big), &linux(low));
        let last = |mss: [u8; 4]| options(&[&timestamp, &timestamp, &timestamp, &[1, 3, 3, 7, 1, 1], &mss]);
        both_ways(engine, &last(big), &last(low));
    }

    fn more_than_once(engine) {
        let twice = |first, second| options(&[&mss(first), &[1], &mss(second)]);
        both_ways(engine, &twice(9000, 1400), &twice(1460, 1400));
        both_ways(engine, &twice(1400, 9000), &twice(1400, 1460));
        both_ways(engine, &twice(9000, 9001), &twice(1460, 1460));
        // These two changes cancel each other in the checksum.
        both_ways(engine, &options(&[&mss(65_535), &mss(2920)]), &options(&[&mss(1460), &mss(1460)]));
        let ten = |value| [mss(value); 10].concat();
        both_ways(engine, &ten(9000), &ten(1460));
    }

    fn what_stays(engine) {
        let rows: [&[u8]; 14] = [
            &[],
            &[1, 1, 1, 1],
            &[0, 2, 4, 0xff, 0xff, 0, 0, 0],
            &[1, 0, 2, 4, 0xff, 0xff, 0, 0],
            // Lengths of 0, 1, and beyond the end.
            &[3, 0, 2, 4, 0xff, 0xff, 1, 1],
            &[3, 1, 2, 4, 0xff, 0xff, 1, 1],
            &[3, 9, 2, 4, 0xff, 0xff, 1, 1],
            &[3, 255, 2, 4, 0xff, 0xff, 1, 1],
            &[1, 2, 4, 0xff],
            &[1, 1, 2, 4],
            &[1, 1, 1, 2],
            // An MSS has four bytes.
            &[2, 3, 0xff, 2, 6, 0xff, 0xff, 0xff, 0xff, 1, 1, 1],
            &[2, 2, 2, 2, 2, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            // Its bytes within another option.
            &[0xfe, 8, 2, 4, 0xff, 0xff, 0xff, 0xff],
        ];
        for options in rows {
            both_ways(engine, options, options);
        }
        // An odd one before a good one.
        both_ways(engine, &[2, 3, 0xff, 1, 2, 4, 0xff, 0xff], &[2, 3, 0xff, 1, 2, 4, 5, 0xb4]);
    }

    /// Data that looks like an option, right behind options that end in mid-option.
    fn data_is_no_option(engine) {
        let syn = Segment {
            options: vec![1, 1, 1, 2],
            payload: vec![4, 0xff, 0xff, 2, 4, 0xff, 0xff],
            ..from_client(Port::A, 40_000, SYN)
        };
        let outcome = engine.receive(Port::A, &syn.bytes());
        assert_eq!(outcome.frame, at_target(&syn, &flow(engine)).bytes());
    }

    fn only_syns(engine) {
        both_ways(engine, &mss(9000), &mss(1460));
        let opened = flow(engine);
        let segment = Segment { options: mss(9000).to_vec(), ..from_client(Port::A, 40_000, ACK | PSH) };
        expect(engine, Port::A, &segment, &at_target(&segment, &opened));
        let answer = Segment { options: mss(9000).to_vec(), ..from_target(&opened, ACK, b"x") };
        expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
    }

    fn with_tags_and_data(engine) {
        let syn = Segment {
            options: options(&[&[1], &mss(9000)]),
            payload: vec![7; 301],
            tags: TAGS.to_vec(),
            ..from_client(Port::A, 40_000, SYN)
        };
        let outcome = engine.receive(Port::A, &syn.bytes());
        let there = Segment { options: options(&[&[1], &mss(1460)]), ..at_target(&syn, &flow(engine)) };
        assert_eq!(outcome.frame, there.bytes());
    }
}
