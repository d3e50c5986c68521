//! The flow table, mapped into the daemon's memory: listing and sweeping take no system call.

use std::collections::HashMap;
use std::iter;
use std::ops::BitXor;
use std::sync::{Arc, PoisonError, RwLock};

use aya::Ebpf;
use aya::maps::Map;
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
use privatelink_common::wide::{Ends, WIDE, WideHalf};

use super::address_totals::AddressTotalsMaps;
use super::adopt::Sizes;
use super::error::DatapathError;
use super::mapped::Mapped;
use crate::contents::{Contents, CountedAddress};
use crate::tally::Tally;

/// Words of the map of free halves whose halves are looked at together.
const WORDS: usize = 8;

/// The flow tables of the running data path: the narrow one and the wide one. All threads may use them at once, beside the
/// program.
pub struct FlowTable {
    tables: [Arc<Memory>; 2],
    counted: Arc<Counted>,
    addresses: AddressTotalsMaps,
    /// Replaced as a whole: whoever sweeps goes on with what was in force when it began.
    rules: RwLock<Arc<Rules>>,
}

/// The maps that one of them consists of.
struct Memory {
    measures: Measures,
    slab: Slab,
    buckets: Mapped<Bucket>,
    free: Mapped<Shared>,
    strays: Mapped<Shared>,
    notes: Mapped<Notes>,
}

/// Its halves.
enum Slab {
    Narrow(Mapped<FlowHalf>),
    Wide(Mapped<WideHalf>),
}

/// What is counted, by endpoint and target, of the flows of both.
struct Counted {
    usage: Mapped<Usage>,
    target_totals: Mapped<Totals>,
}

/// By what flows live and end.
#[derive(Default)]
struct Rules {
    /// Of each table.
    settings: [Settings; 2],
    /// By endpoint number; those without an endpoint end their flows at once.
    endpoints: Vec<(Timeouts, FlowLimits)>,
}

/// A flow table with the rules in force at one moment.
pub struct View {
    memory: Arc<Memory>,
    counted: Arc<Counted>,
    rules: Arc<Rules>,
}

