//! What it costs to be looked at: packets per second with a million flows in the table while metrics are read every second,
//! flow logs are written and `top` is open. Every two seconds the daemon is stopped, or goes on: whoever looks waits for
//! it, and the data path does not. What they have missed is made up for while it goes on.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use privatelink_tests::{Links, Tmux, binary, wait_until};

use crate::lane::{Lane, Way};
use crate::rate::{CONDITIONS, Traffic};
use crate::report::{Bound, Case, Report};
use crate::rounds::in_turn;
use crate::table::{self, TARGETS};
use crate::world::{ACK, CAPACITY, offloads};

/// Flows in the table, all of whose packets are carried, one after the other.
const FLOWS: u32 = table::FLOWS;
const ROUNDS: usize = 60;
const ALONE: &str = "nobody looks";
const WATCHED: &str = "all look";
const WINDOW: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures it.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let mut traffic = Traffic::of(Lane::new(Way::Privatelink, Links::ForXdp, TARGETS)?, FLOWS)?;
    let gateway = traffic.lane.lab.gateway();
    gateway.enter(|| table::open(gateway, &traffic.lane.interfaces))??;
    traffic.aim(FLOWS, ACK)?;
    let daemon = traffic.lane.daemon.as_ref().context("the daemon runs")?;
    let watchers = Watchers::start(&traffic.lane)?;
    let series = traffic.sending(|| {
        in_turn(&[ALONE, WATCHED], ROUNDS, |index| {
            if index == 0 {
                daemon.signal(Signal::SIGSTOP);
            }
            let rate = traffic.arriving(WINDOW);
            daemon.signal(Signal::SIGCONT);
            rate
        })
    })?;
    let [scrapes, lines] = watchers.end(&traffic.lane)?;
    let mut case = Case {
        group: "watched",
        title: format!("packets of {FLOWS} known flows, while all look"),
        unit: "packets per second",
        conditions: format!(
            "{CONDITIONS}; {}; metrics every second, a flow log of 60 s, top in a terminal: {scrapes} scrapes, {lines} lines; \
             {ROUNDS} rounds of two windows of 2 s, in one of which the daemon is stopped",
            offloads(Links::ForXdp)
        ),
        series,
        gates: Vec::new(),
    };
    case.demand(WATCHED, Bound::AtLeast(0.95), ALONE);
    report.add(case);
    Ok(())
}

/// All who look.
struct Watchers {
    reading: JoinHandle<()>,
    over: Arc<AtomicBool>,
    scrapes: Arc<AtomicU32>,
    _top: Tmux,
}

impl Watchers {
    fn start(lane: &Lane) -> Result<Self> {
        let socket = lane.daemon.as_ref().context("the daemon runs")?.home().socket();
        log_flows(lane, true)?;
        let top = Tmux::start(120, 40)?;
        let program = binary()?;
        top.command(&format!("{} top --socket {}", program.display(), socket.display()))?;
        top.wait(PATIENCE, "top is open", |screen| screen.contains("endpoints: 1"))?;
        let (over, scrapes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ends, counted) = (over.clone(), scrapes.clone());
        let reading = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let mut curl = Command::new("curl");
                curl.args(["-sSf", "--unix-socket"]).arg(&socket).arg("http://localhost/metrics");
                if curl.stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        Ok(Self { reading, over, scrapes, _top: top })
    }

    /// Scrapes, and lines of the flow log.
    fn end(self, lane: &Lane) -> Result<[usize; 2]> {
        self.over.store(true, Ordering::Relaxed);
        self.reading.join().map_err(|_| anyhow::anyhow!("the reader has failed"))?;
        let file = lane.lab.folder().join("flow.log");
        let lines = fs::read_to_string(&file).context("there is a flow log")?.lines().count();
        log_flows(lane, false)?;
        fs::remove_file(&file)?;
        Ok([self.scrapes.load(Ordering::Relaxed) as usize, lines])
    }
}

/// Has flows logged, or no longer.
fn log_flows(lane: &Lane, wanted: bool) -> Result<()> {
    let file = lane.lab.folder().join("flow.log");
    let mut text = lane.interfaces.configuration(TARGETS, CAPACITY);
    if wanted {
        text += &format!(
            "[flow_logs]\ndestination = \"{}\"\nmax_aggregation_interval = 60\nreplace_bytes = 1099511627776\n",
            file.display()
        );
    }
    fs::write(lane.config(), text)?;
    let daemon = lane.daemon.as_ref().context("the daemon runs")?;
    daemon.cli_text(&["reload"])?;
    if wanted {
        wait_until(PATIENCE, "the flow log has begun", || file.exists())?;
    } else {
        ensure!(daemon.cli_text(&["status"]).is_ok(), "the daemon has gone");
    }
    Ok(())
}
