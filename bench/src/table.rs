//! A million flows in the table: how long listing, sweeping and adding them up take, and how much memory they are.

use std::fs;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::MapInfo;
use nix::time::{ClockId, clock_gettime};
use privatelink_common::flow_table::Measures;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::ticks::{self, Tick};
use privatelink_common::wide::WideHalf;
use privatelink_tests::{Daemon, Links, Namespace, binary, wait_until};

use crate::cpu::pin;
use crate::drive::Driver;
use crate::lane::{Lane, Way};
use crate::link::Link;
use crate::ours::Ours;
use crate::report::{Bound, Case, Report, Series};
use crate::rounds::in_turn;
use crate::world::{CAPACITY, ENDPOINT, HTTP, Interfaces, tuples};

/// Flows in the table.
pub(crate) const FLOWS: u32 = 1_000_000;
/// Rounds.
const ROUNDS: usize = 5;
/// Targets: with eight load balancer addresses there are leases for 1.7 million flows.
pub(crate) const TARGETS: u8 = 4;
/// The CPU that sweeps.
const CPU: usize = 1;
/// How far in the future all flows are due.
const LATER_MS: u64 = 3_600_000;

const LISTING: &str = "privatelink flows -o json";
const NOT_DUE: &str = "none of them due";
const DUE: &str = "all of them due";
const TALLIED: &str = "added up for metrics";
const DECLARED: &str = "by the table's measures";
const CHARGED: &str = "by the kernel's account";

/// Measures listing, memory and sweeping.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let lane = Lane::new(Way::Privatelink, Links::ForXdp, TARGETS)?;
    let daemon = lane.daemon.as_ref().context("the daemon runs")?;
    let gateway = lane.lab.gateway();
    let memory = gateway.enter(|| -> Result<Case> {
        open(gateway, &lane.interfaces)?;
        memory(&Link::of(gateway, &lane.interfaces.consumer)?)
    })??;
    report.add(list(daemon)?);
    report.add(memory);
    report.add(wide_memory());
    drop(lane);
    report.add(sweep()?);
    Ok(())
}

/// Opens the flows, not all at once: a daemon that sees the table fill with half-open flows ends them early.
pub(crate) fn open(gateway: &Namespace, interfaces: &Interfaces) -> Result<()> {
    let mut driver = Driver::new(gateway, interfaces, FLOWS, 1)?;
    let clients = tuples(FLOWS, SocketAddrV4::new(ENDPOINT, HTTP[0]));
    clients.chunks(clients.len() / 8).try_for_each(|some| driver.open(some))
}

fn list(daemon: &Daemon) -> Result<Case> {
    wait_until(Duration::from_secs(10), "all flows are counted", || {
        daemon
            .cli(&["status", "-o", "json"])
            .is_ok_and(|status| status[0]["flows"].as_u64() == Some(FLOWS.into()))
    })?;
    let text = daemon.cli_text(&["flows", "-o", "json"])?;
    let rows = text.lines().filter(|line| line.starts_with('{')).count();
    ensure!(rows == FLOWS as usize, "{rows} flows are listed");
    let bytes = text.len();
    drop(text);

    let (binary, home) = (binary()?, daemon.home());
    let series = in_turn(&[LISTING], ROUNDS, |_| {
        let mut command = Command::new(&binary);
        command.args(["flows", "-o", "json", "--socket"]).arg(home.socket());
        let start = Instant::now();
        let status = command.stdout(Stdio::null()).status()?;
        let elapsed = start.elapsed();
        ensure!(status.success(), "{LISTING}: {status}");
        Ok(elapsed.as_secs_f64())
    })?;
    let mut case = Case {
        group: "table",
        title: format!("listing {FLOWS} flows"),
        unit: "seconds",
        conditions: format!(
            "a running daemon, {} MB of JSON to /dev/null, from start to end of the process; {ROUNDS} rounds",
            bytes / 1_000_000
        ),
        series,
        gates: Vec::new(),
    };
    case.demand_alone(LISTING, Bound::AtMost(1.0));
    Ok(case)
}

/// Memory of a flow with IPv6 on either side, by its table's measures: each half has its addresses beside it.
fn wide_memory() -> Case {
    let measures = Measures::new(FLOWS);
    let addresses =
        u64::from(measures.halves) * (size_of::<WideHalf>() - size_of::<FlowHalf>()) as u64;
    let bytes = (measures.bytes() + addresses) as f64 / f64::from(measures.flows());
    let mut case = Case {
        group: "table",
        title: format!("memory of a table of {FLOWS} flows with IPv6"),
        unit: "bytes per flow",
        conditions:
            "halves with their addresses, index, map of free halves, counts of strays, notes"
                .to_owned(),
        series: vec![Series { name: DECLARED, rounds: vec![bytes] }],
        gates: Vec::new(),
    };
    case.demand_alone(DECLARED, Bound::AtMost(288.0));
    case
}

