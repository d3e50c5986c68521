//! Attaching programs to interfaces so that they stay, and taking them off again.
//!
//! A pinned link outlives the daemon, so no packet is lost while none runs, and the next daemon swaps the program in one
//! step. So does a filter, which an interface has instead of a link where the kernel has no tcx.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::{ProgramError, SchedClassifier, XdpMode, loaded_programs};

use super::error::{DatapathError, errno};
use super::hook::{Hook, Kind};
use super::object::Datapath;
use super::pins::{Pins, pin_error};
use super::program_kind::ProgramKind;
use super::{filter, tcx_link, xdp_link};
use crate::attach_choice::Mode;
use crate::netlink::{self, AttachedXdp};

/// An interface to attach to.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// Its kernel index.
    pub ifindex: u32,
    /// The hooks that are to have a program, in the order in which they get it: see [`Mode::hooks`].
    pub hooks: &'static [Mode],
    /// The XDP program that it has now, ours or not.
    pub present: Option<AttachedXdp>,
}

/// What is attached. Dropping it takes the programs off all interfaces and removes the pins, unless they are to be kept.
pub struct Links {
    /// By which mode each hook has its program.
    attached: BTreeMap<Hook, Mode>,
    /// Whether it was said that the kernel has no tcx.
    told: bool,
    pins: Pins,
}

impl Links {
    /// No interface yet; links are pinned, or found, in a directory.
    pub const fn new(pins: Pins) -> Self {
        Self { attached: BTreeMap::new(), told: false, pins }
    }

    /// Leaves everything attached when this is dropped, or takes it off then.
    pub fn set_keep(&mut self, keep: bool) {
        self.pins.set_keep(keep);
    }

    /// Whether an interface has a program by this mode.
    pub fn has(&self, ifindex: u32, mode: Mode) -> bool {
        self.of(ifindex).any(|(_, held)| held == mode)
    }

    /// Whether an interface has any program.
    pub fn has_any(&self, ifindex: u32) -> bool {
        self.of(ifindex).next().is_some()
    }

    fn of(&self, ifindex: u32) -> impl Iterator<Item = (Hook, Mode)> {
        let attached = self.attached.iter().map(|(&hook, &mode)| (hook, mode));
        attached.filter(move |(hook, _)| hook.ifindex == ifindex)
    }

    /// Attaches the programs of `datapath` to all hooks wanted, or swaps them in where an earlier daemon left its own. What
    /// is on other hooks stays, until [`Links::narrow`].
    pub fn attach(
        &mut self,
        datapath: &mut Datapath,
        to: &Attachment,
    ) -> Result<(), DatapathError> {
        let mut missing = to.hooks.iter().filter(|&&mode| !self.has(to.ifindex, mode)).peekable();
        if missing.peek().is_none() {
            return Ok(());
        }
        for &mode in to.hooks {
            datapath.load_kind(ProgramKind::of(mode))?;
        }
        datapath.join_stages()?;
        to.hooks.iter().try_for_each(|&mode| match mode {
            Mode::Tcx => self.attach_classifier(datapath, to),
            Mode::Xdp | Mode::XdpGeneric => self.attach_xdp(datapath, to, mode),
        })
    }

    fn attach_xdp(
        &mut self,
        datapath: &mut Datapath,
        to: &Attachment,
        mode: Mode,
    ) -> Result<(), DatapathError> {
        if self.has(to.ifindex, mode) {
            return Ok(());
        }
        let hook = Hook { kind: Kind::Xdp, ifindex: to.ifindex };
        let path = self.pins.hook(hook);
        let held = self.attached.get(&hook).copied().or(to.present.and_then(xdp_mode));
        if path.exists() && held.is_some_and(|held| held != mode) {
            // An interface takes XDP in one way at a time: meanwhile the classifier does the work.
            datapath.load_kind(ProgramKind::Classifier)?;
            datapath.join_stages()?;
            self.attach_classifier(datapath, to)?;
            self.take_off(hook);
        }
        if !self.swap(datapath, hook)? {
            let flags = if mode == Mode::Xdp { XdpMode::Driver } else { XdpMode::Skb };
            let link = xdp_link::attach(datapath.program()?, to.ifindex, flags)
                .map_err(|error| explain_xdp(to, mode, error))?;
            pin(link, &path)?;
        }
        self.attached.insert(hook, mode);
        Ok(())
    }

