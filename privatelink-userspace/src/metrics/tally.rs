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
