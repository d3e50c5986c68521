//! ICMP messages (RFC 792): what a NAT reads in them, and what it writes.

use network_types::ip::IpProto;

use crate::checksum::{self, Delta, apply, fold};
use crate::drop_reason::DropReason;
use crate::flow_table::half::FlowHalf;
use crate::ipv4::{self, Addresses, MAX_VERIFIED};
use crate::memory::Packet;
use crate::records::FlowKey;
use crate::tcp;
use crate::udp;

/// Protocol number of ICMP.
pub const ICMP: u8 = IpProto::Icmp as u8;
/// Bytes of an ICMP header.
pub const HEADER: usize = 8;
/// Bytes behind the IP header that an error quotes at least (RFC 792): TCP's ports and sequence number, or UDP's header.
pub const QUOTED_PAYLOAD: usize = 8;
/// Bytes of TCP that reach to the end of its checksum.
pub const QUOTED_CHECKSUM: usize = 18;

/// Type of an echo reply.
const ECHO_REPLY: u8 = 0;
/// Type "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;
/// Type "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`UNREACHABLE`]: too big, and it must not be fragmented.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of [`UNREACHABLE`]: communication administratively prohibited (RFC 1812, section 5.2.7.1).
pub const PROHIBITED: u8 = 13;

/// Time to live of the messages that we send.
const TTL: u8 = 64;
/// Version 4, five words of header; precedence "internetwork control" (RFC 1812, section 4.3.2.5).
const VERSION_IHL_TOS: u16 = u16::from_ne_bytes([0x45, 0xc0]);
const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();
const TTL_ICMP: u16 = u16::from_ne_bytes([TTL, ICMP]);

/// Bytes of what an error quotes.
const QUOTE: usize = ipv4::HEADER + QUOTED_PAYLOAD;
/// Bytes of the headers that an error puts before its quote.
pub const ERROR_HEADERS: usize = ipv4::HEADER + HEADER;
/// Bytes of the IPv4 packet of an error that we send.
pub const ERROR: usize = ERROR_HEADERS + QUOTE;

/// A message whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Offset of the IPv4 header in the frame.
    pub offset: usize,
    /// Source and destination.
    pub addresses: Addresses,
    /// Length of the IP packet in bytes, host order.
    pub total_length: u16,
    /// Time to live.
    pub ttl: u8,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
}

impl Message {
    /// Reads the packet at `offset`, whose IPv4 header [`ipv4::Segment::parse`] has found right.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
        if ip.u8::<9>() != ICMP {
            return Err(DropReason::Protocol);
        }
        let total_length = u16::from_be(ip.u16::<2>());
        if usize::from(total_length) < ERROR_HEADERS {
            return Err(DropReason::Truncated);
        }
        let length = total_length - ipv4::HEADER as u16;
        // What cannot be verified may not go in: RFC 5508, REQ-3. An error has 576 bytes at most (RFC
        // 1812, section 4.3.2.3).
        if length > MAX_VERIFIED {
            return Err(DropReason::IcmpChecksum);
        }
        let start = offset + ipv4::HEADER;
        if packet.sum(start, length) != 0xffff {
            return Err(DropReason::IcmpChecksum);
        }
        let icmp = packet.window::<HEADER>(start).ok_or(DropReason::Truncated)?;
        Ok(Self {
            offset,
            addresses: Addresses { source: ip.u32::<12>(), destination: ip.u32::<16>() },
            total_length,
            ttl: ip.u8::<8>(),
            kind: icmp.u8::<0>(),
            code: icmp.u8::<1>(),
        })
    }

    /// Turns an echo request into its reply; all but addresses, type and time to live is kept (RFC
    /// 1122, section 3.2.2.6).
    #[inline(always)]
    pub fn reply(&self, packet: &impl Packet) -> Result<(), DropReason> {
        let ip = packet.window::<{ ipv4::HEADER }>(self.offset).ok_or(DropReason::Truncated)?;
        let start = self.offset + ipv4::HEADER;
        let icmp = packet.window::<HEADER>(start).ok_or(DropReason::Truncated)?;
        let before = ip.u16::<8>();
        ip.set_u16::<8>(TTL_ICMP);
        let delta = Delta::default().replace16(before, TTL_ICMP).fold();
        ip.set_u16::<10>(apply(ip.u16::<10>(), delta));
        ip.set_u32::<12>(self.addresses.destination);
        ip.set_u32::<16>(self.addresses.source);
        let before = icmp.u16::<0>();
        icmp.set_u8::<0>(ECHO_REPLY);
        let delta = Delta::default().replace16(before, icmp.u16::<0>()).fold();
        icmp.set_u16::<2>(apply(icmp.u16::<2>(), delta));
        Ok(())
    }
}

