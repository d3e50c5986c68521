//! The flow table: where keys lie, and many threads on one table, as CPUs and the daemon are on the kernel's. Nothing
//! may be lost, doubled or shared.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use privatelink_common::ethernet::Tags;
use privatelink_common::flow_table::half::Direction;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::{Record, learn_client};
use privatelink_common::flow_table::{Entry, FlowMemory, NONE};
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::memory::Volume;
use privatelink_common::records::{Mac, NextHop};
use privatelink_common::tcp::{ACK, FIN, SYN};
use privatelink_common::ticks::Tick;

#[path = "flow_table/ending.rs"]
mod ending;
#[path = "flow_table/placement.rs"]
mod placement;
#[path = "flow_table/races.rs"]
mod races;
#[path = "flow_table/strays.rs"]
mod strays;
#[path = "flow_table/table.rs"]
mod table;

use table::{Content, QUARANTINE, check, client, entry, lease, open, table};

/// Leases in an order of their own, of 65 536.
fn next_lease(leases: &AtomicU32) -> [u64; 2] {
    lease(leases.fetch_add(0x9e3b, Ordering::Relaxed) & 0xffff)
}

/// What a client's packets and its target's do to a flow that they have found.
fn use_flow(table: &MemoryFlowTable, found: u32, random: u32, now: Tick) {
    let Some(record) = table.record(found) else {
        panic!("reused within its rest");
    };
    record.forward.count(Volume { packets: 1, bytes: 40 }, now.stamp(), false);
    if random & 0x180 == 0 {
        // Clients are at a few places; no two bytes of a MAC address are 0.
        let mac = Mac::from_bytes([2, 1, 7, 9, 1, (random >> 28) as u8 + 1]);
        learn_client(table, record.forward, NextHop::new(mac, 1), Tags::default(), true);
    }
    if random & 0x10 != 0 {
        life::establish(table, &record);
    }
    if random & 0x60 == 0 {
        record.forward.set_flags(SYN | ACK | FIN);
        record.reverse.set_flags(SYN | ACK | FIN);
    }
    if random & 0x600 == 0 {
        record.reverse.count(Volume { packets: 1, bytes: 40 }, now.stamp(), false);
    }
}

