//! What clients notice: connections and requests per second, and the latency of a connection, with real servers and
//! kernels at both ends.
//!
//! The client is on one CPU, the server on the other, the gateway's work is on both.

use anyhow::{Context, Result, ensure};
use privatelink_tests::{HttpTarget, Links, Process, http_target};

use crate::cpu::{EAGERLY, URGENTLY, make_urgent, occupy, pin};
use crate::lane::{Lane, Way, wait_for_server};
use crate::report::{Bound, Case, Report, Series};
use crate::rounds::in_turn;
use crate::tool::Tool;
use crate::world::{ECHO, HTTP, offloads, target};

/// Rounds.
const ROUNDS: usize = 15;
/// Seconds of each measurement.
const SECONDS: &str = "2";
/// Where the client runs, and where the server does.
pub(crate) const ON_CLIENT_CPU: [&str; 3] = ["taskset", "-c", "0"];
pub(crate) const SERVER_CPU: usize = 1;
/// Connections that wrk has open at a time.
const CONNECTIONS: &str = "64";
/// Messages a second by which latency is measured: a load that leaves most of both CPUs idle.
const MESSAGES: &str = "5000";

/// The ways that are measured; all ratios are to the first.
pub(crate) const WAYS: [Way; 4] = [Way::Routing, Way::Nftables, Way::Haproxy, Way::Privatelink];

/// How clients use connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// A connection for each request.
    Close,
    /// Many requests over each connection.
    KeepAlive,
}

impl Load {
    const fn title(self) -> &'static str {
        match self {
            Self::Close => "HTTP connections of one request",
            Self::KeepAlive => "HTTP requests over open connections",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Close => "connections per second",
            Self::KeepAlive => "requests per second",
        }
    }

    const fn header(self) -> &'static str {
        match self {
            Self::Close => "Connection: close",
            Self::KeepAlive => "Connection: keep-alive",
        }
    }
}

/// Measures connections per second, and latency.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let lanes = Lane::each(&WAYS, Links::ForXdp, "clients", report)?;
    if let Some(mut case) = requests("clients", &lanes, Load::Close, report)? {
        case.demand(Way::Privatelink.name(), Bound::AtLeast(1.2), Way::Nftables.name());
        case.demand(Way::Privatelink.name(), Bound::AtLeast(2.0), Way::Haproxy.name());
        report.add(case);
    }
    latency("clients", &lanes, report)?.into_iter().for_each(|case| report.add(case));
    Ok(())
}

/// Measures connections and requests per second, and latency, at tc ingress.
pub(crate) fn measure_at_tc(report: &mut Report) -> Result<()> {
    let group = "tcx-clients";
    let ways = [&WAYS[..], &[Way::Bare]].concat();
    let lanes = Lane::each(&ways, Links::Plain, group, report)?;
    for load in [Load::Close, Load::KeepAlive] {
        if let Some(mut case) = requests(group, &lanes, load, report)? {
            if load == Load::Close {
                case.demand(Way::Privatelink.name(), Bound::AtLeast(1.2), Way::Nftables.name());
            }
            report.add(case);
        }
    }
    let mut cases = latency(group, &lanes, report)?;
    if let Some(median) = cases.first_mut() {
        median.demand(Way::Privatelink.name(), Bound::MoreByAtMost(1.0), Way::Routing.name());
    }
    cases.into_iter().for_each(|case| report.add(case));
    Ok(())
}

fn conditions(lanes: &[Lane]) -> String {
    let offloads = lanes.first().map_or("", |lane| offloads(lane.interfaces.links));
    format!(
        "client on CPU 0, server on CPU 1; veth with {offloads}; 8 NAT addresses; {ROUNDS} rounds"
    )
}

fn requests(
    group: &'static str,
    lanes: &[Lane],
    load: Load,
    report: &mut Report,
) -> Result<Option<Case>> {
    let (title, header) = (load.title(), load.header());
    if let Some(reason) = Tool::Nginx.missing().or_else(|| Tool::Wrk.missing()) {
        report.skip(format!("{group}, {title}: {reason}"));
        return Ok(None);
    }
    let names: Vec<_> = lanes.iter().map(|lane| lane.way.name()).collect();
    let servers = lanes.iter().map(web_server).collect::<Result<Vec<_>>>()?;
    let series = in_turn(&names, ROUNDS, |index| request(&lanes[index], header))?;
    drop(servers);
    Ok(Some(Case {
        group,
        title: title.to_owned(),
        unit: load.unit(),
        conditions: format!(
            "wrk, {CONNECTIONS} at a time, {header}, {SECONDS} s; nginx, one process; all and HAProxy at nice -20; {}",
            conditions(lanes)
        ),
        series,
        gates: Vec::new(),
    }))
}

fn web_server(lane: &Lane) -> Result<HttpTarget> {
    let address = std::net::SocketAddrV4::new(target(0), HTTP[1]);
    let server = http_target(lane.provider()?, address.into(), "web")?;
    occupy(server.process().pid().cast_signed(), SERVER_CPU)?;
    Ok(server)
}

fn request(lane: &Lane, header: &str) -> Result<f64> {
    let url = format!("http://{}/", lane.way.address(HTTP));
    let wrk = ["wrk", "--threads", "1", "--connections", CONNECTIONS, "--duration", SECONDS];
    let request = ["--header", header, &url];
    let words = [&EAGERLY, &ON_CLIENT_CPU, &wrk[..], &request];
    let text = lane.consumer()?.run(&words.concat())?;
    ensure!(!text.contains("Non-2xx"), "not every request was answered: {text}");
    number_after(&text, "Requests/sec:").with_context(|| format!("wrk printed {text}"))
}

/// Latency: the median, and the 99th percentile; nothing where it cannot be measured.
fn latency(group: &'static str, lanes: &[Lane], report: &mut Report) -> Result<Vec<Case>> {
    if let Some(reason) = Tool::Sockperf.missing() {
        report.skip(format!("{group}, latency: {reason}"));
        return Ok(Vec::new());
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
    let case = |(title, series)| Case {
        group,
        title: format!("latency of an open TCP connection, {title}"),
        unit: "microseconds, half a round trip",
        conditions: format!(
            "sockperf ping-pong, {MESSAGES} messages of 64 bytes a second, 1 s; it and HAProxy in real time; {}",
            conditions(lanes)
        ),
        series,
        gates: Vec::new(),
    };
    Ok([("median", medians), ("99th percentile", tails)].map(case).into())
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
