//! The end of a flow: when it is due, and the steps from live to free.
//!
//! ```text
//! Unused or Retired ─claim─▶ Opening ─has its keys─▶ HalfOpen ─confirmed─▶ Established
//!                              │ lost its place        │ due                  │ due
//!                              ▼                       ▼                      ▼
//!                            Retired                Retired ◀─hold over─── Held
//!                                                          or taken over
//! ```
//!
//! Whoever changes the phase, by exchange, does what belongs to the step; for everybody else the flow is over. Only
//! programs in the kernel do, which nobody kills in between ([`super::ending`]).

use super::half::{Direction, FlowHalf};
use super::record::{Phase, Place, Record};
use super::{FlowMemory, Usage, free, note, totals};
use crate::ipv4;
use crate::records::{Settings, Timeouts};
use crate::state::State;
use crate::tcp::{FIN, RST};
use crate::ticks::Tick;

/// How hard the table must look for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pressure {
    /// Every flow has its full time.
    None = 0,
    /// Half-open flows have [`Settings::pressed_half_open`] at most.
    HalfOpen = 1,
    /// The client opens a connection anew: one that is over has had its time.
    Reopening = 2,
}

impl Pressure {
    /// The one with this number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::HalfOpen,
            _ => Self::Reopening,
        }
    }
}

/// State of a flow.
#[inline(always)]
pub fn state(record: &Record<'_>) -> State {
    let (forward, reverse) = (record.forward.flags(), record.reverse.flags());
    match record.forward.protocol() {
        ipv4::UDP => State::of_udp(reverse != 0),
        _ => State::of_tcp(forward, reverse),
    }
}

/// Ticks since the flow's last packet in either direction.
#[inline(always)]
pub fn idle(record: &Record<'_>, now: Tick) -> u32 {
    let (forward, reverse) = (record.forward.stamp(), record.reverse.stamp());
    now.since_stamp(forward).min(now.since_stamp(reverse))
}

/// Whether a live flow has been silent for too long, or a lease been held long enough.
#[inline(always)]
pub fn is_due(
    settings: &Settings,
    record: &Record<'_>,
    timeouts: &Timeouts,
    pressure: Pressure,
    now: Tick,
) -> bool {
    let reopening = pressure == Pressure::Reopening;
    if !reopening && !may_be_due(settings, record.forward, timeouts, pressure, now) {
        return false;
    }
    let phase = record.place().phase();
    let Some(allowed) = allowed(settings, record.forward, timeouts, pressure) else {
        return false;
    };
    if phase == Phase::Held {
        return now.since_stamp(record.forward.stamp()) > allowed;
    }
    let over = state(record).is_over();
    over && reopening || idle(record, now) > if over { timeouts.closing } else { allowed }
}

/// Whether it may be so, by the forward half alone: the other one is somewhere else in memory.
#[inline(always)]
pub fn may_be_due(
    settings: &Settings,
    forward: &FlowHalf,
    timeouts: &Timeouts,
    pressure: Pressure,
    now: Tick,
) -> bool {
    let place = forward.place();
    let Some(allowed) = allowed(settings, forward, timeouts, pressure) else {
        return false;
    };
    let may_be_over = forward.flags() & (FIN | RST) != 0 || place.is_reset();
    let closing = place.phase().is_live() && may_be_over;
    let least = if closing { allowed.min(timeouts.closing) } else { allowed };
    now.since_stamp(forward.stamp()) > least
}

/// How long a record may be silent in a phase, unless its connection is over.
#[inline(always)]
fn allowed(
    settings: &Settings,
    forward: &FlowHalf,
    timeouts: &Timeouts,
    pressure: Pressure,
) -> Option<u32> {
    let (half_open, idle) = match forward.protocol() {
        ipv4::UDP => (timeouts.udp_unreplied, timeouts.udp_idle),
        _ => (timeouts.half_open, timeouts.idle),
    };
    match (forward.place().phase(), pressure) {
        (Phase::Unused | Phase::Opening | Phase::Retired, _) => None,
        (Phase::Held, _) => Some(timeouts.lease_hold),
        (Phase::Established, _) => Some(idle),
        (Phase::HalfOpen, Pressure::HalfOpen) => Some(half_open.min(settings.pressed_half_open)),
        (Phase::HalfOpen, _) => Some(half_open),
    }
}

