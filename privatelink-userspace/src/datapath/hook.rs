//! Where programs of ours are on interfaces, and by which names among the pins that is known.

use std::fs;
use std::io;
use std::path::Path;

use super::{filter, unpin};

/// A place on an interface that a program of ours is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hook {
    /// What kind of place.
    pub(super) kind: Kind,
    /// Index of the interface.
    pub(super) ifindex: u32,
}

/// What kind of place it is, and what keeps the program there while no daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// XDP, by a pinned link.
    Xdp,
    /// tc ingress, by a pinned link.
    Tcx,
    /// tc ingress, by a filter, which stays by itself: a directory among the pins marks it.
    Filter,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Xdp, Self::Tcx, Self::Filter];

    /// What stands before the index of the interface in the name of a pin. By index: bpffs allows no dot, interface names
    /// do.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Xdp => "xdp-",
            Self::Tcx => "tcx-",
            Self::Filter => "tc-",
        }
    }
}

impl Hook {
    /// The name of its pin.
    pub(super) fn pin(self) -> String {
        format!("{}{}", self.kind.prefix(), self.ifindex)
    }

    /// The hook that is pinned here; `None` for what is pinned otherwise.
    pub(super) fn of_pin(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        Kind::ALL.into_iter().find_map(|kind| {
            let ifindex = name.strip_prefix(kind.prefix())?.parse().ok()?;
            Some(Self { kind, ifindex })
        })
    }

    /// Takes the program off, unless its interface was deleted, and removes the pin.
    pub(super) fn clear(self, pin: &Path) -> io::Result<()> {
        match self.kind {
            Kind::Xdp | Kind::Tcx => unpin::remove(pin),
            Kind::Filter => {
                filter::remove(self.ifindex);
                fs::remove_dir(pin)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_found_again_by_the_name_of_its_pin() {
        for kind in Kind::ALL {
            let hook = Hook { kind, ifindex: 12 };
            let path = Path::new("/sys/fs/bpf/privatelink/v1").join(hook.pin());
            assert_eq!(Hook::of_pin(&path), Some(hook));
        }
        for other in ["FLOWS", "xdp-", "xdp-eth0", "tc"] {
            assert_eq!(Hook::of_pin(Path::new(other)), None, "{other}");
        }
    }
}
