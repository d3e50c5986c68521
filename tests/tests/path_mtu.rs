//! A way narrower than the ends know, with the MSS left alone: ICMP tells them, and nothing is lost. Needs root.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use privatelink_tests::{
    Daemon, DualStack, ENDPOINT, FOUR_ONLY, Family, Lab, Namespace, Server, Topology, connect,
    example, kernel_counters, move_behind_router,
};
use sha2::{Digest, Sha256};

const BYTES: usize = 8 << 20;
/// MTU of the narrow network; its hosts claim to take the segments of a wide one.
const NARROW: &str = "1400";
const CLAIMED_MSS: &str = "1460";
/// The least MTU of IPv6 (RFC 8200, section 5).
const LEAST: u32 = 1280;

fn payload() -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    bytes.fill_with(rand::random);
    bytes
}

/// Takes all there is and answers with its digest, then sends as much and its digest.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut taken = Vec::new();
    (&mut stream).take(BYTES as u64).read_to_end(&mut taken)?;
    stream.write_all(&Sha256::digest(&taken))?;
    let given = payload();
    stream.write_all(&given)?;
    stream.write_all(&Sha256::digest(&given))
}

/// Sends and fetches the payload.
fn both_ways(client: &Namespace, endpoint: SocketAddr) {
    let mut stream = connect(client, None, endpoint).unwrap();
    let sent = payload();
    stream.write_all(&sent).unwrap();
    let mut digest = [0; 32];
    stream.read_exact(&mut digest).unwrap();
    assert_eq!(digest, Sha256::digest(&sent).as_slice(), "what the target got");
    let mut got = vec![0; BYTES];
    stream.read_exact(&mut got).unwrap();
    stream.read_exact(&mut digest).unwrap();
    assert_eq!(digest, Sha256::digest(&got).as_slice(), "what the client got");
    stream.shutdown(Shutdown::Both).unwrap();
}

/// Sends and fetches over a lab whose `narrow` network has a smaller MTU than it claims.
fn over_a_narrow_interface(narrow: &str) {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let interface = format!("pl-{narrow}");
    lab.gateway().run(&["ip", "link", "set", &interface, "mtu", NARROW]).unwrap();
    let network = lab.network(narrow).unwrap();
    network.run(&["ip", "link", "set", "eth0", "mtu", NARROW]).unwrap();
    let route = network.run(&["ip", "route", "show", "10.0.0.0/16"]).unwrap();
    let mut command = vec!["ip", "route", "replace"];
    command.extend(route.split_whitespace());
    command.extend(["advmss", CLAIMED_MSS]);
    network.run(&command).unwrap();

    let provider = lab.network("provider").unwrap();
    let _target =
        Server::start(provider, "10.0.1.10:8080".parse().unwrap(), |stream, _| serve(stream));
    let config = lab.folder().join("unclamped.toml");
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let text = text
        .replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")
        .replace("acceptance_required = false", "acceptance_required = false\nmss_clamp = \"off\"");
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    both_ways(lab.network("consumer-a").unwrap(), ENDPOINT.into());

    // Somebody had to be told, by the interface the large segments came in by.
    let from = if narrow == "provider" { "pl-consumer-a" } else { "pl-provider" };
    let told = daemon.drops(from, "TooBig").unwrap();
    assert!((1..1000).contains(&told), "{told} segments were too big");
}

#[test]
fn a_client_learns_of_a_narrow_provider() {
    over_a_narrow_interface("provider");
}

#[test]
fn a_target_learns_of_a_narrow_consumer() {
    over_a_narrow_interface("consumer-a");
}

/// How often a router has said that a packet is too big for its next link.
fn refused(router: &Namespace, family: Family) -> u64 {
    match family {
        Family::Four => kernel_counters(router, "snmp", "Icmp").unwrap()["OutDestUnreachs"],
        Family::Six => {
            let read = || fs::read_to_string("/proc/thread-self/net/snmp6");
            let text = router.enter(read).unwrap().unwrap();
            let line = text.lines().find(|line| line.starts_with("Icmp6OutPktTooBigs")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        }
    }
}

/// Sends and fetches with a router in `narrow`, the network of client or target, whose next link is the narrowest of IPv6.
fn over_a_narrow_link(client: Family, target: Family, narrow: &str, changes: &[(&str, &str)]) {
    let lab = DualStack::lab().unwrap();
    let (own, host): (_, fn(Family) -> IpAddr) = match narrow {
        "provider" => (["10.0.1.1/16", "fd00:a::1:1/64"], |family| family.target().ip()),
        _ => (["10.0.2.1/16", "fd00:b::2:1/64"], Family::client),
    };
    let router = lab.network(narrow).unwrap();
    let host =
        move_behind_router(router, own, [host(Family::Four), host(Family::Six)], LEAST).unwrap();
    let targets = if narrow == "provider" { &host } else { lab.network("provider").unwrap() };
    let _target = Server::start(targets, target.target(), |stream, _| serve(stream)).unwrap();
    let health = DualStack::health(targets).unwrap();
    let site = DualStack::start(lab, health, changes).unwrap();

    let clients = if narrow == "provider" { site.consumer() } else { &host };
    both_ways(clients, client.endpoint(target));

    let family = if narrow == "provider" { target } else { client };
    let refused = refused(site.lab.network(narrow).unwrap(), family);
    assert!((1..1000).contains(&refused), "the router refused {refused} packets");
}

#[test]
fn a_client_learns_of_a_narrow_link_from_four_to_four_of_the_narrow_table() {
    over_a_narrow_link(Family::Four, Family::Four, "provider", &[FOUR_ONLY]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_four_to_four_of_the_narrow_table() {
    over_a_narrow_link(Family::Four, Family::Four, "consumer-a", &[FOUR_ONLY]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_four_to_four() {
    over_a_narrow_link(Family::Four, Family::Four, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_four_to_four() {
    over_a_narrow_link(Family::Four, Family::Four, "consumer-a", &[]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_six_to_six() {
    over_a_narrow_link(Family::Six, Family::Six, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_six_to_six() {
    over_a_narrow_link(Family::Six, Family::Six, "consumer-a", &[]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_four_to_six() {
    over_a_narrow_link(Family::Four, Family::Six, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_four_to_six() {
    over_a_narrow_link(Family::Four, Family::Six, "consumer-a", &[]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_six_to_four() {
    over_a_narrow_link(Family::Six, Family::Four, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_six_to_four() {
    over_a_narrow_link(Family::Six, Family::Four, "consumer-a", &[]);
}
