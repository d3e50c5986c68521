//! What both engines can do, and what is expected of either.

use std::collections::HashMap;
use std::time::Duration;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_event::FlowEvent;
use privatelink_common::flow_table::totals::AddressCounts;
use privatelink_common::flow_table::{Flow, FlowMemory};
use privatelink_common::records::{Endpoint, Interface, NextHop};
use privatelink_common::ticks::Tick;
use privatelink_userspace::contents::CountedAddress;
use privatelink_userspace::datapath::Verdict;
use privatelink_userspace::model::Model;

use super::flows::flow;
use super::network::{Port, at_client, at_target};
use crate::frame::{Segment, Wire};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

/// One of the two engines.
pub(crate) trait Engine {
    fn model(&self) -> &Model;
    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome;
    /// Whether a frame gets to the data path.
    fn takes(&self, _frame: &[u8]) -> bool {
        true
    }
    /// The narrow flow table's memory.
    fn table(&self) -> &dyn FlowMemory;
    /// Works on the wide flow table's memory.
    fn in_wide_table(&self, work: &mut dyn FnMut(&dyn FlowMemory));
    /// All drop counters of an interface that are not zero.
    fn drops(&self, port: Port) -> HashMap<DropReason, u64>;
    fn set_next_hop(&mut self, target: u32, next_hop: NextHop);
    /// Which targets of the first group have new flows.
    fn set_usable(&mut self, usable: &dyn Fn(u32) -> bool);
    /// Changes an endpoint's record; endpoints are numbered as in the configuration.
    fn edit_endpoint(&mut self, index: u32, edit: &dyn Fn(&mut Endpoint));
    /// Lets time pass.
    fn wait(&mut self, time: Duration);
    /// Changes the record of a port's interface.
    fn edit_interface(&mut self, port: Port, edit: &dyn Fn(&mut Interface));
    fn set_mtu(&mut self, port: Port, mtu: u32) {
        self.edit_interface(port, &|interface| interface.mtu = mtu);
    }
    /// Whether frames come to classifiers.
    fn is_classifier(&self) -> bool {
        false
    }
    fn detach(&mut self, port: Port);
    /// Puts another port's interface into the slot of a port.
    fn hand_over(&mut self, slot_of: Port, to: Port);
    /// The moment by the engine's clock.
    fn now(&mut self) -> Tick;
    /// Tells which ports no lease may have: words of bits with their places.
    fn reserve(&mut self, words: &[(u32, u64)]);
    /// The slot of a port's interface.
    fn slot(&self, port: Port) -> u32;
    /// What was told since the last time.
    fn events(&mut self) -> Vec<FlowEvent>;
    /// What is counted by the addresses of endpoints.
    fn address_counts(&self) -> HashMap<CountedAddress, AddressCounts>;
    /// Has the engine itself end a live flow, as the daemon asks it to.
    fn cut(&mut self, flow: &Flow);
}

/// Drops of an interface as names with counts, sorted: easy to compare and to read.
pub(crate) fn drops(engine: &dyn Engine, port: Port) -> Vec<(&'static str, u64)> {
    let mut drops: Vec<_> =
        engine.drops(port).into_iter().map(|(reason, count)| (reason.name(), count)).collect();
    drops.sort_unstable();
    drops
}

/// Sends a frame that is the host's business.
#[track_caller]
pub(crate) fn passes_untouched(engine: &mut dyn Engine, port: Port, frame: &[u8]) {
    let outcome = engine.receive(port, frame);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(outcome.frame, frame);
    assert_eq!(drops(engine, port), []);
}

/// Sends what must leave as exactly these bytes.
#[track_caller]
pub(crate) fn expect(
    engine: &mut dyn Engine,
    port: Port,
    frame: &impl Wire,
    leaves_as: &impl Wire,
) {
    let outcome = engine.receive(port, &frame.wire());
    assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, leaves_as.wire()));
}

/// Sends what must be dropped, and counted by this reason alone.
#[track_caller]
pub(crate) fn dropped(engine: &mut dyn Engine, port: Port, reason: &str, frame: &impl Wire) {
    let frame = frame.wire();
    let counted = DropReason::ALL.iter().find(|counted| counted.name() == reason);
    let mut counts = engine.drops(port);
    *counts.entry(*counted.expect("a reason")).or_default() += 1;
    assert_eq!(engine.receive(port, &frame).verdict, Verdict::Drop, "{reason}: {frame:02x?}");
    assert_eq!(engine.drops(port), counts, "{frame:02x?}");
}

/// Sends frames that must all be dropped for this reason; the interface has dropped nothing else.
#[track_caller]
pub(crate) fn all_dropped(
    engine: &mut dyn Engine,
    port: Port,
    reason: &'static str,
    frames: &[impl Wire],
) {
    for frame in frames {
        dropped(engine, port, reason, frame);
    }
    assert_eq!(drops(engine, port), [(reason, frames.len() as u64)]);
}

/// Sends what must be forwarded on the flow there is, whose client is A's, from port 40 000.
#[track_caller]
pub(crate) fn carried(engine: &mut dyn Engine, port: Port, segment: &Segment) {
    let flow = flow(engine);
    let leaves = match port {
        Port::Provider => at_client(segment, Port::A, 40_000),
        _ => at_target(segment, &flow),
    };
    expect(engine, port, segment, &leaves);
}
