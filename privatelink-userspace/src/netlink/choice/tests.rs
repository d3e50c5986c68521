//! What is chosen, and what is said where nothing is.

use std::net::Ipv6Addr;

use super::*;
use crate::netlink::link::LinkKind;

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
        assert_eq!(via(&choose(&hop, &offers, &[loopback()])), (ifindex, TARGET, 1500), "{what}");
    }
}

#[test]
fn elsewhere_the_route_decides() {
    let hop = hop("10.8.0.100/24");
    let links = [link(5, true), link(6, true)];
    let offer = |first: Route, second: Route| {
        choose(
            &hop,
            &[Offer { link: &links[0], route: first }, Offer { link: &links[1], route: second }],
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
    let Choice::Nowhere(reason) = choose(&hop, &[Offer { link: &on, route: absent() }], &[]) else {
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
    assert!(matches!(choose(own), Choice::Nowhere(reason) if reason.contains("own interface v5")));
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
