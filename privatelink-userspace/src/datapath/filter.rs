//! The classifier at tc ingress as a filter of its own, where the kernel has no tcx (before Linux 6.6).
//!
//! It stays by itself when the daemon ends, and is found again by its priority and handle.

use std::io;
use std::mem;

use aya::programs::links::Link as _;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact,
};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use nix::net::if_::if_indextoname;

/// Before filters that were given no priority, which get 49 152 and less; not 1, which scripts like.
const PRIORITY: u16 = 3;
/// "pl", and 1.
const HANDLE: TcHandle = TcHandle::new(0x706c, 1);

/// Attaches a program.
pub(super) fn attach(program: &mut SchedClassifier, interface: &str) -> Result<(), ProgramError> {
    // The qdisc may be there. Where it cannot be made, the filter finds none, which says why.
    if let Err(error) = qdisc_add_clsact(interface) {
        log::debug!("interface {interface} gets no clsact qdisc: {error}");
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let options = TcAttachOptions::Netlink(options);
    let id = program.attach_with_options(interface, TcAttachType::Ingress, options)?;
    // Dropping it would take the filter off.
    mem::forget(program.take_link(id)?);
    Ok(())
}

/// Swaps the program of the filter in one step. False where there is none.
pub(super) fn update(program: &mut SchedClassifier, ifindex: u32) -> bool {
    let swapped = link(ifindex)
        .map_err(drop)
        .and_then(|link| program.attach_to_link(link).map_err(drop))
        .and_then(|id| program.take_link(id).map_err(drop))
        .map(mem::forget);
    swapped.is_ok()
}

/// Takes the filter off, if it is there. The qdisc stays: others may have come to use it.
pub(super) fn remove(ifindex: u32) {
    let removed = link(ifindex).and_then(|link| link.detach().map_err(io::Error::other));
    if let Err(error) = removed {
        log::debug!("interface {ifindex} loses no filter: {error}");
    }
}

fn link(ifindex: u32) -> io::Result<SchedClassifierLink> {
    let name = if_indextoname(ifindex)?;
    let name = name.to_str().map_err(io::Error::other)?;
    SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, HANDLE, None)
}
