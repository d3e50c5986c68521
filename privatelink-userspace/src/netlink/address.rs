//! Addresses of the host, and in whose name the kernel asks for a neighbour.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};

use super::Result;
use super::request::Requests;

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Interface that has it.
    pub ifindex: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether it is valid beyond its own link (scope global or site).
    pub global: bool,
    /// Whether the kernel sends from it. It does not from an IPv6 address whose duplicate address detection is not
    /// over, or has found the address elsewhere too.
    pub usable: bool,
}

impl Address {
    fn from_message(message: &AddressMessage) -> Option<Self> {
        // IFA_LOCAL is always ours. IFA_ADDRESS is the far end on a point-to-point link, and elsewhere all that an
        // IPv6 address comes with.
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(local) => address = Some(*local),
                AddressAttribute::Address(other) => address = address.or(Some(*other)),
                _ => {}
            }
        }
        let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
        Some(Self {
            ifindex: message.header.index,
            net: IpNet::new(address?, message.header.prefix_len).ok()?,
            global: matches!(message.header.scope, AddressScope::Universe | AddressScope::Site),
            usable: !message.header.flags.intersects(unusable),
        })
    }
}

impl Requests {
    /// All addresses of the host.
    pub(super) async fn addresses(&self) -> Result<Vec<Address>> {
        let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answer = self.dump("list addresses", query).await?;
        Ok(answer
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewAddress(message) => Address::from_message(message),
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
    let nets = || {
        addresses.iter().filter_map(|address| match address.net {
            IpNet::V4(net) => Some((address, net)),
            IpNet::V6(_) => None,
        })
    };
    let own = || nets().filter(|(address, _)| address.ifindex == ifindex);
    own()
        .find(|(_, net)| net.contains(&target))
        .or_else(|| own().next())
        .or_else(|| nets().find(|(address, _)| address.global))
        .map_or(Ipv4Addr::UNSPECIFIED, |(_, net)| net.addr())
}

/// Whether the kernel can ask for IPv6 neighbours on an interface. It asks from a link-local address that the
/// interface has, and nobody while there is none (`ndisc_send_ns()`, Linux 6.18, `net/ipv6/ndisc.c`).
pub(super) fn can_solicit(addresses: &[Address], ifindex: u32) -> bool {
    addresses.iter().any(|address| {
        let link_local =
            matches!(address.net.addr(), IpAddr::V6(own) if own.is_unicast_link_local());
        link_local && address.usable && address.ifindex == ifindex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ifindex: u32, net: &str, global: bool) -> Address {
        Address { ifindex, net: net.parse().expect("a network"), global, usable: true }
    }

    #[test]
    fn arp_sender_follows_the_kernels_order() {
        let target = Ipv4Addr::new(10, 9, 0, 2);
        let loopback = address(1, "127.0.0.1/8", false);
        let management = address(2, "192.0.2.7/24", true);
        let other_subnet = address(5, "10.8.0.1/24", true);
        let host_route = address(5, "10.9.0.100/32", true);
        let same_subnet = address(5, "10.9.0.1/24", true);
        let ipv6 = address(5, "2001:db8:9::1/64", true);
        for (what, addresses, sender) in [
            ("no address at all", vec![], "0.0.0.0"),
            ("loopback does not count", vec![loopback], "0.0.0.0"),
            ("nor does one of IPv6", vec![loopback, ipv6], "0.0.0.0"),
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

    #[test]
    fn ipv6_neighbours_are_asked_from_a_link_local_address() {
        let own = address(5, "fe80::5/64", false);
        for (what, addresses, can) in [
            ("none", vec![], false),
            ("a global one", vec![address(5, "2001:db8:9::1/64", true)], false),
            ("another interface's", vec![Address { ifindex: 6, ..own }], false),
            ("one in doubt", vec![Address { usable: false, ..own }], false),
            ("one of its own", vec![own], true),
        ] {
            assert_eq!(can_solicit(&addresses, 5), can, "{what}");
        }
    }

    #[test]
    fn addresses_are_read() {
        let message = |flags, attributes: &[AddressAttribute]| {
            let mut message = AddressMessage::default();
            message.header.index = 5;
            message.header.prefix_len = 64;
            message.header.flags = flags;
            message.attributes = attributes.to_vec();
            Address::from_message(&message)
        };
        let [own, far] =
            ["2001:db8:9::1", "2001:db8:9::2"].map(|text| text.parse().expect("an address"));
        let plain = AddressHeaderFlags::Permanent;
        let found = Some(address(5, "2001:db8:9::1/64", true));
        assert_eq!(message(plain, &[AddressAttribute::Address(own)]), found);
        for both in [
            [AddressAttribute::Address(far), AddressAttribute::Local(own)],
            [AddressAttribute::Local(own), AddressAttribute::Address(far)],
        ] {
            assert_eq!(message(plain, &both), found);
        }
        for doubt in [AddressHeaderFlags::Tentative, AddressHeaderFlags::Dadfailed] {
            let read = message(plain | doubt, &[AddressAttribute::Address(own)]);
            assert_eq!(read, found.map(|address| Address { usable: false, ..address }));
        }
        assert_eq!(message(plain, &[]), None);
    }
}
