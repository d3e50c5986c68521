//! What was seen, what was reported, and the difference.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::choice::Choice;
use super::hop::{Hop, NextHop, evaluate};
use super::link::Link;
use super::neighbour::{Entry, Neighbour};
use super::resolver::Event;

/// Everything looked up in one resynchronisation.
#[derive(Clone, Debug)]
pub(super) struct Snapshot<K> {
    pub(super) links: Vec<Link>,
    pub(super) choices: BTreeMap<K, Choice>,
    pub(super) table: BTreeMap<Neighbour, Entry>,
    /// Neighbours that the kernel would not ask for, and why.
    pub(super) refused: BTreeMap<Neighbour, String>,
}

/// The pure half of a resolver.
#[derive(Debug)]
pub(super) struct State<K> {
    hops: BTreeMap<K, Hop>,
    watched: BTreeSet<String>,
    /// Names of the hops' interfaces when last seen, by the number the hops give.
    names: BTreeMap<u32, String>,
    choices: BTreeMap<K, Choice>,
    table: BTreeMap<Neighbour, Entry>,
    refused: BTreeMap<Neighbour, String>,
    reported: BTreeMap<K, NextHop>,
    reported_links: BTreeMap<String, Link>,
    queue: VecDeque<Event<K>>,
}

impl<K: Clone + Ord> State<K> {
    pub(super) fn new(hops: BTreeMap<K, Hop>) -> Self {
        Self {
            hops,
            watched: BTreeSet::new(),
            names: BTreeMap::new(),
            choices: BTreeMap::new(),
            table: BTreeMap::new(),
            refused: BTreeMap::new(),
            reported: BTreeMap::new(),
            reported_links: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn hops(&self) -> &BTreeMap<K, Hop> {
        &self.hops
    }

    /// Replaces the hops. What was reported of those that stay remains true until looked at again.
    pub(super) fn set_hops(&mut self, hops: BTreeMap<K, Hop>) {
        self.hops = hops;
        let hops = &self.hops;
        self.choices.retain(|key, _| hops.contains_key(key));
        self.reported.retain(|key, _| hops.contains_key(key));
        self.queue.retain(
            |event| !matches!(event, Event::NextHop { key, .. } if !hops.contains_key(key)),
        );
    }

    /// Replaces the names of the interfaces watched besides those of the hops.
    pub(super) fn set_watched(&mut self, names: BTreeSet<String>) {
        self.watched = names;
    }

    pub(super) fn next_hop(&self, key: &K) -> Option<&NextHop> {
        self.reported.get(key)
    }

    pub(super) fn pop(&mut self) -> Option<Event<K>> {
        self.queue.pop_front()
    }

    /// Remembers the names of the hops' interfaces, so that they are found again when re-created.
    pub(super) fn remember_names(&mut self, links: &[Link]) {
        let wanted: BTreeSet<u32> =
            self.hops.values().flat_map(|hop| hop.interfaces.iter().copied()).collect();
        self.names.retain(|ifindex, _| wanted.contains(ifindex));
        for link in links.iter().filter(|link| wanted.contains(&link.ifindex)) {
            self.names.insert(link.ifindex, link.name.clone());
        }
    }

    /// The interface that a hop means by this number: the one that has it, else the one that now has
    /// the name of the one that had it.
    pub(super) fn candidate<'a>(&self, ifindex: u32, links: &'a [Link]) -> Option<&'a Link> {
        links.iter().find(|link| link.ifindex == ifindex).or_else(|| {
            let name = self.names.get(&ifindex)?;
            links.iter().find(|link| &link.name == name)
        })
    }

    /// Takes in a snapshot and queues what is different.
    pub(super) fn observe(&mut self, snapshot: Snapshot<K>) {
        let Snapshot { links, choices, table, refused } = snapshot;
        let wanted = wanted(choices.values());
        self.table = table.into_iter().filter(|(key, _)| wanted.contains(key)).collect();
        self.choices = choices;
        self.refused = refused;
        self.report_links(&links);
        self.report_hops();
    }

