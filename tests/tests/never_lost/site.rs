//! A gateway with two targets, a configuration of its own and a daemon that comes and goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{Daemon, Home, Lab, Topology, binary, example};
use serde_json::Value;

use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(30);
/// Each target by its name, which is one byte.
pub(crate) const TARGETS: [(u8, &str); 2] = [(b'1', "10.0.1.10:8080"), (b'2', "10.0.1.11:8081")];

pub(crate) struct Site {
    pub(crate) daemon: Option<Daemon>,
    pub(crate) home: Arc<Home>,
    pub(crate) lab: Arc<Lab>,
    pub(crate) targets: Vec<Option<Target>>,
    /// The daemon's program.
    pub(crate) program: PathBuf,
    reloads: usize,
}

impl Site {
    /// A site whose daemon runs.
    pub(crate) fn new() -> Self {
        let mut site = Self::silent();
        site.start();
        site
    }

    /// A site without a daemon yet.
    pub(crate) fn silent() -> Self {
        let lab = Arc::new(Lab::new(&Topology::overlap().without_targets()).unwrap());
        let provider = lab.network("provider").unwrap();
        let target = |(name, address): (u8, &str)| {
            Some(Target::start(provider, address.parse().unwrap(), name).unwrap())
        };
        let site = Self {
            daemon: None,
            home: Arc::new(Home::of(&lab).unwrap()),
            targets: TARGETS.map(target).into(),
            lab,
            program: binary().unwrap(),
            reloads: 0,
        };
        site.configure(&config());
        site
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.lab.folder().join("privatelink.toml")
    }

    /// Writes the configuration file, in one step.
    pub(crate) fn configure(&self, text: &str) {
        let new = self.lab.folder().join("new.toml");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let (home, config) = (Arc::clone(&self.home), self.path());
        let daemon = Daemon::start_program(&self.program, home, &self.lab, &config, &[]).unwrap();
        self.daemon = Some(daemon);
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Puts another configuration in force; what the log says of it.
    pub(crate) fn reload(&mut self, text: &str) -> String {
        self.configure(text);
        self.daemon().signal(Signal::SIGHUP);
        self.reloads += 1;
        let wanted = self.reloads;
        let said = |log: &str| {
            let lines = log.lines().filter(|line| line.contains("privatelink.toml is "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        privatelink_tests::wait_until(PATIENCE, "the file is in force", || {
            lines = said(&self.daemon().log());
            lines.len() >= wanted
        })
        .unwrap();
        lines.pop().unwrap()
    }

    /// What `privatelink targets` says of the target with this address, once it satisfies `condition`.
    pub(crate) fn wait_target(
        &self,
        address: &str,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let asked = &["targets", "-o", "json"];
        let host = address.split(':').next().unwrap();
        let row = |rows: &Value| {
            let rows = rows.as_array()?.iter();
            rows.clone().find(|row| row.to_string().contains(host)).cloned()
        };
        let met = |rows: &Value| row(rows).is_some_and(|row| condition(&row));
        row(&self.daemon().wait_cli(PATIENCE, what, asked, met).unwrap()).unwrap()
    }
}

/// The example, with a check that any target passes which takes connections.
pub(crate) fn config() -> String {
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let (http, tcp) = ("protocol = \"http\"", "protocol = \"tcp\" #");
    let (before, after) = text.split_once(http).unwrap();
    let after = after.replacen("path = \"/\"\n", "", 1);
    format!("{before}{tcp}{after}")
}

/// Replaces what must be there.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in the configuration");
    text.replace(from, to)
}

/// Takes a daemon's program for another: a copy of it at `path`.
pub(crate) fn install(from: &Path, to: &Path) {
    // Another program copies it, or a child that a parallel test forks meanwhile would hold it open (ETXTBSY).
    let mut install = std::process::Command::new("install");
    let installed = install.args(["-m", "755"]).arg(from).arg(to).status();
    assert!(installed.unwrap().success());
}
