//! The state directory: what must survive a restart, and only one daemon may use.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};

use crate::audit::Audit;
use crate::decisions::Decisions;
use crate::resources::Resources;
use crate::store::Store;
use crate::usage::Ledger;

/// Name of the record of changes in a state directory.
const AUDIT_LOG: &str = "audit.log";

/// An open state directory.
pub struct State {
    /// Numbers and documents.
    pub store: Store,
    /// What the documents say was decided.
    pub decisions: Decisions,
    /// The resources that the documents say were made.
    pub resources: Resources,
    /// What endpoints have used.
    pub usage: Ledger,
    /// The record of changes.
    pub audit: Audit,
    /// Held as long as anything above may be written.
    pub lock: Flock<File>,
}

impl State {
    /// Opens a state directory, made where there is none; the record of changes is in it, unless `audit` is its path.
    ///
    /// # Errors
    ///
    /// Another daemon uses it, or it cannot be read or written.
    pub fn open(directory: &Path, audit: Option<&Path>) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(|| {
            format!(
                "cannot create {}: run privatelink as root, or choose another --state-dir",
                directory.display()
            )
        })?;
        let lock = lock(directory)?;
        let store = Store::open(directory)?;
        let decisions = Decisions::read(&store.saved().documents)?;
        let resources = Resources::read(&store.saved().documents)?;
        let usage = Ledger::open(directory)?;
        let audit = audit.map_or_else(|| directory.join(AUDIT_LOG), Path::to_owned);
        let audit = Audit::open(&audit).with_context(|| {
            let path = audit.display();
            format!(
                "cannot open the audit log {path}: make it writable, or choose another --audit-log"
            )
        })?;
        Ok(Self { store, decisions, resources, usage, audit, lock })
    }
}

/// Two daemons must not keep their state in one directory.
fn lock(directory: &Path) -> Result<Flock<File>> {
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow!(
            "another privatelink daemon uses {}: stop that one, or choose another --state-dir",
            directory.display()
        )
    })
}
