//! What is to leave by an interface that is attached at tc ingress: XDP leaves it, as it is, to the classifier behind it, which sends it.

use privatelink_common::records::Interface;
use privatelink_common::tcp::{ACK, PSH};
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::frame::{TCP, UDP};
use crate::ipv6_errors::{Opened, quoting_fragment, words};
use crate::ipv6_fragments::cut;
use crate::mixes;
use crate::packet::{Carried, Packet, segment};
use crate::world::{Engine, Port, drops};

/// Sends what a classifier would send on.
#[track_caller]
fn left(engine: &mut dyn Engine, port: Port, frame: &[u8]) {
    let outcome = engine.receive(port, frame);
    if engine.is_classifier() {
        assert_eq!(outcome.verdict, Verdict::Redirect);
    } else {
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Pass, frame.to_vec()));
    }
}

/// Segments, datagrams in one piece and in several, and errors about either, both ways.
fn as_it_is(engine: &mut dyn Engine, client: Family, target: Family) {
    const QUOTED: usize = 100;
    let flows = [TCP, UDP].map(|protocol| Opened::new(engine, client, target, protocol));
    for port in [Port::A, Port::Provider] {
        engine.edit_interface(port, &|interface| interface.flags |= Interface::STACK);
    }
    for (flow, carried) in flows.iter().zip([segment(ACK | PSH, 501, 101), Carried::Datagram]) {
        left(engine, Port::A, &flow.sent.bytes());
        left(engine, Port::Provider, &flow.ends.answer(carried, &[0x5a; 333]).bytes());
        for (there, here) in words(target).into_iter().zip(words(client)) {
            let [error, _] = flow.at_client(there, QUOTED, here, QUOTED);
            left(engine, Port::Provider, &error);
            let [error, _] = flow.at_target(here, QUOTED, there, QUOTED);
            left(engine, Port::A, &error);
        }
    }
    let [_, flow] = flows;
    if target == Family::Six {
        let [error, _] = flow.at_client((2, 0, 1300), QUOTED, (2, 0, 1300), QUOTED);
        left(engine, Port::Provider, &quoting_fragment(&error, 1));
    }
    let long = Packet { payload: vec![0x5a; 2500], ..flow.sent.clone() };
    cut(&long, 1232, 7).iter().for_each(|frame| left(engine, Port::A, frame));
    let long = flow.ends.answer(Carried::Datagram, &[0x5a; 2500]);
    cut(&long, 1232, 8).iter().for_each(|frame| left(engine, Port::Provider, frame));
    assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
}

mixes!(as_it_is);
