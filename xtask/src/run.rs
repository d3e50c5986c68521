//! `cargo xtask run`: privatelink at work in a lab, or on this host.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use privatelink_tests::{Daemon, Home, Lab, Namespace, http_get, require_root, wait_until};

use crate::attach::Attach;
use crate::interrupt;
use crate::setup::{self, Purpose};
use crate::workspace::{build_daemon, root, shown};

/// What to show in the lab.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Example {
    /// examples/overlap.toml: overlapping networks of IPv4.
    Overlap,
    /// examples/dual-stack.toml: the same with IPv6 besides, from each family to each.
    DualStack,
}

impl Example {
    const fn file(self) -> &'static str {
        match self {
            Self::Overlap => "overlap.toml",
            Self::DualStack => "dual-stack.toml",
        }
    }

    /// Where its service is, the same in both consumers: for clients of each family, before targets of each.
    const fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::Overlap => &["http://10.0.1.10/"],
            Self::DualStack => &[
                "http://10.0.1.10/",
                "http://10.0.1.10:81/",
                "http://[fd00::1:10]/",
                "http://[fd00::1:10]:81/",
            ],
        }
    }
}

/// Requests of each consumer that are shown.
const REQUESTS: usize = 4;
/// The consumers' networks in the lab.
const CONSUMERS: [&str; 2] = ["consumer-a", "consumer-b"];
/// How long the first request may take to be answered: the targets must become healthy first.
const FIRST: Duration = Duration::from_secs(30);

/// Builds and becomes `privatelink run` with `arguments`.
pub(crate) fn on_this_host(arguments: &[OsString]) -> Result<()> {
    setup::ensure(Purpose::Build)?;
    let binary = build_daemon()?;
    let error = Command::new(&binary).arg("run").args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}

/// Shows privatelink at work in a lab, and takes the lab down whatever happens.
pub(crate) fn demonstrate(example: Example, attach: Attach, once: bool) -> Result<()> {
    require_root()?;
    setup::ensure(Purpose::Run)?;
    println!("1. build");
    let binary = build_daemon()?;

    interrupt::take_over()?;
    println!(
        "2. lab: a provider and two consumers, all of them 10.0.0.0/16 and fd00::/64, around a gateway"
    );
    let lab = Lab::fixed(attach.links())?;
    let done = in_lab(&lab, &binary, example, attach, once);
    drop(lab);
    println!("the lab is down");
    done
}

/// The daemon ends when this returns, however it returns; the lab goes after it.
fn in_lab(lab: &Lab, binary: &Path, example: Example, attach: Attach, once: bool) -> Result<()> {
    for (network, namespace) in lab.networks() {
        println!("   {:<14} {}", namespace.name(), network.addresses.join(", "));
    }
    for target in lab.targets() {
        println!("   {:<14} http://{}/", target.name(), target.address());
    }
    interrupt::check()?;

    let (file, mode) = (example.file(), attach.name());
    println!("3. daemon in pl-gateway, with examples/{file}, --attach {mode}");
    let config = root().join("examples").join(file);
    let home = Arc::new(Home::of(lab)?);
    let arguments = ["--log", "info", "--attach", mode];
    let daemon = Daemon::start_program(binary, home, lab, &config, &arguments)?;
    interrupt::check()?;

    println!("4. requests from both consumers to their endpoint");
    let answered = requests(lab, example.endpoints());
    if answered.is_err() && !interrupt::seen() {
        eprintln!("the daemon's log:\n{}", daemon.log());
    }
    answered?;

    println!("5. flows");
    print!("{}", daemon.cli_text(&["flows"])?);
    if once {
        return Ok(());
    }

    let socket = daemon.home().socket();
    println!("6. look around (in another terminal)");
    for endpoint in example.endpoints() {
        println!("   ip netns exec pl-consumer-a curl '{endpoint}'");
    }
    println!("   ip netns exec pl-consumer-a bash");
    println!("   {} flows --socket {}", shown(binary).display(), socket.display());
    println!("   tail -f {}", lab.folder().join("privatelink.log").display());
    println!("Ctrl-C takes everything down again.");
    interrupt::wait();
    Ok(())
}

/// A few requests from every consumer, each on a connection of its own, each answer shown.
fn requests(lab: &Lab, endpoints: &[&str]) -> Result<()> {
    for consumer in CONSUMERS {
        let namespace = lab.network(consumer)?;
        for endpoint in endpoints {
            wait_for(namespace, endpoint)?;
            for _ in 0..REQUESTS / endpoints.len() {
                interrupt::check()?;
                let answer = http_get(namespace, endpoint)?;
                ensure!(
                    answer.contains(" served "),
                    "{consumer} got an answer that is not a target's: {answer}"
                );
                println!("   {:<14} {endpoint:<23}  {}", namespace.name(), answer.trim_end());
            }
        }
    }
    Ok(())
}

/// Waits until an endpoint answers, or for Ctrl-C.
fn wait_for(namespace: &Namespace, endpoint: &str) -> Result<()> {
    let mut last = String::new();
    let what = format!("{} gets an answer from {endpoint}", namespace.name());
    wait_until(FIRST, &what, || match http_get(namespace, endpoint) {
        Ok(_) => true,
        Err(error) => {
            last = format!("{error:#}");
            interrupt::seen()
        }
    })
    .with_context(|| last)
}
