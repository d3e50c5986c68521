//! A flow, and what is known of each of its directions.

use privatelink_common::ethernet::Tags;
use privatelink_common::records::{self, NextHop};
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, FIN, RST, SYN};

use super::wire::{Parcel, Socket, TCP, UDP};
use crate::frame::Mac;
use crate::world::Port;

/// Time-outs, in milliseconds.
const HALF_OPEN: u64 = 30_000;
const IDLE: u64 = 350_000;
const UDP_IDLE: u64 = 120_000;
const CLOSING: u64 = 10_000;
pub(crate) const HOLD: u64 = 60_000;
/// All of them: moments too close to which a test should not look.
pub(crate) const TIMEOUTS: [u64; 5] = [CLOSING, HALF_OPEN, HOLD, UDP_IDLE, IDLE];

/// One direction of a flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// SYN, FIN, ACK and RST as believed.
    pub(crate) flags: u8,
    /// The next sequence number expected of it.
    pub(crate) next: u32,
    /// The last acknowledgement it has sent.
    pub(crate) acknowledged: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// The identification of the last IPv4 packet that was IPv6 and may be fragmented.
    pub(crate) identification: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    HalfOpen,
    Established,
    /// Over; the lease is kept.
    Held,
}

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) mac: Mac,
    pub(crate) tags: Vec<(u16, u16)>,
}

impl Place {
    /// The same in the engine's words, behind the interface of a slot.
    pub(crate) fn learned(&self, slot: u16) -> (NextHop, Tags) {
        let (mut kinds, mut tcis) = (0, 0);
        for (&(tpid, tci), at) in self.tags.iter().zip(0..) {
            kinds |= if tpid == 0x8100 { 1_u64 } else { 2 } << (58 + 2 * at);
            tcis |= u32::from(tci.to_be()) << (16 * at);
        }
        let hop = NextHop::new(records::Mac::from_bytes(self.mac), slot);
        Tags::unpack(hop.word() | kinds, tcis)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Which of all that there have been.
    pub(crate) serial: u64,
    /// Whether it is in the wide table.
    pub(crate) wide: bool,
    pub(crate) protocol: u8,
    pub(crate) port: Port,
    pub(crate) client: Socket,
    pub(crate) endpoint: Socket,
    /// Number of the endpoint.
    pub(crate) owner: usize,
    pub(crate) target: usize,
    /// The target's address, and the port that the flow goes to.
    pub(crate) to: Socket,
    pub(crate) lease: Socket,
    pub(crate) place: Place,
    /// From the client, from the target.
    pub(crate) sides: [Side; 2],
    pub(crate) stage: Stage,
    /// When it was last refreshed; when its hold began.
    pub(crate) last: u64,
}

pub(crate) const FROM_CLIENT: usize = 0;
pub(crate) const FROM_TARGET: usize = 1;

impl Flow {
    pub(crate) fn state(&self) -> State {
        let [client, target] = &self.sides;
        if self.protocol == UDP {
            return if target.flags == 0 { State::Unreplied } else { State::Replied };
        }
        let (either, both) = (client.flags | target.flags, client.flags & target.flags);
        if either & RST != 0 {
            State::Closed
        } else if both & FIN != 0 {
            State::TimeWait
        } else if either & FIN != 0 {
            State::FinWait
        } else if target.flags & SYN == 0 {
            State::SynSent
        } else if client.flags & ACK == 0 {
            State::SynReceived
        } else {
            State::Established
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.stage != Stage::Held
    }

    /// Whether both sides have closed, or one has reset it.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state(), State::TimeWait | State::Closed)
    }

    /// Whether a SYN's flow may have the lease that this one holds: it is of the same client and port, the connection was over, and
    /// its number is beyond all that was sent.
    pub(crate) fn lends_to(&self, port: Port, syn: &Parcel) -> bool {
        let ends = (self.port, self.protocol, self.client, self.endpoint);
        let beyond = syn.sequence.wrapping_sub(self.sides[FROM_CLIENT].next) as i32 > 0;
        let is_tcp = self.protocol == TCP;
        !self.is_live()
            && self.is_over()
            && is_tcp
            && ends == (port, syn.protocol, syn.source, syn.destination)
            && beyond
    }

