//! Flows that are ended before their time.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use privatelink_common::flow_table::{Flow, PacketKey};

use super::Running;
use crate::contents::VpcAddress;
use crate::netlink::NextHop;
use crate::numbers::{Kind, Numbers};
use crate::resets::{self, Ways};

impl Running {
    /// Ends the flows that the targets of some groups are to lose; how many.
    pub(super) fn cut_condemned(&self, of: impl Fn(&[u32]) -> bool) -> usize {
        let snapshot = self.snapshot();
        let groups = snapshot.model.target_groups.iter().zip(&snapshot.numbering.targets);
        let now = Instant::now();
        let condemned: HashSet<u32> = groups
            .filter(|(_, numbers)| of(numbers))
            .flat_map(|(group, numbers)| self.health().condemned(numbers, &group.attributes, now))
            .collect();
        if condemned.is_empty() {
            return 0;
        }
        self.cut_flows(|flow| condemned.contains(&flow.target))
    }

    /// Ends the flows of what is gone: resources, and addresses of the gateway's, with the numbers of their vpcs.
    pub(super) fn cut(
        &self,
        numbers: &Numbers,
        gone: &BTreeSet<(Kind, String)>,
        lost: &HashSet<VpcAddress>,
    ) -> usize {
        let of = |wanted: Kind| -> HashSet<u32> {
            let held = numbers.iter().filter(|(kind, ..)| *kind == wanted);
            held.filter(|(kind, key, _)| gone.contains(&(*kind, (*key).to_owned())))
                .map(|(_, _, number)| number)
                .collect()
        };
        let (endpoints, targets) = (of(Kind::Endpoint), of(Kind::Target));
        if endpoints.is_empty() && targets.is_empty() && lost.is_empty() {
            return 0;
        }
        let is_lost = |key: &PacketKey| lost.contains(&(key.vpc, key.destination));
        self.cut_flows(|flow| {
            endpoints.contains(&flow.endpoint)
                || targets.contains(&flow.target)
                || is_lost(&flow.forward.key)
                || is_lost(&flow.reverse.key)
        })
    }

    /// Ends the live flows that `wanted` says so of, and tells both ends; how many.
    pub(super) fn cut_flows(&self, wanted: impl Fn(&Flow) -> bool) -> usize {
        let told = RefCell::new(Vec::new());
        let wanted = |flow: &Flow| {
            let is_wanted = wanted(flow);
            let mut told = told.borrow_mut();
            if is_wanted && told.len() < resets::MOST {
                told.push(flow.clone());
            }
            is_wanted
        };
        let cut = self.clock().and_then(|clock| {
            self.flow_table.cut(wanted, |endings| self.datapath().end(endings, clock.tick()))
        });
        self.reset(told.into_inner());
        cut.unwrap_or_else(|error| {
            log::error!("flows cannot be ended: {error}");
            0
        })
    }

    /// Tells the ends of flows that they are over; on a thread, since many are told one by one.
    fn reset(&self, flows: Vec<Flow>) {
        if flows.is_empty() {
            return;
        }
        let (records, _) = self.interface_records();
        let interfaces = records.iter().map(|(&slot, interface)| (slot, interface.ifindex));
        let mut ways = Ways { interfaces: interfaces.collect(), ..Ways::default() };
        for (&number, hop) in &*self.next_hops() {
            if let &NextHop::Resolved { ifindex, mac, .. } = hop {
                ways.targets.insert(number, (ifindex, mac));
            }
        }
        std::thread::spawn(move || {
            let resets: Vec<_> =
                flows.iter().flat_map(|flow| resets::resets(flow, &ways)).collect();
            if let Err(error) = resets::send(&resets) {
                log::warn!("ends of flows that were cut cannot be told: {error}");
            }
        });
    }
}
