//! `cargo xtask`: everything that is done to this repository, from a fresh clone on.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod attach;
#[expect(
    dead_code,
    reason = "compiling the XDP program is done by privatelink-userspace/build.rs, which includes this file"
)]
mod bpf;
mod check;
mod host;
mod interrupt;
mod lab;
mod run;
mod setup;
mod workspace;

/// Builds, runs and tests privatelink.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what this host lacks: a Rust that compiles eBPF, bpf-linker, the tools of the lab.
    ///
    /// Says what it installs and why, installs only what is missing, and does nothing the second time. The other tasks
    /// call it for what they need.
    Setup {
        /// What to install for.
        #[arg(long = "for", value_enum, default_value_t = setup::Purpose::Run)]
        purpose: setup::Purpose,
    },
    /// Build everything for release; the program is target/release/privatelink.
    Build,
    /// Show privatelink at work in a lab of network namespaces, or run it on this host.
    ///
    /// Without arguments: builds, brings up a lab where a provider and two consumers all use 10.0.0.0/16 and fd00::/64,
    /// starts the daemon with an example, sends requests, and waits for Ctrl-C to take everything down again.
    /// With arguments after `--`: builds and runs `privatelink run` with them on this host, e.g. `-- --config my.toml`.
    Run {
        /// Take the lab down after the requests instead of waiting for Ctrl-C.
        #[arg(long, conflicts_with = "arguments")]
        once: bool,
        /// The example to run in the lab.
        #[arg(long, value_enum, default_value_t = run::Example::Overlap, conflicts_with = "arguments")]
        example: run::Example,
        /// How it is attached to the lab's interfaces.
        #[arg(long, value_enum, default_value_t = attach::Attach::Auto, conflicts_with = "arguments")]
        attach: attach::Attach,
        /// Arguments of `privatelink run`, for this host instead of the lab.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Run every check and test: format, clippy, documentation, tests. Needs root.
    Test,
    /// Measure privatelink beside other ways to do its work; tables here, JSON and a plot in target/bench. Needs root.
    Bench {
        /// What to measure (e.g. cost, rate, streams); everything where nothing is named.
        groups: Vec<String>,
    },
    /// Bring the lab's namespaces, links and HTTP targets up without a daemon, show them, take them down.
    Lab {
        #[command(subcommand)]
        action: lab::Action,
    },
    /// Do what `test` does, then check that the tests left no namespace and no pinned map behind.
    Ci,
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Self::Setup { .. } => "setup",
            Self::Build => "build",
            Self::Run { .. } => "run",
            Self::Test => "test",
            Self::Bench { .. } => "bench",
            Self::Lab { .. } => "lab",
            Self::Ci => "ci",
        }
    }

    fn perform(self) -> Result<()> {
        match self {
            Self::Setup { purpose } => setup::report(purpose),
            Self::Build => {
                setup::ensure(setup::Purpose::Build)?;
                workspace::build_release()
            }
            Self::Run { once, example, attach, arguments } if arguments.is_empty() => {
                run::demonstrate(example, attach, once)
            }
            Self::Run { arguments, .. } => run::on_this_host(&arguments),
            Self::Test => check::test(),
            Self::Bench { groups } => check::bench(&groups),
            Self::Lab { action } => action.perform(),
            Self::Ci => check::ci(),
        }
    }
}

fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    let name = task.name();
    match task.perform() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
