//! A sequence of steps, carried out by an engine and by the model beside it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use privatelink_common::drop_reason::DropReason;
use privatelink_common::ethernet::Tags;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::{Phase, Record};
use privatelink_common::flow_table::{Flow as Entry, PacketKey};
use privatelink_common::records::{Mac, NextHop};
use privatelink_common::state::State;
use privatelink_common::ticks;
use privatelink_common::wide::WIDE;
use privatelink_userspace::datapath::{Verdict, jiffies_per_second};
use proptest::test_runner::TestCaseError;

use super::flow::{Flow, Side, Stage, TIMEOUTS};
use super::mix::{Mix, TARGETS};
use super::nat::{Fate, Nat, Seen};
use super::steps::Step;
use super::wire::{IPV4, IPV6, Link, Parcel, Socket, UDP};
use crate::world::{
    Engine, Port, end, find_either, in_tables, pass, records_of, rest_all, target_hop,
};

/// Steps between two comparisons of the whole flow tables.
const COMPARED: usize = 16;
/// Real time that a sequence may take: less than every time-out is away from what `pass` leaves.
const PATIENCE: Duration = Duration::from_secs(1);
const CLEARANCE: u64 = 1_500;

/// What the runs have met: how often each reason, verdict and state.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) steps: usize,
    pub(crate) met: BTreeMap<String, usize>,
    /// Sequences given up because the machine stood still.
    pub(crate) stalled: usize,
}

/// What enough steps must have met. Not in reach: full tables, leases that run out, drivers without headroom.
const MET: &[&str] = &[
    "answered EndpointFlowLimit",
    "answered NoFlow",
    "answered TooBig",
    "error to A",
    "error to B",
    "error to Provider",
    "datagram to A",
    "datagram to B",
    "datagram to Provider",
    "opened TCP 4 to 4, narrow",
    "opened TCP 4 to 4, wide",
    "opened TCP 4 to 6, wide",
    "opened TCP 6 to 4, wide",
    "opened TCP 6 to 6, wide",
    "opened UDP 4 to 4, narrow",
    "opened UDP 4 to 4, wide",
    "opened UDP 4 to 6, wide",
    "opened UDP 6 to 4, wide",
    "opened UDP 6 to 6, wide",
    "opened, port kept",
    "passed",
    "refused ChecksumUnfinished",
    "refused EndpointNotAvailable",
    "refused Fragment",
    "refused Ipv6Header",
    "refused UdpChecksum",
    "refused UdpLength",
    "refused IcmpChecksum",
    "refused IcmpEcho",
    "refused IcmpNoFlow",
    "refused IcmpQuote",
    "refused IcmpType",
    "refused InterfaceGone",
    "refused Ipv4Checksum",
    "refused Ipv4Header",
    "refused Ipv4Options",
    "refused NextHopUnresolved",
    "refused NoFlow",
    "refused NoListener",
    "refused Protocol",
    "refused SecurityGroup",
    "refused SourceAddress",
    "refused TcpChecksum",
    "refused TcpFlags",
    "refused TcpHeader",
    "refused TooBig",
    "refused Truncated",
    "refused TtlExpired",
    "refused Unsolicited",
    "replied",
    "segment to A",
    "segment to B",
    "segment to Provider",
    "Established closed",
    "Established established",
    "Established fin_wait",
    "Established replied",
    "Established time_wait",
    "HalfOpen closed",
    "HalfOpen fin_wait",
    "HalfOpen syn_received",
    "HalfOpen syn_sent",
    "HalfOpen time_wait",
    "HalfOpen unreplied",
    "Held closed",
    "Held time_wait",
];

impl Coverage {
    /// What should have been met and was not.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        MET.iter().copied().filter(|what| !self.met.contains_key(*what)).collect()
    }

    fn meet(&mut self, what: impl Into<String>) {
        *self.met.entry(what.into()).or_default() += 1;
    }
}

/// An engine and the model.
pub(crate) struct Run<'e> {
    engine: &'e mut dyn Engine,
    nat: Nat,
    /// Drops counted before the sequence.
    before: [HashMap<DropReason, u64>; 3],
    started: Instant,
}

