//! What the whole gateway has carried in the last hour.

use serde::{Deserialize, Serialize};

/// The last hour, `GET /v1/history`. Samples are taken while the web page is served (`[web]`); without it there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Milliseconds between two samples.
    pub step_ms: u64,
    /// At most 360, oldest first.
    pub samples: Vec<HistorySample>,
}

/// What has happened in the `over_ms` before a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistorySample {
    /// Milliseconds since that moment.
    pub age_ms: u64,
    /// Milliseconds that the counts are of: a rate is a count over these.
    pub over_ms: u64,
    /// Flows opened.
    pub new_flows: u64,
    /// Packets to targets.
    pub packets_to_target: u64,
    /// Bytes to targets.
    pub bytes_to_target: u64,
    /// Packets to clients.
    pub packets_to_client: u64,
    /// Bytes to clients.
    pub bytes_to_client: u64,
    /// Packets dropped, on all interfaces for all reasons.
    pub packets_dropped: u64,
    /// Flows alive at that moment.
    pub flows: u64,
}
