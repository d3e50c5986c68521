//! One endpoint for clients behind several interfaces of its vpc. Needs root.

use std::fs;
use std::net::SocketAddrV4;

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Topology, connect, echo_targets, example, exchange, greeting,
};

#[test]
fn clients_behind_each_interface_of_a_vpc_share_its_endpoint() {
    let mut topology = Topology::overlap().without_targets();
    let network = |topology: &mut Topology, name: &str, address: &str| {
        let network = topology.networks.iter_mut().find(|network| network.name == name).unwrap();
        network.addresses = vec![address.to_owned()];
    };
    network(&mut topology, "consumer-a", "10.0.2.20/16");
    network(&mut topology, "consumer-b", "10.0.2.21/16");
    let lab = Lab::new(&topology).unwrap();
    let _targets = echo_targets(&lab).unwrap();

    // The second consumer's interface is the first one's vpc's, and its own vpc and endpoint are not there.
    const ONE: &str = r#"interfaces = [{ name = "pl-consumer-a", zone = "us-east-1a" }]"#;
    const BOTH: &str = r#"interfaces = [
  { name = "pl-consumer-a", zone = "us-east-1a" },
  { name = "pl-consumer-b", zone = "us-east-1b" },
]
"#;
    let text = fs::read_to_string(example("overlap.toml")).unwrap().replace(ONE, BOTH);
    let (before, rest) = text.split_once("[[vpc]]\nid = \"vpc-consumer-b\"").unwrap();
    let (_, after) = rest.split_once("# ---- provider side").unwrap();
    let end = after.rfind("[[endpoint]]").unwrap();
    let config = lab.folder().join("shared.toml");
    fs::write(&config, format!("{before}#{}", &after[..end])).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let mut streams = ["consumer-a", "consumer-b"].map(|consumer| {
        let mut stream = connect(lab.network(consumer).unwrap(), None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        stream
    });
    for (stream, words) in streams.iter_mut().zip([&b"from the one"[..], b"from the other"]) {
        assert_eq!(exchange(stream, words).unwrap(), words);
    }
    let flows = daemon.flows(&[]).unwrap();
    let mut clients: Vec<SocketAddrV4> = flows.iter().map(|flow| flow.client).collect();
    clients.sort_unstable();
    let expected = streams.each_ref().map(|stream| stream.local_addr().unwrap().to_string());
    assert_eq!(clients.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    assert!(flows.iter().all(|flow| flow.vpc == "vpc-consumer-a"), "{flows:?}");
    let endpoints = daemon.cli(&["endpoints", "-o", "json"]).unwrap();
    assert_eq!((endpoints.as_array().unwrap().len(), &endpoints[0]["flows"]), (1, &2.into()));
}
