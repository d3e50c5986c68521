//! Keys whose places are taken: put elsewhere and found by the index; and the few for which that has no room.

use std::collections::HashMap;

use privatelink_common::flow_table::half::Direction;
use privatelink_common::flow_table::record::NewFlow;
use privatelink_common::flow_table::{Entry, FlowMemory, Insert, NONE, free, index, scale};
use privatelink_common::hash::hash;
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::ticks::Tick;

use super::table::{client, entry, half, places, scattered, table, table_with};

const NOW: Tick = Tick(1000);
/// Bits of a half's number in the largest table: seven are left for those of a key's hash.
const MOST_BITS: u32 = 25;

/// Clients whose keys have the same two places.
fn neighbours(table: &MemoryFlowTable) -> impl Iterator<Item = u32> {
    let first = places(table, client(0));
    (0..).filter(move |&number| places(table, client(number)) == first)
}

/// Claims a half for a client's key as the first of a flow, and fills it.
fn claimed(table: &MemoryFlowTable, number: u32) -> u32 {
    let key = client(number);
    let claimed = table.claim(key, scattered(number), NOW);
    assert_ne!(claimed, NONE);
    fill(table, number, claimed);
    claimed
}

fn fill(table: &MemoryFlowTable, number: u32, claimed: u32) {
    let key = client(number);
    let flow = NewFlow { forward: key, reverse: key, endpoint: 0, target: 0 };
    half(table, claimed).fill_forward(&flow, claimed, NOW);
}

/// Puts a client's key in.
fn put(table: &MemoryFlowTable, number: u32) -> u32 {
    let claimed = claimed(table, number);
    assert_eq!(table.insert(client(number), claimed), Insert::Done);
    claimed
}

/// Puts a client's key into a half that is none of its places.
fn put_elsewhere(table: &MemoryFlowTable, number: u32) -> (u32, Insert) {
    let places = places(table, client(number));
    let elsewhere = (0..).map(scattered).map(|random| {
        let elsewhere = scale(random, table.settings.halves) & !1;
        (0..).map(client).find(|&key| self::places(table, key) == elsewhere).expect("one")
    });
    let claimed = elsewhere
        .map(|key| table.claim(key, scattered(number), NOW))
        .find(|&claimed| claimed & !1 != places);
    let claimed = claimed.expect("there is room");
    fill(table, number, claimed);
    (claimed, table.insert(client(number), claimed))
}

fn take_out(table: &MemoryFlowTable, number: u32) {
    table.remove(number);
    free::release(table, number);
}

fn found(table: &MemoryFlowTable, number: u32) -> Option<u32> {
    let entry = entry(table, client(number))?;
    assert_eq!(entry, Entry::new(entry.number(), Direction::Forward));
    Some(entry.number())
}

/// The word of the counts of strays of client 0's places, and their count.
fn count(table: &MemoryFlowTable) -> u64 {
    let first = places(table, client(0));
    let word = table.strays(first / 16).expect("a word").get();
    word >> (first % 16 / 2 * 7) & 0x7f
}

#[test]
fn a_stray_is_found() {
    let table = table(1024);
    let mut clients = neighbours(&table);
    let clients: [u32; 5] = std::array::from_fn(|_| clients.next().expect("there are enough"));
    let first = places(&table, client(0));
    let [a, b] = [put(&table, clients[0]), put(&table, clients[1])];
    assert_eq!([a.min(b), a.max(b)], [first, first + 1], "both places are as good");
    assert!(!index::is_home_free(&table, client(clients[2])));
    assert!(!index::contains(&table, client(clients[2])));
    let strays = [put(&table, clients[2]), put(&table, clients[3])];
    assert!(strays.iter().all(|&number| number & !1 != first && half(&table, number).is_stray()));
    assert!([a, b].iter().all(|&number| !half(&table, number).is_stray()));
    assert_eq!(count(&table), 2);
    let all = [a, b, strays[0], strays[1]];
    for (&client, number) in clients.iter().zip(all) {
        assert_eq!(found(&table, client), Some(number));
    }
    assert_eq!(found(&table, clients[4]), None);
    for &number in &clients[..4] {
        assert!(index::contains(&table, client(number)));
        let again = claimed(&table, number);
        assert_eq!(table.insert(client(number), again), Insert::Exists, "no key is there twice");
        free::release(&table, again);
    }
    assert_eq!(count(&table), 2);

    // A stray stays where it is when a place gets free, and no key comes to be there twice.
    take_out(&table, a);
    assert_eq!(found(&table, clients[0]), None);
    assert_eq!(found(&table, clients[3]), Some(strays[1]));
    assert!(index::is_home_free(&table, client(clients[4])));
    assert!(!index::contains(&table, client(clients[4])));
    half(&table, a).set_stamp(0);
    let again = claimed(&table, clients[3]);
    assert_eq!(table.insert(client(clients[3]), again), Insert::Exists);
    free::release(&table, again);
    for (number, left) in strays.into_iter().zip([1, 0]) {
        take_out(&table, number);
        assert_eq!(count(&table), left);
        // Once more changes nothing.
        table.remove(number);
        assert_eq!(count(&table), left);
    }
    assert_eq!(clients.map(|client| found(&table, client)), [None, Some(b), None, None, None]);
}

