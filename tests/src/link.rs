//! Links between namespaces, set up so that XDP works on them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::namespace::{Namespace, ip};

/// Joins two namespaces by a veth pair, both ends up.
///
/// The ends are created where they belong, so neither name ever appears on the host.
///
/// # Errors
/// When a name is taken or longer than 15 bytes.
pub fn veth(a: &Namespace, name_a: &str, b: &Namespace, name_b: &str) -> Result<()> {
    for name in [name_a, name_b] {
        ensure!(
            name.len() <= 15,
            "interface name {name:?} is longer than the 15 bytes Linux allows"
        );
    }
    let near = ["link", "add", name_a, "netns", a.name(), "type", "veth"];
    let far = ["peer", "name", name_b, "netns", b.name()];
    ip(&[near.as_slice(), far.as_slice()].concat())?;
    ip(&["-n", a.name(), "link", "set", name_a, "up"])?;
    ip(&["-n", b.name(), "link", "set", name_b, "up"])?;
    Ok(())
}

/// Gives an interface an address, e.g. "10.0.1.10/16".
///
/// # Errors
/// When the interface does not exist or has it already.
pub fn add_address(namespace: &Namespace, interface: &str, address: &str) -> Result<()> {
    let mut words = vec!["-n", namespace.name(), "address", "add", address, "dev", interface];
    // Else an IPv6 one cannot be bound until the kernel has got round to not looking whether it is taken.
    if address.contains(':') {
        words.push("nodad");
    }
    ip(&words).map(drop)
}

/// The MAC address of an interface.
///
/// # Errors
/// When the interface does not exist.
pub fn mac(namespace: &Namespace, interface: &str) -> Result<String> {
    let shown = namespace.run(&["ip", "-j", "link", "show", interface])?;
    let shown: Value = serde_json::from_str(&shown).context("ip prints no JSON")?;
    let mac = shown.pointer("/0/address").and_then(Value::as_str);
    mac.map(str::to_owned).with_context(|| format!("{interface} has no MAC address"))
}

/// Sets a veth end's offloads so that frames survive an XDP program at the other end.
///
/// GRO gives the end a NAPI: without one the kernel silently drops frames that XDP redirects to it. `sends_plain_frames`
/// turns transmit offloads off: else its frames carry unfinished checksums (`CHECKSUM_PARTIAL`), which a program that
/// checks them must refuse. That is for the ends where clients and targets live; the gateway's ends need GRO only.
///
/// # Errors
/// When `ethtool` is missing or the interface is.
pub fn prepare_for_xdp(
    namespace: &Namespace,
    interface: &str,
    sends_plain_frames: bool,
) -> Result<()> {
    namespace.run(&["ethtool", "-K", interface, "gro", "on"])?;
    if sends_plain_frames {
        namespace.run(&["ethtool", "-K", interface, "tx", "off"])?;
    }
    Ok(())
}
