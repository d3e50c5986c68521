//! UDP of real sockets through the gateway: there and back, whole, counted, and ended. Needs root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use rand::Rng;

use privatelink_tests::{
    Daemon, ENDPOINT, Flow, LOAD_BALANCER, Lab, Server, Topology, UdpServer, echo_targets, example,
    round_trip, udp_socket, wait_until,
};

/// What an unpublished port, and the end of a flow, may take: the daemon sweeps every second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the headers before a datagram's payload.
const HEADERS: u64 = 28;
/// What an Ethernet frame has room for.
const LARGEST: usize = 1472;
/// What a datagram has room for, and what a fragment of it has.
const LONGEST: usize = 65_507;
const FRAGMENT: usize = 1480;
/// What is never answered.
const SILENCE: &[u8] = b"silence";
/// What is answered at length.
const QUESTION: &[u8] = b"a question";
const ANSWER: [u8; 1400] = [b'a'; 1400];

/// UDP of the endpoint's port 80: the group `udp`.
const TARGET: SocketAddrV4 = at(9000);
/// TCP and UDP of the endpoint's port 90: the group `both`.
const BOTH: SocketAddrV4 = at(8080);

const fn at(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 10), port)
}

const LISTENERS: &str = r#"
[[load_balancer.listener]]
protocol = "udp"
port = 80
target_group = "udp"
[[load_balancer.listener]]
protocol = "udp"
port = 95
target_group = "udp"
[[load_balancer.listener]]
protocol = "tcp_udp"
port = 90
target_group = "both"
[load_balancer.attributes]
"#;

const GROUPS: &str = r#"
[[target_group]]
name = "udp"
vpc = "vpc-provider"
protocol = "udp"
port = 9000
targets = [{ address = "10.0.1.10" }]
health_check = { port = 8080 }
[[target_group]]
name = "both"
vpc = "vpc-provider"
protocol = "tcp_udp"
port = 8080
targets = [{ address = "10.0.1.10" }]
"#;

const RULES: &str = r#"ingress = [
  { protocol = "tcp", from_port = 80, to_port = 90, cidr = "10.0.0.0/16" },
  { protocol = "udp", from_port = 80, to_port = 90, cidr = "10.0.0.0/16" },
]
#"#;

/// The gateway of `examples/overlap.toml` with TCP and UDP on its port 80, and both on 90.
struct Site {
    daemon: Daemon,
    udp: UdpServer,
    both: UdpServer,
    _tcp: [Server; 2],
    lab: Lab,
}

impl Site {
    /// `timeouts` are the service's.
    fn new(timeouts: &str) -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let provider = lab.network("provider").unwrap();
        let tcp = echo_targets(&lab).unwrap();
        let udp = UdpServer::start(provider, TARGET.into(), |datagram| match datagram {
            SILENCE => None,
            QUESTION => Some(ANSWER.to_vec()),
            other => Some(other.to_vec()),
        })
        .unwrap();
        let both = UdpServer::echo(provider, BOTH.into()).unwrap();
        let with_timeouts = format!("acceptance_required = false\ntimeouts = {{ {timeouts} }}");
        let text = fs::read_to_string(example("overlap.toml"))
            .unwrap()
            .replace("\n[load_balancer.attributes]\n", LISTENERS)
            .replace("ingress = [", &format!("{RULES} ["))
            .replace("acceptance_required = false", &with_timeouts);
        let config = lab.folder().join("udp.toml");
        fs::write(&config, text + GROUPS).unwrap();
        let daemon = Daemon::start(&lab, &config, &[]).unwrap();
        Self { daemon, udp, both, _tcp: tcp, lab }
    }

    fn client(&self) -> UdpSocket {
        udp_socket(self.lab.network("consumer-a").unwrap()).unwrap()
    }

    fn flows_of_udp(&self) -> Vec<Flow> {
        self.daemon.flows(&["--protocol", "udp"]).unwrap()
    }
}

fn port(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(*ENDPOINT.ip(), port)
}

