//! How long flows live, what ends them, and what only looks as if it did. Time passes by ageing the records' stamps.

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::{NewFlow, Phase};
use privatelink_common::lease::{FIRST_PORT, LAST_PORT};
use privatelink_common::records::FlowKey;
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::connection::{NEXT, client, established, open, syns, target};
use crate::frame::Segment;
use crate::limits::one_target;
use crate::world::{
    Engine, FlowExt as _, Port, capacity, carried, drops, expect, find, flow, flows, from_client,
    from_target, occupy, pass, replaced, sweep,
};
use crate::{refused, scenarios};

const SECOND: u64 = 1000;

/// Sends what must be answered with a RST that its sender believes: its number is what the sender waits for.
#[track_caller]
fn reset(engine: &mut dyn Engine, port: Port, segment: &Segment) {
    expect(engine, port, segment, &refused::reset(segment));
    assert_eq!(flows(engine).len(), 0);
}

fn closed(engine: &mut dyn Engine) -> Flow {
    let opened = established(engine);
    carried(engine, Port::A, &client(FIN | ACK));
    carried(engine, Port::Provider, &target(&opened, FIN | ACK));
    assert_eq!(flow(engine).state, State::TimeWait);
    opened
}

fn state(engine: &dyn Engine) -> State {
    flow(engine).state
}

/// A small table, and these limits of endpoints.
fn limited(text: &str, limits: &str) -> String {
    format!("{text}[flow_table]\ncapacity = 1024\n[endpoint_limits]\n{limits}\n")
}

