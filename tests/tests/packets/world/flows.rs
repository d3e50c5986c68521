//! The flows of an engine: found, put in, aged and ended behind its back.

use std::net::Ipv4Addr;

use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::{NewFlow, Record};
use privatelink_common::flow_table::{Flow, FlowMemory, Half, PacketKey};
use privatelink_common::host;
use privatelink_common::records::FlowKey;
use privatelink_common::ticks::Tick;
use privatelink_common::wide::{WIDE, WideAddress};
use privatelink_userspace::contents::ipv4_address;
use privatelink_userspace::datapath::jiffies_per_second;

use super::engine::Engine;
use super::network::TARGET_MACS;
use crate::frame::Mac;

/// What tests ask of a flow.
pub(crate) trait FlowExt {
    fn nat(&self) -> (Ipv4Addr, u16);
    fn target(&self) -> (Ipv4Addr, u16);
    fn target_mac(&self) -> Mac;
    /// The keys of both directions.
    fn keys(&self) -> [FlowKey; 2];
}

impl FlowExt for Flow {
    fn nat(&self) -> (Ipv4Addr, u16) {
        let [_, key] = self.keys();
        (ipv4_address(key.destination), u16::from_be(key.destination_port))
    }

    fn target(&self) -> (Ipv4Addr, u16) {
        let [_, key] = self.keys();
        (ipv4_address(key.source), u16::from_be(key.source_port))
    }

    fn target_mac(&self) -> Mac {
        TARGET_MACS[self.target as usize % 2]
    }

    fn keys(&self) -> [FlowKey; 2] {
        [&self.forward, &self.reverse].map(|half| half.key.ipv4().expect("IPv4 on both sides"))
    }
}

/// All halves of a table, whoever has them.
fn halves(table: &dyn FlowMemory) -> impl Iterator<Item = &FlowHalf> {
    let halves = table.settings().expect("settings").halves;
    (0..halves).map(|number| table.half(number).expect("a half"))
}

/// The flows there are in a table, live or held.
pub(crate) fn records_of(table: &dyn FlowMemory) -> impl Iterator<Item = Record<'_>> {
    let halves = table.settings().expect("settings").halves;
    let records = (0..halves).filter_map(|number| table.record(number));
    records.filter(|record| record.place().phase().holds_lease())
}

/// The flows there are in the narrow table, live or held.
pub(crate) fn records(engine: &dyn Engine) -> impl Iterator<Item = Record<'_>> {
    records_of(engine.table())
}

/// Works on both tables.
pub(crate) fn in_tables(engine: &dyn Engine, work: &mut dyn FnMut(&dyn FlowMemory)) {
    work(engine.table());
    engine.in_wide_table(work);
}

/// The live flows, by the vpc number and source port of their clients, and their protocol.
pub(crate) fn flows(engine: &dyn Engine) -> Vec<Flow> {
    let live = records(engine).filter(|record| record.place().phase().is_live());
    let mut flows: Vec<Flow> =
        live.filter_map(|record| Flow::of(engine.table(), &record)).collect();
    flows.sort_by_key(|Flow { forward: Half { key, .. }, .. }| {
        (key.vpc, key.source_port, key.protocol)
    });
    flows
}

/// The only flow there is.
pub(crate) fn flow(engine: &dyn Engine) -> Flow {
    let mut flows = flows(engine);
    assert_eq!(flows.len(), 1, "one flow");
    flows.remove(0)
}

/// The flow that has this key in either direction, as the index of the narrow table knows it.
pub(crate) fn find(engine: &dyn Engine, key: &FlowKey) -> Option<Flow> {
    let table = engine.table();
    let found = table.find(key.words())?;
    Flow::of(table, &table.record(table.owner(found.number()))?)
}

/// The flow whose packets look so in either direction, in either table.
pub(crate) fn find_either(engine: &dyn Engine, key: &PacketKey) -> Option<Flow> {
    let mut flow = key.ipv4().and_then(|key| find(engine, &key));
    engine.in_wide_table(&mut |table| {
        let seeds = table.settings().expect("settings").seeds;
        let [source, destination] =
            [key.source, key.destination].map(|address| WideAddress::from(address).name(&seeds));
        let (source_port, destination_port) =
            (key.source_port.to_be(), key.destination_port.to_be());
        let PacketKey { vpc, protocol, .. } = *key;
        let named = FlowKey { source, destination, source_port, destination_port, vpc, protocol };
        let record =
            table.find(named.words()).and_then(|found| table.record(table.owner(found.number())));
        let wide = record.and_then(|record| Flow::of(table, &record));
        let is_it = |flow: &Flow| [flow.forward.key, flow.reverse.key].contains(key);
        flow = flow.take().or(wide.filter(is_it));
    });
    flow
}

/// Puts a flow in that no packet has opened; false where the table is full.
pub(crate) fn occupy(engine: &mut dyn Engine, flow: &NewFlow) -> bool {
    let now = engine.now();
    host::occupy(engine.table(), flow, rand::random(), now)
}

/// Ends a flow at once, its halves and lease free for others.
pub(crate) fn end(engine: &mut dyn Engine, flow: &Flow) {
    let now = engine.now();
    in_its_table(engine, flow, &mut |table, record| {
        let timeouts = table.timeouts(flow.endpoint).expect("an endpoint");
        while life::end(table, &record, record.place(), timeouts, now) {}
        for half in [record.forward, record.reverse] {
            rest(half, now);
        }
    });
}

/// Does something with a flow's record, in the table that has it.
pub(super) fn in_its_table(
    engine: &dyn Engine,
    flow: &Flow,
    work: &mut dyn FnMut(&dyn FlowMemory, Record<'_>),
) {
    let work = &mut |table: &dyn FlowMemory| {
        work(table, table.record(flow.number & !WIDE).expect("a record"));
    };
    if flow.number & WIDE == 0 { work(engine.table()) } else { engine.in_wide_table(work) }
}

/// One sweep of both tables; how many records went a step on.
pub(crate) fn sweep(engine: &mut dyn Engine) -> usize {
    let (now, mut swept) = (engine.now(), 0);
    in_tables(engine, &mut |table| {
        let numbers: Vec<u32> = records_of(table).map(|record| record.number).collect();
        let is_swept = |&number: &u32| table.sweep(number, Pressure::None, now);
        swept += numbers.into_iter().filter(is_swept).count();
    });
    swept
}

/// Lets all halves that nobody uses be used anew.
pub(crate) fn rest_all(engine: &mut dyn Engine) {
    let now = engine.now();
    in_tables(engine, &mut |table| {
        assert_eq!(records_of(table).count(), 0, "all flows have ended");
        halves(table).for_each(|half| rest(half, now));
    });
}

fn rest(half: &FlowHalf, now: Tick) {
    half.set_stamp(Tick(now.0.wrapping_sub(1 << 20)).stamp());
}

/// Lets milliseconds pass for all flows: what was seen, was seen so much earlier.
pub(crate) fn pass(engine: &mut dyn Engine, ms: u64) {
    let ticks = privatelink_common::ticks::from_ms(ms, jiffies_per_second());
    in_tables(engine, &mut |table| {
        for half in halves(table) {
            half.set_stamp(Tick(half.stamp().wrapping_sub(ticks)).stamp());
        }
    });
}
