//! Why a packet was dropped: one numbered list for the data path, the command line and the manual.

macro_rules! drop_reasons {
    ($($name:ident = $number:literal, $meaning:literal;)+) => {
        /// Why a packet was dropped. The numbers are stable; new reasons are added at the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum DropReason {
            $(#[doc = $meaning] $name = $number,)+
        }

        impl DropReason {
            /// Every reason, in order of number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The reason with this number.
            #[inline(always)]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Its name as printed, the identifier itself.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, in words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

drop_reasons! {
    Truncated = 1, "the frame ends within a header";
    Ipv4Header = 2, "IPv4 version, header length or total length is impossible";
    Ipv4Options = 3, "IPv4 options are not carried";
    Fragment = 4, "a fragment of another protocol than UDP, or one that cannot belong to a datagram";
    Ipv4Checksum = 5, "the IPv4 header checksum of a flow's first packet is wrong";
    SourceAddress = 6, "the source address cannot be a client's (zero, loopback, link-local of IPv6, multicast, broadcast or the endpoint itself)";
    TtlExpired = 7, "the time to live ran out here";
    Protocol = 8, "the protocol is not published at this address";
    TcpHeader = 9, "the TCP header length is impossible";
    TcpFlags = 10, "the TCP flags contradict each other";
    TcpChecksum = 11, "the TCP checksum of a SYN is wrong";
    ChecksumUnfinished = 12, "the checksum of a flow's first packet was left for a network card to finish (transmit checksum offload on the sender's veth)";
    SecurityGroup = 13, "no ingress rule of the endpoint's security groups allows it";
    EndpointNotAvailable = 14, "the endpoint is not in state available";
    NoListener = 15, "no listener publishes this port";
    NoFlow = 16, "a segment in mid-stream without a flow, answered with a RST";
    NoTarget = 17, "the target group has no usable target";
    NextHopUnresolved = 18, "the next hop towards the target is not resolved";
    LeaseExhausted = 19, "no NAT lease towards the target is free";
    FlowTableFull = 20, "the flow table is full";
    Unsolicited = 21, "sent to a load balancer address by a host that holds no flow there";
    TooBig = 22, "larger than the MTU of the interface it must leave by";
    InterfaceGone = 23, "the interface it must leave by is not attached";
    NoHeadroom = 24, "the driver left no room to add VLAN tags";
    RedirectFailed = 25, "the interface it had to leave by refused it, its queue being full (counted on that interface)";
    NoReceiver = 26, "the far end of the veth it had to leave by takes no redirected frames: it has no NAPI (counted on that interface)";
    IcmpType = 27, "an ICMP message of a type that is neither answered nor carried";
    IcmpChecksum = 28, "the ICMP checksum is wrong, or the message too long to verify it";
    IcmpQuote = 29, "an ICMP error that quotes no TCP segment or UDP datagram";
    IcmpNoFlow = 30, "an ICMP error about a packet that no flow had sent there";
    IcmpEcho = 31, "an ICMP echo request to an address that does not answer any";
    EndpointFlowLimit = 32, "the endpoint has as many flows as its limit allows";
    EndpointHalfOpenLimit = 33, "the endpoint has as many half-open flows as its limit allows";
    EndpointRateLimit = 34, "the endpoint has opened as many flows in this second as its limit allows";
    FlowTableBusy = 35, "other CPUs kept changing the same part of the flow table";
    UdpLength = 36, "the UDP length is impossible";
    UdpChecksum = 37, "the UDP checksum of a flow's first datagram is wrong, or missing where IPv6 demands one";
    FragmentUnknown = 38, "a later fragment of a datagram whose first one has not come through here in the last two seconds";
    Ipv6Header = 39, "IPv6 version or payload length is impossible";
    Ipv6Extension = 40, "an IPv6 extension header that is not carried, or too many of them";
}

/// Counters kept per interface: one per reason, indexed by its number; index 0 is unused.
pub const DROP_COUNTERS: usize = 64;

const _: () = {
    let mut index = 0;
    while index < DropReason::ALL.len() {
        assert!(
            DropReason::ALL[index] as usize == index + 1,
            "reasons are numbered from 1 without gaps"
        );
        index += 1;
    }
    assert!(DropReason::ALL.len() < DROP_COUNTERS, "every reason has a counter");
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_every_reason() {
        let manual = include_str!("../../docs/observability.md");
        for reason in DropReason::ALL {
            let row = format!("| {} | {} | {} | ", *reason as u32, reason.name(), reason.meaning());
            assert!(
                manual.lines().any(|line| line.starts_with(&row) && line.len() > row.len() + 2),
                "docs/observability.md lacks this row: {row}"
            );
        }
    }
}
