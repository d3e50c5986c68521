//! VLAN tags of clients and providers whose flows have IPv6 on either side: the target gets none, the client those it has sent.

use std::iter::zip;

use privatelink_common::tcp::{ACK, SYN};
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::frame::{TAGS, tag_bytes};
use crate::mixes;
use crate::packet::{Packet, segment};
use crate::wide::{Ends, at_client, from_client};
use crate::world::{Engine, Port, drops};

/// None, one and two.
const TAGGED: [&[(u16, u16)]; 3] = [&[], &[TAGS[1]], &TAGS];
/// Bytes of the addresses before a frame's tags.
const MACS: usize = 12;

/// A frame with tags.
pub(crate) fn tagged(mut frame: Vec<u8>, tags: &[(u16, u16)]) -> Vec<u8> {
    frame.splice(MACS..MACS, tag_bytes(tags));
    frame
}

/// Sends a packet that must leave with these tags; as what.
#[track_caller]
fn sent_on(
    engine: &mut dyn Engine,
    (port, packet, tags): (Port, &Packet, &[(u16, u16)]),
    leaving: &[(u16, u16)],
) -> Packet {
    let mut outcome = engine.receive(port, &tagged(packet.bytes(), tags));
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", drops(engine, port));
    let leaving = tag_bytes(leaving);
    let taken: Vec<u8> = outcome.frame.splice(MACS..MACS + leaving.len(), []).collect();
    assert_eq!(taken, leaving);
    Packet::read(&outcome.frame)
}

fn come_back(engine: &mut dyn Engine, client: Family, target: Family) {
    let pairs = TAGGED.into_iter().flat_map(|tags| TAGGED.map(|others| (tags, others)));
    for (port, (clients, providers)) in zip(40_000.., pairs) {
        let mut syn = from_client(client, segment(SYN, 100, 0), &[]);
        syn.source.set_port(port);
        let left = sent_on(engine, (Port::A, &syn, clients), &[]);
        let ends = Ends::of(&left, &syn, target);
        let answer = ends.answer(segment(SYN | ACK, 500, 101), b"an odd length");
        let left = sent_on(engine, (Port::Provider, &answer, providers), clients);
        assert_eq!(left, at_client(&answer, &syn), "{clients:x?}, {providers:x?}");
    }
}

mixes!(come_back);
