//! What is counted for an endpoint and for a target, and stays counted when flows are gone.

use std::net::Ipv4Addr;

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::totals::{AddressCounts, Counts};
use privatelink_common::records::NextHop;
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::contents::CountedAddress;
use privatelink_userspace::datapath::Verdict;

use crate::connection::{NEXT, client, established, target};
use crate::frame::Segment;
use crate::scenarios;
use crate::world::{
    ENDPOINT, Engine, Port, carried, end, flow, from_client, pass, records, replaced, sweep,
};

/// Numbers of the example's endpoints.
const A: u32 = 0;
const B: u32 = 1;

fn of_endpoint(engine: &dyn Engine, number: u32) -> Counts {
    engine.table().usage(number).expect("an endpoint").totals.read()
}

fn of_target(engine: &dyn Engine, number: u32) -> Counts {
    engine.table().target_totals(number).expect("a target").read()
}

/// What the endpoint of vpc A and the target of a flow have counted, which must be the same; nobody else has anything.
#[track_caller]
fn counted(engine: &dyn Engine, flow: &Flow) -> Counts {
    let counts = of_endpoint(engine, A);
    assert_eq!(of_target(engine, flow.target), counts);
    assert_eq!(of_endpoint(engine, B), Counts::default());
    assert_eq!(of_target(engine, 1 - flow.target), Counts::default());
    counts
}

/// An address of endpoint A.
fn of_a(address: Ipv4Addr) -> CountedAddress {
    CountedAddress { address: address.into(), vpc: Port::A.vpc(), endpoint: A as u16 }
}

/// What is counted at an address of endpoint A; nobody else has anything.
#[track_caller]
fn at_address(engine: &dyn Engine, address: Ipv4Addr) -> AddressCounts {
    let mut all = engine.address_counts();
    let found = all.remove(&of_a(address)).expect("it is counted by");
    assert!(all.values().all(|counts| *counts == AddressCounts::default()), "{all:?}");
    found
}

/// Endpoint A has a second address.
fn two_zones(text: String) -> String {
    let (one, more) = (
        r#"{ zone = "us-east-1a", address = "10.0.1.10" }"#,
        r#"{ zone = "us-east-1b", address = "10.0.1.11" }"#,
    );
    replaced(text, &[(one, &format!("{one}, {more}"))])
}

