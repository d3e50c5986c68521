//! ICMP errors about what flows with IPv6 on either side have sent: they reach the other side in its family, as RFC 7915 has
//! it, quote and all. Everything expected is written here, byte by byte.

use std::net::IpAddr;

use privatelink_common::tcp::{ACK, PSH, SYN};
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Mac, TCP, UDP, internet_checksum, set_header_checksum};
use crate::icmp::{CONSUMERS_ROUTER, PROVIDERS_ROUTER};
use crate::packet::{Carried, FRAGMENT, Packet, headers, is_six, segment};
use crate::wide::{Ends, address, at_client, end, from_client, octets, six, to_client, to_target};
use crate::world::{Engine, Port, dropped, drops};
use crate::{mixes, scenarios};

/// Bytes of TCP or UDP that every error quotes, and those up to the end of TCP's checksum.
const LEAST: usize = 8;
const WITH_CHECKSUM: usize = 18;
/// Identification and fragmentation of IPv4 headers that we do not copy from anywhere.
const UNKNOWN: [u8; 4] = [0; 4];

/// An IP header of the family of the two addresses; `word` is identification and fragmentation of an IPv4 one.
fn ip(
    [source, destination]: [IpAddr; 2],
    protocol: u8,
    length: usize,
    [ttl, class]: [u8; 2],
    word: [u8; 4],
) -> Vec<u8> {
    let length = u16::try_from(length).expect("it fits");
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, class];
            header.extend((length + 20).to_be_bytes());
            header.extend(word);
            header.extend([ttl, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            set_header_checksum(&mut header);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60 | class >> 4, class << 4, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([protocol, ttl]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => panic!("one family"),
    }
}

/// What an error says: type, code, and the word behind the checksum.
type Said = (u8, u8, u32);

/// A frame with an ICMP error of the addresses' family.
fn error(
    [to, from]: [Mac; 2],
    [source, destination]: [IpAddr; 2],
    [ttl, class]: [u8; 2],
    word: [u8; 4],
    (kind, code, said): Said,
    quote: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(said.to_be_bytes());
    message.extend(quote);
    let six = source.is_ipv6();
    let protocol = if six { 58 } else { 1 };
    let mut covered = Vec::new();
    if let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) {
        covered.extend(source.octets());
        covered.extend(destination.octets());
        covered.extend((message.len() as u32).to_be_bytes());
        covered.extend([0, 0, 0, protocol]);
    }
    covered.extend(&message);
    message[2..4].copy_from_slice(&internet_checksum(&covered).to_be_bytes());
    let header = ip([source, destination], protocol, message.len(), [ttl, class], word);
    let ether_type = if six { [0x86, 0xdd] } else { [8, 0] };
    [&to[..], &from, &ether_type, &header, &message].concat()
}

/// A flow both of whose sides have sent something.
pub(crate) struct Opened {
    /// Of the client and of the target.
    families: [Family; 2],
    protocol: u8,
    /// A packet of the client's.
    pub(crate) sent: Packet,
    pub(crate) ends: Ends,
}

impl Opened {
    pub(crate) fn new(
        engine: &mut dyn Engine,
        client: Family,
        target: Family,
        protocol: u8,
    ) -> Self {
        let carried = |flags, sequence, acknowledgement| match protocol {
            TCP => segment(flags, sequence, acknowledgement),
            _ => Carried::Datagram,
        };
        let first = from_client(client, carried(SYN, 100, 0), &[]);
        let ends = to_target(engine, &first, target);
        to_client(engine, &first, ends, carried(SYN | ACK, 500, 101), &[]);
        let sent = from_client(client, carried(ACK | PSH, 101, 501), &[0x5a; 333]);
        to_target(engine, &sent, target);
        Self { families: [client, target], protocol, sent, ends }
    }

    /// An error from a router of the provider's about the client's packet, of which it quotes `length` bytes behind the IP
    /// header; and what the client must get, of which it tells how much is quoted.
    pub(crate) fn at_client(
        &self,
        said: Said,
        length: usize,
        then: Said,
        left: usize,
    ) -> [Vec<u8>; 2] {
        let (leaving, lease) = (self.ends.at_target(&self.sent), self.ends.lease.ip());
        let router = address(self.families[1], PROVIDERS_ROUTER, "fd00:a::3:1");
        let mac = [Port::Provider.mac(), self.ends.target_mac()];
        let there = quote(&leaving, self.protocol, length, [17, 0xb9], [0x12, 0x34, 0x40, 0]);
        let here = error(mac, [router, lease], [61, 0xc0], [7, 7, 0, 0], said, &there);
        let endpoint = self.sent.destination.ip();
        let mac = [Port::A.client(), Port::A.mac()];
        let quote = quote(&self.sent, self.protocol, left, [17, 0xb9], UNKNOWN);
        let ends = [endpoint, self.sent.source.ip()];
        [here, error(mac, ends, [60, 0xc0], UNKNOWN, then, &quote)]
    }

