//! Two at one flow, step by step, in the orders that threads seldom meet.

use privatelink_common::ethernet::Tags;
use privatelink_common::flow_table::half::Direction;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::{NewFlow, Phase, Record, learn_client};
use privatelink_common::flow_table::{Entry, FlowMemory, Insert, NONE, free};
use privatelink_common::memory::Volume;
use privatelink_common::records::{Mac, NextHop, Timeouts};
use privatelink_common::tcp::{ACK, FIN, SYN};
use privatelink_common::ticks::Tick;

use super::table::{Content, check, client, entry, half, lease, open, table};

/// Two CPUs see a flow due, as packets and sweepers do: one of them ends it, and the other has not seen the lease held
/// for as long as it is to be.
#[test]
fn two_who_see_a_flow_due() {
    let mut table = table(1024);
    let timeouts =
        Timeouts { half_open: 10, idle: 100, closing: 5, lease_hold: 50, ..Timeouts::NONE };
    table.timeouts.insert(0, timeouts);
    let number = open(&table, 7, &|| lease(7), Tick(1000)).expect("there is room");
    let record = table.record(number).expect("a flow");
    life::establish(&table, &record);
    record.forward.set_flags(SYN | ACK | FIN);
    record.reverse.set_flags(SYN | ACK | FIN);
    let now = Tick(1010);
    let seen = [record.place(), record.place()];
    for _ in seen {
        assert!(life::is_due(&table.settings, &record, &timeouts, Pressure::None, now));
    }
    assert_eq!(
        seen.map(|place| life::end(&table, &record, place, &timeouts, now)),
        [true, false],
        "one of them ends it"
    );
    assert_eq!(record.place().phase(), Phase::Held);
    assert_eq!(entry(&table, client(7)), None);
    assert_eq!(check(&table), Content { held: 1, ..Content::default() });
    assert!(!table.sweep(number, Pressure::None, Tick(now.0 + 50)));
    assert!(table.sweep(number, Pressure::None, Tick(now.0 + 51)));
    assert_eq!(check(&table), Content::default());
}

/// A client begins anew while its last flow's lease is held, twice at once, and a sweeper sees the hold over: one of them has it,
/// whoever comes first. What the lease's half has counted and seen is not the new flow's.
#[test]
fn a_held_lease_goes_to_one() {
    let timeouts = Timeouts { half_open: 10, idle: 100, lease_hold: 50, ..Timeouts::NONE };
    // Its half is where its key says, or a stray.
    for crowd in [0, 600] {
        for sweeps_first in [false, true] {
            let mut table = table(1024);
            table.timeouts.insert(0, timeouts);
            let others = 1000..1000 + crowd;
            for number in others.clone() {
                open(&table, number, &|| lease(number), Tick(1000)).expect("there is room");
            }
            let number = open(&table, 7, &|| lease(7), Tick(1000)).expect("there is room");
            let record = table.record(number).expect("a flow");
            let other = record.forward.other();
            assert_eq!(record.reverse.is_stray(), crowd > 0);
            life::establish(&table, &record);
            for half in [record.forward, record.reverse] {
                half.set_flags(SYN | ACK | FIN);
            }
            record.reverse.set_sequence([5, 6]);
            record.reverse.count(Volume { packets: 3, bytes: 300 }, 0, false);
            assert!(table.cut(number, record.place(), Tick(1010)));
            let (held, now) = (record.place(), Tick(1061));
            assert_eq!((held.phase(), entry(&table, client(7))), (Phase::Held, None));

            let claimed = [1, 2].map(|random| table.claim(client(7), random, now));
            let take = |forward| life::take_over(&table, &record, held, forward, now);
            // Not while the flow is still being ended, nor right after the target's last segment, nor where it was not over.
            record.reverse.forget_client(number + 1);
            assert!(!take(claimed[0]));
            record.reverse.forget_client(number);
            record.reverse.set_stamp(now.stamp() - 1);
            assert!(!take(claimed[0]));
            record.reverse.set_stamp(now.stamp() - 2);
            record.reverse.set_flags(SYN | ACK);
            assert!(!take(claimed[0]));
            record.reverse.set_flags(SYN | ACK | FIN);
            let sweep = || life::end(&table, &record, held, &timeouts, now);
            if sweeps_first {
                assert!(sweep());
                assert_eq!(claimed.map(take), [false; 2]);
                claimed.into_iter().for_each(|number| free::release(&table, number));
            } else {
                assert_eq!(claimed.map(take), [true, false]);
                assert!(!sweep());
                free::release(&table, claimed[1]);
                assert_eq!(entry(&table, lease(7)), Some(Entry::new(other, Direction::Reverse)));
                let reverse = half(&table, other);
                assert_eq!((reverse.packets(), reverse.bytes(), reverse.flags()), (0, 0, 0));
                assert_eq!((reverse.sequence(), reverse.other()), ([0; 2], claimed[0]));
                let flow =
                    NewFlow { forward: client(7), reverse: lease(7), endpoint: 0, target: 7 };
                let forward = half(&table, claimed[0]);
                forward.fill_forward(&flow, other, now);
                assert_eq!(table.insert(client(7), claimed[0]), Insert::Done);
                life::begin(&table, &Record { number: claimed[0], forward, reverse });
            }
            let live = crowd + u32::from(!sweeps_first);
            assert_eq!(
                Content { strays: [0; 2], ..check(&table) },
                Content { live, ..Content::default() }
            );
        }
    }
}

