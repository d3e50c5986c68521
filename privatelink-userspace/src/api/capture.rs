//! What is captured, and how it is told in JSON.

use std::iter::Sum;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::filter::{Clients, Targets};

/// Which packets to capture and how many, the query of `GET /v1/capture` and of `GET /v1/trace`. All filters must let a
/// packet pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureQuery {
    /// Only packets about this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only packets of these clients, and to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Clients>,
    /// Only packets of these targets, and to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Targets>,
    /// Only packets about this port of an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only packets that are counted as dropped, those that were answered included.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// Also packets that are left to the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Most bytes of a packet, 64 to 2048; 128 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snaplen: Option<u32>,
    /// End after so many packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// End before the answer has more bytes than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// End after so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Of so many packets take one; 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// Take so many packets in a second at most; 10000 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// What a capture came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSummary {
    /// Packets that were captured.
    pub packets: u64,
    /// Packets that were left out by sampling, or because they were too many in a second.
    pub left_out: u64,
    /// Packets that were lost because the capture was not read as fast as they came.
    pub lost: u64,
}

/// The answer of `DELETE /v1/capture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureEnded {
    /// Always true: the answer of the capture ends in order.
    pub ended: bool,
}

impl Sum for CaptureSummary {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, of| Self {
            packets: sum.packets + of.packets,
            left_out: sum.left_out + of.left_out,
            lost: sum.lost + of.lost,
        })
    }
}

/// A line of the answer of `GET /v1/trace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceLine {
    /// A packet.
    Packet(Box<TracedPacket>),
    /// How it stands: every ten seconds, and at the end.
    Summary(CaptureSummary),
}

/// A packet that was handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedPacket {
    /// When, by RFC 3339 with nanoseconds.
    pub time: String,
    /// Interface that it came in by.
    pub interface: String,
    /// As it arrived.
    pub before: Headers,
    /// `redirect`, `drop` or `pass`.
    pub verdict: String,
    /// Interface that it, or the answer to it, left by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// As it, or the answer to it, left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Headers>,
    /// Drop reason that it is counted by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Endpoint that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Vpc of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Address and port of the client; port 0 where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<SocketAddr>,
    /// Address and port of the target; port 0 where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<SocketAddr>,
}

/// A packet's headers, as far as they are within the bytes captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `arp`, or the number of the EtherType or of the IP protocol.
    pub protocol: String,
    /// VLAN ids, outer first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<u16>,
    /// Source: an address, with a port for TCP and UDP.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Destination: as the source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub destination: String,
    /// TCP flags as tcpdump writes them, e.g. `S.`; type and code of an ICMP or ICMPv6 message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flags: String,
    /// TCP sequence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
    /// Bytes of the frame.
    pub length: u32,
}
