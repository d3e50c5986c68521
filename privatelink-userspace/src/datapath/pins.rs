//! The directory of the pins: what the kernel keeps of the data path while no daemon runs.
//!
//! Below it is one directory for each schema, named after it, with a pin for every map and for every hook of an interface
//! that has a program.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, FsType, TRACEFS_MAGIC, statfs};
use privatelink_common::records::SCHEMA;

use super::error::DatapathError;
use super::hook::Hook;

/// The directory of the pins, on a bpffs, locked while it is held. Dropping it removes what is pinned, unless that is to
/// be kept; directories go when they are left empty.
pub struct Pins {
    root: PathBuf,
    schema: PathBuf,
    keep: bool,
    // Held for its lock: closing it is what gives the lock up.
    _lock: Flock<File>,
}

impl Pins {
    /// Opens the directory at `root`. With `replace`, what an earlier daemon left is removed; without, that of this
    /// schema is there to be adopted, and is kept.
    pub fn open(root: &Path, replace: bool) -> Result<Self, DatapathError> {
        ensure_bpffs(root)?;
        let mut pins = Self::lock(root)?;
        if replace {
            pins.remove_all()?;
            pins.create()?;
        }
        if let Some(other) = schemas(root)?.iter().find(|path| **path != pins.schema) {
            return Err(DatapathError::OtherSchema { path: other.clone(), ours: SCHEMA });
        }
        pins.keep = !entries(&pins.schema)?.is_empty();
        Ok(pins)
    }

    /// Removes everything an earlier daemon left under `root`; returns the indices of the interfaces it was attached to.
    pub(super) fn clear(root: &Path) -> Result<BTreeSet<u32>, DatapathError> {
        if !root.exists() {
            return Ok(BTreeSet::new());
        }
        ensure_bpffs(root)?;
        Self::lock(root)?.remove_all()
    }

    fn lock(root: &Path) -> Result<Self, DatapathError> {
        let schema = root.join(format!("v{SCHEMA}"));
        let failed = |error: io::Error| pin_error(root, &error.to_string());
        create(&schema)?;
        let lock = Flock::lock(File::open(root).map_err(failed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|_| pin_error(root, "another privatelink daemon holds it: stop that one, or choose another --pin-dir"))?;
        Ok(Self { root: root.to_path_buf(), schema, keep: true, _lock: lock })
    }

    fn create(&self) -> Result<(), DatapathError> {
        create(&self.schema)
    }

    /// Whether an earlier daemon left something to adopt.
    pub fn is_adopted(&self) -> bool {
        self.keep
    }

    /// Leaves everything pinned when this is dropped, or removes it then.
    pub fn set_keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.schema.join(name)
    }

    /// Where a hook is pinned.
    pub(super) fn hook(&self, hook: Hook) -> PathBuf {
        self.schema.join(hook.pin())
    }

    /// The hooks that are pinned.
    pub(super) fn hooks(&self) -> Result<Vec<Hook>, DatapathError> {
        Ok(entries(&self.schema)?.iter().filter_map(|path| Hook::of_pin(path)).collect())
    }

    /// Removes everything of any schema: hooks first, so that no packet meets a map without its pin.
    fn remove_all(&self) -> Result<BTreeSet<u32>, DatapathError> {
        let mut interfaces = BTreeSet::new();
        for schema in schemas(&self.root)? {
            let (hooks, maps): (Vec<_>, Vec<_>) =
                entries(&schema)?.into_iter().partition(|path| Hook::of_pin(path).is_some());
            for (hook, path) in hooks.iter().filter_map(|path| Some((Hook::of_pin(path)?, path))) {
                hook.clear(path).map_err(|error| pin_error(path, &error.to_string()))?;
                interfaces.insert(hook.ifindex);
            }
            for map in maps {
                fs::remove_file(&map).map_err(|error| pin_error(&map, &error.to_string()))?;
            }
            // What is not empty is not ours to remove.
            let _ = fs::remove_dir(&schema);
        }
        Ok(interfaces)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.remove_all()
        {
            log::error!("what is pinned cannot be removed: {error}; run `privatelink detach`");
        }
        // What is not empty stays.
        let _ = fs::remove_dir(&self.schema);
        let _ = fs::remove_dir(&self.root);
    }
}

fn create(directory: &Path) -> Result<(), DatapathError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| DatapathError::NoBpffs { path: directory.to_path_buf(), source })
}

/// The directories of all schemas that hold anything.
fn schemas(root: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    let is_schema = |path: &PathBuf| {
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_prefix('v')?.parse().ok());
        number.is_some_and(|_: u32| entries(path).is_ok_and(|pins| !pins.is_empty()))
    };
    Ok(entries(root)?.into_iter().filter(is_schema).collect())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| pin_error(directory, &error.to_string()))
}

pub(super) fn pin_error(path: &Path, cause: &str) -> DatapathError {
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
