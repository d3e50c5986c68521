//! Counts of flows that have ended and of flows that live, put together.

use std::collections::HashMap;

use privatelink_common::flow_table::Flow;
use privatelink_common::flow_table::totals::Counts;

/// What live flows come to, in one walk through the table.
#[derive(Debug, Default)]
pub struct Tally {
    endpoints: HashMap<u32, Counts>,
    targets: HashMap<u32, (u64, Counts)>,
    leases: HashMap<(u16, u32, u32), u64>,
}

impl Tally {
    /// Of flows that live or whose lease is held.
    pub fn of(flows: impl Iterator<Item = Flow>) -> Self {
        let mut tally = Self::default();
        for flow in flows {
            let lease = &flow.reverse.key;
            *tally.leases.entry((lease.vpc, lease.destination, flow.target)).or_default() += 1;
            if flow.phase.is_live() {
                tally.endpoints.entry(flow.endpoint).or_default().add(&flow);
                let (flows, carried) = tally.targets.entry(flow.target).or_default();
                *flows += 1;
                carried.add(&flow);
            }
        }
        tally
    }

    /// What an endpoint's flows have carried, with the `totals` that were read before the flows were.
    pub fn endpoint(&self, number: u32, totals: Counts) -> Counts {
        self.endpoints.get(&number).map_or(totals, |living| totals.plus(living))
    }

    /// Live flows of a target, and what its flows have carried with the `totals` that were read before.
    pub fn target(&self, number: u32, totals: Counts) -> (u64, Counts) {
        let living = self.targets.get(&number);
        living.map_or((0, totals), |(flows, living)| (*flows, totals.plus(living)))
    }

    /// How many leases there are: by the number of the provider's vpc, the load balancer's address (network order) and the
    /// number of the target.
    pub fn leases(&self) -> impl Iterator<Item = ((u16, u32, u32), u64)> {
        self.leases.iter().map(|(&of, &count)| (of, count))
    }
}

/// What counters have said. They must never go back: whoever reads them would take that for a restart, and for traffic
/// that never was. A flow that ends while the table is read is in neither sum for once.
#[derive(Debug, Default)]
pub struct Growing {
    endpoints: HashMap<String, Counts>,
    targets: HashMap<String, Counts>,
    services: HashMap<String, Counts>,
}

impl Growing {
    /// What the counters of endpoints are to say; and what those of their services are, to which each adds by what it has
    /// grown: an endpoint that goes takes nothing away. `seen` has for each endpoint its id, its service's, and its counts.
    pub fn endpoints<'s>(
        &mut self,
        seen: impl Iterator<Item = (&'s str, &'s str, Counts)>,
    ) -> (HashMap<String, Counts>, &HashMap<String, Counts>) {
        let mut said = HashMap::new();
        for (id, service, counts) in seen {
            let before = self.endpoints.get(id).copied().unwrap_or_default();
            let (counts, grown) = grown(before, counts);
            let sum = self.services.entry(service.to_owned()).or_default();
            *sum = sum.plus(&grown);
            said.insert(id.to_owned(), counts);
        }
        self.endpoints.clone_from(&said);
        (said, &self.services)
    }

    /// What the counters of targets are to say; `seen` has each one's key and counts.
    pub fn targets(
        &mut self,
        seen: impl Iterator<Item = (String, Counts)>,
    ) -> HashMap<String, Counts> {
        let said: HashMap<String, Counts> = seen
            .map(|(key, counts)| {
                let before = self.targets.get(&key).copied().unwrap_or_default();
                let (counts, _) = grown(before, counts);
                (key, counts)
            })
            .collect();
        self.targets.clone_from(&said);
        said
    }

    /// Forgets services that are gone.
    pub fn keep_services(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.services.retain(|id, _| is_kept(id));
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
        let mut growing = Growing::default();
        let mut endpoint = |now| growing.endpoints([("e", "s", now)].into_iter()).0["e"];
        // Two flows; one ends while the table is read; it is counted again; both have ended and more was carried.
        for (opened, seen, said) in
            [(2, 1000, 1000), (2, 600, 1000), (2, 1010, 1010), (3, 900, 1010)]
        {
            assert_eq!(endpoint(counts(opened, seen)), counts(opened, said));
        }
        assert_eq!(endpoint(counts(1, 40)), counts(1, 40), "another endpoint of that id");
    }

    #[test]
    fn a_service_keeps_what_its_endpoints_had_that_are_gone() {
        let mut growing = Growing::default();
        for (seen, said) in [
            (&[("a", 100), ("b", 50)][..], 150),
            (&[("a", 130), ("b", 40)], 180),
            (&[("a", 130)], 180),
            (&[("a", 131)], 181),
            (&[("a", 131), ("b", 7)], 188),
        ] {
            let seen = seen.iter().map(|&(id, bytes)| (id, "s", counts(1, bytes)));
            assert_eq!(growing.endpoints(seen).1["s"].bytes_to_target, said);
        }
        growing.keep_services(|_| false);
        assert!(growing.endpoints([].into_iter()).1.is_empty());
    }

    #[test]
    fn a_target_that_comes_again_begins_anew() {
        let mut growing = Growing::default();
        let mut said = |seen: &[(&str, u64)]| {
            let seen = seen.iter().map(|&(key, bytes)| (key.to_owned(), counts(1, bytes)));
            growing.targets(seen)
        };
        assert_eq!(said(&[("t", 100)])["t"].bytes_to_target, 100);
        assert_eq!(said(&[("t", 90)])["t"].bytes_to_target, 100);
        assert!(said(&[]).is_empty());
        assert_eq!(said(&[("t", 5)])["t"].bytes_to_target, 5);
    }
}
