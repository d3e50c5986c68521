//! A million flows in the kernel's own maps, reached as the daemon reaches them: put in, listed, ended, and the room used
//! again.

use std::collections::{HashMap, HashSet};

use privatelink_common::flow_table::record::NewFlow;
use privatelink_common::flow_table::totals::Counts;
use privatelink_common::flow_table::{Flow, FlowMemory as _, PacketKey};
use privatelink_common::hash::{Seeds, mix};
use privatelink_common::host;
use privatelink_common::memory::Volume;
use privatelink_common::records::{FlowKey, NextHop};
use privatelink_common::ticks::{self, Tick};
use privatelink_userspace::config;
use privatelink_userspace::contents::zones::WHOLE_SHARE;
use privatelink_userspace::contents::{Contents, Fitness, Host};
use privatelink_userspace::datapath::{Datapath, FlowTable, Sizes, View, jiffies_per_second};
use privatelink_userspace::numbers::Numbering;
use privatelink_userspace::reconcile::Reconciler;

const FLOWS: u32 = 1_000_000;
/// Of these every tenth is ended by itself, before the others.
const OTHERS: u32 = FLOWS / 10 * 9;

/// A table for 1 048 576 flows, the default. The object stays loaded with it.
fn table() -> (Datapath, FlowTable) {
    let text = include_str!("../../examples/overlap.toml");
    let model = config::parse("overlap.toml", text).expect("it is valid");
    let (mut datapath, table) = Datapath::load(Sizes::of(&model), None).expect("it loads");
    let host = Host {
        interfaces: HashMap::new(),
        next_hop: &|_| NextHop::UNKNOWN,
        fitness: &|_| Fitness::Healthy,
        share: &|_| WHOLE_SHARE,
        marked: &|_| false,
        seeds: Seeds::of(7),
        generation: 0,
        jiffies_per_second: jiffies_per_second(),
    };
    let numbering = Numbering::in_order(&model).expect("there are numbers");
    let contents = Contents::new(&model, &numbering, &host);
    table.set_rules(&contents);
    let (_, failed) = Reconciler::default().apply(&contents, &mut datapath);
    assert!(failed.is_empty(), "{failed:?}");
    (datapath, table)
}

fn flow(number: u32) -> NewFlow {
    let forward = FlowKey {
        source: number,
        destination: 0x0a01_000a,
        source_port: number as u16,
        destination_port: 80,
        vpc: 2,
        protocol: 6,
    };
    let reverse = FlowKey {
        source: 0x0a02_000a,
        destination: number >> 16,
        source_port: 8080,
        destination_port: number as u16,
        vpc: 1,
        protocol: 6,
    };
    NewFlow { forward: forward.words(), reverse: reverse.words(), endpoint: 0, target: 0 }
}

/// Opens a flow. In a table that is nearly full it may find no room where it looks first, and looks elsewhere then, as the
/// client's next SYN does.
fn open(table: &View, number: u32, now: Tick) {
    let mut attempts = (0..4).map(|attempt| mix(u64::from(number) | attempt << 32) as u32);
    let opened = attempts.any(|random| host::occupy(table, &flow(number), random, now));
    assert!(opened, "there is room for flow {number}");
}

/// The number that the client's address is.
fn client_of(flow: &Flow) -> u32 {
    flow.forward.key.ipv4().expect("IPv4 on both sides").source
}

#[test]
fn a_million_flows_are_listed_and_ended() {
    let (mut datapath, table) = table();
    let mut sweep = |now| table.sweep(now, |endings| datapath.end(endings, now)).unwrap();
    let second = ticks::from_ms(1000, jiffies_per_second());
    let [first, then] = [Tick(1 << 20), Tick((1 << 20) + 60 * second)];
    let view = table.view();
    (0..FLOWS).for_each(|number| open(&view, number, if number % 10 == 0 { first } else { then }));
    assert_eq!(table.live(), u64::from(FLOWS));

    let mut listed = HashSet::new();
    for seen in table.flows() {
        let number = client_of(&seen);
        let NewFlow { forward, reverse, .. } = flow(number);
        let found = [seen.forward.key, seen.reverse.key];
        assert_eq!(found, [forward, reverse].map(PacketKey::narrow));
        assert!(listed.insert(number), "flow {number} is listed twice");
    }
    assert_eq!(listed.len(), FLOWS as usize);
    assert!(table.flows().map(|seen| seen.number).is_sorted(), "they come by rising number");

    let counted = |record: u32| {
        let half = view.half(record).expect("it is in the table");
        (1..=3).for_each(|packet| {
            half.count(Volume { packets: 1, bytes: packet * 100 }, half.stamp(), false);
        });
    };
    table.flows().for_each(|seen| counted(seen.number));
    let (tally, flows) = (table.tally(), u64::from(FLOWS));
    let carried =
        Counts { packets_to_target: 3 * flows, bytes_to_target: 600 * flows, ..Counts::default() };
    let none = Counts::default();
    assert_eq!([0, 1].map(|endpoint| tally.endpoint(endpoint, none)), [carried, none]);
    assert_eq!([0, 1].map(|target| tally.target(target, none)), [(flows, carried), (0, none)]);
    assert_eq!(tally.leases().map(|(_, count)| count).sum::<u64>(), flows);

    // Half-open flows have 30 s.
    assert_eq!(sweep(then), (FLOWS - OTHERS) as usize);
    assert_eq!(table.live(), u64::from(OTHERS));
    assert!(table.flows().all(|seen| !client_of(&seen).is_multiple_of(10)));
    let late = Tick(then.0 + 60 * second);
    assert_eq!(sweep(late), OTHERS as usize);
    assert_eq!((table.live(), table.flows().count(), sweep(late)), (0, 0, 0));

    // What they had rests for a second, and is used again then.
    let rested = Tick(late.0 + 2 * second);
    (0..FLOWS).for_each(|number| open(&view, number, rested));
    assert_eq!(table.flows().count(), FLOWS as usize);
}
