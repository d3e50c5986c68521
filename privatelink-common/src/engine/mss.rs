//! The largest segment a connection may use, lowered where the way is narrower than its ends know.

use super::Ingress;
use crate::checksum::{self, Delta, fold};
use crate::drop_reason::DropReason;
use crate::ipv4::{self, Segment, sum_chunk};
use crate::memory::{CHUNK, Packet, chunk_bytes};
use crate::records::{Endpoint, Interface};
use crate::tables::Tables;
use crate::tcp::SYN;

/// Most bytes of options a TCP header holds.
const MAX_OPTIONS: usize = 40;
/// Option "end of list", one byte.
const END: u8 = 0;
/// Option "no operation", one byte.
const NO_OPERATION: u8 = 1;
/// Option "maximum segment size", four bytes (RFC 9293, section 3.2).
const MSS: u8 = 2;

/// Lowers the MSS that a SYN announces to what `endpoint` lets through. Nothing else is touched, nor is
/// anything added where the option is absent: the other side then sends 536 bytes at most (RFC 9293,
/// section 3.7.1).
#[inline(always)]
pub(super) fn clamp(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    egress: &Interface,
    segment: &Segment,
    endpoint: u32,
) -> Result<(), DropReason> {
    let length = usize::from(segment.tcp_header) - ipv4::TCP_HEADER;
    if segment.flags & SYN == 0 || length == 0 {
        return Ok(());
    }
    let Some(endpoint) = tables.endpoint(endpoint) else {
        return Ok(());
    };
    let Some(limit) = limit(endpoint, ingress.interface.mtu.min(egress.mtu)) else {
        return Ok(());
    };
    let tcp = segment.offset + ipv4::HEADER;
    let at = tcp + ipv4::TCP_HEADER;
    let mut options = packet.chunk(at, length).ok_or(DropReason::Truncated)?;
    let before = fold(sum_chunk(&options));
    if !lower(chunk_bytes(&mut options), length, limit) {
        return Ok(());
    }
    let delta = Delta::default().replace16(before, fold(sum_chunk(&options))).fold();
    if !packet.set_chunk(at, length, &options) {
        return Err(DropReason::Truncated);
    }
    let header = packet.window::<{ ipv4::TCP_HEADER }>(tcp).ok_or(DropReason::Truncated)?;
    header.set_u16::<16>(checksum::apply(header.u16::<16>(), delta));
    Ok(())
}

/// The largest MSS that `endpoint` lets through where the smaller of both MTUs is `mtu`.
#[inline(always)]
fn limit(endpoint: &Endpoint, mtu: u32) -> Option<u16> {
    let fits = mtu.saturating_sub((ipv4::HEADER + ipv4::TCP_HEADER) as u32);
    let limit = match endpoint.mss_clamp {
        Endpoint::MSS_OFF => return None,
        Endpoint::MSS_AUTO => fits,
        most => most.min(fits),
    };
    Some(limit.min(u32::from(u16::MAX)) as u16)
}

/// Lowers every MSS in `length` bytes of options, which zeros follow; whether there was one to lower.
///
/// An option whose length cannot be true ends the walk: what comes after it is anybody's guess.
///
/// One step for each byte, so that every place in the buffer is a constant to the verifier; and a word
/// of bits instead of the next option's place, since it would follow that number's every value.
#[inline(always)]
fn lower(options: &mut [u8; CHUNK], length: usize, limit: u16) -> bool {
    let mut lowered = false;
    // Bit n: an option begins n bytes from here.
    let mut begins = 1_u64;
    // Not `length` itself: what comparisons teach about that, the verifier would carry on.
    let end = core::hint::black_box(length * 2);
    for at in 0..MAX_OPTIONS {
        if begins & 1 != 0 {
            match options[at] {
                END => break,
                NO_OPERATION => begins |= 1 << 1,
                kind => {
                    let size = usize::from(options[at + 1]);
                    if !(2..=MAX_OPTIONS).contains(&size) {
                        break;
                    }
                    begins |= 1 << size;
                    let value = u16::from_be_bytes([options[at + 2], options[at + 3]]);
                    if kind == MSS && size == 4 && (at + size) * 2 <= end && value > limit {
                        [options[at + 2], options[at + 3]] = limit.to_be_bytes();
                        lowered = true;
                    }
                }
            }
        }
        begins >>= 1;
    }
    lowered
}
