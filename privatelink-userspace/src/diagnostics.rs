//! Drops that an operator must hear of, in words that name the cure; each at most once a minute.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use privatelink_common::drop_reason::DropReason;

use crate::attach_choice::Mode;
use crate::netlink::{Link, LinkKind, napi_advice, tx_off_advice};

/// The same thing about the same interface is said again only after this long.
const SILENCE: Duration = Duration::from_secs(60);

/// What has been counted and said so far.
#[derive(Debug, Default)]
pub struct Diagnostics {
    seen: HashMap<(String, u32), Seen>,
}

/// Drops that an operator must hear of. Displayed as a line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the interface.
    pub interface: String,
    /// Why packets were dropped.
    pub reason: DropReason,
    /// How many, since it was found last.
    pub packets: u64,
    /// What the reason means, and what to do.
    pub description: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, reason, packets, description } = self;
        let reason = reason.name();
        write!(f, "interface {interface}: {packets} packets dropped as {reason}: {description}")
    }
}

#[derive(Debug, Default)]
struct Seen {
    reported: u64,
    said: Option<Instant>,
}

impl Diagnostics {
    /// Takes the count that an earlier daemon left, which is no news.
    pub fn begin_with(&mut self, link: &Link, reason: DropReason, packets: u64) {
        let seen = self.seen.entry((link.name.clone(), reason as u32)).or_default();
        seen.reported = packets;
    }

    /// Takes the count of a reason on an interface of this mode; returns what is to be said now, if anything.
    pub fn observe(
        &mut self,
        link: &Link,
        mode: Mode,
        reason: DropReason,
        packets: u64,
        now: Instant,
    ) -> Option<Finding> {
        let advice = advice(link, mode, reason)?;
        let seen = self.seen.entry((link.name.clone(), reason as u32)).or_default();
        if packets == seen.reported
            || seen.said.is_some_and(|said| now.duration_since(said) < SILENCE)
        {
            return None;
        }
        let fresh = packets.saturating_sub(seen.reported);
        seen.reported = packets;
        seen.said = Some(now);
        let description = format!("{}; {advice}", reason.meaning());
        Some(Finding { interface: link.name.clone(), reason, packets: fresh, description })
    }
}

