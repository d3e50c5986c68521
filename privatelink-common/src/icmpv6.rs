//! ICMPv6 messages (RFC 4443) and neighbour discovery (RFC 4861): what a NAT reads in them, and what it writes.

use crate::checksum::{self, Delta, fold};
use crate::drop_reason::DropReason;
use crate::ip::{self, ICMPV6, IPV6_HEADER, write_addresses};
use crate::ipv4::MAX_VERIFIED;
use crate::memory::Packet;
use crate::records::Mac;
use crate::wide::WideAddress;

/// Bytes of a header.
pub const HEADER: usize = 8;
/// Whether a message of this type is of neighbour discovery (RFC 4861, section 4).
#[inline(always)]
pub(crate) const fn is_discovery(kind: u8) -> bool {
    matches!(kind, 133..=137)
}

/// Most bytes of a packet that an error quotes: it has 1 280 itself at most (RFC 4443, section 2.4).
pub const MOST_QUOTED: u16 = 1280 - (IPV6_HEADER + HEADER) as u16;

/// Type "destination unreachable".
pub const UNREACHABLE: u8 = 1;
/// Type "packet too big".
pub const PACKET_TOO_BIG: u8 = 2;
/// Type "time exceeded".
pub const TIME_EXCEEDED: u8 = 3;
/// Type "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
const ADVERTISEMENT: u8 = 136;

/// Code of [`UNREACHABLE`]: communication administratively prohibited.
pub const PROHIBITED: u8 = 1;

/// Hop limit of the messages that we send.
const HOP_LIMIT: u8 = 64;
/// Hop limit of neighbour discovery: what has it comes from the link.
const ON_LINK: u8 = 255;
/// Version 6; precedence "internetwork control", as IPv4 errors have it.
const CONTROL: u32 = (6_u32 << 28 | 0xc0 << 20).to_be();
const VERSION: u32 = (6_u32 << 28).to_be();

/// The folded sum that a message with its pseudo-header has, 0xffff where its checksum is right.
#[inline(always)]
pub(crate) fn sum(
    packet: &impl Packet,
    at: usize,
    addresses: [WideAddress; 2],
    length: u16,
) -> Result<u16, DropReason> {
    // What cannot be verified may not go in: as of ICMP.
    if length > MAX_VERIFIED {
        return Err(DropReason::IcmpChecksum);
    }
    packet.sum_with(ip::pseudo_header(addresses, ICMPV6, length), at, length)
}

/// Writes the headers of an error at `offset`, right before the `quoted` bytes of the packet that it is about; `what` is its
/// type and code, `word` what follows them: an MTU, bytes, or 0. Where the checksum that is quoted is `unfinished`, this is its field.
#[inline(always)]
pub(crate) fn write_error(
    packet: &impl Packet,
    offset: usize,
    addresses: [WideAddress; 2],
    what: [u8; 2],
    word: u32,
    quoted: u16,
    unfinished: Option<u16>,
) -> Result<(), DropReason> {
    let ip = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
    let length = quoted + HEADER as u16;
    ip.set_u32::<0>(CONTROL);
    ip.set_u16::<4>(length.to_be());
    ip.set_u8::<6>(ICMPV6);
    ip.set_u8::<7>(HOP_LIMIT);
    write_addresses(&ip, addresses);
    let at = offset + IPV6_HEADER;
    let icmp = packet.window::<HEADER>(at).ok_or(DropReason::Truncated)?;
    icmp.set_u16::<0>(u16::from_ne_bytes(what));
    icmp.set_u16::<2>(0);
    icmp.set_u32::<4>(word.to_be());
    let sum = match unfinished {
        None => sum(packet, at, addresses, length)?,
        Some(field) => {
            let pseudo = ip::pseudo_header(addresses, ICMPV6, length) + u32::from(!field);
            packet.sum_with(pseudo, at, (HEADER + IPV6_HEADER) as u16)?
        }
    };
    let icmp = packet.window::<HEADER>(at).ok_or(DropReason::Truncated)?;
    icmp.set_u16::<2>(!sum);
    Ok(())
}

/// Turns an echo request into its reply: all but addresses, type and hop limit is kept. Source and destination change places,
/// which no sum minds.
#[inline(always)]
pub(crate) fn reply(packet: &impl Packet, of: &ip::Ip) -> Result<(), DropReason> {
    let ip = packet.window::<IPV6_HEADER>(of.offset).ok_or(DropReason::Truncated)?;
    let icmp = packet.window::<HEADER>(of.payload()).ok_or(DropReason::Truncated)?;
    ip.set_u8::<7>(HOP_LIMIT);
    write_addresses(&ip, [of.destination, of.source]);
    let before = icmp.u16::<0>();
    icmp.set_u8::<0>(ECHO_REPLY);
    let delta = Delta::default().replace16(before, icmp.u16::<0>()).fold();
    icmp.set_u16::<2>(checksum::apply(icmp.u16::<2>(), delta));
    Ok(())
}