impl Memory {
    fn new(
        ebpf: &Ebpf,
        [slab, index, free, strays, notes]: [&'static str; 5],
        measures: Measures,
        halves: impl FnOnce(&'static str, &Map) -> Result<Slab, DatapathError>,
    ) -> Result<Self, DatapathError> {
        let map = |name| ebpf.map(name).ok_or(DatapathError::Object(name));
        Ok(Self {
            measures,
            slab: halves(slab, map(slab)?)?,
            buckets: Mapped::new(index, map(index)?, measures.buckets)?,
            free: Mapped::new(free, map(free)?, measures.free_words)?,
            strays: Mapped::new(strays, map(strays)?, measures.stray_words)?,
            notes: Mapped::new(notes, map(notes)?, Notes::count(measures.halves))?,
        })
    }

    const fn is_wide(&self) -> bool {
        matches!(self.slab, Slab::Wide(_))
    }

    /// Flows that have a place in it now.
    fn held(&self) -> u64 {
        let free: u64 = self.free.iter().map(|word| u64::from(word.get().count_ones())).sum();
        (self.measures.halves as u64).saturating_sub(free) / 2
    }
}

impl FlowTable {
    /// Maps the tables of a loaded object; those that are not adopted have all their halves set free.
    pub(super) fn new(ebpf: &Ebpf, sizes: Sizes, adopted: bool) -> Result<Self, DatapathError> {
        const NARROW: [&str; 5] = ["FLOWS", "FLOW_INDEX", "FLOW_FREE", "FLOW_STRAYS", "FLOW_NOTES"];
        const WIDE: [&str; 5] =
            ["WIDE_FLOWS", "WIDE_INDEX", "WIDE_FREE", "WIDE_STRAYS", "WIDE_NOTES"];
        let addresses = AddressTotalsMaps::new(ebpf)?;
        let map = |name| ebpf.map(name).ok_or(DatapathError::Object(name));
        let counted = Counted {
            usage: Mapped::new("FLOW_USAGE", map("FLOW_USAGE")?, MAX_ENDPOINTS as u32)?,
            target_totals: Mapped::new("TARGET_TOTALS", map("TARGET_TOTALS")?, MAX_TARGETS as u32)?,
        };
        let measures = sizes.flow_table;
        let narrow = Memory::new(ebpf, NARROW, measures, |name, map| {
            Mapped::new(name, map, measures.halves).map(Slab::Narrow)
        })?;
        let measures = sizes.wide_flow_table;
        let wide = Memory::new(ebpf, WIDE, measures, |name, map| {
            Mapped::new(name, map, measures.halves).map(Slab::Wide)
        })?;
        let table = Self {
            tables: [narrow, wide].map(Arc::new),
            counted: Arc::new(counted),
            addresses,
            rules: RwLock::default(),
        };
        if !adopted {
            for view in table.views() {
                flow_table::clear(&view, view.memory.measures);
            }
        }
        Ok(table)
    }

    /// The narrow table with the rules in force now.
    pub fn view(&self) -> View {
        let [narrow, _] = self.views();
        narrow
    }

    /// Both tables with the rules in force now: the narrow one first.
    pub fn views(&self) -> [View; 2] {
        // A panic elsewhere leaves a whole `Arc` behind.
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        self.tables.each_ref().map(|memory| View {
            memory: memory.clone(),
            counted: self.counted.clone(),
            rules: rules.clone(),
        })
    }

    /// Puts the settings and the endpoints' time-outs and limits in force.
    pub fn set_rules(&self, contents: &Contents) {
        let count = contents.endpoints.keys().max().map_or(0, |last| *last as usize + 1);
        let mut endpoints = vec![<(Timeouts, FlowLimits)>::default(); count];
        for (&number, record) in &contents.endpoints {
            endpoints[number as usize] = (record.timeouts, record.limits);
        }
        let settings = [contents.settings, contents.wide_settings];
        let rules = Rules { settings, endpoints };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Most flows that each table can hold, the narrow one and the wide one.
    pub fn capacities(&self) -> [u64; 2] {
        self.tables.each_ref().map(|table| table.measures.halves as u64 / 2)
    }

    /// Live flows now.
    pub fn live(&self) -> u64 {
        self.counted.usage.iter().map(|usage| usage.flows.get()).sum()
    }

    /// Flows that have a place in each table now: those alive, and those that have ended and hold their lease.
    pub fn held(&self) -> [u64; 2] {
        self.tables.each_ref().map(|table| table.held())
    }

    /// Live flows of an endpoint now.
    pub fn live_of(&self, endpoint: u32) -> u64 {
        self.counted.usage.get(endpoint as usize).map_or(0, |usage| usage.flows.get())
    }

    /// What has happened to the flows of an endpoint; of what they have carried, only of those that have ended.
    pub fn endpoint_totals(&self, endpoint: u32) -> Counts {
        self.counted
            .usage
            .get(endpoint as usize)
            .map_or_else(Counts::default, |of| of.totals.read())
    }

    /// What has happened to the flows of a target; of what they have carried, only of those that have ended.
    pub fn target_totals(&self, target: u32) -> Counts {
        self.counted.target_totals.get(target as usize).map_or_else(Counts::default, Totals::read)
    }

    /// From now on also counts by these addresses of endpoints. Whoever fails is to try again.
    pub fn count_addresses(
        &self,
        wanted: impl Iterator<Item = CountedAddress>,
    ) -> Result<(), DatapathError> {
        self.addresses.add(wanted)
    }

    /// What has happened to the flows through each address of an endpoint; of what they have carried, and of their
    /// number, only of those that have ended.
    pub fn address_counts(&self) -> Result<HashMap<CountedAddress, AddressCounts>, DatapathError> {
        self.addresses.read()
    }

    /// Forgets what has happened at addresses that no flow has any more.
    pub fn forget_addresses(&self, gone: &[CountedAddress]) -> Result<(), DatapathError> {
        self.addresses.remove(gone)
    }

    /// Half-open flows of an endpoint now.
    pub fn half_open_of(&self, endpoint: u32) -> u64 {
        self.counted.usage.get(endpoint as usize).map_or(0, |usage| usage.half_open.get())
    }

    /// Forgets what has happened to the flows of an endpoint that is gone: another one may get its number.
    pub fn clear_endpoint(&self, endpoint: u32) {
        if let Some(usage) = self.counted.usage.get(endpoint as usize) {
            usage.totals.clear();
        }
    }

    /// Forgets what has happened to the flows of a target that is gone: another one may get its number.
    pub fn clear_target(&self, target: u32) {
        if let Some(totals) = self.counted.target_totals.get(target as usize) {
            totals.clear();
        }
    }

    /// All live flows at about this moment, by rising number: those opened or ended meanwhile may or may not be among
    /// them.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        let flows = |view: &View, batch: &[Record<'_>]| {
            batch.iter().filter_map(|record| Flow::of(view, record)).collect::<Vec<_>>()
        };
        self.views()
            .into_iter()
            .flat_map(move |view| view.batches(is_live, View::reverse_and_note, flows))
            .flatten()
    }

    /// What the flows come to that live or whose lease is held.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let leased = |_: &View, record: &Record<'_>| record.place().phase().holds_lease();
        let mut add = |view: &View, batch: &[Record<'_>]| {
            batch.iter().for_each(|flow| tally.add(flow, view.ends(flow.forward.other())));
        };
        for view in self.views() {
            view.batches(leased, View::reverse, &mut add).for_each(drop);
        }
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
            wanted.then(|| Ending::cut(view.numbered(record), place))
        };
        let endings = |view: &View, batch: &[Record<'_>]| {
            batch.iter().filter_map(|record| ending(view, record)).collect()
        };
        let batches = self.views().into_iter();
        end_all(
            batches.flat_map(|view| view.batches(is_live, View::reverse_and_note, endings)),
            end,
        )
    }

    /// Has `end` end all flows that are due; how many records it took a step further. Flows of an endpoint that nears
    /// its limit of half-open flows, and of a table that is nearly full, are half-open for a short time only.
    pub fn sweep(
        &self,
        now: Tick,
        end: impl FnMut(&[Ending]) -> Result<usize, DatapathError>,
    ) -> Result<usize, DatapathError> {
        let mut ended = 0;
        let mut end = end;
        for view in self.views() {
            ended += view.sweep(now, &mut end)?;
        }
        Ok(ended)
    }
}

