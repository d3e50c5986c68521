//! One direction of a flow, in one cache line.
//!
//! What a packet reads, checks and counts is all in its direction's half, so the two directions share no
//! line between CPUs, and where one CPU carries each, it needs no atomic operation. All words are [`Shared`]; the methods say who
//! writes them.

use super::record::{NewFlow, Place};
use crate::ethernet::Tags;
use crate::memory::{Shared, Volume};
use crate::records::{FlowKey, NextHop};
use crate::ticks::{STAMP_BITS, Tick};

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// From client to target.
    Forward = 0,
    /// From target to client.
    Reverse = 1,
}

impl Direction {
    /// The opposite direction.
    #[inline(always)]
    pub const fn other(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

/// A line: one direction of a flow.
#[repr(C, align(64))]
#[derive(Clone, Debug, Default)]
pub struct FlowHalf {
    /// Source and destination address of the packets; [`NO_ADDRESSES`] while the half has no key. Written last when
    /// it gets one, and by whoever ends its flow: never by a packet on its way.
    addresses: Shared,
    /// Their ports, vpc and protocol; in the last byte the TCP flags seen, [`REVERSE`] and [`STRAY`].
    ports: Shared,
    /// Source and destination address to write.
    new_addresses: Shared,
    /// Source and destination port to write; in the upper half the number of the other half, or, reverse, the client's
    /// VLAN tags while it is known where the client is.
    new_ports: Shared,
    /// Forward: [`Place`]. Reverse: where the client is.
    place: Shared,
    /// Bytes in 48 bits; in the other 16, forward, a mark of where the client is, and reverse, its vpc.
    volume: Shared,
    /// The next sequence number expected of this direction, and the last it has acknowledged.
    sequence: Shared,
    /// Packets in 40 bits, the tick of the last one in 24.
    activity: Shared,
}

const _: () = assert!(size_of::<FlowHalf>() == 64);

/// The addresses of a half that has no key: no packet that is anybody's goes from 0.0.0.0 to 0.0.0.0.
pub(super) const NO_ADDRESSES: u64 = 0;

const PROTOCOL: u32 = 48;
const FLAGS: u32 = 56;
const KEY: u64 = (1 << FLAGS) - 1;
/// The half is its flow's reverse half. A bit of the flags' byte that no flag needs that is followed.
const REVERSE: u64 = 0x80 << FLAGS;
/// The half's key is an entry of the index.
const STRAY: u64 = 0x40 << FLAGS;
const KIND: u64 = REVERSE | STRAY;
const TAG: u32 = 48;
const BYTES: u64 = (1 << TAG) - 1;
const PACKETS: u64 = (1 << (u64::BITS - STAMP_BITS)) - 1;

impl FlowHalf {
    /// How many words it has.
    pub const WORDS: usize = size_of::<Self>() / size_of::<Shared>();

    /// Its words, in their order in memory.
    #[inline(always)]
    pub(crate) const fn words(&self) -> [&Shared; Self::WORDS] {
        let Self { addresses, ports, new_addresses, new_ports, .. } = self;
        let Self { place, volume, sequence, activity, .. } = self;
        [addresses, ports, new_addresses, new_ports, place, volume, sequence, activity]
    }

    /// A half of these words.
    pub(crate) fn from_words(words: [u64; Self::WORDS]) -> Self {
        let half = Self::default();
        half.words().into_iter().zip(words).for_each(|(to, word)| to.set(word));
        half
    }

    /// Fills the half of what the target will answer; `other` is the number of the forward half. It has no key yet.
    #[inline(always)]
    pub fn fill_reverse(&self, flow: &NewFlow, other: u32, now: Tick) {
        self.fill(flow.reverse, flow.forward, REVERSE, now);
        let [_, client] = flow.forward;
        self.set_tag((client >> 32) as u16);
        self.forget_client(other);
    }

    /// Fills the half of what the client sends; `other` is the number of the reverse half. It has no key yet.
    #[inline(always)]
    pub fn fill_forward(&self, flow: &NewFlow, other: u32, now: Tick) {
        self.place.set(Place::opening(flow, now).0);
        self.fill(flow.forward, flow.reverse, 0, now);
        self.set_detail(other);
    }

    #[inline(always)]
    fn fill(&self, key: [u64; 2], other: [u64; 2], kind: u64, now: Tick) {
        let ([_, ports], [other_addresses, other_ports]) = (key, other);
        self.new_addresses.set(other_addresses.rotate_left(32));
        self.new_ports.set(u64::from((other_ports as u32).rotate_left(16)));
        self.volume.set(0);
        self.sequence.set(0);
        self.activity.set(activity(0, now.stamp()));
        self.ports.set(ports | kind);
    }

    /// Whether it was never filled.
    #[inline(always)]
    pub(super) fn is_new(&self) -> bool {
        self.ports.get() == 0
    }

    /// Reverse: what is counted and followed begins anew, for a flow with the same keys; `other` is the number of its forward
    /// half. Nobody but packets of the direction writes these words otherwise.
    #[inline(always)]
    pub(super) fn renew(&self, other: u32, now: Tick) {
        self.forget_client(other);
        self.set_flags(0);
        self.volume.set(self.volume.get() & !BYTES);
        self.sequence.set(0);
        self.activity.set(activity(0, now.stamp()));
    }

    /// Gives the filled half its key.
    #[inline(always)]
    pub(super) fn set_key(&self, [addresses, _]: [u64; 2]) {
        self.addresses.set(addresses);
    }

    /// Gives the filled half its key, which is to be an entry of the index.
    #[inline(always)]
    pub(super) fn set_stray_key(&self, [addresses, _]: [u64; 2]) {
        self.ports.set(self.ports.get() | STRAY);
        self.addresses.set(addresses);
    }

    /// Takes the key away: no packet is of this half any more.
    #[inline(always)]
    pub(super) fn clear_key(&self) {
        self.addresses.set(NO_ADDRESSES);
    }

    /// Whether its key is an entry of the index.
    #[inline(always)]
    pub fn is_stray(&self) -> bool {
        self.ports.get() & STRAY != 0
    }

    /// Which direction of its flow it is.
    #[inline(always)]
    pub fn direction(&self) -> Direction {
        if self.ports.get() & REVERSE == 0 { Direction::Forward } else { Direction::Reverse }
    }

    /// Whether packets with this key are of this direction.
    #[inline(always)]
    pub fn is(&self, [addresses, ports]: [u64; 2]) -> bool {
        self.addresses.get() == addresses && self.ports.get() & KEY == ports
    }

    /// The key of the direction's packets, as words.
    #[inline(always)]
    pub fn key_words(&self) -> [u64; 2] {
        [self.addresses.get(), self.ports.get() & KEY]
    }

    /// IP protocol number of its packets.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        (self.ports.get() >> PROTOCOL) as u8
    }

    /// The key of the direction's packets.
    pub fn key(&self) -> FlowKey {
        FlowKey::from_words(self.key_words())
    }

    /// Reverse: the key of the client's packets.
    #[inline(always)]
    pub fn client_key_words(&self) -> [u64; 2] {
        let ports = u64::from(self.new_ports().rotate_left(16));
        let rest = u64::from(self.tag()) << 32 | u64::from(self.protocol()) << PROTOCOL;
        [self.new_addresses.get().rotate_left(32), rest | ports]
    }

    /// Source and destination address to write, as two words in network order.
    #[inline(always)]
    pub fn new_addresses(&self) -> [u32; 2] {
        let word = self.new_addresses.get();
        [word as u32, (word >> 32) as u32]
    }

    /// Source and destination port to write, as they stand side by side in the header.
    #[inline(always)]
    pub fn new_ports(&self) -> u32 {
        self.new_ports.get() as u32
    }

    #[inline(always)]
    fn detail(&self) -> u32 {
        (self.new_ports.get() >> 32) as u32
    }

    #[inline(always)]
    fn set_detail(&self, detail: u32) {
        self.new_ports.set(u64::from(self.new_ports()) | u64::from(detail) << 32);
    }

    /// Forward, or reverse with the client unknown: the number of the other half.
    #[inline(always)]
    pub fn other(&self) -> u32 {
        self.detail()
    }

    /// Forward: whose flow it is, and what it is used for.
    #[inline(always)]
    pub fn place(&self) -> Place {
        Place(self.place.get())
    }

    /// Forward: replaces the place; false where another CPU was faster.
    #[inline(always)]
    pub(super) fn change_place(&self, from: Place, to: Place) -> bool {
        self.place.exchange(from.0, to.0)
    }

    /// Reverse: where the client is, and its VLAN tags; unknown once the flow is over.
    #[inline(always)]
    pub fn client(&self) -> (NextHop, Tags) {
        Tags::unpack(self.place.get(), self.detail())
    }

    /// Reverse: keeps where the client is.
    #[inline(always)]
    pub(super) fn set_client(&self, place: u64, tags: u32) {
        self.set_detail(tags);
        self.place.set(place);
    }

    /// Reverse: the client is unknown, not yet or, since the flow is over, no longer. The direction's packets read no
    /// other line to know. `other` is the number of the forward half.
    #[inline(always)]
    pub fn forget_client(&self, other: u32) {
        self.place.set(NextHop::UNKNOWN.word());
        self.set_detail(other);
    }

    /// Reverse: number of the client's vpc.
    #[inline(always)]
    pub fn client_vpc(&self) -> u16 {
        self.tag()
    }

    #[inline(always)]
    pub(super) fn tag(&self) -> u16 {
        (self.volume.get() >> TAG) as u16
    }

    #[inline(always)]
    pub(super) fn set_tag(&self, tag: u16) {
        self.volume.set(self.volume.get() & BYTES | u64::from(tag) << TAG);
    }

    /// TCP flags seen in this direction, or-ed.
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        ((self.ports.get() & !KIND) >> FLAGS) as u8
    }

