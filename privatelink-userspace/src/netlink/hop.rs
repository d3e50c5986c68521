//! A target, where to send packets for it, and what to report of it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::choice::Choice;
use super::neighbour::Entry;

/// A target whose next hop is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Interfaces of the provider's vpc, the preferred one first.
    pub interfaces: Vec<u32>,
    /// The load balancer's addresses with the prefix lengths of their subnets. A target inside one of
    /// these subnets is its own next hop, whatever the routing tables say.
    pub on_link: Vec<IpNet>,
    /// The target's address.
    pub target: IpAddr,
}

impl Hop {
    /// The load balancer's subnet that holds an address.
    pub(super) fn subnet_of(&self, address: IpAddr) -> Option<&IpNet> {
        self.on_link.iter().find(|net| net.contains(&address))
    }
}

/// Where to send packets for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Here.
    Resolved {
        /// Interface to send from.
        ifindex: u32,
        /// Ethernet destination.
        mac: [u8; 6],
        /// Largest IP packet the interface and the route carry, in bytes.
        mtu: u32,
    },
    /// Nowhere.
    Unresolved {
        /// Why, and what to do about it.
        reason: String,
    },
}

/// The state to report for a hop, or `None` to stay with the previous report.
///
/// While an entry is being asked for (again), a MAC address known before on the same interface holds:
/// the kernel needs at most three seconds to find out, and mostly confirms it. Once it has failed, the
/// address is dropped. A hop that is asked for the first time is not reported until one or the other.
pub(super) fn evaluate(
    choice: &Choice,
    entry: Option<&Entry>,
    refused: Option<&str>,
    previous: Option<&NextHop>,
) -> Option<NextHop> {
    let (neighbour, interface, mtu, silent) = match choice {
        Choice::Nowhere(reason) => return Some(NextHop::Unresolved { reason: reason.clone() }),
        Choice::Via { neighbour, interface, mtu, silent } => (neighbour, interface, *mtu, silent),
    };
    let ifindex = neighbour.ifindex;
    if let Some(mac) = entry.and_then(Entry::usable_mac) {
        return Some(NextHop::Resolved { ifindex, mac, mtu });
    }
    if let Some(refused) = refused {
        let mut reason =
            format!("the kernel does not resolve {} on {interface}: {refused}", neighbour.address);
        if neighbour.address.is_ipv6() {
            reason.push_str(&format!(
                "; if IPv6 is disabled there: sysctl -w net/ipv6/conf/{interface}/disable_ipv6=0"
            ));
        }
        return Some(NextHop::Unresolved { reason });
    }
    if entry.is_some_and(Entry::broadcast) {
        let reason = format!(
            "{} is a broadcast or multicast address on {interface}: register the address of one machine",
            neighbour.address
        );
        return Some(NextHop::Unresolved { reason });
    }
    if entry.is_some_and(Entry::failed) {
        return Some(NextHop::Unresolved { reason: silent.clone() });
    }
    match previous {
        Some(NextHop::Resolved { ifindex: before, mac, .. }) if *before == ifindex => {
            Some(NextHop::Resolved { ifindex, mac: *mac, mtu })
        }
        Some(NextHop::Resolved { .. }) => Some(NextHop::Unresolved {
            reason: format!(
                "waiting for {} to answer {} on {interface}",
                neighbour.address,
                neighbour.protocol()
            ),
        }),
        Some(NextHop::Unresolved { .. }) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netlink_packet_route::neighbour::NeighbourState;

    use super::super::neighbour::Neighbour;
    use super::*;

    const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    #[test]
    fn reports_follow_the_entry_and_survive_re_probing() {
        let choice = Choice::Via {
            neighbour: Neighbour { ifindex: 5, address: TARGET },
            interface: "v5".to_owned(),
            mtu: 1500,
            silent: "silent".to_owned(),
        };
        let entry = |state, mac| Entry { state, mac, managed: true, ours: true };
        let asked = entry(NeighbourState::Incomplete, None);
        let failed = entry(NeighbourState::Failed, None);
        let probed = entry(NeighbourState::Probe, Some(MAC));
        let broadcast = entry(NeighbourState::Noarp, Some([0xff; 6]));
        let resolved = |ifindex, mtu| NextHop::Resolved { ifindex, mac: MAC, mtu };
        let unresolved = |reason: &str| NextHop::Unresolved { reason: reason.to_owned() };
        for (what, entry, refused, previous, report) in [
            ("first question", Some(&asked), None, None, None),
            ("not there yet", None, None, None, None),
            ("answered", Some(&probed), None, None, Some(resolved(5, 1500))),
            ("failed at once", Some(&failed), None, None, Some(unresolved("silent"))),
            ("asked again", Some(&asked), None, Some(resolved(5, 1500)), Some(resolved(5, 1500))),
            ("gone, MTU changed", None, None, Some(resolved(5, 9000)), Some(resolved(5, 1500))),
            (
                "taken for a broadcast address",
                Some(&broadcast),
                None,
                None,
                Some(unresolved(
                    "10.9.0.2 is a broadcast or multicast address on v5: register the address of one machine",
                )),
            ),
            (
                "failed later",
                Some(&failed),
                None,
                Some(resolved(5, 1500)),
                Some(unresolved("silent")),
            ),
            ("asked after failing", Some(&asked), None, Some(unresolved("silent")), None),
            (
                "moved to another interface",
                Some(&asked),
                None,
                Some(resolved(6, 1500)),
                Some(unresolved("waiting for 10.9.0.2 to answer ARP on v5")),
            ),
            (
                "refused",
                None,
                Some("table full"),
                None,
                Some(unresolved("the kernel does not resolve 10.9.0.2 on v5: table full")),
            ),
        ] {
            assert_eq!(evaluate(&choice, entry, refused, previous.as_ref()), report, "{what}");
        }
        let ipv6 = Choice::Via {
            neighbour: Neighbour {
                ifindex: 5,
                address: "2001:db8:9::2".parse().expect("an address"),
            },
            interface: "v5".to_owned(),
            mtu: 1500,
            silent: "silent".to_owned(),
        };
        assert_eq!(
            evaluate(&ipv6, None, None, Some(&resolved(6, 1500))),
            Some(unresolved("waiting for 2001:db8:9::2 to answer neighbour discovery on v5"))
        );
        assert_eq!(
            evaluate(&ipv6, None, Some("invalid"), None),
            Some(unresolved(
                "the kernel does not resolve 2001:db8:9::2 on v5: invalid; if IPv6 is disabled there: \
                 sysctl -w net/ipv6/conf/v5/disable_ipv6=0"
            ))
        );
        let nowhere = Choice::Nowhere("down".to_owned());
        assert_eq!(
            evaluate(&nowhere, Some(&probed), None, Some(&resolved(5, 1500))),
            Some(unresolved("down"))
        );
    }
}
