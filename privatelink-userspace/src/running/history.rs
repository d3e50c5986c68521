//! Samples of the running gateway for the charts of the last hour.

use std::time::Instant;

use super::{Running, lock};
use crate::api;
use crate::datapath::DatapathError;
use crate::history::{History, Reading};

impl Running {
    /// Takes a sample.
    ///
    /// # Errors
    ///
    /// The drop counters cannot be read.
    pub fn sample(&self) -> Result<(), DatapathError> {
        let facts = self.facts()?;
        let endpoints = facts.endpoints.iter().map(|of| (of.id.clone(), of.counts));
        let dropped = facts.drops.iter().map(|of| ((of.interface.clone(), of.reason), of.packets));
        let reading = Reading {
            endpoints: endpoints.collect(),
            dropped: dropped.collect(),
            flows: facts.table.flows,
        };
        lock(&self.history).take(self.started + facts.up, &reading);
        Ok(())
    }

    /// The samples of the last hour.
    pub fn history(&self) -> api::History {
        lock(&self.history).shown(Instant::now())
    }

    /// Forgets all samples: nobody takes more.
    pub fn forget_history(&self) {
        *lock(&self.history) = History::default();
    }
}