    fn attach_classifier(
        &mut self,
        datapath: &mut Datapath,
        to: &Attachment,
    ) -> Result<(), DatapathError> {
        if self.has(to.ifindex, Mode::Tcx) {
            return Ok(());
        }
        let [link, filter] =
            [Kind::Tcx, Kind::Filter].map(|kind| Hook { kind, ifindex: to.ifindex });
        let hook = if self.swap(datapath, link)? {
            link
        } else if self.swap(datapath, filter)? {
            filter
        } else {
            let program = datapath.classifier()?;
            refuse_second(program, to)?;
            match tcx_link::attach(program, &to.interface) {
                Ok(made) => {
                    pin(made, &self.pins.hook(link))?;
                    link
                }
                Err(error) if tcx_link::is_unknown(&error) => {
                    self.attach_filter(datapath, to, filter)?;
                    filter
                }
                Err(error) => return Err(explain("the classifier", to, error)),
            }
        };
        self.attached.insert(hook, Mode::Tcx);
        Ok(())
    }

    fn attach_filter(
        &mut self,
        datapath: &mut Datapath,
        to: &Attachment,
        hook: Hook,
    ) -> Result<(), DatapathError> {
        if !std::mem::replace(&mut self.told, true) {
            log::warn!(
                "this kernel has no tcx, which came with Linux 6.6: interfaces get a tc filter instead, which others can take off unnoticed"
            );
        }
        // First: a mark without a filter does no harm.
        let path = self.pins.hook(hook);
        fs::create_dir(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
        filter::attach(datapath.classifier()?, &to.interface).map_err(|error| match errno(&error) {
            Some(nix::libc::EEXIST) => second_classifier(to, "a tc filter".into()),
            _ => explain("the classifier", to, error),
        })
    }

    /// Swaps the programs of `datapath` in on every hook, each in one step. An interface that was deleted meanwhile is
    /// forgotten when that is heard of.
    pub fn swap_all(&self, datapath: &mut Datapath) -> Result<(), DatapathError> {
        self.attached.keys().try_for_each(|&hook| self.update(datapath, hook).map(drop))
    }

    /// Takes off what an interface has on other hooks than these.
    pub fn narrow(&mut self, ifindex: u32, hooks: &[Mode]) {
        let others = self.of(ifindex).filter(|(_, mode)| !hooks.contains(mode));
        let others: Vec<Hook> = others.map(|(hook, _)| hook).collect();
        others.into_iter().for_each(|hook| self.take_off(hook));
    }

    /// Takes the programs off an interface, or gives up the links of one that was deleted: the kernel has cut them already.
    pub fn forget(&mut self, ifindex: u32) {
        self.narrow(ifindex, &[]);
    }

    fn take_off(&mut self, hook: Hook) {
        self.attached.remove(&hook);
        let path = self.pins.hook(hook);
        if let Err(error) = hook.clear(&path) {
            log::error!(
                "pin {} cannot be removed: {error}; run `privatelink detach`",
                path.display()
            );
        }
    }

    /// Removes pins an earlier daemon left for what is not attached now, and so detaches it.
    pub fn remove_strays(&self) -> Result<(), DatapathError> {
        let strays = self.pins.hooks()?;
        let mut strays = strays.into_iter().filter(|hook| !self.attached.contains_key(hook));
        strays.try_for_each(|hook| self.clear(hook))
    }

    fn clear(&self, hook: Hook) -> Result<(), DatapathError> {
        let path = self.pins.hook(hook);
        hook.clear(&path).map_err(|error| pin_error(&path, &error.to_string()))
    }

    /// Swaps the program of a hook, if it is pinned. False where it is not, or is dead: the pin goes then.
    fn swap(&self, datapath: &mut Datapath, hook: Hook) -> Result<bool, DatapathError> {
        if !self.pins.hook(hook).exists() {
            return Ok(false);
        }
        let swapped = self.update(datapath, hook)?;
        if !swapped {
            self.clear(hook)?;
        }
        Ok(swapped)
    }

    /// Swaps the program of a hook in one step; the pin stays where it is, so that nothing is lost if we die right here.
    /// False where there is nothing to swap, as on an interface that was deleted.
    fn update(&self, datapath: &mut Datapath, hook: Hook) -> Result<bool, DatapathError> {
        let path = self.pins.hook(hook);
        let link = || {
            let pinned = PinnedLink::from_pin(&path);
            pinned.map(FdLink::from).map_err(|error| pin_error(&path, &error.to_string()))
        };
        Ok(match hook.kind {
            Kind::Xdp => xdp_link::update(datapath.program()?, link()?),
            Kind::Tcx => tcx_link::update(datapath.classifier()?, link()?),
            Kind::Filter => filter::update(datapath.classifier()?, hook.ifindex),
        })
    }
}

/// Refuses an interface that another daemon of ours has its classifier on: both would take every packet.
fn refuse_second(program: &SchedClassifier, to: &Attachment) -> Result<(), DatapathError> {
    let info = program.info().map_err(|error| explain("the classifier", to, error))?;
    let present = info.name_as_str().and_then(|name| tcx_link::present(&to.interface, name));
    present.map_or(Ok(()), |id| Err(second_classifier(to, describe_program(id))))
}

fn second_classifier(to: &Attachment, program: String) -> DatapathError {
    DatapathError::SecondClassifier { interface: to.interface.clone(), program }
}

/// Pins a link that was just made.
fn pin(link: Result<FdLink, LinkError>, path: &Path) -> Result<(), DatapathError> {
    let link =
        link.map_err(|error| pin_error(path, &format!("the kernel has no bpf_link: {error}")))?;
    link.pin(path).map(drop).map_err(|error| pin_error(path, &error.to_string()))
}

/// The mode of the XDP program that an interface has.
const fn xdp_mode(present: AttachedXdp) -> Option<Mode> {
    match present.mode {
        netlink::XdpMode::Native => Some(Mode::Xdp),
        netlink::XdpMode::Generic => Some(Mode::XdpGeneric),
        netlink::XdpMode::Offloaded | netlink::XdpMode::Multiple => None,
    }
}

fn explain_xdp(to: &Attachment, mode: Mode, error: ProgramError) -> DatapathError {
    let interface = to.interface.clone();
    match errno(&error) {
        // EEXIST: that one is there in the other mode.
        Some(nix::libc::EBUSY | nix::libc::EEXIST) => {
            let program = to.present.map(|present| describe_program(present.prog_id));
            let program = program.unwrap_or_else(|| "of unknown origin".into());
            DatapathError::Busy { interface, program, source: error.into() }
        }
        Some(nix::libc::EOPNOTSUPP) if mode == Mode::Xdp => {
            DatapathError::NoNativeXdp { interface, source: error.into() }
        }
        _ => explain("XDP", to, error),
    }
}

fn explain(what: &'static str, to: &Attachment, error: ProgramError) -> DatapathError {
    match errno(&error) {
        Some(nix::libc::EPERM | nix::libc::EACCES) => DatapathError::Permission(error.into()),
        errno => {
            let interface = to.interface.clone();
            let cause = errno
                .map_or_else(|| error.to_string(), |n| io::Error::from_raw_os_error(n).to_string());
            DatapathError::Attach { what, interface, cause, source: error.into() }
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
