//! Brings what interfaces have attached in step with their modes, so that no packet passes unhandled meanwhile.

use std::collections::BTreeMap;

use super::attaching::interface_names;
use crate::attach_choice::{Choice, Mode, NativeXdp};
use crate::datapath::{Attachment, DatapathError, Links};
use crate::model::AttachMode;
use crate::netlink::sends;
use crate::running::{Attached, Running};

/// An interface that cannot be attached as it should be, and why.
pub(super) type Failed = (String, DatapathError);

/// Attaches all interfaces as their modes say, where none was by this daemon. The first that fails is told of; what an
/// earlier daemon left then goes on as it is.
pub(super) fn attach_first(running: &Running, pinned: &mut Links) -> Result<(), DatapathError> {
    let failed = attach_chosen(running, pinned).into_iter().next();
    failed.map_or(Ok(()), |(_, error)| Err(error))?;
    narrow(running, pinned);
    Ok(())
}

/// Attaches all interfaces as their modes say. One that fails is as it was `before`, or goes.
pub(super) fn settle(
    running: &Running,
    pinned: &mut Links,
    before: &BTreeMap<String, Attached>,
) -> Vec<Failed> {
    let failed = attach_chosen(running, pinned);
    for (name, _) in &failed {
        let mut interfaces = running.interfaces();
        let Some(Attached { link, .. }) = interfaces.remove(name) else { continue };
        match before.get(name).filter(|before| before.link.ifindex == link.ifindex) {
            Some(attached) => drop(interfaces.insert(name.clone(), attached.clone())),
            None => pinned.forget(link.ifindex),
        }
    }
    running.reconcile();
    narrow(running, pinned);
    failed
}

/// Takes off what no interface's mode asks for.
fn narrow(running: &Running, pinned: &mut Links) {
    let interfaces = interfaces(running);
    let has_tcx = has_tcx(&interfaces);
    for Attached { link, choice, .. } in &interfaces {
        pinned.narrow(link.ifindex, choice.mode.hooks(has_tcx));
    }
}

/// Attaches what is missing by the modes that are chosen, and by another where the driver has none of the first choice.
fn attach_chosen(running: &Running, pinned: &mut Links) -> Vec<Failed> {
    loop {
        let mut failed = attach_missing(running, pinned);
        let all = failed.len();
        failed.retain(|(name, error)| !take_other_mode(running, name, error));
        // Another mode of one interface may change what all others need.
        if failed.len() == all {
            return failed;
        }
    }
}

/// Gives an interface to tc ingress whose driver has turned out not to do XDP, if it is told to choose.
fn take_other_mode(running: &Running, name: &str, error: &DatapathError) -> bool {
    let native = match error {
        DatapathError::NoNativeXdp { .. } => NativeXdp::Missing,
        DatapathError::ReceivesOnly { .. } => NativeXdp::ReceivesOnly,
        DatapathError::OneBuffer { .. } => NativeXdp::OneBuffer,
        DatapathError::Attach { .. } => NativeXdp::Refused,
        _ => return false,
    };
    let mut interfaces = running.interfaces();
    let chose = |of: &&mut Attached| of.wanted == AttachMode::Auto && of.choice.mode == Mode::Xdp;
    let Some(attached) = interfaces.get_mut(name).filter(chose) else {
        return false;
    };
    if native == NativeXdp::Refused {
        log::warn!("{error}; it is attached at tc ingress instead");
    }
    attached.choice = Choice::of(attached.wanted, &attached.link, native);
    true
}

/// Attaches what is missing, and leaves what there should not be.
fn attach_missing(running: &Running, pinned: &mut Links) -> Vec<Failed> {
    let interfaces = interfaces(running);
    let has_tcx = has_tcx(&interfaces);
    // Those first that are attached already: they may leave packets for the new ones to the classifier.
    let (old, new): (Vec<_>, Vec<_>) =
        interfaces.into_iter().partition(|of| pinned.has_any(of.link.ifindex));
    let mut attach = |of: Attached| {
        attach_programs(running, pinned, &of, has_tcx).err().map(|error| (of.link.name, error))
    };
    let mut failed: Vec<Failed> = old.into_iter().filter_map(&mut attach).collect();
    // All at once: a data path that an earlier daemon left must not miss one meanwhile.
    running.reconcile();
    failed.extend(new.into_iter().filter_map(attach));
    failed
}

fn attach_programs(
    running: &Running,
    pinned: &mut Links,
    attached: &Attached,
    has_tcx: bool,
) -> Result<(), DatapathError> {
    let Attached { link, vpc, wanted, choice: Choice { mode, reason }, .. } = attached;
    let was = pinned.has(link.ifindex, *mode);
    let to = Attachment {
        interface: link.name.clone(),
        ifindex: link.ifindex,
        hooks: mode.hooks(has_tcx),
        present: link.xdp,
    };
    pinned.attach(&mut running.datapath(), &to)?;
    if was {
        return Ok(());
    }
    let (name, interface) = (&link.name, link.name.clone());
    // Only now: many a driver can once it has a program. While the interface is down, it need not.
    if *mode == Mode::Xdp && link.up {
        match NativeXdp::of(sends(link.ifindex), link.mtu) {
            NativeXdp::ReceivesOnly if *wanted == AttachMode::Auto => {
                return Err(DatapathError::ReceivesOnly { interface });
            }
            NativeXdp::OneBuffer => {
                return Err(DatapathError::OneBuffer { interface, mtu: link.mtu });
            }
            _ => {}
        }
    }
    if *mode == Mode::XdpGeneric {
        log::warn!(
            "interface {name} uses generic XDP, as configured: several times slower than native"
        );
    }
    log::info!("interface {name} of {vpc} is attached by {}: {reason}", mode.name());
    Ok(())
}

/// Those of the model that are there, in its order.
fn interfaces(running: &Running) -> Vec<Attached> {
    let (snapshot, attached) = (running.snapshot(), running.interfaces());
    let names = interface_names(&snapshot.model);
    names.iter().filter_map(|name| attached.get(name).cloned()).collect()
}

fn has_tcx(interfaces: &[Attached]) -> bool {
    interfaces.iter().any(|of| of.choice.mode == Mode::Tcx)
}