/// The TCP segment or UDP datagram that an error is about, as far as every error quotes it.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Source and destination.
    pub addresses: Addresses,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    sequence: u32,
}

impl Quote {
    /// Reads what `message` quotes.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, message: &Message) -> Result<Self, DropReason> {
        if usize::from(message.total_length) < ERROR {
            return Err(DropReason::IcmpQuote);
        }
        let quote =
            packet.window::<QUOTE>(message.offset + ERROR_HEADERS).ok_or(DropReason::Truncated)?;
        // The first fragment is fine: a router behind us may have cut what we sent.
        let later_fragment = quote.u16::<6>() & 0x1fff_u16.to_be() != 0;
        let protocol = quote.u8::<9>();
        let is_carried = matches!(protocol, ipv4::TCP | ipv4::UDP);
        if quote.u8::<0>() != ipv4::VERSION_IHL || later_fragment || !is_carried {
            return Err(DropReason::IcmpQuote);
        }
        Ok(Self {
            addresses: Addresses { source: quote.u32::<12>(), destination: quote.u32::<16>() },
            source_port: quote.u16::<20>(),
            destination_port: quote.u16::<22>(),
            protocol,
            sequence: u32::from_be(quote.u32::<24>()),
        })
    }

    /// The key of the flow's direction that answers the quoted packet, which we had sent into `vpc`.
    #[inline(always)]
    pub const fn answer_key(&self, vpc: u16) -> FlowKey {
        FlowKey {
            source: self.addresses.destination,
            destination: self.addresses.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            vpc,
            protocol: self.protocol,
        }
    }

    /// Whether the direction `sent` may have sent it lately ([`is_recent`]).
    #[inline(always)]
    pub fn is_recent(&self, sent: &FlowHalf) -> bool {
        is_recent(self.protocol, self.sequence, sent)
    }

    /// Turns an error about a segment that we sent into one about the segment as the other side had
    /// sent it to us (RFC 5508, REQ-4 and REQ-5). `half` is the direction that [`Self::answer_key`]
    /// found: the error goes where that goes, and comes from where that seems to come from, so nobody
    /// learns the address of a router, or of a target, on the other side.
    ///
    /// Type, code and the word behind them stay. That word may be a next hop's MTU: 0 is valid (from a
    /// router older than RFC 1191, section 5), and no host may go below 68 because of it (section 3).
    #[inline(always)]
    pub fn translate(
        &self,
        packet: &impl Packet,
        message: &Message,
        half: &FlowHalf,
    ) -> Result<(), DropReason> {
        let [new_source, new_destination] = half.new_addresses();
        // The other way round: source and destination of what was sent, not of what answers it.
        let ports_back = half.new_ports().rotate_left(16);
        let ip = packet.window::<{ ipv4::HEADER }>(message.offset).ok_or(DropReason::Truncated)?;
        let start = message.offset + ipv4::HEADER;
        let icmp = packet.window::<HEADER>(start).ok_or(DropReason::Truncated)?;
        let quote =
            packet.window::<QUOTE>(message.offset + ERROR_HEADERS).ok_or(DropReason::Truncated)?;

        let before = ip.u16::<8>();
        ip.set_u8::<8>(message.ttl - 1);
        let outer = Delta::default()
            .replace16(before, ip.u16::<8>())
            .replace32(message.addresses.source, new_source)
            .replace32(message.addresses.destination, new_destination);
        ip.set_u16::<10>(apply(ip.u16::<10>(), outer.fold()));
        ip.set_u32::<12>(new_source);
        ip.set_u32::<16>(new_destination);

        let addresses = Delta::default()
            .replace32(self.addresses.source, new_destination)
            .replace32(self.addresses.destination, new_source);
        let segment = addresses.replace32(quote.u32::<20>(), ports_back);
        let checksum = quote.u16::<10>();
        quote.set_u16::<10>(apply(checksum, addresses.fold()));
        quote.set_u32::<12>(new_destination);
        quote.set_u32::<16>(new_source);
        quote.set_u32::<20>(ports_back);

        let mut all = segment.replace16(checksum, quote.u16::<10>());
        if self.protocol == ipv4::UDP {
            let checksum = quote.u16::<26>();
            quote.set_u16::<26>(udp::apply(checksum, segment.fold()));
            all = all.replace16(checksum, quote.u16::<26>());
        } else if usize::from(message.total_length)
            >= ERROR_HEADERS + ipv4::HEADER + QUOTED_CHECKSUM
        {
            let tcp = packet
                .window::<QUOTED_CHECKSUM>(message.offset + ERROR_HEADERS + ipv4::HEADER)
                .ok_or(DropReason::Truncated)?;
            let checksum = tcp.u16::<16>();
            tcp.set_u16::<16>(apply(checksum, segment.fold()));
            all = all.replace16(checksum, tcp.u16::<16>());
        }
        icmp.set_u16::<2>(apply(icmp.u16::<2>(), all.fold()));
        Ok(())
    }
}