/// Memory of the table in the daemon's program.
fn memory(interface: &Link) -> Result<Case> {
    let program = interface.program_info()?;
    let (mut charged, mut flows) = (0, 0);
    for id in program.map_ids()?.context("the kernel tells no maps")? {
        let map = MapInfo::from_id(id)?;
        let name = map.name_as_str().context("a map without a name")?;
        if ["FLOWS", "FLOW_INDEX", "FLOW_FREE", "FLOW_STRAYS"].contains(&name) {
            let fd = map.fd()?;
            let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
            let text = fs::read_to_string(&path).with_context(|| path.clone())?;
            let memory = text.lines().find_map(|line| line.strip_prefix("memlock:"));
            let memory: u64 =
                memory.with_context(|| format!("no memlock in {path}"))?.trim().parse()?;
            charged += memory;
            if name == "FLOWS" {
                flows = map.max_entries() / 2;
            }
        }
    }
    ensure!(flows > 0, "the program has no flow table");
    let per_flow = |bytes: u64| vec![bytes as f64 / f64::from(flows)];
    let mut case = Case {
        group: "table",
        title: format!("memory of a table of {flows} flows"),
        unit: "bytes per flow",
        conditions:
            "halves, index, map of free halves, counts of strays; memlock in /proc/self/fdinfo"
                .to_owned(),
        series: vec![
            Series { name: DECLARED, rounds: per_flow(Measures::new(flows).bytes()) },
            Series { name: CHARGED, rounds: per_flow(charged) },
        ],
        gates: Vec::new(),
    };
    case.demand_alone(DECLARED, Bound::AtMost(160.0));
    case.demand_alone(CHARGED, Bound::AtMost(160.0));
    Ok(case)
}

fn sweep() -> Result<Case> {
    let mut due = Series { name: DUE, rounds: Vec::new() };
    let mut tallied = Series { name: TALLIED, rounds: Vec::new() };
    let mut series = in_turn(&[NOT_DUE], ROUNDS, |_| {
        let interfaces = Interfaces::new(Links::ForXdp);
        let lab = interfaces.lab(true, TARGETS)?;
        let gateway = lab.gateway();
        let [first, second, third] = gateway.enter(|| {
            pin(0, CPU)?;
            let configuration = interfaces.configuration(TARGETS, CAPACITY);
            let mut ours = Ours::start(gateway, &interfaces, &configuration)?;
            open(gateway, &interfaces)?;
            sweep_once(&mut ours)
        })??;
        due.rounds.push(second);
        tallied.rounds.push(third);
        Ok(first)
    })?;
    series.extend([due, tallied]);
    let mut case = Case {
        group: "table",
        title: format!("sweeping {FLOWS} established flows, and adding them up"),
        unit: "ms of one CPU",
        conditions: format!(
            "one thread's CPU time on CPU {CPU}; a fresh table in each of {ROUNDS} rounds"
        ),
        series,
        gates: Vec::new(),
    };
    case.demand_alone(NOT_DUE, Bound::AtMost(50.0));
    case.demand_alone(DUE, Bound::AtMost(50.0));
    Ok(case)
}

/// Milliseconds that sweeping takes when no flow is due, and when all are; and that adding them up takes.
fn sweep_once(ours: &mut Ours) -> Result<[f64; 3]> {
    let clock = ours.clock()?;
    ensure!(ours.live() == u64::from(FLOWS), "{} flows are live", ours.live());
    let later = Tick(clock.tick().0.wrapping_add(ticks::from_ms(LATER_MS, clock.per_second)));
    let start = cpu_time()?;
    ensure!(ours.tally() == u64::from(FLOWS), "each flow is counted");
    let adding = (cpu_time()? - start).as_secs_f64() * 1000.0;
    let mut timed = |now: Tick, expected: u32| {
        let start = cpu_time()?;
        let ended = ours.sweep(now)?;
        let elapsed = cpu_time()? - start;
        ensure!(ended == expected as usize, "{ended} of {expected} flows were ended");
        Ok(elapsed.as_secs_f64() * 1000.0)
    };
    let figures = [timed(clock.tick(), 0)?, timed(later, FLOWS)?, adding];
    ensure!(ours.live() == 0, "{} flows are left", ours.live());
    Ok(figures)
}

/// CPU time of this thread.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
