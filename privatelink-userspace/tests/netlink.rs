//! Next hops and interfaces against a real kernel. Needs root: every test makes two network
//! namespaces joined by a veth, `v0` (ours) and `v1` (the provider's), and removes them.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use privatelink_userspace::netlink::{
    Event, Hop, LinkKind, Netlink, NextHop, Peer, Resolver, Sends, napi_advice, sends,
    tx_off_advice,
};
use tokio::time::{Instant, timeout, timeout_at};

#[path = "netlink/doubt.rs"]
mod doubt;
#[path = "netlink/ipv6.rs"]
mod ipv6;
#[path = "netlink/lab.rs"]
mod lab;

use lab::{FAR_MAC, Lab};

/// Less than the resolver's 30 s, so that nothing passes only because everything is looked at again.
const PATIENCE: Duration = Duration::from_secs(20);
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));

/// The number in front of what `ip -o link show NAME` prints.
fn number(shown: &str) -> u32 {
    shown.split(':').next().and_then(|number| number.parse().ok()).expect("an interface number")
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
    bytes.try_into().expect("six bytes")
}

/// The hop `1` behind `v0`, from a load balancer with address 10.9.0.100 in 10.9.0.0/24.
fn hops(lab: &Lab, target: impl Into<IpAddr>) -> BTreeMap<u32, Hop> {
    let on_link = vec!["10.9.0.100/24".parse().expect("a network")];
    let interfaces = vec![number(&lab.near("-o link show v0"))];
    BTreeMap::from([(1, Hop { interfaces, on_link, target: target.into() })])
}

async fn resolver(hops: BTreeMap<u32, Hop>) -> Resolver<u32> {
    Resolver::new(Netlink::open().await.expect("netlink"), hops)
}

/// Waits for an event.
async fn wait<T>(
    resolver: &mut Resolver<u32>,
    what: &str,
    mut accept: impl FnMut(&Event<u32>) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let Ok(event) = timeout_at(deadline, resolver.next_event()).await else {
            panic!("{what}: not within {PATIENCE:?}; seen {seen:#?}");
        };
        if let Some(value) = accept(&event) {
            return value;
        }
        seen.push(event);
    }
}

/// Waits until the hop is resolved to this MAC address. Returns interface and MTU.
async fn wait_mac(resolver: &mut Resolver<u32>, address: &str) -> (u32, u32) {
    let wanted = mac(address);
    wait(resolver, &format!("resolved to {address}"), |event| match event {
        Event::NextHop { key: 1, state: NextHop::Resolved { ifindex, mac, mtu } }
            if *mac == wanted =>
        {
            Some((*ifindex, *mtu))
        }
        _ => None,
    })
    .await
}

/// Waits until the hop is unresolved, and returns why.
async fn wait_unresolved(resolver: &mut Resolver<u32>) -> String {
    wait(resolver, "unresolved", |event| match event {
        Event::NextHop { key: 1, state: NextHop::Unresolved { reason } } => Some(reason.clone()),
        _ => None,
    })
    .await
}

/// Lets the resolver work until something is true of the kernel.
async fn until(resolver: &mut Resolver<u32>, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        let _ = timeout(Duration::from_millis(20), resolver.next_event()).await;
    }
}

#[test]
fn a_device_tells_what_it_sends_of_what_xdp_redirects() {
    let lab = Lab::new();
    let v0 = number(&lab.near("-o link show v0"));
    // A veth does by the NAPI of its far end, which it has with GRO. Linux tells from 6.3 on.
    for (gro, expected) in [("on", Sends::Any), ("off", Sends::Nothing)] {
        lab.far_offload(&format!("gro {gro}"));
        let told = lab.inside(async || sends(v0));
        assert!(told.is_none_or(|told| told == expected), "gro {gro}: {told:?}");
    }
    assert_eq!(lab.inside(async || sends(u32::MAX >> 1)), None);
}

