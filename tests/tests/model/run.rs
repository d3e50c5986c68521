//! A sequence of steps, carried out by an engine and by the model beside it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::records::NextHop;
use privatelink_common::ticks;
use privatelink_userspace::datapath::{Verdict, jiffies_per_second};
use proptest::test_runner::TestCaseError;

use super::coverage::Coverage;
use super::flow::TIMEOUTS;
use super::mix::{Mix, TARGETS};
use super::nat::{Fate, Nat, Seen};
use super::pieces::{SALTED, read};
use super::rows::{compare_tables, entries, key};
use super::steps::Step;
use super::wire::Socket;
use crate::world::{
    Engine, Port, end, find_either, in_tables, pass, records_of, rest_all, target_hop,
};

/// Steps between two comparisons of the whole flow tables.
const COMPARED: usize = 16;
/// Real time that a sequence may take: less than every time-out is away from what `pass` leaves.
const PATIENCE: Duration = Duration::from_secs(1);
pub(super) const CLEARANCE: u64 = 1_500;
/// Sequences after which identifications may come again, and what of the first ones is then forgotten.
const SALTS: usize = (1 << 16) / SALTED as usize / 2;
const FORGOTTEN: Duration = Duration::from_secs(3);

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
    coverage.sequences += 1;
    if coverage.sequences.is_multiple_of(SALTS) {
        engine.wait(FORGOTTEN);
    }
    let mut run = Run::new(engine, mix, (coverage.sequences as u16).wrapping_mul(SALTED));
    for (number, step) in steps.iter().enumerate() {
        let outcome = run.step(step, coverage).and_then(|()| {
            let whole = number % COMPARED == COMPARED - 1 || number == steps.len() - 1;
            if whole { compare_tables(run.engine, &run.nat, coverage) } else { Ok(()) }
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
    fn new(engine: &'e mut dyn Engine, mix: Mix, salt: u16) -> Self {
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
        let slots = Port::ALL.map(|port| engine.slot(port) as u16);
        let mut run =
            Self { engine, nat: Nat::new(mix, salt, slots), before, started: Instant::now() };
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
        if !self.engine.takes(frame) || self.nat.leaves_out(port, frame) {
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
            Fate::PassedBare(frame) => (Verdict::Pass, Some(frame.as_slice())),
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
        coverage.meet_fate(&self.nat, frame, &fate, self.nat.flows.get(flows));
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
        let parcel = read(frame).filter(|_| port != Port::Provider)?;
        let flow = find_either(self.engine, &key(port, &parcel))?;
        let lease = flow.reverse.key.receiver();
        (flow.reverse.key.vpc == 1).then(|| (flow.target as usize, (lease.ip(), lease.port())))
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
        Fate::Pass | Fate::PassedBare(_) | Fate::Refused(_) => None,
    };
    if allowed.is_none() || egress != allowed {
        return Err(format!("ISOLATION: from {port:?} by {egress:?}, allowed is {allowed:?}"));
    }
    Ok(())
}
