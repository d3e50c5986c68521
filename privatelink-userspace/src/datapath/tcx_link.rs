//! The classifier at tc ingress by a link (tcx, Linux 6.6).

use aya::programs::links::{FdLink, LinkError};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};

use super::error::errno;

/// Attaches a program before all others there; whoever drops the link takes it off.
pub(super) fn attach(
    program: &mut SchedClassifier,
    interface: &str,
) -> Result<Result<FdLink, LinkError>, ProgramError> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, TcAttachType::Ingress, options)?;
    program.take_link(id).map(FdLink::try_from)
}

/// The id of a program of this name that an interface has there already: the kernel would take another one beside it.
pub(super) fn present(interface: &str, name: &str) -> Option<u32> {
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress).ok()?;
    let same = programs.into_iter().find(|program| program.name_as_str() == Some(name));
    same.map(|program| program.id())
}

/// Swaps the program of a link in one step. False where the link's interface was deleted: it refuses then.
pub(super) fn update(program: &mut SchedClassifier, link: FdLink) -> bool {
    let swapped = SchedClassifierLink::try_from(link)
        .map_err(drop)
        .and_then(|link| program.attach_to_link(link).map_err(drop))
        .and_then(|id| program.take_link(id).map_err(drop));
    swapped.is_ok()
}

/// Whether attaching has failed because the kernel knows no such link: an attach type that `bpf()` does not know is
/// EINVAL, as it is without CONFIG_NET_XGRESS.
pub(super) fn is_unknown(error: &ProgramError) -> bool {
    matches!(errno(error), Some(nix::libc::EINVAL | nix::libc::EOPNOTSUPP))
}
