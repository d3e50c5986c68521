//! The frames that everything here sends, with valid checksums: a TCP segment over IPv4 of 60 bytes, but for what is driven
//! with another form.

use aya_ebpf::programs::XdpContext;
use privatelink_common::checksum::{fold, pseudo_header, words};
use privatelink_common::ip::IPV6_HEADER;
use privatelink_common::memory::Window;
use privatelink_common::{ethernet, ipv4, tcp};

use crate::records::{Drive, IPV6_NETWORK, TTL, Tuple};

/// The shortest frame that Ethernet has, without its checksum.
pub(crate) const LENGTH: usize = 60;

const IP: usize = ethernet::HEADER;
const TCP: usize = IP + ipv4::HEADER;
/// A bare TCP header: the last six bytes of the frame are Ethernet's padding.
const TOTAL_LENGTH: u16 = 40;
const VERSION_IHL_TOS: u16 = u16::from_ne_bytes([0x45, 0]);
const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();
const NUMBER: u32 = 1_u32.to_be();
const WINDOW: u16 = u16::MAX;
const DATA_OFFSET: u8 = 5 << 4;

/// Its headers: a host that routes it strips Ethernet's padding.
pub(crate) const HEADERS: usize = TCP + tcp::HEADER;

/// The frame's first bytes, if it is long enough.
#[inline(always)]
pub(crate) fn window<const N: usize>(ctx: &XdpContext) -> Option<Window<'_, N>> {
    window_at(ctx, 0)
}

/// Its bytes from `at` on.
#[inline(always)]
fn window_at<const N: usize>(ctx: &XdpContext, at: usize) -> Option<Window<'_, N>> {
    let start = ctx.data() + at;
    if start + N > ctx.data_end() {
        return None;
    }
    // SAFETY: in bounds by the comparison, which the verifier demands too; the frame is this CPU's.
    Some(unsafe { Window::new(start as *mut u8) })
}

/// What the driver sends.
pub(crate) trait Form {
    /// Makes the frame a fresh one of `tuple`: every field, since the buffer comes back as the last program left it.
    fn write(ctx: &XdpContext, tuple: &Tuple, drive: &Drive) -> Option<()>;
    /// Whether a program that forwards has had the frame since it was written.
    fn was_forwarded(ctx: &XdpContext) -> Option<bool>;
    /// The addresses of the answer to this frame.
    fn answer(ctx: &XdpContext) -> Option<Tuple>;
}

/// TCP segments over IPv4.
pub(crate) struct Tcp;

impl Form for Tcp {
    #[inline(always)]
    fn write(ctx: &XdpContext, tuple: &Tuple, drive: &Drive) -> Option<()> {
        let frame = window::<LENGTH>(ctx)?;
        write_link(&frame, drive, ethernet::IPV4);
        write_ip(&frame, tuple, ipv4::TCP, TOTAL_LENGTH);
        let length = tcp::HEADER as u16;
        let pseudo = pseudo_header(tuple.source, tuple.destination, ipv4::TCP, length);
        write_tcp(&window_at(ctx, TCP)?, tuple, drive, pseudo);
        Some(())
    }

    #[inline(always)]
    fn was_forwarded(ctx: &XdpContext) -> Option<bool> {
        Some(window::<LENGTH>(ctx)?.u8::<{ IP + 8 }>() == TTL - 1)
    }

    #[inline(always)]
    fn answer(ctx: &XdpContext) -> Option<Tuple> {
        let frame = window::<LENGTH>(ctx)?;
        Some(Tuple {
            source: frame.u32::<{ IP + 16 }>(),
            destination: frame.u32::<{ IP + 12 }>(),
            source_port: frame.u16::<{ TCP + 2 }>(),
            destination_port: frame.u16::<{ TCP }>(),
            padding: 0,
        })
    }
}

/// UDP datagrams over IPv4, as large as those segments.
pub(crate) struct Udp;

impl Form for Udp {
    #[inline(always)]
    fn write(ctx: &XdpContext, tuple: &Tuple, drive: &Drive) -> Option<()> {
        const DATAGRAM: u16 = TOTAL_LENGTH - ipv4::HEADER as u16;
        let frame = window::<LENGTH>(ctx)?;
        write_link(&frame, drive, ethernet::IPV4);
        write_ip(&frame, tuple, ipv4::UDP, TOTAL_LENGTH);
        let data = window_at::<{ DATAGRAM as usize }>(ctx, TCP)?;
        let sum = pseudo_header(tuple.source, tuple.destination, ipv4::UDP, DATAGRAM)
            + u32::from(tuple.source_port)
            + u32::from(tuple.destination_port)
            + u32::from(DATAGRAM.to_be());
        data.set_u16::<0>(tuple.source_port);
        data.set_u16::<2>(tuple.destination_port);
        data.set_u16::<4>(DATAGRAM.to_be());
        data.set_u16::<6>(!fold(sum));
        data.set_u64::<8>(0);
        data.set_u32::<16>(0);
        Some(())
    }

    #[inline(always)]
    fn was_forwarded(ctx: &XdpContext) -> Option<bool> {
        Tcp::was_forwarded(ctx)
    }

