//! Echo requests: answered by endpoints that are told to, by nobody else.

use std::net::Ipv4Addr;

use crate::frame::{Message, TAGS};
use crate::scenarios;
use crate::world::{
    BALANCER, CLIENT, ENDPOINT, Engine, NOBODIES, Port, all_dropped, expect, flows,
};

/// A client's request to the endpoint.
pub(crate) fn request(port: Port, body: &[u8]) -> Message {
    Message {
        to: port.mac(),
        from: port.client(),
        tags: vec![],
        source: CLIENT,
        destination: ENDPOINT,
        ttl: 3,
        identification: 0xbeef,
        dscp_ecn: 0xb8,
        dont_fragment: true,
        kind: 8,
        code: 0,
        rest: [0x12, 0x34, 0, 7],
        body: body.to_vec(),
    }
}

fn reply(to: &Message) -> Message {
    Message {
        to: to.from,
        from: to.to,
        source: to.destination,
        destination: to.source,
        ttl: 64,
        kind: 0,
        ..to.clone()
    }
}

#[track_caller]
fn answered(engine: &mut dyn Engine, port: Port, request: &Message) {
    expect(engine, port, request, &reply(request));
}

fn answering(engine: &mut dyn Engine) {
    engine.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
}

scenarios! {
    fn only_where_it_is_wanted(engine) {
        answering(engine);
        answered(engine, Port::A, &request(Port::A, b"hello"));
        all_dropped(engine, Port::B, "IcmpEcho", &[request(Port::B, b"hello").bytes()]);
        assert_eq!(flows(engine).len(), 0);
    }

    fn of_any_length_that_can_be_verified(engine) {
        answering(engine);
        for length in (0..140).chain([1471, 1472]) {
            let body: Vec<u8> = (0..length).map(|byte| byte as u8 ^ 0xa5).collect();
            answered(engine, Port::A, &request(Port::A, &body));
        }
        all_dropped(engine, Port::A, "IcmpChecksum", &[request(Port::A, &[1; 1473]).bytes()]);
    }

    fn with_its_tags_and_from_outside_the_security_group(engine) {
        answering(engine);
        let tags = TAGS.to_vec();
        answered(engine, Port::A, &Message { tags, ..request(Port::A, b"tagged") });
        let source = Ipv4Addr::new(192, 168, 5, 5);
        answered(engine, Port::A, &Message { source, ..request(Port::A, b"outsider") });
        answered(engine, Port::A, &Message { ttl: 255, ..request(Port::A, b"") });
        answered(engine, Port::A, &Message { ttl: 0, ..request(Port::A, b"") });
    }

    fn never_by_a_load_balancer(engine) {
        answering(engine);
        let request = Message { destination: BALANCER, ..request(Port::Provider, b"hello") };
        all_dropped(engine, Port::Provider, "IcmpEcho", &[request.bytes()]);
    }

    fn never_to_who_is_nobody(engine) {
        answering(engine);
        let frames: Vec<_> = NOBODIES
            .into_iter()
            .chain([ENDPOINT])
            .map(|source| Message { source, ..request(Port::A, b"hello") })
            .collect();
        all_dropped(engine, Port::A, "SourceAddress", &frames);
    }

    fn never_when_damaged(engine) {
        answering(engine);
        let mut frame = request(Port::A, b"hello").bytes();
        *frame.last_mut().expect("it has bytes") ^= 1;
        all_dropped(engine, Port::A, "IcmpChecksum", &[frame]);
    }

    fn never_a_fragment(engine) {
        answering(engine);
        let fragments = [0x2000_u16, 0x0001].map(|field| {
            request(Port::A, b"hello").edited(|ip| ip[6..8].copy_from_slice(&field.to_be_bytes()))
        });
        all_dropped(engine, Port::A, "Fragment", &fragments);
    }
}