#[test]
fn a_veth_tells_where_its_peer_is() {
    let lab = Lab::new();
    lab.near("link add w0 mtu 1400 type veth peer name w1");
    let peer = number(&lab.far("-o link show v1"));
    lab.inside(async || {
        let netlink = Netlink::open().await.expect("netlink");
        let v0 = netlink.link("v0").await.expect("an answer").expect("v0");
        assert!(v0.up && v0.admin_up);
        assert_eq!((v0.mtu, v0.xdp), (1500, None));
        let LinkKind::Veth { peer: Some(Peer { ifindex, netnsid: Some(_), name: None }) } = v0.kind
        else {
            panic!("not a veth with its peer elsewhere: {v0:?}");
        };
        assert_eq!(ifindex, peer);
        assert_eq!(
            tx_off_advice(&v0),
            format!(
                "inside the network namespace of the peer (ifindex {peer}): \
                 ethtool -K <name of its interface> tx off"
            )
        );
        let w0 = netlink.link("w0").await.expect("an answer").expect("w0");
        assert_eq!((w0.mtu, w0.admin_up, w0.up), (1400, false, false));
        assert_eq!(napi_advice(&w0), "ethtool -K w1 gro on");
        assert_eq!(netlink.link("none").await.expect("an answer"), None);
    });
}

#[test]
fn an_on_link_target_is_resolved_and_close_leaves_nothing() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        let ifindex = number(&lab.near("-o link show v0"));
        assert_eq!(wait_mac(&mut resolver, FAR_MAC).await, (ifindex, 1500));
        let shown = lab.neighbour();
        assert!(shown.contains("managed") && shown.contains("proto 112"), "{shown}");
        resolver.close().await.expect("closing");
        assert_eq!(lab.neighbour(), "");
    });
}

#[test]
fn a_changed_mac_of_the_target_is_followed() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        // With arp_notify the target tells of it by a gratuitous ARP.
        lab.far("link set v1 address 02:00:00:00:00:03");
        wait_mac(&mut resolver, "02:00:00:00:00:03").await;
    });
}

#[test]
fn a_changed_mac_that_nobody_announces_is_found_by_the_managed_entry() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.sysctl(&lab.far, "net.ipv4.conf.v1.arp_notify=0");
    lab.quick_probes();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("link set v1 address 02:00:00:00:00:03");
        wait_mac(&mut resolver, "02:00:00:00:00:03").await;
    });
}

#[test]
fn a_target_that_falls_silent_is_lost_and_found_again() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.quick_probes();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("address del 10.9.0.2/24 dev v1");
        let reason = wait_unresolved(&mut resolver).await;
        assert_eq!(
            reason,
            "10.9.0.2 does not answer ARP on v0: check that it is up and in that network"
        );
        lab.far("address add 10.9.0.2/24 dev v1");
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn link_down_and_up_is_reported_with_the_remedy() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;

        lab.near("link set v0 down");
        wait(&mut resolver, "link down", |event| {
            matches!(event, Event::Link(link) if link.name == "v0" && !link.admin_up && !link.up)
                .then_some(())
        })
        .await;
        assert_eq!(wait_unresolved(&mut resolver).await, "interface v0 is down: ip link set v0 up");
        lab.near("link set v0 up");
        wait_mac(&mut resolver, FAR_MAC).await;

        lab.far("link set v1 down");
        let reason = wait_unresolved(&mut resolver).await;
        assert_eq!(
            reason,
            "interface v0 has no carrier: connect its cable or bring up its far end"
        );
        lab.far("link set v1 up");
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn the_mtu_of_interface_and_route_is_reported() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.near("link set v0 mtu 1400");
        assert_eq!(wait_mac(&mut resolver, FAR_MAC).await.1, 1400);
        lab.near("route add 10.9.0.2/32 dev v0 mtu 1300");
        assert_eq!(wait_mac(&mut resolver, FAR_MAC).await.1, 1300);
    });
}

#[test]
fn a_target_in_another_subnet_is_reached_through_the_router() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.near("route add 10.2.0.0/24 via 10.9.0.2 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, Ipv4Addr::new(10, 2, 0, 5))).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        // A better route appears, through a router that has another MAC address.
        lab.near("neigh add 10.9.0.3 lladdr 02:00:00:00:00:33 dev v0 nud permanent");
        lab.near("route add 10.2.0.5/32 via 10.9.0.3 dev v0");
        wait_mac(&mut resolver, "02:00:00:00:00:33").await;
        until(&mut resolver, "nothing is asked of the former router", || {
            lab.neighbour().is_empty()
        })
        .await;
    });
}

