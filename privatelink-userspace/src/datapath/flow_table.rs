//! The flow table, mapped into the daemon's memory: listing and sweeping take no system call.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aya::Ebpf;
use privatelink_common::flow_table::bucket::Bucket;
use privatelink_common::flow_table::ending::{self, Ending};
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::note::{Note, Notes};
use privatelink_common::flow_table::record::Record;
use privatelink_common::flow_table::totals::{AddressCounts, AddressTotals, Counts, Totals};
use privatelink_common::flow_table::{self, Flow, FlowMemory, Measures, Usage};
use privatelink_common::limits::{MAX_ENDPOINTS, MAX_TARGETS};
use privatelink_common::memory::Shared;
use privatelink_common::records::{EndpointAddressKey, FlowLimits, Settings, Timeouts};
use privatelink_common::ticks::Tick;

use super::address_totals::AddressTotalsMap;
use super::error::DatapathError;
use super::mapped::Mapped;
use crate::contents::Contents;
use crate::tally::Tally;

/// The flow table of the running data path. All threads may use it at once, beside the program.
pub struct FlowTable {
    memory: Arc<Memory>,
    addresses: AddressTotalsMap,
    /// Replaced as a whole: whoever sweeps goes on with what was in force when it began.
    rules: RwLock<Arc<Rules>>,
}

/// The maps it consists of.
struct Memory {
    measures: Measures,
    halves: Mapped<FlowHalf>,
    buckets: Mapped<Bucket>,
    free: Mapped<Shared>,
    strays: Mapped<Shared>,
    notes: Mapped<Notes>,
    usage: Mapped<Usage>,
    target_totals: Mapped<Totals>,
}

/// By what flows live and end.
#[derive(Default)]
struct Rules {
    settings: Settings,
    /// By endpoint number; those without an endpoint end their flows at once.
    endpoints: Vec<(Timeouts, FlowLimits)>,
}

/// The flow table with the rules in force at one moment.
pub struct View {
    memory: Arc<Memory>,
    rules: Arc<Rules>,
}

impl FlowTable {
    /// Maps the table of a loaded object; one that is not adopted has all its halves set free.
    pub(super) fn new(
        ebpf: &Ebpf,
        measures: Measures,
        adopted: bool,
    ) -> Result<Self, DatapathError> {
        let addresses = AddressTotalsMap::new(ebpf)?;
        let map = |name| ebpf.map(name).ok_or(DatapathError::Object(name));
        let memory = Memory {
            measures,
            halves: Mapped::new("FLOWS", map("FLOWS")?, measures.halves)?,
            buckets: Mapped::new("FLOW_INDEX", map("FLOW_INDEX")?, measures.buckets)?,
            free: Mapped::new("FLOW_FREE", map("FLOW_FREE")?, measures.free_words)?,
            strays: Mapped::new("FLOW_STRAYS", map("FLOW_STRAYS")?, measures.stray_words)?,
            notes: Mapped::new("FLOW_NOTES", map("FLOW_NOTES")?, Notes::count(measures.halves))?,
            usage: Mapped::new("FLOW_USAGE", map("FLOW_USAGE")?, MAX_ENDPOINTS as u32)?,
            target_totals: Mapped::new("TARGET_TOTALS", map("TARGET_TOTALS")?, MAX_TARGETS as u32)?,
        };
        let table = Self { memory: Arc::new(memory), addresses, rules: RwLock::default() };
        if !adopted {
            flow_table::clear(&table.view(), measures);
        }
        Ok(table)
    }

    /// The table with the rules in force now.
    pub fn view(&self) -> View {
        // A panic elsewhere leaves a whole `Arc` behind.
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        View { memory: self.memory.clone(), rules: rules.clone() }
    }