    /// Takes in a change of a neighbour entry. Returns whether the entry must be installed again.
    pub(super) fn neighbour_changed(&mut self, key: Neighbour, entry: Option<Entry>) -> bool {
        if !wanted(self.choices.values()).contains(&key) {
            return false;
        }
        let before = match entry {
            Some(entry) => self.table.insert(key, entry),
            None => self.table.remove(&key),
        };
        self.report_hops();
        let managed = |entry: &Option<Entry>| entry.is_some_and(|entry| entry.managed);
        let usable = before.is_some_and(|before| before.usable_mac().is_some());
        match entry {
            None => true,
            // Only when it was known until now: a target that stays dead is the kernel's to ask for.
            Some(entry) if entry.failed() => usable,
            // An entry that never was managed (kernel before 5.16) waits for the next resync: installing
            // it makes events of its own, and reacting to those would never end.
            now => managed(&before) && !managed(&now),
        }
    }

    fn report_links(&mut self, links: &[Link]) {
        let mut names = self.watched.clone();
        names.extend(self.names.values().cloned());
        for name in self.reported_links.keys().cloned().collect::<Vec<_>>() {
            if !names.contains(&name) {
                self.reported_links.remove(&name);
            }
        }
        for name in names {
            let now = links.iter().find(|link| link.name == name);
            let before = self.reported_links.get(&name);
            if now == before {
                continue;
            }
            if let Some(before) = before
                && now.is_none_or(|now| now.ifindex != before.ifindex)
            {
                self.queue
                    .push_back(Event::LinkRemoved { ifindex: before.ifindex, name: name.clone() });
                self.reported_links.remove(&name);
            }
            if let Some(now) = now {
                self.queue.push_back(Event::Link(now.clone()));
                self.reported_links.insert(name, now.clone());
            }
        }
    }

    fn report_hops(&mut self) {
        for (key, choice) in &self.choices {
            let (entry, refused) = match choice {
                Choice::Via { neighbour, .. } => {
                    (self.table.get(neighbour), self.refused.get(neighbour).map(String::as_str))
                }
                Choice::Nowhere(_) => (None, None),
            };
            let previous = self.reported.get(key);
            if let Some(state) = evaluate(choice, entry, refused, previous)
                && previous != Some(&state)
            {
                self.queue.push_back(Event::NextHop { key: key.clone(), state: state.clone() });
                self.reported.insert(key.clone(), state);
            }
        }
    }
}

