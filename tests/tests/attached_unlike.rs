//! Consumer and provider attached in different ways, in each pairing: nothing is lost or changed either way. Needs root.

#[path = "path_mtu/transfer.rs"]
mod transfer;

use privatelink_tests::{DualStack, Family, Links, MIXES, Server};

use crate::transfer::{both_ways, serve};

const BYTES: usize = 1 << 20;
/// Bytes of a datagram that goes in fragments.
const DATAGRAM: usize = 8000;
const MODES: [&str; 3] = ["xdp", "tcx", "xdp-generic"];

/// What each network's host leaves to its card: nothing where XDP is to take its frames.
fn prepare(site: &DualStack, network: &str, mode: &str) {
    let to = if mode == "tcx" { "on" } else { "off" };
    site.lab.network(network).unwrap().run(&["ethtool", "-K", "eth0", "tx", to]).unwrap();
}

#[test]
fn from_each_to_each() {
    let site = DualStack::on(Links::ForXdp, &[]).unwrap();
    let _targets = [Family::Four, Family::Six].map(|family| {
        Server::start(site.provider(), family.target(), |stream, _| serve(stream, BYTES)).unwrap()
    });
    let _echoes = site.echoes().unwrap();
    site.send_no_longer("1440").unwrap();
    for (consumer, provider) in MODES.into_iter().flat_map(|mode| MODES.map(|other| (mode, other)))
    {
        let attach =
            [("pl-consumer-a", consumer), ("pl-provider", provider)].map(|(name, mode)| {
                let name = format!("interfaces = [{{ name = \"{name}\"");
                let attached = name.replace("{ ", &format!("{{ attach = \"{mode}\", "));
                (name, attached)
            });
        prepare(&site, "consumer-a", consumer);
        prepare(&site, "provider", provider);
        site.reload(&attach.each_ref().map(|(name, attached)| (&**name, &**attached))).unwrap();
        let status = site.daemon.cli(&["status", "-o", "json"]).unwrap();
        let rows = status[0]["interfaces"].as_array().unwrap();
        let mode = |name: &str| &rows.iter().find(|row| row["interface"] == name).unwrap()["mode"];
        assert_eq!([mode("pl-consumer-a"), mode("pl-provider")], [consumer, provider]);
        for (client, target) in MIXES {
            println!("consumer {consumer}, provider {provider}, {client:?} to {target:?}");
            both_ways(site.consumer(), client.endpoint(target), BYTES);
            site.echoed(client.endpoint(target), 20, DATAGRAM).unwrap();
        }
        assert_eq!(site.dropped().unwrap(), Vec::<String>::new(), "{consumer}, {provider}");
    }
}
