//! Only published ports exist, only permitted clients reach them, and only consumers open connections. Needs root.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use privatelink_tests::{
    ACK, Answer, Daemon, ENDPOINT, LOAD_BALANCER, Lab, Namespace, PSH, RST, Server, Topology,
    connect, echo_targets, example, exchange, greeting, kernel_counters, probe, send_segment,
};

/// The client in both consumers' networks, any port; a host of the provider has the address too.
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 20), 0);
/// A second address of both clients, outside every CIDR of their vpcs and of security group sg-a.
const OUTSIDER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 7, 7), 0);
/// A host that only consumer-b has.
const ONLY_IN_B: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 30);
/// The gateway's own address in the provider's network.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The drops are counted when the packet is; the deadline is for reading them.
const SOON: Duration = Duration::from_secs(10);

struct Bench {
    daemon: Daemon,
    targets: [Server; 2],
    lab: Lab,
}

impl Bench {
    fn new() -> Self {
        let mut topology = Topology::overlap().without_targets();
        for network in &mut topology.networks {
            match network.name.as_str() {
                "consumer-a" => network.addresses.push(format!("{}/32", OUTSIDER.ip())),
                "consumer-b" => {
                    network.addresses.push(format!("{}/32", OUTSIDER.ip()));
                    network.addresses.push(format!("{ONLY_IN_B}/16"));
                }
                _ => {}
            }
        }
        let lab = Lab::new(&topology).unwrap();
        let targets = echo_targets(&lab).unwrap();
        // What checks send to the targets would count as received.
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        let config = lab.folder().join("isolation.toml");
        fs::write(&config, text.replacen("interval = \"5s\"", "interval = \"300s\"", 1)).unwrap();
        let daemon = Daemon::start(&lab, &config, &[]).unwrap();
        Self { daemon, targets, lab }
    }

    fn network(&self, name: &str) -> &Namespace {
        self.lab.network(name).unwrap()
    }

    /// Probes, expects silence, and expects every SYN that the namespace sent to be counted under this reason.
    fn expect_silence(&self, network: &str, from: SocketAddrV4, to: &[SocketAddrV4], why: &str) {
        let (namespace, interface) = (self.network(network), format!("pl-{network}"));
        let (dropped, sent) = (self.daemon.drops(&interface, why).unwrap(), syns_sent(namespace));
        silent(&probe(namespace, from, to));
        let sent = syns_sent(namespace) - sent;
        assert!(sent >= to.len() as u64);
        let counted =
            self.daemon.wait_drops(&interface, why, dropped + sent, SOON).unwrap() - dropped;
        assert_eq!(counted, sent, "the sender's kernel and {why} on {interface} count the same");
    }

    fn connections(&self) -> usize {
        self.targets.iter().map(|target| target.clients().len()).sum()
    }
}

fn silent(answers: &[Answer]) {
    assert!(answers.iter().all(|answer| *answer == Answer::Silence), "{answers:?}");
}

/// SYNs that the namespace's kernel has sent, repetitions included.
fn syns_sent(namespace: &Namespace) -> u64 {
    let first = kernel_counters(namespace, "snmp", "Tcp").unwrap()["ActiveOpens"];
    first + kernel_counters(namespace, "netstat", "TcpExt").unwrap()["TCPSynRetrans"]
}

/// IP packets that have arrived in the namespace, whoever they were for.
fn packets_received(namespace: &Namespace) -> u64 {
    kernel_counters(namespace, "snmp", "Ip").unwrap()["InReceives"]
}

fn at(address: Ipv4Addr, ports: &[u16]) -> Vec<SocketAddrV4> {
    ports.iter().map(|port| SocketAddrV4::new(address, *port)).collect()
}

#[test]
fn ports_that_are_not_published_are_silent() {
    let bench = Bench::new();
    // 8080 and 8081 are open on the targets, of which one has the endpoint's very address.
    let ports = at(*ENDPOINT.ip(), &[1, 22, 79, 81, 443, 8080, 8081, 10_240, 65_535]);
    bench.expect_silence("consumer-a", CLIENT, &ports, "NoListener");
    bench.expect_silence("consumer-b", CLIENT, &ports, "NoListener");
    assert_eq!(bench.connections(), 0);
    let published = probe(bench.network("consumer-a"), CLIENT, &[ENDPOINT]);
    assert_eq!(published, [Answer::Accepted]);
}

#[test]
fn clients_that_are_not_permitted_are_silenced() {
    let bench = Bench::new();
    bench.expect_silence("consumer-a", OUTSIDER, &[ENDPOINT], "SecurityGroup");
    bench.expect_silence("consumer-b", OUTSIDER, &[ENDPOINT], "SecurityGroup");
    assert_eq!(bench.connections(), 0);
    for consumer in ["consumer-a", "consumer-b"] {
        let permitted = probe(bench.network(consumer), CLIENT, &[ENDPOINT]);
        assert_eq!(permitted, [Answer::Accepted]);
    }
}

#[test]
fn nothing_but_the_endpoint_can_be_reached() {
    let bench = Bench::new();
    let in_b = SocketAddrV4::new(ONLY_IN_B, 80);
    let other = Server::echo(bench.network("consumer-b"), in_b.into(), "b").unwrap();
    let balancer = at(LOAD_BALANCER, &[80, 8080, 10_240]);
    let target = at(Ipv4Addr::new(10, 0, 1, 11), &[80, 8081]);
    let all: Vec<_> = balancer.into_iter().chain(target).chain([in_b]).collect();

    let consumer = bench.network("consumer-a");
    silent(&probe(consumer, CLIENT, &all));
    for address in all.iter().map(SocketAddrV4::ip) {
        bench.lab.send_by_gateway("consumer-a", *address).unwrap();
    }
    let elsewhere = ["provider", "consumer-b"].map(|name| bench.network(name));
    let before = elsewhere.map(packets_received);
    for from in [CLIENT, OUTSIDER] {
        silent(&probe(consumer, from, &all));
    }
    assert_eq!(elsewhere.map(packets_received), before, "nothing arrives anywhere");
    assert_eq!((bench.connections(), other.clients().len()), (0, 0));
    assert_eq!(probe(bench.network("consumer-b"), CLIENT, &[in_b]), [Answer::Accepted]);
}

