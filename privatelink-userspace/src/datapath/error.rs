//! What can go wrong with the kernel, in words that say what to do.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;
use aya::programs::ProgramError;
use thiserror::Error;

use crate::attach_choice::ONE_BUFFER;

/// A failure of the data path.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// The process may not use BPF.
    #[error(
        "no permission to load BPF programs: run privatelink as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Permission(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel refuses the program.
    #[error(
        "this kernel ({release}) cannot load the data path: privatelink needs Linux 6.1 or newer; verifier: {verifier}"
    )]
    Load {
        /// Release of the running kernel.
        release: String,
        /// Last lines of the verifier's log.
        verifier: String,
        /// The whole of it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object is not what this program was built with.
    #[error("the eBPF object lacks {0}: rebuild with `cargo xtask build`")]
    Object(&'static str),
    /// All tables are taken.
    #[error(
        "there is room for {most} target groups and zones of theirs, as at the start: restart privatelink, which ends no flow"
    )]
    TooManyPools {
        /// How many there is room for.
        most: usize,
    },
    /// A map cannot be mapped.
    #[error(
        "map {map} of the flow table cannot be mapped into memory: {source}; a smaller `capacity` under [flow_table] needs less"
    )]
    Mapping {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is no bpffs where pins belong.
    #[error(
        "{path} is not on a bpf file system: mount one with `mount -t bpf bpf /sys/fs/bpf`, or name a directory on one with --pin-dir"
    )]
    NoBpffs {
        /// The pin directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another XDP program is in the way.
    #[error(
        "interface {interface} already has an XDP program ({program}): remove it with `ip link set dev {interface} xdp off`, or `privatelink detach` if an earlier privatelink left it"
    )]
    Busy {
        /// The interface.
        interface: String,
        /// The program found there.
        program: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another daemon's classifier is in the way.
    #[error(
        "interface {interface} already has a classifier of privatelink ({program}): stop the daemon that attached it, and run `privatelink detach` with its --pin-dir"
    )]
    SecondClassifier {
        /// The interface.
        interface: String,
        /// The program found there.
        program: String,
    },
    /// The driver has no XDP support.
    #[error(
        "the driver of interface {interface} has no native XDP: set `attach = \"auto\"` on the interface in the configuration, or use another interface"
    )]
    NoNativeXdp {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The driver sends nothing that XDP of other interfaces redirects to it.
    #[error(
        "the driver of interface {interface} sends nothing that XDP redirects: set `attach = \"auto\"` on the interface in the configuration, or use another interface"
    )]
    ReceivesOnly {
        /// The interface.
        interface: String,
    },
    /// The driver of the interface, or the kernel, carries no frames in several buffers by XDP.
    #[error(
        "interface {interface} has an MTU of {mtu}, and XDP carries no packets longer than {ONE_BUFFER} bytes there: lower the MTU, or set `attach = \"auto\"` on the interface in the configuration"
    )]
    OneBuffer {
        /// The interface.
        interface: String,
        /// Its MTU, bytes.
        mtu: u32,
    },
    /// Attaching failed for another reason.
    #[error("{what} cannot be attached to interface {interface}: {cause}")]
    Attach {
        /// What was to be attached.
        what: &'static str,
        /// The interface.
        interface: String,
        /// The kernel's reason.
        cause: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pin cannot be made, read or removed.
    #[error("pin {path}: {cause}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Another version of the daemon left its pins.
    #[error(
        "{path} holds the data path of another version of privatelink, whose flows this one (schema {ours}) cannot read: start that version again, or pass --replace to end them"
    )]
    OtherSchema {
        /// Where its pins are.
        path: PathBuf,
        /// Our schema.
        ours: u32,
    },
    /// A pinned map is of another size than is asked for.
    #[error(
        "the pinned map {map} has {found} elements and the configuration asks for {wanted}: change it back, or pass --replace to end all flows and start anew"
    )]
    OtherSize {
        /// The map.
        map: &'static str,
        /// Its elements.
        found: u32,
        /// Those wanted.
        wanted: u32,
    },
    /// The pinned maps go with another store.
    #[error(
        "the pinned maps belong to another state directory, without which their flows make no sense: name that one by --state-dir, or pass --replace to end all flows and start anew"
    )]
    OtherStore,
    /// A map operation failed.
    #[error("map {map}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: MapError,
    },
    /// A program operation failed.
    #[error("program {program}: {cause}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// Why.
        cause: String,
    },
}

impl DatapathError {
    /// A failure to read the object or to make its maps, explained.
    pub(super) fn load_object(error: aya::EbpfError) -> Self {
        if matches!(errno(&error), Some(nix::libc::EPERM | nix::libc::EACCES)) {
            return Self::Permission(error.into());
        }
        Self::Load { release: kernel_release(), verifier: chain(&error), source: error.into() }
    }

    /// A failure to load a program, explained.
    pub(super) fn load(error: ProgramError) -> Self {
        let verifier = match &error {
            ProgramError::LoadError { verifier_log, .. } => complaint(&verifier_log.to_string()),
            other => other.to_string(),
        };
        let refused = matches!(errno(&error), Some(nix::libc::EPERM | nix::libc::EACCES));
        // Of root with all capabilities, a refusal is the verifier's. It says of whom it asks more than of such.
        if refused && (!nix::unistd::geteuid().is_root() || verifier.ends_with("for !root")) {
            return Self::Permission(error.into());
        }
        Self::Load { release: kernel_release(), verifier, source: error.into() }
    }
}

/// The system error at the bottom of an error's chain of causes.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |e| e.source())
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .find_map(io::Error::raw_os_error)
}

/// An error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect();
    causes.join(": ")
}

fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown".into())
}

/// What the verifier's log complains of: its last line before the statistics.
fn complaint(log: &str) -> String {
    let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .take_while(|line| !line.starts_with("verification time"))
        .last()
        .unwrap_or("no log")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_complaint_of_a_verifier_log() {
        let log = "0: r1 = 1\n\n1: exit\nR0 !read_ok\nverification time 7 usec\nstack depth 0\n";
        assert_eq!(complaint(log), "R0 !read_ok");
        assert_eq!(complaint(""), "no log");
    }
}
