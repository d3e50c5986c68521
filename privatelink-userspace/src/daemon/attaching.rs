//! Which interfaces the data path is attached to, and in which slots it knows them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use privatelink_common::records::Interface;

use super::settling::{Failed, attach_first, settle};
use crate::attach_choice::{Choice, NativeXdp};
use crate::contents::free_slot;
use crate::datapath::Links;
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
struct Place<'m> {
    vpc: &'m str,
    number: u16,
    zone: &'m str,
    attach: AttachMode,
}

/// Where the model has its interfaces, by name.
fn places(snapshot: &Snapshot, attach: AttachMode) -> HashMap<&str, Place<'_>> {
    let vpcs = snapshot.model.vpcs.iter().zip(&snapshot.numbering.vpcs);
    vpcs.flat_map(|(vpc, &number)| {
        vpc.interfaces.iter().map(move |interface| {
            let (zone, attach) = (interface.zone.as_str(), interface.attach.or(attach));
            (interface.name.as_str(), Place { vpc: &vpc.id, number, zone, attach })
        })
    })
    .collect()
}

/// Attaches the data path to all interfaces of the model.
pub(super) fn attach_all(
    running: &Running,
    pinned: &mut Links,
    links: &HashMap<String, Link>,
) -> Result<()> {
    note_former_slots(running, links);
    for name in interface_names(&running.snapshot().model) {
        let link = links.get(&name).with_context(|| {
            format!("interface {name} has vanished: create it, or take it out of the configuration")
        })?;
        register(running, link.clone())?;
    }
    Ok(attach_first(running, pinned)?)
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

/// Makes an interface known to the data path and attaches that to it, if the model has it.
pub(super) fn attach(running: &Running, pinned: &mut Links, link: Link) {
    let (name, before) = (link.name.clone(), running.interfaces().clone());
    match register(running, link) {
        Ok(()) => tell(settle(running, pinned, &before)),
        Err(error) => log::error!("interface {name} cannot be attached: {error:#}"),
    }
}

/// Takes the data path off interfaces that the model no longer has, and follows those that it has otherwise. New ones are
/// attached when they are seen.
pub(super) fn follow_model(running: &Running, pinned: &mut Links) {
    let snapshot = running.snapshot();
    let wanted = places(&snapshot, running.attach());
    let before = running.interfaces().clone();
    for (name, attached) in &before {
        let Some(place) = wanted.get(name.as_str()) else {
            pinned.forget(attached.link.ifindex);
            running.interfaces().remove(name);
            log::info!("interface {name} is detached");
            continue;
        };
        let choice = match place.attach == attached.wanted {
            true => attached.choice,
            false => Choice::of(place.attach, &attached.link, NativeXdp::Supposed),
        };
        let moved = Attached {
            vpc: place.vpc.to_owned(),
            vpc_number: place.number,
            zone: place.zone.to_owned(),
            wanted: place.attach,
            choice,
            ..attached.clone()
        };
        running.interfaces().insert(name.clone(), moved);
    }
    tell(settle(running, pinned, &before));
}

fn tell(failed: Vec<Failed>) {
    for (name, error) in failed {
        log::error!("interface {name} cannot be attached: {error}");
    }
}

/// Notes that an interface is to be attached, if the model has it.
fn register(running: &Running, link: Link) -> Result<()> {
    let snapshot = running.snapshot();
    let wanted = places(&snapshot, running.attach());
    let Some(Place { vpc, number, zone, attach }) = wanted.get(link.name.as_str()) else {
        return Ok(());
    };
    let attached = Attached {
        slot: take_slot(running, &link)?,
        vpc: (*vpc).to_owned(),
        vpc_number: *number,
        zone: (*zone).to_owned(),
        wanted: *attach,
        choice: Choice::of(*attach, &link, NativeXdp::Supposed),
        link,
    };
    running.interfaces().insert(attached.link.name.clone(), attached);
    Ok(())
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
