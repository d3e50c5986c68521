//! Next hops of IPv6 targets, on an interface that has no IPv6 address but its link-local one.

use std::net::Ipv6Addr;

use super::*;

const TARGET6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2);
/// Behind a router.
const DISTANT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 5);

/// The hop `1` behind `v0`, from a load balancer with this address.
fn hops_from(lab: &Lab, balancer: &str, target: Ipv6Addr) -> BTreeMap<u32, Hop> {
    let mut hops = hops(lab, target);
    let hop = hops.get_mut(&1).expect("the hop");
    hop.on_link = vec![balancer.parse().expect("a network")];
    hops
}

fn hops6(lab: &Lab, target: Ipv6Addr) -> BTreeMap<u32, Hop> {
    hops_from(lab, "2001:db8:9::100/64", target)
}

#[test]
fn an_on_link_target_is_resolved_and_close_leaves_nothing() {
    let lab = Lab::with_ipv6();
    lab.inside(async || {
        let mut both = hops6(&lab, TARGET6);
        both.insert(2, hops(&lab, TARGET)[&1].clone());
        let mut resolver = resolver(both).await;
        let ifindex = number(&lab.near("-o link show v0"));
        assert_eq!(wait_mac(&mut resolver, FAR_MAC).await, (ifindex, 1500));
        for shown in [lab.neighbour6(), lab.neighbour()] {
            assert!(shown.contains("managed") && shown.contains("proto 112"), "{shown}");
        }
        resolver.close().await.expect("closing");
        assert_eq!((lab.neighbour6(), lab.neighbour()), (String::new(), String::new()));
    });
}

/// Gives the target another MAC address, which must be found.
fn follows_a_changed_mac(lab: &Lab) {
    lab.inside(async || {
        let mut resolver = resolver(hops6(lab, TARGET6)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("link set v1 address 02:00:00:00:00:03");
        wait_mac(&mut resolver, "02:00:00:00:00:03").await;
    });
}

#[test]
fn a_changed_mac_of_the_target_is_followed() {
    // With ndisc_notify the target tells of it by an unsolicited advertisement.
    follows_a_changed_mac(&Lab::with_ipv6());
}

#[test]
fn a_changed_mac_that_nobody_announces_is_found_by_the_managed_entry() {
    let lab = Lab::with_ipv6();
    lab.sysctl(&lab.far, "net.ipv6.conf.v1.ndisc_notify=0");
    lab.quick_probes();
    follows_a_changed_mac(&lab);
}

#[test]
fn a_target_that_falls_silent_is_lost_and_found_again() {
    let lab = Lab::with_ipv6();
    lab.quick_probes();
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("address del 2001:db8:9::2/64 dev v1");
        assert_eq!(
            wait_unresolved(&mut resolver).await,
            "2001:db8:9::2 does not answer neighbour discovery on v0: check that it is up and in that network"
        );
        lab.far("address add 2001:db8:9::2/64 dev v1 nodad");
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn a_deleted_entry_is_installed_again() {
    let lab = Lab::with_ipv6();
    lab.sysctl(&lab.far, "net.ipv6.conf.v1.ndisc_notify=0");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("link set v1 address 02:00:00:00:00:03");
        lab.near("neigh del 2001:db8:9::2 dev v0");
        wait_mac(&mut resolver, "02:00:00:00:00:03").await;
        let shown = lab.neighbour6();
        assert!(shown.contains("managed"), "{shown}");
    });
}

#[test]
fn a_changed_mac_that_nobody_announces_is_found_at_once_when_it_is_doubted() {
    let lab = Lab::with_ipv6();
    lab.sysctl(&lab.far, "net.ipv6.conf.v1.ndisc_notify=0");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("link set v1 address 02:00:00:00:00:03");
        resolver.doubt(1);
        wait_mac(&mut resolver, "02:00:00:00:00:03").await;
    });
}

#[test]
fn outside_the_load_balancers_subnet_the_prefix_route_decides() {
    let lab = Lab::with_ipv6();
    lab.inside(async || {
        let mut resolver = resolver(hops_from(&lab, "2001:db8:8::100/64", TARGET6)).await;
        assert_eq!(
            wait_unresolved(&mut resolver).await,
            "there is no route to 2001:db8:9::2 through v0: ip route add 2001:db8:9::2/128 via <router> dev v0 \
             (it is in none of the load balancer's subnets)"
        );
        lab.near("route add 2001:db8:9::/64 dev v0");
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.near("route add 2001:db8:9::2/128 dev v0 mtu 1300");
        assert_eq!(wait_mac(&mut resolver, FAR_MAC).await.1, 1300);
    });
}