/// Sends a datagram and takes one back, which must be the endpoint's.
fn exchange(client: &UdpSocket, to: SocketAddrV4, datagram: &[u8]) -> Vec<u8> {
    client.send_to(datagram, to).unwrap();
    taken(client, to)
}

/// The next datagram, which must be the endpoint's.
fn taken(client: &UdpSocket, to: SocketAddrV4) -> Vec<u8> {
    let mut answer = vec![0; 1 << 16];
    let (length, from) = client.recv_from(&mut answer).unwrap();
    assert_eq!(from, to.into(), "who has answered");
    answer.truncate(length);
    answer
}

#[test]
fn a_datagram_goes_there_and_back() {
    let site = Site::new("");
    let clients = ["consumer-a", "consumer-b"].map(|consumer| {
        let client = udp_socket(site.lab.network(consumer).unwrap()).unwrap();
        assert_eq!(exchange(&client, ENDPOINT, consumer.as_bytes()), consumer.as_bytes());
        client
    });
    let peers = site.udp.peers();
    assert!(peers.len() == 2 && peers.iter().all(|peer| peer.ip() == LOAD_BALANCER), "{peers:?}");
    for (client, peer) in clients.iter().zip(peers) {
        assert_eq!(exchange(client, ENDPOINT, b"again"), b"again");
        assert_eq!(site.udp.peers().last(), Some(&peer), "the flow keeps its lease");
    }
}

#[test]
fn datagrams_of_every_size_come_back_as_they_were_and_are_counted() {
    const COUNT: usize = 1000;
    let site = Site::new("");
    let client = site.client();
    let mut bytes = 0;
    for index in 0..COUNT {
        let mut datagram = vec![0; index * LARGEST / (COUNT - 1)];
        rand::rng().fill_bytes(&mut datagram);
        let answer = exchange(&client, ENDPOINT, &datagram);
        assert!(answer == datagram, "of {} bytes {} came back", datagram.len(), answer.len());
        bytes += datagram.len() as u64 + HEADERS;
    }
    let [flow] = &site.flows_of_udp()[..] else { panic!("{:?}", site.flows_of_udp()) };
    assert_eq!((&*flow.protocol, &*flow.state), ("udp", "replied"));
    assert_eq!((flow.endpoint_address, flow.target), (ENDPOINT, TARGET));
    assert_eq!(flow.client.port(), client.local_addr().unwrap().port());
    assert_eq!([flow.packets_to_target, flow.packets_to_client], [COUNT as u64; 2]);
    assert_eq!([flow.bytes_to_target, flow.bytes_to_client], [bytes; 2]);
    assert_eq!([flow.consumer_rtt_us, flow.provider_rtt_us], [None; 2]);
    assert_eq!([flow.retransmissions_to_target, flow.retransmissions_to_client], [0; 2]);
}

/// Fragments of two clients arrive mixed at their target, which puts both datagrams together, and cuts its answers up in turn.
#[test]
fn datagrams_in_fragments_come_back_as_they_were_and_are_counted() {
    const COUNT: usize = 50;
    let site = Site::new("");
    let consumers = ["consumer-a", "consumer-b"];
    let clients = consumers.map(|name| udp_socket(site.lab.network(name).unwrap()).unwrap());
    let [mut packets, mut bytes] = [0; 2];
    for index in 1..=COUNT {
        let length = LARGEST + index * (LONGEST - LARGEST) / COUNT;
        let datagrams = clients.each_ref().map(|client| {
            let mut datagram = vec![0; length];
            rand::rng().fill_bytes(&mut datagram);
            client.send_to(&datagram, ENDPOINT).unwrap();
            datagram
        });
        for (client, datagram) in clients.iter().zip(datagrams) {
            assert!(taken(client, ENDPOINT) == datagram, "of {length} bytes");
        }
        let fragments = (length + 8).div_ceil(FRAGMENT) as u64;
        packets += fragments;
        bytes += length as u64 + 8 + 20 * fragments;
    }
    let flows = site.flows_of_udp();
    let carried: Vec<_> = flows
        .iter()
        .map(|flow| (flow.packets_to_target, flow.packets_to_client, flow.bytes_to_target))
        .collect();
    assert_eq!(carried, [(packets, packets, bytes); 2]);
    for interface in ["pl-consumer-a", "pl-consumer-b", "pl-provider"] {
        assert_eq!(site.daemon.drops(interface, "FragmentUnknown").unwrap(), 0, "{interface}");
    }
}

