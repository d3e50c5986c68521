//! A network namespace that vanishes with its owner.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps named namespaces.
pub(crate) const NAMED: &str = "/run/netns";

/// A named network namespace; dropping it deletes it.
///
/// Only the network changes for what runs in it: mounts stay the host's, so a bpffs at /sys/fs/bpf is visible inside
/// (`ip netns exec` would hide it behind a fresh /sys), and /sys/class/net goes on showing the host's interfaces.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
    keep: bool,
}

impl Namespace {
    /// Creates `pl-<prefix>-<random>`, its loopback up.
    ///
    /// # Errors
    /// When `ip` is missing or refuses, as it does without root.
    pub fn new(prefix: &str) -> Result<Self> {
        Self::named(&format!("pl-{prefix}-{:08x}", rand::random::<u32>()))
    }

    /// Creates the namespace `name`, its loopback up, where nobody looks for duplicates of IPv6 addresses.
    ///
    /// # Errors
    /// When it exists already, or `ip` is missing or refuses.
    pub fn named(name: &str) -> Result<Self> {
        require_root()?;
        ip(&["netns", "add", name])?;
        let path = path(name);
        // From here on dropping the value deletes the namespace.
        let namespace = match File::open(&path) {
            Ok(file) => Self { name: name.to_owned(), file: Arc::new(file), keep: false },
            Err(error) => {
                delete(name)?;
                return Err(error).with_context(|| format!("cannot open {}", path.display()));
            }
        };
        // Else an IPv6 address, also a link's own, is of no use for a second or two, while the kernel asks whether it is taken.
        namespace.sysctl("ipv6/conf/default/accept_dad", "0")?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside, without standard input, and in a process group of its own: a Ctrl-C at the
    /// terminal reaches only us, and we end our children in order.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let file = Arc::clone(&self.file);
        let enter = move || setns(&file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        // SAFETY: between fork and exec the closure only makes the system call setns, on a descriptor that it keeps open.
        unsafe { command.pre_exec(enter) };
        command.process_group(0).stdin(Stdio::null());
        command
    }

    /// Runs a program to its end and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails; the error carries its standard error.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let (program, rest) = arguments.split_first().context("no program to run")?;
        let mut command = self.command(program);
        command.args(rest);
        output(&mut command).with_context(|| format!("in namespace {}", self.name))
    }

    /// Runs `work` on a thread inside: its sockets and its /proc/sys/net are the namespace's.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When `work` panics, with the same payload.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let inside = || -> Result<T> {
            setns(&self.file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter {}", self.name))?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Sets a value under /proc/sys/net, e.g. `("ipv6/conf/all/disable_ipv6", "1")`; a key this kernel lacks is skipped.
    ///
    /// # Errors
    /// When the kernel refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        let written = self.enter(|| fs::write(&path, value))?;
        match written {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => {
                written.with_context(|| format!("cannot write {value} to {path} in {}", self.name))
            }
        }
    }

    /// Leaves the namespace behind when the value is dropped.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.keep
            && path(&self.name).exists()
            && let Err(error) = delete(&self.name)
        {
            eprintln!("{error:#}");
        }
    }
}

/// The file that names the namespace `name`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(NAMED).join(name)
}

/// Deletes the namespace `name`.
pub(crate) fn delete(name: &str) -> Result<()> {
    ip(&["netns", "delete", name]).map(drop)
}

/// Runs `ip` and returns what it printed.
pub(crate) fn ip(arguments: &[&str]) -> Result<String> {
    output(Command::new("ip").args(arguments).process_group(0).stdin(Stdio::null()))
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let line = line();
    let output = command.output().with_context(|| cannot_run(command))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{line}` failed ({}): {}", output.status, errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The error text for a program that does not start.
pub(crate) fn cannot_run(command: &Command) -> String {
    format!(
        "cannot run {} (`cargo xtask setup --for test` installs what the lab needs)",
        command.get_program().display()
    )
}

/// Refuses to go on without root, in one plain line.
///
/// # Errors
/// When the process is not root's.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "network namespaces and XDP need root: run this with sudo"
    );
    Ok(())
}
