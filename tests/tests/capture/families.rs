//! What packets of both families are about, from each to each.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{
    DualStack, Family, MIXES, Process, Server, WITHOUT_SIX, connect, exchange, udp_socket_of,
    wait_until,
};
use serde_json::Value;

use crate::{A, PATIENCE, command, wait_programs};

/// Follows packets by these options while `traffic` flows, and returns what is told of each.
fn traced(site: &DualStack, options: &[&str], traffic: impl FnOnce()) -> Vec<Value> {
    let log = site.lab.folder().join(format!("{:08x}.trace", rand::random::<u32>()));
    let mut follow = command(&site.daemon, "trace");
    let mut process =
        Process::spawn("trace", follow.args(["-o", "json"]).args(options), &log).unwrap();
    wait_programs(&site.lab, "watched");
    traffic();
    process.signal(Signal::SIGINT);
    assert!(process.wait(PATIENCE).unwrap().success(), "{}", process.log());
    wait_programs(&site.lab, "privatelink");
    let text = process.log();
    let packets = text.lines().filter(|line| line.starts_with('{'));
    packets.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How many of these packets came in by an interface.
fn came(packets: &[&Value], interface: &str) -> usize {
    packets.iter().filter(|packet| packet["interface"] == interface).count()
}

#[test]
fn flows_of_each_mix_are_known_by_client_endpoint_and_target() {
    // More than two frames have room for.
    const LARGE: usize = 4000;
    let site = DualStack::new(&[]).unwrap();
    let families = [Family::Four, Family::Six];
    let _tcp = families.map(|of| Server::echo(site.provider(), of.target(), "target").unwrap());
    let _udp = site.echoes().unwrap();
    let mut clients: Vec<(SocketAddr, &str, Family)> = Vec::new();
    let packets = traced(&site, &[], || {
        for (client, target) in MIXES {
            let endpoint = client.endpoint(target);
            let mut stream = connect(site.consumer(), None, endpoint).unwrap();
            exchange(&mut stream, b"hello").unwrap();
            clients.push((stream.local_addr().unwrap(), "tcp", target));
            let socket = udp_socket_of(site.consumer(), client).unwrap();
            socket.connect(endpoint).unwrap();
            let mut echo = vec![0; LARGE];
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            // Which is told what fits, where its fragments do not.
            let echoed = (0..3).any(|_| {
                let sent = socket.send(&vec![7; LARGE]).is_ok();
                sent && socket.recv(&mut echo).is_ok_and(|length| length == LARGE)
            });
            assert!(echoed, "{client:?} to {target:?}");
            clients.push((socket.local_addr().unwrap(), "udp", target));
        }
    });
    for (client, protocol, target) in &clients {
        let of_it: Vec<&Value> =
            packets.iter().filter(|packet| packet["client"] == client.to_string()).collect();
        assert!(came(&of_it, "pl-consumer-a") >= 3, "{client} {protocol}: {packets:#?}");
        assert!(came(&of_it, "pl-provider") >= 2, "{client} {protocol}: {packets:#?}");
        for packet in of_it {
            assert_eq!(packet["endpoint"], A, "{packet}");
            assert_eq!(packet["vpc"], "vpc-consumer-a", "{packet}");
            // But for a datagram that did not fit, so that no flow was opened for it.
            if packet["reason"].is_null() {
                assert_eq!(packet["target"], target.target().to_string(), "{packet}");
            }
        }
    }
}

#[test]
fn what_ipv6_clients_are_refused_is_theirs() {
    const UNPUBLISHED: u16 = 9;
    let site = DualStack::new(&[]).unwrap();
    let targets = [Family::Four, Family::Six].map(Family::target);
    let _echo = Server::echo(site.provider(), targets[0], "target").unwrap();
    // Nobody listens at the IPv6 target: it answers with RSTs, and ICMPv6 errors to datagrams.
    let network = ["--client", "fd00:b::/64"];
    let packets = traced(&site, &network, || {
        for client in [Family::Four, Family::Six] {
            let endpoint = client.endpoint(Family::Six);
            assert!(connect(site.consumer(), None, endpoint).is_err());
            let socket = udp_socket_of(site.consumer(), client).unwrap();
            socket.send_to(b"hello", (endpoint.ip(), UNPUBLISHED)).unwrap();
            socket.connect(endpoint).unwrap();
            socket.send(b"hello").unwrap();
            let error = socket.recv(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{client:?}");
        }
    });
    let client = Family::Six.client();
    let is_its = |packet: &Value| {
        let address: SocketAddr = packet["client"].as_str().unwrap().parse().unwrap();
        address.ip() == client
    };
    assert!(packets.iter().all(is_its), "{packets:#?}");
    let all: Vec<&Value> = packets.iter().collect();
    // A refused datagram, a SYN with its RST, a datagram with its error.
    assert_eq!((came(&all, "pl-consumer-a"), came(&all, "pl-provider")), (3, 2), "{packets:#?}");
    let refused: Vec<&Value> =
        packets.iter().filter(|packet| packet["reason"] == "NoListener").collect();
    let [refused] = refused[..] else { panic!("{packets:#?}") };
    assert_eq!(refused["endpoint"], A);
    let told = refused["before"]["destination"].as_str().unwrap();
    assert_eq!(
        told.parse(),
        Ok(SocketAddr::new(Family::Six.endpoint(Family::Six).ip(), UNPUBLISHED))
    );
    let from_target = ["--target", "[fd00:a::1:10]:8080"];
    let packets = traced(&site, &from_target, || {
        for target in [Family::Four, Family::Six] {
            let connected = connect(site.consumer(), None, Family::Six.endpoint(target));
            assert_eq!(connected.is_ok(), target == Family::Four);
        }
    });
    let of_target = |packet: &Value| packet["target"] == targets[1].to_string();
    assert!(packets.len() == 2 && packets.iter().all(of_target), "{packets:#?}");
}

#[test]
fn ipv6_that_comes_during_a_capture_works_when_it_has_ended() {
    let site = DualStack::new(&WITHOUT_SIX).unwrap();
    let _targets = [Family::Four, Family::Six]
        .map(|of| Server::echo(site.provider(), of.target(), "target").unwrap());
    let works = || {
        for (client, target) in MIXES {
            let works = || {
                let stream = connect(site.consumer(), None, client.endpoint(target));
                stream.is_ok_and(|mut stream| exchange(&mut stream, b"hello").is_ok())
            };
            wait_until(PATIENCE, "the target is found", works)
                .unwrap_or_else(|error| panic!("{client:?} to {target:?}: {error}"));
        }
    };
    let packets = traced(&site, &["--client", "fd00:b::/64"], || {
        site.reload(&[]).unwrap();
        works();
    });
    assert!(packets.iter().any(|packet| packet["reason"].is_null()), "{packets:#?}");
    works();
}