#[test]
fn a_small_question_has_a_large_answer() {
    const COUNT: u64 = 100;
    let site = Site::new("");
    let client = site.client();
    for _ in 0..COUNT {
        assert_eq!(exchange(&client, ENDPOINT, QUESTION), ANSWER);
    }
    let flows = site.flows_of_udp();
    let carried: Vec<_> =
        flows.iter().map(|flow| [flow.bytes_to_target, flow.bytes_to_client]).collect();
    let sizes = [QUESTION.len(), ANSWER.len()];
    assert_eq!(carried, [sizes.map(|size| COUNT * (size as u64 + HEADERS))]);
}

#[test]
fn what_is_not_published_or_not_admitted_is_dropped() {
    let site = Site::new("");
    site.client().send_to(b"anybody?", port(81)).unwrap();
    site.daemon.wait_drops("pl-consumer-a", "NoListener", 1, PATIENCE).unwrap();
    site.client().send_to(b"anybody?", port(95)).unwrap();
    site.daemon.wait_drops("pl-consumer-a", "SecurityGroup", 1, PATIENCE).unwrap();
    assert_eq!(site.flows_of_udp(), []);
    assert!(site.udp.peers().is_empty() && site.both.peers().is_empty());
}

#[test]
fn a_flow_that_nobody_answers_ends_first() {
    let site = Site::new(r#"udp_unreplied = "1s", udp_idle = "300s""#);
    let (answered, ignored) = (site.client(), site.client());
    exchange(&answered, ENDPOINT, b"hello");
    ignored.send_to(SILENCE, ENDPOINT).unwrap();
    wait_until(PATIENCE, "the target hears of both", || site.udp.peers().len() == 2).unwrap();
    wait_until(PATIENCE, "one flow is left", || site.flows_of_udp().len() == 1).unwrap();
    let left = site.flows_of_udp();
    assert_eq!(left[0].client.port(), answered.local_addr().unwrap().port());
    assert_eq!(left[0].state, "replied");
    assert_eq!(exchange(&answered, ENDPOINT, b"still there"), b"still there");
}

#[test]
fn a_flow_that_was_answered_ends_after_its_idle_time() {
    let site = Site::new(r#"udp_unreplied = "300s", udp_idle = "1s""#);
    exchange(&site.client(), ENDPOINT, b"hello");
    let ignored = site.client();
    ignored.send_to(SILENCE, ENDPOINT).unwrap();
    wait_until(PATIENCE, "one flow is left", || {
        let states: Vec<_> = site.flows_of_udp().into_iter().map(|flow| flow.state).collect();
        states == ["unreplied"]
    })
    .unwrap();
}

#[test]
fn protocols_of_one_port_lead_to_their_own_groups() {
    let site = Site::new("");
    let consumer = site.lab.network("consumer-a").unwrap();
    for (of, server, targets) in [
        (80, &site.udp, &["10.0.1.10:8080", "10.0.1.11:8081"][..]),
        (90, &site.both, &["10.0.1.10:8080"]),
    ] {
        let greeting = round_trip(consumer, port(of)).unwrap();
        assert!(targets.contains(&&*greeting.name), "{of}: {greeting:?}");
        assert_eq!(exchange(&site.client(), port(of), b"hello"), b"hello");
        assert_eq!(server.peers().len(), 1, "{of}");
    }
    let mut led: Vec<_> =
        site.flows_of_udp().iter().map(|flow| (flow.endpoint_address, flow.target)).collect();
    led.sort_unstable();
    assert_eq!(led, [(port(80), TARGET), (port(90), BOTH)]);
    assert_eq!(site.daemon.flows(&["--protocol", "tcp"]).unwrap().len(), 2);
}
