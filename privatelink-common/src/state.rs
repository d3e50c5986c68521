//! The state of a flow.

use crate::tcp::{ACK, FIN, RST, SYN};

/// State of a flow, by conntrack's names.
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
    /// UDP: the client has sent, the target nothing.
    Unreplied,
    /// UDP: the target has answered.
    Replied,
}

impl State {
    /// The state of a TCP connection by the flags seen from the client, and from the target.
    pub const fn of_tcp(forward: u8, reverse: u8) -> Self {
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

    /// The state of a UDP flow, whether its target has answered or not.
    pub const fn of_udp(is_replied: bool) -> Self {
        if is_replied { Self::Replied } else { Self::Unreplied }
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
            Self::Unreplied => "unreplied",
            Self::Replied => "replied",
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
            assert_eq!(State::of_tcp(forward, reverse), state);
        }
    }
}
