//! Frames built from scratch by etherparse, checksums included: independent of the code under test.

use std::net::Ipv4Addr;

use etherparse::{IpNumber, Ipv4Header, TcpHeader, TcpOptions, UdpHeader};
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};

/// Numbers of protocols.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// Two VLAN tags, outer first: TPID and TCI.
pub(crate) const TAGS: [(u16, u16); 2] = [(0x88a8, 7), (0x8100, 100)];

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// A TCP segment with everything around it.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    /// VLAN tags, outer first: TPID and TCI.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) ttl: u8,
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) window: u16,
    pub(crate) identification: u16,
    pub(crate) dscp_ecn: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn with_flags(&self, flags: u8) -> Self {
        Self { flags, ..self.clone() }
    }

    pub(crate) fn with_payload(&self, payload: &[u8]) -> Self {
        Self { flags: ACK | PSH, payload: payload.to_vec(), ..self.clone() }
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut tcp = TcpHeader::new(self.source.1, self.destination.1, self.sequence, self.window);
        tcp.acknowledgment_number = self.acknowledgement;
        tcp.fin = self.flags & FIN != 0;
        tcp.syn = self.flags & SYN != 0;
        tcp.rst = self.flags & RST != 0;
        tcp.psh = self.flags & PSH != 0;
        tcp.ack = self.flags & ACK != 0;
        tcp.urg = self.flags & 0x20 != 0;
        tcp.ece = self.flags & 0x40 != 0;
        tcp.cwr = self.flags & 0x80 != 0;
        tcp.options = TcpOptions::try_from_slice(&self.options).expect("options fit");
        let length = tcp.header_len() + self.payload.len();
        let mut ip = Ipv4Header::new(
            length as u16,
            self.ttl,
            IpNumber::TCP,
            self.source.0.octets(),
            self.destination.0.octets(),
        )
        .expect("the segment fits");
        ip.identification = self.identification;
        ip.dont_fragment = true;
        tcp.checksum = tcp.calc_checksum_ipv4(&ip, &self.payload).expect("the segment fits");
        let mut ip = ip.to_bytes();
        ip[1] = self.dscp_ecn;
        set_header_checksum(&mut ip);

        let mut bytes = ethernet(self.to, self.from, &self.tags, 0x0800);
        bytes.extend_from_slice(&ip);
        bytes.extend_from_slice(&tcp.to_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Bytes of the Ethernet header.
    pub(crate) fn ethernet(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// The bytes after `edit` of the IPv4 packet, with its header checksum made right again.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        edited(self.bytes(), self.ethernet(), edit)
    }

    /// The first bytes of the IPv4 packet, as many as there are, with the TTL it had on arrival somewhere.
    pub(crate) fn quote(&self, length: usize) -> Vec<u8> {
        let mut packet = Self { ttl: 17, ..self.clone() }.bytes().split_off(self.ethernet());
        packet.truncate(length);
        packet
    }
}

/// A UDP datagram with everything around it, without VLAN tags.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) ttl: u8,
    pub(crate) identification: u16,
    pub(crate) has_checksum: bool,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = ethernet(self.to, self.from, &[], 0x0800);
        bytes.extend_from_slice(&self.ip().to_bytes());
        bytes.extend_from_slice(&self.udp().to_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The checksum of the UDP header.
    pub(crate) fn checksum(&self) -> u16 {
        self.udp().checksum
    }

    /// The bytes after `edit` of the IPv4 packet, with its header checksum made right again.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        edited(self.bytes(), 14, edit)
    }

    /// The first bytes of the IPv4 packet, with the TTL it had on arrival somewhere.
    pub(crate) fn quote(&self, length: usize) -> Vec<u8> {
        let packet = Self { ttl: 17, ..self.clone() }.bytes().split_off(14);
        packet[..length].to_vec()
    }

    fn ip(&self) -> Ipv4Header {
        let length = 8 + self.payload.len() as u16;
        let ends = [self.source.0, self.destination.0].map(|address| address.octets());
        let mut ip =
            Ipv4Header::new(length, self.ttl, IpNumber::UDP, ends[0], ends[1]).expect("it fits");
        ip.identification = self.identification;
        ip.dont_fragment = true;
        ip.header_checksum = ip.calc_header_checksum();
        ip
    }

    fn udp(&self) -> UdpHeader {
        let (from, to) = (self.source.1, self.destination.1);
        let mut udp =
            UdpHeader::with_ipv4_checksum(from, to, &self.ip(), &self.payload).expect("it fits");
        if !self.has_checksum {
            udp.checksum = 0;
        }
        udp
    }
}

