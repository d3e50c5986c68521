//! The same client address and port in many consumers' networks at once: as many flows, and no byte goes astray. Needs
//! root.
//!
//! `PRIVATELINK_NETWORKS` sets how many networks there are, 511 at most: a gateway has 512 interfaces, and one is the
//! provider's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::{Arc, Mutex};

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Network, Server, Topology, connect, exchange, greeting, is_leased,
};

const NETWORKS: usize = 100;
const ROUNDS: usize = 20;
/// The one client there is, in each of them.
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 20), 40_000);
const TARGETS: [&str; 2] = ["10.0.1.10:8080", "10.0.1.11:8081"];

const PROVIDER: &str = r#"
region = "us-east-1"

[flow_table]
capacity = 16384

[[vpc]]
id = "vpc-provider"
account = "111111111111"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "pl-provider", zone = "us-east-1a" }]

[[target_group]]
name = "web"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.10" }, { address = "10.0.1.11", port = 8081 }]

[[load_balancer]]
name = "web-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = 80
target_group = "web"

[[endpoint_service]]
id = "vpce-svc-0e123abc123198abc"
load_balancers = ["web-nlb"]
acceptance_required = false
allowed_principals = ["*"]
"#;

fn vpc(number: usize) -> String {
    format!("vpc-consumer-{number}")
}

fn endpoint(number: usize) -> String {
    format!("vpce-{number:017x}")
}

fn configuration(networks: usize) -> String {
    let mut text = PROVIDER.to_owned();
    for number in 0..networks {
        let (vpc, endpoint) = (vpc(number), endpoint(number));
        write!(
            text,
            r#"
[[vpc]]
id = "{vpc}"
account = "222222222222"
cidrs = ["10.0.0.0/16"]
interfaces = [{{ name = "pl-n{number}", zone = "us-east-1a" }}]
[[endpoint]]
id = "{endpoint}"
vpc = "{vpc}"
service = "vpce-svc-0e123abc123198abc"
addresses = [{{ zone = "us-east-1a", address = "10.0.1.10" }}]
"#
        )
        .unwrap();
    }
    text
}

fn topology(networks: usize) -> Topology {
    let mut topology = Topology::overlap().without_targets();
    topology.networks.truncate(1);
    topology.networks.extend((0..networks).map(|number| Network {
        name: format!("n{number}"),
        interface: format!("pl-n{number}"),
        gateway_address: None,
        addresses: vec![format!("{}/16", CLIENT.ip())],
    }));
    topology
}

/// What the targets got, by the lease it came from: port and target.
type Received = Arc<Mutex<HashMap<(SocketAddr, SocketAddrV4), Vec<u8>>>>;

/// A target that sends back what it gets, and keeps it; not what health checks say.
fn target(lab: &Lab, address: &str, received: &Received) -> Server {
    let (address, received): (SocketAddrV4, _) = (address.parse().unwrap(), Arc::clone(received));
    Server::start(lab.network("provider").unwrap(), address.into(), move |mut stream, peer| {
        writeln!(stream, "{address} {peer}")?;
        let mut chunk = [0; 4096];
        loop {
            let length = stream.read(&mut chunk)?;
            if is_leased(&peer) {
                let mut received = received.lock().unwrap();
                received.entry((peer, address)).or_default().extend(&chunk[..length]);
            }
            if length == 0 {
                return Ok(());
            }
            stream.write_all(&chunk[..length])?;
        }
    })
    .unwrap()
}

/// What network `number` says in a round: nobody else ever says it.
fn message(number: usize, round: usize) -> String {
    format!("<network {number} in round {round}>")
}

#[test]
fn one_client_address_and_port_in_each_of_many_networks() {
    let networks = std::env::var("PRIVATELINK_NETWORKS");
    let networks = networks.map_or(NETWORKS, |number| number.parse().expect("a number"));
    let lab = Lab::new(&topology(networks)).unwrap();
    let received = Received::default();
    let _targets = TARGETS.map(|address| target(&lab, address, &received));
    let config = lab.folder().join("many.toml");
    fs::write(&config, configuration(networks)).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let mut streams: Vec<TcpStream> = (0..networks)
        .map(|number| {
            let network = lab.network(&format!("n{number}")).unwrap();
            connect(network, Some(CLIENT), ENDPOINT).unwrap()
        })
        .collect();
    let greetings: Vec<_> = streams.iter_mut().map(|stream| greeting(stream).unwrap()).collect();
    for round in 0..ROUNDS {
        for (number, stream) in streams.iter_mut().enumerate() {
            let sent = message(number, round);
            let answer = exchange(stream, sent.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), sent);
        }
    }

    let flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), networks);
    let flows: BTreeMap<_, _> = flows.iter().map(|flow| (flow.vpc.clone(), flow)).collect();
    let mut leases = BTreeSet::new();
    for (number, greeting) in greetings.iter().enumerate() {
        let flow = flows[&vpc(number)];
        assert_eq!((flow.client, flow.endpoint_address), (CLIENT, ENDPOINT));
        assert_eq!((&flow.endpoint, flow.state.as_str()), (&endpoint(number), "established"));
        assert_eq!((flow.nat, flow.target.to_string()), (greeting.peer, greeting.name.clone()));
        assert!(leases.insert((flow.nat, flow.target)), "one lease for two: {flow:?}");
    }

    for (number, stream) in streams.iter_mut().enumerate() {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "network {number} gets nothing more than it sent");
    }
    let received = received.lock().unwrap();
    assert_eq!(received.len(), networks);
    for (number, greeting) in greetings.iter().enumerate() {
        let lease = (SocketAddr::from(greeting.peer), greeting.name.parse().unwrap());
        let whole: String = (0..ROUNDS).map(|round| message(number, round)).collect();
        assert_eq!(String::from_utf8_lossy(&received[&lease]), whole);
    }
}
