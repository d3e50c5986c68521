//! Many threads on one flow table, as CPUs and the daemon are on the kernel's: nothing may be lost, doubled or shared.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::{Direction, NewFlow, Phase};
use privatelink_common::flow_table::{Entry, FlowMemory, Insert, Measures, free};
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::records::{FlowKey, Settings, Timeouts};
use privatelink_common::tcp::{ACK, FIN, SYN};
use privatelink_common::ticks::Tick;

/// Ticks for which a retired record rests; in the test of threads a tick is a millisecond.
const QUARANTINE: u32 = 200;

fn table(capacity: u32) -> MemoryFlowTable {
    let measures = Measures::new(capacity);
    let settings = Settings {
        hash_seed: 0x0123_4567_89ab_cdef,
        capacity: measures.records,
        buckets: measures.buckets,
        number_bits: measures.number_bits(),
        second: 16,
        quarantine: QUARANTINE,
        pressed_half_open: 4,
        shortest_timeout: 0,
        padding: 0,
    };
    let mut table = MemoryFlowTable::new(settings, 1);
    let timeouts = Timeouts { half_open: 1, idle: 1, closing: 1, lease_hold: 1 };
    table.timeouts.insert(0, timeouts);
    table
}

fn client(number: u32) -> FlowKey {
    FlowKey {
        source: number,
        destination: 0x0a01_000a,
        source_port: number as u16,
        destination_port: 80,
        vpc: 1,
        protocol: 6,
    }
}

fn lease(number: u32) -> FlowKey {
    FlowKey {
        source: 0x0a02_000a,
        destination: 0x0a00_000a + (number >> 16),
        source_port: 8080,
        destination_port: number as u16,
        vpc: 2,
        protocol: 6,
    }
}

/// Opens a flow as the engine does: record, lease, forward key. The number of the flow's record, whoever opened it.
fn open(table: &MemoryFlowTable, number: u32, leases: &AtomicU32, now: Tick) -> Option<u32> {
    let claimed = table.claim(number.wrapping_mul(0x9e37_79b1), now);
    if claimed == free::NONE {
        return None;
    }
    let record = table.record(claimed).expect("it was claimed");
    let mut flow =
        NewFlow { forward: client(number), reverse: lease(0), endpoint: 0, target: number & 7 };
    for _ in 0..1000 {
        flow.reverse = lease(leases.fetch_add(0x9e3b, Ordering::Relaxed) & 0xffff);
        record.fill(&flow, now);
        match table.insert(flow.reverse.words(), claimed, Direction::Reverse) {
            Insert::Done => {
                return match table.insert(flow.forward.words(), claimed, Direction::Forward) {
                    Insert::Done => {
                        life::begin(table, record);
                        Some(claimed)
                    }
                    _ => {
                        life::withdraw(table, record, claimed, now);
                        table.find(flow.forward.words()).map(|found| found.entry.number())
                    }
                };
            }
            Insert::Exists | Insert::Busy => {}
            Insert::Full => break,
        }
    }
    free::release(table, claimed);
    None
}

/// What must be true of a table that nobody is changing.
fn check(table: &MemoryFlowTable) {
    let capacity = table.settings.capacity;
    let (mut forward, mut leases) = (HashSet::new(), HashSet::new());
    let (mut live, mut half_open) = (0, 0);
    for number in 0..capacity {
        let record = table.record(number).expect("a record");
        let (place, keys) =
            (record.place(), [record.forward().key_words(), record.reverse().key_words()]);
        let found = keys.map(|key| table.find(key).map(|found| found.entry));
        let [own_forward, own_reverse] =
            [Direction::Forward, Direction::Reverse].map(|direction| Entry::new(number, direction));
        match place.phase() {
            Phase::HalfOpen | Phase::Established => {
                assert_eq!(found[0], Some(own_forward), "a live flow is found by its client's key");
                assert_eq!(found[1], Some(own_reverse), "and by its lease");
                assert!(forward.insert(keys[0]), "one client key is in two records");
                assert!(leases.insert(keys[1]), "one lease is in two records");
                live += 1;
                half_open += u64::from(place.phase() == Phase::HalfOpen);
            }
            Phase::Opening => panic!("nobody is opening a flow"),
            Phase::Held => {
                assert_ne!(found[0], Some(own_forward), "an ended flow is not found");
                assert_eq!(found[1], Some(own_reverse), "its lease is held");
                assert!(leases.insert(keys[1]), "one lease is in two records");
            }
            Phase::Unused | Phase::Retired => {
                assert_ne!(found[0], Some(own_forward), "a free record is in no index");
                assert_ne!(found[1], Some(own_reverse), "a free record is in no index");
            }
        }
        let word = table.free_word(number / 64).expect("a word").get();
        let free = matches!(place.phase(), Phase::Unused | Phase::Retired);
        assert_eq!(word >> (number % 64) & 1 != 0, free, "record {number}, {:?}", place.phase());
    }
    let usage = table.usage(0).expect("the endpoint");
    assert_eq!((usage.flows.get(), usage.half_open.get()), (live, half_open));
}

