//! A child that ends with its owner, and what it has printed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::identity::Identity;
use crate::namespace::cannot_run;
use crate::wait::{PAUSE, wait_until};

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A child process whose output goes to a file; dropping it ends the child, by its pid only.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    identity: Option<Identity>,
    log: PathBuf,
    record: Option<PathBuf>,
    keep: bool,
}

impl Process {
    /// Starts `command`; its standard output and error go to the file `log`, after what is there already.
    ///
    /// # Errors
    /// When the program cannot be started or `log` not be written.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let file = open().with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().context("cannot duplicate a descriptor")?;
        let child =
            command.stdout(file).stderr(errors).spawn().with_context(|| cannot_run(command))?;
        let identity = i32::try_from(child.id()).ok().and_then(Identity::of);
        Ok(Self {
            name: name.to_owned(),
            child,
            identity,
            log: log.to_owned(),
            record: None,
            keep: false,
        })
    }

    /// The child's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything the child has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until the child has printed `text`.
    ///
    /// # Errors
    /// When it has not within `deadline`; the error carries the end of what it did print.
    pub fn wait_log(&self, text: &str, deadline: Duration) -> Result<()> {
        wait_until(deadline, &format!("{} prints {text:?}", self.name), || {
            self.log().contains(text)
        })
        .with_context(|| self.last_words())
    }

    /// The end of the child's output, for an error.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
        if tail.is_empty() {
            return format!("{} printed nothing", self.name);
        }
        format!("{} printed:\n  {}\n", self.name, tail.join("\n  "))
    }

    /// The child's exit status if it has ended.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Sends the child a signal; no harm is done if it has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(identity) = self.identity {
            identity.signal(signal);
        }
    }

    /// Waits for the child to end.
    ///
    /// # Errors
    /// When it still runs after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > deadline {
                bail!(
                    "{} still runs after {:.1} s: {}",
                    self.name,
                    deadline.as_secs_f64(),
                    self.last_words()
                );
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends the child by SIGTERM and waits for it.
    ///
    /// # Errors
    /// When it still runs after `deadline`; it is killed then when the value is dropped.
    pub fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait(deadline)
    }

    /// Notes the child in `folder`, so that another process can find and end it; the note goes when the child does.
    pub(crate) fn record(&mut self, folder: &Path) -> Result<()> {
        let identity = self
            .identity
            .with_context(|| format!("{} ended at once: {}", self.name, self.last_words()))?;
        let path = folder.join(format!("{}.pid", self.name));
        identity.write(&path)?;
        self.record = Some(path);
        Ok(())
    }

    /// Leaves the child running when the value is dropped.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if self.stop(GRACE).is_err() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if let Some(record) = &self.record {
            let _ = fs::remove_file(record);
        }
    }
}
