//! XDP by a link.

use aya::programs::links::{FdLink, LinkError};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

/// Attaches a program; whoever drops the link takes it off.
pub(super) fn attach(
    program: &mut Xdp,
    ifindex: u32,
    mode: XdpMode,
) -> Result<Result<FdLink, LinkError>, ProgramError> {
    let id = program.attach_to_if_index(ifindex, mode)?;
    program.take_link(id).map(FdLink::try_from)
}

/// Swaps the program of a link in one step. False where the link's interface was deleted: it refuses then.
pub(super) fn update(program: &mut Xdp, link: FdLink) -> bool {
    let swapped = XdpLink::try_from(link)
        .map_err(drop)
        .and_then(|link| program.attach_to_link(link).map_err(drop))
        .and_then(|id| program.take_link(id).map_err(drop));
    swapped.is_ok()
}
