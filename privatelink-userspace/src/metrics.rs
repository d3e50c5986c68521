//! What the gateway counts and measures, for Prometheus and the control API: gathered when it is asked for.

mod exposition;
mod facts;
mod growing;
mod routing;
mod totals;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use crate::log_writer::LogFates;

pub use self::exposition::{Format, exposition};
pub use self::facts::{
    DropFacts, EndpointFacts, Facts, GroupFacts, LeaseFacts, LoadBalancerFacts, LogFacts, MapFacts,
    ServiceFacts, TableFacts, TargetFacts,
};
pub use self::growing::{Growing, Grown};
pub use self::routing::UnhealthyRouting;
pub use self::totals::totals;

/// Bounds of the histograms, seconds.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// What is noted as it happens; everything else is looked up.
pub struct Metrics {
    /// Time from a change to all maps being in step.
    reconciling: Histogram,
    /// Time that a sweep of the flow table takes.
    sweeping: Histogram,
    /// What counters have said.
    growing: Mutex<Growing>,
    /// What went to targets that were not healthy.
    routing: Mutex<UnhealthyRouting>,
    /// What became of the lines of the logs.
    pub logs: LogFates,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciling: Histogram::new(BOUNDS),
            sweeping: Histogram::new(BOUNDS),
            growing: Mutex::default(),
            routing: Mutex::default(),
            logs: LogFates::default(),
        }
    }
}

impl Metrics {
    /// Notes how long maps took to be in step.
    pub fn reconciled(&self, took: Duration) {
        self.reconciling.observe(took.as_secs_f64());
    }

    /// Notes how long a sweep took.
    pub fn swept(&self, took: Duration) {
        self.sweeping.observe(took.as_secs_f64());
    }

    /// Has `with` see what counters have said so far.
    pub fn growing<R>(&self, with: impl FnOnce(&mut Growing) -> R) -> R {
        // A panic elsewhere leaves counts behind that were right once.
        with(&mut self.growing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What has gone to targets that were not healthy.
    pub fn routing(&self) -> MutexGuard<'_, UnhealthyRouting> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
