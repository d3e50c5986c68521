//! What the daemon lists, as its contract has it: read from `-o json`, field by field.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::daemon::Daemon;
use crate::wait::wait_until;

/// One flow of `privatelink flows -o json`: these fields, no more and no fewer. `A` is what its addresses can be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct Flow<A = SocketAddrV4> {
    pub protocol: String,
    pub state: String,
    pub vpc: String,
    pub endpoint: String,
    pub service: String,
    pub client: A,
    pub endpoint_address: A,
    pub nat: A,
    pub target: A,
    pub packets_to_target: u64,
    pub bytes_to_target: u64,
    pub packets_to_client: u64,
    pub bytes_to_client: u64,
    pub retransmissions_to_target: u32,
    pub retransmissions_to_client: u32,
    pub consumer_rtt_us: Option<u32>,
    pub provider_rtt_us: Option<u32>,
    pub age_ms: u64,
    pub idle_ms: u64,
}

impl Daemon {
    /// The flows, as `privatelink flows -o json` with these arguments lists them, all of them with IPv4 on both sides.
    ///
    /// # Errors
    /// When the command fails, or prints other fields than those of [`Flow`].
    pub fn flows(&self, arguments: &[&str]) -> Result<Vec<Flow>> {
        self.flows_of(arguments)
    }

    /// The flows likewise, their addresses of whatever family `A` has.
    ///
    /// # Errors
    /// As [`Daemon::flows`].
    pub fn flows_of<A: DeserializeOwned>(&self, arguments: &[&str]) -> Result<Vec<Flow<A>>> {
        let rows = self.cli(&[&["flows", "-o", "json"], arguments].concat())?;
        serde_json::from_value(rows.clone()).with_context(|| format!("not flows: {rows}"))
    }

    /// How many packets were dropped on an interface for a reason, as `privatelink drops -o json` lists them.
    ///
    /// # Errors
    /// When the command fails.
    pub fn drops(&self, interface: &str, reason: &str) -> Result<u64> {
        let rows = self.cli(&["drops", "-o", "json"])?;
        let found = rows
            .as_array()
            .context("the drops are no array")?
            .iter()
            .find(|row| row["interface"] == interface && row["reason"] == reason);
        found.map_or(Ok(0), |row| row["packets"].as_u64().context("packets are no number"))
    }

    /// Waits until as many packets were dropped on an interface for a reason, or more; returns how many.
    ///
    /// # Errors
    /// When they are not within `deadline`.
    pub fn wait_drops(
        &self,
        interface: &str,
        reason: &str,
        at_least: u64,
        deadline: Duration,
    ) -> Result<u64> {
        let mut last = Ok(0);
        let what = format!("{interface} has dropped {at_least} packets as {reason}");
        wait_until(deadline, &what, || {
            last = self.drops(interface, reason);
            last.as_ref().is_ok_and(|packets| *packets >= at_least)
        })
        .with_context(|| format!("the last count was {last:?}"))?;
        last
    }
}
