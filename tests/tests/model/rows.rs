//! All that is known of flows, in the words of the engine and of the model.

use privatelink_common::ethernet::Tags;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::record::{Phase, Record};
use privatelink_common::flow_table::{Flow as Entry, PacketKey};
use privatelink_common::records::NextHop;
use privatelink_common::state::State;
use privatelink_common::ticks::{self, Tick};
use privatelink_common::wide::WIDE;
use privatelink_userspace::datapath::jiffies_per_second;

use super::coverage::Coverage;
use super::flow::{Flow, Side, Stage};
use super::nat::Nat;
use super::run::CLEARANCE;
use super::wire::{Parcel, Socket};
use crate::world::{Engine, Port, in_tables, records_of};

/// Whether the flow tables have the model's flows, and nothing else.
pub(crate) fn compare_tables(
    engine: &mut dyn Engine,
    nat: &Nat,
    coverage: &mut Coverage,
) -> Result<(), String> {
    let now = engine.now();
    let mut ours: Vec<Row> =
        nat.flows.iter().map(|flow| Row::expected(flow, nat.now, engine)).collect();
    let mut theirs = Vec::new();
    in_tables(engine, &mut |table| {
        theirs.extend(
            records_of(table)
                .filter_map(|record| Some(Row::found(&Entry::of(table, &record)?, now, &record))),
        );
    });
    for rows in [&mut ours, &mut theirs] {
        rows.sort_by_key(|row| (row.target, row.keys[1]));
    }
    if ours != theirs {
        return Err(format!("the tables differ:\n{theirs:#?}\nnot\n{ours:#?}"));
    }
    for flow in &nat.flows {
        coverage.meet(format!("{:?} {}", flow.stage, flow.state().name()));
    }
    for endpoint in 0..3 {
        let usage = engine.table().usage(endpoint).expect("an endpoint");
        let of = |stages: &[Stage]| {
            let flows = nat.flows.iter();
            flows
                .filter(|flow| flow.owner as u32 == endpoint && stages.contains(&flow.stage))
                .count()
        };
        let expected = (of(&[Stage::HalfOpen, Stage::Established]), of(&[Stage::HalfOpen]));
        let found = (usage.flows.get() as usize, usage.half_open.get() as usize);
        if found != expected {
            return Err(format!("usage of {endpoint}: {found:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// All flows of both tables.
pub(super) fn entries(engine: &dyn Engine) -> Vec<Entry> {
    let mut entries = Vec::new();
    in_tables(engine, &mut |table| {
        entries.extend(records_of(table).filter_map(|record| Entry::of(table, &record)));
    });
    entries
}

/// What the packets look like that arrive by a port.
pub(crate) fn key(port: Port, parcel: &Parcel) -> PacketKey {
    between(port, parcel.protocol, parcel.source, parcel.destination)
}

pub(super) fn between(port: Port, protocol: u8, source: Socket, destination: Socket) -> PacketKey {
    PacketKey {
        source: source.0,
        destination: destination.0,
        source_port: source.1,
        destination_port: destination.1,
        vpc: port as u16 + 1,
        protocol,
    }
}

/// All that is known of a flow, in the engine's words.
#[derive(Debug, PartialEq)]
struct Row {
    wide: bool,
    phase: Phase,
    state: State,
    endpoint: u32,
    target: u32,
    client: NextHop,
    tags: Tags,
    keys: [PacketKey; 2],
    packets: [u64; 2],
    bytes: [u64; 2],
    flags: [u8; 2],
    sequence: [[u32; 2]; 2],
    idle: Idle,
}

/// For how many milliseconds a live flow has not been refreshed: the same give or take the real time that a sequence takes.
#[derive(Debug)]
struct Idle(Option<u64>);

impl PartialEq for Idle {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Some(one), Some(other)) => one.abs_diff(other) < CLEARANCE,
            (one, other) => one == other,
        }
    }
}

impl Row {
    fn found(entry: &Entry, now: Tick, record: &Record<'_>) -> Self {
        let (forward, reverse) = (&entry.forward, &entry.reverse);
        let idle = now.since_stamp(forward.stamp).min(now.since_stamp(reverse.stamp));
        let idle = ticks::to_ms(idle, jiffies_per_second());
        Self {
            wide: entry.number & WIDE != 0,
            phase: entry.phase,
            state: entry.state,
            endpoint: entry.endpoint,
            target: entry.target,
            client: entry.client,
            tags: entry.client_tags,
            packets: [forward.packets, reverse.packets],
            bytes: [forward.bytes, reverse.bytes],
            flags: [forward.flags, reverse.flags],
            keys: [forward.key, reverse.key],
            sequence: [record.forward, record.reverse].map(FlowHalf::sequence),
            idle: Idle(Some(idle).filter(|_| entry.phase.is_live())),
        }
    }

    fn expected(flow: &Flow, now: u64, engine: &dyn Engine) -> Self {
        let of = |side: fn(&Side) -> u64| [side(&flow.sides[0]), side(&flow.sides[1])];
        // Forgotten, once the flow is over.
        let (client, tags) = match flow.stage {
            Stage::Held => Tags::unpack(0, 0),
            _ => flow.place.learned(engine.slot(flow.port) as u16),
        };
        Self {
            wide: flow.wide,
            phase: match flow.stage {
                Stage::HalfOpen => Phase::HalfOpen,
                Stage::Established => Phase::Established,
                Stage::Held => Phase::Held,
            },
            state: flow.state(),
            endpoint: flow.owner as u32,
            target: flow.target as u32,
            client,
            tags,
            keys: [
                between(flow.port, flow.protocol, flow.client, flow.endpoint),
                between(Port::Provider, flow.protocol, flow.to, flow.lease),
            ],
            packets: of(|side| side.packets),
            bytes: of(|side| side.bytes),
            flags: [flow.sides[0].flags, flow.sides[1].flags],
            sequence: [0, 1].map(|side| [flow.sides[side].next, flow.sides[side].acknowledged]),
            idle: Idle(Some(now - flow.last).filter(|_| flow.is_live())),
        }
    }
}
