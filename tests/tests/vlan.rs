//! Clients behind one or two VLAN tags, of which the kernel has taken the outer one out of each frame before the data path sees it. Needs
//! root.

#[path = "vlan/tagger.rs"]
mod tagger;
#[path = "path_mtu/transfer.rs"]
mod transfer;
#[path = "offloads/without_flow.rs"]
mod without_flow;

use privatelink_tests::{BY_TCX, DualStack, Family, Links, MIXES, Server};

use crate::tagger::{Tag, Tagger};
use crate::transfer::{both_ways, serve};
use crate::without_flow::{SHORT, are_reset};

const BYTES: usize = 1 << 20;
/// 802.1Q, and 802.1ad around it.
const ONE: &[Tag] = &[(0x8100, 100)];
const TWO: &[Tag] = &[(0x88a8, 200), (0x8100, 100)];

const ANSWERS_ECHO: (&str, &str) =
    ("id = \"vpce-0a11111111111111a\"", "id = \"vpce-0a11111111111111a\"\nicmp_echo = true");

/// The transfer, datagrams, echo, and a reset of what has no flow any more.
fn behind(tags: &[Tag]) {
    let site = DualStack::on(Links::Plain, &[BY_TCX, ANSWERS_ECHO, SHORT]).unwrap();
    let _tagger = Tagger::attach(site.consumer(), "eth0", tags).unwrap();
    let _targets = [Family::Four, Family::Six].map(|family| {
        Server::start(site.provider(), family.target(), |stream, _| serve(stream, BYTES)).unwrap()
    });
    let _echoes = site.echoes().unwrap();
    for (client, target) in MIXES {
        println!("{client:?} to {target:?}");
        let endpoint = client.endpoint(target);
        both_ways(site.consumer(), endpoint, BYTES);
        site.echoed(endpoint, 20, 1400).unwrap();
        let address = endpoint.ip().to_string();
        site.consumer().run(&["ping", "-c", "1", "-W", "5", &address]).unwrap();
    }
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
    are_reset(&site);
}

#[test]
fn one_tag() {
    behind(ONE);
}

#[test]
fn two_tags() {
    behind(TWO);
}
