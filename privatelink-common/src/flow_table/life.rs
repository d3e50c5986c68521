//! The end of a flow: when it is due, and the steps from live to free.
//!
//! ```text
//! Unused or Retired ─claim─▶ Opening ─in the index─▶ HalfOpen ─confirmed─▶ Established
//!                              │ lost its place         │ due                 │ due
//!                              ▼                        ▼                     ▼
//!                            Retired                 Retired ◀─hold over─── Held
//! ```
//!
//! Daemon and data path end flows by the same steps. Whoever changes the phase, by exchange, does what
//! belongs to the step; for everybody else the flow is over.

use super::record::{Direction, Phase, Record};
use super::{FlowMemory, Usage, free};
use crate::records::{Settings, Timeouts};
use crate::tcp::State;
use crate::ticks::Tick;

/// How hard the table must look for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pressure {
    /// Every flow has its full time.
    None = 0,
    /// Half-open flows have [`Settings::pressed_half_open`] at most.
    HalfOpen = 1,
}

/// State of a flow's TCP connection.
#[inline(always)]
pub fn state(record: &Record) -> State {
    State::of(record.forward().flags(), record.reverse().flags())
}

/// Ticks since the flow's last packet in either direction.
#[inline(always)]
pub fn idle(record: &Record, now: Tick) -> u32 {
    let (forward, reverse) = (record.forward().stamp(), record.reverse().stamp());
    now.since_stamp(forward).min(now.since_stamp(reverse))
}

/// Whether a live flow has been silent for too long, or a lease been held long enough.
#[inline(always)]
pub fn is_due(
    settings: &Settings,
    record: &Record,
    timeouts: &Timeouts,
    pressure: Pressure,
    now: Tick,
) -> bool {
    let phase = record.place().phase();
    if phase == Phase::Held {
        return now.since_stamp(record.forward().stamp()) > timeouts.lease_hold;
    }
    let allowed = match (state(record), phase) {
        (State::TimeWait | State::Closed, _) => timeouts.closing,
        (_, Phase::Established) => timeouts.idle,
        (_, Phase::HalfOpen) => match pressure {
            Pressure::None => timeouts.half_open,
            Pressure::HalfOpen => timeouts.half_open.min(settings.pressed_half_open),
        },
        _ => return false,
    };
    idle(record, now) > allowed
}

/// Takes one step from live to free; false where another CPU was faster, or nothing is to be ended.
///
/// The forward entry goes first: from then on the client's next segment is one without a flow, answered
/// with a RST or opening a new one. A packet that found the entry before passes once more; its answer is
/// met by a RST. An established flow's lease stays in the index for the hold, so that no new flow meets a
/// target that still remembers the old one (RFC 9293, section 3.4.1; RFC 7857, section 4); not if the
/// flow has been silent for that long already.
#[inline(always)]
pub fn end<M: FlowMemory + ?Sized>(
    memory: &M,
    record: &Record,
    number: u32,
    timeouts: &Timeouts,
    now: Tick,
) -> bool {
    let place = record.place();
    let phase = place.phase();
    let next = match phase {
        Phase::Established if idle(record, now) <= timeouts.lease_hold => Phase::Held,
        Phase::Established | Phase::HalfOpen | Phase::Held => Phase::Retired,
        Phase::Unused | Phase::Opening | Phase::Retired => return false,
    };
    if !record.change_phase(place, next) {
        return false;
    }
    if phase.is_live() {
        let key = record.forward().key_words();
        memory.remove(key, number, Direction::Forward);
        record.forget_client();
        if let Some(usage) = memory.usage(place.endpoint()) {
            usage.leave(phase);
        }
    }
    if next == Phase::Retired {
        let key = record.reverse().key_words();
        memory.remove(key, number, Direction::Reverse);
    }
    record.forward().set_stamp(now.stamp());
    if next == Phase::Retired {
        free::release(memory, number);
    }
    true
}

/// Makes a flow whose keys are both in the index one like any other.
#[inline(always)]
pub fn begin<M: FlowMemory + ?Sized>(memory: &M, record: &Record) {
    let place = record.place();
    // Counted first: whoever ends the flow takes it off the count.
    if let Some(usage) = memory.usage(place.endpoint()) {
        usage.flows.add(1);
        usage.half_open.add(1);
    }
    record.change_phase(place, Phase::HalfOpen);
}

/// Gives a record back whose flow lost its place to another CPU's before anybody was told of it.
#[inline(always)]
pub fn withdraw<M: FlowMemory + ?Sized>(memory: &M, record: &Record, number: u32, now: Tick) {
    if record.change_phase(record.place(), Phase::Retired) {
        let key = record.reverse().key_words();
        memory.remove(key, number, Direction::Reverse);
        record.forward().set_stamp(now.stamp());
        free::release(memory, number);
    }
}

/// Ends the flow of a record if it is due; whether it did.
#[inline(always)]
pub fn sweep<M: FlowMemory + ?Sized>(
    memory: &M,
    number: u32,
    pressure: Pressure,
    now: Tick,
) -> bool {
    let (Some(settings), Some(record)) = (memory.settings(), memory.record(number)) else {
        return false;
    };
    let place = record.place();
    if matches!(place.phase(), Phase::Unused | Phase::Retired) {
        return false;
    }
    let Some(timeouts) = memory.timeouts(place.endpoint()) else {
        return false;
    };
    is_due(settings, record, timeouts, pressure, now) && end(memory, record, number, timeouts, now)
}

/// Marks a flow established when its client has confirmed the handshake.
#[inline(always)]
pub fn establish<M: FlowMemory + ?Sized>(memory: &M, record: &Record) {
    let place = record.place();
    if place.phase() == Phase::HalfOpen
        && record.change_phase(place, Phase::Established)
        && let Some(usage) = memory.usage(place.endpoint())
    {
        usage.half_open.add(1_u64.wrapping_neg());
    }
}

impl Usage {
    #[inline(always)]
    fn leave(&self, phase: Phase) {
        self.flows.add(1_u64.wrapping_neg());
        if phase == Phase::HalfOpen {
            self.half_open.add(1_u64.wrapping_neg());
        }
    }
}
