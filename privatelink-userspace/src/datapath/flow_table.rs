//! The flow table, mapped into the daemon's memory: listing and sweeping take no system call.

use aya::Ebpf;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::Record;
use privatelink_common::flow_table::{self, Bucket, Flow, FlowMemory, Usage};
use privatelink_common::memory::Shared;
use privatelink_common::records::{FlowLimits, Settings, Timeouts};
use privatelink_common::ticks::Tick;

use super::error::DatapathError;
use super::mapped::Mapped;
use crate::contents::Contents;

/// The flow table of the running data path. All threads may use it at once, beside the program.
pub struct FlowTable {
    settings: Settings,
    endpoints: Vec<(Timeouts, FlowLimits)>,
    records: Mapped<Record>,
    buckets: Mapped<Bucket>,
    free: Mapped<Shared>,
    usage: Mapped<Usage>,
}

impl FlowTable {
    /// Maps the table of a loaded object and sets all its records free.
    pub(super) fn new(ebpf: &Ebpf, contents: &Contents) -> Result<Self, DatapathError> {
        let measures = contents.flow_table;
        let map = |name| ebpf.map(name).ok_or(DatapathError::Object(name));
        let endpoints = contents.endpoints.iter().map(|record| (record.timeouts, record.limits));
        let table = Self {
            settings: contents.settings,
            endpoints: endpoints.collect(),
            records: Mapped::new("FLOWS", map("FLOWS")?, measures.records)?,
            buckets: Mapped::new("FLOW_INDEX", map("FLOW_INDEX")?, measures.buckets)?,
            free: Mapped::new("FLOW_FREE", map("FLOW_FREE")?, measures.free_words)?,
            usage: Mapped::new(
                "FLOW_USAGE",
                map("FLOW_USAGE")?,
                contents.endpoints.len().max(1) as u32,
            )?,
        };
        flow_table::clear(&table, measures);
        Ok(table)
    }

    /// Most flows it can hold.
    pub const fn capacity(&self) -> u64 {
        self.settings.capacity as u64
    }

    /// Live flows now.
    pub fn live(&self) -> u64 {
        self.usage.iter().map(|usage| usage.flows.get()).sum()
    }

    /// Live flows of an endpoint now.
    pub fn live_of(&self, endpoint: u32) -> u64 {
        self.usage.get(endpoint as usize).map_or(0, |usage| usage.flows.get())
    }

    /// All live flows at about this moment: those opened or ended meanwhile may or may not be among them.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        let live = |(record, number): (&Record, u32)| {
            record.place().phase().is_live().then(|| Flow::of(number, record)).flatten()
        };
        self.records.iter().zip(0..).filter_map(live)
    }

    /// Ends all flows that are due; how many records it took a step further. Flows of an endpoint that nears its
    /// limit of half-open flows, and of a table that is nearly full, are half-open for a short time only.
    pub fn sweep(&self, now: Tick) -> usize {
        let nearly_full = self.live() > self.capacity() / 8 * 7;
        let pressure: Vec<Pressure> = self
            .endpoints
            .iter()
            .zip(self.usage.iter())
            .map(|((_, limits), usage)| {
                let crowded = usage.half_open.get() > u64::from(limits.half_open) / 4 * 3;
                if crowded || nearly_full { Pressure::HalfOpen } else { Pressure::None }
            })
            .collect();
        let due = |(record, number): &(&Record, u32)| {
            let endpoint = record.place().endpoint() as usize;
            let pressure = pressure.get(endpoint).copied().unwrap_or(Pressure::None);
            life::sweep(self, *number, pressure, now)
        };
        self.records.iter().zip(0..).filter(due).count()
    }
}

impl FlowMemory for FlowTable {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn record(&self, number: u32) -> Option<&Record> {
        self.records.get(number as usize)
    }

    fn bucket(&self, number: u32) -> Option<&Bucket> {
        self.buckets.get(number as usize)
    }

    fn free_word(&self, number: u32) -> Option<&Shared> {
        self.free.get(number as usize)
    }

    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        self.usage.get(endpoint as usize)
    }

    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        self.endpoints.get(endpoint as usize).map(|(timeouts, _)| timeouts)
    }
}