    /// The same from a router of the consumer's, about the target's packet.
    pub(crate) fn at_target(
        &self,
        said: Said,
        length: usize,
        then: Said,
        left: usize,
    ) -> [Vec<u8>; 2] {
        let carried = match self.protocol {
            TCP => segment(ACK, 501, 124),
            _ => Carried::Datagram,
        };
        let answer = self.ends.answer(carried, &[0xa5; 400]);
        let leaving = at_client(&answer, &self.sent);
        let endpoint = leaving.source.ip();
        let router = address(self.families[0], CONSUMERS_ROUTER, "fd00:b::4:1");
        let mac = [Port::A.mac(), Port::A.client()];
        let there = quote(&leaving, self.protocol, length, [17, 0xb9], [0x12, 0x34, 0x40, 0]);
        let here = error(mac, [router, endpoint], [61, 0xc0], [7, 7, 0, 0], said, &there);
        let mac = [self.ends.target_mac(), Port::Provider.mac()];
        let quote = quote(&answer, self.protocol, left, [17, 0xb9], UNKNOWN);
        let ends = [self.ends.lease.ip(), self.ends.target.ip()];
        [here, error(mac, ends, [60, 0xc0], UNKNOWN, then, &quote)]
    }
}

/// The start of a packet that an error quotes, with `length` bytes behind the IP header.
fn quote(
    packet: &Packet,
    protocol: u8,
    length: usize,
    ttl_and_class: [u8; 2],
    word: [u8; 4],
) -> Vec<u8> {
    let bytes = packet.bytes();
    let (_, whole) = bytes.split_at(headers(&bytes));
    let ends = [packet.source.ip(), packet.destination.ip()];
    let mut quote = ip(ends, protocol, whole.len(), ttl_and_class, word);
    quote.extend(&whole[..length.min(whole.len())]);
    quote
}

/// Takes identification and fragmentation from what was seen, where an IPv4 header stands at `at`, which must be valid.
fn settle(expected: &mut [u8], seen: &[u8], at: usize) {
    if expected[at] >> 4 != 4 || seen.len() < at + 20 {
        return;
    }
    assert_eq!(internet_checksum(&seen[at..at + 20]), 0, "an IPv4 header is valid");
    assert_eq!(u16::from_be_bytes([seen[at + 6], seen[at + 7]]) & 0xbfff, 0, "no fragment");
    expected[at + 4..at + 8].copy_from_slice(&seen[at + 4..at + 8]);
    expected[at + 10..at + 12].copy_from_slice(&seen[at + 10..at + 12]);
}

/// Sends an error that must be carried to the other side as exactly this, apart from identifications.
#[track_caller]
fn carried(engine: &mut dyn Engine, port: Port, [frame, mut expected]: [Vec<u8>; 2]) {
    let outcome = engine.receive(port, &frame);
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", drops(engine, port));
    let icmp = headers(&expected);
    settle(&mut expected, &outcome.frame, 14);
    settle(&mut expected, &outcome.frame, icmp + 8);
    // The checksum covers what was settled.
    if !is_six(&expected) {
        assert_eq!(internet_checksum(&outcome.frame[icmp..]), 0, "the message is valid");
        expected[icmp + 2..icmp + 4].copy_from_slice(&outcome.frame[icmp + 2..icmp + 4]);
    }
    assert_eq!(outcome.frame, expected);
}

/// An error of IPv6 about the same packet as a fragment of one; `part` is the word that says which.
pub(crate) fn quoting_fragment(frame: &[u8], part: u16) -> Vec<u8> {
    let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).expect("16"));
    let mac = |at: usize| Mac::try_from(&frame[at..at + 6]).expect("6");
    let said = (frame[54], frame[55], u32::from_be_bytes(frame[58..62].try_into().expect("4")));
    let mut quote = frame[62..].to_vec();
    let length = u16::from_be_bytes([quote[4], quote[5]]) + 8;
    quote[4..6].copy_from_slice(&length.to_be_bytes());
    let protocol = std::mem::replace(&mut quote[6], FRAGMENT);
    let [high, low] = part.to_be_bytes();
    quote.splice(40..40, [protocol, 0, high, low, 1, 2, 3, 4]);
    error([mac(0), mac(6)], [address(22), address(38)], [61, 0xc0], UNKNOWN, said, &quote)
}

/// The errors that a family has for: no such port, too big for 1 300 bytes of IPv6 or as much less of IPv4, and too many hops.
pub(crate) const fn words(family: Family) -> [Said; 3] {
    match family {
        Family::Four => [(3, 3, 0), (3, 4, 1280), (11, 0, 0)],
        Family::Six => [(1, 4, 0), (2, 0, 1300), (3, 0, 0)],
    }
}

/// Errors with as much quoted as there is, and as little as there may be, both ways and of both protocols.
fn both_ways(engine: &mut dyn Engine, client: Family, target: Family) {
    for protocol in [TCP, UDP] {
        let flow = Opened::new(engine, client, target, protocol);
        for (there, here) in words(target).into_iter().zip(words(client)) {
            for length in [LEAST, WITH_CHECKSUM, 100, 333] {
                carried(engine, Port::Provider, flow.at_client(there, length, here, length));
                carried(engine, Port::A, flow.at_target(here, length, there, length));
            }
        }
    }
    assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
}

