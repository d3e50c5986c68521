//! What runs out, and what is missing: targets, next hops, leases, room, interfaces.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::NewFlow;
use privatelink_common::lease::{FIRST_PORT, LAST_PORT, PORTS};
use privatelink_common::records::{FlowKey, NextHop};
use privatelink_common::tcp::{ACK, SYN};
use privatelink_userspace::contents::network_order;
use privatelink_userspace::datapath::Verdict;

use crate::connection::{open, syns};
use crate::scenarios;
use crate::unreachable::unreachable;
use crate::world::{
    ENDPOINT, Engine, FlowExt as _, Port, capacity, drops, end, expect, find, flow, flows,
    from_client, from_target, occupy, replaced,
};

fn without_weight(text: String) -> String {
    let none = ("{ address = \"10.0.1.10\" }", "{ address = \"10.0.1.10\", weight = 0 }");
    replaced(text, &[none, ("weight = 2", "weight = 0")])
}

/// The load balancer has another address.
fn two_addresses(text: String) -> String {
    let (one, other) = (
        r#"{ zone = "us-east-1a", address = "10.0.0.10/16" }"#,
        r#"{ zone = "us-east-1a", address = "10.0.0.11/16" }"#,
    );
    replaced(text, &[(one, &format!("{one}, {other}"))])
}

/// There is one target, and room for all leases of two addresses towards it.
pub(crate) fn one_target(text: String) -> String {
    let other = "  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n";
    replaced(text, &[(other, "")]) + &capacity(131_072)
}

fn lose_next_hops(engine: &mut dyn Engine) {
    for number in 0..2 {
        engine.set_next_hop(number, NextHop::UNKNOWN);
    }
}

/// Sends a SYN for which there is no room: its sender is told so (RFC 5508, REQ-8).
#[track_caller]
fn is_refused(engine: &mut dyn Engine, source_port: u16) {
    let syn = from_client(Port::A, source_port, SYN);
    expect(engine, Port::A, &syn, &unreachable(&syn, ENDPOINT, 13, 0));
}

