//! Links with jumbo frames, of AWS's MTU and of what most cards allow: by each mode, nothing is cut, split or left out. Needs root.

#[path = "path_mtu/transfer.rs"]
mod transfer;

use std::net::TcpStream;

use nix::sys::socket::{getsockopt, sockopt};
use privatelink_tests::{
    BY_GENERIC_XDP, BY_TCX, BY_XDP, DualStack, Family, Links, MIXES, Namespace, Server, connect,
};

use crate::transfer::{both_ways, serve};

const BYTES: usize = 8 << 20;
/// MTUs of consumer and provider: AWS's, and what most cards allow.
const JUMBO: [[u32; 2]; 2] = [[8500; 2], [9000; 2]];
/// One network has jumbo frames, the other has none.
const AND_USUAL: [[u32; 2]; 2] = [[9000, 1500], [1500, 9000]];
/// Bytes of the headers that an MTU has beside an MSS: of IP, and of TCP with time stamps.
const TCP: u32 = 32;
/// Bytes of a UDP header.
const UDP: u32 = 8;

fn set_mtu(namespace: &Namespace, interface: &str, mtu: u32) {
    namespace.run(&["ip", "link", "set", interface, "mtu", &mtu.to_string()]).unwrap();
}

/// A site with such links to the provider and to the consumer, and targets of both families that take the transfer.
fn site(
    links: Links,
    by: (&str, &str),
    [consumer, provider]: [u32; 2],
) -> (DualStack, [Server; 2]) {
    let lab = DualStack::lab_with(links).unwrap();
    for (network, interface, mtu) in
        [("consumer-a", "pl-consumer-a", consumer), ("provider", "pl-provider", provider)]
    {
        set_mtu(lab.gateway(), interface, mtu);
        set_mtu(lab.network(network).unwrap(), "eth0", mtu);
    }
    let health = DualStack::health(lab.network("provider").unwrap()).unwrap();
    let site = DualStack::start(lab, health, &[by]).unwrap();
    let targets = [Family::Four, Family::Six].map(|family| {
        Server::start(site.provider(), family.target(), |stream, _| serve(stream, BYTES)).unwrap()
    });
    (site, targets)
}

/// The longest segment that a connection sends, headers aside.
fn most(stream: &TcpStream) -> u32 {
    getsockopt(stream, sockopt::TcpMaxSeg).unwrap()
}

/// What a packet has room for that must fit the client's MTU and the target's, in the family of each.
fn room(client: Family, target: Family, [at_client, at_target]: [u32; 2]) -> u32 {
    let header = |family: Family| family.header() as u32;
    (at_client - header(client)).min(at_target - header(target))
}

/// What the ends have room for arrives whole, both ways, and they know how much that is.
fn carries(links: Links, by: (&str, &str), mtus: [[u32; 2]; 2]) {
    for mtus in mtus {
        let (site, _targets) = site(links, by, mtus);
        let _echoes = site.echoes().unwrap();
        for (client, target) in MIXES {
            println!("MTUs {mtus:?}, {client:?} to {target:?}");
            let (endpoint, room) = (client.endpoint(target), room(client, target, mtus));
            let stream = connect(site.consumer(), None, endpoint).unwrap();
            assert_eq!(most(&stream), room - TCP);
            drop(stream);
            both_ways(site.consumer(), endpoint, BYTES);
            site.echoed(endpoint, 3, (room - UDP) as usize).unwrap();
        }
        assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn by_tcx() {
    carries(Links::Plain, BY_TCX, JUMBO);
}

#[test]
fn by_xdp() {
    carries(Links::ForXdp, BY_XDP, JUMBO);
}

#[test]
fn by_generic_xdp() {
    carries(Links::ForXdp, BY_GENERIC_XDP, JUMBO);
}

#[test]
fn jumbo_ends_of_usual_ways_by_tcx() {
    carries(Links::Plain, BY_TCX, AND_USUAL);
}

#[test]
fn jumbo_ends_of_usual_ways_by_xdp() {
    carries(Links::ForXdp, BY_XDP, AND_USUAL);
}