/// The neighbours that the choices need; several hops may share one.
pub(super) fn wanted<'c>(choices: impl Iterator<Item = &'c Choice>) -> BTreeSet<Neighbour> {
    choices
        .filter_map(|choice| match choice {
            Choice::Via { neighbour, .. } => Some(*neighbour),
            Choice::Nowhere(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use netlink_packet_route::neighbour::NeighbourState;

    use super::super::link::LinkKind;
    use super::*;

    const ROUTER: Neighbour =
        Neighbour { ifindex: 5, address: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 254)) };

    fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            mac: [2; 6],
            mtu: 1500,
            admin_up: true,
            up: true,
            kind: LinkKind::Other(String::new()),
            xdp: None,
        }
    }

    fn hop() -> Hop {
        Hop { interfaces: vec![5], on_link: Vec::new(), target: [10, 2, 0, 5].into() }
    }

    fn entry(state: NeighbourState, last: u8) -> Entry {
        Entry { state, mac: Some([2, 0, 0, 0, 0, last]), managed: true, ours: true }
    }

    fn via_router() -> Choice {
        Choice::Via {
            neighbour: ROUTER,
            interface: "v0".to_owned(),
            mtu: 1500,
            silent: "silent".to_owned(),
        }
    }

    fn resolved(last: u8) -> NextHop {
        NextHop::Resolved { ifindex: 5, mac: [2, 0, 0, 0, 0, last], mtu: 1500 }
    }

    fn events<K: Clone + Ord>(state: &mut State<K>) -> Vec<Event<K>> {
        std::iter::from_fn(|| state.pop()).collect()
    }

    fn snapshot(links: &[Link], keys: &[u8], entry: Option<Entry>) -> Snapshot<u8> {
        Snapshot {
            links: links.to_vec(),
            choices: keys.iter().map(|key| (*key, via_router())).collect(),
            table: entry.map(|entry| (ROUTER, entry)).into_iter().collect(),
            refused: BTreeMap::new(),
        }
    }

    /// Two hops behind the same router, known.
    fn settled() -> State<u8> {
        let mut state = State::new(BTreeMap::from([(1, hop()), (2, hop())]));
        let links = [link(5, "v0"), link(6, "other")];
        state.remember_names(&links);
        state.observe(snapshot(&links, &[1, 2], Some(entry(NeighbourState::Reachable, 9))));
        assert_eq!(
            events(&mut state),
            [
                Event::Link(link(5, "v0")),
                Event::NextHop { key: 1, state: resolved(9) },
                Event::NextHop { key: 2, state: resolved(9) },
            ]
        );
        state
    }

    #[test]
    fn only_differences_are_reported() {
        let mut state = settled();
        state.observe(snapshot(&[link(5, "v0")], &[1, 2], Some(entry(NeighbourState::Stale, 9))));
        assert_eq!(events(&mut state), []);
        assert!(!state.neighbour_changed(ROUTER, Some(entry(NeighbourState::Reachable, 8))));
        assert_eq!(
            events(&mut state),
            [
                Event::NextHop { key: 1, state: resolved(8) },
                Event::NextHop { key: 2, state: resolved(8) }
            ]
        );
        let stranger = Neighbour { ifindex: 6, ..ROUTER };
        assert!(!state.neighbour_changed(stranger, None));
        assert_eq!(events(&mut state), []);
    }

    #[test]
    fn a_lost_entry_is_installed_again_and_its_address_kept_meanwhile() {
        let mut state = settled();
        assert!(state.neighbour_changed(ROUTER, None));
        assert_eq!(events(&mut state), []);
        assert_eq!(state.next_hop(&1), Some(&resolved(9)));
        let unmanaged = Entry { managed: false, ..entry(NeighbourState::Stale, 9) };
        assert!(!state.neighbour_changed(ROUTER, Some(unmanaged)), "never was managed");
        state.neighbour_changed(ROUTER, Some(entry(NeighbourState::Stale, 9)));
        let failed = Some(Entry { mac: None, ..entry(NeighbourState::Failed, 0) });
        assert!(state.neighbour_changed(ROUTER, failed), "failed for the first time");
        assert!(!state.neighbour_changed(ROUTER, failed), "stays failed");
        state.neighbour_changed(ROUTER, Some(entry(NeighbourState::Stale, 9)));
        assert!(state.neighbour_changed(ROUTER, Some(unmanaged)), "somebody took the flag away");
    }

    #[test]
    fn a_re_created_interface_is_removed_and_new_and_found_by_its_name() {
        let mut state = settled();
        let links = [link(8, "v0")];
        state.remember_names(&links);
        assert_eq!(state.candidate(5, &links), Some(&links[0]));
        assert_eq!(state.candidate(7, &links), None);
        state.observe(snapshot(&links, &[], None));
        assert_eq!(
            events(&mut state),
            [Event::LinkRemoved { ifindex: 5, name: "v0".to_owned() }, Event::Link(link(8, "v0"))]
        );
        state.observe(snapshot(&[], &[], None));
        assert_eq!(events(&mut state), [Event::LinkRemoved { ifindex: 8, name: "v0".to_owned() }]);
        state.observe(snapshot(&[], &[], None));
        assert_eq!(events(&mut state), []);
    }

    #[test]
    fn watched_interfaces_are_reported_on_every_change() {
        let mut state: State<u8> = State::new(BTreeMap::new());
        state.set_watched(BTreeSet::from(["other".to_owned()]));
        state.observe(snapshot(&[link(5, "v0")], &[], None));
        assert_eq!(events(&mut state), []);
        for change in [
            link(6, "other"),
            Link { mtu: 9000, ..link(6, "other") },
            Link { mac: [4; 6], ..link(6, "other") },
            Link { up: false, ..link(6, "other") },
        ] {
            state.observe(snapshot(&[link(5, "v0"), change.clone()], &[], None));
            assert_eq!(events(&mut state), [Event::Link(change)]);
        }
    }

    #[test]
    fn new_hops_leave_the_others_alone() {
        let mut state = settled();
        state.neighbour_changed(ROUTER, Some(entry(NeighbourState::Reachable, 8)));
        state.set_hops(BTreeMap::from([(2, hop()), (3, hop())]));
        assert_eq!(
            events(&mut state),
            [Event::NextHop { key: 2, state: resolved(8) }],
            "nothing of a removed hop"
        );
        assert_eq!(state.next_hop(&1), None);
        state.observe(snapshot(
            &[link(5, "v0")],
            &[2, 3],
            Some(entry(NeighbourState::Reachable, 8)),
        ));
        assert_eq!(events(&mut state), [Event::NextHop { key: 3, state: resolved(8) }]);
    }
}