/// Carries the steps out; an error where engine and model differ.
pub(crate) fn sequence(
    engine: &mut dyn Engine,
    mix: Mix,
    steps: &[Step],
    coverage: &mut Coverage,
) -> Result<(), TestCaseError> {
    let mut run = Run::new(engine, mix);
    for (number, step) in steps.iter().enumerate() {
        let outcome = run.step(step, coverage).and_then(|()| {
            let whole = number % COMPARED == COMPARED - 1 || number == steps.len() - 1;
            if whole { run.compare_tables(coverage) } else { Ok(()) }
        });
        if run.started.elapsed() > PATIENCE {
            coverage.stalled += 1;
            return Ok(());
        }
        outcome
            .map_err(|reason| TestCaseError::fail(format!("step {number}, {step:?}: {reason}")))?;
    }
    Ok(())
}

impl<'e> Run<'e> {
    /// Brings the engine back to its beginning, whatever the last sequence left.
    fn new(engine: &'e mut dyn Engine, mix: Mix) -> Self {
        for port in Port::ALL {
            // Also gives it back its MTU.
            engine.hand_over(port, port);
        }
        engine.set_usable(&|_| true);
        for index in 0..3 {
            engine.edit_endpoint(index, &|endpoint| {
                (endpoint.available, endpoint.icmp_echo) = (1, 0);
            });
        }
        for flow in entries(engine) {
            end(engine, &flow);
        }
        rest_all(engine);
        let before = Port::ALL.map(|port| engine.drops(port));
        engine.wait(Duration::from_millis(1));
        let mut run = Self { engine, nat: Nat::new(mix), before, started: Instant::now() };
        for target in 0..TARGETS {
            run.set_reachable(target, true);
        }
        run.started = Instant::now();
        run
    }

    fn step(&mut self, step: &Step, coverage: &mut Coverage) -> Result<(), String> {
        match *step {
            Step::Pass(seconds) => self.pass(seconds),
            Step::Sweep => self.sweep(),
            Step::Reachable(target, is) => self.set_reachable(target, is),
            Step::Usable(usable) => {
                self.engine.set_usable(&|target| usable[target as usize]);
                self.nat.usable = usable;
            }
            Step::Mtu(port, mtu) => {
                let interface = &mut self.nat.interfaces[port as usize];
                if interface.attached {
                    interface.mtu = mtu;
                    self.engine.set_mtu(port, mtu);
                }
            }
            Step::Attached(port, is) => {
                let interface = &mut self.nat.interfaces[port as usize];
                interface.attached = is;
                if is {
                    interface.mtu = 1500;
                    self.engine.hand_over(port, port);
                } else {
                    self.engine.detach(port);
                }
            }
            Step::Available(endpoint, is) => {
                self.nat.endpoints[endpoint as usize].available = is;
                let set = |endpoint: &mut privatelink_common::records::Endpoint| {
                    endpoint.available = u32::from(is);
                };
                self.engine.edit_endpoint(endpoint, &set);
            }
            Step::Echoes(port, is) => {
                self.nat.endpoints[port as usize - 1].echo = is;
                let set = |endpoint: &mut privatelink_common::records::Endpoint| {
                    endpoint.icmp_echo = u32::from(is);
                };
                self.engine.edit_endpoint(port as u32 - 1, &set);
            }
            _ => {
                for number in 0..step.frames() {
                    if let Some((port, frame)) = step.frame(&self.nat, number) {
                        self.receive(port, &frame, coverage)?;
                    }
                }
                return Ok(());
            }
        }
        coverage.steps += 1;
        Ok(())
    }

    /// Lets about this many seconds pass: more, where some flow would then be too close to a time-out.
    fn pass(&mut self, seconds: u64) {
        let rate = jiffies_per_second();
        let mut wanted = seconds * 1000;
        let close = |wanted: u64| {
            self.nat.flows.iter().any(|flow| {
                let age = self.nat.now + wanted - flow.last;
                TIMEOUTS.iter().any(|&timeout| age.abs_diff(timeout) < CLEARANCE)
            })
        };
        while close(wanted) {
            wanted += 1000;
        }
        pass(self.engine, wanted);
        self.nat.now += ticks::to_ms(ticks::from_ms(wanted, rate), rate);
    }

