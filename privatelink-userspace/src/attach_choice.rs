//! By which mode the data path is attached to an interface, and why: a pure function, so that it is tested without a
//! kernel.

use crate::model::AttachMode;
use crate::netlink::{Link, LinkKind, Sends};

/// The longest packet, in bytes, whose frame is in one buffer wherever XDP is: a page of 4 KiB, less 256 bytes of headroom, 320 of the
/// kernel's notes at its end, and an Ethernet header with two tags. Drivers that do XDP in single buffers refuse an MTU above.
pub const ONE_BUFFER: u32 = 3498;

/// How the data path is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By XDP in the driver.
    Xdp,
    /// By XDP in the network stack.
    XdpGeneric,
    /// At tc ingress, where packets are as the sender's offloads left them.
    Tcx,
}

impl Mode {
    /// Its name in the configuration, as `privatelink status` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => AttachMode::Xdp.name(),
            Self::XdpGeneric => AttachMode::XdpGeneric.name(),
            Self::Tcx => AttachMode::Tcx.name(),
        }
    }

    /// The hooks that an interface of this mode has a program on, in the order in which they are to be attached. Behind XDP
    /// there is the classifier where any interface of the gateway `has_tcx`: XDP leaves to it what must go out by that one.
    pub const fn hooks(self, has_tcx: bool) -> &'static [Self] {
        match (self, has_tcx) {
            (Self::Tcx, _) => &[Self::Tcx],
            (Self::Xdp, false) => &[Self::Xdp],
            (Self::Xdp, true) => &[Self::Tcx, Self::Xdp],
            (Self::XdpGeneric, false) => &[Self::XdpGeneric],
            (Self::XdpGeneric, true) => &[Self::Tcx, Self::XdpGeneric],
        }
    }
}

/// What is known of a driver's own XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeXdp {
    /// Nothing says that it has none.
    Supposed,
    /// The driver has none.
    Missing,
    /// The driver has it, but not for the interface as it is set up.
    Refused,
    /// The driver has it for what comes in, and takes nothing to send from XDP of other interfaces.
    ReceivesOnly,
    /// The driver, or the kernel, carries less than the interface's MTU.
    OneBuffer,
}

impl NativeXdp {
    /// Of a driver that takes this to send, as far as the kernel tells, for an interface of an MTU.
    pub const fn of(sends: Option<Sends>, mtu: u32) -> Self {
        match sends {
            Some(Sends::Nothing) => Self::ReceivesOnly,
            Some(Sends::OneBuffer) | None if mtu > ONE_BUFFER => Self::OneBuffer,
            _ => Self::Supposed,
        }
    }
}

/// A mode, and why it is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// Why, in a few words.
    pub reason: &'static str,
}

impl Choice {
    /// The mode for a link of which this is wanted.
    pub fn of(wanted: AttachMode, link: &Link, native: NativeXdp) -> Self {
        let configured = |mode| Self { mode, reason: "as configured" };
        match wanted {
            AttachMode::Xdp => configured(Mode::Xdp),
            AttachMode::XdpGeneric => configured(Mode::XdpGeneric),
            AttachMode::Tcx => configured(Mode::Tcx),
            AttachMode::Auto => {
                let reason = against_xdp(link).or(match native {
                    NativeXdp::Supposed => None,
                    NativeXdp::Missing => Some("driver has no native XDP"),
                    NativeXdp::Refused => Some("driver refuses native XDP as it is set up"),
                    NativeXdp::ReceivesOnly => Some("driver sends nothing that XDP redirects"),
                    NativeXdp::OneBuffer => Some("its MTU is more than XDP carries there"),
                });
                let by_driver = Self { mode: Mode::Xdp, reason: "driver supports XDP natively" };
                reason.map_or(by_driver, |reason| Self { mode: Mode::Tcx, reason })
            }
        }
    }
}

