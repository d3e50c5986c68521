//! Packets per second through veth: a generator on one CPU, the gateway on the other.
//!
//! consumer:eth0 ↔ gateway ↔ provider:eth0. The generator puts live XDP frames into the consumer's end; a kernel
//! thread of the gateway's interface (threaded NAPI) takes them on the other CPU and does the work; an XDP program at
//! the provider's end counts what arrives, on that CPU too, and drops it. A veth has no back-pressure: the generator
//! sends more than anybody carries, and the surplus is dropped where it enters the gateway.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::gettid;
use privatelink_tests::{Links, wait_until};

use crate::cpu::occupy;
use crate::lane::{Lane, Way};
use crate::link::Link;
use crate::object::Object;
use crate::records::{Drive, GENERATOR, ONWARD};
use crate::report::{Bound, Case, Report};
use crate::rounds::in_turn;
use crate::world::{ACK, HTTP, SYN, offloads, tuples};

/// Rounds.
const ROUNDS: usize = 9;
/// Flows whose packets are carried, one after the other.
const FLOWS: u32 = 4096;
/// Where the generator runs, and where the gateway does.
const GENERATOR_CPU: usize = 0;
const GATEWAY_CPU: usize = 1;
/// How long is measured after the first frame, and how long the generator runs up before.
const WINDOW: Duration = Duration::from_millis(500);
const RUN_UP: Duration = Duration::from_millis(150);
/// New flows are counted for a shorter time: no table shall be full at its end.
const NEW_WINDOW: Duration = Duration::from_millis(250);
/// Numbers of targets. With many there are leases enough; with one, those of the load balancer address that privatelink
/// prefers for the endpoint run out within the window.
const NEW_TARGETS: [u8; 2] = [32, 1];
/// Frames in a call: more than the generator can send while it is measured.
const FRAMES: u32 = 12_000_000;

pub(crate) const CONDITIONS: &str = "live XDP frames of 60 bytes over veth, generator on CPU 0, gateway by threaded NAPI (gro on) on CPU 1, \
                          both at nice -20, counted by XDP at the provider's end on CPU 1";

/// Measures packets of known flows, and new flows.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let ways = [Way::Bare, Way::Privatelink, Way::Routing, Way::Nftables];
    let mut case = known("rate", &ways, Links::ForXdp, report)?;
    case.demand(Way::Privatelink.name(), Bound::AtLeast(0.6), Way::Bare.name());
    case.demand(Way::Privatelink.name(), Bound::AtLeast(4.0), Way::Nftables.name());
    report.add(case);
    NEW_TARGETS.into_iter().try_for_each(|targets| new(report, targets))
}

/// Measures packets of known flows at tc ingress.
pub(crate) fn measure_at_tc(report: &mut Report) -> Result<()> {
    let ways = [Way::Routing, Way::Nftables, Way::Privatelink];
    let mut case = known("tcx-rate", &ways, Links::Plain, report)?;
    case.demand(Way::Privatelink.name(), Bound::AtLeast(1.3), Way::Nftables.name());
    report.add(case);
    Ok(())
}

fn known(group: &'static str, ways: &[Way], links: Links, report: &mut Report) -> Result<Case> {
    let lanes = Lane::each(ways, links, group, report)?.into_iter();
    let mut lanes = lanes.map(|lane| Traffic::of(lane, FLOWS)).collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = lanes.iter().map(|traffic| traffic.lane.way.name()).collect();
    let series = in_turn(&names, ROUNDS, |index| {
        let lane = &mut lanes[index];
        // Half-open flows do not live long, and the others' turns take a while.
        if lane.lane.way == Way::Privatelink {
            lane.open()?;
        }
        lane.aim(FLOWS, ACK)?;
        lane.rate("generate", FRAMES, RUN_UP, WINDOW)
    })?;
    Ok(Case {
        group,
        title: format!("packets of {FLOWS} known flows"),
        unit: "packets per second",
        conditions: format!("{CONDITIONS}; {}; flows in turn; {ROUNDS} rounds", offloads(links)),
        series,
        gates: Vec::new(),
    })
}

fn new(report: &mut Report, targets: u8) -> Result<()> {
    let ways = Way::usable(&[Way::Nftables, Way::Privatelink], "rate", report);
    let names: Vec<_> = ways.iter().map(|way| way.name()).collect();
    let series = in_turn(&names, ROUNDS, |index| {
        // Fresh tables in every round.
        let mut lane = Traffic::of(Lane::new(ways[index], Links::ForXdp, targets)?, FLOWS)?;
        lane.aim(u32::MAX, SYN)?;
        lane.rate("generate_new", FRAMES, Duration::ZERO, NEW_WINDOW)
    })?;
    let mut case = Case {
        group: "rate",
        title: format!("new flows, every packet the SYN of a new client; targets: {targets}"),
        unit: "flows per second",
        conditions: format!(
            "{CONDITIONS}; {}; fresh tables, 8 NAT addresses; {ROUNDS} rounds",
            offloads(Links::ForXdp)
        ),
        series,
        gates: Vec::new(),
    };
    if targets > 1 {
        case.demand(Way::Privatelink.name(), Bound::AtLeast(2.5), Way::Nftables.name());
    }
    report.add(case);
    Ok(())
}

/// A lane with a generator at its beginning and a counter at its end.
pub(crate) struct Traffic {
    // Detached before the interfaces go.
    object: Object,
    pub(crate) lane: Lane,
    macs: [u16; 6],
}