    pub(crate) fn is_due(&self, now: u64) -> bool {
        let allowed = match self.stage {
            Stage::Held => HOLD,
            _ if self.is_over() => CLOSING,
            // The same of both protocols.
            Stage::HalfOpen => HALF_OPEN,
            Stage::Established if self.protocol == UDP => UDP_IDLE,
            Stage::Established => IDLE,
        };
        now - self.last > allowed
    }

    /// The ends of the segments of a direction as they leave us.
    pub(crate) fn ends(&self, side: usize) -> (Socket, Socket) {
        match side {
            FROM_CLIENT => (self.lease, self.to),
            _ => (self.endpoint, self.client),
        }
    }

    /// Follows what was sent on; whether it refreshes the flow.
    pub(crate) fn follow(&mut self, side: usize, segment: &Parcel) -> bool {
        if self.protocol == UDP {
            // UDP has no flags: this one stands for "has answered".
            if side == FROM_TARGET && self.sides[side].flags == 0 {
                self.sides[side].flags = ACK;
                self.stage = Stage::Established;
            }
            return true;
        }
        if segment.has(RST) {
            let believed = self.believes_reset(side, segment);
            if believed {
                self.sides[side].flags |= RST;
            }
            return believed;
        }
        let half_open = self.stage == Stage::HalfOpen;
        let own = &self.sides[side];
        let peer = &self.sides[1 - side];
        let mut end = segment.sequence.wrapping_add(segment.payload as u32);
        end = end.wrapping_add(u32::from(segment.has(SYN)) + u32::from(segment.has(FIN)));

        let retry = side == FROM_CLIENT && opens(segment) && half_open && peer.flags == 0;
        let ahead = i64::from(end.wrapping_sub(own.next) as i32);
        let in_flight = i64::from(end.wrapping_sub(peer.acknowledged));
        let near = (0..1 << 16).contains(&ahead);
        let acknowledged_lately = ahead >= 0 && in_flight < 1 << 20;
        let follows = own.flags & SYN == 0 || retry || near || acknowledged_lately;
        let next = if follows { end } else { own.next };
        let confirms = segment.has(ACK)
            && peer.flags & SYN != 0
            && peer.next.wrapping_sub(segment.acknowledgement) < 1 << 16;

        let own = &mut self.sides[side];
        own.next = next;
        let moves = segment.acknowledgement.wrapping_sub(own.acknowledged) as i32 > 0;
        if segment.has(ACK) && (own.flags & ACK == 0 || moves) {
            own.acknowledged = segment.acknowledgement;
        }
        own.flags &= !RST;
        own.flags |= segment.flags & SYN;
        if end == next {
            own.flags |= segment.flags & FIN;
        }
        if side == FROM_TARGET || !half_open {
            own.flags |= segment.flags & ACK;
        } else if confirms {
            own.flags |= ACK;
            self.stage = Stage::Established;
        }
        true
    }

    /// A RST is believed with the number that its receiver waits for, or that its sender is to send next; near it
    /// once a side has closed. One that answers a SYN is believed by what it acknowledges.
    fn believes_reset(&self, side: usize, segment: &Parcel) -> bool {
        let (own, peer) = (&self.sides[side], &self.sides[1 - side]);
        if own.flags & SYN == 0 {
            return segment.has(ACK) && segment.acknowledgement == peer.next;
        }
        if segment.sequence == own.next {
            return true;
        }
        let window = if (own.flags | peer.flags) & FIN != 0 { 1 << 16 } else { 1 };
        peer.flags & ACK != 0 && segment.sequence.wrapping_sub(peer.acknowledged) < window
    }
}

/// Whether a segment asks for a connection.
pub(crate) fn opens(segment: &Parcel) -> bool {
    segment.has(SYN) && !segment.has(ACK | RST | FIN)
}
