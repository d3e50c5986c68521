//! What counters have said, and what they are to say next.

use std::collections::HashMap;

use privatelink_common::flow_table::totals::Counts;

/// What counters have said. They must never go back: whoever reads them would take that for a restart, and for traffic
/// that never was. A flow that ends while the table is read is in neither sum for once.
#[derive(Debug, Default)]
pub struct Growing {
    /// Those of endpoints, and of their services.
    pub endpoints: Grown,
    /// Those of targets, and of the load balancers whose listeners lead to their groups.
    pub targets: Grown,
}

/// The counters of some things, and of what they belong to.
#[derive(Debug, Default)]
pub struct Grown {
    said: HashMap<String, Counts>,
    owners: HashMap<String, Counts>,
}

impl Grown {
    /// Takes what is seen: of each its id, what it belongs to, and its counts. The counters of an owner add what those of
    /// its own have grown by: one that goes takes nothing away.
    pub fn see<'o, O: IntoIterator<Item = &'o str>>(
        &mut self,
        seen: impl Iterator<Item = (String, O, Counts)>,
    ) {
        let mut said = HashMap::new();
        for (id, owners, counts) in seen {
            let before = self.said.get(&id).copied().unwrap_or_default();
            let (counts, grown) = grown(before, counts);
            for owner in owners {
                let sum = self.owners.entry(owner.to_owned()).or_default();
                *sum = sum.plus(&grown);
            }
            said.insert(id, counts);
        }
        self.said = said;
    }

    /// What the counters of a thing that was seen are to say.
    pub fn said(&self, id: &str) -> Counts {
        self.said.get(id).copied().unwrap_or_default()
    }

    /// What those of an owner are to say.
    pub fn of_owner(&self, owner: &str) -> Counts {
        self.owners.get(owner).copied().unwrap_or_default()
    }

    /// Forgets owners that are gone.
    pub fn keep_owners(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.owners.retain(|owner, _| is_kept(owner));
    }
}

/// What a counter is to say, and by how much that is more than before. Fewer flows opened than before are another
/// resource's of the same name.
fn grown(before: Counts, now: Counts) -> (Counts, Counts) {
    if now.opened < before.opened {
        return (now, now);
    }
    let said = now.or_before(&before);
    (said, said.less(&before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(opened: u64, bytes: u64) -> Counts {
        Counts { opened, bytes_to_target: bytes, ..Counts::default() }
    }

    #[test]
    fn counters_never_go_back() {
        let mut grown = Grown::default();
        let mut endpoint = |now| {
            grown.see([("e".to_owned(), ["s"], now)].into_iter());
            grown.said("e")
        };
        // Two flows; one ends while the table is read; it is counted again; both have ended and more was carried.
        for (opened, seen, said) in
            [(2, 1000, 1000), (2, 600, 1000), (2, 1010, 1010), (3, 900, 1010)]
        {
            assert_eq!(endpoint(counts(opened, seen)), counts(opened, said));
        }
        assert_eq!(endpoint(counts(1, 40)), counts(1, 40), "another endpoint of that id");
    }

    #[test]
    fn an_owner_keeps_what_those_had_that_are_gone() {
        let mut grown = Grown::default();
        for (seen, said) in [
            (&[("a", 100), ("b", 50)][..], 150),
            (&[("a", 130), ("b", 40)], 180),
            (&[("a", 130)], 180),
            (&[("a", 131)], 181),
            (&[("a", 131), ("b", 7)], 188),
        ] {
            let seen =
                seen.iter().map(|&(id, bytes)| (id.to_owned(), ["s", "t"], counts(1, bytes)));
            grown.see(seen);
            assert_eq!(["s", "t"].map(|owner| grown.of_owner(owner).bytes_to_target), [said; 2]);
        }
        grown.keep_owners(|owner| owner == "t");
        assert_eq!(grown.of_owner("s"), Counts::default());
        assert_eq!(grown.of_owner("t").bytes_to_target, 188);
    }

    #[test]
    fn one_that_comes_again_begins_anew() {
        let mut grown = Grown::default();
        let mut said = |seen: &[(&str, u64)]| {
            let none: [&str; 0] = [];
            grown.see(seen.iter().map(|&(id, bytes)| (id.to_owned(), none, counts(1, bytes))));
            grown.said("t").bytes_to_target
        };
        assert_eq!(
            [said(&[("t", 100)]), said(&[("t", 90)]), said(&[]), said(&[("t", 5)])],
            [100, 100, 0, 5]
        );
    }
}
