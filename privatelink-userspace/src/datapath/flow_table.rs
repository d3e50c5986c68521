//! The flow table, mapped into the daemon's memory: listing and sweeping take no system call.

use aya::Ebpf;
use privatelink_common::flow_table::bucket::Bucket;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::Record;
use privatelink_common::flow_table::{self, Flow, FlowMemory, Usage};
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
    halves: Mapped<FlowHalf>,
    buckets: Mapped<Bucket>,
    free: Mapped<Shared>,
    strays: Mapped<Shared>,
    usage: Mapped<Usage>,
}

impl FlowTable {
    /// Maps the table of a loaded object and sets all its halves free.
    pub(super) fn new(ebpf: &Ebpf, contents: &Contents) -> Result<Self, DatapathError> {
        let measures = contents.flow_table;
        let map = |name| ebpf.map(name).ok_or(DatapathError::Object(name));
        let endpoints = contents.endpoints.iter().map(|record| (record.timeouts, record.limits));
        let table = Self {
            settings: contents.settings,
            endpoints: endpoints.collect(),
            halves: Mapped::new("FLOWS", map("FLOWS")?, measures.halves)?,
            buckets: Mapped::new("FLOW_INDEX", map("FLOW_INDEX")?, measures.buckets)?,
            free: Mapped::new("FLOW_FREE", map("FLOW_FREE")?, measures.free_words)?,
            strays: Mapped::new("FLOW_STRAYS", map("FLOW_STRAYS")?, measures.stray_words)?,
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
        self.settings.halves as u64 / 2
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
        let live = |record: &Record<'_>| record.place().phase().is_live();
        self.batches(live).flat_map(|batch| batch.iter().filter_map(Flow::of).collect::<Vec<_>>())
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
        let pressed = |record: &Record<'_>| {
            let endpoint = record.place().endpoint() as usize;
            Some((self.endpoints.get(endpoint)?.0, *pressure.get(endpoint)?))
        };
        let may_be_due = |record: &Record<'_>| {
            pressed(record).is_some_and(|(timeouts, pressure)| {
                life::may_be_due(&self.settings, record.forward, &timeouts, pressure, now)
            })
        };
        let end_if_due = |record: &&Record<'_>| {
            let pressure = pressed(record).map_or(Pressure::None, |(_, pressure)| pressure);
            life::sweep(self, record.number, pressure, now)
        };
        self.batches(may_be_due).map(|batch| batch.iter().filter(end_if_due).count()).sum()
    }

    /// The records in use that are wanted, by the forward half alone. Their reverse halves are all over the memory: those
    /// of a batch are fetched together, since the machine waits for several at once where nothing atomic is between.
    fn batches(
        &self,
        wanted: impl Fn(&Record<'_>) -> bool,
    ) -> impl Iterator<Item = Vec<Record<'_>>> {
        self.free.iter().zip((0..).step_by(u64::BITS as usize)).map(move |(free, first)| {
            let mut used = !free.get();
            let mut batch = Vec::with_capacity(used.count_ones() as usize);
            while used != 0 {
                let record = self.record(first + used.trailing_zeros());
                batch.extend(record.filter(&wanted));
                used &= used - 1;
            }
            let fetched = batch.iter().fold(0, |sum, record| sum ^ record.reverse.stamp());
            std::hint::black_box(fetched);
            batch
        })
    }
}

impl FlowMemory for FlowTable {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn half(&self, number: u32) -> Option<&FlowHalf> {
        self.halves.get(number as usize)
    }

    fn bucket(&self, number: u32) -> Option<&Bucket> {
        self.buckets.get(number as usize)
    }

    fn free_word(&self, number: u32) -> Option<&Shared> {
        self.free.get(number as usize)
    }

    fn strays(&self, number: u32) -> Option<&Shared> {
        self.strays.get(number as usize)
    }

    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        self.usage.get(endpoint as usize)
    }

    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        self.endpoints.get(endpoint as usize).map(|(timeouts, _)| timeouts)
    }
}
