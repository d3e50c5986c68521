//! Packets of either family, built and read by etherparse, checksums included: independent of the code under test.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};

use crate::frame::{Mac, Wire};

/// The number of IPv6's fragment header.
pub(crate) const FRAGMENT: u8 = 44;

/// Whether a frame without tags carries IPv6.
pub(crate) const fn is_six(frame: &[u8]) -> bool {
    frame[14] >> 4 == 6
}

/// Bytes of the headers of Ethernet and IP of a frame without tags and options.
pub(crate) const fn headers(frame: &[u8]) -> usize {
    if is_six(frame) { 54 } else { 34 }
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Segment { flags: u8, sequence: u32, acknowledgement: u32 },
    Datagram,
}

pub(crate) fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> Carried {
    Carried::Segment { flags, sequence, acknowledgement }
}

/// A packet of the family that its addresses have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) class: u8,
    pub(crate) carried: Carried,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.from, self.to);
        let builder = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    self.ttl,
                    0.into(),
                    source.octets(),
                    destination.octets(),
                )
                .expect("it fits");
                header.dont_fragment = true;
                header.dscp = (self.class >> 2).try_into().expect("six bits");
                header.ecn = (self.class & 3).try_into().expect("two bits");
                builder.ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                builder.ip(etherparse::IpHeaders::Ipv6(
                    etherparse::Ipv6Header {
                        traffic_class: self.class,
                        hop_limit: self.ttl,
                        source: source.octets(),
                        destination: destination.octets(),
                        ..Default::default()
                    },
                    Default::default(),
                ))
            }
            _ => panic!("one family"),
        };
        let mut bytes = Vec::new();
        let (source, destination) = (self.source.port(), self.destination.port());
        match self.carried {
            Carried::Segment { flags, sequence, acknowledgement } => {
                let mut builder = builder.tcp(source, destination, sequence, 0xfaf0);
                for (flag, with) in [
                    (SYN, etherparse::PacketBuilderStep::syn as fn(_) -> _),
                    (RST, etherparse::PacketBuilderStep::rst),
                    (PSH, etherparse::PacketBuilderStep::psh),
                    (FIN, etherparse::PacketBuilderStep::fin),
                ] {
                    builder = if flags & flag != 0 { with(builder) } else { builder };
                }
                let builder = if flags & ACK != 0 { builder.ack(acknowledgement) } else { builder };
                builder.write(&mut bytes, &self.payload).expect("it fits");
            }
            Carried::Datagram => {
                builder.udp(source, destination).write(&mut bytes, &self.payload).expect("it fits");
            }
        }
        bytes
    }

    /// What a frame says, all its checksums right.
    pub(crate) fn read(frame: &[u8]) -> Self {
        let sliced = SlicedPacket::from_ethernet(frame).expect("a packet");
        let mac = |at: usize| Mac::try_from(&frame[at..at + 6]).expect("six bytes");
        let (source, destination, ttl, class) = match sliced.net.as_ref().expect("IP") {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                let class = header.dscp.value() << 2 | header.ecn.value();
                (IpAddr::from(header.source), header.destination.into(), header.time_to_live, class)
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.flow_label.value(), 0);
                (
                    IpAddr::from(header.source),
                    IpAddr::from(header.destination),
                    header.hop_limit,
                    header.traffic_class,
                )
            }
            NetSlice::Arp(_) => panic!("no ARP"),
        };
        let checksum = |computed: Result<u16, _>, found: u16| {
            assert_eq!(computed.expect("it fits"), found);
        };
        let (ports, carried, payload) = match sliced.transport.expect("a transport") {
            TransportSlice::Tcp(tcp) => {
                let header = tcp.to_header();
                let computed = match (source, destination) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        header.calc_checksum_ipv4_raw(a.octets(), b.octets(), tcp.payload())
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        header.calc_checksum_ipv6_raw(a.octets(), b.octets(), tcp.payload())
                    }
                    _ => panic!("one family"),
                };
                checksum(computed, header.checksum);
                let flags = tcp.slice()[13];
                let (sequence, acknowledgement) =
                    (header.sequence_number, header.acknowledgment_number);
                let segment = Carried::Segment { flags, sequence, acknowledgement };
                ((header.source_port, header.destination_port), segment, tcp.payload().to_vec())
            }
            TransportSlice::Udp(udp) => {
                let header = udp.to_header();
                let computed = match (source, destination) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        header.calc_checksum_ipv4_raw(a.octets(), b.octets(), udp.payload())
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        header.calc_checksum_ipv6_raw(a.octets(), b.octets(), udp.payload())
                    }
                    _ => panic!("one family"),
                };
                checksum(computed, header.checksum);
                (
                    (header.source_port, header.destination_port),
                    Carried::Datagram,
                    udp.payload().to_vec(),
                )
            }
            _ => panic!("neither TCP nor UDP"),
        };
        Self {
            to: mac(0),
            from: mac(6),
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
            ttl,
            class,
            carried,
            payload,
        }
    }
}

impl Wire for Packet {
    fn wire(&self) -> Vec<u8> {
        self.bytes()
    }
}
