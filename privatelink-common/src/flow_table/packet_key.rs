//! What the packets of a direction look like, with addresses of either family.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::records::FlowKey;
use crate::wide::WideAddress;

/// What packets look like when they arrive: a [`FlowKey`] for those who read it, with addresses of either family. A flow with
/// IPv6 on one side has a key of IPv4 addresses on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port, host order.
    pub source_port: u16,
    /// Destination port, host order.
    pub destination_port: u16,
    /// Number of the vpc they arrive from.
    pub vpc: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl PacketKey {
    /// Of the words of a key in the narrow table.
    pub const fn narrow(words: [u64; 2]) -> Self {
        let key = FlowKey::from_words(words);
        Self {
            source: ipv4(key.source),
            destination: ipv4(key.destination),
            source_port: u16::from_be(key.source_port),
            destination_port: u16::from_be(key.destination_port),
            vpc: key.vpc,
            protocol: key.protocol,
        }
    }

    /// Of a key in the wide table: source and destination, which have names there only, and the second of its words.
    pub fn wide([source, destination]: [WideAddress; 2], ports: u64) -> Self {
        let (source, destination) = (source.into(), destination.into());
        Self { source, destination, ..Self::narrow([0, ports]) }
    }

    /// The key of the packets that answer this one's.
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..*self
        }
    }

    /// Who sends the packets.
    pub const fn sender(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.source_port)
    }

    /// Who gets them.
    pub const fn receiver(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.destination_port)
    }

    /// The same as records have it, if both addresses are IPv4.
    pub const fn ipv4(&self) -> Option<FlowKey> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            return None;
        };
        Some(FlowKey {
            source: u32::from_ne_bytes(source.octets()),
            destination: u32::from_ne_bytes(destination.octets()),
            source_port: self.source_port.to_be(),
            destination_port: self.destination_port.to_be(),
            vpc: self.vpc,
            protocol: self.protocol,
        })
    }
}

const fn ipv4(address: u32) -> IpAddr {
    let [a, b, c, d] = address.to_ne_bytes();
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

impl From<FlowKey> for PacketKey {
    fn from(key: FlowKey) -> Self {
        Self::narrow(key.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_readers_have_the_same_key() {
        let key = FlowKey {
            source: u32::from_ne_bytes([10, 0, 2, 20]),
            destination: u32::from_ne_bytes([10, 0, 1, 10]),
            source_port: 40_000_u16.to_be(),
            destination_port: 80_u16.to_be(),
            vpc: 3,
            protocol: 6,
        };
        let read = PacketKey::from(key);
        assert_eq!(read.sender(), "10.0.2.20:40000".parse().expect("an address"));
        assert_eq!(read.receiver(), "10.0.1.10:80".parse().expect("an address"));
        assert_eq!((read.vpc, read.protocol, read.ipv4()), (3, 6, Some(key)));
        assert_eq!(read.reversed(), key.reversed().into());
    }

    #[test]
    fn either_end_may_have_either_family() {
        let wide = |text: &str| WideAddress::from(text.parse::<IpAddr>().expect("an address"));
        let [_, ports] = FlowKey { vpc: 3, ..FlowKey::from_words([0, 0]) }.words();
        let six = PacketKey::wide(["fd00::1", "fd00::2"].map(wide), ports);
        assert_eq!((six.sender(), six.vpc), ("[fd00::1]:0".parse().expect("an address"), 3));
        assert_eq!(six.ipv4(), None);
        let four = PacketKey::wide(["10.0.2.20", "10.0.1.10"].map(wide), ports);
        assert_eq!(four, PacketKey::from(four.ipv4().expect("both are")));
    }
}
