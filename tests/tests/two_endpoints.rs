//! Several endpoints, services and listeners at once: each address and port leads where the configuration says. Needs root.

use std::fs;
use std::net::SocketAddrV4;

use privatelink_tests::{
    Answer, Daemon, Lab, Server, Topology, connect, exchange, greeting, probe,
};

const CONFIGURATION: &str = r#"
region = "us-east-1"

[[vpc]]
id = "vpc-provider"
account = "111111111111"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "pl-provider", zone = "us-east-1a" }]

[[vpc]]
id = "vpc-consumer"
account = "222222222222"
cidrs = ["10.0.0.0/16"]
interfaces = [{ name = "pl-consumer-a", zone = "us-east-1a" }]

[[target_group]]
name = "shop"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.10" }]

[[target_group]]
name = "shop-admin"
vpc = "vpc-provider"
protocol = "tcp"
port = 9000
targets = [{ address = "10.0.1.10" }]

[[target_group]]
name = "bank"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.11" }]

[[load_balancer]]
name = "shop-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = 80
target_group = "shop"
[[load_balancer.listener]]
protocol = "tcp"
port = 8443
target_group = "shop-admin"

[[load_balancer]]
name = "bank-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.11/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = 80
target_group = "bank"

[[endpoint_service]]
id = "vpce-svc-05000000000000001"
load_balancers = ["shop-nlb"]
acceptance_required = false
allowed_principals = ["*"]

[[endpoint_service]]
id = "vpce-svc-0ba00000000000001"
load_balancers = ["bank-nlb"]
acceptance_required = false
allowed_principals = ["*"]

[[endpoint]]
id = "vpce-05000000000000001"
vpc = "vpc-consumer"
service = "com.amazonaws.vpce.us-east-1.vpce-svc-05000000000000001"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]

[[endpoint]]
id = "vpce-0ba00000000000001"
vpc = "vpc-consumer"
service = "com.amazonaws.vpce.us-east-1.vpce-svc-0ba00000000000001"
addresses = [{ zone = "us-east-1a", address = "10.0.1.20" }]
"#;

#[test]
fn each_endpoint_and_port_reaches_its_own_service() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let provider = lab.network("provider").unwrap();
    let _targets = ["10.0.1.10:8080", "10.0.1.10:9000", "10.0.1.11:8080"]
        .map(|target| Server::echo(provider, target.parse().unwrap(), target).unwrap());
    let configuration = lab.folder().join("two-endpoints.toml");
    fs::write(&configuration, CONFIGURATION).unwrap();
    let daemon = Daemon::start(&lab, &configuration, &[]).unwrap();
    let consumer = lab.network("consumer-a").unwrap();

    let table = [
        ("10.0.1.10:80", "10.0.1.10:8080", "10.0.0.10", "vpce-05000000000000001"),
        ("10.0.1.10:8443", "10.0.1.10:9000", "10.0.0.10", "vpce-05000000000000001"),
        ("10.0.1.20:80", "10.0.1.11:8080", "10.0.0.11", "vpce-0ba00000000000001"),
    ];
    // One port of the client for all of them: only the destination tells the flows apart.
    let client: SocketAddrV4 = "10.0.2.20:40000".parse().unwrap();
    let connect =
        |to: &str| connect(consumer, Some(client), to.parse::<SocketAddrV4>().unwrap()).unwrap();
    let mut streams = table.map(|(endpoint, ..)| connect(endpoint));
    let greetings = streams.each_mut().map(|stream| greeting(stream).unwrap());
    for (stream, (endpoint, ..)) in streams.iter_mut().zip(table) {
        assert_eq!(exchange(stream, endpoint.as_bytes()).unwrap(), endpoint.as_bytes());
    }

    let flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), table.len(), "{flows:?}");
    for ((address, target, balancer, endpoint), greeting) in table.into_iter().zip(greetings) {
        assert_eq!(greeting.name, target, "reached by {address}");
        assert_eq!(greeting.peer.ip().to_string(), balancer, "as {target} sees it");
        let flow = flows.iter().find(|flow| flow.endpoint_address.to_string() == address).unwrap();
        assert_eq!((flow.endpoint.as_str(), flow.client), (endpoint, client));
        assert_eq!(flow.service, endpoint.replace("vpce-", "vpce-svc-"));
        assert_eq!((flow.target.to_string().as_str(), flow.nat), (target, greeting.peer));
    }

    let unpublished = ["10.0.1.20:8443", "10.0.1.10:8080", "10.0.1.10:9000", "10.0.1.20:8080"];
    let unpublished = unpublished.map(|address| address.parse().unwrap());
    let answers = probe(consumer, "10.0.2.20:0".parse().unwrap(), &unpublished);
    assert_eq!(answers, [Answer::Silence; 4], "one endpoint does not have the other's ports");
    assert!(daemon.drops("pl-consumer-a", "NoListener").unwrap() >= 4);
}
