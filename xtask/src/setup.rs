//! `cargo xtask setup`: looks what this host lacks for a purpose and installs that, and only that.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::bpf::{self, Compiler, Missing, Toolchain};
use crate::host;
use crate::workspace::run;

/// The release of bpf-linker that is installed, and the releases of LLVM that it can be built with.
const LINKER: (&str, std::ops::RangeInclusive<u32>) = ("bpf-linker@0.13.0", 21..=23);

/// Debian's Rust with `core` compiled for BPF; it lives in /usr and leaves rustup's toolchains alone.
const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// What a host is prepared for; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Purpose {
    /// Compiling: a Rust that knows the BPF machine, and bpf-linker.
    Build,
    /// And the lab of `cargo xtask run`: ip, ethtool, curl, nginx.
    Run,
    /// And the tests: iperf3, wrk, dig, ping, traceroute, tracepath, thc-ipv6, tcpdump, tshark, openssl, promtool,
    /// miller, nftables, tmux, chromium.
    Test,
    /// And what the benchmark compares with and measures by: HAProxy, sockperf.
    Bench,
}

/// A program, the Debian package that has it, and what it is for.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: Purpose,
    why: &'static str,
}

const TOOLS: [Tool; 21] = [
    tool("ip", "iproute2", Purpose::Run, "makes the lab's network namespaces and links"),
    tool("ethtool", "ethtool", Purpose::Run, "sets the offloads of the lab's links"),
    tool("curl", "curl", Purpose::Run, "is the lab's client"),
    tool(
        "nginx",
        "nginx",
        Purpose::Run,
        "is the lab's HTTP target; it is not started as a service",
    ),
    tool("iperf3", "iperf3", Purpose::Test, "carries bulk data in tests and in the benchmark"),
    tool("wrk", "wrk", Purpose::Test, "opens many connections in tests"),
    tool("dig", "bind9-dnsutils", Purpose::Test, "asks for large answers in tests"),
    tool("ping", "iputils-ping", Purpose::Test, "asks endpoints for echo in tests"),
    tool("traceroute", "traceroute", Purpose::Test, "shows the way to an endpoint in tests"),
    tool("tracepath", "iputils-tracepath", Purpose::Test, "shows the way to an endpoint in tests"),
    tool("atk6-firewall6", "thc-ipv6", Purpose::Test, "attacks IPv6 endpoints in tests"),
    tool("tcpdump", "tcpdump", Purpose::Test, "shows what is on the wire in tests"),
    tool("tshark", "tshark", Purpose::Test, "reads captures in tests"),
    tool("openssl", "openssl", Purpose::Test, "makes certificates for tests"),
    tool(
        "promtool",
        "prometheus",
        Purpose::Test,
        "checks metrics and alerts in tests; it is not started as a service",
    ),
    tool("mlr", "miller", Purpose::Test, "reads flow logs and access logs in tests"),
    tool("tmux", "tmux", Purpose::Test, "is the terminal that tests look at"),
    tool("chromium", "chromium", Purpose::Test, "is the browser that tests open the web page in"),
    tool("nft", "nftables", Purpose::Test, "loses packets in tests, does NAT in the benchmark"),
    tool(
        "haproxy",
        "haproxy",
        Purpose::Bench,
        "is a proxy for the benchmark to compare with; it is not started as a service",
    ),
    tool("sockperf", "sockperf", Purpose::Bench, "measures latency in the benchmark"),
];

const fn tool(
    program: &'static str,
    package: &'static str,
    purpose: Purpose,
    why: &'static str,
) -> Tool {
    Tool { program, package, purpose, why }
}

/// `cargo xtask setup`: prepares the host and says so in a line, also when there was nothing to do.
pub(crate) fn report(purpose: Purpose) -> Result<()> {
    let toolchain = ensure(purpose)?;
    println!("ready: {toolchain}");
    Ok(())
}

/// Prepares the host for a purpose; silent when it is.
pub(crate) fn ensure(purpose: Purpose) -> Result<Toolchain> {
    let missing: Vec<&Tool> = TOOLS
        .iter()
        .filter(|tool| tool.purpose <= purpose && host::program(tool.program).is_none())
        .collect();
    for Tool { package, why, .. } in &missing {
        println!("installing {package} by apt-get: it {why}");
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();

    let mut found = bpf::find();
    if found == Err(Missing::Compiler) {
        println!(
            "installing {} by apt-get: a Rust that compiles for the kernel's BPF machine",
            COMPILER.join(", ")
        );
        packages.extend(COMPILER);
    }
    if !packages.is_empty() {
        host::require_root_for(&packages)?;
        let installed = host::install(&packages);
        if found == Err(Missing::Compiler) {
            installed.context(NO_COMPILER)?;
        } else {
            installed?;
        }
        found = bpf::find();
    }
    if let Err(Missing::Linker { compiler }) = found {
        install_linker(&compiler)?;
        found = bpf::find();
    }
    match found {
        Ok(toolchain) => Ok(toolchain),
        Err(Missing::Compiler) => {
            bail!("{} brought no core for BPF: {NO_COMPILER}", COMPILER.join(" and "))
        }
        Err(Missing::Linker { .. }) => {
            bail!("bpf-linker was installed, but does not run or is not where cargo puts it")
        }
    }
}

/// What helps where Debian's packages do not.
const NO_COMPILER: &str = "no Rust that compiles eBPF could be installed; if the package sources lack it, give \
                           rustup one (`rustup toolchain install nightly --component rust-src`) and run this again";

/// Builds bpf-linker with the LLVM that reads what `compiler` writes.
fn install_linker(compiler: &Compiler) -> Result<()> {
    let (release, releases) = LINKER;
    let llvm = compiler.llvm;
    ensure!(
        releases.contains(&llvm),
        "{release} can be built with LLVM {releases:?}, but rustc here writes LLVM {llvm}"
    );
    let prefix = format!("/usr/lib/llvm-{llvm}");
    let prefix = Path::new(&prefix);
    if !prefix.join("bin/llvm-config").exists() || !prefix.join("lib/libLLVM.so").exists() {
        let package = format!("llvm-{llvm}-dev");
        println!("installing {package} by apt-get: the LLVM library that bpf-linker is built with");
        host::install(&[&package])?;
    }
    println!(
        "building {release} with LLVM {llvm} by cargo install: it links eBPF programs; this takes about a minute"
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(prefix.join("bin")).chain(std::env::split_paths(&path));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "install",
        release,
        "--locked",
        "--no-default-features",
        "--features",
        &format!("llvm-{llvm}"),
    ]);
    cargo.env("LLVM_PREFIX", prefix);
    cargo.env("PATH", std::env::join_paths(folders).context("PATH cannot be extended")?);
    run(&mut cargo)
}
