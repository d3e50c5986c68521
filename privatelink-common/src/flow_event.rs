//! What the data path tells the daemon as it happens, ring buffer `FLOW_EVENTS`: flows that end, packets that are refused.
//!
//! Told only where [`Settings::events`](crate::records::Settings::events) asks for it. A full ring takes nothing: what did
//! not fit is counted ([`Lost`]), and the packet goes on as if it had been told. An event is some words, the low half of
//! the first its kind; they are written one by one, since a CPU has 512 bytes of stack for all of this.

use crate::drop_reason::DropReason;
use crate::flow_table::half::FlowHalf;
use crate::flow_table::note::Note;
use crate::flow_table::record::{Place, Record};
use crate::flow_table::{Flow, FlowMemory, PacketKey};
use crate::memory::Shared;
use crate::ticks::Tick;
use crate::wide::{Ends, WideAddress};

/// Bit of the settings, and kind: flows that end.
pub const ENDED: u32 = 1;
/// Bit of the settings, and kind: packets that are refused.
pub const REFUSED: u32 = 2;
/// Kind: flows of the wide table that end; told where [`ENDED`] are.
pub const ENDED_WIDE: u32 = 4;
/// Kind: packets with IPv6 addresses that are refused; told where [`REFUSED`] are.
pub const REFUSED_WIDE: u32 = 8;

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
    /// Words of the event of a flow of the wide table: the same, then the addresses beside the reverse half.
    pub const WIDE_WORDS: usize = Self::WORDS + Ends::WORDS;
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

    /// Writes the event of a record of the wide table, as [`Self::write`] does; `ends` are those beside the reverse half.
    #[inline(always)]
    pub fn write_wide<M: FlowMemory + ?Sized>(
        to: &[Shared; Self::WIDE_WORDS],
        memory: &M,
        record: &Record<'_>,
        ends: &Ends,
        place: Place,
        moments: [u32; 2],
    ) {
        let (Some(event), Some(addresses)) = (to.first_chunk(), to.last_chunk()) else {
            return;
        };
        Self::write(event, memory, record, place, moments);
        event[0].set(pair(ENDED_WIDE, record.number));
        let addresses: &[Shared; Ends::WORDS] = addresses;
        for (to, word) in addresses.iter().zip(ends.words()) {
            to.set(word.get());
        }
    }

    fn read(words: [u64; Self::WORDS], ends: Option<&Ends>) -> Self {
        let half = |from| FlowHalf::from_words(core::array::from_fn(|at| words[from + at]));
        let (forward, reverse) = (half(Self::FORWARD), half(Self::REVERSE));
        forward.set_stamp((words[2] >> 32) as u32);
        let record =
            Record { number: (words[0] >> 32) as u32, forward: &forward, reverse: &reverse };
        let notes = [words[Self::NOTES] as u32, (words[Self::NOTES] >> 32) as u32];
        let flow = Flow::new(&record, Place(words[1]), notes.map(Note::from_word), ends);
        Self { flow, at: Tick(words[2] as u32) }
    }
}

#[inline(always)]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// A packet that was refused: dropped, or answered with an error or a RST. Its key is written as words, and read as a
/// [`PacketKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<Key = [u64; 2]> {
    /// When.
    pub at: Tick,
    /// What it looked like when it arrived; ports 0 where none could be read.
    pub key: Key,
    /// What else is known of it.
    pub what: What,
}

impl Refused {
    /// Words of the event: kind and moment, key ([`FlowKey`](crate::records::FlowKey)), what.
    pub const WORDS: usize = 4;

    /// Writes the event.
    #[inline(always)]
    pub fn write(self, to: &[Shared; Self::WORDS]) {
        let Self { at, key: [addresses, ports], what } = self;
        let words = [pair(REFUSED, at.0), addresses, ports, what.0];
        for (to, word) in to.iter().zip(words) {
            to.set(word);
        }
    }
}

/// What a refused packet with IPv6 addresses looked like: source and destination, and the second word of a
/// [`FlowKey`](crate::records::FlowKey).
pub type WideKey = ([WideAddress; 2], u64);

impl Refused<WideKey> {
    /// Words of the event: kind and moment, source, destination, ports, what.
    pub const WIDE_WORDS: usize = 7;

    /// Writes the event.
    #[inline(always)]
    pub fn write_wide(self, to: &[Shared; Self::WIDE_WORDS]) {
        let Self { at, key: ([source, destination], ports), what } = self;
        let ([a, b], [c, d]) = (source.0, destination.0);
        for (to, word) in to.iter().zip([pair(REFUSED_WIDE, at.0), a, b, c, d, ports, what.0]) {
            to.set(word);
        }
    }
}

impl Refused<PacketKey> {
    const fn read(first: u64, key: PacketKey, what: u64) -> Self {
        Self { at: Tick((first >> 32) as u32), key, what: What(what) }
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
    Refused(Refused<PacketKey>),
}

impl FlowEvent {
    /// The event of these bytes; `None` where they are none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks() else {
            return None;
        };
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_ne_bytes(*word));
        let event = match (word(0) as u32, words.len()) {
            (ENDED, Ended::WORDS) => Self::Ended(Ended::read(core::array::from_fn(word), None)),
            (ENDED_WIDE, Ended::WIDE_WORDS) => {
                let ends = core::array::from_fn(|at| word(Ended::WORDS + at));
                Self::Ended(Ended::read(core::array::from_fn(word), Some(&Ends::from_words(ends))))
            }
            (REFUSED, Refused::WORDS) => {
                let key = PacketKey::narrow([word(1), word(2)]);
                Self::Refused(Refused::read(word(0), key, word(3)))
            }
            (REFUSED_WIDE, Refused::WIDE_WORDS) => {
                let addresses = [[word(1), word(2)], [word(3), word(4)]].map(WideAddress);
                let key = PacketKey::wide(addresses, word(5));
                Self::Refused(Refused::read(word(0), key, word(6)))
            }
            _ => return None,
        };
        Some(event)
    }
}