#[test]
fn without_a_route_the_reason_says_so_although_the_kernel_pretends_one() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    let pretence = lab.near("route get 10.2.0.5 oif v0");
    assert!(pretence.contains("10.2.0.5 dev v0"), "the trap is gone: {pretence}");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, Ipv4Addr::new(10, 2, 0, 5))).await;
        let words = "there is no route to 10.2.0.5 through v0: ip route add 10.2.0.5/32 via <router> dev v0 \
                     (it is in none of the load balancer's subnets)";
        assert_eq!(wait_unresolved(&mut resolver).await, words);
        lab.near("route add 10.2.0.0/24 via 10.9.0.2 dev v0");
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.near("route replace blackhole 10.2.0.5/32");
        assert_eq!(wait_unresolved(&mut resolver).await, words);
        until(&mut resolver, "nothing is asked of the router any more", || lab.neighbour().is_empty()).await;
    });
}

#[test]
fn a_permanent_entry_is_used_and_left_alone() {
    let lab = Lab::new();
    lab.near("neigh add 10.9.0.2 lladdr 02:00:00:00:00:77 dev v0 nud permanent");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, "02:00:00:00:00:77").await;
        resolver.close().await.expect("closing");
        assert_eq!(lab.neighbour().trim(), "10.9.0.2 dev v0 lladdr 02:00:00:00:00:77 PERMANENT");
    });
}

#[test]
fn an_entry_of_ours_made_permanent_by_somebody_is_theirs() {
    let lab = Lab::new();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.near("neigh replace 10.9.0.2 lladdr 02:00:00:00:00:77 dev v0 nud permanent");
        wait_mac(&mut resolver, "02:00:00:00:00:77").await;
        resolver.close().await.expect("closing");
        let shown = lab.neighbour();
        assert!(shown.contains("02:00:00:00:00:77 PERMANENT"), "{shown}");
    });
}

#[test]
fn a_deleted_entry_is_installed_again() {
    let lab = Lab::new();
    lab.sysctl(&lab.far, "net.ipv4.conf.v1.arp_notify=0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        // The known address stays valid meanwhile, so only a new one shows that the kernel asked again.
        lab.far("link set v1 address 02:00:00:00:00:03");
        lab.near("neigh del 10.9.0.2 dev v0");
        wait_mac(&mut resolver, "02:00:00:00:00:03").await;
        let shown = lab.neighbour();
        assert!(shown.contains("managed"), "{shown}");
    });
}

#[test]
fn without_an_address_the_kernel_asks_as_nobody_and_is_answered() {
    let lab = Lab::new();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn without_even_a_loopback_address_nothing_is_asked() {
    let lab = Lab::without_loopback();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        assert!(
            wait_unresolved(&mut resolver)
                .await
                .ends_with("not even 127.0.0.1, so the kernel resolves none: ip link set lo up")
        );
        assert_eq!(lab.neighbour(), "");
        lab.near("link set lo up");
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn a_broadcast_address_is_no_target() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, Ipv4Addr::new(10, 9, 0, 255))).await;
        let words = "10.9.0.255 is a broadcast or multicast address on v0: register the address of one machine";
        assert_eq!(wait_unresolved(&mut resolver).await, words);
        resolver.close().await.expect("closing");
        assert_eq!(lab.near("neigh show dev v0 nud all to 10.9.0.255"), "");
    });
}

#[test]
fn with_only_a_foreign_address_a_strict_target_is_silent_until_the_advice_is_followed() {
    let lab = Lab::new();
    lab.near("address add 192.0.2.7/32 dev lo");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        let reason = wait_unresolved(&mut resolver).await;
        let remedy = "ip address add 10.9.0.100/32 dev v0";
        assert_eq!(
            reason,
            format!(
                "10.9.0.2 does not answer ARP on v0: check that it is up and in that network; the kernel asks \
                 as 192.0.2.7, which a machine with rp_filter and no route back does not answer: {remedy}"
            )
        );
        lab.near(remedy.strip_prefix("ip ").expect("an ip command"));
        wait_mac(&mut resolver, FAR_MAC).await;
    });
}

#[test]
fn a_re_created_interface_is_reported_and_resolved_under_its_new_number() {
    let lab = Lab::new();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        let before = wait_mac(&mut resolver, FAR_MAC).await.0;
        lab.near("link del v0");
        wait(&mut resolver, "removed", |event| {
            (*event == Event::LinkRemoved { ifindex: before, name: "v0".to_owned() }).then_some(())
        })
        .await;
        assert!(
            wait_unresolved(&mut resolver)
                .await
                .starts_with("no interface towards 10.9.0.2 exists")
        );
        lab.cable();
        let after = wait_mac(&mut resolver, FAR_MAC).await.0;
        assert_eq!(after, number(&lab.near("-o link show v0")));
        assert_ne!(after, before);
        resolver.close().await.expect("closing");
        assert_eq!(lab.neighbour(), "");
    });
}

