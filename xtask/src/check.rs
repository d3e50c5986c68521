//! `cargo xtask test`, `ci` and `bench`: every check, one after the other, the first failure ends it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use privatelink_tests::{leftovers, require_root};

use crate::setup::{self, Purpose};
use crate::workspace::{build_daemon, cargo, run, target};

/// Tests of what the data path does between real ends. The daemon attaches to their veths at tc ingress, left to itself; so they are run
/// by XDP, too. Others choose their modes, run in all, or are about the daemon.
const BY_XDP_TOO: [&str; 20] = [
    "colliding_clients",
    "connection_ends",
    "connections",
    "draining",
    "hairpin",
    "handshake",
    "icmp_errors",
    "ipv6",
    "isolation",
    "killed",
    "one_address",
    "overlap",
    "ping",
    "quic",
    "resets",
    "service",
    "shared_endpoint",
    "two_endpoints",
    "udp",
    "waiting_client",
];

/// Runs every check and test.
pub(crate) fn test() -> Result<()> {
    require_root()?;
    step("setup", || setup::ensure(Purpose::Test).map(drop))?;
    step("format", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("clippy", || {
        run(&mut cargo(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]))
    })?;
    step("clippy of the XDP programs", || run(&mut clippy_of_ebpf()?))?;
    step("documentation", || {
        run(cargo(&["doc", "--locked", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    })?;
    step("build", || run(&mut cargo(&["build", "--locked"])))?;
    // By itself too, to be read: how far the program is from the verifier's limit.
    let budget = ["--package", "privatelink-tests", "--test", "verifier", "--", "--nocapture"];
    step("verifier", || run(cargo(&["test", "--locked", "--quiet"]).args(budget)))?;
    let binary = target()?.join("debug/privatelink");
    let tests = || {
        let mut command = cargo(&["test", "--locked"]);
        command.env("PRIVATELINK_BIN", &binary);
        command
    };
    step("tests", || run(&mut tests()))?;
    step("tests by XDP", || {
        let files = BY_XDP_TOO.iter().flat_map(|file| ["--test", file]);
        let mut command = tests();
        command.args(["--package", "privatelink-tests"]).args(files);
        run(command.env("PRIVATELINK_TEST_ATTACH", "xdp"))
    })
}

/// Runs the benchmark: the groups named, or all.
pub(crate) fn bench(groups: &[String]) -> Result<()> {
    require_root()?;
    setup::ensure(Purpose::Run)?;
    if let Err(error) = setup::ensure(Purpose::Bench) {
        println!("{error:#}: what needs it is skipped");
    }
    let daemon = build_daemon()?;
    let mut bench =
        cargo(&["run", "--release", "--locked", "--package", "privatelink-bench", "--"]);
    run(bench.args(groups).env("PRIVATELINK_BIN", daemon))
}

/// Runs every check and test, and looks whether they cleaned up.
pub(crate) fn ci() -> Result<()> {
    test()?;
    step("leftovers", || {
        let left = leftovers();
        if left.is_empty() {
            return Ok(());
        }
        bail!("the tests left something behind:\n  {}", left.join("\n  "))
    })
}

/// The eBPF packages are linted as if they were for this host, since only that target has a standard toolchain's clippy:
/// `RUSTC_BOOTSTRAP` for aya-ebpf's unstable features, no unwinding because they have their own panic handler. A target
/// directory of its own, because the bootstrap setting makes many build scripts run anew.
fn clippy_of_ebpf() -> Result<Command> {
    let mut command = cargo(&["clippy", "--locked", "--target-dir"]);
    command.arg(target()?.join("bpf-clippy")).args(["--package", "privatelink-ebpf", "--package"]);
    command.args(["privatelink-bench-ebpf", "--", "-D", "warnings"]);
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_PROFILE_DEV_PANIC", "abort");
    Ok(command)
}

/// Does one step and prints its name before and its duration after.
fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("==> {name}");
    let start = Instant::now();
    let done = work().with_context(|| format!("{name} failed"));
    let seconds = start.elapsed().as_secs_f64();
    println!("<== {name}: {} after {seconds:.1} s", if done.is_ok() { "passed" } else { "FAILED" });
    done
}