/// What to do about a reason, for those that are a fault of the set-up and not of the sender.
fn advice(link: &Link, mode: Mode, reason: DropReason) -> Option<String> {
    let xdp = mode != Mode::Tcx;
    let veth = matches!(link.kind, LinkKind::Veth { .. });
    match reason {
        DropReason::ChecksumUnfinished if xdp => Some(format!("cure: {}", tx_off_advice(link))),
        DropReason::NoReceiver if veth && xdp => Some(format!("cure: {}", napi_advice(link))),
        DropReason::NoReceiver if xdp => {
            Some("cure: bring the interface up, and use a driver with XDP redirect".into())
        }
        DropReason::NextHopUnresolved => {
            Some("see `privatelink targets` for the next hop and why it is missing".into())
        }
        DropReason::LeaseExhausted => {
            Some("give the load balancer another address, or the target group more targets".into())
        }
        DropReason::FlowTableFull => Some(
            "give it more `capacity` under [flow_table], or `ipv6_flow_capacity` for flows with IPv6; `privatelink flows --sort idle` shows what holds it".into(),
        ),
        DropReason::FlowTableBusy => Some("the gateway needs more or faster CPUs".into()),
        DropReason::EndpointFlowLimit
        | DropReason::EndpointHalfOpenLimit
        | DropReason::EndpointRateLimit => Some(
            "see `privatelink endpoints` for which one; its `limits` or [endpoint_limits] say how many it may have".into(),
        ),
        DropReason::NoTarget => Some("give a target of the group a weight above 0".into()),
        DropReason::InterfaceGone => {
            Some("see `privatelink status` for the interfaces that are attached".into())
        }
        DropReason::NoHeadroom => Some("carry VLAN tags in hardware, or use another driver".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Peer;

    fn link(kind: LinkKind) -> Link {
        Link {
            ifindex: 3,
            name: "pl-consumer-a".into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            admin_up: true,
            up: true,
            kind,
            xdp: None,
        }
    }

    fn veth(name: Option<&str>) -> Link {
        link(LinkKind::Veth {
            peer: Some(Peer { ifindex: 7, netnsid: None, name: name.map(Into::into) }),
        })
    }

    #[test]
    fn an_unfinished_checksum_names_interface_and_command() {
        let mut diagnostics = Diagnostics::default();
        let line = diagnostics.observe(
            &veth(Some("client0")),
            Mode::Xdp,
            DropReason::ChecksumUnfinished,
            3,
            Instant::now(),
        );
        let line = line.unwrap().to_string();
        assert!(
            line.starts_with("interface pl-consumer-a: 3 packets dropped as ChecksumUnfinished: "),
            "{line}"
        );
        assert!(line.contains("ethtool -K client0 tx off"), "{line}");
    }

    #[test]
    fn a_veth_without_napi_names_interface_and_command() {
        let mut diagnostics = Diagnostics::default();
        let line = diagnostics
            .observe(
                &veth(Some("client0")),
                Mode::XdpGeneric,
                DropReason::NoReceiver,
                1,
                Instant::now(),
            )
            .unwrap()
            .to_string();
        assert!(line.contains("ethtool -K client0 gro on"), "{line}");
        let other = diagnostics.observe(
            &link(LinkKind::Other("tun".into())),
            Mode::Xdp,
            DropReason::NoReceiver,
            9,
            Instant::now(),
        );
        assert!(other.is_none(), "same interface, same reason, within the minute");
    }

    #[test]
    fn what_an_earlier_daemon_left_is_no_news() {
        let mut diagnostics = Diagnostics::default();
        let (link, reason) = (veth(None), DropReason::ChecksumUnfinished);
        diagnostics.begin_with(&link, reason, 5);
        assert_eq!(diagnostics.observe(&link, Mode::Xdp, reason, 5, Instant::now()), None);
        let line =
            diagnostics.observe(&link, Mode::Xdp, reason, 7, Instant::now()).unwrap().to_string();
        assert!(line.contains(": 2 packets dropped"), "{line}");
    }

    #[test]
    fn the_same_is_said_once_a_minute_with_what_came_since() {
        let mut diagnostics = Diagnostics::default();
        let start = Instant::now();
        let link = veth(None);
        let mut observe = |packets, after| {
            diagnostics.observe(
                &link,
                Mode::Tcx,
                DropReason::LeaseExhausted,
                packets,
                start + Duration::from_secs(after),
            )
        };
        assert!(observe(0, 0).is_none(), "nothing dropped");
        assert!(observe(5, 1).is_some_and(|found| found.packets == 5));
        assert!(observe(8, 2).is_none());
        assert!(observe(9, 62).is_some_and(|found| found.packets == 4));
        assert!(observe(9, 200).is_none(), "nothing new");
    }

    #[test]
    fn what_senders_do_is_not_logged() {
        let mut diagnostics = Diagnostics::default();
        for reason in [
            DropReason::SecurityGroup,
            DropReason::NoListener,
            DropReason::TcpFlags,
            DropReason::NoFlow,
        ] {
            let said = diagnostics.observe(&veth(None), Mode::Xdp, reason, 1_000, Instant::now());
            assert_eq!(said, None);
        }
    }

    #[test]
    fn what_xdp_needs_of_a_veth_is_not_asked_for_at_tc_ingress() {
        let mut diagnostics = Diagnostics::default();
        for reason in [DropReason::ChecksumUnfinished, DropReason::NoReceiver] {
            let link = veth(Some("client0"));
            assert_eq!(diagnostics.observe(&link, Mode::Tcx, reason, 3, Instant::now()), None);
        }
    }
}
