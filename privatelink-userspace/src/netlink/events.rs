//! The connection subscribed to changes.

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use super::neighbour::{Entry, Neighbour};
use super::{Error, Result};

/// Bytes of events that wait while we are busy; the kernel caps it at `net.core.rmem_max`. More is an
/// overrun, which costs a re-dump.
const RECEIVE_BUFFER: u32 = 1 << 20;

/// Policy routing rules are watched too: they change what a route lookup answers.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A link, address, route or rule changed: everything derived from them is to be looked at again.
    Topology,
    /// A neighbour entry changed, or went (`None`).
    Neighbour(Neighbour, Option<Entry>),
    /// Events were lost.
    Overrun,
}

/// The subscription; its task ends with it.
pub(super) struct Events {
    notices: BoxStream<'static, Notice>,
    /// The connection closes with its last handle.
    _handle: Handle,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Events {
    /// Subscribes.
    pub(super) fn open() -> Result<Self> {
        let (mut connection, handle, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(Error::Open)?;
        connection.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER).map_err(Error::Open)?;
        let task = tokio::spawn(connection);
        let notices = messages.filter_map(async |(message, _)| classify(message)).boxed();
        Ok(Self { notices, _handle: handle, task })
    }

    /// The next notice; `None` once the connection has died.
    pub(super) async fn next(&mut self) -> Option<Notice> {
        self.notices.next().await
    }

    /// A notice that is there already.
    pub(super) fn try_next(&mut self) -> Option<Notice> {
        self.notices.next().now_or_never().flatten()
    }
}

fn classify(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Notice> {
    match message.payload {
        NetlinkPayload::Overrun(_) => Some(Notice::Overrun),
        NetlinkPayload::InnerMessage(inner) => match inner {
            RouteNetlinkMessage::NewNeighbour(message) if is_ip(message.header.family) => {
                Entry::from_message(&message)
                    .map(|(neighbour, entry)| Notice::Neighbour(neighbour, Some(entry)))
            }
            RouteNetlinkMessage::DelNeighbour(message) if is_ip(message.header.family) => {
                Entry::from_message(&message)
                    .map(|(neighbour, _)| Notice::Neighbour(neighbour, None))
            }
            // The forwarding database of bridges comes here as well.
            RouteNetlinkMessage::NewNeighbour(_) | RouteNetlinkMessage::DelNeighbour(_) => None,
            _ => Some(Notice::Topology),
        },
        _ => None,
    }
}

fn is_ip(family: AddressFamily) -> bool {
    matches!(family, AddressFamily::Inet | AddressFamily::Inet6)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};

    use super::*;

    fn neighbour(family: AddressFamily, address: IpAddr) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.header.ifindex = 5;
        message.header.state = NeighbourState::Stale;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        message
    }

    #[test]
    fn events_are_told_apart() {
        let ipv4 = IpAddr::from([10, 9, 0, 2]);
        let ipv6: IpAddr = "2001:db8:9::2".parse().expect("an address");
        let key = |address| Neighbour { ifindex: 5, address };
        let entry = Entry { state: NeighbourState::Stale, mac: None, managed: false, ours: false };
        for (message, notice) in [
            (RouteNetlinkMessage::NewLink(LinkMessage::default()), Some(Notice::Topology)),
            (
                RouteNetlinkMessage::NewNeighbour(neighbour(AddressFamily::Inet, ipv4)),
                Some(Notice::Neighbour(key(ipv4), Some(entry))),
            ),
            (
                RouteNetlinkMessage::NewNeighbour(neighbour(AddressFamily::Inet6, ipv6)),
                Some(Notice::Neighbour(key(ipv6), Some(entry))),
            ),
            (
                RouteNetlinkMessage::DelNeighbour(neighbour(AddressFamily::Inet, ipv4)),
                Some(Notice::Neighbour(key(ipv4), None)),
            ),
            (
                RouteNetlinkMessage::DelNeighbour(neighbour(AddressFamily::Inet6, ipv6)),
                Some(Notice::Neighbour(key(ipv6), None)),
            ),
            (RouteNetlinkMessage::NewNeighbour(neighbour(AddressFamily::Bridge, ipv4)), None),
        ] {
            assert_eq!(classify(message.into()), notice);
        }
        let overrun = NetlinkMessage::new(Default::default(), NetlinkPayload::Overrun(Vec::new()));
        assert_eq!(classify(overrun), Some(Notice::Overrun));
    }
}