/// Takes one step from live to free; false where another CPU was faster, or nothing is to be ended. `place` is what
/// was seen to be due, or still live after that: of two who saw it, one takes the step, and the other not the next.
///
/// The forward key goes first: from then on the client's next segment is one without a flow, answered
/// with a RST or opening a new one. A packet that found the half before passes once more; its answer is
/// met by a RST. An established flow's reverse key, its lease, stays for the hold, so that no new flow meets a
/// target that still remembers the old one (RFC 9293, section 3.4.1; RFC 7857, section 4); not if the
/// flow has been silent for that long already.
#[inline(always)]
pub fn end<M: FlowMemory + ?Sized>(
    memory: &M,
    record: &Record<'_>,
    place: Place,
    timeouts: &Timeouts,
    now: Tick,
) -> bool {
    let phase = place.phase();
    let next = match phase {
        Phase::Established if idle(record, now) <= timeouts.lease_hold => Phase::Held,
        Phase::Established | Phase::HalfOpen | Phase::Held => Phase::Retired,
        Phase::Unused | Phase::Opening | Phase::Retired => return false,
    };
    let last = record.forward.stamp();
    // First, so that nobody sees a lease held since the client's last packet. Of two who end the flow at once, the one who
    // does may tell of this moment as the client's last.
    record.forward.set_stamp(now.stamp());
    if !record.change_phase(place, next) {
        return false;
    }
    if phase.is_live() {
        memory.count_ended(record.number);
        memory.tell_ended(record.number, place, last, now);
        memory.remove(record.number);
        record.reverse.forget_client(record.number);
        if let Some(usage) = memory.usage(place.endpoint()) {
            usage.leave(phase);
        }
    }
    if next == Phase::Retired {
        retire(memory, record, now);
    }
    true
}

/// Gives both halves back, the forward one already without a key.
#[inline(always)]
fn retire<M: FlowMemory + ?Sized>(memory: &M, record: &Record<'_>, now: Tick) {
    let other = record.forward.other();
    memory.remove(other);
    record.reverse.set_stamp(now.stamp());
    free::release(memory, other);
    free::release(memory, record.number);
}

/// Makes a flow whose halves both have their keys one like any other.
#[inline(always)]
pub fn begin<M: FlowMemory + ?Sized>(memory: &M, record: &Record<'_>) {
    let place = record.place();
    // Counted first: whoever ends the flow takes it off the count.
    if let Some(usage) = memory.usage(place.endpoint()) {
        usage.flows.add(1);
        usage.half_open.add(1);
    }
    totals::count_opened(memory, place);
    note::begin(memory, record.number, record.forward.other());
    record.change_phase(place, Phase::HalfOpen);
}

/// Gives both halves of a flow back that lost its place to another CPU's before anybody was told of it.
#[inline(always)]
pub fn withdraw<M: FlowMemory + ?Sized>(memory: &M, record: &Record<'_>, now: Tick) {
    if record.change_phase(record.place(), Phase::Retired) {
        record.forward.set_stamp(now.stamp());
        retire(memory, record, now);
    }
}

/// Ticks for which a target has been silent whose half is used anew, one of them whole: hardly a packet is on its way any more that has
/// read what the half said before.
const SILENCE: u32 = 2;

/// Has a new flow with the same keys take over the lease that a flow holds; false where it may not have it, or another CPU was
/// faster. `place` is what was seen, `forward` the number of the new flow's forward half.
///
/// It may where the connection was over, so that the target is in TIME_WAIT, and whoever has ended its flow is done with that: the
/// last thing they write into its halves is that the client is unknown.
#[inline(always)]
pub fn take_over<M: FlowMemory + ?Sized>(
    memory: &M,
    held: &Record<'_>,
    place: Place,
    forward: u32,
    now: Tick,
) -> bool {
    let is_ended = held.reverse.client().0.is_unknown() && held.reverse.other() == held.number;
    if place.phase() != Phase::Held
        || !is_ended
        || !state(held).is_over()
        || now.since_stamp(held.reverse.stamp()) < SILENCE
    {
        return false;
    }
    // First, as in `end`.
    held.forward.set_stamp(now.stamp());
    if !held.change_phase(place, Phase::Retired) {
        return false;
    }
    held.reverse.renew(forward, now);
    free::release(memory, held.number);
    true
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
    // Once more: a daemon that stood still since then would take for a place what another flow's reverse half says.
    if record.forward.direction() == Direction::Reverse {
        return false;
    }
    let Some(timeouts) = memory.timeouts(place.endpoint()) else {
        return false;
    };
    is_due(settings, &record, timeouts, pressure, now) && end(memory, &record, place, timeouts, now)
}

/// Ends a live flow, due or not, if it is still the one that was seen there; whether it did.
#[inline(always)]
pub fn cut<M: FlowMemory + ?Sized>(memory: &M, number: u32, seen: Place, now: Tick) -> bool {
    let (Some(record), Some(timeouts)) = (memory.record(number), memory.timeouts(seen.endpoint()))
    else {
        return false;
    };
    // A flow is established once, and reset once, at most.
    for _ in 0..3 {
        let place = record.place();
        if !place.is_same_flow(seen) || !place.phase().is_live() {
            return false;
        }
        if end(memory, &record, place, timeouts, now) {
            return true;
        }
    }
    false
}

/// Marks a flow established when its client has confirmed the handshake.
#[inline(always)]
pub fn establish<M: FlowMemory + ?Sized>(memory: &M, record: &Record<'_>) {
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
