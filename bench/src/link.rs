//! Interfaces in the lab's namespaces.

use anyhow::{Context, Result};
use aya::programs::{ProgramFd, ProgramInfo, loaded_programs};
use privatelink_common::records::Mac;
use privatelink_tests::Namespace;

/// An interface, as `ip` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Kernel index.
    pub(crate) ifindex: u32,
    /// MAC address.
    pub(crate) mac: Mac,
    program: Option<u32>,
}

impl Link {
    /// Looks at an interface.
    pub(crate) fn of(namespace: &Namespace, interface: &str) -> Result<Self> {
        let text = namespace.run(&["ip", "-j", "link", "show", interface])?;
        let links: serde_json::Value = serde_json::from_str(&text).context("ip prints no JSON")?;
        let link = &links[0];
        let number = |value: &serde_json::Value| u32::try_from(value.as_u64()?).ok();
        let mac: Vec<u8> = link["address"]
            .as_str()
            .unwrap_or_default()
            .split(':')
            .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        Ok(Self {
            ifindex: number(&link["ifindex"]).context("ip prints no index")?,
            mac: Mac::from_bytes(mac.try_into().ok().context("ip prints no MAC address")?),
            program: number(&link["xdp"]["prog"]["id"]),
        })
    }

    /// The XDP program that is attached, whoever did it.
    pub(crate) fn program(&self) -> Result<ProgramFd> {
        Ok(self.program_info()?.fd()?)
    }

    /// What the kernel tells of the attached program.
    pub(crate) fn program_info(&self) -> Result<ProgramInfo> {
        let id = self.program.context("no XDP program is attached")?;
        for program in loaded_programs() {
            let program = program?;
            if program.id() == id {
                return Ok(program);
            }
        }
        anyhow::bail!("XDP program {id} is gone")
    }
}