impl View {
    fn sweep(
        self,
        now: Tick,
        end: impl FnMut(&[Ending]) -> Result<usize, DatapathError>,
    ) -> Result<usize, DatapathError> {
        let nearly_full = self.memory.held() > self.memory.measures.flows() as u64 / 8 * 7;
        let pressure: Vec<Pressure> = self
            .rules
            .endpoints
            .iter()
            .zip(self.counted.usage.iter())
            .map(|((_, limits), usage)| {
                let crowded = usage.half_open.get() > u64::from(limits.half_open) / 4 * 3;
                if crowded || nearly_full { Pressure::HalfOpen } else { Pressure::None }
            })
            .collect();
        let pressure_on = |record: &Record<'_>| {
            let endpoint = record.place().endpoint() as usize;
            pressure.get(endpoint).copied().unwrap_or(Pressure::None)
        };
        let may_be_due = |view: &Self, record: &Record<'_>| {
            let timeouts = view.timeouts_of(record.place().endpoint());
            life::may_be_due(view.rules(), record.forward, timeouts, pressure_on(record), now)
        };
        let ending = |view: &Self, record: &Record<'_>| {
            let (timeouts, pressure) =
                (view.timeouts_of(record.place().endpoint()), pressure_on(record));
            life::is_due(view.rules(), record, timeouts, pressure, now)
                .then(|| Ending::if_due(view.numbered(record), pressure))
        };
        let endings = |view: &Self, batch: &[Record<'_>]| {
            batch.iter().filter_map(|record| ending(view, record)).collect()
        };
        end_all(self.batches(may_be_due, Self::reverse, endings), end)
    }
}

/// The numbers of the halves that a word of the map of free ones says are in use.
fn used(word: usize, free: u64) -> impl Iterator<Item = u32> {
    let mut used = !free;
    iter::from_fn(move || {
        let lowest = (used != 0).then(|| used.trailing_zeros())?;
        used &= used - 1;
        Some(word as u32 * u64::BITS + lowest)
    })
}

fn is_live(_: &View, record: &Record<'_>) -> bool {
    record.place().phase().is_live()
}

