//! Samples of the running gateway for the charts of the last hour.

use std::time::Instant;

use super::{Running, lock};
use crate::api;
use crate::datapath::DatapathError;
use crate::history::{History, Reading};

impl Running {
    /// Takes a sample. It goes through the flow table once.
    ///
    /// # Errors
    ///
    /// The drop counters cannot be read.
    pub fn sample(&self) -> Result<(), DatapathError> {
        let snapshot = self.snapshot();
        let numbers = &snapshot.numbering.endpoints;
        // Totals first, as for the metrics: a flow that ends now is then in neither, and never in both.
        let ended = numbers.iter().map(|&number| self.flow_table.endpoint_totals(number));
        let ended: Vec<_> = ended.collect();
        let living = self.flow_table.carried();
        let endpoints = snapshot.model.endpoints.iter().zip(numbers).zip(ended);
        let endpoints = endpoints.map(|((endpoint, number), ended)| {
            let counts = living.get(number).map_or(ended, |living| ended.plus(living));
            (endpoint.id.clone(), counts)
        });
        let dropped = self.drop_counts()?.into_iter();
        let reading = Reading {
            endpoints: endpoints.collect(),
            dropped: dropped.map(|(of, counts)| (of.slot, counts.iter().sum())).collect(),
            flows: self.flow_table.live(),
        };
        lock(&self.history).take(Instant::now(), &reading);
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
