//! Where the figures come from.

use std::fmt;
use std::fs;

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