    fn sweep(&mut self) {
        let now = self.engine.now();
        in_tables(self.engine, &mut |table| {
            let numbers: Vec<u32> = records_of(table).map(|record| record.number).collect();
            for number in numbers {
                life::sweep(table, number, Pressure::None, now);
            }
        });
        self.nat.sweep();
    }

    fn set_reachable(&mut self, target: usize, is: bool) {
        let hop = target_hop(target as u32, self.engine.slot(Port::Provider));
        self.engine.set_next_hop(target as u32, if is { hop } else { NextHop::UNKNOWN });
        self.nat.reachable[target] = is;
    }

    fn receive(&mut self, port: Port, frame: &[u8], coverage: &mut Coverage) -> Result<(), String> {
        if self.nat.leaves_out(port, frame) {
            return Ok(());
        }
        coverage.steps += 1;
        let outcome = self.engine.receive(port, frame);
        let counted = self.drops();
        let (opened, reason) = (self.opened(port, frame), self.reason(port, &counted));
        let seen = Seen { opened, reason, out: &outcome.frame };
        let flows = self.nat.flows.len();
        let fate = self.nat.receive(port, frame, &seen);

        let (verdict, expected) = match &fate {
            Fate::Pass => (Verdict::Pass, Some(frame)),
            Fate::Refused(_) => (Verdict::Drop, None),
            Fate::Sent(_, frame) | Fate::Answered(_, frame) | Fate::Replied(frame) => {
                (Verdict::Redirect, Some(frame.as_slice()))
            }
        };
        stays_apart(port, &fate, outcome.verdict, &outcome.frame)?;
        if outcome.verdict != verdict || expected.is_some_and(|frame| frame != outcome.frame) {
            return Err(format!("{port:?} {frame:02x?}\nbecame {outcome:02x?}\nnot {fate:02x?}"));
        }
        if counted != self.nat.drops {
            return Err(format!("drops {counted:?}, not {:?}; {fate:02x?}", self.nat.drops));
        }
        if let Fate::Answered(DropReason::TooBig | DropReason::EndpointFlowLimit, _) = fate {
            // For the budget of ICMP errors.
            self.engine.wait(Duration::from_millis(1));
        }
        match fate {
            Fate::Pass => coverage.meet("passed"),
            Fate::Refused(reason) => coverage.meet(format!("refused {reason:?}")),
            Fate::Answered(reason, _) => coverage.meet(format!("answered {reason:?}")),
            Fate::Replied(_) => coverage.meet("replied"),
            Fate::Sent(..) if self.nat.flows.len() > flows => {
                let opened = &self.nat.flows[flows];
                let protocol = if opened.protocol == UDP { "UDP" } else { "TCP" };
                let [client, target] =
                    [opened.client, opened.to].map(|of| if of.0.is_ipv6() { 6 } else { 4 });
                let table = if opened.wide { "wide" } else { "narrow" };
                coverage.meet(format!("opened {protocol} {client} to {target}, {table}"));
                if opened.to.1 == opened.endpoint.1 {
                    coverage.meet("opened, port kept");
                }
            }
            Fate::Sent(to, out) => {
                let link = Link::read(&out).expect("a frame");
                let protocol = out[link.length + if link.ether_type == IPV6 { 6 } else { 9 }];
                let what = match protocol {
                    1 => "error",
                    UDP => "datagram",
                    _ => "segment",
                };
                coverage.meet(format!("{what} to {to:?}"));
            }
        }
        Ok(())
    }

    /// All drop counters, less what they were when the sequence began.
    fn drops(&self) -> HashMap<(Port, DropReason), u64> {
        let of = |port: Port| {
            let before = &self.before[port as usize];
            let since = move |(reason, count): (DropReason, u64)| {
                ((port, reason), count - before.get(&reason).copied().unwrap_or(0))
            };
            self.engine.drops(port).into_iter().map(since).filter(|&(_, count)| count > 0)
        };
        Port::ALL.into_iter().flat_map(of).collect()
    }

    /// The reason that was counted just now.
    fn reason(&self, port: Port, counted: &HashMap<(Port, DropReason), u64>) -> Option<DropReason> {
        let known = |at: &(Port, DropReason)| self.nat.drops.get(at).copied().unwrap_or(0);
        counted.iter().find_map(|(at, &count)| (at.0 == port && count > known(at)).then_some(at.1))
    }

