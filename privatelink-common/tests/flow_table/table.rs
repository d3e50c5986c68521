//! A flow table in ordinary memory, how flows get into it, and what must be true of it.

use std::collections::HashSet;

use privatelink_common::flow_table::half::{Direction, FlowHalf};
use privatelink_common::flow_table::life;
use privatelink_common::flow_table::record::{NewFlow, Phase, Record};
use privatelink_common::flow_table::{
    Entry, FlowMemory, Insert, Measures, NONE, free, index, scale,
};
use privatelink_common::hash::{Seeds, hash};
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::records::{FlowKey, Settings, Timeouts};
use privatelink_common::ticks::Tick;

/// Ticks for which a retired half rests; in the test of threads a tick is a millisecond.
pub(crate) const QUARANTINE: u32 = 200;

pub(crate) fn table(capacity: u32) -> MemoryFlowTable {
    let measures = Measures::new(capacity);
    table_with(capacity, measures.number_bits())
}

/// A table whose index has fewer bits of the keys' hashes, as in a larger one.
pub(crate) fn table_with(capacity: u32, number_bits: u32) -> MemoryFlowTable {
    let measures = Measures::new(capacity);
    let settings = Settings {
        seeds: Seeds::of(0x0123_4567_89ab_cdef),
        halves: measures.halves,
        buckets: measures.buckets,
        number_bits,
        second: 16,
        quarantine: QUARANTINE,
        pressed_half_open: 4,
        shortest_timeout: 0,
        ..Settings::default()
    };
    let mut table = MemoryFlowTable::new(settings, 1);
    let timeouts = Timeouts { half_open: 1, idle: 1, closing: 1, lease_hold: 1, ..Timeouts::NONE };
    table.timeouts.insert(0, timeouts);
    table
}

pub(crate) fn client(number: u32) -> [u64; 2] {
    let key = FlowKey {
        source: number,
        destination: 0x0a01_000a,
        source_port: number as u16,
        destination_port: 80,
        vpc: 1,
        protocol: 6,
    };
    key.words()
}

pub(crate) fn lease(number: u32) -> [u64; 2] {
    let key = FlowKey {
        source: 0x0a02_000a,
        destination: 0x0a00_000a + (number >> 16),
        source_port: 8080,
        destination_port: number as u16,
        vpc: 2,
        protocol: 6,
    };
    key.words()
}

/// A number that looks random.
pub(crate) const fn scattered(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1)
}

/// The half that has a key.
pub(crate) fn entry(table: &MemoryFlowTable, key: [u64; 2]) -> Option<Entry> {
    table.find(key).map(|found| found.entry)
}

/// Opens a flow as the engine does: a half for the client's key, one with a lease, then the client's key. The number
/// of the flow, whoever opened it. `leases` is asked for keys of leases until one is free.
pub(crate) fn open(
    table: &MemoryFlowTable,
    number: u32,
    leases: &dyn Fn() -> [u64; 2],
    now: Tick,
) -> Option<u32> {
    open_from(table, number, leases, scattered(number), now)
}

/// Opens a flow; `random` says where the search for a half begins that its key does not name.
pub(crate) fn open_from(
    table: &MemoryFlowTable,
    number: u32,
    leases: &dyn Fn() -> [u64; 2],
    random: u32,
    now: Tick,
) -> Option<u32> {
    let key = client(number);
    let claimed = table.claim(key, random, now);
    if claimed == NONE {
        return None;
    }
    let mut flow = NewFlow { forward: key, reverse: key, endpoint: 0, target: number & 7 };
    let Some(other) = take_lease(table, &mut flow, claimed, leases, random, now) else {
        free::release(table, claimed);
        return None;
    };
    let [forward, reverse] = [claimed, other].map(|number| half(table, number));
    forward.fill_forward(&flow, other, now);
    let record = Record { number: claimed, forward, reverse };
    if table.insert(key, claimed) == Insert::Done {
        life::begin(table, &record);
        return Some(claimed);
    }
    life::withdraw(table, &record, now);
    entry(table, key).map(Entry::number)
}

fn take_lease(
    table: &MemoryFlowTable,
    flow: &mut NewFlow,
    forward: u32,
    leases: &dyn Fn() -> [u64; 2],
    random: u32,
    now: Tick,
) -> Option<u32> {
    const PICKY: u32 = 8;
    for attempt in 0..1000 {
        flow.reverse = leases();
        let suits = attempt >= PICKY || index::is_home_free(table, flow.reverse);
        if !suits || index::contains(table, flow.reverse) {
            continue;
        }
        let number = table.claim(flow.reverse, random, now);
        if number == NONE {
            return None;
        }
        half(table, number).fill_reverse(flow, forward, now);
        match table.insert(flow.reverse, number) {
            Insert::Done => return Some(number),
            Insert::Exists | Insert::Busy => free::release(table, number),
            Insert::Full => {
                free::release(table, number);
                return None;
            }
        }
    }
    None
}

