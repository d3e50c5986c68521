//! What the flows in the table come to.

use std::net::IpAddr;

use hashbrown::HashMap;

use privatelink_common::flow_table::record::Record;
use privatelink_common::flow_table::totals::Counts;
use privatelink_common::records::FlowKey;
use privatelink_common::wide::{Ends, WideAddress};

/// Sums over the flows that live or whose lease is held.
#[derive(Debug, Default)]
pub struct Tally {
    endpoints: HashMap<u32, Counts>,
    targets: HashMap<u32, (u64, Counts)>,
    leases: HashMap<(u16, WideAddress, u32), u64>,
}

impl Tally {
    /// Adds a flow; `ends` are those beside its reverse half, in the wide table.
    pub fn add(&mut self, flow: &Record<'_>, ends: Option<&Ends>) {
        let place = flow.place();
        let lease = FlowKey::from_words(flow.reverse.key_words());
        let address = match ends.map(Ends::arriving) {
            Some([_, address]) => address,
            None => WideAddress::of_ipv4(lease.destination),
        };
        *self.leases.entry((lease.vpc, address, place.target())).or_default() += 1;
        if place.phase().is_live() {
            self.endpoints.entry(place.endpoint()).or_default().add(flow);
            let (flows, carried) = self.targets.entry(place.target()).or_default();
            *flows += 1;
            carried.add(flow);
        }
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

    /// How many leases there are: by the number of the provider's vpc, the load balancer's address and the number of the
    /// target.
    pub fn leases(&self) -> impl Iterator<Item = ((u16, IpAddr, u32), u64)> {
        self.leases
            .iter()
            .map(|(&(vpc, address, target), &count)| ((vpc, address.into(), target), count))
    }
}
