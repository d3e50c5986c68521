//! The connection that most scenarios are about: of A's client, from port 40 000.

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::Phase;
use privatelink_common::tcp::{ACK, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::Segment;
use crate::world::{Engine, Port, at_target, carried, flow, from_client, from_target};

/// The sequence number after the client's SYN, and after the target's; both of which acknowledge the other's.
pub(crate) const NEXT: u32 = 0x1234_5679;

/// What the client sends after its SYN.
pub(crate) fn client(flags: u8) -> Segment {
    Segment { sequence: NEXT, ..from_client(Port::A, 40_000, flags) }
}

/// What the target sends after its own.
pub(crate) fn target(flow: &Flow, flags: u8) -> Segment {
    Segment { sequence: NEXT, ..from_target(flow, flags, &[]) }
}

/// Opens it.
#[track_caller]
pub(crate) fn open(engine: &mut dyn Engine) -> Flow {
    let syn = from_client(Port::A, 40_000, SYN);
    let outcome = engine.receive(Port::A, &syn.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let opened = flow(engine);
    assert_eq!(outcome.frame, at_target(&syn, &opened).bytes());
    opened
}

/// Opens it, and both sides shake hands; the flow as it was opened.
#[track_caller]
pub(crate) fn established(engine: &mut dyn Engine) -> Flow {
    let opened = open(engine);
    carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
    carried(engine, Port::A, &client(ACK));
    assert_eq!(flow(engine).phase, Phase::Established);
    opened
}

/// Sends SYNs from these ports, beside it or not; how many were sent on.
pub(crate) fn syns(
    engine: &mut dyn Engine,
    port: Port,
    sources: impl IntoIterator<Item = u16>,
) -> usize {
    let to = Port::Provider.mac();
    let sent_on = |&source: &u16| {
        let outcome = engine.receive(port, &from_client(port, source, SYN).bytes());
        // An ICMP answer leaves too, but not by the provider's interface.
        outcome.verdict == Verdict::Redirect && outcome.frame[6..12] == to
    };
    sources.into_iter().filter(sent_on).count()
}
