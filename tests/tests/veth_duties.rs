//! The two settings that a veth with XDP needs: without them nothing gets through, and the daemon names the cure. Needs root.

use std::time::Duration;

use privatelink_tests::{Daemon, ENDPOINT, Lab, Topology, echo_targets, http_get, round_trip};

/// The daemon looks at its counters every second.
const SOON: Duration = Duration::from_secs(10);
const PLACEHOLDER: &str = "<name of its interface>";

/// The command that the daemon's log gives against drops of this kind on an interface, made out for the far end.
fn cure(daemon: &Daemon, interface: &str, reason: &str) -> Vec<String> {
    let about = format!("interface {interface}: ");
    daemon.wait_log(&about, SOON).unwrap();
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(&about) && line.contains(reason));
    let line = line.unwrap_or_else(|| panic!("no line about {interface} and {reason} in\n{log}"));
    let (_, command) = line.rsplit_once("cure: ").unwrap();
    let (place, command) = command.split_once(": ").unwrap();
    assert!(place.starts_with("inside the network namespace of the peer"), "{line}");
    assert!(command.starts_with("ethtool -K ") && command.contains(PLACEHOLDER), "{line}");
    command.replace(PLACEHOLDER, "eth0").split(' ').map(str::to_owned).collect()
}

/// Runs the cure where it says: inside the namespace of the peer.
fn apply(lab: &Lab, network: &str, cure: &[String], expected: &[&str]) {
    assert_eq!(cure, expected);
    let words: Vec<_> = cure.iter().map(String::as_str).collect();
    lab.network(network).unwrap().run(&words).unwrap();
}

#[test]
fn unfinished_checksums_are_named_and_cured() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let consumer = lab.network("consumer-a").unwrap();
    consumer.run(&["ethtool", "-K", "eth0", "tx", "on"]).unwrap();
    let config = lab.example_attached("overlap.toml", "xdp").unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let refused = http_get(consumer, "http://10.0.1.10/").unwrap_err();
    assert!(format!("{refused:#}").contains("exit status: 28"), "a timeout: {refused:#}");
    let dropped = daemon.drops("pl-consumer-a", "ChecksumUnfinished").unwrap();
    assert!(dropped >= 1, "of each SYN: {dropped}");
    assert!(daemon.flows(&[]).unwrap().is_empty());
    http_get(lab.network("consumer-b").unwrap(), "http://10.0.1.10/").unwrap();

    let cure = cure(&daemon, "pl-consumer-a", "ChecksumUnfinished");
    apply(&lab, "consumer-a", &cure, &["ethtool", "-K", "eth0", "tx", "off"]);
    http_get(consumer, "http://10.0.1.10/").unwrap();
}

#[test]
fn frames_that_vanish_in_a_veth_are_named_and_cured() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let targets = echo_targets(&lab).unwrap();
    let consumer = lab.network("consumer-a").unwrap();
    // The client knows the gateway's MAC address, so that its SYN is what gets no answer.
    lab.send_by_gateway("consumer-a", *ENDPOINT.ip()).unwrap();
    consumer.run(&["ethtool", "-K", "eth0", "gro", "off"]).unwrap();
    let config = lab.example_attached("overlap.toml", "xdp").unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let from = "10.0.2.20:0".parse().unwrap();
    let answers = privatelink_tests::probe(consumer, from, &[ENDPOINT]);
    assert_eq!(answers, [privatelink_tests::Answer::Silence]);
    daemon.wait_drops("pl-consumer-a", "NoReceiver", 1, SOON).unwrap();
    let flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), 1, "the target has answered: {flows:?}");
    assert_eq!(targets.iter().map(|target| target.clients().len()).sum::<usize>(), 0);

    let cure = cure(&daemon, "pl-consumer-a", "NoReceiver");
    apply(&lab, "consumer-a", &cure, &["ethtool", "-K", "eth0", "gro", "on"]);
    round_trip(consumer, ENDPOINT).unwrap();
}