impl Traffic {
    /// Of so many flows.
    pub(crate) fn of(lane: Lane, flows: u32) -> Result<Self> {
        let way = lane.way;
        let (consumer, provider, gateway) =
            (lane.consumer()?, lane.provider()?, lane.lab.gateway());
        let mut object = Object::load(flows, 1)?;
        let [sender, counter] = [Link::of(consumer, "eth0")?, Link::of(provider, "eth0")?];
        let [from, onward] = [&lane.interfaces.consumer, &lane.interfaces.provider]
            .map(|name| Link::of(gateway, name));
        let (from, onward) = (from?, onward?);
        provider.enter(|| object.attach("sink", counter.ifindex))??;
        consumer.enter(|| object.set_device(GENERATOR, sender.ifindex))??;
        gateway.enter(|| {
            object.set_device(ONWARD, onward.ifindex)?;
            if way == Way::Bare { object.attach("redirect", from.ifindex) } else { Ok(()) }
        })??;
        object.set_tuples("FORWARD", &tuples(flows, way.address(HTTP)))?;
        let ([a, b, c], [d, e, f]) = (from.mac.0, sender.mac.0);
        let traffic = Self { object, lane, macs: [a, b, c, d, e, f] };
        traffic.place_on_cpu(&traffic.lane.interfaces.consumer)?;
        Ok(traffic)
    }

    /// Gives the interface of the gateway a kernel thread of its own, on the gateway's CPU.
    fn place_on_cpu(&self, interface: &str) -> Result<()> {
        // GRO gives it a NAPI where XDP has not: the thread's work, and what takes the generator's frames.
        self.lane.lab.gateway().run(&["ethtool", "-K", interface, "gro", "on"])?;
        // `ip netns exec` mounts the namespace's own /sys.
        let write = format!("echo 1 > /sys/class/net/{interface}/threaded");
        let name = self.lane.lab.gateway().name();
        let status = std::process::Command::new("ip")
            .args(["netns", "exec", name, "sh", "-c", &write])
            .status()
            .context("ip does not run")?;
        ensure!(status.success(), "threaded NAPI of {interface} cannot be switched on");
        let prefix = format!("napi/{interface}-");
        let mut threads = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if comm.starts_with(&prefix) {
                threads.push(entry.file_name().to_string_lossy().parse()?);
            }
        }
        ensure!(!threads.is_empty(), "{interface} has no NAPI thread");
        threads.into_iter().try_for_each(|thread| occupy(thread, GATEWAY_CPU))
    }

    /// Lets the generator begin anew.
    pub(crate) fn aim(&mut self, count: u32, flags: u32) -> Result<()> {
        self.object.set_drive(Drive { count, flags, macs: self.macs, ..Drive::default() })
    }

    /// Opens the flows, each by many SYNs since rings overflow, until the daemon lists them all.
    fn open(&mut self) -> Result<()> {
        self.aim(FLOWS, SYN)?;
        let (object, lane) = (&self.object, &self.lane);
        lane.consumer()?.enter(|| object.send("generate", 256 * FLOWS))??;
        let daemon = lane.daemon.as_ref().context("the daemon runs")?;
        wait_until(Duration::from_secs(10), "all flows are open", || {
            daemon.flows(&[]).is_ok_and(|flows| flows.len() == FLOWS as usize)
        })
    }

    /// Frames per second that arrive, over a window that begins some time after the first frame.
    fn rate(
        &self,
        generator: &'static str,
        frames: u32,
        run_up: Duration,
        window: Duration,
    ) -> Result<f64> {
        let (object, consumer) = (&self.object, self.lane.consumer()?);
        let before = object.arrived()?;
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                consumer.enter(|| {
                    occupy(gettid().as_raw(), GENERATOR_CPU)?;
                    object.send(generator, frames)
                })?
            });
            let arrive = || object.arrived().is_ok_and(|arrived| arrived > before);
            wait_until(Duration::from_secs(5), "frames arrive", arrive)?;
            thread::sleep(run_up);
            let rate = self.arriving(window)?;
            ensure!(!sending.is_finished(), "the generator ended before the window did");
            sending.join().expect("the generator does not panic")?;
            Ok(rate)
        })
    }

    /// Does something while frames of known flows are sent without end.
    pub(crate) fn sending<R>(&self, during: impl FnOnce() -> Result<R>) -> Result<R> {
        let (object, consumer) = (&self.object, self.lane.consumer()?);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                consumer.enter(|| -> Result<()> {
                    occupy(gettid().as_raw(), GENERATOR_CPU)?;
                    while !is_over.load(Ordering::Relaxed) {
                        object.send("generate", FRAMES)?;
                    }
                    Ok(())
                })?
            });
            thread::sleep(RUN_UP);
            let done = during();
            is_over.store(true, Ordering::Relaxed);
            sending.join().expect("the generator does not panic")?;
            done
        })
    }

    /// Frames per second that arrive within a window that begins now.
    pub(crate) fn arriving(&self, window: Duration) -> Result<f64> {
        let (start, first) = (Instant::now(), self.object.arrived()?);
        thread::sleep(window);
        let (last, elapsed) = (self.object.arrived()?, start.elapsed());
        Ok((last - first) as f64 / elapsed.as_secs_f64())
    }
}
