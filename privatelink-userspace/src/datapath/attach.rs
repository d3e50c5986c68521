//! Attaching the program to interfaces by pinned links, and taking it off again.
//!
//! A pinned link outlives the daemon, so no packet is lost while none runs, and the next daemon swaps the program in one
//! step.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, XdpMode, loaded_programs};

use super::error::{DatapathError, errno};
use super::object::Datapath;
use super::pins::{Pins, pin_error};
use super::unpin;
use crate::model::AttachMode;

/// An interface to attach to.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// Its kernel index.
    pub ifindex: u32,
    /// How.
    pub mode: AttachMode,
    /// Id of the XDP program that it has now.
    pub present: Option<u32>,
}

/// The attached interfaces. Dropping it takes the program off all of them and removes the pins, unless they are to be
/// kept.
pub struct Links {
    attached: Vec<PathBuf>,
    pins: Pins,
}

impl Links {
    /// No interface yet; links are pinned, or found, in a directory.
    pub const fn new(pins: Pins) -> Self {
        Self { attached: Vec::new(), pins }
    }

    /// Leaves everything attached when this is dropped, or takes it off then.
    pub fn set_keep(&mut self, keep: bool) {
        self.pins.set_keep(keep);
    }

    /// Attaches the program of `datapath`, or swaps it in where an earlier daemon left its own.
    pub fn attach(
        &mut self,
        datapath: &mut Datapath,
        to: &Attachment,
    ) -> Result<(), DatapathError> {
        datapath.join_stages()?;
        let path = self.pins.link(to.ifindex);
        if !swap(datapath, &path)? {
            let link = FdLink::try_from(attach_new(datapath, to)?).map_err(|error| {
                pin_error(&path, &format!("the kernel has no bpf_link for XDP: {error}"))
            })?;
            link.pin(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
        }
        self.attached.push(path);
        Ok(())
    }

    /// Swaps the program of `datapath` in on every interface, each in one step. One that was deleted meanwhile is forgotten
    /// when that is heard of.
    pub fn swap_all(&self, datapath: &mut Datapath) -> Result<(), DatapathError> {
        self.attached.iter().try_for_each(|path| update(datapath, path).map(drop))
    }

    /// Takes the program off an interface, or gives up the link of one that was deleted: the kernel has cut it already.
    pub fn forget(&mut self, ifindex: u32) {
        let path = self.pins.link(ifindex);
        for path in self.attached.extract_if(.., |ours| *ours == path) {
            if let Err(error) = unpin::remove(&path) {
                log::error!(
                    "pin {} cannot be removed: {error}; run `privatelink detach`",
                    path.display()
                );
            }
        }
    }

    /// Removes pins an earlier daemon left for interfaces that are not attached now, and so detaches them.
    pub fn remove_strays(&self) -> Result<(), DatapathError> {
        for path in self.pins.links()? {
            if !self.attached.contains(&path) {
                unpin::remove(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// Swaps the program of the link pinned at `path`, if there is one. False where there is none, or a dead one, which goes.
fn swap(datapath: &mut Datapath, path: &Path) -> Result<bool, DatapathError> {
    if !path.exists() {
        return Ok(false);
    }
    let swapped = update(datapath, path)?;
    if !swapped {
        unpin::remove(path).map_err(|error| pin_error(path, &error.to_string()))?;
    }
    Ok(swapped)
}

/// Swaps the program of the link pinned at `path` in one step; the pin stays where it is, so that nothing is lost if we
/// die right here. False where the link's interface was deleted: it refuses then.
fn update(datapath: &mut Datapath, path: &Path) -> Result<bool, DatapathError> {
    let pinned = PinnedLink::from_pin(path).map_err(|error| pin_error(path, &error.to_string()))?;
    let program = datapath.program()?;
    let swapped = XdpLink::try_from(FdLink::from(pinned))
        .map_err(drop)
        .and_then(|link| program.attach_to_link(link).map_err(drop))
        .and_then(|id| program.take_link(id).map_err(drop));
    Ok(swapped.is_ok())
}

fn attach_new(datapath: &mut Datapath, to: &Attachment) -> Result<XdpLink, DatapathError> {
    if let Some(id) = to.present {
        let source = Box::new(io::Error::from_raw_os_error(nix::libc::EBUSY));
        return Err(DatapathError::Busy {
            interface: to.interface.clone(),
            program: describe_program(id),
            source,
        });
    }
    let mode = match to.mode {
        AttachMode::Native => XdpMode::Driver,
        AttachMode::Generic => XdpMode::Skb,
    };
    let program = datapath.program()?;
    let id = program.attach_to_if_index(to.ifindex, mode).map_err(|error| explain(to, error))?;
    program.take_link(id).map_err(|error| explain(to, error))
}

fn explain(to: &Attachment, error: ProgramError) -> DatapathError {
    let interface = to.interface.clone();
    match errno(&error) {
        Some(nix::libc::EBUSY) => DatapathError::Busy {
            interface,
            program: "of unknown origin".into(),
            source: error.into(),
        },
        Some(nix::libc::EOPNOTSUPP) if to.mode == AttachMode::Native => {
            DatapathError::NoNativeXdp { interface, source: error.into() }
        }
        Some(nix::libc::EPERM | nix::libc::EACCES) => DatapathError::Permission(error.into()),
        errno => {
            let cause = errno
                .map_or_else(|| error.to_string(), |n| io::Error::from_raw_os_error(n).to_string());
            DatapathError::Attach { interface, cause, source: error.into() }
        }
    }
}

fn describe_program(id: u32) -> String {
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        Some(name) => format!("id {id}, name {name}"),
        None => format!("id {id}"),
    }
}

/// Takes off what a daemon that is gone has left attached; returns the indices of the interfaces.
pub fn detach(pin_dir: &Path) -> Result<BTreeSet<u32>, DatapathError> {
    Pins::clear(pin_dir)
}