    /// Replaces the flags seen. Written by packets of this direction only.
    #[inline(always)]
    pub fn set_flags(&self, flags: u8) {
        self.ports.set(self.ports.get() & (KEY | KIND) | u64::from(flags) << FLAGS);
    }

    /// The next sequence number expected, and the last acknowledgement, in host order.
    #[inline(always)]
    pub fn sequence(&self) -> [u32; 2] {
        let word = self.sequence.get();
        [word as u32, (word >> 32) as u32]
    }

    /// Replaces both. Written by packets of this direction only.
    #[inline(always)]
    pub fn set_sequence(&self, [next, acknowledged]: [u32; 2]) {
        self.sequence.set(u64::from(next) | u64::from(acknowledged) << 32);
    }

    /// Counts packets. Written by packets of this direction only: two CPUs that carry one direction at
    /// once (a flow moving between receive queues) may lose a count, never more. Where that is
    /// the rule (`concurrent`), none is lost.
    #[inline(always)]
    pub fn count(&self, volume: Volume, stamp: u32, concurrent: bool) {
        if concurrent {
            add_below(&self.volume, BYTES, volume.bytes);
            let added = add_below(&self.activity, PACKETS, volume.packets);
            let stamped = activity(added, stamp);
            if stamped != added {
                // Who comes in between stamps it too; the last one succeeds.
                self.activity.exchange(added, stamped);
            }
        } else {
            let bytes = self.volume.get();
            self.volume.set(bytes & !BYTES | bytes.wrapping_add(volume.bytes) & BYTES);
            let packets = self.activity.get().wrapping_add(volume.packets);
            self.activity.set(activity(packets, stamp));
        }
    }

