//! `cargo xtask bench`: what privatelink costs and carries, beside other ways to do the same.
//!
//! Every figure stands beside a baseline that was measured in the same rounds: machines have fast and slow minutes, and
//! virtual ones more so, but ratios of one round survive them. Figures are never part of a test.

mod cost;
mod link;
mod machine;
mod object;
mod ours;
#[path = "../ebpf/src/records.rs"]
mod records;
mod report;
mod rounds;
mod spread;
mod world;

use anyhow::Result;
use privatelink_tests::require_root;

use crate::machine::{Machine, NoStatistics};
use crate::report::Report;

fn main() -> Result<()> {
    require_root()?;
    rounds::take_over_interrupt()?;
    let mut report = Report { machine: Machine::look(), cases: Vec::new(), skipped: Vec::new() };
    println!("{}", report.machine);
    let _no_statistics = NoStatistics::begin()?;
    cost::measure(&mut report)
}
