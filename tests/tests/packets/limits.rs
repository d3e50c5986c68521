//! What runs out, and what is missing: targets, next hops, leases, room, interfaces.

use std::collections::{HashMap, HashSet};

use privatelink_common::drop_reason::DropReason;
use privatelink_common::lease::PORTS;
use privatelink_common::records::NextHop;
use privatelink_common::tcp::{ACK, SYN};
use privatelink_userspace::contents::{target_numbers, target_record};
use privatelink_userspace::datapath::Verdict;

use crate::scenarios;
use crate::world::{Engine, Host, Port, drops, flow, flows, from_client, from_target};

fn lose_next_hops(engine: &mut dyn Engine) {
    let model = engine.model().clone();
    for (number, group, target) in target_numbers(&model) {
        let vpc = model.target_groups[group].vpc;
        engine.set_target(number, target_record(vpc, target, NextHop::UNKNOWN));
    }
}

fn send_syns(engine: &mut dyn Engine, ports: impl Iterator<Item = u16>) -> usize {
    let verdicts =
        ports.map(|port| engine.receive(Port::A, &from_client(Port::A, port, SYN).bytes()).verdict);
    verdicts.filter(|&verdict| verdict == Verdict::Redirect).count()
}

scenarios! {
    fn no_next_hop(engine) {
        lose_next_hops(engine);
        assert_eq!(send_syns(engine, 40_000..40_003), 0);
        assert_eq!(drops(engine, Port::A), [("NextHopUnresolved", 3)]);
        assert_eq!(flows(engine).len(), 0);
    }

    fn a_next_hop_lost_in_mid_flow(engine) {
        assert_eq!(send_syns(engine, 40_000..40_001), 1);
        lose_next_hops(engine);
        let outcome = engine.receive(Port::A, &from_client(Port::A, 40_000, ACK).bytes());
        assert_eq!(outcome.verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("NextHopUnresolved", 1)]);
        assert_eq!(flow(engine).forward.packets.get(), 1, "what was dropped is not counted");
    }

    fn no_target_with_weight(engine) with(|text: String| {
        text.replace("{ address = \"10.0.1.10\" }", "{ address = \"10.0.1.10\", weight = 0 }").replace("weight = 2", "weight = 0")
    }) {
        assert_eq!(send_syns(engine, 40_000..40_002), 0);
        assert_eq!(drops(engine, Port::A), [("NoTarget", 2)]);
    }

    fn weights_and_usability_decide(engine) {
        const FLOWS: u16 = 3000;
        assert_eq!(send_syns(engine, 20_000..20_000 + FLOWS), usize::from(FLOWS));
        let heavy = flows(engine).iter().filter(|flow| flow.target().1 == 8081).count() as f64;
        // Binomial(3000, 2/3): six standard deviations are 155.
        assert!((heavy - 2000.0).abs() < 155.0, "{heavy}");
        engine.set_maglev(0, &|target| target == 0);
        assert_eq!(send_syns(engine, 30_000..30_100), 100);
        let late = flows(engine).into_iter().filter(|flow| u16::from_be(flow.key.source_port) >= 30_000);
        assert!(late.into_iter().all(|flow| flow.target().1 == 8080));
    }

    fn too_big_for_the_next_link(engine) {
        assert_eq!(send_syns(engine, 40_000..40_001), 1);
        let opened = flow(engine);
        engine.set_mtu(Port::Provider, 1400);
        engine.set_mtu(Port::A, 1300);
        // 20 bytes of IPv4, 28 of TCP with its options.
        for (port, mtu) in [(Port::A, 1400), (Port::Provider, 1300)] {
            for (length, verdict) in [(mtu - 48, Verdict::Redirect), (mtu - 47, Verdict::Drop)] {
                let payload = vec![1; length];
                let segment = match port {
                    Port::A => from_client(port, 40_000, ACK).with_payload(&payload),
                    _ => from_target(&opened, ACK, &payload),
                };
                assert_eq!(engine.receive(port, &segment.bytes()).verdict, verdict, "{port:?} {length}");
            }
            assert_eq!(drops(engine, port), [("TooBig", 1)]);
        }
    }

    fn the_interface_to_leave_by_is_gone(engine) {
        assert_eq!(send_syns(engine, 40_000..40_001), 1);
        let opened = flow(engine);
        engine.detach(Port::A);
        let answer = from_target(&opened, SYN | ACK, &[]);
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::Provider), [("InterfaceGone", 1)]);
    }

    fn several_addresses_share_the_leases(engine) with(|text: String| {
        text.replace("{ zone = \"us-east-1a\", address = \"10.0.0.10/16\" }",
                     "{ zone = \"us-east-1a\", address = \"10.0.0.10/16\" }, { zone = \"us-east-1a\", address = \"10.0.0.11/16\" }")
    }) {
        assert_eq!(send_syns(engine, 40_000..40_200), 200);
        let addresses: HashSet<_> = flows(engine).iter().map(|flow| flow.nat().0).collect();
        assert_eq!(addresses.len(), 1, "an endpoint keeps to one address while there are ports");
    }

    /// All leases towards one target. Towards the end 128 random tries may miss the last free ports.
    fn leases_run_out_and_never_double(engine) with(|text: String| text.replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")) {
        let clients = [Port::A, Port::B].into_iter().flat_map(|port| (1..=u16::MAX).map(move |source| (port, source)));
        let offered = PORTS + 2_000;
        let mut granted = 0;
        for (port, source_port) in clients.take(offered as usize) {
            let outcome = engine.receive(port, &from_client(port, source_port, SYN).bytes());
            granted += u32::from(outcome.verdict == Verdict::Redirect);
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
}

/// On the host only: the kernel's table takes a million entries to fill.
#[test]
fn a_full_table_refuses_new_flows_and_keeps_old_ones() {
    let mut host = Host::new(&|text| text);
    // Nine entries: four flows, and one half that finds no room for its other half.
    host.set_capacity(9);
    assert_eq!(send_syns(&mut host, 40_000..40_010), 4);
    assert_eq!(drops(&host, Port::A), [("FlowTableFull", 6)]);
    let live = flows(&host);
    assert_eq!(live.len(), 4, "no half is left behind");
    let answer = from_target(&live[0], SYN | ACK, &[]);
    assert_eq!(host.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Redirect);
}
