//! The data path at tc ingress between ends that leave work to their cards, as each of them may or may not: nothing is lost or changed,
//! and what is counted is what a wire would carry. Needs root.

#[path = "path_mtu/transfer.rs"]
mod transfer;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use privatelink_tests::{
    BY_TCX, DualStack, Family, Flow, Links, MIXES, Namespace, Server, udp_socket_of, wait_until,
};

use crate::transfer::{both_ways, exchanged, serve};

const BYTES: usize = 1 << 20;
/// What `ethtool -K` turns off and on: checksums and segmentation left to the card, segmentation as late as can be, and
/// segments put together as they arrive.
const FEATURES: [&str; 4] = ["tx", "tso", "gso", "gro"];
/// Bytes of a TCP header with the time stamps of each segment, and with the options of a SYN.
const TCP: u64 = 32;
const TCP_OF_SYN: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a transfer may be tried until all of it goes as it should.
const OFTEN: usize = 10;

/// A site as the kernel makes links, and targets of both families that take the transfer.
fn site() -> (DualStack, [Server; 2]) {
    let site = DualStack::on(Links::Plain, &[BY_TCX]).unwrap();
    let targets = [Family::Four, Family::Six].map(|family| {
        Server::start(site.provider(), family.target(), |stream, _| serve(stream, BYTES)).unwrap()
    });
    (site, targets)
}

/// The ends of the links on the way.
fn ends(site: &DualStack) -> [(&Namespace, &str); 4] {
    let gateway = site.lab.gateway();
    [
        (site.consumer(), "eth0"),
        (gateway, "pl-consumer-a"),
        (gateway, "pl-provider"),
        (site.provider(), "eth0"),
    ]
}

/// Turns features of an end on or off.
fn turn((namespace, interface): (&Namespace, &str), features: &[&str], to: &str) {
    let mut words = vec!["ethtool", "-K", interface];
    words.extend(features.iter().flat_map(|feature| [*feature, to]));
    namespace.run(&words).unwrap();
}

/// The transfer from each family to each.
fn carries(site: &DualStack, what: &str) {
    for (client, target) in MIXES {
        println!("{what}, {client:?} to {target:?}");
        both_ways(site.consumer(), client.endpoint(target), BYTES);
    }
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new(), "{what}");
}

#[test]
fn whatever_an_end_leaves_to_its_card_arrives_as_it_was_sent() {
    let (site, _targets) = site();
    let ends = ends(&site);
    carries(&site, "as the kernel makes them");
    ends.into_iter().for_each(|end| turn(end, &FEATURES, "on"));
    carries(&site, "all on");
    for (end, feature) in ends.iter().flat_map(|end| FEATURES.map(|feature| (*end, feature))) {
        turn(end, &[feature], "off");
        carries(&site, &format!("{feature} off at {} of {}", end.1, end.0.name()));
        turn(end, &FEATURES, "on");
    }
    ends.into_iter().for_each(|end| turn(end, &FEATURES, "off"));
    carries(&site, "all off");
}

/// What the kernel of an end says of its connection with this port, by the name that `ss` has for it.
fn told(end: &Namespace, port: &str, what: &str) -> u64 {
    let line = end.run(&["ss", "-tinH", port]).unwrap();
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(what)?.strip_prefix(':'));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Has a transfer counted by the flow and by the client's kernel. Whether nothing was sent
/// twice or arrived out of order: else the kernel does not tell the length of all headers.
fn counted(site: &DualStack, (client, target): (Family, Family)) -> bool {
    let stream = exchanged(site.consumer(), client.endpoint(target), BYTES);
    let from = stream.local_addr().unwrap();
    let at_client = format!("sport = :{}", from.port());
    // Each way is counted as it comes in: in the family of who sends.
    let volume = |segments: &str, payload: &str, sender: Family| {
        let [segments, payload] =
            [segments, payload].map(|what| told(site.consumer(), &at_client, what));
        (segments, payload + segments * (sender.header() + TCP) + TCP_OF_SYN - TCP)
    };
    let (mut last, mut odd) = (None, [[0; 2]; 2]);
    let agree = || {
        let flows: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&[]).unwrap();
        let flow = flows.into_iter().find(|flow| flow.client == from).unwrap();
        let counted = [
            (flow.packets_to_target, flow.bytes_to_target),
            (flow.packets_to_client, flow.bytes_to_client),
        ];
        let expected =
            [volume("segs_out", "bytes_sent", client), volume("segs_in", "bytes_received", target)];
        let at_target = format!("dport = :{}", flow.nat.port());
        odd = ["bytes_retrans", "rcv_ooopack"].map(|what| {
            [told(site.consumer(), &at_client, what), told(site.provider(), &at_target, what)]
        });
        last = Some((counted, expected));
        counted == expected || odd != [[0; 2]; 2]
    };
    let agreed = wait_until(PATIENCE, "client and flow have counted the same", agree);
    println!("{client:?} to {target:?}, odd {odd:?}: {last:?}");
    agreed.unwrap();
    odd == [[0; 2]; 2]
}