/// Openers that fight for the same few clients, packets that stamp and establish, and two sweepers.
#[test]
fn threads_that_open_use_and_end() {
    const CLIENTS: u32 = 300;
    const TIME: Duration = Duration::from_secs(3);
    let table = table(1024);
    let (start, leases) = (Instant::now(), AtomicU32::new(0));
    let now = || Tick(1000 + start.elapsed().as_millis() as u32);
    let (opened, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker: u32| {
                let (table, leases, opened) = (&table, &leases, &opened);
                scope.spawn(move || {
                    let mut random = worker.wrapping_mul(77_777).wrapping_add(1);
                    while start.elapsed() < TIME {
                        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let number = (random >> 8) % CLIENTS;
                        let (key, now) = (client(number), now());
                        let Some(found) = table.find(key.words()) else {
                            opened.fetch_add(
                                u64::from(open(table, number, leases, now).is_some()),
                                Ordering::Relaxed,
                            );
                            continue;
                        };
                        let seen = Instant::now();
                        found.record.forward().count(40, now.stamp());
                        if random & 0x10 != 0 {
                            life::establish(table, found.record);
                        }
                        if random & 0x60 == 0 {
                            found.record.forward().set_flags(SYN | ACK | FIN);
                            found.record.reverse().set_flags(SYN | ACK | FIN);
                        }
                        // The quarantine's promise: whatever happens meanwhile, this record is no other client's. (A
                        // thread that lost its CPU for longer than a packet could proves nothing.)
                        let key_now = found.record.forward().key();
                        if seen.elapsed() < Duration::from_millis(50) {
                            assert_eq!(key_now, key, "reused within its rest");
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let (table, ended, done) = (&table, &ended, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for number in 0..1024 {
                        let swept = table.sweep(number, Pressure::HalfOpen, now());
                        ended.fetch_add(u64::from(swept), Ordering::Relaxed);
                    }
                }
            });
        }
        let results: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "an invariant is broken");
    });
    check(&table);
    let (opened, ended) = (opened.into_inner(), ended.into_inner());
    assert!(opened > 2000 && ended > 2000, "{opened} opened, {ended} ended");
}

/// One SYN on eight CPUs at once: one flow, one lease, whoever wins.
#[test]
fn a_syn_duplicated_on_all_cpus() {
    const CPUS: usize = 8;
    let table = table(1 << 16);
    let leases = AtomicU32::new(0);
    for number in 0..400 {
        let barrier = std::sync::Barrier::new(CPUS);
        let winners: Vec<Option<u32>> = thread::scope(|scope| {
            let cpus: Vec<_> = (0..CPUS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        open(&table, number, &leases, Tick(1000 + 4 * number))
                    })
                })
                .collect();
            cpus.into_iter().map(|cpu| cpu.join().expect("it opens")).collect()
        });
        let flow = table.find(client(number).words()).expect("the flow").entry.number();
        assert!(winners.iter().all(|&winner| winner == Some(flow)), "{winners:?}");
        assert_eq!(table.usage(0).expect("the endpoint").flows.get(), u64::from(number) + 1);
    }
    check(&table);
}

/// A million flows: opened, each found by both its keys, all of them ended, their records used again.
#[test]
fn a_million_flows() {
    const FLOWS: u32 = 1_000_000;
    let table = table(1 << 20);
    let opened = |now: Tick| {
        let mut numbers = HashMap::new();
        for number in 0..FLOWS {
            let claimed = table.claim(number.wrapping_mul(0x9e37_79b1), now);
            assert_ne!(claimed, free::NONE, "flow {number} finds a record");
            let flow =
                NewFlow { forward: client(number), reverse: lease(number), endpoint: 0, target: 0 };
            table.record(claimed).expect("a record").fill(&flow, now);
            for (key, direction) in
                [(flow.reverse, Direction::Reverse), (flow.forward, Direction::Forward)]
            {
                assert_eq!(table.insert(key.words(), claimed, direction), Insert::Done, "{number}");
            }
            life::begin(&table, table.record(claimed).expect("a record"));
            numbers.insert(number, claimed);
        }
        numbers
    };
    let numbers = opened(Tick(1000));
    for (&number, &claimed) in &numbers {
        let entry = |key: FlowKey| table.find(key.words()).map(|found| found.entry);
        assert_eq!(entry(client(number)), Some(Entry::new(claimed, Direction::Forward)));
        assert_eq!(entry(lease(number)), Some(Entry::new(claimed, Direction::Reverse)));
    }
    let later = Tick(1002);
    let ended = (0..1 << 20).filter(|&number| table.sweep(number, Pressure::None, later)).count();
    assert_eq!(ended, FLOWS as usize);
    assert_eq!(table.usage(0).expect("the endpoint").flows.get(), 0);
    assert_eq!(table.find(client(7).words()).map(|found| found.entry), None);
    opened(Tick(later.0 + QUARANTINE + 1));
}
