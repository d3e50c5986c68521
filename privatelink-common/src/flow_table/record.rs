//! A flow's record: one cache line for each direction.
//!
//! A line holds all that a packet of its direction needs, and is written by packets of its direction
//! only, so established flows share no line between CPUs and need no atomic operation. All words are
//! [`Shared`]; the methods say who writes them.

use crate::ethernet::Tags;
use crate::memory::Shared;
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

/// What a record is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Never used.
    Unused = 0,
    /// A flow that a CPU is putting into the index just now; only that CPU may end it.
    Opening = 5,
    /// A flow whose client has not yet confirmed the handshake.
    HalfOpen = 1,
    /// A flow that is, or was, established.
    Established = 2,
    /// The flow is over; its NAT lease is kept from being given away.
    Held = 3,
    /// Out of the index; to be used anew once nobody can still be looking at it.
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

/// Two lines: a flow.
#[repr(C, align(128))]
#[derive(Clone, Debug, Default)]
pub struct Record {
    halves: [FlowHalf; 2],
}

/// One direction of a flow.
#[repr(C, align(64))]
#[derive(Clone, Debug, Default)]
pub struct FlowHalf {
    /// Source and destination address of the packets.
    addresses: Shared,
    /// Their ports, vpc and protocol; in the last byte the TCP flags seen.
    ports: Shared,
    /// Source and destination address to write.
    new_addresses: Shared,
    /// Source and destination port to write; in the upper half: forward, when the flow was opened;
    /// reverse, the client's VLAN tags.
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

const _: () = assert!(size_of::<FlowHalf>() == 64 && size_of::<Record>() == 128);

const FLAGS: u32 = 56;
const KEY: u64 = (1 << FLAGS) - 1;
const TAG: u32 = 48;
const BYTES: u64 = (1 << TAG) - 1;
const PACKETS: u64 = (1 << (u64::BITS - STAMP_BITS)) - 1;

/// The forward line's word that tells whose flow it is and what the record is used for. Changed only by
/// compare-and-exchange, so of all who see a flow expire one ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    const ENDPOINT: u32 = 16;
    const PHASE: u32 = 32;
    const GENERATION: u32 = 40;

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

    /// What the record is used for.
    #[inline(always)]
    pub const fn phase(self) -> Phase {
        match (self.0 >> Self::PHASE) as u8 {
            1 => Phase::HalfOpen,
            2 => Phase::Established,
            3 => Phase::Held,
            4 => Phase::Retired,
            5 => Phase::Opening,
            _ => Phase::Unused,
        }
    }

    #[inline(always)]
    const fn with_phase(self, phase: Phase) -> Self {
        Self(self.0 & !(0xff << Self::PHASE) | (phase as u64) << Self::PHASE)
    }

    /// The word of the record's next flow. The generation in it makes sure that nobody who has seen the
    /// last flow expire ends this one.
    #[inline(always)]
    const fn next(self, endpoint: u32, target: u32) -> Self {
        let generation = (self.0 >> Self::GENERATION).wrapping_add(1) << Self::GENERATION;
        let owner = (target as u64 & 0xffff) | (endpoint as u64 & 0xffff) << Self::ENDPOINT;
        Self(generation | (Phase::Opening as u64) << Self::PHASE | owner)
    }
}

/// What a record is filled with: a new flow.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// What the client sends.
    pub forward: FlowKey,
    /// What the target answers, to the lease.
    pub reverse: FlowKey,
    /// Number of the endpoint.
    pub endpoint: u32,
    /// Number of the target.
    pub target: u32,
}

