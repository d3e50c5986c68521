//! The choice of interface and next hop for a target; where there is none, the reason and the remedy
//! in words.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use super::address::{Address, arp_sender, can_solicit};
use super::hop::Hop;
use super::link::Link;
use super::neighbour::Neighbour;
use super::route::Route;

/// The least MTU with which an interface carries IPv6 (RFC 8200, section 5); with less Linux turns it off there.
const LEAST_MTU_OF_IPV6: u32 = 1280;

/// An interface that a hop may use, with what the routing tables say about it.
#[derive(Clone, Debug)]
pub(super) struct Offer<'a> {
    pub(super) link: &'a Link,
    pub(super) route: Route,
}

impl Offer<'_> {
    /// Whether packets to an address can leave here now.
    fn carries(&self, target: IpAddr) -> bool {
        self.link.up && (target.is_ipv4() || self.link.mtu >= LEAST_MTU_OF_IPV6)
    }
}

/// What was chosen for a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Ask this neighbour for its Ethernet address.
    Via {
        neighbour: Neighbour,
        /// Name of the interface.
        interface: String,
        /// Of the interface and the route.
        mtu: u32,
        /// What to say when the neighbour does not answer.
        silent: String,
    },
    /// There is no way.
    Nowhere(String),
}

/// Chooses interface and next hop from the interfaces that exist.
pub(super) fn choose(hop: &Hop, offers: &[Offer<'_>], addresses: &[Address]) -> Choice {
    if offers.is_empty() {
        return Choice::Nowhere(format!(
            "no interface towards {} exists: create it or correct the vpc's interfaces in the configuration",
            hop.target
        ));
    }
    if hop.target.is_ipv4() && !addresses.iter().any(|address| address.net.addr().is_ipv4()) {
        // Without any address there is no local routing table, and without that
        // `inet_addr_type_dev_table()` calls every address a broadcast address: the neighbour entry would
        // say ff:ff:ff:ff:ff:ff. Seen on 6.18 in a network namespace whose lo is down.
        return Choice::Nowhere(
            "this network namespace has no IPv4 address at all, not even 127.0.0.1, so the kernel resolves none: \
             ip link set lo up"
                .to_owned(),
        );
    }
    let up = || offers.iter().filter(|offer| offer.carries(hop.target));
    if up().next().is_none() {
        return Choice::Nowhere(down(offers));
    }
    let offer = if hop.subnet_of(hop.target).is_some() {
        up().find(|offer| matches!(offer.route, Route::OnLink { .. })).or_else(|| up().next())
    } else {
        up().find(|offer| !matches!(offer.route, Route::Absent(_)))
    };
    let Some(offer) = offer else {
        return Choice::Nowhere(no_route(hop, offers));
    };
    let own = |address: &&Address| {
        address.ifindex == offer.link.ifindex && address.net.addr() == hop.target
    };
    if addresses.iter().any(|address| own(&address)) {
        return Choice::Nowhere(format!(
            "{} is an address of this host's own interface {}: \
             register the address of a machine in the provider's network",
            hop.target, offer.link.name
        ));
    }
    let (address, limit) = match offer.route {
        // Inside the load balancer's subnet a route via a router (a /32 left by somebody) does not count.
        Route::Gateway { gateway, mtu } if hop.subnet_of(hop.target).is_none() => (gateway, mtu),
        Route::OnLink { mtu } => (hop.target, mtu),
        Route::Gateway { .. } | Route::Absent(_) => (hop.target, None),
    };
    let neighbour = Neighbour { ifindex: offer.link.ifindex, address };
    Choice::Via {
        neighbour,
        interface: offer.link.name.clone(),
        mtu: limit.map_or(offer.link.mtu, |limit| limit.min(offer.link.mtu)),
        silent: silent(hop, neighbour, &offer.link.name, addresses),
    }
}

fn down(offers: &[Offer<'_>]) -> String {
    let parts: Vec<String> = offers
        .iter()
        .map(|Offer { link, .. }| {
            let Link { name, mtu, .. } = link;
            if link.up {
                format!(
                    "interface {name} has an MTU of {mtu}, and carries no IPv6: \
                     ip link set {name} mtu {LEAST_MTU_OF_IPV6}"
                )
            } else if link.admin_up {
                format!(
                    "interface {name} has no carrier: connect its cable or bring up its far end"
                )
            } else {
                format!("interface {name} is down: ip link set {name} up")
            }
        })
        .collect();
    parts.join("; ")
}

fn no_route(hop: &Hop, offers: &[Offer<'_>]) -> String {
    let length = if hop.target.is_ipv4() { 32 } else { 128 };
    let parts: Vec<String> = offers
        .iter()
        .filter(|offer| offer.carries(hop.target))
        .map(|Offer { link, route }| {
            let why = if let Route::Absent(why) = route { why.as_str() } else { "no route" };
            format!(
                "there is {why} to {0} through {1}: ip route add {0}/{length} via <router> dev {1}",
                hop.target, link.name
            )
        })
        .collect();
    format!("{} (it is in none of the load balancer's subnets)", parts.join("; "))
}

/// What to say of a neighbour that does not answer.
fn silent(hop: &Hop, neighbour: Neighbour, interface: &str, addresses: &[Address]) -> String {
    let Neighbour { ifindex, address } = neighbour;
    let who = if address == hop.target {
        format!("{address}")
    } else {
        format!("the router {address} towards {}", hop.target)
    };
    if address.is_ipv6() && !can_solicit(addresses, ifindex) {
        return format!(
            "{who} cannot be asked for on {interface}, which has no link-local IPv6 address to ask from: \
             sysctl -w net/ipv6/conf/{interface}/disable_ipv6=0 net/ipv6/conf/{interface}/addr_gen_mode=0"
        );
    }
    let advice = match address {
        IpAddr::V4(address) => foreign_sender(hop, ifindex, address, interface, addresses),
        IpAddr::V6(_) => None,
    };
    format!(
        "{who} does not answer {} on {interface}: check that it is up and in that network{}",
        neighbour.protocol(),
        advice.unwrap_or_default()
    )
}

/// What to say besides where the kernel asks by ARP from an address of another subnet.
fn foreign_sender(
    hop: &Hop,
    ifindex: u32,
    address: Ipv4Addr,
    interface: &str,
    addresses: &[Address],
) -> Option<String> {
    let sender = arp_sender(addresses, ifindex, address);
    let subnet = hop.subnet_of(address.into());
    let in_subnet = sender.is_unspecified()
        || subnet.is_some_and(|net| net.contains(&IpAddr::from(sender)))
        || addresses
            .iter()
            .any(|own| own.ifindex == ifindex && own.net.contains(&IpAddr::from(address)));
    if in_subnet {
        return None;
    }
    let remedy = match subnet {
        Some(net) if net.addr() != net.network() => {
            format!("ip address add {}/32 dev {interface}", net.addr())
        }
        _ => format!("give {interface} an address in the subnet of {address}"),
    };
    Some(format!(
        "; the kernel asks as {sender}, which a machine with rp_filter and no route back does not answer: {remedy}"
    ))
}
