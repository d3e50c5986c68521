//! The networks around the gateway change under live traffic. Needs root.

use std::net::SocketAddrV4;
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Namespace, Topology, add_address, connect, echo_targets, example,
    exchange, greeting, prepare_for_xdp, round_trip, veth, wait_until,
};

/// The kernel takes a few probes of a neighbour, a second apart, to give it up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab whose gateway doubts its neighbours after a second instead of half a minute.
fn lab() -> Lab {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    doubt_neighbours(&lab);
    lab
}

fn doubt_neighbours(lab: &Lab) {
    for (key, value) in [
        ("base_reachable_time_ms", "1000"),
        ("delay_first_probe_time", "1"),
        ("interval_probe_time_ms", "1000"),
    ] {
        lab.gateway().sysctl(&format!("ipv4/neigh/pl-provider/{key}"), value).unwrap();
    }
}

fn new_mac(namespace: &Namespace, mac: &str) {
    namespace.run(&["ip", "link", "set", "eth0", "address", mac]).unwrap();
}

/// Each listed target's next hop.
fn next_hops(daemon: &Daemon) -> Vec<String> {
    let rows = daemon.cli(&["targets", "-o", "json"]).unwrap();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["next_hop"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_target_with_a_new_mac_address_is_found_again() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let consumer = lab.network("consumer-a").unwrap();
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    greeting(&mut live).unwrap();

    let mac = "02:00:00:00:00:aa";
    new_mac(lab.network("provider").unwrap(), mac);
    wait_until(PATIENCE, "the new address is known", || next_hops(&daemon) == [mac, mac]).unwrap();
    assert_eq!(exchange(&mut live, b"as before").unwrap(), b"as before");
    round_trip(consumer, ENDPOINT).unwrap();
}

#[test]
fn a_target_with_a_new_mac_address_is_found_by_the_first_check_that_it_does_not_answer() {
    // The kernel itself would doubt its neighbour half a minute later, and the check make it unhealthy before.
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let mac = "02:00:00:00:00:aa";
    new_mac(lab.network("provider").unwrap(), mac);
    wait_until(PATIENCE, "the new address is known", || next_hops(&daemon) == [mac, mac]).unwrap();
    assert!(!daemon.log().contains("unhealthy"), "{}", daemon.log());
}

#[test]
fn a_client_with_a_new_mac_address_keeps_its_connection() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let consumer = lab.network("consumer-a").unwrap();
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    let before = greeting(&mut live).unwrap();

    new_mac(consumer, "02:00:00:00:00:bb");
    assert_eq!(exchange(&mut live, b"as before").unwrap(), b"as before");
    let flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!(flows[0].nat, before.peer);
}

#[test]
fn an_interface_that_comes_back_is_attached_again() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let (consumer, provider) =
        (lab.network("consumer-a").unwrap(), lab.network("provider").unwrap());
    round_trip(consumer, ENDPOINT).unwrap();

    lab.gateway().run(&["ip", "link", "del", "pl-provider"]).unwrap();
    daemon.wait_log("interface pl-provider is gone", PATIENCE).unwrap();
    assert_eq!(lab.programs().unwrap().len(), 2);
    let service = || daemon.cli(&["services", "-o", "json"]).unwrap()[0].clone();
    assert_eq!(service()["state"], "Pending");
    veth(lab.gateway(), "pl-provider", provider, "eth0").unwrap();
    prepare_for_xdp(lab.gateway(), "pl-provider", false).unwrap();
    prepare_for_xdp(provider, "eth0", true).unwrap();
    doubt_neighbours(&lab);
    for address in ["10.0.1.10/16", "10.0.1.11/16"] {
        add_address(provider, "eth0", address).unwrap();
    }
    add_address(lab.gateway(), "pl-provider", "10.0.0.1/16").unwrap();

    let is_mac = |hop: &String| hop.matches(':').count() == 5;
    wait_until(PATIENCE, "the targets are found again", || next_hops(&daemon).iter().all(is_mac))
        .unwrap();
    let programs = lab.programs().unwrap();
    assert_eq!(programs.len(), 3, "{programs:?}");
    round_trip(consumer, ENDPOINT).unwrap();
    assert_eq!(service()["state"], "Available");
    let status = daemon.cli(&["status", "-o", "json"]).unwrap();
    assert_eq!(status[0]["interfaces"].as_array().unwrap().len(), 3);
    daemon.stop().unwrap();
    assert!(lab.programs().unwrap().is_empty());
}

/// Which targets answer a number of connections.
fn answering(consumer: &Namespace, connections: usize) -> Vec<String> {
    let mut names: Vec<_> =
        (0..connections).map(|_| round_trip(consumer, ENDPOINT).unwrap().name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn a_target_host_that_is_down_is_left_out_until_it_is_back() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let (consumer, provider) =
        (lab.network("consumer-a").unwrap(), lab.network("provider").unwrap());
    let live: Vec<SocketAddrV4> =
        ["10.0.1.10:8080", "10.0.1.11:8081"].map(|target| target.parse().unwrap()).into();
    let names: Vec<_> = live.iter().map(ToString::to_string).collect();
    assert_eq!(answering(consumer, 64), names);

    // Without the address nobody answers ARP for it, as if its host were off.
    provider.run(&["ip", "address", "del", "10.0.1.11/16", "dev", "eth0"]).unwrap();
    let is_mac = |hop: &String| hop.matches(':').count() == 5;
    wait_until(PATIENCE, "the second target is given up", || !is_mac(&next_hops(&daemon)[1]))
        .unwrap();
    assert_eq!(answering(consumer, 64), names[..1]);

    add_address(provider, "eth0", "10.0.1.11/16").unwrap();
    wait_until(PATIENCE, "the second target is back", || is_mac(&next_hops(&daemon)[1])).unwrap();
    assert_eq!(answering(consumer, 64), names);
}
