//! IPv4 addresses of the host, and whose name the kernel asks in when it sends ARP.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Result;
use super::request::Requests;

/// An IPv4 address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Interface that has it.
    pub ifindex: u32,
    /// The address with its prefix length.
    pub net: Ipv4Net,
    /// Whether it is valid beyond its own link (scope global or site).
    pub global: bool,
}

impl Address {
    fn from_message(message: &AddressMessage) -> Option<Self> {
        // IFA_ADDRESS is the far end on a point-to-point link; IFA_LOCAL is always ours.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        })?;
        Some(Self {
            ifindex: message.header.index,
            net: Ipv4Net::new(local, message.header.prefix_len).ok()?,
            global: matches!(message.header.scope, AddressScope::Universe | AddressScope::Site),
        })
    }
}

impl Requests {
    /// All IPv4 addresses of the host.
    pub(super) async fn addresses(&self) -> Result<Vec<Address>> {
        let mut query = AddressMessage::default();
        query.header.family = AddressFamily::Inet;
        let answer = self.dump("list addresses", RouteNetlinkMessage::GetAddress(query)).await?;
        Ok(answer
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewAddress(message)
                    if message.header.family == AddressFamily::Inet =>
                {
                    Address::from_message(message)
                }
                _ => None,
            })
            .collect())
    }
}

/// The sender address of the kernel's ARP requests for `target` on an interface, as
/// `inet_select_addr()` chooses it (Linux 6.18, `net/ipv4/devinet.c`): an address of the interface in
/// the target's subnet, else any address of the interface, else a global address of any other
/// interface, else 0.0.0.0.
///
/// The third case matters: a target with `rp_filter` and no route back to that address drops the
/// request unanswered, while it answers one from 0.0.0.0 (RFC 5227 probe). Measured on 6.18.
pub(super) fn arp_sender(addresses: &[Address], ifindex: u32, target: Ipv4Addr) -> Ipv4Addr {
    let own = || addresses.iter().filter(|address| address.ifindex == ifindex);
    own()
        .find(|address| address.net.contains(&target))
        .or_else(|| own().next())
        .or_else(|| addresses.iter().find(|address| address.global))
        .map_or(Ipv4Addr::UNSPECIFIED, |address| address.net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ifindex: u32, net: &str, global: bool) -> Address {
        Address { ifindex, net: net.parse().expect("a network"), global }
    }

    #[test]
    fn arp_sender_follows_the_kernels_order() {
        let target = Ipv4Addr::new(10, 9, 0, 2);
        let loopback = address(1, "127.0.0.1/8", false);
        let management = address(2, "192.0.2.7/24", true);
        let other_subnet = address(5, "10.8.0.1/24", true);
        let host_route = address(5, "10.9.0.100/32", true);
        let same_subnet = address(5, "10.9.0.1/24", true);
        for (what, addresses, sender) in [
            ("no address at all", vec![], "0.0.0.0"),
            ("loopback does not count", vec![loopback], "0.0.0.0"),
            ("another interface's address", vec![loopback, management], "192.0.2.7"),
            ("the interface's own before another's", vec![management, host_route], "10.9.0.100"),
            (
                "the target's subnet before others",
                vec![management, other_subnet, same_subnet],
                "10.9.0.1",
            ),
        ] {
            assert_eq!(arp_sender(&addresses, 5, target).to_string(), sender, "{what}");
        }
    }
}
