//! What the data path tells the daemon as it happens, ring buffer `FLOW_EVENTS`: flows that end, packets that are refused.
//!
//! Told only where [`Settings::events`](crate::records::Settings::events) asks for it. A full ring takes nothing: what did
//! not fit is counted ([`Lost`]), and the packet goes on as if it had been told. An event is some words, the low half of
//! the first its kind; they are written one by one, since a CPU has 512 bytes of stack for all of this.

use crate::drop_reason::DropReason;
use crate::flow_table::half::FlowHalf;
use crate::flow_table::note::Note;
use crate::flow_table::record::{Place, Record};
use crate::flow_table::{Flow, FlowMemory};
use crate::memory::Shared;
use crate::ticks::Tick;

/// Bit of the settings, and kind: flows that end.
pub const ENDED: u32 = 1;
/// Bit of the settings, and kind: packets that are refused.
pub const REFUSED: u32 = 2;

/// Bytes of the ring: some 50 000 flows that end between two readings.
pub const RING_BYTES: u32 = 1 << 23;

/// Events of each kind that a full ring did not take, on one CPU, per-CPU array `EVENTS_LOST` of one element.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Flows that ended.
    pub ended: u64,
    /// Packets that were refused.
    pub refused: u64,
}

/// A flow that has ended, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The flow; its phase is that in which it ended.
    pub flow: Flow,
    /// When it ended.
    pub at: Tick,
}

impl Ended {
    /// Words of the event: kind and number, place, moment and the client's last, the halves, the notes.
    pub const WORDS: usize = 4 + 2 * FlowHalf::WORDS;
    const FORWARD: usize = 3;
    const REVERSE: usize = Self::FORWARD + FlowHalf::WORDS;
    const NOTES: usize = Self::REVERSE + FlowHalf::WORDS;

    /// Writes the event of a record before anything of it is forgotten. `place` is what it had while it lived, `last` the
    /// stamp of the client's last packet.
    #[inline(always)]
    pub fn write<M: FlowMemory + ?Sized>(
        to: &[Shared; Self::WORDS],
        memory: &M,
        record: &Record<'_>,
        place: Place,
        [last, at]: [u32; 2],
    ) {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        to[0].set(pair(ENDED, record.number));
        to[1].set(place.0);
        to[2].set(pair(at, last));
        for (at, word) in record.forward.words().into_iter().enumerate() {
            to[Self::FORWARD + at].set(word.get());
        }
        for (at, word) in record.reverse.words().into_iter().enumerate() {
            to[Self::REVERSE + at].set(word.get());
        }
        let note = |number| Note::of(memory, number).word();
        to[Self::NOTES].set(pair(note(record.number), note(record.forward.other())));
    }

    fn read(words: [u64; Self::WORDS]) -> Self {
        let half = |from| FlowHalf::from_words(core::array::from_fn(|at| words[from + at]));
        let (forward, reverse) = (half(Self::FORWARD), half(Self::REVERSE));
        forward.set_stamp((words[2] >> 32) as u32);
        let record =
            Record { number: (words[0] >> 32) as u32, forward: &forward, reverse: &reverse };
        let notes = [words[Self::NOTES] as u32, (words[Self::NOTES] >> 32) as u32];
        let flow = Flow::new(&record, Place(words[1]), notes.map(Note::from_word));
        Self { flow, at: Tick(words[2] as u32) }
    }
}

/// A packet that was refused: dropped, or answered with an error or a RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: Tick,
    /// What it looked like when it arrived, [`FlowKey`](crate::records::FlowKey) as words; ports 0 where none could be read.
    pub key: [u64; 2],
    /// What else is known of it.
    pub what: What,
}

impl Refused {
    /// Words of the event: kind and moment, key, what.
    pub const WORDS: usize = 4;

    /// Writes the event.
    #[inline(always)]
    pub fn write(self, to: &[Shared; Self::WORDS]) {
        let Self { at, key: [addresses, ports], what } = self;
        let words = [u64::from(REFUSED) | u64::from(at.0) << 32, addresses, ports, what.0];
        for (to, word) in to.iter().zip(words) {
            to.set(word);
        }
    }

    const fn read([first, addresses, ports, what]: [u64; Self::WORDS]) -> Self {
        Self { at: Tick((first >> 32) as u32), key: [addresses, ports], what: What(what) }
    }
}

/// What is known of a refused packet besides its key, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What(pub u64);

impl What {
    /// Of a packet of this many bytes with these TCP flags that arrived in a slot.
    #[inline(always)]
    pub const fn new(slot: u32, reason: DropReason, length: u16, flags: u8) -> Self {
        let why = (reason as u64 & 0xff) << 16 | (flags as u64) << 24;
        Self(slot as u64 & 0xffff | why | (length as u64) << 32)
    }

    /// Slot of the interface.
    pub const fn slot(self) -> u32 {
        self.0 as u16 as u32
    }

    /// Why it was refused.
    pub const fn reason(self) -> Option<DropReason> {
        DropReason::from_number((self.0 >> 16) as u8 as u32)
    }

    /// TCP flags; 0 of other protocols.
    pub const fn flags(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// Bytes of the IP packet.
    pub const fn length(self) -> u16 {
        (self.0 >> 32) as u16
    }
}

/// An element of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// A flow has ended.
    Ended(Ended),
    /// A packet was refused.
    Refused(Refused),
}

impl FlowEvent {
    /// The event of these bytes; `None` where they are none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks() else {
            return None;
        };
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_ne_bytes(*word));
        match (word(0) as u32, words.len()) {
            (ENDED, Ended::WORDS) => Some(Self::Ended(Ended::read(core::array::from_fn(word)))),
            (REFUSED, Refused::WORDS) => {
                Some(Self::Refused(Refused::read(core::array::from_fn(word))))
            }
            _ => None,
        }
    }
}
