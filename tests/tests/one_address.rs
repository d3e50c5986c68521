//! One endpoint address for two services, one of which publishes a range of ports that it keeps. Needs root.

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

# A broker for each port: what they tell clients of each other holds on both sides of the gateway.
[[target_group]]
name = "brokers"
vpc = "vpc-provider"
protocol = "tcp"
port = 9000
targets = [{ address = "10.0.1.10" }]

[[target_group]]
name = "web"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "10.0.1.11" }]

[[load_balancer]]
name = "kafka-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = "9000-9003"
target_group = "brokers"
keep_port = true

[[load_balancer]]
name = "web-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.11/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = 80
target_group = "web"

[[endpoint_service]]
id = "vpce-svc-0000000000000ca4a"
load_balancers = ["kafka-nlb"]
acceptance_required = false
allowed_principals = ["*"]

[[endpoint_service]]
id = "vpce-svc-00000000000000eb0"
load_balancers = ["web-nlb"]
acceptance_required = false
allowed_principals = ["*"]

[[endpoint]]
id = "vpce-0000000000000ca4a"
vpc = "vpc-consumer"
service = "vpce-svc-0000000000000ca4a"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]

[[endpoint]]
id = "vpce-00000000000000eb0"
vpc = "vpc-consumer"
service = "vpce-svc-00000000000000eb0"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]
"#;

#[test]
fn the_port_says_which_service_is_meant() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let provider = lab.network("provider").unwrap();
    let servers =
        ["10.0.1.10:9000", "10.0.1.10:9001", "10.0.1.10:9002", "10.0.1.10:9003", "10.0.1.11:8080"];
    let _servers =
        servers.map(|server| Server::echo(provider, server.parse().unwrap(), server).unwrap());
    let configuration = lab.folder().join("one-address.toml");
    fs::write(&configuration, CONFIGURATION).unwrap();
    let daemon = Daemon::start(&lab, &configuration, &[]).unwrap();
    let consumer = lab.network("consumer-a").unwrap();

    let services = daemon.cli(&["services", "-o", "json"]).unwrap();
    let listeners: Vec<_> =
        services.as_array().unwrap().iter().map(|service| service["listeners"].clone()).collect();
    assert_eq!(listeners, ["tcp/9000-9003", "tcp/80"]);

    // One port of the client for all of them: only the destination's tells the flows apart.
    let client: SocketAddrV4 = "10.0.2.20:40000".parse().unwrap();
    let connect = |port| {
        connect(
            consumer,
            Some(client),
            format!("10.0.1.10:{port}").parse::<SocketAddrV4>().unwrap(),
        )
        .unwrap()
    };
    let ports = [9000, 9001, 9002, 9003, 80];
    let mut streams = ports.map(connect);
    for ((stream, port), server) in streams.iter_mut().zip(ports).zip(servers) {
        let greeting = greeting(stream).unwrap();
        assert_eq!(greeting.name, server, "reached by port {port}");
        assert_eq!(exchange(stream, server.as_bytes()).unwrap(), server.as_bytes());
        let (balancer, endpoint) = match port {
            80 => ("10.0.0.11", "vpce-00000000000000eb0"),
            _ => ("10.0.0.10", "vpce-0000000000000ca4a"),
        };
        assert_eq!(greeting.peer.ip().to_string(), balancer, "as {server} sees it");
        let flows = daemon.flows(&[]).unwrap();
        let flow = flows.iter().find(|flow| flow.endpoint_address.port() == port).unwrap();
        assert_eq!((flow.endpoint.as_str(), flow.client), (endpoint, client));
        assert_eq!((flow.target.to_string().as_str(), flow.nat), (server, greeting.peer));
    }

    let unpublished = [8999, 9004, 8080, 81];
    let unpublished =
        unpublished.map(|port| format!("10.0.1.10:{port}").parse::<SocketAddrV4>().unwrap());
    let answers = probe(consumer, "10.0.2.20:0".parse().unwrap(), &unpublished);
    assert_eq!(answers, [Answer::Silence; 4]);
    assert!(daemon.drops("pl-consumer-a", "NoListener").unwrap() >= 4);
}
