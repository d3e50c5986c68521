//! Interfaces, and what to tell people about those that need a setting on their far end.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, LinkXdp, State,
    XdpAttached,
};

use super::Result;
use super::request::Requests;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Kernel's number for it; a re-created interface gets another.
    pub ifindex: u32,
    /// Name, e.g. `eth1`.
    pub name: String,
    /// Ethernet address; zero if it has none.
    pub mac: [u8; 6],
    /// Largest IP packet it carries, in bytes.
    pub mtu: u32,
    /// Switched on (`ip link set … up`), whether or not it has a carrier.
    pub admin_up: bool,
    /// Carries packets: switched on and its operational state is up or unknown.
    pub up: bool,
    /// What kind of device it is.
    pub kind: LinkKind,
    /// XDP program attached to it, ours or not.
    pub xdp: Option<AttachedXdp>,
}

/// Kind of device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// One end of a virtual cable.
    Veth {
        /// The other end; `None` when the kernel does not tell.
        peer: Option<Peer>,
    },
    /// Anything else, by the kernel's name (`vlan`, `tun`, `bond` …); empty for a hardware driver.
    Other(String),
}

/// The other end of a veth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number within its own network namespace.
    pub ifindex: u32,
    /// Our id of its network namespace; `None` when that is ours.
    pub netnsid: Option<i32>,
    /// Its name, when it is in our network namespace.
    pub name: Option<String>,
}

/// An XDP program attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    /// Id of the program, as in `bpftool prog show id …`; the native one if there are several.
    pub prog_id: u32,
    /// Where it runs.
    pub mode: XdpMode,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the socket buffer was made: slow.
    Generic,
    /// On the card.
    Offloaded,
    /// Several programs in different modes.
    Multiple,
}

impl Link {
    /// Reads an `RTM_NEWLINK` message. `None` if it has no name (not an interface of this host).
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        let mut name = None;
        let mut mac = [0; 6];
        let mut mtu = 0;
        let mut oper = State::Unknown;
        let mut kind = String::new();
        let mut peer_ifindex = None;
        let mut netnsid = None;
        let mut xdp = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(value) => name = Some(value.clone()),
                LinkAttribute::Address(value) => {
                    mac = value.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(value) => mtu = *value,
                LinkAttribute::OperState(value) => oper = *value,
                LinkAttribute::Link(value) => peer_ifindex = Some(*value),
                LinkAttribute::LinkNetNsId(value) => netnsid = Some(*value),
                LinkAttribute::Xdp(value) => xdp = attached_xdp(value),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(value) = info {
                            kind = value.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
        let admin_up = message.header.flags.contains(LinkFlags::Up);
        let kind = if kind == InfoKind::Veth.to_string() {
            // A veth whose peer's namespace is being torn down says IFLA_LINK 0.
            let peer = peer_ifindex.filter(|ifindex| *ifindex != 0);
            LinkKind::Veth { peer: peer.map(|ifindex| Peer { ifindex, netnsid, name: None }) }
        } else {
            LinkKind::Other(kind)
        };
        Some(Self {
            ifindex: message.header.index,
            name: name?,
            mac,
            mtu,
            admin_up,
            up: admin_up && matches!(oper, State::Up | State::Unknown),
            kind,
            xdp,
        })
    }
}

fn attached_xdp(attributes: &[LinkXdp]) -> Option<AttachedXdp> {
    let mut mode = None;
    let mut single = None;
    let mut native = None;
    let mut any = None;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(XdpMode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(XdpMode::Generic),
            LinkXdp::Attached(XdpAttached::Hardware) => mode = Some(XdpMode::Offloaded),
            LinkXdp::Attached(XdpAttached::Multiple) => mode = Some(XdpMode::Multiple),
            LinkXdp::ProgId(id) => single = Some(*id),
            LinkXdp::DrvProgId(id) => native = Some(*id),
            LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => any = Some(*id),
            _ => {}
        }
    }
    // With several programs the kernel leaves out IFLA_XDP_PROG_ID.
    Some(AttachedXdp { prog_id: single.or(native).or(any)?, mode: mode? })
}

/// Fills in the names of peers that are in the same network namespace.
fn name_peers(links: &mut [Link]) {
    let names: BTreeMap<u32, String> =
        links.iter().map(|link| (link.ifindex, link.name.clone())).collect();
    for link in links {
        if let LinkKind::Veth { peer: Some(peer) } = &mut link.kind
            && peer.netnsid.is_none()
        {
            peer.name = names.get(&peer.ifindex).cloned();
        }
    }
}