/// Whatever happens meanwhile, a flow that was found is no other client's within its halves' rest.
fn is_still(table: &MemoryFlowTable, record: &Record<'_>, key: [u64; 2], reverse: [u64; 2]) {
    for (half, before) in [(record.forward, key), (record.reverse, reverse)] {
        let now = half.key_words();
        assert!(now[0] == before[0] || now[0] == 0, "reused within its rest: {half:?}");
        assert_eq!(now[1], before[1], "reused within its rest");
    }
    if let Some(found) = table.find(reverse).filter(|_| reverse[0] != 0) {
        assert_eq!(found.direction(), Direction::Reverse, "a lease is a reverse half's");
        let owner = table.owner(found.number());
        assert!(owner == NONE || table.record(owner).is_some(), "its owner is a forward half");
    }
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
                        let (key, now, seen) = (client(number), now(), Instant::now());
                        let Some(found) = table.find(key) else {
                            let number = open(table, number, &|| next_lease(leases), now);
                            opened.fetch_add(u64::from(number.is_some()), Ordering::Relaxed);
                            continue;
                        };
                        assert_eq!(found.direction(), Direction::Forward);
                        let record = table.record(found.number());
                        let reverse = record.map(|record| record.reverse.key_words());
                        // A thread that lost its CPU for longer than a packet could proves nothing.
                        let rests = || seen.elapsed() < Duration::from_millis(50);
                        if !rests() {
                            continue;
                        }
                        use_flow(table, found.number(), random, now);
                        if let (Some(record), Some(reverse), true) = (record, reverse, rests()) {
                            is_still(table, &record, key, reverse);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let (table, ended, done) = (&table, &ended, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for number in 0..table.settings.halves {
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
    // A flow is ended in two steps at most.
    for later in [10, 20] {
        let later = Tick(now().0 + later);
        for number in 0..table.settings.halves {
            table.sweep(number, Pressure::None, later);
        }
    }
    assert_eq!(check(&table), Content::default(), "nothing is left");
}

/// Where CPUs carry packets of one direction at once, each packet and each byte is counted, and what shares their words stays, also
/// when they have no more room.
#[test]
fn one_direction_on_many_cpus() {
    const CPUS: u64 = 4;
    const PACKETS: u64 = 100_000;
    const TICK: u64 = 1000;
    let table = table(1 << 10);
    let number = open(&table, 1, &|| lease(1), Tick(7)).unwrap();
    let half = table.record(number).unwrap().reverse;
    let vpc = half.client_vpc();
    let before = Volume { packets: (1 << 40) - 10, bytes: (1 << 48) - 4000 };
    half.count(before, 7, false);
    thread::scope(|scope| {
        for _ in 0..CPUS {
            scope.spawn(|| {
                for packet in 0..PACKETS {
                    half.count(Volume { packets: 1, bytes: 40 }, (packet / TICK) as u32, true);
                }
            });
        }
    });
    assert_eq!(half.packets(), CPUS * PACKETS - 10);
    assert_eq!(half.bytes(), CPUS * PACKETS * 40 - 4000);
    assert_eq!((half.stamp(), half.client_vpc()), (((PACKETS - 1) / TICK) as u32, vpc));
}

/// One SYN on eight CPUs at once: one flow, one lease, whoever wins.
#[test]
fn a_syn_duplicated_on_all_cpus() {
    const CPUS: usize = 8;
    const FLOWS: u32 = 400;
    let table = table(1 << 16);
    let leases = AtomicU32::new(0);
    for number in 0..FLOWS {
        let barrier = std::sync::Barrier::new(CPUS);
        let winners: Vec<Option<u32>> = thread::scope(|scope| {
            let cpus: Vec<_> = (0..CPUS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        open(&table, number, &|| next_lease(&leases), Tick(1000 + 4 * number))
                    })
                })
                .collect();
            cpus.into_iter().map(|cpu| cpu.join().expect("it opens")).collect()
        });
        let flow = table.find(client(number)).expect("the flow").number();
        // Who waits in vain for one that holds the key's lock, and is not on a CPU here, opens nothing.
        let opened = || winners.iter().flatten();
        assert!(opened().count() > 0 && opened().all(|&winner| winner == flow), "{winners:?}");
        assert_eq!(table.usage(0).expect("the endpoint").flows.get(), u64::from(number) + 1);
    }
    assert_eq!(check(&table).live, FLOWS);
}

/// A million flows: opened, each found by both its keys, all of them ended, their halves used again.
#[test]
fn a_million_flows() {
    const FLOWS: u32 = 1_000_000;
    let table = table(1 << 20);
    let opened = |now: Tick| -> Vec<u32> {
        let opened = |number| open(&table, number, &|| lease(number), now);
        (0..FLOWS).map(|number| opened(number).expect("there is room")).collect()
    };
    let numbers = opened(Tick(1000));
    for (number, &claimed) in (0..).zip(&numbers) {
        let other = table.record(claimed).expect("a record").forward.other();
        assert_eq!(entry(&table, client(number)), Some(Entry::new(claimed, Direction::Forward)));
        assert_eq!(entry(&table, lease(number)), Some(Entry::new(other, Direction::Reverse)));
    }
    assert_eq!(check(&table).live, FLOWS);
    let later = Tick(1002);
    let halves = 0..table.settings.halves;
    let ended = halves.filter(|&number| table.sweep(number, Pressure::None, later)).count();
    assert_eq!(ended, FLOWS as usize);
    assert_eq!(entry(&table, client(7)), None);
    assert_eq!(check(&table), Content::default());
    opened(Tick(later.0 + QUARANTINE + 1));
}