    #[inline(always)]
    fn answer(ctx: &XdpContext) -> Option<Tuple> {
        Tcp::answer(ctx)
    }
}

/// TCP segments over IPv6, whose addresses end as the IPv4 ones of a tuple are.
pub(crate) struct TcpOverIpv6;

impl Form for TcpOverIpv6 {
    #[inline(always)]
    fn write(ctx: &XdpContext, tuple: &Tuple, drive: &Drive) -> Option<()> {
        const LENGTH: u16 = tcp::HEADER as u16;
        const VERSION: u32 = (6_u32 << 28).to_be();
        // The first bytes of an address.
        const NETWORK: u64 = IPV6_NETWORK.to_be() as u64;
        let frame = window::<{ IP + IPV6_HEADER }>(ctx)?;
        write_link(&frame, drive, ethernet::IPV6);
        frame.set_u32::<{ IP }>(VERSION);
        frame.set_u16::<{ IP + 4 }>(LENGTH.to_be());
        frame.set_u8::<{ IP + 6 }>(ipv4::TCP);
        frame.set_u8::<{ IP + 7 }>(TTL);
        frame.set_u64::<{ IP + 8 }>(NETWORK);
        frame.set_u64::<{ IP + 16 }>(u64::from(tuple.source) << 32);
        frame.set_u64::<{ IP + 24 }>(NETWORK);
        frame.set_u64::<{ IP + 32 }>(u64::from(tuple.destination) << 32);
        let pseudo = pseudo_header(tuple.source, tuple.destination, ipv4::TCP, LENGTH);
        let networks = 2 * u32::from(NETWORK as u16);
        write_tcp(&window_at(ctx, IP + IPV6_HEADER)?, tuple, drive, pseudo + networks);
        Some(())
    }

    #[inline(always)]
    fn was_forwarded(ctx: &XdpContext) -> Option<bool> {
        Some(window::<{ IP + IPV6_HEADER }>(ctx)?.u8::<{ IP + 7 }>() == TTL - 1)
    }

    #[inline(always)]
    fn answer(ctx: &XdpContext) -> Option<Tuple> {
        let frame = window::<{ IP + IPV6_HEADER + 4 }>(ctx)?;
        Some(Tuple {
            source: frame.u32::<{ IP + 36 }>(),
            destination: frame.u32::<{ IP + 20 }>(),
            source_port: frame.u16::<{ IP + IPV6_HEADER + 2 }>(),
            destination_port: frame.u16::<{ IP + IPV6_HEADER }>(),
            padding: 0,
        })
    }
}

/// Writes the Ethernet header.
#[inline(always)]
fn write_link<const N: usize>(frame: &Window<'_, N>, drive: &Drive, ether_type: u16) {
    let [a, b, c, d, e, f] = drive.macs;
    frame.set_u16::<0>(a);
    frame.set_u16::<2>(b);
    frame.set_u16::<4>(c);
    frame.set_u16::<6>(d);
    frame.set_u16::<8>(e);
    frame.set_u16::<10>(f);
    frame.set_u16::<12>(ether_type);
}

/// Writes the IPv4 header of a packet of so many bytes.
#[inline(always)]
fn write_ip(frame: &Window<'_, LENGTH>, tuple: &Tuple, protocol: u8, length: u16) {
    let ttl_protocol = u16::from_ne_bytes([TTL, protocol]);
    let fixed = u32::from(VERSION_IHL_TOS)
        + u32::from(length.to_be())
        + u32::from(DONT_FRAGMENT)
        + u32::from(ttl_protocol);
    let addresses = words(tuple.source) + words(tuple.destination);
    frame.set_u16::<{ IP }>(VERSION_IHL_TOS);
    frame.set_u16::<{ IP + 2 }>(length.to_be());
    frame.set_u16::<{ IP + 4 }>(0);
    frame.set_u16::<{ IP + 6 }>(DONT_FRAGMENT);
    frame.set_u16::<{ IP + 8 }>(ttl_protocol);
    frame.set_u16::<{ IP + 10 }>(!fold(fixed + addresses));
    frame.set_u32::<{ IP + 12 }>(tuple.source);
    frame.set_u32::<{ IP + 16 }>(tuple.destination);
}

/// Writes a bare TCP header; `pseudo` is the sum of the pseudo-header.
#[inline(always)]
fn write_tcp(header: &Window<'_, { tcp::HEADER }>, tuple: &Tuple, drive: &Drive, pseudo: u32) {
    let offset_flags = u16::from_ne_bytes([DATA_OFFSET, drive.flags as u8]);
    let sum = pseudo
        + u32::from(tuple.source_port)
        + u32::from(tuple.destination_port)
        + 2 * words(NUMBER)
        + u32::from(offset_flags)
        + u32::from(WINDOW);
    header.set_u16::<0>(tuple.source_port);
    header.set_u16::<2>(tuple.destination_port);
    header.set_u32::<4>(NUMBER);
    header.set_u32::<8>(NUMBER);
    header.set_u16::<12>(offset_flags);
    header.set_u16::<14>(WINDOW);
    header.set_u16::<16>(!fold(sum));
    header.set_u16::<18>(0);
}