/// Ends flows, as many at once as there is room for.
fn end_all(
    batches: impl Iterator<Item = Vec<Ending>>,
    mut end: impl FnMut(&[Ending]) -> Result<usize, DatapathError>,
) -> Result<usize, DatapathError> {
    let (mut endings, mut ended) = (batches.flatten(), 0);
    loop {
        let next: Vec<_> = endings.by_ref().take(ending::MOST).collect();
        if next.is_empty() {
            return Ok(ended);
        }
        ended += end(&next)?;
    }
}

impl View {
    /// What `take` makes of the records in use that are wanted by their forward half alone, batch by batch. Halves are all over the
    /// memory, those in use as well as the other ones of their flows: they are fetched for a batch together, the latter by `fetch`,
    /// since the machine waits for several words at once where nothing atomic is between.
    fn batches<R>(
        self,
        wanted: impl Fn(&Self, &Record<'_>) -> bool,
        fetch: fn(&Self, &Record<'_>) -> u32,
        mut take: impl FnMut(&Self, &[Record<'_>]) -> R,
    ) -> impl Iterator<Item = R> {
        let memory = self.memory.clone();
        (0..memory.free.len()).step_by(WORDS).map(move |first| {
            let words = memory.free.iter().enumerate().skip(first).take(WORDS);
            let used: Vec<u32> = words.flat_map(|(word, free)| used(word, free.get())).collect();
            let fetched = used.iter().filter_map(|&number| self.half(number)).map(FlowHalf::stamp);
            std::hint::black_box(fetched.fold(0, BitXor::bitxor));
            let records = used.iter().filter_map(|&number| self.record(number));
            let batch: Vec<_> = records.filter(|record| wanted(&self, record)).collect();
            let fetched = batch.iter().map(|record| fetch(&self, record));
            std::hint::black_box(fetched.fold(0, BitXor::bitxor));
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
    /// A flow's number, which tells the table.
    fn numbered(&self, record: &Record<'_>) -> u32 {
        record.number | if self.memory.is_wide() { WIDE } else { 0 }
    }

    fn rules(&self) -> &Settings {
        &self.rules.settings[usize::from(self.memory.is_wide())]
    }

    fn timeouts_of(&self, endpoint: u32) -> &Timeouts {
        let found = self.rules.endpoints.get(endpoint as usize);
        found.map_or(&Timeouts::NONE, |(timeouts, _)| timeouts)
    }
}

impl FlowMemory for View {
    fn settings(&self) -> Option<&Settings> {
        Some(self.rules())
    }

    fn half(&self, number: u32) -> Option<&FlowHalf> {
        match &self.memory.slab {
            Slab::Narrow(halves) => halves.get(number as usize),
            Slab::Wide(halves) => halves.get(number as usize).map(|wide| &wide.half),
        }
    }

    fn ends(&self, number: u32) -> Option<&Ends> {
        match &self.memory.slab {
            Slab::Narrow(_) => None,
            Slab::Wide(halves) => halves.get(number as usize).map(|wide| &wide.ends),
        }
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
        self.counted.usage.get(endpoint as usize)
    }

    fn target_totals(&self, target: u32) -> Option<&Totals> {
        self.counted.target_totals.get(target as usize)
    }

    /// Nobody ends flows here: the program in the kernel does.
    fn address_totals(&self, _: &EndpointAddressKey) -> Option<&AddressTotals> {
        None
    }

    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        Some(self.timeouts_of(endpoint))
    }
}

#[cfg(test)]
mod tests {
    use privatelink_common::flow_table::record::Place;

    use super::*;

    #[test]
    fn no_more_are_ended_at_once_than_there_is_room_for() {
        let numbers =
            |range: std::ops::Range<u32>| range.map(|number| Ending::cut(number, Place(0)));
        let batches =
            [0..3, 3..3, 3..515, 515..1027, 1027..1030].map(|range| numbers(range).collect());
        let mut seen = Vec::new();
        let ended = end_all(batches.into_iter(), |endings| {
            assert!(endings.len() <= ending::MOST);
            seen.extend_from_slice(endings);
            Ok(endings.len())
        });
        assert_eq!(ended.unwrap(), 1030);
        assert_eq!(seen, numbers(0..1030).collect::<Vec<_>>());
    }
}
