//! Route lookups bound to an interface.

use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::request::Requests;
use super::{Error, Result};

/// What the routing tables say about a destination behind an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The destination is reached directly.
    OnLink {
        /// Limit set on the route itself.
        mtu: Option<u32>,
    },
    /// The destination is reached through a router.
    Gateway {
        /// The router. One of IPv6 may lead to a destination of IPv4.
        gateway: IpAddr,
        /// Limit set on the route itself.
        mtu: Option<u32>,
    },
    /// Nothing usable; why, as the rest of a sentence that begins with "there is".
    Absent(String),
}

impl Requests {
    /// Looks `target` up as if sent out of the interface.
    ///
    /// Bound to an interface, Linux answers every lookup of IPv4: without a matching route (or with a
    /// blackhole) it pretends that the destination is on the link (`ip_route_output_key_hash_rcu()`).
    /// Only `RTM_F_FIB_MATCH` (Linux 4.13) tells a route from that pretence, so it is asked first. It
    /// returns a whole multipath route, though, so the gateway comes from the plain lookup, which picks
    /// the first living next hop on the interface. For IPv6 it pretends nothing, and sees only routes of that
    /// interface: not a blackhole, which is one of `lo`.
    pub(super) async fn route(&self, ifindex: u32, target: IpAddr) -> Result<Route> {
        let Some(matched) = self.lookup(ifindex, target, RouteFlags::FibMatch).await? else {
            return Ok(Route::Absent("no route".to_owned()));
        };
        let Some(effective) = self.lookup(ifindex, target, RouteFlags::empty()).await? else {
            return Ok(Route::Absent("no route".to_owned()));
        };
        Ok(read(&matched, &effective, ifindex))
    }

    async fn lookup(
        &self,
        ifindex: u32,
        target: IpAddr,
        flags: RouteFlags,
    ) -> Result<Option<RouteMessage>> {
        let mut query = RouteMessage::default();
        (query.header.address_family, query.header.destination_prefix_length) = match target {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        query.header.flags = flags;
        query.attributes.push(RouteAttribute::Destination(target.into()));
        query.attributes.push(RouteAttribute::Oif(ifindex));
        match self.ask("look up a route", RouteNetlinkMessage::GetRoute(query), 0).await {
            Ok(answer) => Ok(answer.into_iter().find_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => Some(route),
                _ => None,
            })),
            Err(error) if no_route(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The kernel's ways to say that a destination cannot be reached, including blackhole (`EINVAL`) and
/// prohibit (`EACCES`) routes and an interface that has just gone (`ENODEV`) or down (`ENETDOWN`).
fn no_route(error: &Error) -> bool {
    use nix::libc::{EACCES, EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH, ENODEV};
    [EHOSTUNREACH, ENETUNREACH, EINVAL, EACCES, ENODEV, ENETDOWN]
        .into_iter()
        .any(|errno| error.is(errno))
}

/// Puts the two answers together.
fn read(matched: &RouteMessage, effective: &RouteMessage, ifindex: u32) -> Route {
    let kind = effective.header.kind;
    if kind != RouteType::Unicast {
        return Route::Absent(format!("only a route of type {} ({kind:?})", u8::from(kind)));
    }
    let mtu = matched.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    });
    let mut router = None;
    for attribute in &effective.attributes {
        match attribute {
            RouteAttribute::Oif(oif) if *oif != ifindex => {
                return Route::Absent(format!(
                    "only a route through another interface (ifindex {oif})"
                ));
            }
            RouteAttribute::Gateway(RouteAddress::Inet(gateway))
            | RouteAttribute::Via(RouteVia::Inet(gateway)) => router = Some((*gateway).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway))
            | RouteAttribute::Via(RouteVia::Inet6(gateway)) => router = Some((*gateway).into()),
            _ => {}
        }
    }
    match router {
        Some(gateway) => Route::Gateway { gateway, mtu },
        None => Route::OnLink { mtu },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 254);
    const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn answer(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        message
    }

    #[test]
    fn answers_are_read() {
        let oif = || RouteAttribute::Oif(5);
        let plain = answer(RouteType::Unicast, vec![oif()]);
        let limited = answer(
            RouteType::Unicast,
            vec![oif(), RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)])],
        );
        let routed = answer(
            RouteType::Unicast,
            vec![RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)), oif()],
        );
        let routed6 = answer(
            RouteType::Unicast,
            vec![RouteAttribute::Gateway(RouteAddress::Inet6(GATEWAY6)), oif()],
        );
        let via6 =
            answer(RouteType::Unicast, vec![RouteAttribute::Via(RouteVia::Inet6(GATEWAY6)), oif()]);
        let local = answer(RouteType::Local, vec![RouteAttribute::Oif(1)]);
        let absent = |why: &str| Route::Absent(why.to_owned());
        let through = |gateway, mtu| Route::Gateway { gateway, mtu };
        for (matched, effective, route) in [
            (&plain, &plain, Route::OnLink { mtu: None }),
            (&limited, &plain, Route::OnLink { mtu: Some(1400) }),
            (&plain, &routed, through(GATEWAY.into(), None)),
            (&limited, &routed, through(GATEWAY.into(), Some(1400))),
            (&limited, &routed6, through(GATEWAY6.into(), Some(1400))),
            (&plain, &via6, through(GATEWAY6.into(), None)),
            (&plain, &local, absent("only a route of type 2 (Local)")),
        ] {
            assert_eq!(read(matched, effective, 5), route);
        }
        assert_eq!(
            read(&plain, &plain, 6),
            absent("only a route through another interface (ifindex 5)")
        );
    }
}
