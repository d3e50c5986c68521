//! The choice of interface and next hop for a target; where there is none, the reason and the remedy
//! in words.

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

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::super::link::LinkKind;
    use super::*;

    const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 254));
    const TARGET6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2));
    const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

    fn link(ifindex: u32, up: bool) -> Link {
        Link {
            ifindex,
            name: format!("v{ifindex}"),
            mac: [2; 6],
            mtu: 1500,
            admin_up: up,
            up,
            kind: LinkKind::Other(String::new()),
            xdp: None,
        }
    }

    fn hop(on_link: &str) -> Hop {
        Hop {
            interfaces: vec![5, 6],
            on_link: vec![on_link.parse().expect("a network")],
            target: TARGET,
        }
    }

    fn hop6(on_link: &str) -> Hop {
        Hop { target: TARGET6, ..hop(on_link) }
    }

    fn address(ifindex: u32, net: &str) -> Address {
        Address { ifindex, net: net.parse().expect("a network"), global: true, usable: true }
    }

    /// The least that a working host has.
    fn loopback() -> Address {
        Address { global: false, ..address(1, "127.0.0.1/8") }
    }

    fn absent() -> Route {
        Route::Absent("no route".to_owned())
    }

    fn via(choice: &Choice) -> (u32, IpAddr, u32) {
        match choice {
            Choice::Via { neighbour, mtu, .. } => (neighbour.ifindex, neighbour.address, *mtu),
            Choice::Nowhere(reason) => panic!("unresolved: {reason}"),
        }
    }

    #[test]
    fn inside_the_load_balancers_subnet_the_target_is_the_next_hop() {
        let hop = hop("10.9.0.100/24");
        let on_link = Route::OnLink { mtu: None };
        let gateway = Route::Gateway { gateway: ROUTER, mtu: Some(1000) };
        for (what, offers, ifindex) in [
            ("no route at all: the first that is up", [(true, absent()), (true, absent())], 5),
            ("the first is down", [(false, absent()), (true, absent())], 6),
            ("a route confirms the second", [(true, absent()), (true, on_link.clone())], 6),
            ("a route through a router confirms nothing", [(true, absent()), (true, gateway)], 5),
            ("the confirmed one is down", [(true, absent()), (false, on_link)], 5),
        ] {
            let links = [link(5, offers[0].0), link(6, offers[1].0)];
            let offers: Vec<_> = offers
                .into_iter()
                .zip(&links)
                .map(|((_, route), link)| Offer { link, route })
                .collect();
            assert_eq!(
                via(&choose(&hop, &offers, &[loopback()])),
                (ifindex, TARGET, 1500),
                "{what}"
            );
        }
    }

    #[test]
    fn elsewhere_the_route_decides() {
        let hop = hop("10.8.0.100/24");
        let links = [link(5, true), link(6, true)];
        let offer = |first: Route, second: Route| {
            choose(
                &hop,
                &[
                    Offer { link: &links[0], route: first },
                    Offer { link: &links[1], route: second },
                ],
                &[loopback()],
            )
        };
        let gateway = Route::Gateway { gateway: ROUTER, mtu: Some(1400) };
        assert_eq!(via(&offer(absent(), gateway.clone())), (6, ROUTER, 1400));
        assert_eq!(via(&offer(Route::OnLink { mtu: Some(9000) }, gateway)), (5, TARGET, 1500));
        assert_eq!(
            offer(absent(), Route::Absent("only a route of type 2 (Local)".to_owned())),
            Choice::Nowhere(
                "there is no route to 10.9.0.2 through v5: ip route add 10.9.0.2/32 via <router> dev v5; \
                 there is only a route of type 2 (Local) to 10.9.0.2 through v6: \
                 ip route add 10.9.0.2/32 via <router> dev v6 \
                 (it is in none of the load balancer's subnets)"
                    .to_owned()
            )
        );
    }

    #[test]
    fn without_a_working_interface_the_reason_says_which() {
        let hop = hop("10.9.0.100/24");
        let mut pulled = link(6, false);
        pulled.admin_up = true;
        let off = link(5, false);
        let offers = [&off, &pulled].map(|link| Offer { link, route: absent() });
        assert_eq!(
            choose(&hop, &offers, &[loopback()]),
            Choice::Nowhere(
                "interface v5 is down: ip link set v5 up; \
                 interface v6 has no carrier: connect its cable or bring up its far end"
                    .to_owned()
            )
        );
        let on = link(5, true);
        let Choice::Nowhere(reason) = choose(&hop, &[Offer { link: &on, route: absent() }], &[])
        else {
            panic!("resolved without an address")
        };
        assert!(reason.ends_with("ip link set lo up"), "{reason}");
        let Choice::Nowhere(reason) = choose(&hop, &[], &[loopback()]) else {
            panic!("resolved without an interface")
        };
        assert!(reason.starts_with("no interface towards 10.9.0.2 exists"), "{reason}");
    }

    #[test]
    fn a_target_on_the_gateways_own_interface_is_refused() {
        let link = link(5, true);
        let own = address(5, "10.9.0.2/24");
        // The same address on another interface is another vpc's business.
        let other = Address { ifindex: 6, ..own };
        let choose = |address| {
            choose(&hop("10.9.0.100/24"), &[Offer { link: &link, route: absent() }], &[address])
        };
        assert!(
            matches!(choose(own), Choice::Nowhere(reason) if reason.contains("own interface v5"))
        );
        assert_eq!(via(&choose(other)), (5, TARGET, 1500));
    }

    #[test]
    fn a_silent_target_is_explained_by_the_kernels_arp_sender() {
        let text = |on_link: &str, addresses: &[(u32, &str)]| {
            let addresses: Vec<Address> =
                addresses.iter().map(|(ifindex, net)| address(*ifindex, net)).collect();
            silent(&hop(on_link), Neighbour { ifindex: 5, address: TARGET }, "v5", &addresses)
        };
        let plain = "10.9.0.2 does not answer ARP on v5: check that it is up and in that network";
        let foreign = "; the kernel asks as 192.0.2.7, which a machine with rp_filter and no route back does not answer: ";
        let management = (2, "192.0.2.7/24");
        assert_eq!(text("10.9.0.100/24", &[]), plain);
        assert_eq!(text("10.9.0.100/24", &[(5, "10.9.0.1/24"), management]), plain);
        assert_eq!(text("10.9.0.100/24", &[(5, "10.9.0.100/32"), management]), plain);
        assert_eq!(
            text("10.9.0.100/24", &[management]),
            format!("{plain}{foreign}ip address add 10.9.0.100/32 dev v5")
        );
        assert_eq!(
            text("10.9.0.0/24", &[management]),
            format!("{plain}{foreign}give v5 an address in the subnet of 10.9.0.2")
        );
    }
    #[test]
    fn an_ipv6_target_needs_a_subnet_or_a_route_and_no_global_address_of_ours() {
        let (on, small) = (link(5, true), Link { mtu: 1279, ..link(6, true) });
        let choose = |hop: &Hop, link, route| choose(hop, &[Offer { link, route }], &[]);
        let gateway = || Route::Gateway { gateway: ROUTER6, mtu: Some(1400) };
        let (inside, outside) = (hop6("2001:db8:9::100/64"), hop6("2001:db8:8::100/64"));
        assert_eq!(via(&choose(&inside, &on, absent())), (5, TARGET6, 1500));
        assert_eq!(via(&choose(&inside, &on, gateway())), (5, TARGET6, 1500));
        assert_eq!(via(&choose(&outside, &on, Route::OnLink { mtu: None })), (5, TARGET6, 1500));
        assert_eq!(via(&choose(&outside, &on, gateway())), (5, ROUTER6, 1400));
        for (hop, link, words) in [
            (
                &outside,
                &on,
                "there is no route to 2001:db8:9::2 through v5: ip route add 2001:db8:9::2/128 via <router> dev v5 \
                 (it is in none of the load balancer's subnets)",
            ),
            // A subnet of the other family holds nothing.
            (
                &hop6("10.9.0.100/24"),
                &on,
                "there is no route to 2001:db8:9::2 through v5: ip route add 2001:db8:9::2/128 via <router> dev v5 \
                 (it is in none of the load balancer's subnets)",
            ),
            (
                &inside,
                &small,
                "interface v6 has an MTU of 1279, and carries no IPv6: ip link set v6 mtu 1280",
            ),
        ] {
            assert_eq!(choose(hop, link, absent()), Choice::Nowhere(words.to_owned()));
        }
        assert_eq!(
            via(&super::choose(
                &hop("10.9.0.100/24"),
                &[Offer { link: &small, route: absent() }],
                &[loopback()]
            )),
            (6, TARGET, 1279)
        );
    }

    #[test]
    fn a_silent_ipv6_target_is_explained() {
        let text = |neighbour, addresses: &[Address]| {
            let neighbour = Neighbour { ifindex: 5, address: neighbour };
            silent(&hop6("2001:db8:9::100/64"), neighbour, "v5", addresses)
        };
        let link_local = address(5, "fe80::5/64");
        assert_eq!(
            text(TARGET6, &[link_local]),
            "2001:db8:9::2 does not answer neighbour discovery on v5: check that it is up and in that network"
        );
        assert_eq!(
            text(ROUTER6, &[link_local]),
            "the router fe80::1 towards 2001:db8:9::2 does not answer neighbour discovery on v5: \
             check that it is up and in that network"
        );
        let doubted = Address { usable: false, ..link_local };
        for addresses in [&[][..], &[address(5, "2001:db8:9::1/64")], &[doubted]] {
            assert_eq!(
                text(TARGET6, addresses),
                "2001:db8:9::2 cannot be asked for on v5, which has no link-local IPv6 address to ask from: \
                 sysctl -w net/ipv6/conf/v5/disable_ipv6=0 net/ipv6/conf/v5/addr_gen_mode=0"
            );
        }
    }
}
