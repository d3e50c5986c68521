//! A terminal with a shell in it, to type at and to look at.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::namespace::output;
use crate::wait::wait_until;

/// What the shell says when it waits for a command.
const PROMPT: &str = "ready>";

/// A tmux server of our own with one terminal, where `sh` runs; dropping it ends them.
#[derive(Debug)]
pub struct Tmux {
    socket: String,
    /// Where the socket is: tmux leaves it behind.
    folder: TempDir,
}

impl Tmux {
    /// Opens a terminal of so many columns and lines.
    ///
    /// # Errors
    /// When tmux is missing or does not start.
    pub fn start(columns: u16, lines: u16) -> Result<Self> {
        let socket = format!("privatelink-{:08x}", rand::random::<u32>());
        let folder = TempDir::new().context("cannot create a temporary folder")?;
        let tmux = Self { socket, folder };
        let [columns, lines] = [columns, lines].map(|number| number.to_string());
        let shell = format!("exec env -u NO_COLOR -u ENV PS1='{PROMPT} ' sh");
        // No configuration of the user's.
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines, &shell])?;
        Ok(tmux)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("tmux");
        command.env("TMUX_TMPDIR", self.folder.path());
        output(command.args(["-L", &self.socket]).args(arguments).stdin(Stdio::null()))
    }

    /// What is to be seen, line by line.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn screen(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// What is to be seen, with the escape sequences that make it so.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn styled(&self) -> Result<String> {
        self.run(&["capture-pane", "-p", "-e"])
    }

    /// What tmux knows of the terminal by this name, e.g. `alternate_on`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn ask(&self, name: &str) -> Result<String> {
        Ok(self.run(&["display-message", "-p", &format!("#{{{name}}}")])?.trim().to_owned())
    }

    /// Presses a key, by tmux's name for it, e.g. `Enter` or `q`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn press(&self, key: &str) -> Result<()> {
        self.run(&["send-keys", key]).map(drop)
    }

    /// Types a command and Enter.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn command(&self, line: &str) -> Result<()> {
        self.run(&["send-keys", "-l", line])?;
        self.press("Enter")
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let [columns, lines] = [columns, lines].map(|number| number.to_string());
        self.run(&["resize-window", "-x", &columns, "-y", &lines]).map(drop)
    }

    /// The process that the shell has started and waits for.
    ///
    /// # Errors
    /// When it has none.
    pub fn child(&self) -> Result<Pid> {
        let shell = self.ask("pane_pid")?;
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let first = children.split(' ').next().unwrap_or_default();
        Ok(Pid::from_raw(first.parse().context("the shell runs no command")?))
    }

    /// Waits until what is to be seen is as `condition` says, and returns it.
    ///
    /// # Errors
    /// When it is not within `deadline`; the error has what was to be seen instead.
    pub fn wait(
        &self,
        deadline: Duration,
        what: &str,
        condition: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let mut screen = String::new();
        let waited = wait_until(deadline, what, || {
            screen = self.screen().unwrap_or_else(|error| format!("{error:#}"));
            condition(&screen)
        });
        waited.with_context(|| format!("this was to be seen:\n{screen}"))?;
        Ok(screen)
    }

    /// Waits until the shell waits for a command, and returns what is to be seen.
    ///
    /// # Errors
    /// See [`Tmux::wait`].
    pub fn prompt(&self, deadline: Duration) -> Result<String> {
        self.wait(deadline, "the shell waits for a command", |screen| {
            screen.trim_end().lines().last() == Some(PROMPT)
        })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["kill-server"]) {
            eprintln!("{error:#}");
        }
    }
}