scenarios! {
    fn a_flow_is_counted_at_the_address_it_came_by(engine) with(two_zones) {
        const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);
        assert_eq!(engine.address_counts().len(), 3, "two of endpoint A, one of B");
        let opened = established(engine);
        carried(engine, Port::A, &client(ACK | PSH).with_payload(b"question"));
        assert_eq!(at_address(engine, ENDPOINT), AddressCounts::default());
        engine.cut(&opened);
        let first = AddressCounts {
            flows: 1,
            packets_to_target: 3,
            bytes_to_target: 3 * 48 + 8,
            packets_to_client: 1,
            bytes_to_client: 48,
        };
        assert_eq!(at_address(engine, ENDPOINT), first);

        let mut syn = from_client(Port::A, 40_001, SYN);
        syn.destination.0 = SECOND;
        assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Redirect);
        let other = flow(engine);
        engine.cut(&other);
        let all = engine.address_counts();
        assert_eq!(all[&of_a(ENDPOINT)], first, "still");
        let second = AddressCounts {
            flows: 1,
            packets_to_target: 1,
            bytes_to_target: 48,
            ..AddressCounts::default()
        };
        assert_eq!(all[&of_a(SECOND)], second);
        // What the endpoint has is what its addresses have.
        let endpoint = of_endpoint(engine, A);
        let sum = |of: fn(&AddressCounts) -> u64| all.values().map(of).sum::<u64>();
        assert_eq!(endpoint.opened, sum(|counts| counts.flows));
        assert_eq!(endpoint.packets_to_target, sum(|counts| counts.packets_to_target));
        assert_eq!(endpoint.bytes_to_target, sum(|counts| counts.bytes_to_target));
        assert_eq!(endpoint.packets_to_client, sum(|counts| counts.packets_to_client));
        assert_eq!(endpoint.bytes_to_client, sum(|counts| counts.bytes_to_client));
    }

    fn what_a_flow_has_carried_is_counted_when_it_ends(engine) {
        let opened = established(engine);
        let only_opened = Counts { opened: 1, ..Counts::default() };
        assert_eq!(counted(engine, &opened), only_opened);
        carried(engine, Port::A, &client(ACK | PSH).with_payload(b"question"));
        carried(engine, Port::Provider, &target(&opened, ACK | PSH).with_payload(b"an answer"));
        assert_eq!(counted(engine, &opened), only_opened);

        // IP and TCP headers with the options that all these segments have.
        const HEADERS: u64 = 48;
        let carried = Counts {
            packets_to_target: 3,
            bytes_to_target: 3 * HEADERS + 8,
            packets_to_client: 2,
            bytes_to_client: 2 * HEADERS + 9,
            ..only_opened
        };
        let live = flow(engine);
        let mut with_living = counted(engine, &opened);
        records(engine).for_each(|record| with_living.add(&record));
        assert_eq!(with_living, carried);
        end(engine, &live);
        assert_eq!(counted(engine, &opened), carried);
        // The lease is held, and then free: that is no other flow's end.
        pass(engine, 61_000);
        sweep(engine);
        assert_eq!(counted(engine, &opened), carried);
    }

    fn a_flow_that_idles_out_is_counted_once(engine) {
        let opened = established(engine);
        pass(engine, 351_000);
        // Each would end it.
        for _ in 0..2 {
            engine.receive(Port::A, &client(ACK).bytes());
            engine.receive(Port::Provider, &target(&opened, ACK).bytes());
        }
        let counts = of_endpoint(engine, A);
        assert_eq!([counts.packets_to_target, counts.packets_to_client], [2, 1]);
        assert_eq!([counts.resets_sent, counts.dropped], [2, 0], "the client is told, twice");
    }

    fn resets_that_are_believed_are_counted_by_who_sent_them(engine) {
        let opened = established(engine);
        let forged = Segment { sequence: NEXT + 70_000, ..target(&opened, RST) };
        carried(engine, Port::Provider, &forged);
        assert_eq!(counted(engine, &opened).target_resets, 0);
        carried(engine, Port::Provider, &target(&opened, RST));
        let counts = counted(engine, &opened);
        assert_eq!([counts.client_resets, counts.target_resets], [0, 1]);

        pass(engine, 11_000);
        let again = established(engine);
        carried(engine, Port::A, &client(RST));
        let resets = |of: Counts| [of.opened, of.client_resets, of.target_resets];
        assert_eq!(resets(of_endpoint(engine, A)), [2, 1, 1]);
        let same = if again.target == opened.target { [2, 1, 1] } else { [1, 1, 0] };
        assert_eq!(resets(of_target(engine, again.target)), same);
    }

    fn what_an_endpoint_drops_is_counted_there(engine) {
        let shut_out = Segment { source: ([10, 9, 0, 1].into(), 40_000), ..from_client(Port::A, 40_000, SYN) };
        assert_eq!(engine.receive(Port::A, &shut_out.bytes()).verdict, Verdict::Drop);
        assert_eq!(of_endpoint(engine, A), Counts { dropped: 1, ..Counts::default() });
        // Nobody's: the endpoint has no such port.
        let mut elsewhere = from_client(Port::A, 40_000, SYN);
        elsewhere.destination.1 = 81;
        assert_eq!(engine.receive(Port::A, &elsewhere.bytes()).verdict, Verdict::Drop);
        let opened = established(engine);
        engine.receive(Port::A, &client(SYN | RST).bytes());
        assert_eq!(of_endpoint(engine, A).dropped, 2);
        engine.receive(Port::Provider, &target(&opened, SYN | FIN).bytes());
        assert_eq!(of_endpoint(engine, A).dropped, 3, "on the way back too");
        engine.set_next_hop(opened.target, NextHop::UNKNOWN);
        engine.receive(Port::A, &client(ACK).bytes());
        assert_eq!(of_endpoint(engine, A).dropped, 4);
        assert_eq!(of_endpoint(engine, B), Counts::default());
        assert_eq!(of_target(engine, opened.target).dropped, 0);
    }
}
