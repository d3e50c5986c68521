//! Attaching the program to interfaces by pinned links, and taking it off again.
//!
//! A pinned link outlives the daemon, so a crash loses no packet of a known flow, and the next daemon swaps
//! the program in one step. A daemon that stops in order removes its links and pins.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, XdpMode, loaded_programs};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, FsType, TRACEFS_MAGIC, statfs};
use privatelink_common::records::SCHEMA;

use super::error::{DatapathError, errno};
use super::object::Datapath;
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

/// The attached interfaces. Dropping it takes the program off all of them and removes the pins.
pub struct Links {
    pinned: Vec<(PathBuf, PinnedLink)>,
    directory: PinDirectory,
}

impl Links {
    /// An empty set with its pins under `pin_dir`, which is locked against other daemons.
    pub fn open(pin_dir: &Path) -> Result<Self, DatapathError> {
        Ok(Self { pinned: Vec::new(), directory: PinDirectory::open(pin_dir)? })
    }

    /// Attaches the program of `datapath`, or swaps it in where an earlier daemon left its own.
    pub fn attach(
        &mut self,
        datapath: &mut Datapath,
        to: &Attachment,
    ) -> Result<(), DatapathError> {
        let path = self.directory.link(to.ifindex);
        let link = match replace(datapath, &path)? {
            Some(link) => link,
            None => attach_new(datapath, to)?,
        };
        let link = FdLink::try_from(link).map_err(|error| {
            pin_error(&path, &format!("the kernel has no bpf_link for XDP: {error}"))
        })?;
        let pinned = link.pin(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
        self.pinned.push((path, pinned));
        Ok(())
    }

    /// Gives up the link of an interface that was deleted; the kernel has cut it already.
    pub fn forget(&mut self, ifindex: u32) {
        let path = self.directory.link(ifindex);
        for (path, _) in self.pinned.extract_if(.., |(ours, _)| *ours == path) {
            take_off(&path);
        }
    }

    /// Removes pins an earlier daemon left for interfaces that are not attached now, and so detaches them.
    pub fn remove_strays(&self) -> Result<(), DatapathError> {
        for path in self.directory.links()? {
            if !self.pinned.iter().any(|(ours, _)| *ours == path) {
                unpin::remove(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for (path, _) in self.pinned.drain(..) {
            take_off(&path);
        }
    }
}

fn take_off(path: &Path) {
    if let Err(error) = unpin::remove(path) {
        log::error!("pin {} cannot be removed: {error}; run `privatelink detach`", path.display());
    }
}

/// Swaps the program of the link pinned at `path`. `None` where there is none, or a dead one.
fn replace(datapath: &mut Datapath, path: &Path) -> Result<Option<XdpLink>, DatapathError> {
    if !path.exists() {
        return Ok(None);
    }
    let pinned = PinnedLink::from_pin(path).map_err(|error| pin_error(path, &error.to_string()))?;
    let link = pinned.unpin().map_err(|error| pin_error(path, &error.to_string()))?;
    let program = datapath.program()?;
    // A link whose interface was deleted refuses the update: attach anew.
    let Ok(id) = XdpLink::try_from(link)
        .map_err(drop)
        .and_then(|link| program.attach_to_link(link).map_err(drop))
    else {
        return Ok(None);
    };
    program.take_link(id).map(Some).map_err(|error| pin_error(path, &error.to_string()))
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
    if !pin_dir.exists() {
        return Ok(BTreeSet::new());
    }
    let directory = PinDirectory::open(pin_dir)?;
    let links = directory.links()?;
    for path in &links {
        unpin::remove(path).map_err(|error| pin_error(path, &error.to_string()))?;
    }
    Ok(links.iter().filter_map(|path| PinDirectory::ifindex(path)).collect())
}

/// The directory of the pins, on a bpffs, locked while it is held. Removed when it is left empty.
struct PinDirectory {
    root: PathBuf,
    links: PathBuf,
    // Held for its lock: closing it is what gives the lock up.
    _lock: Flock<File>,
}

impl PinDirectory {
    fn open(root: &Path) -> Result<Self, DatapathError> {
        ensure_bpffs(root)?;
        let links = root.join(format!("v{SCHEMA}"));
        let failed = |error: io::Error| pin_error(root, &error.to_string());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&links)
            .map_err(|source| DatapathError::NoBpffs { path: root.to_path_buf(), source })?;
        let lock = Flock::lock(File::open(root).map_err(failed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|_| pin_error(root, "another privatelink daemon holds it: stop that one, or choose another --pin-dir"))?;
        Ok(Self { root: root.to_path_buf(), links, _lock: lock })
    }

    /// Where the link of an interface is pinned. By index: bpffs allows no dot, interface names do.
    fn link(&self, ifindex: u32) -> PathBuf {
        self.links.join(format!("xdp-{ifindex}"))
    }

    /// The interface whose link is pinned here.
    fn ifindex(link: &Path) -> Option<u32> {
        link.file_name()?.to_str()?.strip_prefix("xdp-")?.parse().ok()
    }

    fn links(&self) -> Result<Vec<PathBuf>, DatapathError> {
        fs::read_dir(&self.links)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|error| pin_error(&self.links, &error.to_string()))
    }
}

impl Drop for PinDirectory {
    fn drop(&mut self) {
        // Only empty directories go; anything else in them is not ours to remove.
        let _ = fs::remove_dir(&self.links).and_then(|()| fs::remove_dir(&self.root));
    }
}

fn pin_error(path: &Path, cause: &str) -> DatapathError {
    DatapathError::Pin { path: path.to_path_buf(), cause: cause.to_owned() }
}

/// Makes sure that `path` will be on a bpffs: mounts one at its usual place where that is missing.
fn ensure_bpffs(path: &Path) -> Result<(), DatapathError> {
    const USUAL: &str = "/sys/fs/bpf";
    let result = if path.starts_with(USUAL) {
        ensure_mounted("bpf", USUAL, BPF_FS_MAGIC)
    } else {
        let existing =
            path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        match statfs(existing) {
            Ok(found) if found.filesystem_type() == BPF_FS_MAGIC => Ok(()),
            Ok(_) => Err(io::Error::other("it is on another file system")),
            Err(error) => Err(error.into()),
        }
    };
    result.map_err(|source| DatapathError::NoBpffs { path: path.to_path_buf(), source })
}

/// Mounts tracefs at its usual place if it is missing there.
pub(super) fn ensure_tracefs() -> io::Result<()> {
    ensure_mounted("tracefs", "/sys/kernel/tracing", TRACEFS_MAGIC)
}

fn ensure_mounted(kind: &str, at: &str, magic: FsType) -> io::Result<()> {
    if statfs(at)?.filesystem_type() == magic {
        return Ok(());
    }
    mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)?;
    log::info!("mounted {kind} at {at}");
    Ok(())
}
