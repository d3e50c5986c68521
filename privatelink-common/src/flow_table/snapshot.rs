//! A flow as it is at some moment, copied out of its record.

use super::half::FlowHalf;
use super::note::Note;
use super::record::{Phase, Place, Record};
use super::{FlowMemory, life};
use crate::ethernet::Tags;
use crate::records::{FlowKey, NextHop};
use crate::state::State;

/// A flow. Its words are read one after the other while packets go on: each is right, though they need not be
/// of the same packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Number of its forward half.
    pub number: u32,
    /// Half-open, established or held.
    pub phase: Phase,
    /// State of its TCP connection.
    pub state: State,
    /// Number of its endpoint.
    pub endpoint: u32,
    /// Number of its target.
    pub target: u32,
    /// When it was opened: [`Tick::coarse`](crate::ticks::Tick::coarse).
    pub opened: u32,
    /// Where its client is.
    pub client: NextHop,
    /// The client's VLAN tags.
    pub client_tags: Tags,
    /// From client to target.
    pub forward: Half,
    /// From target to client.
    pub reverse: Half,
}

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// What its packets look like when they arrive.
    pub key: FlowKey,
    /// Packets, modulo 2^40.
    pub packets: u64,
    /// Bytes of the IP packets, modulo 2^48.
    pub bytes: u64,
    /// TCP flags seen, or-ed.
    pub flags: u8,
    /// When the last packet passed: the low bits of the tick.
    pub stamp: u32,
    /// The next sequence number expected, host order; of no meaning before the handshake is complete.
    pub next: u32,
    /// How long the handshake took on its side, the consumer's or the provider's, and how often it brought nothing new.
    pub note: Note,
}

impl Half {
    fn of(half: &FlowHalf, note: Note) -> Self {
        Self {
            key: half.key(),
            packets: half.packets(),
            bytes: half.bytes(),
            flags: half.flags(),
            stamp: half.stamp(),
            next: half.sequence()[0],
            note,
        }
    }
}

impl Flow {
    /// The flow in a record, if there is one.
    pub fn of(memory: &(impl FlowMemory + ?Sized), record: &Record<'_>) -> Option<Self> {
        let place = record.place();
        if matches!(place.phase(), Phase::Unused | Phase::Retired) {
            return None;
        }
        let notes = [record.number, record.forward.other()].map(|number| Note::of(memory, number));
        Some(Self::new(record, place, notes))
    }

    /// The flow of a record that has, or had, this place.
    pub(crate) fn new(record: &Record<'_>, place: Place, [forward, reverse]: [Note; 2]) -> Self {
        let (client, client_tags) = record.reverse.client();
        Self {
            number: record.number,
            phase: place.phase(),
            state: life::state(record),
            endpoint: place.endpoint(),
            target: place.target(),
            opened: place.opened(),
            client,
            client_tags,
            // Once the flow is over, the forward half has no key.
            forward: Half {
                key: FlowKey::from_words(record.reverse.client_key_words()),
                ..Half::of(record.forward, forward)
            },
            reverse: Half::of(record.reverse, reverse),
        }
    }
}