impl Requests {
    /// All interfaces, in the kernel's order.
    pub(super) async fn links(&self) -> Result<Vec<Link>> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answer = self.dump("list interfaces", RouteNetlinkMessage::GetLink(query)).await?;
        let mut links: Vec<Link> = answer
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(message) => Link::from_message(message),
                _ => None,
            })
            .collect();
        name_peers(&mut links);
        Ok(links)
    }
}

/// How to make the far end of an interface finish its checksums before it sends, as one command.
///
/// On a veth the peer hands packets over with the TCP checksum unfinished (`CHECKSUM_PARTIAL`), and
/// an XDP program sees them as they are.
pub fn tx_off_advice(link: &Link) -> String {
    far_end_command(link, "tx off")
}

/// How to give the far end of an interface a NAPI, without which the kernel silently drops frames
/// that XDP redirects to a veth (`veth_xdp_xmit()` needs one; GRO switches it on), as one command.
pub fn napi_advice(link: &Link) -> String {
    far_end_command(link, "gro on")
}

fn far_end_command(link: &Link, setting: &str) -> String {
    match &link.kind {
        LinkKind::Veth { peer: Some(Peer { name: Some(name), .. }) } => {
            format!("ethtool -K {name} {setting}")
        }
        LinkKind::Veth { peer: Some(Peer { ifindex, .. }) } => format!(
            "inside the network namespace of the peer (ifindex {ifindex}): \
             ethtool -K <name of its interface> {setting}"
        ),
        LinkKind::Veth { peer: None } | LinkKind::Other(_) => {
            format!(
                "on the machine at the far end of {}: ethtool -K <name of its interface> {setting}",
                link.name
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, ifindex: u32, kind: LinkKind) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            admin_up: true,
            up: true,
            kind,
            xdp: None,
        }
    }

    fn veth(peer: u32, netnsid: Option<i32>) -> LinkKind {
        LinkKind::Veth { peer: Some(Peer { ifindex: peer, netnsid, name: None }) }
    }

    #[test]
    fn advice_names_the_peer_where_it_can() {
        let other = LinkKind::Other("tun".to_owned());
        let mut links = [
            link("v0", 5, veth(6, None)),
            link("v1", 6, veth(5, None)),
            link("far", 7, veth(5, Some(0))),
            link("tap0", 8, other),
        ];
        name_peers(&mut links);
        let [v0, v1, far, tap0] = links;
        assert_eq!(tx_off_advice(&v0), "ethtool -K v1 tx off");
        assert_eq!(napi_advice(&v1), "ethtool -K v0 gro on");
        assert_eq!(
            tx_off_advice(&far),
            "inside the network namespace of the peer (ifindex 5): ethtool -K <name of its interface> tx off"
        );
        assert_eq!(
            napi_advice(&tap0),
            "on the machine at the far end of tap0: ethtool -K <name of its interface> gro on"
        );
    }

    fn message(flags: LinkFlags, oper: State) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = flags;
        message.attributes = vec![
            LinkAttribute::IfName("v0".to_owned()),
            LinkAttribute::Mtu(1400),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::OperState(oper),
            LinkAttribute::Link(9),
            LinkAttribute::LinkNetNsId(0),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        ];
        message
    }

    #[test]
    fn a_veth_is_read_with_its_peer() {
        let read = Link::from_message(&message(LinkFlags::Up, State::Up)).expect("a named link");
        let mut expected = link("v0", 7, veth(9, Some(0)));
        expected.mac = [2, 0, 0, 0, 0, 9];
        expected.mtu = 1400;
        assert_eq!(read, expected);
    }

    #[test]
    fn up_needs_both_the_switch_and_the_carrier() {
        for (flags, oper, up) in [
            (LinkFlags::Up, State::Up, true),
            (LinkFlags::Up, State::Unknown, true),
            (LinkFlags::Up, State::LowerLayerDown, false),
            (LinkFlags::Up, State::Dormant, false),
            (LinkFlags::empty(), State::Unknown, false),
        ] {
            let read = Link::from_message(&message(flags, oper)).expect("a named link");
            assert_eq!(read.up, up, "{flags:?} {oper:?}");
        }
    }

    #[test]
    fn xdp_mode_and_program_are_read() {
        let native =
            [LinkXdp::Attached(XdpAttached::Driver), LinkXdp::DrvProgId(12), LinkXdp::ProgId(12)];
        assert_eq!(attached_xdp(&native), Some(AttachedXdp { prog_id: 12, mode: XdpMode::Native }));
        let both = [
            LinkXdp::SkbProgId(13),
            LinkXdp::DrvProgId(12),
            LinkXdp::Attached(XdpAttached::Multiple),
        ];
        assert_eq!(attached_xdp(&both), Some(AttachedXdp { prog_id: 12, mode: XdpMode::Multiple }));
        assert_eq!(attached_xdp(&[LinkXdp::Attached(XdpAttached::None)]), None);
    }
}
