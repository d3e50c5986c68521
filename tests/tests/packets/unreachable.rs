//! Segments that are refused with a word to their senders: too big ones here, those for which there is no room in
//! `limits.rs`.

use std::net::Ipv4Addr;
use std::time::Duration;

use privatelink_common::tcp::{ACK, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::connection::open;
use crate::frame::{Message, Segment, TAGS};
use crate::scenarios;
use crate::world::{
    BALANCER, ENDPOINT, Engine, Port, drops, expect, flow, flows, from_client, from_target,
};

/// How many errors may leave at once, and how long it takes until one more may.
const BURST: usize = 50;
const INTERVAL: Duration = Duration::from_millis(1);

/// The error that answers a segment.
pub(crate) fn unreachable(to: &Segment, from: Ipv4Addr, code: u8, mtu: u16) -> Message {
    let [high, low] = mtu.to_be_bytes();
    Message {
        to: to.from,
        from: to.to,
        tags: to.tags.clone(),
        source: from,
        destination: to.source.0,
        ttl: 64,
        identification: 0,
        dscp_ecn: 0xc0,
        dont_fragment: true,
        kind: 3,
        code,
        rest: [0, 0, high, low],
        body: to.bytes()[to.ethernet()..][..28].to_vec(),
    }
}

/// How many of `count` equal segments are answered.
fn answers(engine: &mut dyn Engine, port: Port, frame: &[u8], count: usize) -> usize {
    (0..count).filter(|_| engine.receive(port, frame).verdict == Verdict::Redirect).count()
}

scenarios! {
    fn too_big_both_ways(engine) {
        let opened = open(engine);
        let tags = [vec![], vec![(0x8100, 100)], TAGS.to_vec()];
        engine.set_mtu(Port::Provider, 1400);
        engine.set_mtu(Port::A, 1300);
        for tags in tags {
            let segment = from_client(Port::A, 40_000, ACK).with_payload(&[1; 1400 - 47]);
            let segment = Segment { tags: tags.clone(), ..segment };
            expect(engine, Port::A, &segment, &unreachable(&segment, ENDPOINT, 4, 1400));
            let segment = Segment { tags, ..from_target(&opened, ACK, &[1; 1300 - 47]) };
            expect(engine, Port::Provider, &segment, &unreachable(&segment, BALANCER, 4, 1300));
        }
        assert_eq!(drops(engine, Port::A), [("TooBig", 3)]);
        assert_eq!(drops(engine, Port::Provider), [("TooBig", 3)]);
        let after = flow(engine);
        assert_eq!((after.forward.packets, after.reverse.packets), (1, 0));
    }

    /// Nobody fragments it here.
    fn without_df_it_is_said_too(engine) {
        open(engine);
        engine.set_mtu(Port::Provider, 1400);
        let segment = from_client(Port::A, 40_000, ACK).with_payload(&[1; 1400]);
        let fields = [0x0000_u16, 0x8000];
        for field in fields {
            let frame = segment.edited(|ip| ip[6..8].copy_from_slice(&field.to_be_bytes()));
            let body = frame[14..][..28].to_vec();
            let expected = Message { body, ..unreachable(&segment, ENDPOINT, 4, 1400) };
            let outcome = engine.receive(Port::A, &frame);
            assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, expected.bytes()));
        }
        assert_eq!(drops(engine, Port::A), [("TooBig", 2)]);
    }

    /// Its source may be a lie.
    fn a_damaged_header_is_not_answered(engine) {
        open(engine);
        engine.set_mtu(Port::Provider, 1400);
        let mut frame = from_client(Port::A, 40_000, ACK).with_payload(&[1; 1400]).bytes();
        frame[24] ^= 1;
        assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("TooBig", 1)]);
    }

    fn a_syn_too_big_opens_nothing(engine) {
        engine.set_mtu(Port::Provider, 1400);
        let syn = Segment { payload: vec![7; 1400 - 47], ..from_client(Port::A, 40_000, SYN) };
        expect(engine, Port::A, &syn, &unreachable(&syn, ENDPOINT, 4, 1400));
        assert_eq!(flows(engine).len(), 0);
        let syn = Segment { payload: vec![7; 1400 - 48], ..syn };
        assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Redirect);
        assert_eq!(flows(engine).len(), 1);
    }

    /// The smallest SYN, on the smallest MTU an IPv4 link may have (RFC 791): the answer is longer than the question.
    fn the_frame_grows(engine) {
        engine.set_mtu(Port::Provider, 39);
        let syn = Segment { options: vec![], ..from_client(Port::A, 40_000, SYN) };
        expect(engine, Port::A, &syn, &unreachable(&syn, ENDPOINT, 4, 39));
        let padded = [syn.bytes(), vec![0; 6]].concat();
        let outcome = engine.receive(Port::A, &padded);
        assert_eq!(outcome.frame, unreachable(&syn, ENDPOINT, 4, 39).bytes());
    }

    fn no_more_than_the_budget(engine) {
        let opened = open(engine);
        engine.set_mtu(Port::Provider, 1400);
        engine.set_mtu(Port::A, 1400);
        const SENT: usize = 5_000;
        let big = from_client(Port::A, 40_000, ACK).with_payload(&[1; 1400]).bytes();
        let start = std::time::Instant::now();
        let answered = answers(engine, Port::A, &big, SENT);
        let meanwhile = start.elapsed().as_millis() as usize + 1;
        assert!((BURST..=BURST + meanwhile).contains(&answered), "{answered} in {meanwhile} ms");
        assert_eq!(drops(engine, Port::A), [("TooBig", SENT as u64)], "all are counted");
        // Another interface's budget is its own.
        let other = from_target(&opened, ACK, &[1; 1400]).bytes();
        assert_eq!(answers(engine, Port::Provider, &other, 1), 1);
        engine.wait(INTERVAL);
        assert_eq!(answers(engine, Port::A, &big, 1), 1, "time brings more");
    }
}