impl Direction {
    /// The direction with this number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Forward,
            _ => Self::Reverse,
        }
    }

    /// The opposite direction.
    #[inline(always)]
    pub const fn other(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

impl Record {
    /// The line of a direction.
    #[inline(always)]
    pub const fn half(&self, direction: Direction) -> &FlowHalf {
        &self.halves[direction as usize]
    }

    /// The line from client to target.
    #[inline(always)]
    pub const fn forward(&self) -> &FlowHalf {
        self.half(Direction::Forward)
    }

    /// The line from target to client.
    #[inline(always)]
    pub const fn reverse(&self) -> &FlowHalf {
        self.half(Direction::Reverse)
    }

    /// Whose flow it is and what the record is used for.
    #[inline(always)]
    pub fn place(&self) -> Place {
        Place(self.forward().place.get())
    }

    /// Changes the phase; false where another CPU changed the word first.
    #[inline(always)]
    pub fn change_phase(&self, from: Place, to: Phase) -> bool {
        self.forward().place.exchange(from.0, from.with_phase(to).0)
    }

    /// Fills the record of which nobody else knows with a flow to be opened.
    #[inline(always)]
    pub fn fill(&self, flow: &NewFlow, now: Tick) {
        let (forward, reverse) = (self.forward(), self.reverse());
        forward.fill(&flow.forward, &flow.reverse, now);
        forward.set_detail(now.0);
        reverse.fill(&flow.reverse, &flow.forward, now);
        reverse.set_tag(flow.forward.vpc);
        reverse.place.set(NextHop::UNKNOWN.word());
        forward.place.set(self.place().next(flow.endpoint, flow.target).0);
    }

    /// When the flow was opened.
    #[inline(always)]
    pub fn opened(&self) -> u32 {
        self.forward().detail()
    }

    /// Number of the client's vpc, for reverse packets.
    #[inline(always)]
    pub fn client_vpc(&self) -> u16 {
        self.reverse().tag()
    }

    /// Where the client is, and its VLAN tags; unknown once the flow is over.
    #[inline(always)]
    pub fn client(&self) -> (NextHop, Tags) {
        let reverse = self.reverse();
        Tags::unpack(reverse.place.get(), reverse.detail())
    }

    /// Keeps where the client is. Called by forward packets only, and `again` is set for one that has been
    /// sent before.
    ///
    /// The forward line has a mark of what the reverse line says, so that the latter is touched only when
    /// the client has moved. One move in 32 768 leaves the mark as it was; then answers go astray until
    /// the client sends something again.
    ///
    /// Two CPUs may carry frames of a client that moves just now: the last to write wins in each word.
    /// The worst result is an answer sent with the old tags to the new place.
    #[inline(always)]
    pub fn learn_client(&self, hop: NextHop, tags: Tags, again: bool) {
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        let (place, packed) = tags.pack(hop);
        let mixed = (place ^ u64::from(packed) << 24).wrapping_mul(GOLDEN_RATIO);
        // Never 0, which a new flow says.
        let mark = (mixed >> TAG) as u16 | 1;
        let (forward, reverse) = (self.forward(), self.reverse());
        if forward.tag() == mark && !again {
            return;
        }
        reverse.set_detail(packed);
        reverse.place.set(place);
        forward.set_tag(mark);
    }

    /// Lets the reverse line know that the flow is over: its packets read no other line.
    #[inline(always)]
    pub fn forget_client(&self) {
        self.reverse().place.set(NextHop::UNKNOWN.word());
    }
}

impl FlowHalf {
    #[inline(always)]
    fn fill(&self, key: &FlowKey, other: &FlowKey, now: Tick) {
        let [addresses, ports] = key.words();
        self.addresses.set(addresses);
        self.ports.set(ports);
        let [new_addresses, new_ports] = other.reversed().words();
        self.new_addresses.set(new_addresses);
        self.new_ports.set(new_ports & 0xffff_ffff);
        self.volume.set(0);
        self.sequence.set(0);
        self.activity.set(u64::from(now.stamp()) << (u64::BITS - STAMP_BITS));
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

    /// The key of the direction's packets.
    pub fn key(&self) -> FlowKey {
        FlowKey::from_words(self.key_words())
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

    #[inline(always)]
    fn tag(&self) -> u16 {
        (self.volume.get() >> TAG) as u16
    }

    #[inline(always)]
    fn set_tag(&self, tag: u16) {
        self.volume.set(self.volume.get() & BYTES | u64::from(tag) << TAG);
    }

    /// TCP flags seen in this direction, or-ed.
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        (self.ports.get() >> FLAGS) as u8
    }

    /// Replaces the flags seen. Written by packets of this direction only.
    #[inline(always)]
    pub fn set_flags(&self, flags: u8) {
        self.ports.set(self.ports.get() & KEY | u64::from(flags) << FLAGS);
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

    /// Counts a packet. Written by packets of this direction only: two CPUs that carry one direction at
    /// once (a flow moving between receive queues) may lose a count, never more.
    #[inline(always)]
    pub fn count(&self, bytes: u16, stamp: u32) {
        let volume = self.volume.get();
        self.volume.set(volume & !BYTES | volume.wrapping_add(u64::from(bytes)) & BYTES);
        let packets = self.activity.get().wrapping_add(1) & PACKETS;
        self.activity.set(packets | u64::from(stamp) << (u64::BITS - STAMP_BITS));
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
        let packets = self.activity.get() & PACKETS;
        self.activity.set(packets | u64::from(stamp) << (u64::BITS - STAMP_BITS));
    }
}
