//! Segments of jumbo frames. In the kernel the frame is in several buffers, of which only the first can be read in place.

use privatelink_common::tcp::ACK;

use crate::connection::established;
use crate::frame::Segment;
use crate::scenarios;
use crate::unreachable::unreachable;
use crate::world::{BALANCER, ENDPOINT, Port, carried, drops, expect, from_client, from_target};

const MTU: u32 = 9000;
/// Bytes that fill a packet of that length behind headers with eight bytes of options.
const PAYLOAD: usize = MTU as usize - 48;

fn client(payload: &[u8]) -> Segment {
    from_client(Port::A, 40_000, ACK).with_payload(payload)
}

scenarios! {
    fn a_jumbo_segment_is_carried_whole(engine) {
        let opened = established(engine);
        engine.set_mtu(Port::Provider, MTU);
        engine.set_mtu(Port::A, MTU);
        let payload: Vec<u8> = (0..PAYLOAD).map(|at| (at % 251) as u8).collect();
        for length in [PAYLOAD, PAYLOAD - 1, 4096, 4000, 3500, 3400] {
            carried(engine, Port::A, &client(&payload[..length]));
            let segment = from_target(&opened, ACK, &payload[..length]);
            carried(engine, Port::Provider, &segment);
        }
        assert_eq!(drops(engine, Port::A), []);
    }

    /// The error that answers it is cut from the first buffer: the others are given up.
    fn one_too_big_is_answered(engine) {
        let opened = established(engine);
        engine.set_mtu(Port::Provider, 8500);
        for length in [PAYLOAD, 8453] {
            let segment = client(&vec![1; length]);
            expect(engine, Port::A, &segment, &unreachable(&segment, ENDPOINT, 4, 8500));
            let segment = from_target(&opened, ACK, &vec![1; length]);
            expect(engine, Port::Provider, &segment, &unreachable(&segment, BALANCER, 4, 1500));
        }
        assert_eq!(drops(engine, Port::A), [("TooBig", 2)]);
    }

    fn one_cut_short_is_dropped(engine) {
        established(engine);
        engine.set_mtu(Port::Provider, MTU);
        let frame = client(&[1; PAYLOAD]).bytes();
        for length in [frame.len() - 1, 5000, 4000, 3000] {
            engine.receive(Port::A, &frame[..length]);
        }
        assert_eq!(drops(engine, Port::A), [("Ipv4Header", 4)]);
    }
}
