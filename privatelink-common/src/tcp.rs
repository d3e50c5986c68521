//! TCP's flags.

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
