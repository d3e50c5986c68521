//! An endpoint in the provider's own vpc: client, endpoint and target on one network, the frames turn round in the
//! gateway. Needs root.

use std::fs;
use std::net::SocketAddrV4;

use privatelink_tests::{
    Daemon, ENDPOINT, LOAD_BALANCER, Lab, Server, Topology, connect, example, exchange, greeting,
};

/// What `examples/overlap.toml` lacks for it.
const OWN_ENDPOINT: &str = r#"
[[endpoint]]
id = "vpce-0cccccccccccccccc"
vpc = "vpc-provider"
service = "vpce-svc-0e123abc123198abc"
addresses = [{ zone = "us-east-1a", address = "10.0.1.20" }]
"#;
const OTHER_TARGET: &str = "  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n";

#[test]
fn hosts_of_the_providers_network_reach_the_service_as_consumers_do() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let provider = lab.network("provider").unwrap();
    let target: SocketAddrV4 = "10.0.1.10:8080".parse().unwrap();
    let server = Server::echo(provider, target.into(), "target").unwrap();
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let text = text.replace(OTHER_TARGET, "").replace(
        "allowed_principals = [",
        "allowed_principals = [\"arn:aws:iam::111111111111:root\", ",
    );
    let config = lab.folder().join("hairpin.toml");
    fs::write(&config, text + OWN_ENDPOINT).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let own: SocketAddrV4 = "10.0.1.20:80".parse().unwrap();
    // A host beside the target, the target itself, and a consumer whose client has the first one's address and port.
    let clients = [
        ("provider", "10.0.2.20:40000", own, "vpc-provider", "vpce-0cccccccccccccccc"),
        ("provider", "10.0.1.10:40000", own, "vpc-provider", "vpce-0cccccccccccccccc"),
        ("consumer-b", "10.0.2.20:40000", ENDPOINT, "vpc-consumer-b", "vpce-0b22222222222222b"),
    ];
    let mut streams = clients.map(|(network, from, to, ..)| {
        connect(lab.network(network).unwrap(), Some(from.parse().unwrap()), to).unwrap()
    });
    let peers = streams.each_mut().map(|stream| greeting(stream).unwrap().peer);
    for round in 0..100 {
        for (stream, (network, from, ..)) in streams.iter_mut().zip(clients) {
            let message = format!("{network} {from} {round}");
            let answer = exchange(stream, message.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), message);
        }
    }

    let flows = daemon.flows(&[]).unwrap();
    assert_eq!((flows.len(), server.clients().len()), (clients.len(), clients.len()), "{flows:?}");
    for ((_, client, to, vpc, endpoint), peer) in clients.into_iter().zip(peers) {
        assert_eq!(*peer.ip(), LOAD_BALANCER, "the target sees no client, not even a neighbour");
        let flow = flows.iter().find(|flow| flow.nat == peer).unwrap();
        assert_eq!((flow.vpc.as_str(), flow.endpoint.as_str()), (vpc, endpoint));
        assert_eq!((flow.client, flow.endpoint_address), (client.parse().unwrap(), to));
        assert_eq!((flow.target, flow.state.as_str()), (target, "established"));
    }
}
