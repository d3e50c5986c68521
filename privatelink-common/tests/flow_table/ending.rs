//! What the daemon asks the data path to end, and what comes of it.

use privatelink_common::flow_table::FlowMemory;
use privatelink_common::flow_table::ending::{Ending, frame};
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::{Phase, Place};
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::records::Timeouts;
use privatelink_common::ticks::Tick;

use super::QUARANTINE;
use super::table::{Content, check, lease, open, table};

const NOW: Tick = Tick(1000);
const TIMEOUTS: Timeouts =
    Timeouts { half_open: 10, idle: 100, closing: 5, lease_hold: 50, ..Timeouts::NONE };

/// A table with a flow of some client.
fn with_flow(client: u32) -> (MemoryFlowTable, u32) {
    let mut table = table(1024);
    table.timeouts.insert(0, TIMEOUTS);
    let number = open(&table, client, &|| lease(client), NOW).expect("there is room");
    (table, number)
}

fn place(table: &MemoryFlowTable, number: u32) -> Place {
    table.record(number).expect("a flow").place()
}

#[test]
fn a_frame_says_what_is_to_end() {
    let place = Place(0xfedc_ba98_7654_3210);
    let endings = [
        Ending::if_due(7, Pressure::None),
        Ending::if_due(u32::MAX, Pressure::HalfOpen),
        Ending::if_due(8, Pressure::Reopening),
        Ending::cut(9, place),
    ];
    let frame = frame(&endings, NOW);
    let words: Vec<u32> =
        frame.as_chunks().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect();
    let (lines, rest) = words.as_chunks::<4>();
    assert!(rest.is_empty());
    assert_eq!(lines[0], [NOW.0, endings.len() as u32, 0, 0]);
    let read: Vec<_> = lines[1..].iter().map(|words| Ending::from_words(*words)).collect();
    assert_eq!(read, endings);
}

#[test]
fn a_flow_that_is_not_due_is_left() {
    let (table, number) = with_flow(7);
    let ending = Ending::if_due(number, Pressure::None);
    assert!(!ending.carry_out(&table, Tick(NOW.0 + TIMEOUTS.half_open)));
    assert!(ending.carry_out(&table, Tick(NOW.0 + TIMEOUTS.half_open + 1)));
    assert_eq!(check(&table), Content::default());
}

#[test]
fn a_flow_is_cut_whatever_its_life_has_brought_since_it_was_seen() {
    let (table, number) = with_flow(7);
    let ending = Ending::cut(number, place(&table, number));
    let record = table.record(number).expect("a flow");
    life::establish(&table, &record);
    record.mark_reset();
    assert!(ending.carry_out(&table, NOW));
    assert_eq!(place(&table, number).phase(), Phase::Held);
    assert_eq!(check(&table), Content { held: 1, ..Content::default() });
    assert!(!ending.carry_out(&table, NOW), "its lease is held for its time");
}

#[test]
fn a_flow_that_has_the_place_of_another_is_not_cut() {
    let (table, number) = with_flow(7);
    let seen = place(&table, number);
    assert!(Ending::cut(number, seen).carry_out(&table, NOW));
    let later = Tick(NOW.0 + 10 * QUARANTINE + 1000);
    let again = open(&table, 7, &|| lease(7), later).expect("there is room");
    assert_eq!(again, number, "the same halves");
    assert!(!Ending::cut(number, seen).carry_out(&table, later));
    assert!(place(&table, number).phase().is_live());
}