/// Whether the sequence number of a quoted packet is near those that the direction `sent` has sent lately: who has to
/// guess it, mostly fails (RFC 5927, section 4.1). Not narrower, since we do not see every segment's fate.
/// A direction that has sent nothing but resets has no number, and there is nothing to be told about. UDP has none either,
/// and what its direction has sent has to do.
#[inline(always)]
pub fn is_recent(protocol: u8, sequence: u32, sent: &FlowHalf) -> bool {
    const NEAR: u32 = 1 << 24;
    if protocol == ipv4::UDP {
        return sent.packets() > 0;
    }
    let [next, _] = sent.sequence();
    let has_sent = sent.flags() & !tcp::RST != 0;
    has_sent && next.wrapping_sub(sequence).wrapping_add(NEAR) < 2 * NEAR
}

/// Writes the headers of a "destination unreachable" at `offset`, right before the segment it quotes.
/// `mtu` is the next hop's, bytes, or 0 where the code does not tell one. `length` is that of all, bytes: what is quoted is as long as
/// [`ERROR`] has it, unless its checksum is `unfinished`, whose field that is then.
#[inline(always)]
pub fn write_unreachable(
    packet: &impl Packet,
    offset: usize,
    addresses: Addresses,
    code: u8,
    mtu: u16,
    length: u16,
    unfinished: Option<u16>,
) -> Result<(), DropReason> {
    let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
    let icmp = packet.window::<HEADER>(offset + ipv4::HEADER).ok_or(DropReason::Truncated)?;
    let quote = packet.window::<QUOTE>(offset + ERROR_HEADERS).ok_or(DropReason::Truncated)?;

    ip.set_u16::<0>(VERSION_IHL_TOS);
    ip.set_u16::<2>(length.to_be());
    ip.set_u16::<4>(0);
    ip.set_u16::<6>(DONT_FRAGMENT);
    ip.set_u16::<8>(TTL_ICMP);
    ip.set_u16::<10>(0);
    ip.set_u32::<12>(addresses.source);
    ip.set_u32::<16>(addresses.destination);
    ip.set_u16::<10>(!ipv4::sum_header(&ip));

    icmp.set_u8::<0>(UNREACHABLE);
    icmp.set_u8::<1>(code);
    icmp.set_u16::<2>(0);
    icmp.set_u16::<4>(0);
    icmp.set_u16::<6>(mtu.to_be());
    // The quoted header, which is right, adds up to a zero of the one's complement.
    let carried = match unfinished {
        Some(field) => u32::from(!field),
        None => checksum::words(quote.u32::<20>()) + checksum::words(quote.u32::<24>()),
    };
    let sum = checksum::words(icmp.u32::<0>()) + checksum::words(icmp.u32::<4>()) + carried;
    icmp.set_u16::<2>(!fold(sum));
    Ok(())
}
