//! The two kinds of program that the data path is compiled as.

use privatelink_common::stages::Stage;

use crate::attach_choice::Mode;

/// Programs of a data path: the one that is attached, and its stages.
pub(super) const PARTS: usize = 1 + Stage::ALL.len();

/// What the data path is compiled as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramKind {
    /// For the driver: it has no socket buffer yet.
    Xdp,
    /// For the tc ingress of an interface: it has the socket buffer.
    Classifier,
}

impl ProgramKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xdp, Self::Classifier];

    /// What is attached by a mode.
    pub(super) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Xdp | Mode::XdpGeneric => Self::Xdp,
            Mode::Tcx => Self::Classifier,
        }
    }

    /// The program that is attached, and those that it calls, in the order of [`Stage::ALL`]; those of captures, or the usual ones.
    pub(super) const fn programs(self, watched: bool) -> [&'static str; PARTS] {
        match (self, watched) {
            (Self::Xdp, false) => [
                "privatelink",
                "other",
                "fragments",
                "wide",
                "wide_new",
                "wide_other",
                "refused",
                "wide_fragments",
            ],
            (Self::Xdp, true) => [
                "watched",
                "watched_other",
                "watched_fragments",
                "watched_wide",
                "watched_new",
                "watched_wother",
                "watched_refused",
                "watched_wfrags",
            ],
            (Self::Classifier, false) => [
                "tcx_privatelink",
                "tcx_other",
                "tcx_fragments",
                "tcx_wide",
                "tcx_wide_new",
                "tcx_wide_other",
                "tcx_refused",
                "tcx_wfrags",
            ],
            (Self::Classifier, true) => [
                "tcx_watched",
                "tcxw_other",
                "tcxw_fragments",
                "tcxw_wide",
                "tcxw_new",
                "tcxw_wother",
                "tcxw_refused",
                "tcxw_wfrags",
            ],
        }
    }

    /// The map through which its programs call their stages.
    pub(super) const fn stages(self) -> &'static str {
        match self {
            Self::Xdp => "STAGES",
            Self::Classifier => "CLASSIFIERS",
        }
    }
}