mixes!(both_ways);

scenarios! {
    /// An error of IPv6 has 1 280 bytes at most.
    fn what_grows_too_long_is_cut(engine) with(six) {
        const MOST: usize = 1280 - 40 - 8 - 40;
        let mut flow = Opened::new(engine, Family::Four, Family::Six, TCP);
        let syn = from_client(Family::Six, segment(SYN, 100, 0), &[]);
        let ends = to_target(engine, &syn, Family::Six);
        to_client(engine, &syn, ends, segment(SYN | ACK, 500, 101), &[]);
        flow.sent.payload = vec![0x5a; 1400];
        carried(engine, Port::Provider, flow.at_client((3, 0, 0), MOST, (11, 0, 0), MOST));
        let long = from_client(Family::Six, segment(ACK, 101, 501), &[0x5a; 1380]);
        let flow = Opened { families: [Family::Six; 2], protocol: TCP, sent: long, ends };
        carried(engine, Port::Provider, flow.at_client((1, 4, 0), 1300, (1, 4, 0), MOST));
    }

    fn what_the_other_family_has_no_word_for(engine) with(six) {
        let flow = Opened::new(engine, Family::Four, Family::Six, TCP);
        for said in [(1, 5, 0), (4, 2, 0), (4, 0, 2)] {
            let [frame, _] = flow.at_client(said, 100, (0, 0, 0), 100);
            dropped(engine, Port::Provider, "IcmpType", &frame);
        }
        for said in [(3, 14, 0), (12, 1, 0), (12, 0, 4 << 24)] {
            let [frame, _] = flow.at_target(said, 100, (0, 0, 0), 100);
            dropped(engine, Port::A, "IcmpType", &frame);
        }
        // No errors at all.
        for kind in [0, 5, 100, 130, 255] {
            let [frame, _] = flow.at_client((kind, 0, 0), 100, (0, 0, 0), 100);
            dropped(engine, Port::Provider, "IcmpType", &frame);
        }
    }

    /// Whose fragment header is left out of what is quoted. IPv4 fragments become longer by it.
    fn about_a_first_fragment(engine) with(six) {
        for (client, then) in [(Family::Four, (3, 4, 1272)), (Family::Six, (2, 0, 1300))] {
            let flow = Opened::new(engine, client, Family::Six, UDP);
            let [here, expected] = flow.at_client((2, 0, 1300), 100, then, 100);
            carried(engine, Port::Provider, [quoting_fragment(&here, 1), expected]);
            dropped(engine, Port::Provider, "IcmpQuote", &quoting_fragment(&here, 8 | 1));
        }
    }

    fn about_nothing_that_was_sent(engine) with(six) {
        let flow = Opened::new(engine, Family::Six, Family::Six, TCP);
        let unreachable = (1, 4, 0);
        let about = |edit: &dyn Fn(&mut Opened)| {
            let mut other = Opened { sent: flow.sent.clone(), ..flow };
            edit(&mut other);
            other
        };
        let at_client = |flow: &Opened| flow.at_client(unreachable, 100, unreachable, 100)[0].clone();
        let port = about(&|other| other.ends.lease.set_port(flow.ends.lease.port() ^ 1));
        dropped(engine, Port::Provider, "IcmpNoFlow", &at_client(&port));
        let target = about(&|other| other.ends.target = end("fd00:a::1:12", 8080));
        dropped(engine, Port::Provider, "IcmpNoFlow", &at_client(&target));
        let guessed = about(&|other| other.sent.carried = segment(ACK, 1 << 30, 501));
        dropped(engine, Port::Provider, "IcmpNoFlow", &at_client(&guessed));
        let udp = about(&|other| {
            other.protocol = UDP;
            other.sent.carried = Carried::Datagram;
        });
        dropped(engine, Port::Provider, "IcmpNoFlow", &at_client(&udp));
        // The target's own packet, sent back to the client.
        let [frame, _] = flow.at_target(unreachable, 100, unreachable, 100);
        let elsewhere = [&Port::B.mac()[..], &frame[6..]].concat();
        assert_eq!(engine.receive(Port::B, &elsewhere).verdict, Verdict::Pass, "no address of B's");
    }

    fn damaged_or_spent(engine) with(six) {
        let flow = Opened::new(engine, Family::Four, Family::Six, TCP);
        let [frame, _] = flow.at_client((1, 4, 0), 100, (3, 3, 0), 100);
        for at in [54, 60, 70, 120, frame.len() - 1] {
            let mut damaged = frame.clone();
            damaged[at] ^= 2;
            dropped(engine, Port::Provider, "IcmpChecksum", &damaged);
        }
        let mut spent = frame.clone();
        spent[21] = 1;
        dropped(engine, Port::Provider, "TtlExpired", &spent);
        let local = [&frame[..22], &octets("fe80::1"), &frame[38..]].concat();
        dropped(engine, Port::Provider, "SourceAddress", &local);
        let [short, _] = flow.at_client((1, 4, 0), 7, (3, 3, 0), 7);
        assert_eq!(engine.receive(Port::Provider, &short).verdict, Verdict::Drop);
    }
}
