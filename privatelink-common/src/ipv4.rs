//! IPv4 and TCP headers as far as a NAT reads them.

use network_types::ip::IpProto;

use crate::checksum::{self, fold};
use crate::drop_reason::DropReason;
use crate::memory::{CHUNK, Packet, Parts, Window};
use crate::records::FlowKey;
use crate::tcp::{self, HEADER as TCP_HEADER};
use crate::udp;

/// Bytes of an IPv4 header without options.
pub const HEADER: usize = 20;
/// Protocol number of TCP.
pub const TCP: u8 = IpProto::Tcp as u8;
/// Protocol number of UDP.
pub const UDP: u8 = IpProto::Udp as u8;

/// Version 4 and a header of five words.
pub const VERSION_IHL: u8 = 0x45;
/// Don't fragment, the one flag a whole packet may carry, network order.
pub(crate) const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();
/// Reserved flag: some set it (RFC 3514 jests); it makes no fragment.
const RESERVED: u16 = 0x8000_u16.to_be();

/// Source and destination of an IPv4 packet, readable even where the rest is malformed.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Source, network order.
    pub source: u32,
    /// Destination, network order.
    pub destination: u32,
}

impl Addresses {
    /// The addresses of the IPv4 packet at `offset`.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let header = packet.window::<HEADER>(offset).ok_or(DropReason::Truncated)?;
        Ok(Self { source: header.u32::<12>(), destination: header.u32::<16>() })
    }
}

/// What a TCP segment and a UDP datagram have in common, in an unfragmented IPv4 packet without options.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Offset of the IPv4 header in the frame.
    pub offset: usize,
    /// Source and destination.
    pub addresses: Addresses,
    /// Source port, network order.
    pub source_port: u16,
    /// Destination port, network order.
    pub destination_port: u16,
    /// Length of the IP packet in bytes, host order.
    pub total_length: u16,
    /// Time to live, above 1.
    pub ttl: u8,
    /// IP protocol number.
    pub protocol: u8,
}

impl Header {
    /// The flow direction the packet belongs to when it arrives from `vpc`.
    #[inline(always)]
    pub const fn key(&self, vpc: u16) -> FlowKey {
        FlowKey {
            source: self.addresses.source,
            destination: self.addresses.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            vpc,
            protocol: self.protocol,
        }
    }

    /// Verifies the checksum of the IPv4 header.
    #[inline(always)]
    pub(crate) fn verify(&self, packet: &impl Packet) -> Result<(), DropReason> {
        let ip = packet.window::<HEADER>(self.offset).ok_or(DropReason::Truncated)?;
        if sum_header(&ip) == 0xffff { Ok(()) } else { Err(DropReason::Ipv4Checksum) }
    }

    /// The packets that the frame is on the wire, whose segment or datagram has `length` bytes.
    #[inline(always)]
    pub(crate) fn parts(&self, packet: &impl Packet, length: u16) -> Parts {
        packet.parts(length, self.offset + HEADER, self.protocol)
    }

    /// Verifies the `checksum` of the `length` bytes behind the IPv4 header, if they are no more than [`MAX_VERIFIED`];
    /// the reason is `wrong` where it is.
    #[inline(always)]
    pub(crate) fn verify_payload(
        &self,
        packet: &impl Packet,
        length: u16,
        checksum: u16,
        wrong: DropReason,
    ) -> Result<(), DropReason> {
        if length > MAX_VERIFIED {
            return Ok(());
        }
        let Addresses { source, destination } = self.addresses;
        let pseudo = checksum::pseudo_header(source, destination, self.protocol, length);
        if packet.sum_with(pseudo, self.offset + HEADER, length)? == 0xffff {
            return Ok(());
        }
        if checksum != fold(pseudo) {
            return Err(wrong);
        }
        // Nobody does who is told nothing but the frame's bytes: two veths have no card between them.
        let at = if self.protocol == TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
        if packet.is_unfinished(self.offset + HEADER + at) {
            return Ok(());
        }
        Err(DropReason::ChecksumUnfinished)
    }
}

/// The IPv4 header at `offset` of a packet that is whole and has no options, and the packet's length, bytes.
#[inline(always)]
pub(crate) fn whole(
    packet: &impl Packet,
    offset: usize,
) -> Result<(Window<'_, HEADER>, u16), DropReason> {
    let (ip, total_length) = well_formed(packet, offset)?;
    if ip.u16::<6>() & !(DONT_FRAGMENT | RESERVED) != 0 {
        return Err(DropReason::Fragment);
    }
    Ok((ip, total_length))
}

