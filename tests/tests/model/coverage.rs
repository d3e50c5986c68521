//! What the runs have met, and what they must have.

use std::collections::BTreeMap;

use super::flow::Flow;
use super::mix::Mix;
use super::nat::{Fate, Nat};
use super::wire::{IPV6, Link, UDP, u16_at};
use crate::world::Port;

/// What the runs have met: how often each reason, verdict and state.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) steps: usize,
    pub(crate) sequences: usize,
    pub(crate) met: BTreeMap<String, usize>,
    /// Sequences given up because the machine stood still.
    pub(crate) stalled: usize,
}

/// What enough steps must have met. Not in reach: full tables, leases that run out, drivers without headroom.
const MET: &[&str] = &[
    "answered EndpointFlowLimit",
    "answered NoFlow",
    "answered TooBig",
    "opened TCP 4 to 4, narrow",
    "opened TCP 4 to 4, wide",
    "opened TCP 4 to 6, wide",
    "opened TCP 6 to 4, wide",
    "opened TCP 6 to 6, wide",
    "opened UDP 4 to 4, narrow",
    "opened UDP 4 to 4, wide",
    "opened UDP 4 to 6, wide",
    "opened UDP 6 to 4, wide",
    "opened UDP 6 to 6, wide",
    "opened, port kept",
    "passed",
    "passed bare",
    "refused ChecksumUnfinished",
    "refused EndpointNotAvailable",
    "refused Fragment",
    "refused FragmentUnknown",
    "refused Ipv6Extension",
    "refused Ipv6Header",
    "refused UdpChecksum",
    "refused UdpLength",
    "refused IcmpChecksum",
    "refused IcmpEcho",
    "refused IcmpNoFlow",
    "refused IcmpQuote",
    "refused IcmpType",
    "refused InterfaceGone",
    "refused Ipv4Checksum",
    "refused Ipv4Header",
    "refused Ipv4Options",
    "refused NextHopUnresolved",
    "refused NoFlow",
    "refused NoListener",
    "refused Protocol",
    "refused SecurityGroup",
    "refused SourceAddress",
    "refused TcpChecksum",
    "refused TcpFlags",
    "refused TcpHeader",
    "refused TooBig",
    "refused Truncated",
    "refused TtlExpired",
    "refused Unsolicited",
    "replied",
    "Established closed",
    "Established established",
    "Established fin_wait",
    "Established replied",
    "Established time_wait",
    "HalfOpen closed",
    "HalfOpen fin_wait",
    "HalfOpen syn_received",
    "HalfOpen syn_sent",
    "HalfOpen time_wait",
    "HalfOpen unreplied",
    "Held closed",
    "Held time_wait",
];

/// Families that frames come and leave as, and the table that their flows are in.
const WAYS: [&str; 5] =
    ["4 to 4, narrow", "4 to 4, wide", "4 to 6, wide", "6 to 4, wide", "6 to 6, wide"];

impl Coverage {
    /// What should have been met and was not.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut wanted: Vec<String> = MET.iter().map(ToString::to_string).collect();
        for way in WAYS {
            for what in ["segment", "datagram", "error", "fragment", "extended packet"] {
                if what != "extended packet" || way.starts_with('6') {
                    let sent = |to: Port| format!("{what} {way}, to {to:?}");
                    wanted.extend(Port::ALL.map(sent));
                }
            }
        }
        // B has no service with IPv4 targets where others have IPv6.
        wanted.retain(|what| !self.met.contains_key(what) && !what.ends_with("4 to 4, wide, to B"));
        wanted
    }

    pub(super) fn meet(&mut self, what: impl Into<String>) {
        *self.met.entry(what.into()).or_default() += 1;
    }

    /// Meets what has become of a frame; `opened` is the flow that it has opened.
    pub(super) fn meet_fate(
        &mut self,
        nat: &Nat,
        frame: &[u8],
        fate: &Fate,
        opened: Option<&Flow>,
    ) {
        match fate {
            Fate::Pass => self.meet("passed"),
            Fate::PassedBare(_) => self.meet("passed bare"),
            Fate::Refused(reason) => self.meet(format!("refused {reason:?}")),
            Fate::Answered(reason, _) => self.meet(format!("answered {reason:?}")),
            Fate::Replied(_) => self.meet("replied"),
            Fate::Sent(to, out) => {
                let ([was, what], [is, _]) = (carried(frame), carried(out));
                let is_narrow = (was, is) == ("4", "4") && nat.mix != Mix::Six;
                let table = if is_narrow { "narrow" } else { "wide" };
                self.meet(format!("{what} {was} to {is}, {table}, to {to:?}"));
            }
        }
        if let Some(opened) = opened {
            let protocol = if opened.protocol == UDP { "UDP" } else { "TCP" };
            let [client, target] =
                [opened.client, opened.to].map(|of| if of.0.is_ipv6() { 6 } else { 4 });
            let table = if opened.wide { "wide" } else { "narrow" };
            self.meet(format!("opened {protocol} {client} to {target}, {table}"));
            if opened.to.1 == opened.endpoint.1 {
                self.meet("opened, port kept");
            }
        }
    }
}

/// The family of a frame, and what it is of.
fn carried(frame: &[u8]) -> [&'static str; 2] {
    let link = Link::read(frame).expect("a frame");
    let packet = &frame[link.length..];
    let (family, protocol) = match link.ether_type {
        IPV6 => ("6", packet[6]),
        _ => ("4", packet[9]),
    };
    let is_piece = family == "4" && u16_at(packet, 6) & 0x3fff != 0;
    [
        family,
        match protocol {
            44 => "fragment",
            _ if is_piece => "fragment",
            1 | 58 => "error",
            UDP => "datagram",
            6 => "segment",
            _ => "extended packet",
        },
    ]
}
