//! What is refused of a sender that leaves checksums to its card, at tc ingress: answered so that it takes the answer, or not at all.
//! Needs root.

#[path = "offloads/without_flow.rs"]
mod without_flow;

use std::io::Read as _;
use std::net::{SocketAddrV4, TcpStream};

use privatelink_tests::{
    Answer, BY_TCX, DualStack, ENDPOINT, Family, Links, Server, kernel_counters, probe,
};

use crate::without_flow::{SHORT, are_reset};

fn site() -> (DualStack, [Server; 2]) {
    let site = DualStack::on(Links::Plain, &[BY_TCX, SHORT]).unwrap();
    let targets = [Family::Four, Family::Six].map(|family| {
        let listen = |mut stream: TcpStream, _| stream.read(&mut [0]).map(drop);
        Server::start(site.provider(), family.target(), listen).unwrap()
    });
    (site, targets)
}

#[test]
fn a_segment_without_a_flow_is_reset() {
    let (site, _targets) = site();
    // Left to the card, a checksum is right whatever it is on a veth; finished by the gateway's kernel, it is looked at.
    for finished_by_card in ["on", "off"] {
        let words = ["ethtool", "-K", "pl-consumer-a", "tx", finished_by_card];
        site.lab.gateway().run(&words).unwrap();
        are_reset(&site);
    }
    let tcp = kernel_counters(site.consumer(), "snmp", "Tcp").unwrap();
    assert_eq!((tcp["InErrs"], tcp["InCsumErrors"]), (0, 0));
}

#[test]
fn a_port_without_a_listener_is_silent() {
    let (site, _targets) = site();
    let to = SocketAddrV4::new(*ENDPOINT.ip(), 82);
    let answers = probe(site.consumer(), "10.0.2.20:0".parse().unwrap(), &[to]);
    assert_eq!(answers, [Answer::Silence]);
    assert!(site.daemon.drops("pl-consumer-a", "NoListener").unwrap() >= 1);
}