/// The same of a packet that may be a fragment.
#[inline(always)]
pub(crate) fn well_formed(
    packet: &impl Packet,
    offset: usize,
) -> Result<(Window<'_, HEADER>, u16), DropReason> {
    let ip = packet.window::<HEADER>(offset).ok_or(DropReason::Truncated)?;
    let version_ihl = ip.u8::<0>();
    if version_ihl != VERSION_IHL {
        let options = version_ihl >> 4 == 4 && version_ihl & 0x0f > 5;
        return Err(if options { DropReason::Ipv4Options } else { DropReason::Ipv4Header });
    }
    let total_length = u16::from_be(ip.u16::<2>());
    if usize::from(total_length) < HEADER || !packet.reaches(offset + usize::from(total_length)) {
        return Err(DropReason::Ipv4Header);
    }
    Ok((ip, total_length))
}

/// A well-formed TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Where it comes from and goes to.
    pub header: Header,
    /// What its TCP header says.
    pub tcp: tcp::Header,
}

impl Segment {
    /// Reads and checks the packet at `offset`; the reason why it is none otherwise.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let (ip, total_length) = whole(packet, offset)?;
        if ip.u8::<9>() != TCP {
            return Err(DropReason::Protocol);
        }
        if usize::from(total_length) < HEADER + TCP_HEADER {
            return Err(DropReason::Truncated);
        }
        let tcp = packet.window::<TCP_HEADER>(offset + HEADER).ok_or(DropReason::Truncated)?;
        let fields = tcp::Header::read(&tcp, total_length - HEADER as u16)?;
        let ttl = ip.u8::<8>();
        if ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        let header = Header {
            offset,
            addresses: Addresses { source: ip.u32::<12>(), destination: ip.u32::<16>() },
            source_port: tcp.u16::<0>(),
            destination_port: tcp.u16::<2>(),
            total_length,
            ttl,
            protocol: TCP,
        };
        Ok(Self { header, tcp: fields })
    }

    /// Bytes of TCP header and payload.
    #[inline(always)]
    pub const fn length(&self) -> u16 {
        self.header.total_length - HEADER as u16
    }

    /// Verifies the IPv4 header checksum and, of segments up to 1 480 bytes, the TCP checksum.
    #[inline(always)]
    pub fn verify_checksums(&self, packet: &impl Packet) -> Result<(), DropReason> {
        self.header.verify(packet)?;
        let tcp = packet
            .window::<TCP_HEADER>(self.header.offset + HEADER)
            .ok_or(DropReason::Truncated)?;
        let (length, checksum) = (self.length(), tcp.u16::<16>());
        self.header.verify_payload(packet, length, checksum, DropReason::TcpChecksum)
    }
}

/// The folded sum of a header, 0xffff where its checksum is right.
#[inline(always)]
pub(crate) fn sum_header(ip: &Window<'_, HEADER>) -> u16 {
    let sum = checksum::words(ip.u32::<0>())
        + checksum::words(ip.u32::<4>())
        + checksum::words(ip.u32::<8>())
        + checksum::words(ip.u32::<12>())
        + checksum::words(ip.u32::<16>());
    fold(sum)
}

/// Longest TCP segment, UDP datagram or ICMP message whose checksum is verified, bytes: what fits a 1500-byte MTU. A SYN
/// is longer only with TCP Fast Open data on a jumbo link; the target's own check catches those.
pub const MAX_VERIFIED: u16 = 1480;

/// No folded sum.
pub const UNREADABLE: u32 = u32::MAX;

/// The folded sum of `length` bytes of a packet, at most [`MAX_VERIFIED`], from `offset` on; [`UNREADABLE`] where the frame ends
/// before.
#[inline(always)]
pub fn sum_bytes(packet: &(impl Packet + ?Sized), offset: usize, length: u16) -> u32 {
    sum_chunks(packet, offset, length).map_or(UNREADABLE, u32::from)
}

#[inline(always)]
fn sum_chunks(packet: &(impl Packet + ?Sized), offset: usize, length: u16) -> Option<u16> {
    let (chunks, tail) = (usize::from(length) / CHUNK, usize::from(length) % CHUNK);
    let mut sum = 0;
    for chunk in 0..usize::from(MAX_VERIFIED) / CHUNK {
        if chunk >= chunks {
            break;
        }
        sum += sum_chunk(&packet.chunk(offset + chunk * CHUNK, CHUNK)?);
    }
    if tail != 0 {
        sum += sum_chunk(&packet.chunk(offset + chunks * CHUNK, tail)?);
    }
    Some(fold(sum))
}

/// The sum of a chunk; zeros after an odd last byte count as RFC 1071, section 1, wants.
#[inline(always)]
fn sum_chunk(chunk: &[u32; CHUNK / 4]) -> u32 {
    chunk.iter().map(|&word| checksum::words(word)).sum()
}
