//! The frame that everything here sends: 60 bytes, a TCP segment with valid checksums.

use aya_ebpf::programs::XdpContext;
use privatelink_common::checksum::{fold, pseudo_header, words};
use privatelink_common::memory::Window;
use privatelink_common::{ethernet, ipv4, tcp};

use crate::records::{Drive, TTL, Tuple};

/// The shortest frame that Ethernet has, without its checksum.
pub(crate) const LENGTH: usize = 60;

const IP: usize = ethernet::HEADER;
const TCP: usize = IP + ipv4::HEADER;
/// A bare TCP header: the last six bytes of the frame are Ethernet's padding.
const TOTAL_LENGTH: u16 = 40;
const VERSION_IHL_TOS: u16 = u16::from_ne_bytes([0x45, 0]);
const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();
const TTL_PROTOCOL: u16 = u16::from_ne_bytes([TTL, ipv4::TCP]);
const NUMBER: u32 = 1_u32.to_be();
const WINDOW: u16 = u16::MAX;
const DATA_OFFSET: u8 = 5 << 4;

/// Its headers: a host that routes it strips Ethernet's padding.
pub(crate) const HEADERS: usize = TCP + tcp::HEADER;

/// The frame's first bytes, if it is long enough.
#[inline(always)]
pub(crate) fn window<const N: usize>(ctx: &XdpContext) -> Option<Window<'_, N>> {
    let start = ctx.data();
    if start + N > ctx.data_end() {
        return None;
    }
    // SAFETY: in bounds by the comparison, which the verifier demands too; the frame is this CPU's.
    Some(unsafe { Window::new(start as *mut u8) })
}

/// Makes the frame a fresh segment of `tuple`: every field, since the buffer comes back as the last program left it.
#[inline(always)]
pub(crate) fn write(frame: &Window<'_, LENGTH>, tuple: &Tuple, drive: &Drive) {
    let [a, b, c, d, e, f] = drive.macs;
    frame.set_u16::<0>(a);
    frame.set_u16::<2>(b);
    frame.set_u16::<4>(c);
    frame.set_u16::<6>(d);
    frame.set_u16::<8>(e);
    frame.set_u16::<10>(f);
    frame.set_u16::<12>(ethernet::IPV4);

    const FIXED: u32 = VERSION_IHL_TOS as u32
        + TOTAL_LENGTH.to_be() as u32
        + DONT_FRAGMENT as u32
        + TTL_PROTOCOL as u32;
    let addresses = words(tuple.source) + words(tuple.destination);
    frame.set_u16::<{ IP }>(VERSION_IHL_TOS);
    frame.set_u16::<{ IP + 2 }>(TOTAL_LENGTH.to_be());
    frame.set_u16::<{ IP + 4 }>(0);
    frame.set_u16::<{ IP + 6 }>(DONT_FRAGMENT);
    frame.set_u16::<{ IP + 8 }>(TTL_PROTOCOL);
    frame.set_u16::<{ IP + 10 }>(!fold(FIXED + addresses));
    frame.set_u32::<{ IP + 12 }>(tuple.source);
    frame.set_u32::<{ IP + 16 }>(tuple.destination);

    let offset_flags = u16::from_ne_bytes([DATA_OFFSET, drive.flags as u8]);
    let sum = pseudo_header(tuple.source, tuple.destination, ipv4::TCP, tcp::HEADER as u16)
        + u32::from(tuple.source_port)
        + u32::from(tuple.destination_port)
        + 2 * words(NUMBER)
        + u32::from(offset_flags)
        + u32::from(WINDOW);
    frame.set_u16::<{ TCP }>(tuple.source_port);
    frame.set_u16::<{ TCP + 2 }>(tuple.destination_port);
    frame.set_u32::<{ TCP + 4 }>(NUMBER);
    frame.set_u32::<{ TCP + 8 }>(NUMBER);
    frame.set_u16::<{ TCP + 12 }>(offset_flags);
    frame.set_u16::<{ TCP + 14 }>(WINDOW);
    frame.set_u16::<{ TCP + 16 }>(!fold(sum));
    frame.set_u16::<{ TCP + 18 }>(0);
}

/// Whether a program that forwards has had the frame since it was written.
#[inline(always)]
pub(crate) fn was_forwarded(frame: &Window<'_, LENGTH>) -> bool {
    frame.u8::<{ IP + 8 }>() == TTL - 1
}

/// The addresses of the answer to this frame.
#[inline(always)]
pub(crate) fn answer(frame: &Window<'_, LENGTH>) -> Tuple {
    Tuple {
        source: frame.u32::<{ IP + 16 }>(),
        destination: frame.u32::<{ IP + 12 }>(),
        source_port: frame.u16::<{ TCP + 2 }>(),
        destination_port: frame.u16::<{ TCP }>(),
        padding: 0,
    }
}
