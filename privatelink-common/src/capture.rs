//! Capturing: which packets are wanted, and what is told of each.
//!
//! What a packet is about is read from its first bytes as they arrived and from the flow tables as they are once the packet
//! has been handled, so both directions of a flow are known by the same client, endpoint and target.

mod asked;
mod subject;

pub use asked::Asked;
pub use subject::Subject;

use crate::wide::WideAddress;

/// Most bytes of a packet that are told, before and after each.
pub const MAX_SNAPLEN: u32 = 2048;
/// Fewest bytes that a capture may ask for: Ethernet, IPv4 and TCP with ten bytes of tags and options.
pub const MIN_SNAPLEN: u32 = 64;
/// Bytes that are looked at, whatever is told: two tags, IPv6, and what an ICMP error quotes up to the ports.
pub const HEADERS: u32 = 128;
/// No endpoint: any, in an order; not known, of a packet.
pub const NO_ENDPOINT: u32 = u32::MAX;

/// What a capture takes, the element of map `CAPTURE`. Written by the daemon; read by the watched program only.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number of the capture: what an earlier one left behind is told from its own.
    pub run: u32,
    /// The tick up to which it goes on. The daemon moves it on and on, so nothing is told to a daemon that is gone.
    pub until: u32,
    /// The clients' network.
    pub client: WideAddress,
    /// Its mask, which of IPv4 has all bits of what is mapped; 0 takes every packet.
    pub client_mask: WideAddress,
    /// Address of the target; 0 takes every packet.
    pub target: WideAddress,
    /// Port of the target, network order; 0 takes every packet.
    pub target_port: u16,
    /// Port of the endpoint, network order; 0 takes every packet.
    pub port: u16,
    /// Number of the endpoint, or [`NO_ENDPOINT`].
    pub endpoint: u32,
    /// [`Order::DROPPED`], [`Order::PASSED`] and [`Order::IPV6_CLIENTS`].
    pub flags: u32,
    /// Most bytes told of a packet, [`MIN_SNAPLEN`] to [`MAX_SNAPLEN`].
    pub snaplen: u32,
    /// One of so many packets is told.
    pub sample: u32,
    /// Most packets told in a second.
    pub rate: u32,
}

impl Order {
    /// Only packets that are counted as dropped, those that were answered included.
    pub const DROPPED: u32 = 1;
    /// Also packets that are the host's.
    pub const PASSED: u32 = 2;
    /// Only packets whose client is known by an IPv6 address: in a short prefix of those lie the IPv4 addresses too.
    pub const IPV6_CLIENTS: u32 = 4;
    /// What stands in the map while nothing is captured.
    pub const NONE: Self = Self {
        run: 0,
        until: 0,
        client: UNKNOWN,
        client_mask: UNKNOWN,
        target: UNKNOWN,
        target_port: 0,
        port: 0,
        endpoint: NO_ENDPOINT,
        flags: 0,
        snaplen: 0,
        sample: 0,
        rate: 0,
    };

    /// Whether packets of this kind are wanted: of the host's, or counted as dropped.
    #[inline(always)]
    pub const fn wants_kind(&self, passed: bool, dropped: bool) -> bool {
        (!passed || self.flags & Self::PASSED != 0) && (dropped || self.flags & Self::DROPPED == 0)
    }

    /// Whether packets about this are wanted.
    #[inline(always)]
    pub const fn wants(&self, subject: &Subject) -> bool {
        self.wants_client(subject.client)
            && (is(self.target, UNKNOWN) || is(self.target, subject.target))
            && (self.target_port == 0 || self.target_port == subject.target_port)
            && (self.port == 0 || self.port == subject.port)
            && (self.endpoint == NO_ENDPOINT || self.endpoint == subject.endpoint)
    }

    #[inline(always)]
    const fn wants_client(&self, client: WideAddress) -> bool {
        let ([a, b], [c, d]) = (client.0, self.client_mask.0);
        is(WideAddress([a & c, b & d]), self.client)
            && (self.flags & Self::IPV6_CLIENTS == 0 || !(client.is_ipv4() || is(client, UNKNOWN)))
    }
}

/// Nobody's address.
const UNKNOWN: WideAddress = WideAddress([0; 2]);

#[inline(always)]
const fn is(WideAddress([a, b]): WideAddress, WideAddress([c, d]): WideAddress) -> bool {
    a == c && b == d
}

/// What is told of a packet, before its bytes: [`Captured::before`] of them as it arrived, then [`Captured::after`] as it
/// left.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Nanoseconds since the machine started.
    pub time: u64,
    /// Number of the capture.
    pub run: u32,
    /// Index of the interface it came in by.
    pub ingress: u32,
    /// Index of the interface it left by; 0 if by none.
    pub egress: u32,
    /// What the program returned, XDP's number.
    pub action: u32,
    /// Number of the drop reason that it was counted by, or 0.
    pub reason: u32,
    /// Bytes it had as it arrived.
    pub length_before: u32,
    /// Bytes it had in the end.
    pub length_after: u32,
    /// Bytes told of it as it arrived.
    pub before: u32,
    /// Bytes told of it as it left.
    pub after: u32,
    /// Explicit padding; of no meaning.
    pub padding: u32,
    /// What it is about.
    pub subject: Subject,
}

/// What became of packets that came in by an interface, by CPU, map `CAPTURE_COUNTS`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That were wanted.
    pub wanted: u64,
    /// Of these, left out by sampling.
    pub sampled_out: u64,
    /// Of these, left out because they were too many in a second.
    pub rate_limited: u64,
    /// Of these, lost because the daemon did not read as fast as they came.
    pub lost: u64,
}

const _: () = assert!(size_of::<Order>() == 80 && size_of::<Captured>() == 96);

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn wide(text: &str) -> WideAddress {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn clients_of_either_family() {
        let wants = |network: &str, mask: &str, flags, client: &str| {
            let (network, mask) = (wide(network), wide(mask));
            let order = Order { client: network, client_mask: mask, flags, ..Order::NONE };
            order.wants(&Subject { client: wide(client), ..Subject::UNKNOWN })
        };
        let ones = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:0";
        assert!(wants("10.0.0.0", ones, 0, "10.0.2.20"));
        assert!(!wants("10.0.0.0", ones, 0, "10.1.2.20"));
        assert!(!wants("10.0.0.0", ones, 0, "fd00::1") && !wants("10.0.0.0", ones, 0, "::"));
        let of_six = Order::IPV6_CLIENTS;
        assert!(wants("fd00::", "ffff:ffff:ffff:ffff::", of_six, "fd00::1"));
        assert!(!wants("fd00::", "ffff:ffff:ffff:ffff::", of_six, "fd00:0:0:1::1"));
        assert!(wants("::", "::", of_six, "fd00::1"));
        assert!(!wants("::", "::", of_six, "10.0.2.20") && !wants("::", "::", of_six, "::"));
        assert!(wants("::", "::", 0, "10.0.2.20") && wants("::", "::", 0, "::"));
    }
}
