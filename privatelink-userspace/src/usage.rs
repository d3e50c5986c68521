//! What endpoints use, kept by the hour for as long as it may have to be charged for.
//!
//! [`Accountant`] works out what is new each time the counters are read, [`Ledger`] keeps it on disk, [`Listing`] adds
//! it up for whoever asks.

mod accountant;
mod ledger;
mod listing;
mod row;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use privatelink_common::flow_table::totals::AddressCounts;
use serde::{Deserialize, Serialize};

pub use self::accountant::{Accountant, Batch, Known, Present};
pub use self::ledger::{Ledger, LedgerError, Reading};
pub use self::listing::{Listing, Wanted};
pub use crate::contents::CountedAddress;
use crate::draining::since_boot;

/// An endpoint in a zone: what is charged for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Account that owns the endpoint's vpc.
    pub account: String,
    /// Id of the endpoint.
    pub endpoint: String,
    /// Id of its service.
    pub service: String,
    /// The zone.
    pub zone: String,
}

/// What a subject has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Seconds for which it was available.
    pub seconds: u64,
    /// Flows opened.
    pub flows: u64,
    /// Bytes to targets.
    pub to_target: u64,
    /// Bytes to clients.
    pub to_client: u64,
}

impl Amounts {
    /// Adds others.
    pub const fn add(&mut self, other: &Self) {
        self.seconds = self.seconds.saturating_add(other.seconds);
        self.flows = self.flows.saturating_add(other.flows);
        self.to_target = self.to_target.saturating_add(other.to_target);
        self.to_client = self.to_client.saturating_add(other.to_client);
    }
}

/// What the counters of an address have said; it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Flows opened.
    pub flows: u64,
    /// Bytes to targets.
    pub to_target: u64,
    /// Bytes to clients.
    pub to_client: u64,
}

impl From<AddressCounts> for Counted {
    fn from(counts: AddressCounts) -> Self {
        Self {
            flows: counts.flows,
            to_target: counts.bytes_to_target,
            to_client: counts.bytes_to_client,
        }
    }
}

/// What is used in which hour, by whom.
pub type Rows = std::collections::BTreeMap<(u32, Arc<Subject>), Amounts>;

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that says which hour it is, which may be set at any time: seconds since 1970.
    pub wall: u64,
    /// By the clock since boot, which only goes on: for how long something was there.
    pub since_boot: Duration,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: wall.as_secs(), since_boot: since_boot() }
    }
}