    /// Puts the settings and the endpoints' time-outs and limits in force.
    pub fn set_rules(&self, contents: &Contents) {
        let count = contents.endpoints.keys().max().map_or(0, |last| *last as usize + 1);
        let mut endpoints = vec![<(Timeouts, FlowLimits)>::default(); count];
        for (&number, record) in &contents.endpoints {
            endpoints[number as usize] = (record.timeouts, record.limits);
        }
        let rules = Rules { settings: contents.settings, endpoints };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Most flows it can hold.
    pub fn capacity(&self) -> u64 {
        self.memory.measures.halves as u64 / 2
    }

    /// Live flows now.
    pub fn live(&self) -> u64 {
        self.memory.usage.iter().map(|usage| usage.flows.get()).sum()
    }

    /// Flows that have a place in it now: those alive, and those that have ended and hold their lease.
    pub fn held(&self) -> u64 {
        let free: u64 =
            self.memory.free.iter().map(|word| u64::from(word.get().count_ones())).sum();
        (self.memory.measures.halves as u64).saturating_sub(free) / 2
    }

    /// Live flows of an endpoint now.
    pub fn live_of(&self, endpoint: u32) -> u64 {
        self.memory.usage.get(endpoint as usize).map_or(0, |usage| usage.flows.get())
    }

    /// What has happened to the flows of an endpoint; of what they have carried, only of those that have ended.
    pub fn endpoint_totals(&self, endpoint: u32) -> Counts {
        self.memory.usage.get(endpoint as usize).map_or_else(Counts::default, |of| of.totals.read())
    }

    /// What has happened to the flows of a target; of what they have carried, only of those that have ended.
    pub fn target_totals(&self, target: u32) -> Counts {
        self.memory.target_totals.get(target as usize).map_or_else(Counts::default, Totals::read)
    }

    /// From now on also counts by these addresses of endpoints. Whoever fails is to try again.
    pub fn count_addresses(
        &self,
        wanted: impl Iterator<Item = EndpointAddressKey>,
    ) -> Result<(), DatapathError> {
        self.addresses.add(wanted)
    }

    /// What has happened to the flows through each address of an endpoint; of what they have carried, and of their
    /// number, only of those that have ended.
    pub fn address_counts(
        &self,
    ) -> Result<HashMap<EndpointAddressKey, AddressCounts>, DatapathError> {
        self.addresses.read()
    }

    /// Forgets what has happened at addresses that no flow has any more.
    pub fn forget_addresses(&self, gone: &[EndpointAddressKey]) -> Result<(), DatapathError> {
        self.addresses.remove(gone)
    }

    /// Half-open flows of an endpoint now.
    pub fn half_open_of(&self, endpoint: u32) -> u64 {
        self.memory.usage.get(endpoint as usize).map_or(0, |usage| usage.half_open.get())
    }

    /// Forgets what has happened to the flows of an endpoint that is gone: another one may get its number.
    pub fn clear_endpoint(&self, endpoint: u32) {
        if let Some(usage) = self.memory.usage.get(endpoint as usize) {
            usage.totals.clear();
        }
    }

    /// Forgets what has happened to the flows of a target that is gone: another one may get its number.
    pub fn clear_target(&self, target: u32) {
        if let Some(totals) = self.memory.target_totals.get(target as usize) {
            totals.clear();
        }
    }

    /// All live flows at about this moment, by rising number: those opened or ended meanwhile may or may not be among
    /// them.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        let flows = |view: &View, batch: &[Record<'_>]| {
            batch.iter().filter_map(|record| Flow::of(view, record)).collect::<Vec<_>>()
        };
        self.view().batches(is_live, View::reverse_and_note, flows).flatten()
    }

    /// What the flows come to that live or whose lease is held.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let leased = |_: &View, record: &Record<'_>| record.place().phase().holds_lease();
        let add = |view: &View, batch: &[Record<'_>]| {
            batch.iter().for_each(|flow| tally.add(flow, view.ends(flow.forward.other())));
        };
        self.view().batches(leased, View::reverse, add).for_each(drop);
        tally
    }

    /// Has `end` end all live flows that `wanted` says so of; how many it did.
    pub fn cut(
        &self,
        wanted: impl Fn(&Flow) -> bool,
        end: impl FnMut(&[Ending]) -> Result<usize, DatapathError>,
    ) -> Result<usize, DatapathError> {
        let ending = |view: &View, record: &Record<'_>| {
            let place = record.place();
            let wanted = Flow::of(view, record).is_some_and(|flow| wanted(&flow));
            wanted.then(|| Ending::cut(record.number, place))
        };
        let endings = |view: &View, batch: &[Record<'_>]| {
            batch.iter().filter_map(|record| ending(view, record)).collect()
        };
        end_all(self.view().batches(is_live, View::reverse_and_note, endings), end)
    }

    /// Has `end` end all flows that are due; how many records it took a step further. Flows of an endpoint that nears
    /// its limit of half-open flows, and of a table that is nearly full, are half-open for a short time only.
    pub fn sweep(
        &self,
        now: Tick,
        end: impl FnMut(&[Ending]) -> Result<usize, DatapathError>,
    ) -> Result<usize, DatapathError> {
        let view = self.view();
        let nearly_full = self.live() > self.capacity() / 8 * 7;
        let pressure: Vec<Pressure> = view
            .rules
            .endpoints
            .iter()
            .zip(self.memory.usage.iter())
            .map(|((_, limits), usage)| {
                let crowded = usage.half_open.get() > u64::from(limits.half_open) / 4 * 3;
                if crowded || nearly_full { Pressure::HalfOpen } else { Pressure::None }
            })
            .collect();
        let pressure_on = |record: &Record<'_>| {
            let endpoint = record.place().endpoint() as usize;
            pressure.get(endpoint).copied().unwrap_or(Pressure::None)
        };
        let may_be_due = |view: &View, record: &Record<'_>| {
            let timeouts = view.timeouts_of(record.place().endpoint());
            let settings = &view.rules.settings;
            life::may_be_due(settings, record.forward, timeouts, pressure_on(record), now)
        };
        let ending = |view: &View, record: &Record<'_>| {
            let (timeouts, pressure) =
                (view.timeouts_of(record.place().endpoint()), pressure_on(record));
            life::is_due(&view.rules.settings, record, timeouts, pressure, now)
                .then(|| Ending::if_due(record.number, pressure))
        };
        let endings = |view: &View, batch: &[Record<'_>]| {
            batch.iter().filter_map(|record| ending(view, record)).collect()
        };
        end_all(view.batches(may_be_due, View::reverse, endings), end)
    }
}

