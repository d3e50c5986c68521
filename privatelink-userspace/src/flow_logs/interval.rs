//! An interval: what is written in it of flows that live, flows that end, and packets that are refused.

use std::mem;

use privatelink_common::flow_event::{Ended, Refused};
use privatelink_common::flow_table::record::Phase;
use privatelink_common::flow_table::{Flow, Half, PacketKey};

use super::access::Connection;
use super::moments::Moments;
use super::names::{Names, ends};
use super::progress::{Carried, Looks};
use super::record::{Line, Record, Way};
use super::refusals::Refusals;
use crate::model::Protocol;

/// Takes the lines as they come.
pub trait Lines {
    /// A line of the flow log.
    fn flow(&mut self, line: &Line<'_>);
    /// A line of the access log.
    fn connection(&mut self, connection: &Connection<'_>);
}

/// What is known of an interval until it is over.
#[derive(Debug, Default)]
pub struct Interval {
    looks: Looks,
    refusals: Refusals,
    /// When it began, milliseconds since 1970.
    began: u64,
}

impl Interval {
    /// Begins at some moment, with flows that were there before: of what they have carried nothing is written.
    pub fn begin(flows: impl Iterator<Item = Flow>, now: Moments) -> Self {
        let mut interval = Self { began: now.now, ..Self::default() };
        flows.for_each(|flow| {
            interval.looks.look(&flow);
        });
        interval
    }

    /// A flow that lives, at the interval's end.
    pub fn live(&mut self, flow: &Flow, names: &Names, now: Moments, lines: &mut impl Lines) {
        let progress = self.looks.look(flow);
        let begun = if progress.is_new { now.of_coarse(flow.opened) } else { self.began };
        carried(flow, [progress.forward, progress.reverse], names, begun, now, lines);
    }

    /// A flow that has ended. Names are looked for in those of now and in earlier ones: its endpoint may be gone.
    pub fn ended<'n>(
        &mut self,
        ended: &Ended,
        names: &(impl Iterator<Item = &'n Names> + Clone),
        now: Moments,
        lines: &mut impl Lines,
    ) {
        let flow = &ended.flow;
        let knows = |names: &&Names| names.of_endpoint(&flow.forward.key, flow.endpoint).is_some();
        let Some(names) = names.clone().find(knows).or(names.clone().next()) else {
            return;
        };
        let opened = now.of_coarse(flow.opened);
        let progress = self.looks.last(flow);
        let begun = if progress.is_new { opened } else { self.began };
        carried(flow, [progress.forward, progress.reverse], names, begun, now, lines);
        if flow.phase == Phase::Established {
            let last = now.of_stamp(flow.forward.stamp).max(now.of_stamp(flow.reverse.stamp));
            let interface = names.of_endpoint(&flow.forward.key, flow.endpoint);
            lines.connection(&Connection::of(flow, interface, names, [opened, last.max(opened)]));
        }
    }

    /// A packet that was refused.
    pub fn refused(&mut self, refused: &Refused<PacketKey>, now: Moments) {
        self.refusals.add(refused, now.of_tick(refused.at));
    }

    /// Its end: what was refused is written; and that records are missing, if `lost` says so. Another one begins.
    pub fn end(&mut self, lost: bool, names: &Names, now: Moments, lines: &mut impl Lines) {
        let (refusals, untold) = self.refusals.take();
        for (key, reason, refusal) in refusals {
            let interface = names.of_packet(&key);
            lines.flow(&Line::Record(Record {
                interface,
                target_group: None,
                load_balancer: interface.and_then(|of| of.load_balancer.as_deref()),
                way: Way::Ingress,
                ends: ends(&key),
                translated: None,
                protocol: key.protocol,
                packets: refusal.packets,
                bytes: refusal.bytes,
                flags: refusal.flags,
                time: refusal.time.map(seconds),
                refused: Some(reason),
                rtts: [None; 2],
                retransmissions: None,
            }));
        }
        let began = mem::replace(&mut self.began, now.now);
        if lost || untold > 0 {
            lines.flow(&Line::Skipped([began, now.now].map(seconds)));
        }
    }
}

const fn seconds(ms: u64) -> u64 {
    ms / 1000
}

/// One record for each direction that has carried something.
fn carried(
    flow: &Flow,
    carried: [Carried; 2],
    names: &Names,
    begun: u64,
    now: Moments,
    lines: &mut impl Lines,
) {
    let interface = names.of_endpoint(&flow.forward.key, flow.endpoint);
    let [client, endpoint] = ends(&flow.forward.key);
    let [target, nat] = ends(&flow.reverse.key);
    let is_tcp = Protocol::of_flow(&flow.forward.key) == Protocol::Tcp;
    let ways: [(Way, &Half, _, _); 2] = [
        (Way::Ingress, &flow.forward, [client, endpoint], [nat, target]),
        (Way::Egress, &flow.reverse, [endpoint, client], [target, nat]),
    ];
    for ((way, half, ends, translated), carried) in ways.into_iter().zip(carried) {
        if carried.packets == 0 {
            continue;
        }
        let last = now.of_stamp(half.stamp).max(begun);
        lines.flow(&Line::Record(Record {
            interface,
            target_group: names.target_group(flow.target),
            load_balancer: names.load_balancer(&flow.reverse.key),
            way,
            ends,
            translated: Some(translated),
            protocol: flow.forward.key.protocol,
            packets: carried.packets,
            bytes: carried.bytes,
            flags: carried.flags,
            time: [begun, last].map(seconds),
            refused: None,
            rtts: [flow.forward.note.time(), flow.reverse.note.time()],
            retransmissions: is_tcp.then(|| half.note.again()),
        }));
    }
}
