//! A router of a network's own, between a host and the gateway.

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::link::{add_address, prepare_for_xdp, veth};
use crate::namespace::Namespace;

/// The router's interface towards the host, and its addresses there.
const INNER: &str = "inner";
const GATEWAYS: [&str; 2] = ["10.254.0.1", "fd00:fe::1"];
/// The largest segments that fit an Ethernet frame, over IPv4 and IPv6.
const SEGMENTS: [&str; 2] = ["1460", "1440"];

/// Moves the host of a network, with an address of either family, behind a router, over a link of this MTU. The network's
/// namespace is the router from now on, with addresses of its own, e.g. "10.0.2.1/16"; the host's is returned.
///
/// The host takes segments as large as an Ethernet frame has room for: somebody on the way has to say that they are not.
///
/// # Errors
/// When `ip` refuses.
pub fn move_behind_router(
    network: &Namespace,
    own: [&str; 2],
    host: [IpAddr; 2],
    mtu: u32,
) -> Result<Namespace> {
    let moved = Namespace::new("host")?;
    for namespace in [&moved, network] {
        namespace.sysctl("ipv6/conf/default/disable_ipv6", "0")?;
    }
    veth(network, INNER, &moved, "eth0")?;
    let mtu = mtu.to_string();
    for (namespace, interface) in [(network, INNER), (&moved, "eth0")] {
        prepare_for_xdp(namespace, interface, true)?;
        ip(namespace, &["link", "set", interface, "mtu", &mtu])?;
    }

    ip(network, &["address", "flush", "dev", "eth0", "scope", "global"])?;
    network.sysctl("ipv4/ip_forward", "1")?;
    network.sysctl("ipv6/conf/all/forwarding", "1")?;
    // It answers for the host, at once.
    for (family, key) in [("ipv4", "proxy_arp"), ("ipv6", "proxy_ndp")] {
        network.sysctl(&format!("{family}/conf/eth0/{key}"), "1")?;
        network.sysctl(&format!("{family}/neigh/eth0/proxy_delay"), "0")?;
    }
    for (((own, host), gateway), segment) in own.into_iter().zip(host).zip(GATEWAYS).zip(SEGMENTS) {
        let bits = if host.is_ipv4() { 32 } else { 128 };
        let host = host.to_string();
        add_address(network, "eth0", own)?;
        add_address(network, INNER, &format!("{gateway}/{bits}"))?;
        ip(network, &["route", "add", &host, "dev", INNER])?;
        add_address(&moved, "eth0", &format!("{host}/{bits}"))?;
        ip(&moved, &["route", "add", gateway, "dev", "eth0"])?;
        ip(&moved, &["route", "add", "default", "via", gateway, "advmss", segment])?;
        if bits == 128 {
            ip(network, &["neigh", "add", "proxy", &host, "dev", "eth0"])?;
        }
    }
    Ok(moved)
}

fn ip(namespace: &Namespace, arguments: &[&str]) -> Result<()> {
    let words = [&["ip"], arguments].concat();
    namespace.run(&words).map(drop).context("cannot make a router")
}