/// Bytes of a solicitation without options, and of an advertisement with the one it has.
const SOLICITED: usize = 24;
/// Bytes of an advertisement, with the link-layer address that it tells.
pub const ADVERTISED: usize = 32;
/// Option "target link-layer address", one unit of eight bytes.
const TARGET_LINK_LAYER: u16 = u16::from_ne_bytes([2, 1]);
/// The answer to a question, from who has the address; no router.
const SOLICITED_OVERRIDE: u32 = 0x6000_0000_u32.to_be();
/// Told to all, since who asks has no address yet.
const OVERRIDE: u32 = 0x2000_0000_u32.to_be();

/// All nodes of the link: ff02::1.
const ALL_NODES: WideAddress = WideAddress([0xff02_0000_0000_0000_u64.to_be(), 1_u64.to_be()]);
const ALL_NODES_MAC: Mac = Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1]);

/// A neighbour solicitation that is right by RFC 4861, section 7.1.1, its checksum and options aside.
#[derive(Clone, Copy, Debug)]
pub struct Solicitation {
    /// Who asks; `None` who wants the address for himself (duplicate address detection).
    pub asker: Option<WideAddress>,
    /// Whose MAC address is asked for.
    pub wanted: WideAddress,
}

impl Solicitation {
    /// Reads the message at `at` of a packet with this header.
    #[inline(always)]
    pub(crate) fn parse(packet: &impl Packet, ip: &ip::Ip) -> Option<Self> {
        let message = packet.window::<SOLICITED>(ip.payload())?;
        let is_right = ip.protocol == ICMPV6
            && ip.ttl == ON_LINK
            && usize::from(ip.length) >= SOLICITED
            && message.u16::<0>() == u16::from_ne_bytes([SOLICITATION, 0]);
        if !is_right {
            return None;
        }
        let asker = (ip.source != WideAddress::default()).then_some(ip.source);
        let wanted = WideAddress([message.u64::<8>(), message.u64::<16>()]);
        Some(Self { asker, wanted })
    }

    /// Whom the answer goes to: his addresses, or those of all.
    #[inline(always)]
    pub(crate) const fn receiver(&self, asker: Mac) -> (WideAddress, Mac) {
        match self.asker {
            Some(address) => (address, asker),
            None => (ALL_NODES, ALL_NODES_MAC),
        }
    }

    /// Writes the advertisement that `mac` has the address, [`ADVERTISED`] bytes behind an IPv6 header at `offset`.
    #[inline(always)]
    pub(crate) fn answer(
        &self,
        packet: &impl Packet,
        offset: usize,
        mac: Mac,
    ) -> Result<(), DropReason> {
        let ip = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
        let message =
            packet.window::<ADVERTISED>(offset + IPV6_HEADER).ok_or(DropReason::Truncated)?;
        let (receiver, _) = self.receiver(mac);
        ip.set_u32::<0>(VERSION);
        ip.set_u16::<4>((ADVERTISED as u16).to_be());
        ip.set_u8::<6>(ICMPV6);
        ip.set_u8::<7>(ON_LINK);
        write_addresses(&ip, [self.wanted, receiver]);
        let flags = if self.asker.is_some() { SOLICITED_OVERRIDE } else { OVERRIDE };
        let [first, second] = self.wanted.0;
        let [a, b, c] = mac.0;
        let kind = u16::from_ne_bytes([ADVERTISEMENT, 0]);
        message.set_u16::<0>(kind);
        message.set_u32::<4>(flags);
        message.set_u64::<8>(first);
        message.set_u64::<16>(second);
        message.set_u16::<24>(TARGET_LINK_LAYER);
        message.set_u16::<26>(a);
        message.set_u16::<28>(b);
        message.set_u16::<30>(c);
        let sum = ip::pseudo_header([self.wanted, receiver], ICMPV6, ADVERTISED as u16)
            + u32::from(kind)
            + checksum::words(flags)
            + u32::from(ip::sum(self.wanted))
            + u32::from(TARGET_LINK_LAYER)
            + u32::from(a)
            + u32::from(b)
            + u32::from(c);
        message.set_u16::<2>(!fold(sum));
        Ok(())
    }
}
