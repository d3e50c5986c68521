//! Where the figures come from.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// What a reader must know of the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    load: String,
    virtual_machine: bool,
}

impl Machine {
    /// Looks at this one.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpus.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field("flags").unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            cpu: format!(
                "{}, family {} model {}",
                field("model name").unwrap_or_default(),
                field("cpu family").unwrap_or_default(),
                field("model\t").unwrap_or_default()
            ),
            cpus: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cpus, kernel, load, virtual_machine } = self;
        let kind = if *virtual_machine { "virtual CPUs" } else { "CPUs" };
        write!(f, "{cpus} {kind}, {cpu}; Linux {kernel}; load before {load}")
    }
}

/// The kernel's own accounting of BPF programs' run time: two clock reads, some 75 ns here, in every run of a program.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// While it lives, the kernel does not account the run time of BPF programs.
#[derive(Debug)]
pub(crate) struct NoStatistics {
    before: String,
}

impl NoStatistics {
    /// Switches the accounting off where it is on, and says so.
    pub(crate) fn begin() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).unwrap_or_default().trim().to_owned();
        if before == "1" {
            println!("kernel.bpf_stats_enabled is 1: it is 0 while this runs");
            fs::write(STATISTICS, "0").with_context(|| format!("cannot write {STATISTICS}"))?;
        }
        Ok(Self { before })
    }
}

impl Drop for NoStatistics {
    fn drop(&mut self) {
        if self.before == "1"
            && let Err(error) = fs::write(STATISTICS, &self.before)
        {
            eprintln!("{STATISTICS} was 1 and cannot be set so again: {error}");
        }
    }
}