/// A flow is found from either half while it lives and while its lease is held. A half whose flow's client has opened
/// another meanwhile is not that one's.
#[test]
fn the_owner_of_a_half() {
    let mut table = table(1024);
    let timeouts =
        Timeouts { half_open: 10, idle: 100, closing: 5, lease_hold: 50, ..Timeouts::NONE };
    table.timeouts.insert(0, timeouts);
    let opened = |number: u32| open(&table, 7, &|| lease(number), Tick(1000)).expect("room");
    let first = opened(1);
    let record = table.record(first).expect("a flow");
    let other = record.forward.other();
    assert_eq!(table.owner(other), first);
    let hop = NextHop::new(Mac::from_bytes([2, 1, 7, 9, 1, 1]), 1);
    learn_client(&table, record.forward, hop, Tags::default(), false);
    assert_eq!(record.reverse.client().0, hop);
    assert_eq!(table.owner(other), first);
    life::establish(&table, &record);
    assert!(life::end(&table, &record, record.place(), &timeouts, Tick(1000)));
    assert!(record.reverse.client().0.is_unknown(), "nothing comes back any more");
    let second = opened(2);
    assert_ne!(second, first);
    assert_eq!([table.owner(other), table.owner(second)], [first, second]);
    // A last packet of the old flow, late.
    learn_client(&table, record.forward, hop, Tags::default(), true);
    assert_eq!(table.owner(other), NONE);
    check(&table);
}

/// A client whose address and VLAN differ in one bit each from what they were has moved, whichever the bits are.
#[test]
fn a_move_is_noticed() {
    let table = table(1024);
    let number = open(&table, 7, &|| lease(7), Tick(1000)).expect("there is room");
    let record = table.record(number).expect("a flow");
    let at = |mac: u64, vlan: u32| {
        let mac = (0xa202_0102_0302_u64 ^ mac).to_le_bytes();
        let hop = NextHop::new(Mac::from_bytes(mac[..6].try_into().expect("six bytes")), 3);
        Tags::unpack(hop.word() | 1 << 58, 0x8100_u32 ^ vlan)
    };
    for [mac, vlan] in (0..48).flat_map(|mac| (0..16).map(move |vlan| [mac, vlan])) {
        for (hop, tags) in [at(0, 0), at(1 << mac, 1 << vlan)] {
            learn_client(&table, record.forward, hop, tags, false);
            assert_eq!(record.reverse.client(), (hop, tags), "bits {mac} and {vlan}");
        }
    }
}