#[test]
fn the_packets_and_bytes_of_a_wire_are_counted() {
    let (site, _targets) = site();
    for to in ["on", "off"] {
        ends(&site).into_iter().for_each(|end| turn(end, &FEATURES, to));
        for mix in MIXES {
            assert!((0..OFTEN).any(|_| counted(&site, mix)), "offloads {to}, {mix:?}");
        }
    }
}

/// What is sent at once, and how much of it a datagram has.
const LEFT_TO_THE_CARD: usize = 20 * SEGMENT as usize + 77;
const SEGMENT: i32 = 1200;

/// Sends datagrams in one piece, by the generic segmentation offload of UDP, and takes them one by one.
fn datagrams_in_one(from: &UdpSocket, to: &UdpSocket, address: SocketAddr) -> SocketAddr {
    setsockopt(from, sockopt::UdpGsoSegment, &SEGMENT).unwrap();
    let mut sent = vec![0; LEFT_TO_THE_CARD];
    sent.fill_with(rand::random);
    from.send_to(&sent, address).unwrap();
    let mut sender = None;
    for (number, expected) in sent.chunks(SEGMENT as usize).enumerate() {
        let mut got = vec![0; 1 << 16];
        let (length, by) = to.recv_from(&mut got).unwrap();
        assert!(got[..length] == *expected, "datagram {number}: {length} bytes");
        sender = Some(by);
    }
    sender.unwrap()
}

#[test]
fn datagrams_that_the_card_is_to_part_arrive_one_by_one() {
    let site = DualStack::on(Links::Plain, &[BY_TCX]).unwrap();
    let targets = [Family::Four, Family::Six].map(|family| {
        let target = site.provider().enter(|| UdpSocket::bind(family.target())).unwrap().unwrap();
        target.set_read_timeout(Some(PATIENCE)).unwrap();
        target
    });
    for all in ["off", "on"] {
        for end in ends(&site) {
            turn(end, &["gro", "rx-udp-gro-forwarding"], all);
        }
        for (client, target) in MIXES {
            println!("GRO {all}, {client:?} to {target:?}");
            let at_target = &targets[usize::from(target == Family::Six)];
            let at_client = udp_socket_of(site.consumer(), client).unwrap();
            let endpoint = client.endpoint(target);
            let nat = datagrams_in_one(&at_client, at_target, endpoint);
            assert_eq!(nat.ip(), target.balancer());
            assert_eq!(datagrams_in_one(at_target, &at_client, nat), endpoint);
        }
    }
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
}

#[test]
fn datagrams_of_any_length_come_back() {
    let site = DualStack::on(Links::Plain, &[BY_TCX]).unwrap();
    let _echoes = site.echoes().unwrap();
    site.send_no_longer("1440").unwrap();
    for gro in ["off", "on"] {
        ends(&site).into_iter().for_each(|end| turn(end, &["gro", "rx-udp-gro-forwarding"], gro));
        for (client, target) in MIXES {
            for length in [1, 1400, 8000] {
                println!("GRO {gro}, {client:?} to {target:?}, {length} bytes");
                site.echoed(client.endpoint(target), 20, length).unwrap();
            }
        }
    }
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
}