/// With few bits of a hash in the index, keys look alike there: the halves themselves tell them apart.
#[test]
fn strays_with_the_same_fingerprint() {
    let table = table_with(1024, MOST_BITS);
    let settings = table.settings;
    let looks = |number: u32| {
        let [addresses, ports] = client(number);
        let hash = hash(settings.seeds.hash, addresses, ports);
        (scale((hash >> 16) as u32, settings.buckets), (hash as u32 & 0x7f).max(1))
    };
    let mut alike: HashMap<_, Vec<u32>> = HashMap::new();
    for number in 0..400_000 {
        alike.entry(looks(number)).or_default().push(number);
    }
    for clients in alike.values().filter(|clients| clients.len() >= 4).take(20) {
        let [a, b, c] = [clients[0], clients[1], clients[2]].map(|client| {
            let (number, inserted) = put_elsewhere(&table, client);
            assert_eq!(inserted, Insert::Done);
            number
        });
        let all = || [clients[0], clients[1], clients[2], clients[3]].map(|it| found(&table, it));
        assert_eq!(all(), [Some(a), Some(b), Some(c), None]);
        take_out(&table, b);
        assert_eq!(all(), [Some(a), None, Some(c), None], "the right one is taken out");
        take_out(&table, a);
        take_out(&table, c);
        assert_eq!(all(), [None; 4]);
    }
}

/// Two buckets have room for 32; the next key is refused and leaves nothing behind.
#[test]
fn an_index_without_room() {
    let table = table(1024);
    let settings = table.settings;
    let buckets = |number: u32| {
        let [addresses, ports] = client(number);
        scale((hash(settings.seeds.hash, addresses, ports) >> 16) as u32, settings.buckets) & !1
    };
    let first = buckets(0);
    let clients: Vec<u32> = (0..).filter(|&number| buckets(number) == first).take(34).collect();
    let numbers: Vec<(u32, Insert)> =
        clients.iter().map(|&client| put_elsewhere(&table, client)).collect();
    for (at, (&client, &(number, inserted))) in clients.iter().zip(&numbers).enumerate() {
        let fits = at < 32;
        assert_eq!(inserted, if fits { Insert::Done } else { Insert::Full }, "{at}");
        assert_eq!(found(&table, client), fits.then_some(number), "{at}");
    }
    for &(number, _) in &numbers[32..] {
        assert_eq!(half(&table, number).key_words()[0], 0, "it has no key");
        free::release(&table, number);
    }
    // At its own place there is room for it, and elsewhere once another has gone.
    put(&table, clients[32]);
    take_out(&table, numbers[7].0);
    assert_eq!(put_elsewhere(&table, clients[33]).1, Insert::Done);
    for (&client, &(number, _)) in clients.iter().zip(&numbers[..32]) {
        if number != numbers[7].0 {
            assert_eq!(found(&table, client), Some(number));
            take_out(&table, number);
        }
    }
    for client in &clients[32..] {
        take_out(&table, found(&table, *client).expect("it is in"));
    }
    let words = 0..settings.halves / 16;
    assert!(words.into_iter().all(|word| table.strays(word).expect("a word").get() == 0));
}

/// A count of strays has room for 127.
#[test]
fn places_with_too_many_strays() {
    let table = table(1024);
    let clients: Vec<u32> = neighbours(&table).take(2 + 129).collect();
    let numbers: Vec<u32> = clients[..2 + 127].iter().map(|&client| put(&table, client)).collect();
    assert_eq!(count(&table), 127);
    for &number in &clients[2 + 127..] {
        let claimed = claimed(&table, number);
        assert_eq!(table.insert(client(number), claimed), Insert::Full);
        assert_eq!(found(&table, number), None);
        free::release(&table, claimed);
    }
    let word = |first: u32| table.strays(first / 16).expect("a word").get();
    let first = places(&table, client(0));
    assert_eq!(word(first), 127 << (first % 16 / 2 * 7), "no neighbour's count has changed");
    for (&client, &number) in clients.iter().zip(&numbers) {
        assert_eq!(found(&table, client), Some(number));
    }
    for &number in &numbers {
        take_out(&table, number);
    }
    assert_eq!(word(first), 0);
}

/// While another CPU inserts a key with the same places, this one gives up; readers and those who end flows go on.
#[test]
fn places_that_stay_locked() {
    const LOCK: u64 = 1 << 63;
    let table = table(1024);
    let clients: Vec<u32> = neighbours(&table).take(4).collect();
    let numbers: Vec<u32> = clients[..3].iter().map(|&client| put(&table, client)).collect();
    let word = table.strays(places(&table, client(0)) / 16).expect("a word");
    word.set_bits(LOCK);
    let another = claimed(&table, clients[3]);
    assert_eq!(table.insert(client(clients[3]), another), Insert::Busy);
    assert_eq!(found(&table, clients[3]), None);
    for (&client, &number) in clients.iter().zip(&numbers) {
        assert_eq!(found(&table, client), Some(number));
        take_out(&table, number);
        assert_eq!(found(&table, client), None);
    }
    assert_eq!(word.get(), LOCK);
    word.keep_bits(!LOCK);
    assert_eq!(table.insert(client(clients[3]), another), Insert::Done);
    assert_eq!(found(&table, clients[3]), Some(another));
}
