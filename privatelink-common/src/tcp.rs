//! TCP headers (RFC 9293, section 3.1) as far as a NAT reads them.

use crate::drop_reason::DropReason;
use crate::memory::Window;

/// Bytes of a header without options.
pub const HEADER: usize = 20;
/// Offset of the checksum in it.
pub const CHECKSUM: usize = 16;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement field is valid.
pub const ACK: u8 = 0x10;

/// Whether the segment asks for a new connection: SYN and none of ACK, RST, FIN.
#[inline(always)]
pub const fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// Whether no TCP would send these flags: SYN with FIN or RST, FIN with RST, or none of SYN, ACK, RST.
#[inline(always)]
pub const fn impossible(flags: u8) -> bool {
    let exclusive = flags & (SYN | RST | FIN);
    flags & (SYN | RST | ACK) == 0 || exclusive & exclusive.wrapping_sub(1) != 0
}

/// What a segment's header says, its ports and checksum aside.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Sequence number, host order.
    pub sequence: u32,
    /// Acknowledgement number, host order; says something only with ACK.
    pub acknowledgement: u32,
    /// Bytes of the header with its options.
    pub header: u16,
    /// Flags, CWR to FIN.
    pub flags: u8,
}

impl Header {
    /// Of what is no segment.
    pub(crate) const NONE: Self = Self { sequence: 0, acknowledgement: 0, header: 0, flags: 0 };

    /// Reads the header of a segment that is `length` bytes long, 20 at least.
    #[inline(always)]
    pub(crate) fn read(tcp: &Window<'_, HEADER>, length: u16) -> Result<Self, DropReason> {
        let header = u16::from(tcp.u8::<12>() >> 4) * 4;
        if usize::from(header) < HEADER || header > length {
            return Err(DropReason::TcpHeader);
        }
        Ok(Self {
            sequence: u32::from_be(tcp.u32::<4>()),
            acknowledgement: u32::from_be(tcp.u32::<8>()),
            header,
            flags: tcp.u8::<13>(),
        })
    }

    /// Bytes of payload of a segment of `length` bytes.
    #[inline(always)]
    pub const fn payload(&self, length: u16) -> u16 {
        length - self.header
    }

    /// The sequence number that follows a segment of `length` bytes: SYN and FIN count as one byte each (RFC 9293, section
    /// 3.4).
    #[inline(always)]
    pub const fn end(&self, length: u16) -> u32 {
        let syn = (self.flags & SYN != 0) as u32;
        let fin = (self.flags & FIN != 0) as u32;
        self.sequence.wrapping_add(self.payload(length) as u32 + syn + fin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_flags() {
        let possible = [
            SYN,
            SYN | ACK,
            ACK,
            ACK | PSH,
            FIN | ACK,
            RST,
            RST | ACK,
            SYN | 0xc0,
            ACK | 0x20,
            SYN | PSH,
        ];
        for flags in possible {
            assert!(!impossible(flags), "{flags:#04x}");
        }
        let never = [
            0,
            FIN,
            PSH,
            FIN | PSH | 0x20,
            SYN | FIN,
            SYN | RST,
            FIN | RST,
            SYN | FIN | ACK,
            0xff,
            FIN | RST | ACK,
        ];
        for flags in never {
            assert!(impossible(flags), "{flags:#04x}");
        }
    }

    #[test]
    fn only_a_bare_syn_opens() {
        for flags in 0..=u8::MAX {
            assert_eq!(opens(flags), flags & 0x17 == SYN, "{flags:#04x}");
        }
    }
}
