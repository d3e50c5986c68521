//! A hop that is doubted is asked for anew, and stays what it was meanwhile.

use super::*;

#[test]
fn a_changed_mac_that_nobody_announces_is_found_at_once_when_it_is_doubted() {
    let lab = Lab::new();
    lab.near("address add 10.9.0.1/24 dev v0");
    lab.sysctl(&lab.far, "net.ipv4.conf.v1.arp_notify=0");
    lab.inside(async || {
        let mut resolver = resolver(hops(&lab, TARGET)).await;
        wait_mac(&mut resolver, FAR_MAC).await;
        lab.far("link set v1 address 02:00:00:00:00:03");
        resolver.doubt(1);
        let event = timeout(PATIENCE, resolver.next_event()).await.expect("news");
        let Event::NextHop { key: 1, state: NextHop::Resolved { mac: found, .. } } = event else {
            panic!("{event:?}");
        };
        assert_eq!(found, mac("02:00:00:00:00:03"));
    });
}