/// The gateway's kernel would take its own addresses on every interface, and its answer would go to the provider's host
/// with the consumer's address; the lab filters reverse paths as OPERATIONS.md advises.
#[test]
fn the_gateway_itself_cannot_be_reached() {
    let bench = Bench::new();
    let here = SocketAddrV4::new(GATEWAY, 80);
    let server = Server::echo(bench.lab.gateway(), here.into(), "gateway").unwrap();
    let ports = at(GATEWAY, &[80, 81]);
    let before = packets_received(bench.network("provider"));
    for consumer in ["consumer-a", "consumer-b"] {
        silent(&probe(bench.network(consumer), CLIENT, &ports));
        bench.lab.send_by_gateway(consumer, GATEWAY).unwrap();
        silent(&probe(bench.network(consumer), CLIENT, &ports));
    }
    assert_eq!(packets_received(bench.network("provider")), before);
    assert!(server.clients().is_empty());
    assert_eq!(probe(bench.network("provider"), CLIENT, &[here]), [Answer::Accepted]);
}

/// Sends an ICMP echo request and reads what comes back.
fn ping(from: &Namespace, to: Ipv4Addr) -> nix::Result<usize> {
    from.enter(|| {
        let flags = SockFlag::SOCK_CLOEXEC;
        let raw = socket(AddressFamily::Inet, SockType::Raw, flags, Some(SockProtocol::Icmp))?;
        setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::new(0, 700_000))?;
        // Type 8, code 0, checksum, identifier 1, sequence number 1 (RFC 792).
        let echo = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        sendto(raw.as_raw_fd(), &echo, &to, MsgFlags::empty())?;
        recv(raw.as_raw_fd(), &mut [0; 256], MsgFlags::empty())
    })
    .unwrap()
}

#[test]
fn udp_and_echo_exist_only_where_they_are_published() {
    let bench = Bench::new();
    for (network, address, reason) in
        [("consumer-a", *ENDPOINT.ip(), "NoListener"), ("provider", LOAD_BALANCER, "Unsolicited")]
    {
        let namespace = bench.network(network);
        let ports = [53, 80, 443, 8080];
        for port in ports {
            let socket = namespace.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket.connect(SocketAddrV4::new(address, port)).unwrap();
            socket.send(b"hello").unwrap();
            // A port unreachable would come out as ConnectionRefused.
            assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        assert_eq!(ping(namespace, address), Err(nix::Error::EAGAIN));
        let interface = format!("pl-{network}");
        let sent = ports.len() as u64;
        assert_eq!(bench.daemon.wait_drops(&interface, reason, sent, SOON).unwrap(), sent);
        assert_eq!(bench.daemon.wait_drops(&interface, "IcmpEcho", 1, SOON).unwrap(), 1);
    }
}

#[test]
fn the_provider_cannot_open_towards_a_consumer() {
    let bench = Bench::new();
    let consumer = bench.network("consumer-a");
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    let seen = greeting(&mut live).unwrap();

    let to = at(LOAD_BALANCER, &[22, 80, 443, 8080, 10_240, 65_535, seen.peer.port()]);
    // The first of these has the client's own address.
    for from in ["10.0.2.20:0", "10.0.1.10:0", "10.0.1.11:0"] {
        bench.expect_silence("provider", from.parse().unwrap(), &to, "Unsolicited");
    }
    bench.lab.send_by_gateway("provider", ONLY_IN_B).unwrap();
    let in_b = SocketAddrV4::new(ONLY_IN_B, 80);
    let _server = Server::echo(bench.network("consumer-b"), in_b.into(), "b").unwrap();
    silent(&probe(bench.network("provider"), CLIENT, &[in_b]));
    assert_eq!(exchange(&mut live, b"still here").unwrap(), b"still here");
}

#[test]
fn another_host_of_the_provider_cannot_speak_on_a_live_lease() {
    let bench = Bench::new();
    let (consumer, provider) = (bench.network("consumer-a"), bench.network("provider"));
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    let seen = greeting(&mut live).unwrap();
    let target: SocketAddrV4 = seen.name.parse().unwrap();

    // Another host with the target's port, the client's address among them, and the target with another port.
    let other_port = SocketAddrV4::new(*target.ip(), 9);
    let stranger = SocketAddrV4::new(*CLIENT.ip(), target.port());
    let mut expected = bench.daemon.drops("pl-provider", "Unsolicited").unwrap();
    for from in [stranger, other_port] {
        for flags in [PSH | ACK, ACK, RST, RST | ACK] {
            let payload: &[u8] = if flags & RST == 0 { b"injected" } else { b"" };
            send_segment(provider, from, seen.peer, flags, payload).unwrap();
            expected += 1;
            let counted = bench.daemon.wait_drops("pl-provider", "Unsolicited", expected, SOON);
            assert_eq!(counted.unwrap(), expected, "{from}, flags {flags:#04x}");
        }
    }
    assert_eq!(exchange(&mut live, b"undisturbed").unwrap(), b"undisturbed");
    live.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(live.read(&mut [0]).unwrap(), 0, "nothing was injected");
}
