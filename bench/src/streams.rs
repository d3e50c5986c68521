//! Bulk data: what TCP streams carry a second, through links as the kernel makes them, with real kernels at both ends.
//!
//! Their offloads are on, so what one end sends as one segment of tens of kilobytes, its checksum left to a network card, is handed
//! on as it is by a way that can carry it so, up to the other end.
//!
//! The client is on one CPU, the server on the other, the gateway's work is on both.

use std::time::Duration;

use anyhow::{Context, Result};
use privatelink_tests::{Links, Process};

use crate::clients::{ON_CLIENT_CPU, SERVER_CPU, WAYS};
use crate::cpu::EAGERLY;
use crate::lane::{Lane, Way};
use crate::report::{Bound, Case, Report};
use crate::rounds::in_turn;
use crate::tool::Tool;
use crate::world::{HTTP, offloads, target};

const GROUP: &str = "streams";
/// Rounds.
const ROUNDS: usize = 15;
/// Seconds of each measurement, and how many before it are not counted.
const SECONDS: &str = "2";
const RUN_UP: &str = "1";
/// Numbers of streams.
const STREAMS: [u8; 2] = [1, 8];

/// Measures every number of streams.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    if let Some(reason) = Tool::Iperf3.missing() {
        report.skip(format!("{GROUP}: {reason}"));
        return Ok(());
    }
    let lanes = Lane::each(&WAYS, Links::Plain, GROUP, report)?;
    let _servers = lanes.iter().map(server).collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = lanes.iter().map(|lane| lane.way.name()).collect();
    for streams in STREAMS {
        let series = in_turn(&names, ROUNDS, |index| carry(&lanes[index], streams))?;
        let mut case = Case {
            group: GROUP,
            title: format!("bulk data of a client, TCP streams: {streams}"),
            unit: "Gbit/s",
            conditions: format!(
                "iperf3, {SECONDS} s after {RUN_UP} s; client on CPU 0, server on CPU 1; all and HAProxy at nice -20; veth with {}; {ROUNDS} rounds",
                offloads(Links::Plain)
            ),
            series,
            gates: Vec::new(),
        };
        for (bound, baseline) in [(0.95, Way::Routing), (1.0, Way::Nftables), (2.0, Way::Haproxy)] {
            case.demand(Way::Privatelink.name(), Bound::AtLeast(bound), baseline.name());
        }
        report.add(case);
    }
    Ok(())
}

fn server(lane: &Lane) -> Result<Process> {
    let (address, port, cpu) = (target(0).to_string(), HTTP[1].to_string(), SERVER_CPU.to_string());
    let mut command = lane.provider()?.command(EAGERLY[0]);
    command.args(&EAGERLY[1..]).args(["taskset", "-c", &cpu]);
    command.args(["iperf3", "--server", "--bind", &address, "--port", &port, "--forceflush"]);
    let server = Process::spawn("iperf3", &mut command, &lane.lab.folder().join("iperf3.log"))?;
    server.wait_log("Server listening", Duration::from_secs(5))?;
    Ok(server)
}

/// Gigabits that arrive in a second.
fn carry(lane: &Lane, streams: u8) -> Result<f64> {
    let (to, streams) = (lane.way.address(HTTP), streams.to_string());
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let iperf3 = ["iperf3", "--json", "--client", &address, "--port", &port];
    let load = ["--parallel", &streams, "--time", SECONDS, "--omit", RUN_UP];
    let words = [&EAGERLY, &ON_CLIENT_CPU, &iperf3[..], &load];
    let text = lane.consumer()?.run(&words.concat())?;
    let told: serde_json::Value = serde_json::from_str(&text).context("iperf3 prints no JSON")?;
    let arrived = told.pointer("/end/sum_received/bits_per_second");
    let bits = arrived.and_then(serde_json::Value::as_f64);
    Ok(bits.with_context(|| format!("iperf3 printed {text}"))? / 1e9)
}
