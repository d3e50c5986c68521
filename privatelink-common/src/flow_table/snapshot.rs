//! A flow as it is at some moment, copied out of its record.

use super::half::FlowHalf;
use super::note::Note;
use super::record::{Phase, Place, Record};
use super::{FlowMemory, PacketKey, life};
use crate::ethernet::Tags;
use crate::records::NextHop;
use crate::state::State;
use crate::wide::{Ends, WIDE};

/// A flow. Its words are read one after the other while packets go on: each is right, though they need not be
/// of the same packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Number of its forward half, with [`WIDE`] if that is in the wide table.
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
    pub key: PacketKey,
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
    fn of(half: &FlowHalf, key: PacketKey, note: Note) -> Self {
        Self {
            key,
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
        let reverse = record.forward.other();
        let notes = [record.number, reverse].map(|number| Note::of(memory, number));
        Some(Self::new(record, place, notes, memory.ends(reverse)))
    }

    /// The flow of a record that has, or had, this place. `ends` are those beside the reverse half, in the wide table.
    pub(crate) fn new(
        record: &Record<'_>,
        place: Place,
        [forward, reverse]: [Note; 2],
        ends: Option<&Ends>,
    ) -> Self {
        let (client, client_tags) = record.reverse.client();
        let [client_key, target_key] = keys(record.reverse, ends);
        Self {
            number: record.number | if ends.is_some() { WIDE } else { 0 },
            phase: place.phase(),
            state: life::state(record),
            endpoint: place.endpoint(),
            target: place.target(),
            opened: place.opened(),
            client,
            client_tags,
            forward: Half::of(record.forward, client_key, forward),
            reverse: Half::of(record.reverse, target_key, reverse),
        }
    }
}

/// The keys of the client's and of the target's packets, both from the reverse half: once the flow is over, the forward half
/// has none.
fn keys(reverse: &FlowHalf, ends: Option<&Ends>) -> [PacketKey; 2] {
    let [client, target] = [reverse.client_key_words(), reverse.key_words()];
    let Some(ends) = ends else {
        return [client, target].map(PacketKey::narrow);
    };
    let [endpoint, sender] = ends.leaving();
    [PacketKey::wide([sender, endpoint], client[1]), PacketKey::wide(ends.arriving(), target[1])]
}
