//! Which process a pid means: numbers are reused, a number with its start time is not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_until;

/// A process, told apart from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its pid.
    pub(crate) pid: i32,
    /// Its start time, in clock ticks since boot.
    started: u64,
}

impl Identity {
    /// The process that has `pid` now; none if it has ended, reaped or not.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc_pid_stat(5): the name is in parentheses and may hold anything; state is field 3, start time field 22.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!["Z", "X"].contains(&state)).then_some(Self { pid, started })
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Reads what [`Identity::write`] wrote.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Notes the process in a file.
    pub(crate) fn write(self, path: &Path) -> Result<()> {
        fs::write(path, format!("{} {}\n", self.pid, self.started))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Sends the process a signal if it still runs.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_running() {
            // The one error left is that it ended in between.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Ends the process: SIGTERM, and SIGKILL if that did not do within `deadline`.
    pub(crate) fn end(self, deadline: Duration) -> Result<()> {
        let gone = format!("process {} has ended", self.pid);
        self.signal(Signal::SIGTERM);
        wait_until(deadline, &gone, || !self.is_running()).or_else(|_| {
            self.signal(Signal::SIGKILL);
            wait_until(Duration::from_secs(5), &gone, || !self.is_running())
        })
    }
}
