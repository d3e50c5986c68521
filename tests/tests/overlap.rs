//! Two consumers and the provider with the same addresses, by `examples/overlap.toml` as it is. Needs root.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use privatelink_tests::{
    Daemon, ENDPOINT, Flow, LOAD_BALANCER, Lab, Server, Topology, connect, example, exchange,
    greeting, http_get, is_leased,
};

/// The client in both consumers' networks.
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 20), 40_000);

#[test]
fn the_example_serves_both_consumers() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let _daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    for consumer in ["consumer-a", "consumer-b"] {
        let consumer = lab.network(consumer).unwrap();
        let mut answered = BTreeSet::new();
        // Of 64 connections a third goes to web-1: that all go to one target has a chance of 2^-37.
        for _ in 0..64 {
            let body = http_get(consumer, "http://10.0.1.10/").unwrap();
            let (server, client) = body.trim().split_once(" served ").unwrap();
            let client: SocketAddrV4 = client.parse().unwrap();
            assert_eq!(*client.ip(), LOAD_BALANCER, "the provider sees no address of the consumer");
            assert!((10_240..=u16::MAX).contains(&client.port()), "{body}");
            answered.insert(server.to_owned());
        }
        assert_eq!(
            answered,
            BTreeSet::from(["web-1 10.0.1.10:8080".into(), "web-2 10.0.1.11:8081".into()])
        );
    }
}

/// Everything that a target got, by who sent it.
type Received = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// A target that sends back what it gets, under its own mark, and keeps it.
fn recording_target(lab: &Lab, address: &str, mark: u8, received: &Received) -> Server {
    let received = Arc::clone(received);
    let provider = lab.network("provider").unwrap();
    Server::start(provider, address.parse().unwrap(), move |mut stream, peer| {
        stream.write_all(format!("{mark} {peer}\n").as_bytes())?;
        let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut chunk)?;
            if length == 0 {
                received.lock().unwrap().push((peer, all));
                return Ok(());
            }
            all.extend(&chunk[..length]);
            stream.write_all(&chunk[..length])?;
        }
    })
    .unwrap()
}

#[test]
fn the_same_client_address_and_port_twice_at_once() {
    const ROUNDS: usize = 500;
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let received = Received::default();
    let _targets = [
        recording_target(&lab, "10.0.1.10:8080", 1, &received),
        recording_target(&lab, "10.0.1.11:8081", 2, &received),
    ];
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();

    let consumers = ["consumer-a", "consumer-b"];
    let mut streams = consumers
        .map(|consumer| connect(lab.network(consumer).unwrap(), Some(CLIENT), ENDPOINT).unwrap());
    let greetings = [0, 1].map(|side| greeting(&mut streams[side]).unwrap());
    let message = |side: usize, round: usize| format!("<{} {round}>", consumers[side]);
    for round in 0..ROUNDS {
        for (side, stream) in streams.iter_mut().enumerate() {
            let sent = message(side, round);
            let answer = exchange(stream, sent.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), sent, "in round {round}");
        }
    }

    let flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), 2, "{flows:?}");
    let mut seen_by_targets = BTreeSet::new();
    for (side, (vpc, endpoint)) in
        [("vpc-consumer-a", "vpce-0a11111111111111a"), ("vpc-consumer-b", "vpce-0b22222222222222b")]
            .into_iter()
            .enumerate()
    {
        let flow: &Flow = flows.iter().find(|flow| flow.vpc == vpc).unwrap();
        let target = if greetings[side].name == "1" { "10.0.1.10:8080" } else { "10.0.1.11:8081" };
        assert_eq!(flow.endpoint, endpoint);
        assert_eq!((flow.client, flow.endpoint_address), (CLIENT, ENDPOINT));
        assert_eq!(flow.target.to_string(), target, "the target that greeted {}", consumers[side]);
        assert_eq!(flow.nat, greetings[side].peer, "what the target sees of {}", consumers[side]);
        assert_eq!(flow.state, "established");
        assert!(seen_by_targets.insert((flow.target, flow.nat)), "one lease for two: {flows:?}");
    }

    for mut stream in streams {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "nothing more arrives than was sent");
    }
    let received = received.lock().unwrap();
    for (side, greeting) in greetings.iter().enumerate() {
        let whole: String = (0..ROUNDS).map(|round| message(side, round)).collect();
        let from = |(peer, _): &&(SocketAddr, Vec<u8>)| *peer == greeting.peer.into();
        let got: Vec<_> =
            received.iter().filter(from).filter(|(_, got)| *got == whole.as_bytes()).collect();
        assert_eq!(got.len(), 1, "the targets got other bytes of {}", consumers[side]);
    }
    assert_eq!(received.iter().filter(|(peer, _)| is_leased(peer)).count(), 2);
}
