//! What the daemon has the data path end: it takes no step itself, or it might be killed between two.
//!
//! A flow ends in several words, and the phase is the first: for everybody else the flow is over then, and what is not
//! given back never is. A program in the kernel is not killed. So the daemon finds the flows and writes them into a
//! frame, and the program `end_flows`, run on that frame, ends them.

use super::FlowMemory;
use super::life::Pressure;
use super::record::Place;
use crate::ticks::Tick;
use crate::wide::WIDE;

/// Most flows of one frame. A CPU's packets wait while it ends them: some 30 µs.
pub const MOST: usize = 200;
/// Bytes of an ending, and of what stands before the first: the moment and the count, 32 bits each, and as many zeros.
pub const BYTES: usize = 16;

// Linux gives the frame of a test run one page, less 256 bytes before it and 320 behind.
const _: () = assert!((1 + MOST) * BYTES <= 4096 - 256 - 320);

/// One flow, and why it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    number: u32,
    pressure: Pressure,
    /// Of a flow that is to end whether it is due or not.
    place: Option<Place>,
}

impl Ending {
    /// The flow with this number, which tells the table ([`WIDE`]), if it is due.
    pub const fn if_due(number: u32, pressure: Pressure) -> Self {
        Self { number, pressure, place: None }
    }

    /// The flow with this number if it is still the one that had this place.
    pub const fn cut(number: u32, place: Place) -> Self {
        Self { number, pressure: Pressure::None, place: Some(place) }
    }

    /// As it stands in the frame. No flow has a place of 0.
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        let place = match self.place {
            Some(place) => place.0,
            None => 0,
        };
        [self.number, self.pressure as u32, place as u32, (place >> 32) as u32]
    }

    /// What stands in the frame.
    #[inline(always)]
    pub const fn from_words([number, pressure, low, high]: [u32; 4]) -> Self {
        let place = match low as u64 | (high as u64) << 32 {
            0 => None,
            place => Some(Place(place)),
        };
        Self { number, pressure: Pressure::from_number(pressure), place }
    }

    /// The same with the number that the flow has in the wide table, if it is there.
    #[inline(always)]
    pub const fn in_wide(self) -> Option<Self> {
        match self.number & WIDE {
            0 => None,
            _ => Some(Self { number: self.number & !WIDE, ..self }),
        }
    }

    /// Ends the flow; whether it did.
    #[inline(always)]
    pub fn carry_out<M: FlowMemory + ?Sized>(self, memory: &M, now: Tick) -> bool {
        match self.place {
            None => memory.sweep(self.number, self.pressure, now),
            Some(place) => memory.cut(self.number, place, now),
        }
    }
}

/// The frame that says: these, at this moment.
#[cfg(feature = "std")]
pub fn frame(endings: &[Ending], now: Tick) -> Vec<u8> {
    let head = [now.0, endings.len() as u32, 0, 0];
    let words = core::iter::once(head).chain(endings.iter().map(|ending| ending.words()));
    words.flatten().flat_map(u32::to_ne_bytes).collect()
}