fn is_live(_: &View, record: &Record<'_>) -> bool {
    record.place().phase().is_live()
}

/// Ends flows, as many at once as there is room for.
fn end_all(
    batches: impl Iterator<Item = Vec<Ending>>,
    mut end: impl FnMut(&[Ending]) -> Result<usize, DatapathError>,
) -> Result<usize, DatapathError> {
    let (mut waiting, mut ended) = (Vec::with_capacity(2 * ending::MOST), 0);
    for batch in batches {
        waiting.extend(batch);
        if let Some((first, _)) = waiting.split_at_checked(ending::MOST) {
            ended += end(first)?;
            waiting.drain(..ending::MOST);
        }
    }
    Ok(if waiting.is_empty() { ended } else { ended + end(&waiting)? })
}

impl View {
    /// What `take` makes of the records in use that are wanted by their forward half alone, batch by batch. The rest of
    /// a record is all over the memory: what `fetch` reads of it is fetched for a batch together, since the machine
    /// waits for several words at once where nothing atomic is between.
    fn batches<R>(
        self,
        wanted: impl Fn(&Self, &Record<'_>) -> bool,
        fetch: fn(&Self, &Record<'_>) -> u32,
        mut take: impl FnMut(&Self, &[Record<'_>]) -> R,
    ) -> impl Iterator<Item = R> {
        let memory = self.memory.clone();
        (0..memory.free.len()).map(move |word| {
            let mut used = !memory.free[word].get();
            let first = word as u32 * u64::BITS;
            let mut batch = Vec::with_capacity(used.count_ones() as usize);
            while used != 0 {
                let record = self.record(first + used.trailing_zeros());
                batch.extend(record.filter(|record| wanted(&self, record)));
                used &= used - 1;
            }
            let fetched = batch.iter().fold(0, |sum, record| sum ^ fetch(&self, record));
            std::hint::black_box(fetched);
            take(&self, &batch)
        })
    }

    fn reverse(&self, record: &Record<'_>) -> u32 {
        record.reverse.stamp()
    }

    fn reverse_and_note(&self, record: &Record<'_>) -> u32 {
        self.reverse(record) ^ Note::of(self, record.forward.other()).again()
    }
}

impl View {
    fn timeouts_of(&self, endpoint: u32) -> &Timeouts {
        let found = self.rules.endpoints.get(endpoint as usize);
        found.map_or(&Timeouts::NONE, |(timeouts, _)| timeouts)
    }
}

impl FlowMemory for View {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.rules.settings)
    }

    fn half(&self, number: u32) -> Option<&FlowHalf> {
        self.memory.halves.get(number as usize)
    }

    fn bucket(&self, number: u32) -> Option<&Bucket> {
        self.memory.buckets.get(number as usize)
    }

    fn free_word(&self, number: u32) -> Option<&Shared> {
        self.memory.free.get(number as usize)
    }

    fn strays(&self, number: u32) -> Option<&Shared> {
        self.memory.strays.get(number as usize)
    }

    fn notes(&self, number: u32) -> Option<&Notes> {
        self.memory.notes.get(number as usize)
    }

    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        self.memory.usage.get(endpoint as usize)
    }

    fn target_totals(&self, target: u32) -> Option<&Totals> {
        self.memory.target_totals.get(target as usize)
    }

    /// Nobody ends flows here: the program in the kernel does.
    fn address_totals(&self, _: &EndpointAddressKey) -> Option<&AddressTotals> {
        None
    }

    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        Some(self.timeouts_of(endpoint))
    }
}
