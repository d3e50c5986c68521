//! Neighbour entries (ARP and IPv6 neighbour discovery): reading them, and having the kernel keep some of them fresh for us.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Result;
use super::request::Requests;

/// `NDA_PROTOCOL` of the entries we create (`ip -d neigh show` prints `proto 112`), from the range that
/// nobody has claimed. The mark is in the kernel, so a daemon that died is no excuse for a leak: the
/// next one adopts or removes what it left.
pub const OWNER_PROTOCOL: u8 = 112;

/// Key of a neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    /// Interface it is behind.
    pub(super) ifindex: u32,
    /// Its address.
    pub(super) address: IpAddr,
}

impl Neighbour {
    /// What it is asked by.
    pub(super) const fn protocol(&self) -> &'static str {
        if self.address.is_ipv4() { "ARP" } else { "neighbour discovery" }
    }
}

/// What the kernel knows about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `NUD_*`.
    pub(super) state: NeighbourState,
    /// Its Ethernet address, if known.
    pub(super) mac: Option<[u8; 6]>,
    /// Kept fresh by the kernel.
    pub(super) managed: bool,
    /// Bears our mark.
    pub(super) ours: bool,
}

impl Entry {
    /// Reads an `RTM_NEWNEIGH` or `RTM_DELNEIGH` message about an address.
    pub(super) fn from_message(message: &NeighbourMessage) -> Option<(Neighbour, Self)> {
        let mut address = None;
        let mut entry =
            Self { state: message.header.state, mac: None, managed: false, ours: false };
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(value)) => {
                    address = Some(IpAddr::V4(*value));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(value)) => {
                    address = Some(IpAddr::V6(*value));
                }
                NeighbourAttribute::LinkLayerAddress(value) => {
                    entry.mac = value.as_slice().try_into().ok();
                }
                NeighbourAttribute::Protocol(value) => {
                    entry.ours = u8::from(*value) == OWNER_PROTOCOL;
                }
                NeighbourAttribute::ExtFlags(flags) => {
                    entry.managed = flags.contains(NeighbourExtFlags::Managed);
                }
                _ => {}
            }
        }
        Some((Neighbour { ifindex: message.header.ifindex, address: address? }, entry))
    }

    /// The Ethernet address, if frames may be sent to it now: in every state in which the kernel
    /// itself would use it (`NUD_VALID`), but not one of a group of machines.
    pub(super) fn usable_mac(&self) -> Option<[u8; 6]> {
        use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
        let known = matches!(self.state, Reachable | Stale | Delay | Probe | Permanent | Noarp);
        self.mac.filter(|mac| known && !is_group(*mac))
    }

    /// Whether the kernel takes the neighbour for a broadcast or multicast address
    /// (`arp_constructor()`, `ndisc_constructor()`), which it never asks about.
    pub(super) fn broadcast(&self) -> bool {
        self.state == NeighbourState::Noarp && self.mac.is_some_and(is_group)
    }

    /// Whether the kernel has given up for now.
    pub(super) fn failed(&self) -> bool {
        self.state == NeighbourState::Failed
    }

    /// Whether somebody decreed it, so that it is theirs even if it was ours before.
    fn decreed(&self) -> bool {
        match self.state {
            NeighbourState::Permanent => true,
            // The kernel makes ours such when the interface does no ARP.
            NeighbourState::Noarp => !self.ours,
            _ => false,
        }
    }
}

/// Whether an Ethernet address stands for several machines (IEEE 802.3, I/G bit).
fn is_group(mac: [u8; 6]) -> bool {
    mac[0] & 1 != 0
}

/// Whether the entry is to be (re-)installed as ours.
///
/// Not over a permanent one: asking for a managed entry takes the permanence and the address away
/// (`__neigh_update()`, seen on 6.18). Not over a managed one: it is fresh already, whoever manages
/// it; except when it is ours and has failed: the kernel would ask again by itself, but only at its
/// next round (5 s), which is long for a target that came back with another MAC address. On a kernel
/// without managed entries (before 5.16) ours never become managed, so this is true at
/// every resync, and each re-install has the kernel probe (`NTF_USE`).
pub(super) fn needs_install(entry: Option<&Entry>) -> bool {
    entry.is_none_or(|entry| !entry.decreed() && (!entry.managed || (entry.ours && entry.failed())))
}

/// Entries to remove: bearing our mark, behind an interface we look after, no longer wanted.
pub(super) fn stale(
    table: &BTreeMap<Neighbour, Entry>,
    wanted: &BTreeSet<Neighbour>,
    territory: &BTreeSet<u32>,
) -> Vec<Neighbour> {
    table
        .iter()
        .filter(|(key, entry)| {
            entry.ours
                && !entry.decreed()
                && territory.contains(&key.ifindex)
                && !wanted.contains(key)
        })
        .map(|(key, _)| *key)
        .collect()
}

fn message(neighbour: Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match neighbour.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = neighbour.ifindex;
    message.attributes.push(NeighbourAttribute::Destination(neighbour.address.into()));
    message
}

/// `NTF_USE` has the kernel probe at once, and is all that an older kernel understands;
/// `NTF_EXT_LEARNED` keeps the entry out of garbage collection, so that an address scan of the
/// provider's network cannot evict it.
fn install_message(neighbour: Neighbour, managed: bool) -> NeighbourMessage {
    let mut message = message(neighbour);
    message.header.flags = NeighbourFlags::Use | NeighbourFlags::ExtLearned;
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(OWNER_PROTOCOL)));
    if managed {
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    }
    message
}

