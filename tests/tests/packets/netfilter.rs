//! Traps of TCP tracking, after the packetdrill scenarios of the Linux netfilter selftests; the two about RSTs
//! (rst_invalid, inexact_rst) are in `life.rs`.

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::Phase;
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, PSH, RST, SYN};

use crate::connection::{NEXT as CLIENT_NEXT, open};
use crate::frame::Segment;
use crate::scenarios;
use crate::world::{Engine, FlowExt as _, Port, carried, drops, flow, from_client, from_target};

/// The target's sequence number after its SYN.
const TARGET_NEXT: u32 = 162_602_411;
/// Numbers of a connection that the target still remembers: the acknowledged one is nobody's of today.
const OLD: (u32, u32) = (145_824_453, 643_160_523);

fn client(flags: u8, sequence: u32, acknowledgement: u32) -> Segment {
    Segment { sequence, acknowledgement, ..from_client(Port::A, 40_000, flags) }
}

fn target(flow: &Flow, flags: u8, sequence: u32, acknowledgement: u32) -> Segment {
    Segment { sequence, acknowledgement, ..from_target(flow, flags, &[]) }
}

/// The handshake of a flow whose SYN is through.
#[track_caller]
fn shake_hands(engine: &mut dyn Engine, opened: &Flow) {
    carried(engine, Port::Provider, &target(opened, SYN | ACK, TARGET_NEXT - 1, CLIENT_NEXT));
    carried(engine, Port::A, &client(ACK, CLIENT_NEXT, TARGET_NEXT));
    let after = flow(engine);
    assert_eq!((after.phase, after.state), (Phase::Established, State::Established));
}

scenarios! {
    /// conntrack_syn_challenge_ack: the target remembers an old connection and answers the SYN with a challenge ACK; the
    /// client resets that one, and its next SYN connects.
    fn a_challenge_ack_to_a_first_syn(engine) {
        let opened = open(engine);
        carried(engine, Port::Provider, &target(&opened, ACK, OLD.0, OLD.1));
        assert_eq!(flow(engine).phase, Phase::HalfOpen);
        carried(engine, Port::A, &client(RST, OLD.1, 0));
        let again = open(engine);
        assert_eq!(again.phase, Phase::HalfOpen);
        shake_hands(engine, &again);
        assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
    }

    /// conntrack_synack_reuse: a SYN on a connection that the target has and the client has not; the same dance, and the
    /// next SYN is a new connection's.
    fn a_syn_on_an_established_connection(engine) {
        let opened = open(engine);
        shake_hands(engine, &opened);
        carried(engine, Port::A, &client(ACK | PSH, CLIENT_NEXT, TARGET_NEXT).with_payload(&[7; 100]));
        carried(engine, Port::Provider, &target(&opened, ACK, TARGET_NEXT, CLIENT_NEXT + 100));

        carried(engine, Port::A, &client(SYN, CLIENT_NEXT + 2000, 0));
        assert_eq!(flow(engine).state, State::Established, "a SYN alone changes nothing");
        carried(engine, Port::Provider, &target(&opened, ACK, TARGET_NEXT, CLIENT_NEXT + 100));
        carried(engine, Port::A, &client(RST, CLIENT_NEXT + 100, 0));
        assert_eq!(flow(engine).state, State::Closed);
        let again = open(engine);
        assert_eq!((again.phase, again.state), (Phase::HalfOpen, State::SynSent));
        shake_hands(engine, &again);
    }

    /// conntrack_synack_old: the SYN+ACK to an earlier SYN comes first, and the client's RST to it is lost. Tracking goes by
    /// the right SYN+ACK afterwards, however far its numbers are from the old one's.
    fn an_old_syn_ack_before_the_right_one(engine) {
        let opened = open(engine);
        carried(engine, Port::Provider, &target(&opened, SYN | ACK, OLD.0, OLD.1));
        carried(engine, Port::A, &from_client(Port::A, 40_000, SYN));
        assert_eq!(flow(engine).nat(), opened.nat(), "the SYN is repeated on the same flow");
        carried(engine, Port::Provider, &target(&opened, SYN | ACK, TARGET_NEXT - 1, CLIENT_NEXT));
        carried(engine, Port::A, &client(ACK | PSH, CLIENT_NEXT, TARGET_NEXT).with_payload(b"x"));
        carried(engine, Port::Provider, &target(&opened, ACK | PSH, TARGET_NEXT, CLIENT_NEXT + 1).with_payload(b"y"));
        carried(engine, Port::A, &client(ACK, CLIENT_NEXT + 1, TARGET_NEXT + 1));
        let after = flow(engine);
        assert_eq!((after.phase, after.state), (Phase::Established, State::Established));
    }

    /// conntrack_ack_loss_stall: data that was acknowledged already comes once more, for the acknowledgement got lost.
    fn acknowledged_data_once_more(engine) {
        const SIZE: u32 = 1440;
        const SEGMENTS: u32 = 46;
        let opened = open(engine);
        shake_hands(engine, &opened);
        let data = |number: u32| {
            client(ACK | PSH, CLIENT_NEXT + number * SIZE, TARGET_NEXT).with_payload(&[7; SIZE as usize])
        };
        let taken = |number: u32| target(&opened, ACK, TARGET_NEXT, CLIENT_NEXT + number * SIZE);
        for number in 0..SEGMENTS {
            carried(engine, Port::A, &data(number));
            carried(engine, Port::Provider, &taken(number + 1));
        }
        carried(engine, Port::A, &data(0));
        carried(engine, Port::Provider, &taken(SEGMENTS));
        assert_eq!(flow(engine).state, State::Established);
    }
}
