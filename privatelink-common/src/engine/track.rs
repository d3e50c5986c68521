//! Following a TCP connection as far as its end must be believed.
//!
//! Nothing is dropped here: a segment that does not fit is forwarded, and its receiver judges it. But it
//! changes no state: a forged RST must not make us forget a live connection (RFC 5961; Yang et al.,
//! "Exploiting Sequence Number Leakage", NDSS 2024, and ReDAN, NDSS 2025, evict NAT mappings so).
//!
//! Each direction keeps the next sequence number it is expected to send and the last acknowledgement it
//! has sent. A RST is believed if its number is exactly one of two: what the other side says it waits for
//! (the one its receiver takes, RFC 5961, section 3.2), or what its own side sends next (with data in
//! flight, what the receiver will be waiting for).

use crate::flow_table::Found;
use crate::flow_table::half::Direction;
use crate::flow_table::record::{Phase, Record};
use crate::flow_table::totals;
use crate::tables::Tables;
use crate::tcp::{self, ACK, FIN, RST, SYN};

/// How far a segment may run ahead of the last one of its direction without being looked at closer.
const FREE_ADVANCE: u32 = 1 << 16;
/// How far it may then run ahead of what the other side has acknowledged: data that a large window lets
/// be in flight. What runs farther is forwarded and not followed until acknowledgements catch up.
const IN_FLIGHT: u32 = 1 << 20;
/// After a FIN, a RST may miss its number by a window without scaling: a closed socket answers late data.
const CLOSING_WINDOW: u32 = 1 << 16;

/// Follows a segment of `length` bytes; whether it shows that its side is alive, so that the flow's time starts anew.
#[inline(always)]
pub(super) fn follow(
    tables: &impl Tables,
    found: &Found<'_>,
    segment: &tcp::Header,
    length: u16,
) -> bool {
    let own = found.half;
    let seen = own.flags();
    let [next, acknowledged] = own.sequence();
    let end = segment.end(length);
    let half_open =
        found.direction() == Direction::Forward && own.place().phase() == Phase::HalfOpen;
    let resets = segment.flags & RST != 0;
    let advance = end.wrapping_sub(next);
    // What was sent before moves nothing, and is no reason to look at the other half, which is another line.
    let jumps = (FREE_ADVANCE..=u32::MAX / 2).contains(&advance);
    let record = if resets || half_open || jumps {
        tables.record(tables.owner(found.number()))
    } else {
        None
    };

    if resets {
        let Some(record) = record else {
            return false;
        };
        let believed = is_believable_reset(&record, found.direction(), segment);
        if believed {
            totals::count_reset(tables, record.place(), found.direction());
            own.set_flags(seen | RST);
            if found.direction() == Direction::Reverse {
                record.mark_reset();
            }
        }
        return believed;
    }
    let first = seen & SYN == 0 || half_open && is_another_first_syn(record, segment);
    let plausible = advance < FREE_ADVANCE || jumps && is_plausible(record, found.direction(), end);
    let next = if first || plausible { end } else { next };
    let acknowledges = segment.flags & ACK != 0;
    let ahead = segment.acknowledgement.wrapping_sub(acknowledged) as i32 > 0;
    let acknowledged = if acknowledges && (seen & ACK == 0 || ahead) {
        segment.acknowledgement
    } else {
        acknowledged
    };
    own.set_sequence([next, acknowledged]);

    let mut flags = segment.flags & (SYN | FIN | ACK);
    if end != next {
        // A FIN from elsewhere in the sequence space.
        flags &= !FIN;
    }
    if half_open {
        match record {
            Some(record) if acknowledges && confirms_handshake(&record, segment) => {
                tables.establish(record.number);
            }
            _ => flags &= !ACK,
        }
    }
    // Who has reset a connection sends nothing more on it: what we believed was not so.
    let flags = seen & !RST | flags;
    if flags != seen {
        own.set_flags(flags);
    }
    true
}

/// Whether the client of a half-open flow tries again from the same port before anybody has answered: with a new
/// number.
#[inline(always)]
fn is_another_first_syn(record: Option<Record<'_>>, segment: &tcp::Header) -> bool {
    tcp::opens(segment.flags) && record.is_some_and(|record| record.reverse.flags() == 0)
}

/// Whether a segment that jumps ahead moves its direction's next sequence number on. It may not have come
/// from where it says: who can only guess numbers must not move it far.
#[inline(always)]
fn is_plausible(record: Option<Record<'_>>, direction: Direction, end: u32) -> bool {
    record.is_some_and(|record| {
        let [_, acknowledged] = record.half(direction.other()).sequence();
        end.wrapping_sub(acknowledged) < IN_FLIGHT
    })
}

#[inline(always)]
fn confirms_handshake(record: &Record<'_>, segment: &tcp::Header) -> bool {
    let [next, _] = record.reverse.sequence();
    record.reverse.flags() & SYN != 0 && next.wrapping_sub(segment.acknowledgement) < FREE_ADVANCE
}

#[inline(always)]
fn is_believable_reset(record: &Record<'_>, direction: Direction, segment: &tcp::Header) -> bool {
    let (own, peer) = (record.half(direction), record.half(direction.other()));
    let [next, _] = own.sequence();
    let [peer_next, awaited] = peer.sequence();
    if own.flags() & SYN == 0 {
        // A SYN refused: it has nothing but its acknowledgement (RFC 9293, section 3.10.7.3).
        return segment.flags & ACK != 0 && segment.acknowledgement == peer_next;
    }
    let awaits = peer.flags() & ACK != 0;
    let closing = (own.flags() | peer.flags()) & FIN != 0;
    let window = if closing { CLOSING_WINDOW } else { 1 };
    segment.sequence == next || awaits && segment.sequence.wrapping_sub(awaited) < window
}
