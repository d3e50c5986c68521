//! RSTs to both ends of flows that are cut, which else would wait for each other.
//!
//! A RST is taken at once if its sequence number is the next one expected (RFC 5961, section 3.2). Where data was on its way,
//! the end asks back, and what it asks meets no flow: the data path answers that with the right number.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use privatelink_common::ethernet::Tags;
use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::record::Phase;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpProtocol, IpRepr, TCP_HEADER_LEN, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use socket2::{Domain, Socket, Type};

use crate::model::Protocol;
use crate::packet_address::{ether_type, packet_address};

/// Most flows whose ends are told; those of more find out when they next send something.
pub const MOST: usize = 1 << 16;
const HOP_LIMIT: u8 = 64;

/// A packet and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The interface, by index.
    pub ifindex: u32,
    /// The host behind it.
    pub mac: [u8; 6],
    /// What the Ethernet header says that follows it, host order.
    pub ether_type: u16,
    /// What follows.
    pub packet: Vec<u8>,
}

/// The ways that packets go.
#[derive(Debug, Default)]
pub struct Ways {
    /// Index of the interface in a slot.
    pub interfaces: HashMap<u32, u32>,
    /// Interface and MAC address of each target's next hop.
    pub targets: HashMap<u32, (u32, [u8; 6])>,
}

/// What tells the ends of a flow that it is over; nothing before its handshake is complete, and nothing of UDP.
pub fn resets(flow: &Flow, ways: &Ways) -> Vec<Reset> {
    if flow.phase != Phase::Established || Protocol::of_flow(&flow.forward.key) != Protocol::Tcp {
        return Vec::new();
    }
    let client = ways.interfaces.get(&flow.client.slot()).filter(|_| !flow.client.is_unknown());
    let client = client.and_then(|&ifindex| {
        let mac = flow.client.mac().bytes();
        reset(
            (ifindex, mac),
            flow.client_tags,
            [flow.forward.key.sender(), flow.forward.key.receiver()],
            flow.reverse.next,
        )
    });
    let target = ways.targets.get(&flow.target);
    let target = target.and_then(|&hop| {
        reset(
            hop,
            Tags::default(),
            [flow.reverse.key.sender(), flow.reverse.key.receiver()],
            flow.forward.next,
        )
    });
    client.into_iter().chain(target).collect()
}

/// The RST that answers packets between these ends, over the way they came. Ends of different families are of a flow
/// that was read while its place was given to another.
fn reset(
    (ifindex, mac): (u32, [u8; 6]),
    tags: Tags,
    [sender, receiver]: [SocketAddr; 2],
    sequence: u32,
) -> Option<Reset> {
    if sender.is_ipv4() != receiver.is_ipv4() {
        return None;
    }
    let (ether_type, mut packet) = tagged(tags, ether_type(sender.ip()));
    packet.extend(segment(receiver, sender, sequence));
    Some(Reset { ifindex, mac, ether_type, packet })
}

/// The EtherType of a frame with these tags, and what stands between it and the packet of the EtherType given.
fn tagged(tags: Tags, mut ether_type: u16) -> (u16, Vec<u8>) {
    let mut between = Vec::new();
    for [tpid, tci] in tags.parts().into_iter().rev().filter(|[tpid, _]| *tpid != 0) {
        let mut tag = tci.to_ne_bytes().to_vec();
        tag.extend(ether_type.to_be_bytes());
        between.splice(..0, tag);
        ether_type = u16::from_be(tpid);
    }
    (ether_type, between)
}

/// An IP packet with a RST alone, between ends of one family.
fn segment(from: SocketAddr, to: SocketAddr, sequence: u32) -> Vec<u8> {
    let (source, destination) = (from.ip().into(), to.ip().into());
    let ip = IpRepr::new(source, destination, IpProtocol::Tcp, TCP_HEADER_LEN, HOP_LIMIT);
    let tcp = TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control: TcpControl::Rst,
        seq_number: TcpSeqNumber(sequence.cast_signed()),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let sums = ChecksumCapabilities::default();
    let mut bytes = vec![0; ip.buffer_len()];
    ip.emit(&mut bytes, &sums);
    let payload = &mut bytes[ip.header_len()..];
    tcp.emit(&mut TcpPacket::new_unchecked(payload), &source, &destination, &sums);
    bytes
}