/// What can be sent.
pub(crate) trait Wire {
    /// The bytes on the wire.
    fn wire(&self) -> Vec<u8>;
}

impl Wire for Segment {
    fn wire(&self) -> Vec<u8> {
        self.bytes()
    }
}

impl Wire for Datagram {
    fn wire(&self) -> Vec<u8> {
        self.bytes()
    }
}

impl Wire for Message {
    fn wire(&self) -> Vec<u8> {
        self.bytes()
    }
}

impl Wire for Vec<u8> {
    fn wire(&self) -> Vec<u8> {
        self.clone()
    }
}

/// VLAN tags as they stand in a frame.
pub(crate) fn tag_bytes(tags: &[(u16, u16)]) -> Vec<u8> {
    tags.iter().flat_map(|&(tpid, tci)| [tpid, tci]).flat_map(u16::to_be_bytes).collect()
}

/// An Ethernet header.
pub(crate) fn ethernet(to: Mac, from: Mac, tags: &[(u16, u16)], ether_type: u16) -> Vec<u8> {
    [&to[..], &from, &tag_bytes(tags), &ether_type.to_be_bytes()].concat()
}

/// An ARP message for IPv4 over Ethernet.
pub(crate) fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend_from_slice(&operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        bytes.extend_from_slice(&mac);
        bytes.extend_from_slice(&address.octets());
    }
    bytes
}

/// RFC 1071, the plain way.
pub(crate) fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Makes the checksum of an IPv4 header right.
pub(crate) fn set_header_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = internet_checksum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// The frame after `edit` of the IPv4 packet that begins at `at`, with its header checksum made right again.
pub(crate) fn edited(mut frame: Vec<u8>, at: usize, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let packet = &mut frame[at..];
    edit(packet);
    let header = usize::from(packet[0] & 0x0f) * 4;
    if (20..=packet.len()).contains(&header) {
        set_header_checksum(&mut packet[..header]);
    }
    frame
}

/// Whether the IPv4 header's checksum and the one of TCP, or UDP if it has one, of a frame without tags are right; of a
/// fragment, which has not all that the other covers, the first.
pub(crate) fn checksums_are_right(frame: &[u8]) -> bool {
    let packet = &frame[14..];
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let is_udp = packet[9] == UDP;
    if word(6) & 0x3fff != 0 {
        return internet_checksum(&packet[..20]) == 0;
    }
    let length = if is_udp { word(24) } else { word(2) - 20 };
    let payload = &packet[20..20 + usize::from(length)];
    let mut pseudo = packet[12..20].to_vec();
    pseudo.extend_from_slice(&[0, packet[9]]);
    pseudo.extend_from_slice(&length.to_be_bytes());
    pseudo.extend_from_slice(payload);
    let has_none = is_udp && word(26) == 0;
    internet_checksum(&packet[..20]) == 0 && (has_none || internet_checksum(&pseudo) == 0)
}

/// An ICMP message with everything around it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) ttl: u8,
    pub(crate) identification: u16,
    pub(crate) dscp_ecn: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// What stands behind the checksum: a pointer, the next hop's MTU, an echo's number.
    pub(crate) rest: [u8; 4],
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut icmp = [&[self.kind, self.code, 0, 0], &self.rest[..], &self.body].concat();
        let checksum = internet_checksum(&icmp);
        icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
        let mut ip = vec![0x45, self.dscp_ecn];
        ip.extend_from_slice(&(20 + icmp.len() as u16).to_be_bytes());
        ip.extend_from_slice(&self.identification.to_be_bytes());
        ip.extend_from_slice(&[u8::from(self.dont_fragment) << 6, 0, self.ttl, 1, 0, 0]);
        ip.extend_from_slice(&self.source.octets());
        ip.extend_from_slice(&self.destination.octets());
        set_header_checksum(&mut ip);
        [ethernet(self.to, self.from, &self.tags, 0x0800), ip, icmp].concat()
    }

    /// The bytes after `edit` of the IPv4 packet, with its header checksum made right again.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        edited(self.bytes(), 14 + 4 * self.tags.len(), edit)
    }
}