impl Requests {
    /// All neighbour entries.
    pub(super) async fn neighbours(&self) -> Result<BTreeMap<Neighbour, Entry>> {
        let query = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let answer = self.dump("list neighbours", query).await?;
        Ok(answer
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewNeighbour(message) => Entry::from_message(message),
                _ => None,
            })
            .collect())
    }

    /// Has the kernel resolve a neighbour and keep it fresh.
    ///
    /// Race: a permanent entry that somebody adds between our dump and this request loses its
    /// permanence; they see that at once, and their next attempt holds because ours is managed by then.
    pub(super) async fn install(&self, neighbour: Neighbour) -> Result<()> {
        const WHAT: &str = "resolve a neighbour";
        let request =
            |managed| RouteNetlinkMessage::NewNeighbour(install_message(neighbour, managed));
        let answer = self.ask(WHAT, request(true), NLM_F_CREATE).await;
        match answer {
            Err(error) if error.is(nix::libc::EINVAL) || error.is(nix::libc::EOPNOTSUPP) => {
                self.ask(WHAT, request(false), NLM_F_CREATE).await?;
            }
            other => {
                other?;
            }
        }
        Ok(())
    }

    /// Removes a neighbour entry. One that is not there is no error.
    pub(super) async fn remove(&self, neighbour: Neighbour) -> Result<()> {
        let request = RouteNetlinkMessage::DelNeighbour(message(neighbour));
        match self.ask("remove a neighbour", request, 0).await {
            Err(error) if !error.is(nix::libc::ENOENT) && !error.is(nix::libc::ENODEV) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NeighbourState::{
        Delay, Failed, Incomplete, Noarp, Permanent, Probe, Reachable, Stale,
    };
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn entry(state: NeighbourState) -> Entry {
        Entry { state, mac: Some(MAC), managed: false, ours: false }
    }

    fn key(last: u8) -> Neighbour {
        Neighbour { ifindex: 5, address: [10, 9, 0, last].into() }
    }

    #[test]
    fn usable_states() {
        for state in [Reachable, Stale, Delay, Probe, Permanent, Noarp] {
            assert_eq!(entry(state).usable_mac(), Some(MAC), "{state}");
            assert_eq!(
                Entry { mac: None, ..entry(state) }.usable_mac(),
                None,
                "{state} without an address"
            );
        }
        for state in [Incomplete, Failed, NeighbourState::None] {
            assert_eq!(entry(state).usable_mac(), None, "{state}");
        }
        let broadcast = Entry { mac: Some([0xff; 6]), ..entry(Noarp) };
        assert!(broadcast.broadcast() && !entry(Noarp).broadcast());
        assert_eq!(broadcast.usable_mac(), None);
    }

    #[test]
    fn installs_over_nothing_that_is_somebody_elses_decision() {
        let managed = Entry { managed: true, ..entry(Reachable) };
        for (what, entry, install) in [
            ("none", None, true),
            ("learnt by traffic", Some(entry(Stale)), true),
            ("failed", Some(entry(Failed)), true),
            ("permanent", Some(entry(Permanent)), false),
            ("noarp", Some(entry(Noarp)), false),
            ("managed by us", Some(Entry { ours: true, ..managed }), false),
            ("managed by another", Some(managed), false),
            (
                "managed by us, failed",
                Some(Entry { ours: true, managed: true, ..entry(Failed) }),
                true,
            ),
            ("managed by another, failed", Some(Entry { managed: true, ..entry(Failed) }), false),
            ("ours, kernel without managed", Some(Entry { ours: true, ..entry(Stale) }), true),
        ] {
            assert_eq!(needs_install(entry.as_ref()), install, "{what}");
        }
    }

    #[test]
    fn removes_only_what_is_ours_and_unwanted() {
        let ours = Entry { ours: true, managed: true, ..entry(Reachable) };
        let elsewhere = Neighbour { ifindex: 6, ..key(5) };
        let table = BTreeMap::from([
            (key(1), ours),
            (key(2), ours),
            (key(3), entry(Stale)),
            (key(4), Entry { state: Permanent, ..ours }),
            (key(5), Entry { state: Noarp, ..ours }),
            (key(6), entry(Noarp)),
            (elsewhere, ours),
        ]);
        assert_eq!(
            stale(&table, &BTreeSet::from([key(1)]), &BTreeSet::from([5])),
            [key(2), key(5)]
        );
    }

    #[test]
    fn what_is_asked_for_is_what_is_read_back() {
        let ipv6 = Neighbour { address: "2001:db8:9::2".parse().expect("an address"), ..key(2) };
        for (wanted, family) in [(key(2), AddressFamily::Inet), (ipv6, AddressFamily::Inet6)] {
            let message = install_message(wanted, true);
            assert_eq!(message.header.family, family);
            let (neighbour, entry) = Entry::from_message(&message).expect("an entry");
            assert_eq!(neighbour, wanted);
            assert_eq!(
                entry,
                Entry { state: NeighbourState::None, mac: None, managed: true, ours: true }
            );
            let (_, plain) =
                Entry::from_message(&install_message(wanted, false)).expect("an entry");
            assert!(!plain.managed && plain.ours);
        }
    }
}