#[test]
fn a_target_in_another_subnet_is_reached_through_the_router() {
    let lab = Lab::with_ipv6();
    // A router is mostly known by its link-local address.
    lab.near("route add 2001:db8:a::/64 via fe80::ff:fe00:2 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, DISTANT)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        assert!(lab.near("-d neigh show to fe80::ff:fe00:2").contains("managed"));
        // A better route appears, through a router that has another MAC address.
        lab.near("neigh add 2001:db8:9::3 lladdr 02:00:00:00:00:33 dev v0 nud permanent");
        lab.near("route add 2001:db8:9::/64 dev v0");
        lab.near("route add 2001:db8:a::5/128 via 2001:db8:9::3 dev v0");
        wait_mac(&mut resolver, "02:00:00:00:00:33").await;
        until(&mut resolver, "nothing is asked of the former router", || {
            !lab.near("-d neigh show to fe80::ff:fe00:2").contains("managed")
        })
        .await;
    });
}

#[test]
fn an_ipv4_target_may_stand_behind_an_ipv6_router() {
    let lab = Lab::with_ipv6();
    lab.near("route add 10.2.0.0/24 via inet6 fe80::ff:fe00:2 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, Ipv4Addr::new(10, 2, 0, 5))).await;
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn a_permanent_entry_is_used_and_left_alone() {
    let lab = Lab::with_ipv6();
    lab.near("neigh add 2001:db8:9::2 lladdr 02:00:00:00:00:77 dev v0 nud permanent");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        wait_mac(&mut resolver, "02:00:00:00:00:77").await;
        resolver.close().await.expect("closing");
        let shown = lab.neighbour6();
        assert_eq!(shown.trim(), "2001:db8:9::2 dev v0 lladdr 02:00:00:00:00:77 PERMANENT");
    });
}

#[test]
fn where_ipv6_is_disabled_the_reason_says_how_to_enable_it() {
    let lab = Lab::with_ipv6();
    lab.sysctl(&lab.near, "net.ipv6.conf.v0.disable_ipv6=1");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        let reason = wait_unresolved(&mut resolver).await;
        let (_, remedy) =
            reason.split_once("; if IPv6 is disabled there: sysctl -w ").expect("a remedy");
        lab.sysctl(&lab.near, remedy);
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn without_a_link_local_address_nobody_is_asked_until_the_advice_is_followed() {
    let lab = Lab::with_ipv6();
    lab.near("link set v0 addrgenmode none");
    lab.near("address flush dev v0 scope link");
    lab.near("address add 2001:db8:9::1/64 dev v0 nodad");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        let reason = wait_unresolved(&mut resolver).await;
        let (what, remedy) = reason.split_once(": sysctl -w ").expect("a remedy");
        assert_eq!(
            what,
            "2001:db8:9::2 cannot be asked for on v0, which has no link-local IPv6 address to ask from"
        );
        for assignment in remedy.split(' ') {
            lab.sysctl(&lab.near, assignment);
        }
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn an_interface_whose_mtu_is_too_small_for_ipv6_is_named() {
    let lab = Lab::with_ipv6();
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.near("link set v0 mtu 1279");
        let remedy = "ip link set v0 mtu 1280";
        assert_eq!(
            wait_unresolved(&mut resolver).await,
            format!("interface v0 has an MTU of 1279, and carries no IPv6: {remedy}")
        );
        lab.near(remedy.strip_prefix("ip ").expect("an ip command"));
        assert_eq!(wait_mac(&mut resolver, FAR_MAC).await.1, 1280);
    });
}

#[test]
fn an_address_of_our_own_interface_is_refused() {
    let lab = Lab::with_ipv6();
    lab.near("address add 2001:db8:9::2/64 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops6(&lab, TARGET6)).await;
        let reason = wait_unresolved(&mut resolver).await;
        assert!(
            reason.starts_with("2001:db8:9::2 is an address of this host's own interface v0"),
            "{reason}"
        );
    });
}