#[test]
fn interfaces_can_be_watched_before_they_exist() {
    let lab = Lab::new();
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        resolver.watch(["w0".to_owned()]);
        // Settled: what comes now can only come from events.
        wait_mac(&mut resolver, FAR_MAC).await;
        let mut next = async |what: &str| {
            wait(&mut resolver, what, |event| match event {
                Event::Link(link) if link.name == "w0" => Some(link.mtu),
                _ => None,
            })
            .await
        };
        lab.near("link add w0 type veth peer name w1");
        assert_eq!(next("created").await, 1500);
        lab.near("link set w0 mtu 1280");
        assert_eq!(next("changed").await, 1280);
    });
}

#[test]
fn new_hops_are_told_from_old_ones() {
    let lab = Lab::new();
    lab.far("address add 10.9.0.3/24 dev v1");
    lab.inside(async || {
        let first = hops(&lab, TARGET);
        let mut both = first.clone();
        both.insert(2, Hop { target: Ipv4Addr::new(10, 9, 0, 3).into(), ..first[&1].clone() });
        let mut resolver = resolver(first).await;
        wait_mac(&mut resolver, FAR_MAC).await;

        resolver.set_hops(both.clone());
        let key = wait(&mut resolver, "the new hop", |event| match event {
            Event::NextHop { key, .. } => Some(*key),
            _ => None,
        })
        .await;
        assert_eq!(key, 2, "the old one did not change");

        both.remove(&1);
        resolver.set_hops(both);
        assert_eq!(resolver.next_hop(&1), None);
        lab.far("link set v1 address 02:00:00:00:00:03");
        lab.near("neigh del 10.9.0.3 dev v0");
        wait(&mut resolver, "the remaining hop", |event| match event {
            Event::NextHop { key: 2, state: NextHop::Resolved { mac: [.., 3], .. } } => Some(()),
            Event::NextHop { key: 1, .. } => panic!("an event of a removed hop"),
            _ => None,
        })
        .await;
        until(&mut resolver, "the removed hop's entry is gone", || lab.neighbour().is_empty())
            .await;
    });
}

#[test]
fn what_a_dead_daemon_left_is_adopted_or_removed() {
    let lab = Lab::new();
    lab.far("address add 10.9.0.3/24 dev v1");
    lab.inside(async || {
        let mut first = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut first, FAR_MAC).await;
        drop(first);
        assert!(lab.neighbour().contains("managed"), "traffic keeps flowing");

        let mut second = resolver(hops(&lab, Ipv4Addr::new(10, 9, 0, 3))).await;
        wait_mac(&mut second, FAR_MAC).await;
        until(&mut second, "it is no longer wanted", || lab.neighbour().is_empty()).await;
        drop(second);

        let mut third = resolver(hops(&lab, Ipv4Addr::new(10, 9, 0, 3))).await;
        wait_mac(&mut third, FAR_MAC).await;
        third.close().await.expect("closing");
        assert_eq!(lab.near("-4 neigh show dev v0"), "");
    });
}

#[test]
fn a_change_among_lost_events_is_not_missed() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        assert_eq!(resolver.overruns(), 0);

        // Nothing reads the events while this thread waits for `ip`.
        let mut batch = Command::new("ip")
            .args(["-n", &lab.near, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("starting ip");
        let mut input = batch.stdin.take().expect("its input");
        for number in 0..8192_u32 {
            let [.., high, low] = number.to_be_bytes();
            let line =
                format!("neigh add 10.10.{high}.{low} lladdr {FAR_MAC} dev v0 nud permanent");
            writeln!(input, "{line}").expect("writing");
        }
        drop(input);
        assert!(batch.wait().expect("ip").success());
        lab.near("neigh replace 10.9.0.2 lladdr 02:00:00:00:00:77 dev v0 nud permanent");

        wait_mac(&mut resolver, "02:00:00:00:00:77").await;
        assert!(resolver.overruns() > 0, "the storm was too small");
    });
}
