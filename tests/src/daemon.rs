//! The daemon under test: started in the gateway's namespace, waited for, asked, stopped.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::kept;
use crate::lab::Lab;
use crate::namespace::output;
use crate::process::Process;
use crate::wait::wait_until;

/// Where bpffs is mounted.
const BPFFS: &str = "/sys/fs/bpf";
/// How long the daemon may take until it says that it is ready.
const READY: Duration = Duration::from_secs(30);
/// What a socket with a timeout says when nothing has come; Linux restarts none after a signal (signal(7)).
const NOTHING_YET: [ErrorKind; 3] =
    [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
/// How long it may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);

/// A program in `folder` that becomes the daemon with these variables in its environment.
///
/// # Errors
/// When there is no daemon, or the program cannot be written.
pub fn binary_with(folder: &Path, variables: &[(&str, &str)]) -> Result<PathBuf> {
    let (source, program) = (folder.join("source"), folder.join("privatelink"));
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let binary = binary()?;
    let text =
        format!("#!/bin/sh\nexport {}\nexec {} \"$@\"\n", variables.join(" "), binary.display());
    fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    // Another program copies it, or a child that a parallel test forks meanwhile would hold it open (ETXTBSY).
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755"]).arg(source).arg(&program).status();
    ensure!(installed.context("cannot run install")?.success(), "install has failed");
    Ok(program)
}

/// Names the mode by which daemons of tests are attached to interfaces of which the test does not say.
const ATTACH: &str = "PRIVATELINK_TEST_ATTACH";

/// The `privatelink` binary: the one named by `PRIVATELINK_BIN`, else the one that cargo built beside this program.
///
/// # Errors
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PRIVATELINK_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("this program's path is unknown")?;
    // <target>/debug/xtask, or <target>/debug/deps/<test>.
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("privatelink"))
        .find(|path| path.is_file());
    beside.context("the privatelink binary is not built: run `cargo build` first, or set PRIVATELINK_BIN to its path")
}

/// What outlives a daemon process: its state, its socket's place and its pins. Dropping it removes them all.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    pins: PathBuf,
    _temporary: Option<TempDir>,
}

impl Home {
    /// A home of its own, bpffs mounted for it where it was not.
    ///
    /// # Errors
    /// When a folder cannot be created or bpffs cannot be mounted.
    pub fn new() -> Result<Self> {
        mount_bpffs()?;
        let temporary =
            TempDir::with_prefix("privatelink-").context("cannot create a temporary folder")?;
        let pins = Path::new(BPFFS).join(format!("privatelink-{:08x}", rand::random::<u32>()));
        Ok(Self { folder: temporary.path().to_owned(), pins, _temporary: Some(temporary) })
    }

    /// The home of the daemon in `lab`: of its own, but in the lab with fixed names a fixed one, its socket in the lab's
    /// folder.
    ///
    /// # Errors
    /// As [`Home::new`].
    pub fn of(lab: &Lab) -> Result<Self> {
        if !lab.is_fixed() {
            return Self::new();
        }
        mount_bpffs()?;
        Ok(Self { folder: lab.folder().to_owned(), pins: kept::PINS.into(), _temporary: None })
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("privatelink.sock")
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The folder with the pinned maps and links.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    fn notify(&self) -> PathBuf {
        self.folder.join("notify.sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("privatelink.log")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = kept::remove(&self.pins) {
            eprintln!("{error:#}");
        }
    }
}

fn mount_bpffs() -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let is_bpffs = |line: &str| line.split(' ').skip(1).take(2).eq([BPFFS, "bpf"]);
    if mounts.lines().any(is_bpffs) {
        return Ok(());
    }
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount bpffs at {BPFFS}"))
}

/// A running daemon; dropping it ends it, and prints its log when the test is failing.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    binary: PathBuf,
    home: Arc<Home>,
}

impl Daemon {
    /// Starts the daemon in the lab's gateway with a home of its own, and waits until it is ready.
    ///
    /// `arguments` follow `privatelink run --config … --socket … --state-dir … --pin-dir …`.
    ///
    /// # Errors
    /// When it ends, or is not ready within 30 seconds; the error carries its log.
    pub fn start(lab: &Lab, config: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_in(Arc::new(Home::of(lab)?), lab, config, arguments)
    }