scenarios! {
    fn no_next_hop(engine) {
        lose_next_hops(engine);
        assert_eq!(syns(engine, Port::A, 40_000..40_003), 0);
        assert_eq!(drops(engine, Port::A), [("NextHopUnresolved", 3)]);
        assert_eq!(flows(engine).len(), 0);
    }

    fn a_next_hop_lost_in_mid_flow(engine) {
        open(engine);
        lose_next_hops(engine);
        let outcome = engine.receive(Port::A, &from_client(Port::A, 40_000, ACK).bytes());
        assert_eq!(outcome.verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("NextHopUnresolved", 1)]);
        assert_eq!(flow(engine).forward.packets, 1, "what was dropped is not counted");
    }

    fn no_target_with_weight(engine) with(without_weight) {
        assert_eq!(syns(engine, Port::A, 40_000..40_002), 0);
        assert_eq!(drops(engine, Port::A), [("NoTarget", 2)]);
    }

    fn weights_and_usability_decide(engine) {
        const FLOWS: u16 = 3000;
        assert_eq!(syns(engine, Port::A, 20_000..20_000 + FLOWS), usize::from(FLOWS));
        let heavy = flows(engine).iter().filter(|flow| flow.target().1 == 8081).count() as f64;
        // Binomial(3000, 2/3): six standard deviations are 155.
        assert!((heavy - 2000.0).abs() < 155.0, "{heavy}");
        engine.set_usable(&|target| target == 0);
        assert_eq!(syns(engine, Port::A, 30_000..30_100), 100);
        let late = flows(engine).into_iter().filter(|flow| flow.forward.key.source_port >= 30_000);
        assert!(late.into_iter().all(|flow| flow.target().1 == 8080));
    }

    fn too_big_for_the_next_link(engine) {
        let opened = open(engine);
        engine.set_mtu(Port::Provider, 1400);
        engine.set_mtu(Port::A, 1300);
        // 20 bytes of IPv4, 28 of TCP with its options.
        for (port, mtu) in [(Port::A, 1400), (Port::Provider, 1300)] {
            for length in [mtu - 48, mtu - 47] {
                let payload = vec![1; length];
                let segment = match port {
                    Port::A => from_client(port, 40_000, ACK).with_payload(&payload),
                    _ => from_target(&opened, ACK, &payload),
                };
                let sent_on = engine.receive(port, &segment.bytes()).frame.len() == 14 + 48 + length;
                assert_eq!(sent_on, length == mtu - 48, "{port:?} {length}");
            }
            assert_eq!(drops(engine, port), [("TooBig", 1)]);
        }
    }

    fn the_interface_to_leave_by_is_gone(engine) {
        let opened = open(engine);
        engine.detach(Port::A);
        let answer = from_target(&opened, SYN | ACK, &[]);
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::Provider), [("InterfaceGone", 1)]);
    }

    fn several_addresses_share_the_leases(engine) with(two_addresses) {
        assert_eq!(syns(engine, Port::A, 40_000..40_200), 200);
        let addresses: HashSet<_> = flows(engine).iter().map(|flow| flow.nat().0).collect();
        assert_eq!(addresses.len(), 1, "an endpoint keeps to one address while there are ports");
    }

    fn the_hosts_own_ports_are_never_leased(engine) {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        engine.reserve(&(0..1024).map(|at| (at, EVEN)).collect::<Vec<_>>());
        assert_eq!(syns(engine, Port::A, 40_000..40_200), 200);
        assert!(flows(engine).iter().all(|flow| flow.nat().1 % 2 == 1));
        engine.reserve(&(0..1024).map(|at| (at, u64::MAX)).collect::<Vec<_>>());
        assert_eq!(syns(engine, Port::A, 41_000..41_003), 0);
        assert_eq!(drops(engine, Port::A), [("LeaseExhausted", 3)]);
        let of_endpoint = engine.table().usage(0).expect("an endpoint").totals.read();
        assert_eq!([of_endpoint.lease_exhausted, of_endpoint.dropped], [3, 3]);
        let of_targets = (0..2).map(|number| engine.table().target_totals(number).expect("a target"));
        assert_eq!(of_targets.map(|totals| totals.lease_exhausted.get()).sum::<u64>(), 3);
    }

    /// All leases towards one target. Towards the end 128 random tries may miss the last free ports.
    fn leases_run_out_and_never_double(engine) with(one_target) {
        let clients = [Port::A, Port::B].into_iter().flat_map(|port| (1..=u16::MAX).map(move |source| (port, source)));
        let offered = PORTS + 2_000;
        let mut granted = 0;
        for (port, source_port) in clients.take(offered as usize) {
            granted += syns(engine, port, [source_port]) as u32;
        }
        assert!(granted <= PORTS && granted > PORTS - PORTS / 100, "{granted} of {PORTS}");
        let refused: HashMap<DropReason, u64> = engine.drops(Port::A);
        assert_eq!(refused, HashMap::from([(DropReason::LeaseExhausted, u64::from(offered - granted))]));
        let leases: HashSet<_> = flows(engine).iter().map(|flow| (flow.nat(), flow.target())).collect();
        assert_eq!(leases.len() as u32, granted, "every lease is one flow's");
        // Old flows go on.
        let last = flows(engine).remove(0);
        let answer = from_target(&last, SYN | ACK, &[]);
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Redirect);
    }

    /// With all but a few leases taken, the outcome no longer hangs on chance.
    fn a_full_address_spills_over_and_two_full_ones_refuse(engine) with(|text| one_target(two_addresses(text))) {
        let first = open(engine);
        let preferred = first.nat().0;
        lease_all(engine, &first, preferred);
        assert_eq!(syns(engine, Port::A, 40_001..40_051), 50);
        let spilt = |port: u16| {
            let key = FlowKey { source_port: port.to_be(), ..first.keys()[0] };
            find(engine, &key).expect("its flow").nat().0
        };
        let others: HashSet<_> = (40_001..40_051).map(spilt).collect();
        assert!(others.len() == 1 && !others.contains(&preferred), "{others:?}");

        let other = others.into_iter().next().expect("one");
        lease_all(engine, &first, other);
        is_refused(engine, 41_000);
        assert_eq!(syns(engine, Port::A, 41_001..41_010), 0);
        assert_eq!(drops(engine, Port::A), [("LeaseExhausted", 10)]);
        // It heals by itself: with every second port free again, 64 tries do not all miss.
        for port in (FIRST_PORT..=LAST_PORT).step_by(2) {
            let flow = find(engine, &reverse_key(&first, other, port)).expect("it is leased");
            end(engine, &flow);
        }
        assert_eq!(syns(engine, Port::A, 42_000..42_010), 10);
    }

    fn a_full_table_refuses_new_flows_and_keeps_old_ones(engine) with(|text: String| text + &capacity(1024)) {
        let live = open(engine);
        for number in 1..1024 {
            assert!(occupy(engine, &filler(number)), "{number}");
        }
        is_refused(engine, 41_000);
        assert_eq!(syns(engine, Port::A, 41_001..41_010), 0);
        assert_eq!(drops(engine, Port::A), [("FlowTableFull", 10)]);
        assert!(!occupy(engine, &filler(1024)), "there is no room");

        // The old flow goes on, and one that ends makes room for one.
        let answer = from_target(&live, SYN | ACK, &[]);
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Redirect);
        let ended = flows(engine).remove(0);
        end(engine, &ended);
        assert_eq!(syns(engine, Port::A, 42_000..42_002), 1);
    }
}

/// A flow that no packet belongs to: there is no vpc 0.
fn filler(number: u32) -> NewFlow {
    let key = nobodys(number);
    let reverse = FlowKey { destination_port: 7, ..key }.words();
    NewFlow { forward: key.words(), reverse, endpoint: 1, target: 0 }
}

const fn nobodys(source: u32) -> FlowKey {
    FlowKey { source, destination: 0, source_port: 0, destination_port: 0, vpc: 0, protocol: 6 }
}

/// The key of the reverse direction of a flow that leases this port towards the target of `flow`.
fn reverse_key(flow: &Flow, address: Ipv4Addr, port: u16) -> FlowKey {
    let destination = network_order(address);
    FlowKey { destination, destination_port: port.to_be(), ..flow.keys()[1] }
}

/// Takes every lease of an address towards the target of `flow` that is still free.
fn lease_all(engine: &mut dyn Engine, flow: &Flow, address: Ipv4Addr) {
    for port in FIRST_PORT..=LAST_PORT {
        let reverse = reverse_key(flow, address, port);
        if find(engine, &reverse).is_none() {
            let forward = FlowKey { source_port: port, ..nobodys(network_order(address)) };
            let [forward, reverse] = [forward.words(), reverse.words()];
            assert!(occupy(engine, &NewFlow { forward, reverse, endpoint: 0, target: 0 }));
        }
    }
}