scenarios! {
    fn an_idle_flow_lives_350_seconds(engine) {
        let opened = established(engine);
        pass(engine, 349 * SECOND);
        carried(engine, Port::A, &client(ACK));
        pass(engine, 349 * SECOND);
        carried(engine, Port::Provider, &target(&opened, ACK));
        pass(engine, 349 * SECOND);
        assert_eq!(sweep(engine), 0);
        // The client's packet is the younger one: it keeps the flow for the target too.
        carried(engine, Port::A, &client(ACK));
        pass(engine, 2 * SECOND);
        carried(engine, Port::Provider, &target(&opened, ACK));
    }

    fn a_client_after_the_idle_time_is_reset(engine) {
        established(engine);
        pass(engine, 351 * SECOND);
        reset(engine, Port::A, &client(ACK | PSH).with_payload(b"late"));
        assert_eq!(drops(engine, Port::A), [("NoFlow", 1)]);
    }

    fn a_target_after_the_idle_time_is_reset(engine) {
        let opened = established(engine);
        pass(engine, 351 * SECOND);
        reset(engine, Port::Provider, &target(&opened, ACK));
        reset(engine, Port::A, &client(ACK));
    }

    fn a_sweep_ends_it_as_well(engine) {
        let opened = established(engine);
        pass(engine, 351 * SECOND);
        assert_eq!(sweep(engine), 1);
        reset(engine, Port::Provider, &target(&opened, ACK));
        reset(engine, Port::A, &client(ACK));
    }

    fn timeouts_are_the_services(engine) with(|text| replaced(text, &[("acceptance_required = false",
        "acceptance_required = false\ntimeouts = { half_open = \"5s\", idle = \"60s\", closing = \"2s\", lease_hold = \"20s\" }")])) {
        let opened = open(engine);
        pass(engine, 6 * SECOND);
        reset(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        established(engine);
        pass(engine, 61 * SECOND);
        reset(engine, Port::A, &client(ACK));
        let opened = closed(engine);
        pass(engine, 3 * SECOND);
        reset(engine, Port::A, &client(ACK));
        pass(engine, 19 * SECOND);
        assert_eq!((sweep(engine), find(engine, &opened.keys()[1]).map(|flow| flow.phase)), (0, Some(Phase::Held)));
        pass(engine, 2 * SECOND);
        assert_eq!((sweep(engine), find(engine, &opened.keys()[1])), (1, None));
    }

    fn a_half_open_flow_lives_30_seconds(engine) {
        open(engine);
        pass(engine, 29 * SECOND);
        let opened = flow(engine);
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        pass(engine, 31 * SECOND);
        reset(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        assert_eq!(find(engine, &opened.keys()[1]), None, "its lease is free at once");
    }

    fn a_closed_flow_lives_10_seconds_and_its_lease_60_more(engine) {
        let opened = closed(engine);
        pass(engine, 9 * SECOND);
        carried(engine, Port::A, &client(ACK));
        pass(engine, 11 * SECOND);
        reset(engine, Port::A, &client(ACK));
        let held = find(engine, &opened.keys()[1]).expect("the lease is held");
        assert_eq!((held.phase, held.number), (Phase::Held, opened.number));
        // The target's last words are answered, and change nothing.
        reset(engine, Port::Provider, &target(&opened, FIN | ACK));
        pass(engine, 59 * SECOND);
        assert_eq!(sweep(engine), 0);
        pass(engine, 2 * SECOND);
        assert_eq!(sweep(engine), 1);
        assert_eq!(find(engine, &opened.keys()[1]), None);
    }

    fn one_side_may_close_and_the_other_go_on(engine) {
        let opened = established(engine);
        carried(engine, Port::A, &client(FIN | ACK));
        assert_eq!(state(engine), State::FinWait);
        pass(engine, 340 * SECOND);
        carried(engine, Port::Provider, &target(&opened, ACK | PSH).with_payload(b"still streaming"));
        assert_eq!(state(engine), State::FinWait);
    }

    fn both_may_close_at_once(engine) {
        let opened = established(engine);
        carried(engine, Port::Provider, &target(&opened, FIN | ACK));
        carried(engine, Port::A, &client(FIN | ACK));
        carried(engine, Port::Provider, &Segment { sequence: NEXT + 1, ..target(&opened, ACK) });
        carried(engine, Port::A, &Segment { sequence: NEXT + 1, ..client(ACK) });
        assert_eq!(state(engine), State::TimeWait);
    }

    /// RFC 9293, section 3.5, figure 8: a target that opens at the same time answers with a bare SYN.
    fn both_may_open_at_once(engine) {
        let opened = open(engine);
        carried(engine, Port::Provider, &from_target(&opened, SYN, &[]));
        carried(engine, Port::A, &from_client(Port::A, 40_000, SYN | ACK));
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        assert_eq!((flow(engine).phase, state(engine)), (Phase::Established, State::Established));
    }

    fn a_syn_after_the_idle_time_opens_a_new_flow(engine) {
        let opened = established(engine);
        pass(engine, 351 * SECOND);
        let again = open(engine);
        assert_eq!((again.phase, again.forward.packets), (Phase::HalfOpen, 1));
        assert_ne!(again.nat(), opened.nat());
    }

    fn a_syn_on_a_live_flow_changes_nothing(engine) {
        let opened = established(engine);
        carried(engine, Port::A, &Segment { sequence: 0x9999_0000, ..client(SYN) });
        let after = flow(engine);
        assert_eq!((after.number, after.state, after.nat()), (opened.number, State::Established, opened.nat()));
        // The target's challenge ACK (RFC 5961, section 4.2) and the client's RST to it, which is exact.
        carried(engine, Port::Provider, &target(&opened, ACK));
        carried(engine, Port::A, &client(RST));
        assert_eq!(state(engine), State::Closed);
        assert_ne!(open(engine).nat(), opened.nat(), "the client's next SYN opens its flow");
    }

    fn a_syn_with_another_number_before_any_answer_begins_anew(engine) {
        let opened = open(engine);
        carried(engine, Port::A, &Segment { sequence: 0x7777_0000, ..from_client(Port::A, 40_000, SYN) });
        let answer = Segment { acknowledgement: 0x7777_0001, ..from_target(&opened, SYN | ACK, &[]) };
        carried(engine, Port::Provider, &answer);
        carried(engine, Port::A, &Segment { sequence: 0x7777_0001, ..client(ACK) });
        assert_eq!(flow(engine).phase, Phase::Established);
    }

    /// RFC 5961: an ACK that no SYN-ACK asked for must not get a flow out of the half-open quota.
    fn a_guessed_ack_establishes_nothing(engine) {
        let opened = open(engine);
        carried(engine, Port::A, &client(ACK));
        assert_eq!((flow(engine).phase, state(engine)), (Phase::HalfOpen, State::SynSent));
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        for wrong in [NEXT + 1, NEXT.wrapping_sub(0x10_0000), NEXT ^ 0x8000_0000] {
            carried(engine, Port::A, &Segment { acknowledgement: wrong, ..client(ACK) });
            assert_eq!((flow(engine).phase, state(engine)), (Phase::HalfOpen, State::SynReceived), "{wrong:x}");
        }
        carried(engine, Port::A, &client(ACK));
        assert_eq!(flow(engine).phase, Phase::Established);
    }

    /// conntrack_rst_invalid, NDSS'24: neither side's RST is believed but with the exact number; the others are
    /// forwarded for their receiver to judge, and do not keep the flow alive either.
    fn forged_resets_change_nothing(engine) {
        let opened = established(engine);
        pass(engine, 300 * SECOND);
        for wrong in [NEXT + 1, NEXT - 1, NEXT + 20_000, NEXT ^ 0x8000_0000] {
            carried(engine, Port::A, &Segment { sequence: wrong, ..client(RST) });
            carried(engine, Port::Provider, &Segment { sequence: wrong, ..target(&opened, RST | ACK) });
            assert_eq!(state(engine), State::Established, "{wrong:x}");
        }
        assert_eq!(flow(engine).forward.packets, 2 + 4, "they are counted");
        pass(engine, 51 * SECOND);
        reset(engine, Port::A, &client(ACK));
    }

    fn a_reset_with_what_the_target_waits_for(engine) {
        established(engine);
        carried(engine, Port::A, &client(RST));
        assert_eq!(state(engine), State::Closed);
    }

    fn a_reset_with_what_the_client_waits_for(engine) {
        let opened = established(engine);
        carried(engine, Port::Provider, &target(&opened, RST | ACK));
        assert_eq!(state(engine), State::Closed);
    }

    /// With data in flight the sender's next number is ahead of what has been acknowledged.
    fn a_reset_behind_data_in_flight(engine) {
        established(engine);
        carried(engine, Port::A, &client(ACK | PSH).with_payload(&[7; 1000]));
        carried(engine, Port::A, &Segment { sequence: NEXT + 1000, ..client(RST) });
        assert_eq!(state(engine), State::Closed);
    }

    /// conntrack_inexact_rst: once a side has closed, a RST within the window is enough.
    fn an_inexact_reset_while_closing(engine) {
        let opened = established(engine);
        carried(engine, Port::A, &client(FIN | ACK));
        carried(engine, Port::Provider, &Segment { sequence: NEXT + 70_000, ..target(&opened, RST) });
        assert_eq!(state(engine), State::FinWait);
        carried(engine, Port::Provider, &Segment { sequence: NEXT + 1460, ..target(&opened, RST) });
        assert_eq!(state(engine), State::Closed);
    }

    /// Who has reset a connection says nothing more: if it does, somebody else had spoken for it.
    fn a_reset_that_its_side_contradicts(engine) {
        established(engine);
        carried(engine, Port::A, &client(RST));
        carried(engine, Port::A, &client(ACK));
        assert_eq!(state(engine), State::Established);
    }

    fn a_fin_out_of_nowhere_closes_nothing(engine) {
        let opened = established(engine);
        carried(engine, Port::A, &Segment { sequence: NEXT ^ 0x4000_0000, ..client(FIN | ACK) });
        carried(engine, Port::Provider, &Segment { sequence: NEXT ^ 0x4000_0000, ..target(&opened, FIN | ACK) });
        assert_eq!(state(engine), State::Established);
    }

    fn as_many_flows_as_the_endpoint_may_have(engine) with(|text: String| limited(&text, "flows = 3\nhalf_open_flows = 3")) {
        assert_eq!(syns(engine, Port::A, 40_000..40_005), 3);
        assert_eq!(drops(engine, Port::A), [("EndpointFlowLimit", 2)]);
        assert_eq!(syns(engine, Port::B, 40_000..40_003), 3, "another endpoint's are another's");
        pass(engine, 31 * SECOND);
        sweep(engine);
        assert_eq!(syns(engine, Port::A, 41_000..41_003), 3);
    }

    fn as_many_half_open_flows_as_it_may_have(engine) with(|text: String| limited(&text, "half_open_flows = 3")) {
        assert_eq!(syns(engine, Port::A, 40_000..40_005), 3);
        assert_eq!(drops(engine, Port::A), [("EndpointHalfOpenLimit", 2)]);
        // An established flow is none of them.
        let confirmed = flows(engine).remove(0);
        let answer = from_target(&confirmed, SYN | ACK, &[]);
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Redirect);
        assert_eq!(engine.receive(Port::A, &client(ACK).bytes()).verdict, Verdict::Redirect);
        assert_eq!(syns(engine, Port::A, 41_000..41_005), 1);
    }

    fn as_many_new_flows_in_a_second_as_it_may_open(engine) with(|text: String| limited(&text, "new_flows_per_second = 4")) {
        let opened = syns(engine, Port::A, 40_000..40_050);
        // A second may begin in between.
        assert!((4..=8).contains(&opened), "{opened}");
        assert_eq!(drops(engine, Port::A), [("EndpointRateLimit", 50 - opened as u64)]);
    }

    /// Nobody sweeps, and every record has a flow that is over.
    fn without_a_daemon_a_full_table_empties_itself(engine) with(|text: String| text + &capacity(1024)) {
        assert_eq!(syns(engine, Port::A, 1000..2024), 1024);
        pass(engine, 31 * SECOND);
        let early = syns(engine, Port::B, 1000..1100);
        assert!(early < 16, "what it frees rests first: {early}");
        pass(engine, 2 * SECOND);
        let opened = syns(engine, Port::B, 2000..2100);
        assert!(opened > 90, "{opened}");
    }

    /// Nobody sweeps, and every lease towards the one target belongs to a flow that is over.
    fn without_a_daemon_leases_come_back(engine) with(one_target) {
        let first = open(engine);
        for port in FIRST_PORT..=LAST_PORT {
            let [forward, reverse] = first.keys();
            let reverse = FlowKey { destination_port: port.to_be(), ..reverse };
            if find(engine, &reverse).is_none() {
                let forward = FlowKey { vpc: 0, source_port: port, ..forward };
                let [forward, reverse] = [forward.words(), reverse.words()];
                assert!(occupy(engine, &NewFlow { forward, reverse, endpoint: 1, target: 0 }));
            }
        }
        assert_eq!(syns(engine, Port::A, 41_000..41_010), 0);
        assert_eq!(drops(engine, Port::A), [("LeaseExhausted", 10)]);
        pass(engine, 31 * SECOND);
        assert_eq!(syns(engine, Port::A, 42_000..42_010), 10);
    }
}
