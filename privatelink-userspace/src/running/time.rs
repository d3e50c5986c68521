//! What time brings.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::desired::Desired;
use super::{Running, lock, slow_starts};
use crate::draining::{self, InUse, since_boot};
use crate::numbers::Kind;

/// How long a number rests after its resource went: far longer than a packet is on a CPU.
const REST: Duration = Duration::from_secs(2);

impl Running {
    /// What time brings, to be called about once a second: requests expire, what has drained goes, targets in slow start
    /// get more, and the numbers of what is gone for long enough are given back.
    pub fn tidy(&self) {
        self.expire(&mut lock(&self.desired));
        self.cut_late();
        self.end_draining(&mut lock(&self.desired));
        self.cut_condemned(|_| true);
        if slow_starts(&self.snapshot()).next().is_some() {
            self.reconcile();
        }
        self.release_numbers(&mut lock(&self.desired));
    }

    /// Ends the flows of targets that have drained for long enough, and forgets what drains without flows.
    fn end_draining(&self, desired: &mut Desired) {
        let before = self.snapshot();
        if !draining::is_any(&before.model) {
            return;
        }
        let now = since_boot();
        let overdue = draining::overdue(&before, now);
        if !overdue.is_empty() {
            self.cut_flows(|flow| overdue.contains(&flow.target));
        }
        let used: InUse = self.flow_table.flows().collect();
        let mut model = before.model.clone();
        let drained = draining::forget(&mut model, &before.numbering, &used, now);
        if drained.is_empty() {
            return;
        }
        let declared = Arc::clone(&desired.declared);
        let next = desired.drained(model);
        match next.and_then(|next| self.adopt(desired, declared, next)) {
            Ok(_) => {
                drained.iter().for_each(|what| log::info!("{what} has drained"));
                self.changed.notify_one();
            }
            Err(error) => log::error!("what has drained stays for now: {error}"),
        }
    }

    /// Gives back the numbers of what is gone for long enough, once no flow has them; and stores what is new of the
    /// targets' health.
    fn release_numbers(&self, desired: &mut Desired) {
        let rested = desired.rested(REST);
        if !rested.is_empty() {
            // What a CPU was opening while its endpoint or target went.
            self.cut(&desired.numbers, &rested, &HashSet::new());
            self.close_usage(&desired.numbers, &rested);
        }
        for (kind, number) in desired.release(&rested) {
            match kind {
                Kind::Endpoint => self.flow_table.clear_endpoint(number),
                Kind::Target => {
                    self.flow_table.clear_target(number);
                    self.next_hops().remove(&number);
                    self.health().remove(number);
                    self.metrics.routing().forget(number);
                }
                _ => {}
            }
        }
        let health = self.health().clone();
        if let Err(error) = desired.save(&self.snapshot(), &health) {
            log::error!("{error}");
        }
    }
}