pub(crate) fn half(table: &MemoryFlowTable, number: u32) -> &FlowHalf {
    table.half(number).expect("a half")
}

/// Ends a flow at once; its halves rest from now on.
pub(crate) fn end(table: &MemoryFlowTable, number: u32, now: Tick) {
    let record = table.record(number).expect("a flow");
    let timeouts = table.timeouts(0).expect("the endpoint");
    while life::end(table, &record, record.place(), timeouts, now) {}
    assert_eq!(record.place().phase(), Phase::Retired);
}

/// The first of a key's two places.
pub(crate) fn places(table: &MemoryFlowTable, [addresses, ports]: [u64; 2]) -> u32 {
    let Settings { seeds, halves, .. } = table.settings;
    scale((hash(seeds.hash, addresses, ports) >> 32) as u32, halves) & !1
}

/// What there is in a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) live: u32,
    pub(crate) held: u32,
    /// Keys of clients and of leases that are not where their hashes say.
    pub(crate) strays: [u32; 2],
}

/// What must be true of a table that nobody is changing.
pub(crate) fn check(table: &MemoryFlowTable) -> Content {
    let halves = table.settings.halves;
    let mut content = Content::default();
    let (mut used, mut keys) = (HashSet::new(), HashSet::new());
    let mut strays = vec![0; halves as usize / 2];
    let mut half_open = 0;
    let mut has_key = |number: u32, direction: Direction| {
        let (half, key) = (half(table, number), half(table, number).key_words());
        assert_eq!(entry(table, key), Some(Entry::new(number, direction)), "{half:?}");
        assert!(keys.insert(key), "two halves have one key");
        let first = places(table, key);
        assert_eq!(half.is_stray(), number & !1 != first, "only what is elsewhere is a stray");
        strays[first as usize / 2] += u32::from(half.is_stray());
        content.strays[direction as usize] += u32::from(half.is_stray());
    };
    for number in 0..halves {
        let Some(record) = table.record(number) else {
            assert_eq!(half(table, number).direction(), Direction::Reverse, "half {number}");
            continue;
        };
        let phase = record.place().phase();
        let other = record.forward.other();
        match phase {
            Phase::HalfOpen | Phase::Established => {
                has_key(number, Direction::Forward);
                content.live += 1;
                half_open += u64::from(phase == Phase::HalfOpen);
            }
            Phase::Held => {
                assert_eq!(record.forward.key_words()[0], 0, "an ended flow is not found");
                content.held += 1;
            }
            Phase::Opening => panic!("nobody is opening a flow"),
            Phase::Unused | Phase::Retired => continue,
        }
        has_key(other, Direction::Reverse);
        assert!(used.insert(number) && used.insert(other), "a half is of two flows");
        assert_eq!(table.owner(number), number);
        // Where a client's packet passed while its flow was ended, an old flow may know where the client is.
        if phase != Phase::Held || record.reverse.client().0.is_unknown() {
            assert_eq!(table.owner(other), number);
        }
    }
    for number in 0..halves {
        let word = table.free_word(number / 64).expect("a word").get();
        let is_free = word >> (number % 64) & 1 != 0;
        assert_ne!(is_free, used.contains(&number), "half {number} is free or one flow's");
        assert!(!is_free || half(table, number).key_words()[0] == 0, "a free half has no key");
    }
    assert_eq!(stray_counts(table), strays);
    assert_eq!(index_entries(table), content.strays.iter().sum::<u32>());
    let usage = table.usage(0).expect("the endpoint");
    assert_eq!((usage.flows.get(), usage.half_open.get()), (u64::from(content.live), half_open));
    content
}

/// The counts of strays, of each two halves.
fn stray_counts(table: &MemoryFlowTable) -> Vec<u32> {
    const EACH: u32 = 8;
    let words = Measures::new(table.settings.halves / 2).stray_words;
    let count = |pair: u32| {
        let word = table.strays(pair / EACH).expect("a word").get();
        assert_eq!(word >> 56, 0, "nobody has a lock");
        (word >> (pair % EACH * 7)) as u32 & 0x7f
    };
    (0..words * EACH).map(count).collect()
}

/// How many entries the index has.
fn index_entries(table: &MemoryFlowTable) -> u32 {
    let entries = |number| {
        let bucket = format!("{:?}", table.bucket(number).expect("a bucket"));
        let words = bucket.split(|char: char| !char.is_ascii_digit());
        words.filter(|word| !word.is_empty() && *word != "0").count() as u32
    };
    (0..table.settings.buckets).map(entries).sum()
}