    /// Target and lease of the flow that a frame is of, if it is a client's segment.
    fn opened(&self, port: Port, frame: &[u8]) -> Option<(usize, Socket)> {
        let link = Link::read(frame)?;
        let packet = frame.get(link.length..).filter(|packet| packet.len() >= 20)?;
        let parcel = match link.ether_type {
            IPV4 => Parcel::read_v4(packet),
            _ => Parcel::read_v6(packet),
        };
        let parcel = parcel.ok().filter(|_| port != Port::Provider)?;
        let flow = find_either(self.engine, &key(port, &parcel))?;
        let lease = flow.reverse.key.receiver();
        (flow.reverse.key.vpc == 1).then(|| (flow.target as usize, (lease.ip(), lease.port())))
    }

    fn compare_tables(&self, coverage: &mut Coverage) -> Result<(), String> {
        let mut ours: Vec<Row> =
            self.nat.flows.iter().map(|flow| Row::expected(flow, self.engine)).collect();
        let mut theirs = Vec::new();
        in_tables(self.engine, &mut |table| {
            theirs.extend(
                records_of(table)
                    .filter_map(|record| Some(Row::found(&Entry::of(table, &record)?, &record))),
            );
        });
        for rows in [&mut ours, &mut theirs] {
            rows.sort_by_key(|row| (row.target, row.keys[1]));
        }
        if ours != theirs {
            return Err(format!("the tables differ:\n{theirs:#?}\nnot\n{ours:#?}"));
        }
        for flow in &self.nat.flows {
            coverage.meet(format!("{:?} {}", flow.stage, flow.state().name()));
        }
        for endpoint in 0..3 {
            let usage = self.engine.table().usage(endpoint).expect("an endpoint");
            let of = |stages: &[Stage]| {
                let flows = self.nat.flows.iter();
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
}

/// The isolation of vpcs, by itself: what arrives from one leaves by the same, or as the model's rewrite of its own
/// flow's by the interface of that flow's other side. Nothing else ever leaves.
fn stays_apart(port: Port, fate: &Fate, verdict: Verdict, out: &[u8]) -> Result<(), String> {
    if verdict != Verdict::Redirect {
        return Ok(());
    }
    let egress = Port::ALL.into_iter().find(|port| out.get(6..12) == Some(&port.mac()[..]));
    let allowed = match fate {
        Fate::Sent(to, _) => Some(*to),
        Fate::Answered(..) | Fate::Replied(_) => Some(port),
        Fate::Pass | Fate::Refused(_) => None,
    };
    if allowed.is_none() || egress != allowed {
        return Err(format!("ISOLATION: from {port:?} by {egress:?}, allowed is {allowed:?}"));
    }
    Ok(())
}

/// All flows of both tables.
fn entries(engine: &dyn Engine) -> Vec<Entry> {
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

fn between(port: Port, protocol: u8, source: Socket, destination: Socket) -> PacketKey {
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
#[derive(Debug, PartialEq, Eq)]
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
}

impl Row {
    fn found(entry: &Entry, record: &Record<'_>) -> Self {
        let (forward, reverse) = (&entry.forward, &entry.reverse);
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
        }
    }

    fn expected(flow: &Flow, engine: &dyn Engine) -> Self {
        let of = |side: fn(&Side) -> u64| [side(&flow.sides[0]), side(&flow.sides[1])];
        let (mut kinds, mut tcis) = (0, 0);
        for (&(tpid, tci), at) in flow.place.tags.iter().zip(0..) {
            kinds |= if tpid == 0x8100 { 1_u64 } else { 2 } << (58 + 2 * at);
            tcis |= u32::from(tci.to_be()) << (16 * at);
        }
        let hop = NextHop::new(Mac::from_bytes(flow.place.mac), engine.slot(flow.port) as u16);
        // Forgotten, once the flow is over.
        let held = flow.stage == Stage::Held;
        let (client, tags) = Tags::unpack(if held { 0 } else { hop.word() | kinds }, tcis);
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
        }
    }
}
