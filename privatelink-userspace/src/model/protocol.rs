//! Transport protocols.

use privatelink_common::flow_table::PacketKey;
use privatelink_common::ipv4;
use serde::{Deserialize, Serialize};

/// Transport protocol of packets.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Protocol {
    /// That of the flow which packets with this key are of: there are flows of no others.
    pub const fn of_flow(key: &PacketKey) -> Self {
        match key.protocol {
            ipv4::UDP => Self::Udp,
            _ => Self::Tcp,
        }
    }

    /// IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => ipv4::TCP,
            Self::Udp => ipv4::UDP,
        }
    }

    /// Lower-case name, as in the configuration and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Transport protocols of a listener or target group, by AWS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Both.
    TcpUdp,
}

impl Protocols {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::TcpUdp];

    /// Each of the protocols.
    pub const fn each(self) -> &'static [Protocol] {
        match self {
            Self::Tcp => &[Protocol::Tcp],
            Self::Udp => &[Protocol::Udp],
            Self::TcpUdp => &[Protocol::Tcp, Protocol::Udp],
        }
    }

    /// Whether these are among them.
    pub fn include(self, others: Self) -> bool {
        others.each().iter().all(|other| self.each().contains(other))
    }

    /// Lower-case name, as in the configuration and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::TcpUdp => "tcp_udp",
        }
    }
}
