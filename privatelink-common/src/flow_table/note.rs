//! What is noted of a flow beside its halves: how long its handshake took, and what was sent again.
//!
//! One word for each half. During the handshake it is a moment, in microseconds modulo 2^31:
//!
//! ```text
//! SYN      the reverse half's note is when it passed
//! SYN-ACK  the reverse half's note becomes the time since: the provider's side. The forward half's is when it passed
//! ACK      the forward half's note becomes the time since: the consumer's side
//! ```
//!
//! After that the time stands in it for good, and packets that were sent again are counted beside it.

use super::FlowMemory;
use super::half::Direction;
use crate::memory::Shared32;

/// The note is a time that was taken, not a moment.
const TAKEN: u32 = 1 << 31;
/// Bits of the count of packets sent again; above them the time.
const AGAIN: u32 = 15;
const MOST_AGAIN: u32 = (1 << AGAIN) - 1;
/// Bits of a time's mantissa; above it the exponent, five bits.
const MANTISSA: u32 = 11;

/// The notes of two halves that lie beside each other: elements of the kernel's arrays are of eight bytes at least.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct Notes([Shared32; 2]);

impl Notes {
    /// Notes that a table of so many halves has.
    pub const fn count(halves: u32) -> u32 {
        halves / 2
    }
}

/// The note of the half with this number.
#[inline(always)]
fn word<M: FlowMemory + ?Sized>(memory: &M, number: u32) -> Option<&Shared32> {
    let Notes([even, odd]) = memory.notes(number / 2)?;
    Some(if number.is_multiple_of(2) { even } else { odd })
}

/// A half's note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note(u32);

impl Note {
    /// Nothing is known.
    pub const NONE: Self = Self(0);

    /// The note of the half with this number.
    #[inline(always)]
    pub fn of<M: FlowMemory + ?Sized>(memory: &M, number: u32) -> Self {
        word(memory, number).map_or(Self::NONE, |word| Self(word.get()))
    }

    /// The note of a word.
    pub(crate) const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// The word.
    #[inline(always)]
    pub(crate) const fn word(self) -> u32 {
        self.0
    }

    /// A moment; never [`Self::NONE`].
    #[inline(always)]
    const fn at(microseconds: u32) -> Self {
        match microseconds & !TAKEN {
            0 => Self(1),
            moment => Self(moment),
        }
    }

    #[inline(always)]
    const fn is_taken(self) -> bool {
        self.0 & TAKEN != 0
    }

    /// The time from the moment noted until now. One that was taken stays, and so does nothing.
    #[inline(always)]
    const fn taken(self, now: u32) -> Self {
        if self.is_taken() || self.0 == Self::NONE.0 {
            return self;
        }
        let elapsed = now.wrapping_sub(self.0) & !TAKEN;
        let bits = u32::BITS - elapsed.leading_zeros();
        let exponent = bits.saturating_sub(MANTISSA);
        Self(TAKEN | (exponent << MANTISSA | elapsed >> exponent) << AGAIN)
    }

    /// With one packet more that brings nothing new.
    #[inline(always)]
    const fn counted(self) -> Self {
        match self.is_taken() && self.0 & MOST_AGAIN != MOST_AGAIN {
            true => Self(self.0 + 1),
            false => self,
        }
    }

    /// Microseconds that the handshake took on this half's side, within a thousandth; `None` before it is complete.
    pub const fn time(self) -> Option<u32> {
        if !self.is_taken() {
            return None;
        }
        let time = (self.0 & !TAKEN) >> AGAIN;
        Some((time & ((1 << MANTISSA) - 1)) << (time >> MANTISSA))
    }

    /// The same without its time, or its moment: what is left to compare with another clock's.
    #[must_use]
    pub const fn untimed(self) -> Self {
        match self.is_taken() {
            true => Self(self.0 & (TAKEN | MOST_AGAIN)),
            false if self.0 == Self::NONE.0 => Self::NONE,
            false => Self::at(0),
        }
    }

    /// Packets of this half that brought nothing new: sent again, or overtaken on the way. At most 32 767 are counted.
    pub const fn again(self) -> u32 {
        if self.is_taken() { self.0 & MOST_AGAIN } else { 0 }
    }
}

/// What a packet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Told {
    /// Nothing to be noted.
    Nothing = 0,
    /// It is the client's SYN.
    Syn = 1,
    /// It is the target's SYN-ACK.
    SynAck = 2,
    /// It is the client's ACK that completes the handshake.
    Ack = 3,
    /// It brings nothing new.
    Again = 4,
}

impl Told {
    /// The one with this number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Nothing,
            1 => Self::Syn,
            2 => Self::SynAck,
            3 => Self::Ack,
            _ => Self::Again,
        }
    }
}

/// Notes what a packet of the half with this number tells, at a moment in microseconds. A step of the handshake that is sent
/// again is timed from the last time, until it is answered.
///
/// The notes of a flow are written by packets of either direction, one after the other as a handshake goes; counts by
/// those of one. Two CPUs that carry one flow's handshake at once write a time that is too short or too long; two that
/// carry one direction lose a count.
#[inline(always)]
pub fn note<M: FlowMemory + ?Sized>(memory: &M, number: u32, told: Told, now: u32) {
    let (Some(half), Some(own)) = (memory.half(number), word(memory, number)) else {
        return;
    };
    let before = Note(own.get());
    if told == Told::Again {
        own.set(before.counted().0);
        return;
    }
    if told != Told::Syn {
        own.set(before.taken(now).0);
    }
    if told == Told::Ack {
        return;
    }
    let other = match half.direction() {
        Direction::Forward => half.other(),
        Direction::Reverse => memory.owner(number),
    };
    if let Some(beside) = word(memory, other)
        && !Note(beside.get()).is_taken()
    {
        beside.set(Note::at(now).0);
    }
}

/// Forgets what is noted of both halves of a flow that begins.
#[inline(always)]
pub fn begin<M: FlowMemory + ?Sized>(memory: &M, forward: u32, reverse: u32) {
    for number in [forward, reverse] {
        if let Some(note) = word(memory, number) {
            note.set(Note::NONE.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_right_within_a_thousandth() {
        for (from, elapsed) in [
            (1, 0),
            (1, 1),
            (7, 2047),
            (9, 2048),
            (100, 123_457),
            (0x7fff_ffff, 3_000_000),
            (0x7fff_fff0, 350_000_000),
            (5, (1 << 31) - 1),
        ] {
            let note = Note::at(from).taken(from.wrapping_add(elapsed));
            let time = note.time().expect("it was taken");
            assert!(time <= elapsed && elapsed - time <= elapsed / 1000, "{elapsed}: {time}");
            assert_eq!(note.again(), 0);
        }
        assert_eq!(Note::at(1234).time(), None);
        assert_eq!(Note::NONE.taken(7), Note::NONE);
        assert_eq!(Note::at(0).taken(5).taken(900).time(), Some(4), "once");
    }

    #[test]
    fn a_count_stops_at_its_most() {
        let most = (0..40_000).fold(Note::at(1).taken(78), |note, _| note.counted());
        assert_eq!((most.time(), most.again()), (Some(77), 32_767));
        assert_eq!(Note::at(5).counted(), Note::at(5), "before its time");
        assert_eq!(Note::at(u32::MAX).again(), 0);
    }
}
