//! `cargo xtask bench`: what privatelink costs and carries, beside other ways to do the same.
//!
//! Every figure stands beside a baseline that was measured in the same rounds: machines have fast and slow minutes, and
//! virtual ones more so, but ratios of one round survive them. Figures are never part of a test.

mod clients;
mod cost;
mod cpu;
mod drive;
mod families;
mod lane;
mod link;
mod machine;
mod object;
mod ours;
mod plot;
mod rate;
#[path = "../ebpf/src/records.rs"]
mod records;
mod report;
mod rounds;
mod spread;
mod streams;
mod table;
mod tool;
mod watched;
mod world;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use privatelink_tests::require_root;

use crate::machine::{Machine, NoStatistics};
use crate::report::Report;

/// Measures privatelink beside other ways to do its work; writes bench.json and bench.svg.
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything where nothing is named.
    #[arg(value_enum)]
    groups: Vec<Group>,
}

/// What belongs together.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Nanoseconds per packet of an established flow, by BPF_PROG_TEST_RUN.
    Cost,
    /// The same of UDP and IPv6 beside TCP over IPv4.
    Families,
    /// Packets and new flows per second through veth.
    Rate,
    /// Connections per second and latency as clients see them.
    Clients,
    /// Bulk data of one and of many TCP streams, at tc ingress of links with all offloads.
    Streams,
    /// As clients, at tc ingress, and requests over open connections.
    TcxClients,
    /// Packets per second as rate, at tc ingress.
    TcxRate,
    /// A million flows in the table: listing them, sweeping them, their memory.
    Table,
    /// Packets per second of a million flows while metrics, flow logs and top are on.
    Watched,
}

fn main() -> ExitCode {
    let Arguments { groups } = Arguments::parse();
    match measure(if groups.is_empty() { Group::value_variants() } else { &groups }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(groups: &[Group]) -> Result<()> {
    require_root()?;
    rounds::take_over_interrupt()?;
    let mut report = Report { machine: Machine::look(), cases: Vec::new(), skipped: Vec::new() };
    println!("{}", report.machine);
    let _no_statistics = NoStatistics::begin()?;
    let measured = groups.iter().try_for_each(|group| match group {
        Group::Cost => cost::measure(&mut report),
        Group::Families => families::measure(&mut report),
        Group::Rate => rate::measure(&mut report),
        Group::Clients => clients::measure(&mut report),
        Group::Streams => streams::measure(&mut report),
        Group::TcxClients => clients::measure_at_tc(&mut report),
        Group::TcxRate => rate::measure_at_tc(&mut report),
        Group::Table => table::measure(&mut report),
        Group::Watched => watched::measure(&mut report),
    });
    // What was measured before a failure is kept.
    write(&report)?;
    measured
}

/// Writes the report into the target directory that this program was built in.
fn write(report: &Report) -> Result<()> {
    let own = std::env::current_exe().context("this program's path is unknown")?;
    let target = own.ancestors().nth(2).context("this program is not in a target directory")?;
    let folder = target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, text) in [
        ("bench.json", serde_json::to_string_pretty(report)? + "\n"),
        ("bench.svg", plot::svg(&report.cases)),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
