//! A way narrower than the ends know, with the MSS left alone: ICMP tells them, and nothing is lost. Needs root.

#[path = "path_mtu/transfer.rs"]
mod transfer;

use std::fs;
use std::net::IpAddr;

use privatelink_tests::{
    BY_TCX, Daemon, DualStack, ENDPOINT, FOUR_ONLY, Family, Lab, Links, MIXES, Namespace, Server,
    Topology, attached, example, kernel_counters, move_behind_router,
};

use crate::transfer::{both_ways, serve};

const BYTES: usize = 8 << 20;
/// MTU of the narrow network; its hosts claim to take the segments of a wide one.
const NARROW: &str = "1400";
const CLAIMED_MSS: &str = "1460";
/// A change by which no MSS is lowered.
const UNCLAMPED: (&str, &str) =
    ("acceptance_required = false", "acceptance_required = false\nmss_clamp = \"off\"");
/// The least MTU of IPv6 (RFC 8200, section 5).
const LEAST: u32 = 1280;

/// Makes a network narrower than its host claims to those in these networks.
fn narrow_interface(lab: &Lab, narrow: &str, networks: &[&str]) {
    let interface = format!("pl-{narrow}");
    lab.gateway().run(&["ip", "link", "set", &interface, "mtu", NARROW]).unwrap();
    let network = lab.network(narrow).unwrap();
    network.run(&["ip", "link", "set", "eth0", "mtu", NARROW]).unwrap();
    for to in networks {
        let family = if to.contains(':') { "-6" } else { "-4" };
        let route = network.run(&["ip", family, "route", "show", to]).unwrap();
        let mut command = vec!["ip", family, "route", "replace"];
        command.extend(route.split_whitespace());
        command.extend(["advmss", CLAIMED_MSS]);
        network.run(&command).unwrap();
    }
}

/// Sends and fetches over a lab whose `narrow` network has a smaller MTU than it claims.
fn over_a_narrow_interface(narrow: &str, links: Links) {
    let lab = Lab::with_links(&Topology::overlap().without_targets(), links).unwrap();
    narrow_interface(&lab, narrow, &["10.0.0.0/16"]);

    let provider = lab.network("provider").unwrap();
    let _target = Server::start(provider, "10.0.1.10:8080".parse().unwrap(), |stream, _| {
        serve(stream, BYTES)
    });
    let config = lab.folder().join("unclamped.toml");
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let text = text
        .replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")
        .replace(UNCLAMPED.0, UNCLAMPED.1);
    let attach = if links == Links::Plain { "tcx" } else { "xdp" };
    fs::write(&config, attached(&text, attach)).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    both_ways(lab.network("consumer-a").unwrap(), ENDPOINT.into(), BYTES);

    // Somebody had to be told, by the interface the large segments came in by.
    let from = if narrow == "provider" { "pl-consumer-a" } else { "pl-provider" };
    let told = daemon.drops(from, "TooBig").unwrap();
    assert!((1..1000).contains(&told), "{told} segments were too big");
}

#[test]
fn a_client_learns_of_a_narrow_provider() {
    over_a_narrow_interface("provider", Links::ForXdp);
}

#[test]
fn a_target_learns_of_a_narrow_consumer() {
    over_a_narrow_interface("consumer-a", Links::ForXdp);
}

#[test]
fn an_offloading_client_learns_of_a_narrow_provider() {
    over_a_narrow_interface("provider", Links::Plain);
}

#[test]
fn an_offloading_target_learns_of_a_narrow_consumer() {
    over_a_narrow_interface("consumer-a", Links::Plain);
}

/// The same of other families, between ends that offload. Where the gateway's kernel finishes checksums, those of the errors are looked at.
fn over_a_narrow_interface_between(
    (client, target): (Family, Family),
    narrow: &str,
    left_to_card: &str,
) {
    println!(
        "{client:?} to {target:?}, narrow {narrow}, checksums left to the card {left_to_card}"
    );
    let lab = DualStack::lab_with(Links::Plain).unwrap();
    let six = if narrow == "provider" { "fd00:a::/64" } else { "fd00:b::/64" };
    narrow_interface(&lab, narrow, &["10.0.0.0/16", six]);
    for interface in ["pl-consumer-a", "pl-provider"] {
        lab.gateway().run(&["ethtool", "-K", interface, "tx", left_to_card]).unwrap();
    }
    let provider = lab.network("provider").unwrap();
    let _target =
        Server::start(provider, target.target(), |stream, _| serve(stream, BYTES)).unwrap();
    let health = DualStack::health(provider).unwrap();
    let site = DualStack::start(lab, health, &[BY_TCX, UNCLAMPED]).unwrap();

    both_ways(site.consumer(), client.endpoint(target), BYTES);

    let from = if narrow == "provider" { "pl-consumer-a" } else { "pl-provider" };
    let told = site.daemon.drops(from, "TooBig").unwrap();
    assert!((1..1000).contains(&told), "{told} segments were too big");
}

/// For each family of a client and of a target, a narrow network of either, and checksums left to the card or not.
macro_rules! between_offloading_ends {
    ($($name:ident: $client:ident, $target:ident, $narrow:literal;)+) => {
        $(
            #[test]
            fn $name() {
                for left_to_card in ["on", "off"] {
                    let mix = (Family::$client, Family::$target);
                    over_a_narrow_interface_between(mix, $narrow, left_to_card);
                }
            }
        )+
    };
}

