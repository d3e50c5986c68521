//! TCP as far as a NAT must know it: flags, the state of a flow and how long it may be idle.

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

/// State of a flow, derived from the flags seen in either direction; by conntrack's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The client has sent a SYN, the target nothing.
    SynSent,
    /// The target has answered the SYN, the client not yet confirmed.
    SynReceived,
    /// Both sides may send.
    Established,
    /// One side has closed.
    FinWait,
    /// Both sides have closed.
    TimeWait,
    /// One side has reset the connection.
    Closed,
}

impl State {
    /// The state that these flags amount to: all those seen from the client, all those from the target.
    pub const fn of(forward: u8, reverse: u8) -> Self {
        if (forward | reverse) & RST != 0 {
            Self::Closed
        } else if forward & reverse & FIN != 0 {
            Self::TimeWait
        } else if (forward | reverse) & FIN != 0 {
            Self::FinWait
        } else if reverse & SYN == 0 {
            Self::SynSent
        } else if forward & ACK == 0 {
            Self::SynReceived
        } else {
            Self::Established
        }
    }

    /// Lower-case name, as listings print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_received",
            Self::Established => "established",
            Self::FinWait => "fin_wait",
            Self::TimeWait => "time_wait",
            Self::Closed => "closed",
        }
    }

    /// Whether the connection is over and only its last segments are awaited.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Closed)
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

    #[test]
    fn life_of_a_connection() {
        let steps = [
            (SYN, 0, State::SynSent),
            (SYN, SYN | ACK, State::SynReceived),
            (SYN | ACK, SYN | ACK, State::Established),
            (SYN | ACK | FIN, SYN | ACK, State::FinWait),
            (SYN | ACK, SYN | ACK | FIN, State::FinWait),
            (SYN | ACK | FIN, SYN | ACK | FIN, State::TimeWait),
            (SYN | ACK | RST, SYN | ACK, State::Closed),
            (SYN, RST | ACK, State::Closed),
        ];
        for (forward, reverse, state) in steps {
            assert_eq!(State::of(forward, reverse), state);
        }
    }
}
