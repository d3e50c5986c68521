//! How the daemon is attached in the lab, and what that asks of the lab's links.

use clap::ValueEnum;
use privatelink_tests::Links;

/// How the daemon is attached to interfaces, by the configuration's names.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Attach {
    /// As the daemon chooses.
    Auto,
    /// By XDP in the driver.
    Xdp,
    /// By XDP in the network stack.
    XdpGeneric,
    /// At tc ingress.
    Tcx,
}

impl Attach {
    /// The links that it works on: XDP needs settings of a veth's far end.
    pub(crate) const fn links(self) -> Links {
        match self {
            Self::Auto | Self::Tcx => Links::Plain,
            Self::Xdp | Self::XdpGeneric => Links::ForXdp,
        }
    }

    /// What the daemon is told.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
        }
    }
}
