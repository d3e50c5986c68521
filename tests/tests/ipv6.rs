//! Real clients and servers with IPv6 on either side of the gateway. Needs root.

#[path = "ipv6/blocks.rs"]
mod blocks;

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use privatelink_tests::{
    DualStack, FOUR_ONLY, Family, Flow, MIXES, Namespace, http_get, http_target,
};

use crate::blocks::{COUNT, Target};

/// Bytes of the file that is fetched from each family to each.
const LONG: u64 = 256 << 20;
/// Closed ones stay to be seen.
const CLOSED_FLOWS_STAY: (&str, &str) = (
    "acceptance_required = false",
    "acceptance_required = false\ntimeouts = { closing = \"300s\" }",
);

/// From which address of the load balancer a target was reached.
fn reached_from(answer: &str) -> IpAddr {
    let (_, from) = answer.trim().rsplit_once("served ").unwrap();
    let (address, _) = from.rsplit_once(':').unwrap();
    address.trim_matches(['[', ']']).parse().unwrap()
}

/// Fills a file.
fn random(path: &Path) {
    let mut random = io::Read::take(File::open("/dev/urandom").unwrap(), LONG);
    io::copy(&mut random, &mut File::create(path).unwrap()).unwrap();
}

/// Runs a command, and returns the digest that it prints.
fn sum(network: &Namespace, command: &str) -> String {
    let summed = network.run(&["bash", "-o", "pipefail", "-c", command]).unwrap();
    summed.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn from_each_family_to_each() {
    let site = DualStack::new(&[CLOSED_FLOWS_STAY]).unwrap();
    let targets = [(Family::Four, "web-four"), (Family::Six, "web-six")]
        .map(|(family, name)| http_target(site.provider(), family.target(), name).unwrap());
    let long = site.lab.folder().join("long");
    random(&long);
    for target in &targets {
        fs::hard_link(&long, target.files().join("long")).unwrap();
    }
    let expected = sum(site.provider(), &format!("sha256sum {}", long.display()));
    for (client, target) in MIXES {
        let url = format!("http://{}/", client.endpoint(target));
        let answer = http_get(site.consumer(), &url).unwrap();
        let name = if target == Family::Four { "web-four" } else { "web-six" };
        assert!(answer.starts_with(name), "{url}: {answer}");
        assert_eq!(reached_from(&answer), target.balancer(), "{url}");
        let fetch =
            format!("curl --silent --fail --globoff --max-time 120 '{url}files/long' | sha256sum");
        assert_eq!(sum(site.consumer(), &fetch), expected, "{url}");
    }
    // Nobody else is there.
    let url = format!("http://{}/", Family::Six.endpoint(Family::Four));
    assert!(http_get(site.lab.network("consumer-b").unwrap(), &url).is_err());
    let flows: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&[]).unwrap();
    for (client, target) in MIXES {
        let of = |flow: &&Flow<SocketAddr>| {
            flow.endpoint_address == client.endpoint(target)
                && flow.client.ip() == client.client()
                && flow.nat.ip() == target.balancer()
                && flow.target == target.target()
        };
        assert_eq!(flows.iter().filter(of).count(), 2, "{client:?} to {target:?}: {flows:?}");
    }
    assert_eq!(flows.len(), 8);
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
}

/// 256 MiB each way at once.
fn datagrams(client: Family, target: Family, changes: &[(&str, &str)]) {
    let site = DualStack::new(changes).unwrap();
    let mut at_target = Target::start(site.provider(), target.target());
    let (mut sent, got) = blocks::exchange(site.consumer(), client, client.endpoint(target));
    assert_eq!(got.digest(), at_target.sent.digest(), "what the client got");
    assert_eq!(at_target.got.lock().unwrap().digest(), sent.digest(), "what the target got");

    let mut peers = at_target.server.peers();
    peers.dedup();
    let flows: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&["--protocol", "udp"]).unwrap();
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    assert_eq!(peers, [flow.nat], "the target sees one peer");
    assert_eq!((&*flow.state, flow.nat.ip()), ("replied", target.balancer()));
    assert_eq!(
        (flow.client.ip(), flow.endpoint_address),
        (client.client(), client.endpoint(target))
    );
    assert_eq!(flow.target, target.target());
    assert!(flow.packets_to_target >= COUNT && flow.packets_to_client >= COUNT, "{flow:?}");
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
}

#[test]
fn datagrams_from_four_to_four() {
    datagrams(Family::Four, Family::Four, &[]);
}

#[test]
fn datagrams_from_four_to_four_of_the_narrow_table() {
    datagrams(Family::Four, Family::Four, &[FOUR_ONLY]);
}

#[test]
fn datagrams_from_six_to_six() {
    datagrams(Family::Six, Family::Six, &[]);
}

#[test]
fn datagrams_from_four_to_six() {
    datagrams(Family::Four, Family::Six, &[]);
}

#[test]
fn datagrams_from_six_to_four() {
    datagrams(Family::Six, Family::Four, &[]);
}
