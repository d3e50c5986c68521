//! What is installed on this host, and installing Debian packages on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use crate::interrupt;
use crate::workspace::run;

/// Debian's hook that says whether a package may start its services while it is installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// What we write there: "no", and who wrote it.
const NO_SERVICES: &str =
    "#!/bin/sh\n# Written by cargo xtask setup while it installs; safe to remove.\nexit 101\n";

/// Packages that would run a service of the same name.
const SERVICES: [&str; 2] = ["nginx", "haproxy"];

/// Whether the package lists were brought up to date in this run.
static UPDATED: AtomicBool = AtomicBool::new(false);

/// The path of a program, on PATH or where only root's PATH leads.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Refuses where packages are to be installed but not by root.
pub(crate) fn require_root_for(packages: &[&str]) -> Result<()> {
    let packages = packages.join(" ");
    ensure!(
        nix::unistd::geteuid().is_root(),
        "must be root to install {packages}: run it with sudo"
    );
    Ok(())
}

/// Installs Debian packages, without what they merely recommend and without starting a service of theirs.
///
/// Removes nothing: where a package conflicts with an installed one, apt-get says so and stops.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    require_root_for(packages)?;
    let list = packages.join(" ");
    ensure!(
        program("apt-get").is_some(),
        "this host has no apt-get: install what Debian calls {list} by hand"
    );
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command
    };
    if !UPDATED.swap(true, Ordering::Relaxed) {
        run(&mut apt(&["update"]))?;
    }
    let known = |package: &&str| {
        let mut show = Command::new("apt-cache");
        show.args(["show", package]).stdout(Stdio::null()).stderr(Stdio::null());
        show.status().is_ok_and(|status| status.success())
    };
    let unknown: Vec<&str> = packages.iter().copied().filter(|package| !known(package)).collect();
    ensure!(unknown.is_empty(), "this host's package sources do not have {}", unknown.join(" "));

    let _no_services = NoServices::begin()?;
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    run(&mut apt(&[install.as_slice(), packages].concat()))?;
    for service in SERVICES {
        if packages.contains(&service) {
            do_not_start_at_boot(service);
        }
    }
    Ok(())
}

/// The lab starts its own servers: a package of Debian's shall not take the port at the next boot, under systemd or not.
fn do_not_start_at_boot(service: &str) {
    let unit = format!("{service}.service");
    for arguments in [["deb-systemd-helper", "disable", &unit], ["update-rc.d", service, "disable"]]
    {
        let [program, arguments @ ..] = arguments;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A host without these has no service that starts at boot.
        let _ = command.status();
    }
}

/// While it lives, packages start no services; an administrator's own policy stays as it is.
struct NoServices {
    written: bool,
}

impl NoServices {
    fn begin() -> Result<Self> {
        let path = Path::new(POLICY);
        let own = fs::read_to_string(path).is_ok_and(|text| text == NO_SERVICES);
        if path.exists() && !own {
            return Ok(Self { written: false });
        }
        // A Ctrl-C reaches apt-get by itself; we must live on to remove the file.
        interrupt::take_over()?;
        fs::write(path, NO_SERVICES).with_context(|| format!("cannot write {POLICY}"))?;
        let guard = Self { written: true };
        run(Command::new("chmod").args(["755", POLICY]))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}, please do so by hand: {error}");
        }
    }
}
