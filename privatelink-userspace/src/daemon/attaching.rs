//! Which interfaces the program is attached to, and in which slots the data path knows them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use privatelink_common::records::Interface;

use crate::contents::free_slot;
use crate::datapath::{Attachment, Links};
use crate::model::{AttachMode, Model};
use crate::netlink::Link;
use crate::running::{Attached, Running};
use crate::snapshot::Snapshot;

/// Kernel names of a model's interfaces.
pub(super) fn interface_names(model: &Model) -> Vec<String> {
    let interfaces = model.vpcs.iter().flat_map(|vpc| &vpc.interfaces);
    interfaces.map(|interface| interface.name.clone()).collect()
}

/// Where an interface stands.
pub(super) struct Place<'m> {
    pub(super) vpc: &'m str,
    pub(super) number: u16,
    pub(super) zone: &'m str,
    pub(super) mode: AttachMode,
}

/// Where the model has its interfaces, by name.
pub(super) fn places(snapshot: &Snapshot) -> HashMap<&str, Place<'_>> {
    let vpcs = snapshot.model.vpcs.iter().zip(&snapshot.numbering.vpcs);
    vpcs.flat_map(|(vpc, &number)| {
        vpc.interfaces.iter().map(move |interface| {
            let (zone, mode) = (interface.zone.as_str(), interface.attach);
            (interface.name.as_str(), Place { vpc: &vpc.id, number, zone, mode })
        })
    })
    .collect()
}

/// Attaches the program to all interfaces of the model.
pub(super) fn attach_all(
    running: &Running,
    pinned: &mut Links,
    links: &HashMap<String, Link>,
) -> Result<()> {
    note_former_slots(running, links);
    let mut found = Vec::new();
    for name in interface_names(&running.snapshot().model) {
        let link = links.get(&name).with_context(|| {
            format!("interface {name} has vanished: create it, or take it out of the configuration")
        })?;
        found.extend(register(running, link.clone())?);
    }
    // All at once: a data path that an earlier daemon left must not miss one meanwhile.
    running.reconcile();
    found.iter().try_for_each(|attached| attach_program(running, pinned, attached))
}

/// Interfaces may have been made anew while no daemon ran. Which one it was can be told where a vpc has one only.
fn note_former_slots(running: &Running, links: &HashMap<String, Link>) {
    let there: HashSet<u32> = links.values().map(|link| link.ifindex).collect();
    let snapshot = running.snapshot();
    for (vpc, &number) in snapshot.model.vpcs.iter().zip(&snapshot.numbering.vpcs) {
        if let [interface] = &*vpc.interfaces {
            let is_gone = |old: &Interface| old.vpc == number && !there.contains(&old.ifindex);
            let slots = running.slots_where(is_gone);
            slots.into_iter().for_each(|slot| running.former_slots().note(&interface.name, slot));
        }
    }
}

/// Makes an interface known to the data path and attaches the program to it.
pub(super) fn attach(running: &Running, pinned: &mut Links, link: Link) -> Result<()> {
    let Some(attached) = register(running, link)? else {
        return Ok(());
    };
    running.reconcile();
    if let Err(error) = attach_program(running, pinned, &attached) {
        running.interfaces().remove(&attached.link.name);
        running.reconcile();
        return Err(error);
    }
    Ok(())
}

/// Notes that an interface is to be attached, if the model has it.
fn register(running: &Running, link: Link) -> Result<Option<Attached>> {
    let snapshot = running.snapshot();
    let wanted = places(&snapshot);
    let Some(Place { vpc, number, zone, mode }) = wanted.get(link.name.as_str()) else {
        return Ok(None);
    };
    let slot = take_slot(running, &link)?;
    let (vpc, zone) = ((*vpc).to_owned(), (*zone).to_owned());
    let attached = Attached { slot, vpc, vpc_number: *number, zone, mode: *mode, link };
    running.interfaces().insert(attached.link.name.clone(), attached.clone());
    Ok(Some(attached))
}

/// A slot for an interface: the one it has had since an earlier daemon, which may have others lead to it too; else one
/// that nobody has, best one that nobody has left.
fn take_slot(running: &Running, link: &Link) -> Result<u32> {
    let taken: Vec<u32> = running.interfaces().values().map(|attached| attached.slot).collect();
    let is_taken = |slot| taken.contains(&slot);
    let (index, before) = (link.ifindex, running.slots_where(|old| old.ifindex == link.ifindex));
    let mut former = running.former_slots();
    let is_kept = |slot| is_taken(slot) || former.contains(slot);
    let slot = free_slot(&link.name, index, |slot| is_kept(slot) || !before.contains(&slot))
        .or_else(|_| free_slot(&link.name, index, is_kept))
        .or_else(|_| free_slot(&link.name, index, is_taken))?;
    former.release(slot);
    for left in before.into_iter().filter(|&left| left != slot && !is_taken(left)) {
        former.note(&link.name, left);
    }
    Ok(slot)
}

fn attach_program(running: &Running, pinned: &mut Links, attached: &Attached) -> Result<()> {
    let Attached { link, vpc, mode, .. } = attached;
    let to = Attachment {
        interface: link.name.clone(),
        ifindex: link.ifindex,
        mode: *mode,
        present: link.xdp.as_ref().map(|xdp| xdp.prog_id),
    };
    pinned.attach(&mut running.datapath(), &to)?;
    let (name, mode) = (&link.name, mode.name());
    if attached.mode == AttachMode::Generic {
        log::warn!(
            "interface {name} uses generic XDP, as configured: several times slower than native"
        );
    }
    log::info!("interface {name} of {vpc} is attached, XDP {mode}");
    Ok(())
}