    /// Starts the daemon in a home that an earlier one may have lived in: a restart, or an upgrade.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_in(home: Arc<Home>, lab: &Lab, config: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_program(&binary()?, home, lab, config, arguments)
    }

    /// Starts a given binary, e.g. another release of the daemon.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_program(
        binary: &Path,
        home: Arc<Home>,
        lab: &Lab,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        Self::begin(binary, home, lab, config, arguments)?.ready()
    }

    /// Starts a given binary and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn begin(
        binary: &Path,
        home: Arc<Home>,
        lab: &Lab,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Starting> {
        let notify = home.notify();
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify)
            .with_context(|| format!("cannot bind {}", notify.display()))?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).context("cannot set a timeout")?;

        let mut command = lab.gateway().command(&binary.to_string_lossy());
        command.arg("run").arg("--config").arg(config).arg("--socket").arg(home.socket());
        command
            .arg("--state-dir")
            .arg(home.state())
            .arg("--pin-dir")
            .arg(home.pins())
            .args(arguments);
        if let Some(mode) = std::env::var_os(ATTACH)
            && !arguments.contains(&"--attach")
        {
            command.arg("--attach").arg(mode);
        }
        command.env("NOTIFY_SOCKET", &notify).env("NO_COLOR", "1");
        let mut process = Process::spawn("privatelink", &mut command, &home.log())?;
        if lab.is_fixed() {
            process.record(lab.folder())?;
        }
        Ok(Starting { daemon: Self { process, binary: binary.to_owned(), home }, socket })
    }

    /// Where its state, socket and pins are; keep it to start the next daemon in.
    #[must_use]
    pub fn home(&self) -> Arc<Home> {
        Arc::clone(&self.home)
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything it has logged, its predecessors in the same home included.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it has logged `text`.
    ///
    /// # Errors
    /// When it has not within `deadline`.
    pub fn wait_log(&self, text: &str, deadline: Duration) -> Result<()> {
        self.process.wait_log(text, deadline)
    }

    /// Sends it a signal, e.g. SIGHUP to reload.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Runs the command line against it and returns what it printed.
    ///
    /// # Errors
    /// When the command fails; the error is what it printed.
    pub fn cli_text(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new(&self.binary).args(arguments).arg("--socket").arg(self.home.socket()))
    }

    /// Runs the command line against it and parses what it printed, e.g. `&["flows", "-o", "json"]`.
    ///
    /// # Errors
    /// When the command fails or prints something else than JSON.
    pub fn cli(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.cli_text(arguments)?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Asks the command line again and again until its answer satisfies `condition`, and returns that answer.
    ///
    /// # Errors
    /// When it does not within `deadline`; the error carries the last answer.
    pub fn wait_cli(
        &self,
        deadline: Duration,
        what: &str,
        arguments: &[&str],
        mut condition: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Ok(Value::Null);
        wait_until(deadline, what, || {
            last = self.cli(arguments);
            last.as_ref().is_ok_and(&mut condition)
        })
        .with_context(|| format!("the last answer to {arguments:?} was {last:?}"))?;
        last
    }

    /// Ends it in order: SIGTERM.
    ///
    /// # Errors
    /// When it does not end within 10 seconds or reports a failure.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop(STOP)?;
        ensure!(
            status.success(),
            "the daemon stopped with {status}: {}",
            self.process.last_words()
        );
        Ok(())
    }

    /// Ends it at once, as a crash would: SIGKILL.
    ///
    /// # Errors
    /// When the kernel does not tell that it ended.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(STOP)
    }
}

/// A daemon that was started and is not known to be ready.
#[derive(Debug)]
pub struct Starting {
    daemon: Daemon,
    socket: UnixDatagram,
}

impl Starting {
    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready within 30 seconds; the error carries its log.
    pub fn ready(mut self) -> Result<Daemon> {
        self.hear("READY=1")?;
        let _ = fs::remove_file(self.daemon.home.notify());
        Ok(self.daemon)
    }

    /// Waits until it has told its service manager this line, and returns all that it told with it.
    ///
    /// # Errors
    /// When it ends, or has not within 30 seconds; the error carries its log.
    pub fn hear(&mut self, line: &str) -> Result<String> {
        let (start, process) = (Instant::now(), &mut self.daemon.process);
        while start.elapsed() < READY {
            let message = notification(&self.socket)?;
            if message.lines().any(|said| said == line) {
                return Ok(message);
            }
            if let Some(status) = process.try_wait()? {
                bail!(
                    "the daemon ended before it said {line} ({status}): {}",
                    process.last_words()
                );
            }
        }
        bail!("no {line} from the daemon in {} s: {}", READY.as_secs(), process.last_words())
    }

    /// The daemon, ready or not.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Ends it at once, as a crash would: SIGKILL.
    ///
    /// # Errors
    /// When the kernel does not tell that it ended.
    pub fn kill(self) -> Result<ExitStatus> {
        self.daemon.kill()
    }
}

/// The next message to a service manager's socket; empty if none comes soon.
fn notification(socket: &UnixDatagram) -> Result<String> {
    let mut message = [0; 4096];
    match socket.recv(&mut message) {
        Ok(length) => {
            Ok(String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned())
        }
        Err(error) if NOTHING_YET.contains(&error.kind()) => Ok(String::new()),
        Err(error) => Err(error).context("cannot read what the daemon notifies"),
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.process.last_words());
        }
    }
}