/// Why a device of this kind is better off without XDP, whatever its driver can do.
fn against_xdp(link: &Link) -> Option<&'static str> {
    let LinkKind::Other(kind) = &link.kind else {
        return Some("veth: XDP would take its offloads");
    };
    match kind.as_str() {
        "tun" => Some("tap: XDP would take its offloads"),
        "bridge" => Some("bridge: has no native XDP"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(kind: LinkKind) -> Link {
        Link {
            ifindex: 3,
            name: "eth1".into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            admin_up: true,
            up: true,
            kind,
            xdp: None,
        }
    }

    fn other(kind: &str) -> LinkKind {
        LinkKind::Other(kind.into())
    }

    #[test]
    fn auto_takes_xdp_where_it_costs_no_offload() {
        use Mode::{Tcx, Xdp};
        use NativeXdp::{Missing, OneBuffer, ReceivesOnly, Refused, Supposed};
        let veth = || LinkKind::Veth { peer: None };
        for (kind, native, mode, reason) in [
            (other(""), Supposed, Xdp, "driver supports XDP natively"),
            (other(""), Missing, Tcx, "driver has no native XDP"),
            (other(""), Refused, Tcx, "driver refuses native XDP as it is set up"),
            (other(""), ReceivesOnly, Tcx, "driver sends nothing that XDP redirects"),
            (other(""), OneBuffer, Tcx, "its MTU is more than XDP carries there"),
            (other("bond"), Supposed, Xdp, "driver supports XDP natively"),
            (other("vlan"), Missing, Tcx, "driver has no native XDP"),
            (veth(), Supposed, Tcx, "veth: XDP would take its offloads"),
            (veth(), Missing, Tcx, "veth: XDP would take its offloads"),
            (other("tun"), Supposed, Tcx, "tap: XDP would take its offloads"),
            (other("bridge"), Supposed, Tcx, "bridge: has no native XDP"),
        ] {
            let chosen = Choice::of(AttachMode::Auto, &link(kind.clone()), native);
            assert_eq!(chosen, Choice { mode, reason }, "{kind:?} {native:?}");
        }
    }

    #[test]
    fn jumbo_frames_need_several_buffers() {
        use NativeXdp::{OneBuffer, ReceivesOnly, Supposed};
        for (sends, mtu, native) in [
            (Some(Sends::Any), 9000, Supposed),
            (Some(Sends::OneBuffer), ONE_BUFFER, Supposed),
            (Some(Sends::OneBuffer), ONE_BUFFER + 1, OneBuffer),
            (Some(Sends::Nothing), 1500, ReceivesOnly),
            (None, ONE_BUFFER, Supposed),
            (None, ONE_BUFFER + 1, OneBuffer),
        ] {
            assert_eq!(NativeXdp::of(sends, mtu), native, "{sends:?} {mtu}");
        }
    }

    #[test]
    fn what_is_configured_goes_on_any_link() {
        for (wanted, mode) in [
            (AttachMode::Xdp, Mode::Xdp),
            (AttachMode::XdpGeneric, Mode::XdpGeneric),
            (AttachMode::Tcx, Mode::Tcx),
        ] {
            for kind in [LinkKind::Veth { peer: None }, other(""), other("bridge")] {
                let chosen = Choice::of(wanted, &link(kind), NativeXdp::Supposed);
                assert_eq!(chosen, Choice { mode, reason: "as configured" });
            }
            assert_eq!(mode.name(), wanted.name());
        }
    }

    #[test]
    fn the_classifier_is_behind_xdp_where_any_interface_is_tcx() {
        assert_eq!(Mode::Xdp.hooks(false), [Mode::Xdp]);
        assert_eq!(Mode::Xdp.hooks(true), [Mode::Tcx, Mode::Xdp]);
        assert_eq!(Mode::XdpGeneric.hooks(true), [Mode::Tcx, Mode::XdpGeneric]);
        assert_eq!(Mode::Tcx.hooks(true), [Mode::Tcx]);
    }
}