    /// Packets of this direction, modulo 2^40.
    pub fn packets(&self) -> u64 {
        self.activity.get() & PACKETS
    }

    /// Bytes of its IP packets, modulo 2^48 (281 TB).
    pub fn bytes(&self) -> u64 {
        self.volume.get() & BYTES
    }

    /// The tick of its last packet, low bits.
    #[inline(always)]
    pub fn stamp(&self) -> u32 {
        (self.activity.get() >> (u64::BITS - STAMP_BITS)) as u32
    }

    /// Replaces the stamp.
    #[inline(always)]
    pub fn set_stamp(&self, stamp: u32) {
        self.activity.set(activity(self.activity.get(), stamp));
    }
}

/// The word of the packets that are counted, modulo 2^40, and of the last one's tick.
#[inline(always)]
const fn activity(packets: u64, stamp: u32) -> u64 {
    packets & PACKETS | (stamp as u64) << (u64::BITS - STAMP_BITS)
}

/// Adds to the bits of a word that `below` has; what they overflow by is taken from the others again. The word as it is then.
#[inline(always)]
fn add_below(word: &Shared, below: u64, operand: u64) -> u64 {
    let before = word.add(operand);
    let after = before.wrapping_add(operand);
    if (before ^ after) & !below == 0 {
        return after;
    }
    let carry = (below + 1).wrapping_neg();
    word.add(carry).wrapping_add(carry)
}
