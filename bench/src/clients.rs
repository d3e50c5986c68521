//! What clients notice: connections per second, and the latency of a connection, with real servers and kernels at
//! both ends.
//!
//! The client is on one CPU, the server on the other, the gateway's work is on both.

use anyhow::{Context, Result, ensure};
use privatelink_tests::{HttpTarget, Process, http_target};

use crate::cpu::{EAGERLY, URGENTLY, make_urgent, occupy, pin};
use crate::lane::{Lane, Way, wait_for_server};
use crate::report::{Bound, Case, Report, Series};
use crate::rounds::in_turn;
use crate::tool::Tool;
use crate::world::{ECHO, HTTP, target};

/// Rounds.
const ROUNDS: usize = 7;
/// Seconds of each measurement.
const SECONDS: &str = "2";
/// Where the client runs, and where the server does.
const ON_CLIENT_CPU: [&str; 3] = ["taskset", "-c", "0"];
const SERVER_CPU: usize = 1;
/// Connections that wrk has open at a time.
const CONNECTIONS: &str = "64";
/// Messages a second by which latency is measured: a load that leaves most of both CPUs idle.
const MESSAGES: &str = "5000";

const CONDITIONS: &str =
    "client on CPU 0, server on CPU 1; veth with offloads tx off, gro on; 8 NAT addresses";

/// Measures connections per second, and latency.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let ways = [Way::Routing, Way::Nftables, Way::Haproxy, Way::Privatelink];
    let lanes = lanes(&ways, report)?;
    connections(report, &lanes)?;
    latency(report, &lanes)
}

fn lanes(ways: &[Way], report: &mut Report) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for way in ways {
        match way.tool().and_then(Tool::missing) {
            Some(reason) => report.skip(format!("clients, {}: {reason}", way.name())),
            None => lanes.push(Lane::new(*way, 1)?),
        }
    }
    Ok(lanes)
}

fn connections(report: &mut Report, lanes: &[Lane]) -> Result<()> {
    if let Some(reason) = Tool::Nginx.missing().or_else(|| Tool::Wrk.missing()) {
        report.skip(format!("connections per second: {reason}"));
        return Ok(());
    }
    let names: Vec<_> = lanes.iter().map(|lane| lane.way.name()).collect();
    let servers = lanes.iter().map(web_server).collect::<Result<Vec<_>>>()?;
    let series = in_turn(&names, ROUNDS, |index| connect(&lanes[index]))?;
    drop(servers);
    let mut case = Case {
        group: "clients",
        title: "HTTP connections of one request".to_owned(),
        unit: "connections per second",
        conditions: format!(
            "wrk, {CONNECTIONS} at a time, Connection: close, {SECONDS} s; nginx, one process; all and HAProxy at nice -20; {CONDITIONS}; {ROUNDS} rounds"
        ),
        series,
        gates: Vec::new(),
    };
    case.demand(Way::Privatelink.name(), Bound::AtLeast(1.2), Way::Nftables.name());
    case.demand(Way::Privatelink.name(), Bound::AtLeast(2.0), Way::Haproxy.name());
    report.add(case);
    Ok(())
}

fn web_server(lane: &Lane) -> Result<HttpTarget> {
    let address = std::net::SocketAddrV4::new(target(0), HTTP[1]);
    let server = http_target(lane.provider()?, address.into(), "web")?;
    occupy(server.process().pid().cast_signed(), SERVER_CPU)?;
    Ok(server)
}

fn connect(lane: &Lane) -> Result<f64> {
    let url = format!("http://{}/", lane.way.address(HTTP));
    let wrk = ["wrk", "--threads", "1", "--connections", CONNECTIONS, "--duration", SECONDS];
    let request = ["--header", "Connection: close", &url];
    let words = [&EAGERLY, &ON_CLIENT_CPU, &wrk[..], &request];
    let text = lane.consumer()?.run(&words.concat())?;
    ensure!(!text.contains("Non-2xx"), "not every request was answered: {text}");
    number_after(&text, "Requests/sec:").with_context(|| format!("wrk printed {text}"))
}

fn latency(report: &mut Report, lanes: &[Lane]) -> Result<()> {
    if let Some(reason) = Tool::Sockperf.missing() {
        report.skip(format!("latency: {reason}"));
        return Ok(());
    }
    let names: Vec<_> = lanes.iter().map(|lane| lane.way.name()).collect();
    let servers = lanes.iter().map(echo_server).collect::<Result<Vec<_>>>()?;
    let mut tails: Vec<Series> =
        names.iter().map(|&name| Series { name, rounds: Vec::new() }).collect();
    let medians = in_turn(&names, ROUNDS, |index| {
        let [median, tail] = ping_pong(&lanes[index])?;
        tails[index].rounds.push(tail);
        Ok(median)
    })?;
    drop(servers);
    for (title, series) in [("median", medians), ("99th percentile", tails)] {
        report.add(Case {
            group: "clients",
            title: format!("latency of an open TCP connection, {title}"),
            unit: "microseconds, half a round trip",
            conditions: format!(
                "sockperf ping-pong, {MESSAGES} messages of 64 bytes a second, 1 s; it and HAProxy in real time; {CONDITIONS}; {ROUNDS} rounds"
            ),
            series,
            gates: Vec::new(),
        });
    }
    Ok(())
}

fn echo_server(lane: &Lane) -> Result<Process> {
    let (address, port) = (target(0).to_string(), ECHO.to_string());
    let mut command = lane.provider()?.command("sockperf");
    command.args(["server", "--tcp", "-i", &address, "-p", &port]);
    let log = lane.lab.folder().join("sockperf.log");
    let server = Process::spawn("sockperf", &mut command, &log)?;
    pin(server.pid().cast_signed(), SERVER_CPU)?;
    make_urgent(server.pid())?;
    if let Some(haproxy) = &lane.haproxy {
        make_urgent(haproxy.pid())?;
    }
    wait_for_server(lane.consumer()?, lane.way.address([ECHO; 2])).with_context(|| server.log())?;
    Ok(server)
}

/// Half a round trip in microseconds: median and 99th percentile.
fn ping_pong(lane: &Lane) -> Result<[f64; 2]> {
    let to = lane.way.address([ECHO; 2]);
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let sockperf = ["sockperf", "ping-pong", "--tcp", "-i", &address, "-p", &port];
    let load = ["--mps", MESSAGES, "-m", "64", "-t", "1"];
    let words = [&URGENTLY, &ON_CLIENT_CPU, &sockperf[..], &load];
    let text = lane.consumer()?.run(&words.concat())?;
    let percentile =
        |name: &str| number_after(&text, name).with_context(|| format!("sockperf printed {text}"));
    Ok([percentile("percentile 50.000 =")?, percentile("percentile 99.000 =")?])
}

/// The number that follows `name` in a text.
fn number_after(text: &str, name: &str) -> Option<f64> {
    text.split_once(name)?.1.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_other_programs() {
        assert_eq!(
            number_after("Requests/sec:  18504.12\nTransfer/sec:", "Requests/sec:"),
            Some(18_504.12)
        );
        let sockperf = "sockperf: ---> percentile 99.000 =   40.250\n";
        assert_eq!(number_after(sockperf, "percentile 99.000 ="), Some(40.25));
        assert_eq!(number_after(sockperf, "percentile 50.000 ="), None);
    }
}
