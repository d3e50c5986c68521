//! Handshake times and retransmissions of flows, against what the client sees and its kernel counts. Needs root.

use std::time::Instant;

use privatelink_tests::{
    Daemon, ENDPOINT, Flow, Lab, Namespace, Topology, connect, echo_targets, example, exchange,
    greeting, kernel_counters,
};

fn lab() -> Lab {
    Lab::new(&Topology::overlap().without_targets()).unwrap()
}

/// Drops each seventh packet that comes to the targets.
fn lose(targets: &Namespace) {
    let rules = "add table ip loss; \
                 add chain ip loss in { type filter hook input priority 0; }; \
                 add rule ip loss in tcp dport { 8080, 8081 } numgen inc mod 7 == 3 drop";
    targets.run(&["nft", rules]).unwrap();
}

fn only(daemon: &Daemon) -> Flow {
    let mut flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), 1, "{flows:?}");
    flows.remove(0)
}

#[test]
fn both_sides_of_a_handshake_are_timed() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let consumer = lab.network("consumer-a").unwrap();
    let began = Instant::now();
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    greeting(&mut live).unwrap();
    let most = began.elapsed().as_micros();
    let flow = only(&daemon);
    let sides = [flow.consumer_rtt_us, flow.provider_rtt_us].map(Option::unwrap);
    assert!(sides.iter().all(|&side| side > 0), "{sides:?}");
    assert!(u128::from(sides[0] + sides[1]) <= most, "{sides:?}, the client took {most}");
}

#[test]
fn what_the_client_sends_again() {
    const EXCHANGES: u8 = 40;
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let [consumer, provider] = ["consumer-a", "provider"].map(|name| lab.network(name).unwrap());
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    greeting(&mut live).unwrap();
    let sent_again = || kernel_counters(consumer, "snmp", "Tcp").unwrap()["RetransSegs"];
    let before = sent_again();
    assert_eq!(only(&daemon).retransmissions_to_target, 0);
    // Lost behind the gateway: it sees all that the client sends.
    lose(provider);
    for turn in 0..EXCHANGES {
        let words = [turn; 700];
        assert_eq!(exchange(&mut live, &words).unwrap(), words);
    }
    let again = u64::from(only(&daemon).retransmissions_to_target);
    assert_eq!(again, sent_again() - before, "as the client's kernel says");
    assert!(again > 0, "of {EXCHANGES} exchanges none lost anything");
}