/// Sends them. What an interface has no room for is lost, as on the wire.
///
/// # Errors
///
/// There can be no packet socket: it needs CAP_NET_RAW.
pub fn send(resets: &[Reset]) -> io::Result<()> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.cloexec(), None)?;
    for Reset { ifindex, mac, ether_type, packet } in resets {
        let Ok(ifindex) = i32::try_from(*ifindex) else { continue };
        if let Err(error) =
            socket.send_to(packet, &packet_address(ifindex, *ether_type, Some(*mac)))
        {
            log::debug!("a RST cannot be sent: {error}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use privatelink_common::flow_table::note::Note;
    use std::net::Ipv4Addr;

    use privatelink_common::ethernet::Ethernet;
    use privatelink_common::flow_table::{Half, PacketKey};
    use privatelink_common::ipv4;
    use privatelink_common::memory::Frame;
    use privatelink_common::records::{Mac, NextHop};
    use privatelink_common::state::State;
    use smoltcp::wire::{Ipv4Packet, Ipv4Repr};

    use super::*;

    const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const TARGET_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn half(vpc: u16, [from, to]: [(&str, u16); 2], next: u32) -> Half {
        let key = PacketKey {
            source: from.0.parse().unwrap(),
            destination: to.0.parse().unwrap(),
            source_port: from.1,
            destination_port: to.1,
            vpc,
            protocol: 6,
        };
        Half { key, packets: 1, bytes: 1, flags: 0, stamp: 0, next, note: Note::NONE }
    }

    fn flow(phase: Phase, client_tags: Tags) -> Flow {
        Flow {
            number: 1,
            phase,
            state: State::Established,
            endpoint: 0,
            target: 7,
            opened: 0,
            client: NextHop::new(Mac::from_bytes(CLIENT_MAC), 3),
            client_tags,
            forward: half(1, [("10.0.2.20", 40_000), ("10.0.1.10", 80)], 0x8000_0001),
            reverse: half(2, [("10.0.1.11", 8081), ("10.0.0.10", 20_000)], 5),
        }
    }

    fn ways() -> Ways {
        Ways { interfaces: [(3, 30)].into(), targets: [(7, (70, TARGET_MAC))].into() }
    }

    /// Sender, receiver and sequence number of a RST whose checksums are right.
    fn read(packet: &[u8]) -> (String, String, u32) {
        let ip = Ipv4Packet::new_checked(packet).unwrap();
        let sums = ChecksumCapabilities::default();
        let (source, destination) = (ip.src_addr(), ip.dst_addr());
        Ipv4Repr::parse(&ip, &sums).unwrap();
        let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
        let repr = TcpRepr::parse(&tcp, &source.into(), &destination.into(), &sums).unwrap();
        assert_eq!((repr.control, repr.ack_number), (TcpControl::Rst, None));
        let end = |address: Ipv4Addr, port| format!("{address}:{port}");
        let sequence = repr.seq_number.0.cast_unsigned();
        (end(source, repr.src_port), end(destination, repr.dst_port), sequence)
    }

    #[test]
    fn both_ends_hear_from_each_other() {
        let told = resets(&flow(Phase::Established, Tags::default()), &ways());
        let places: Vec<_> = told.iter().map(|of| (of.ifindex, of.mac, of.ether_type)).collect();
        assert_eq!(places, [(30, CLIENT_MAC, 0x0800), (70, TARGET_MAC, 0x0800)]);
        let read: Vec<_> = told.iter().map(|of| read(&of.packet)).collect();
        let expected = [
            ("10.0.1.10:80", "10.0.2.20:40000", 5),
            ("10.0.0.10:20000", "10.0.1.11:8081", 0x8000_0001),
        ];
        assert_eq!(read, expected.map(|(from, to, next)| (from.into(), to.into(), next)));
    }

    #[test]
    fn a_client_behind_vlans_hears_in_its_own() {
        let rows: [(&[u8], u16, &[u8]); 3] = [
            (&[8, 0], 0x0800, &[]),
            (&[0x81, 0, 0x20, 0x64, 8, 0], 0x8100, &[0x20, 0x64, 8, 0]),
            (&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 0x64, 8, 0], 0x88a8, &[0, 7, 0x81, 0, 0, 0x64, 8, 0]),
        ];
        for (after_addresses, ether_type, between) in rows {
            let header = [&[0; 12], after_addresses].concat();
            let tags = Ethernet::parse(&Frame::new(&header)).unwrap().tags;
            let told = resets(&flow(Phase::Established, tags), &ways());
            let (found, packet) = told[0].packet.split_at(between.len());
            assert_eq!((told[0].ether_type, found), (ether_type, between));
            assert_eq!(read(packet).2, 5);
            assert_eq!(told[1].ether_type, 0x0800, "the target's way has no tags");
        }
    }

    #[test]
    fn nobody_is_told_of_what_is_not_established_or_by_no_way() {
        for phase in [Phase::Opening, Phase::HalfOpen, Phase::Held] {
            assert_eq!(resets(&flow(phase, Tags::default()), &ways()), []);
        }
        assert_eq!(resets(&flow(Phase::Established, Tags::default()), &Ways::default()), []);
    }

    #[test]
    fn nobody_is_told_of_udp() {
        let mut flow = flow(Phase::Established, Tags::default());
        for half in [&mut flow.forward, &mut flow.reverse] {
            half.key.protocol = ipv4::UDP;
        }
        flow.state = State::Replied;
        assert_eq!(resets(&flow, &ways()), []);
    }
    #[test]
    #[rustfmt::skip]
    fn packets_of_either_family_to_the_byte() {
        let packet = |from: &str, to: &str| segment(from.parse().unwrap(), to.parse().unwrap(), 0x8000_0001);
        assert_eq!(packet("10.0.1.10:80", "10.0.2.20:40000"), [
            0x45, 0x00, 0x00, 0x28, // version 4, 20 bytes; total length 40
            0x00, 0x00, 0x40, 0x00, // no fragment
            0x40, 0x06, 0x23, 0xb3, // 64 hops, TCP, checksum
            0x0a, 0x00, 0x01, 0x0a, // 10.0.1.10
            0x0a, 0x00, 0x02, 0x14, // 10.0.2.20
            0x00, 0x50, 0x9c, 0x40, // ports 80 and 40000
            0x80, 0x00, 0x00, 0x01, // sequence number
            0x00, 0x00, 0x00, 0x00, // no acknowledgement
            0x50, 0x04, 0x00, 0x00, // 20 bytes, RST, no window
            0x7c, 0x31, 0x00, 0x00, // checksum
        ]);
        assert_eq!(packet("[2001:db8:1::10]:80", "[2001:db8:2::20]:40000"), [
            0x60, 0x00, 0x00, 0x00, // version 6
            0x00, 0x14, 0x06, 0x40, // 20 bytes of payload, TCP, 64 hops
            0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, // 2001:db8:1::10
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
            0x20, 0x01, 0x0d, 0xb8, 0x00, 0x02, 0x00, 0x00, // 2001:db8:2::20
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20,
            0x00, 0x50, 0x9c, 0x40, // ports 80 and 40000
            0x80, 0x00, 0x00, 0x01, // sequence number
            0x00, 0x00, 0x00, 0x00, // no acknowledgement
            0x50, 0x04, 0x00, 0x00, // 20 bytes, RST, no window
            0x37, 0xaa, 0x00, 0x00, // checksum
        ]);
    }

    #[test]
    fn an_end_with_an_ipv6_address_hears_by_ipv6() {
        let ends =
            ["[2001:db8:2::20]:40000", "[2001:db8:1::10]:80"].map(|end| end.parse().unwrap());
        let header = [&[0; 12][..], &[0x81, 0, 0x20, 0x64, 8, 0]].concat();
        let tags = Ethernet::parse(&Frame::new(&header)).unwrap().tags;
        let rows: [(Tags, u16, &[u8]); 2] =
            [(Tags::default(), 0x86dd, &[]), (tags, 0x8100, &[0x20, 0x64, 0x86, 0xdd])];
        for (tags, ether_type, between) in rows {
            let told = reset((30, CLIENT_MAC), tags, ends, 5).unwrap();
            assert_eq!((told.ifindex, told.mac, told.ether_type), (30, CLIENT_MAC, ether_type));
            assert_eq!(told.packet, [between, &segment(ends[1], ends[0], 5)].concat());
        }
        let mixed = [ends[0], "10.0.1.10:80".parse().unwrap()];
        assert_eq!(reset((30, CLIENT_MAC), tags, mixed, 5), None);
    }
}