between_offloading_ends! {
    an_offloading_client_learns_of_a_narrow_provider_from_four_to_four: Four, Four, "provider";
    an_offloading_client_learns_of_a_narrow_provider_from_six_to_six: Six, Six, "provider";
    an_offloading_client_learns_of_a_narrow_provider_from_four_to_six: Four, Six, "provider";
    an_offloading_client_learns_of_a_narrow_provider_from_six_to_four: Six, Four, "provider";
    an_offloading_target_learns_of_a_narrow_consumer_from_four_to_four: Four, Four, "consumer-a";
    an_offloading_target_learns_of_a_narrow_consumer_from_six_to_six: Six, Six, "consumer-a";
    an_offloading_target_learns_of_a_narrow_consumer_from_four_to_six: Four, Six, "consumer-a";
    an_offloading_target_learns_of_a_narrow_consumer_from_six_to_four: Six, Four, "consumer-a";
}

/// How often a router has said that a packet is too big for its next link.
fn refused(router: &Namespace, family: Family) -> u64 {
    match family {
        Family::Four => kernel_counters(router, "snmp", "Icmp").unwrap()["OutDestUnreachs"],
        Family::Six => {
            let read = || fs::read_to_string("/proc/thread-self/net/snmp6");
            let text = router.enter(read).unwrap().unwrap();
            let line = text.lines().find(|line| line.starts_with("Icmp6OutPktTooBigs")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        }
    }
}

/// Sends and fetches with a router in `narrow`, the network of client or target, whose next link is the narrowest of IPv6.
fn over_a_narrow_link(client: Family, target: Family, narrow: &str, changes: &[(&str, &str)]) {
    over_a_narrow_link_of(Links::ForXdp, (client, target), narrow, changes);
}

/// The same, over links of this kind.
fn over_a_narrow_link_of(
    links: Links,
    (client, target): (Family, Family),
    narrow: &str,
    changes: &[(&str, &str)],
) {
    let lab = DualStack::lab_with(links).unwrap();
    let (own, host): (_, fn(Family) -> IpAddr) = match narrow {
        "provider" => (["10.0.1.1/16", "fd00:a::1:1/64"], |family| family.target().ip()),
        _ => (["10.0.2.1/16", "fd00:b::2:1/64"], Family::client),
    };
    let router = lab.network(narrow).unwrap();
    let host =
        move_behind_router(router, own, [host(Family::Four), host(Family::Six)], LEAST).unwrap();
    if links == Links::Plain {
        host.run(&["ethtool", "-K", "eth0", "tx", "on"]).unwrap();
    }
    let targets = if narrow == "provider" { &host } else { lab.network("provider").unwrap() };
    let _target =
        Server::start(targets, target.target(), |stream, _| serve(stream, BYTES)).unwrap();
    let health = DualStack::health(targets).unwrap();
    let site = DualStack::start(lab, health, changes).unwrap();

    let clients = if narrow == "provider" { site.consumer() } else { &host };
    both_ways(clients, client.endpoint(target), BYTES);

    let family = if narrow == "provider" { target } else { client };
    let refused = refused(site.lab.network(narrow).unwrap(), family);
    assert!((1..1000).contains(&refused), "the router refused {refused} packets");
}

#[test]
fn a_client_learns_of_a_narrow_link_from_four_to_four_of_the_narrow_table() {
    over_a_narrow_link(Family::Four, Family::Four, "provider", &[FOUR_ONLY]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_four_to_four_of_the_narrow_table() {
    over_a_narrow_link(Family::Four, Family::Four, "consumer-a", &[FOUR_ONLY]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_four_to_four() {
    over_a_narrow_link(Family::Four, Family::Four, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_four_to_four() {
    over_a_narrow_link(Family::Four, Family::Four, "consumer-a", &[]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_six_to_six() {
    over_a_narrow_link(Family::Six, Family::Six, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_six_to_six() {
    over_a_narrow_link(Family::Six, Family::Six, "consumer-a", &[]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_four_to_six() {
    over_a_narrow_link(Family::Four, Family::Six, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_four_to_six() {
    over_a_narrow_link(Family::Four, Family::Six, "consumer-a", &[]);
}

#[test]
fn a_client_learns_of_a_narrow_link_from_six_to_four() {
    over_a_narrow_link(Family::Six, Family::Four, "provider", &[]);
}

#[test]
fn a_target_learns_of_a_narrow_link_from_six_to_four() {
    over_a_narrow_link(Family::Six, Family::Four, "consumer-a", &[]);
}

#[test]
fn an_offloading_client_learns_of_a_narrow_link_from_each_family_to_each() {
    for mix in MIXES {
        over_a_narrow_link_of(Links::Plain, mix, "provider", &[BY_TCX]);
    }
}

#[test]
fn an_offloading_target_learns_of_a_narrow_link_from_each_family_to_each() {
    for mix in MIXES {
        over_a_narrow_link_of(Links::Plain, mix, "consumer-a", &[BY_TCX]);
    }
}
