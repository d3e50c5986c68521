//! Clients that have the provider's addresses: a target's, the load balancer's, the endpoint's neighbour's. They are other
//! hosts, for they live in another vpc. Needs root.

use std::net::{Ipv4Addr, SocketAddrV4};

use privatelink_tests::{
    Daemon, ENDPOINT, LOAD_BALANCER, Lab, Topology, connect, echo_targets, example, exchange,
    greeting,
};

/// The targets' addresses and ports of `examples/overlap.toml`, the load balancer's address, and the gateway's own.
const CLIENTS: [SocketAddrV4; 4] = [
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 11), 8081),
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 11), 8080),
    SocketAddrV4::new(LOAD_BALANCER, 80),
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000),
];

#[test]
fn a_client_may_have_any_address_of_the_provider() {
    const CONSUMERS: [&str; 2] = ["consumer-a", "consumer-b"];
    let mut topology = Topology::overlap().without_targets();
    for network in topology.networks.iter_mut().filter(|network| network.name != "provider") {
        for address in ["10.0.1.11", "10.0.0.10", "10.0.0.1"] {
            network.addresses.push(format!("{address}/16"));
        }
    }
    let lab = Lab::new(&topology).unwrap();
    let targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();

    let pairs: Vec<_> = CONSUMERS
        .into_iter()
        .flat_map(|consumer| CLIENTS.map(|client| (consumer, client)))
        .collect();
    let mut streams: Vec<_> = pairs
        .iter()
        .map(|(consumer, client)| {
            let consumer = lab.network(consumer).unwrap();
            let mut stream = connect(consumer, Some(*client), ENDPOINT).unwrap();
            assert_eq!(*greeting(&mut stream).unwrap().peer.ip(), LOAD_BALANCER);
            stream
        })
        .collect();
    for round in 0..100 {
        for (stream, (consumer, client)) in streams.iter_mut().zip(&pairs) {
            let message = format!("{consumer} {client} {round}");
            let answer = exchange(stream, message.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), message);
        }
    }

    let flows = daemon.flows(&[]).unwrap();
    let mut seen: Vec<_> =
        flows.iter().map(|flow| (flow.vpc.trim_start_matches("vpc-"), flow.client)).collect();
    seen.sort_unstable();
    let mut expected = pairs.clone();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let served: usize = targets.iter().map(|target| target.clients().len()).sum();
    assert_eq!(served, pairs.len());
}
