//! A flow: its two halves.

use super::FlowMemory;
use super::half::{Direction, FlowHalf};
use crate::ethernet::Tags;
use crate::hash::GOLDEN_RATIO;
use crate::records::NextHop;
use crate::ticks::{COARSE_BITS, Tick};

/// What a record is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Never used.
    Unused = 0,
    /// A flow that a CPU is opening just now; only that CPU may end it.
    Opening = 5,
    /// A flow whose client has not yet confirmed the handshake.
    HalfOpen = 1,
    /// A flow that is, or was, established.
    Established = 2,
    /// The flow is over; its NAT lease is kept from being given away.
    Held = 3,
    /// No half has a key, unless another flow has taken the reverse one over; to be used anew once nobody can still be looking at it.
    Retired = 4,
}

impl Phase {
    /// Whether packets of the flow are forwarded.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Opening | Self::HalfOpen | Self::Established)
    }

    /// Whether the flow's NAT lease is no other's.
    #[inline(always)]
    pub const fn holds_lease(self) -> bool {
        self.is_live() || matches!(self, Self::Held)
    }
}

/// Both halves of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Record<'m> {
    /// Number of the forward half: the flow's.
    pub number: u32,
    /// From client to target.
    pub forward: &'m FlowHalf,
    /// From target to client.
    pub reverse: &'m FlowHalf,
}

/// A forward half's word that tells whose flow it is and what it is used for. Changed only by compare-and-exchange,
/// so of all who see a flow expire one ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u64);

impl Place {
    const ENDPOINT: u32 = 16;
    const PHASE: u32 = 32;
    const RESET: u64 = 1 << 35;
    const OPENED: u32 = u64::BITS - COARSE_BITS;

    /// Number of the target.
    #[inline(always)]
    pub const fn target(self) -> u32 {
        self.0 as u16 as u32
    }

    /// Number of the endpoint.
    #[inline(always)]
    pub const fn endpoint(self) -> u32 {
        (self.0 >> Self::ENDPOINT) as u16 as u32
    }

    /// When the flow was opened: [`Tick::coarse`].
    pub const fn opened(self) -> u32 {
        (self.0 >> Self::OPENED) as u32
    }

    /// What the record is used for.
    #[inline(always)]
    pub const fn phase(self) -> Phase {
        match (self.0 >> Self::PHASE) & 7 {
            1 => Phase::HalfOpen,
            2 => Phase::Established,
            3 => Phase::Held,
            4 => Phase::Retired,
            5 => Phase::Opening,
            _ => Phase::Unused,
        }
    }

    /// Whether it is the same flow, at whatever point of its life.
    #[inline(always)]
    pub(super) const fn is_same_flow(self, seen: Self) -> bool {
        (self.0 ^ seen.0) & !(7 << Self::PHASE | Self::RESET) == 0
    }

    #[inline(always)]
    pub(super) const fn with_phase(self, phase: Phase) -> Self {
        Self(self.0 & !(7 << Self::PHASE) | (phase as u64) << Self::PHASE)
    }

    /// Whether the target has reset the flow, as we believed at some time.
    #[inline(always)]
    pub(super) const fn is_reset(self) -> bool {
        self.0 & Self::RESET != 0
    }

    /// The place of a new flow. A half rests for longer than a coarse moment before it has another: nobody who has
    /// seen the last flow expire ends this one.
    #[inline(always)]
    pub(super) const fn opening(flow: &NewFlow, now: Tick) -> Self {
        let owner =
            (flow.target as u64 & 0xffff) | (flow.endpoint as u64 & 0xffff) << Self::ENDPOINT;
        let phase = (Phase::Opening as u64) << Self::PHASE;
        Self((now.coarse() as u64) << Self::OPENED | phase | owner)
    }
}

/// What a record is filled with: a new flow.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// The key of what the client sends, as words.
    pub forward: [u64; 2],
    /// The key of what the target answers, to the lease, as words.
    pub reverse: [u64; 2],
    /// Number of the endpoint.
    pub endpoint: u32,
    /// Number of the target.
    pub target: u32,
}

impl Record<'_> {
    /// The half of a direction.
    #[inline(always)]
    pub const fn half(&self, direction: Direction) -> &FlowHalf {
        match direction {
            Direction::Forward => self.forward,
            Direction::Reverse => self.reverse,
        }
    }

    /// Whose flow it is and what the record is used for.
    #[inline(always)]
    pub fn place(&self) -> Place {
        self.forward.place()
    }

    /// Lets the forward half know that the target has reset the flow. Where another CPU changes the phase just then,
    /// and once more, it does not know, and the flow is idle for its full time. Nobody answers a flow that is being opened.
    #[inline(always)]
    pub fn mark_reset(&self) {
        for _ in 0..2 {
            let place = self.place();
            if place.phase() == Phase::Opening
                || self.forward.change_place(place, Place(place.0 | Place::RESET))
            {
                break;
            }
        }
    }

    /// Changes the phase; false where another CPU changed the word first.
    #[inline(always)]
    pub fn change_phase(&self, from: Place, to: Phase) -> bool {
        self.forward.change_place(from, from.with_phase(to))
    }
}

/// Keeps where the client is. Called by packets of the forward half only, and `again` is set for one that has been
/// sent before.
///
/// The forward half has a mark of what the reverse half says, so that the latter is touched only when
/// the client has moved. One move in 32 768 leaves the mark as it was; then answers go astray until
/// the client sends something again.
///
/// Two CPUs may carry frames of a client that moves just now: the last to write wins in each word.
/// The worst result is an answer sent with the old tags to the new place.
#[inline(always)]
pub fn learn_client<M: FlowMemory + ?Sized>(
    memory: &M,
    forward: &FlowHalf,
    hop: NextHop,
    tags: Tags,
    again: bool,
) {
    let mark = mark(hop, tags);
    if forward.tag() == mark && !again {
        return;
    }
    let (place, packed) = tags.pack(hop);
    if let Some(reverse) = memory.half(forward.other()) {
        reverse.set_client(place, packed);
        forward.set_tag(mark);
    }
}

/// What the forward half has of where its client is; never 0, which a new flow says. Another bit of the next hop and
/// another of the tags never make up for each other: each has its multiplier.
#[inline(always)]
pub const fn mark(hop: NextHop, tags: Tags) -> u16 {
    const OF_TAGS: u64 = 0xd6e8_feb8_6659_fd93;
    let mixed = hop.word().wrapping_mul(GOLDEN_RATIO);
    let mixed = mixed.wrapping_add(tags.word().wrapping_mul(OF_TAGS));
    (mixed >> 48) as u16 | 1
}
