//! One capture at a time: from swapping the watched program in to swapping it out again.
//!
//! The watched program is in force exactly while a [`Capture`] lives. The daemon's loop swaps, since the links are its own;
//! a capture only says what it wants and waits. A daemon that is killed leaves the watched program behind, which tells
//! nothing once the order's time is over, until the next daemon swaps its usual one in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use privatelink_common::capture::{Counts, Order};
use privatelink_common::limits::INTERFACE_SLOTS;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::filter;
use super::names::Names;
use super::watching::Watching;
use super::{Form, Packet, Writer};
use crate::api::{CaptureQuery, CaptureSummary, ErrorBody, ErrorCode};
use crate::control::GatewayError;
use crate::datapath::{Datapath, DatapathError, Ring};
use crate::running::Running;

/// How long the daemon's loop may take to swap the programs.
const SWAP_PATIENCE: Duration = Duration::from_secs(5);
/// How often the ring is looked at while it is empty. The program wakes nobody up, which would cost it time.
const LOOK: Duration = Duration::from_millis(10);
/// How often it is said how things stand, so that a silent capture is told from a daemon that hangs.
const SUMMARY: Duration = Duration::from_secs(10);
/// Bytes of an answer that are sent at once.
const PIECE: usize = 64 << 10;
/// What a packet may take beside its bytes: comments, names, and an interface that is described.
const ROOM: u64 = 1024;

/// What captures share.
pub struct Captures {
    ring: Arc<Mutex<Ring>>,
    runs: AtomicU32,
    pub(super) wanted: watch::Sender<bool>,
    in_force: watch::Sender<bool>,
    /// Number of the last capture that is to end.
    ended: watch::Sender<u32>,
}

impl Captures {
    /// Of a data path that has just been loaded.
    pub fn new(datapath: &mut Datapath) -> Result<Self, DatapathError> {
        datapath.set_capture(&Order::NONE)?;
        Ok(Self {
            ring: Arc::new(Mutex::new(datapath.ring()?)),
            runs: AtomicU32::new(0),
            wanted: watch::Sender::new(false),
            in_force: watch::Sender::new(false),
            ended: watch::Sender::new(0),
        })
    }

    /// Tells whether the watched program is to be in force.
    pub fn wanted(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    /// Notes that the programs were swapped.
    pub fn swapped(&self, watched: bool) {
        self.in_force.send_replace(watched);
    }

    /// Whether the watched program is in force.
    pub fn is_in_force(&self) -> bool {
        *self.in_force.borrow()
    }

    /// Ends the capture that runs, in order; false where none does.
    pub fn end(&self) -> bool {
        self.ended.send_replace(self.runs.load(Ordering::Relaxed));
        self.ring.try_lock().is_err()
    }
}

/// A capture that runs; dropping it ends it.
pub struct Capture {
    running: Arc<Running>,
    // Let go of before the ring: whoever holds the ring next finds everything as before.
    watching: Watching,
    ring: OwnedMutexGuard<Ring>,
    run: u32,
    ended: watch::Receiver<u32>,
    writer: Box<dyn Writer>,
    names: Names,
    limits: Limits,
    packets: u64,
    bytes: u64,
    /// By slot, what had been counted before.
    before: Vec<Counts>,
    /// By index of the interface that they came in by: its slot, and packets told.
    told: BTreeMap<u32, (u32, u64)>,
    summary_due: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Beginning,
    Telling,
    Over,
}

/// When a capture ends by itself.
struct Limits {
    packets: u64,
    bytes: u64,
    until: Option<Instant>,
}

impl Capture {
    /// Begins one, within a tokio runtime. The first loads the watched program, which takes the kernel a second.
    pub fn start(
        running: Arc<Running>,
        query: &CaptureQuery,
        form: Form,
    ) -> Result<Self, GatewayError> {
        let failed = |error: DatapathError| GatewayError::Failed(error.to_string());
        let order = filter::order(query, &running.snapshot())?;
        let captures = running.captures();
        let mut ring = captures.ring.clone().try_lock_owned().map_err(|_| busy())?;
        running.datapath().load_watched().map_err(failed)?;
        while ring.next(|_, _, _| ()) {}
        let run = captures.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let before = counts(&running).map_err(failed)?;
        let now = Instant::now();
        let limits = Limits {
            packets: query.count.unwrap_or(u64::MAX),
            bytes: query.bytes.unwrap_or(u64::MAX),
            until: query.duration_ms.map(|ms| now + Duration::from_millis(ms)),
        };
        // Cannot fail: texts and numbers.
        let asked = serde_json::to_string(query).unwrap_or_default();
        log::info!("a capture begins: {asked}");
        Ok(Self {
            watching: Watching::begin(running.clone(), Order { run, ..order }).map_err(failed)?,
            ring,
            run,
            ended: running.captures().ended.subscribe(),
            writer: form.writer(),
            names: Names::new(running.clone()),
            limits,
            packets: 0,
            bytes: 0,
            before,
            told: BTreeMap::new(),
            summary_due: now + SUMMARY,
            stage: Stage::Beginning,
            running,
        })
    }

    /// Waits until packets are told of.
    ///
    /// # Errors
    ///
    /// The daemon does not come to it.
    pub async fn begun(&self) -> Result<(), GatewayError> {
        let mut in_force = self.running.captures().in_force.subscribe();
        let swapped = in_force.wait_for(|watched| *watched);
        let swapped = tokio::time::timeout(SWAP_PATIENCE, swapped).await;
        swapped.is_ok_and(|swapped| swapped.is_ok()).then_some(()).ok_or_else(|| {
            GatewayError::Unavailable("the daemon is busy: try again, or see its log".into())
        })
    }

    /// The next bytes of the answer; `None` after the last.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.stage {
            Stage::Beginning => {
                self.writer.begin(&mut out);
                self.stage = Stage::Telling;
            }
            Stage::Telling => {}
            Stage::Over => return None,
        }
        loop {
            let is_last = self.is_over();
            if is_last {
                // What is told from now on is none of ours; what was told before is in the ring.
                self.watching.silence();
            }
            let whole = self.drain(&mut out, if is_last { usize::MAX } else { PIECE });
            if is_last || !whole {
                self.watching.silence();
                self.summarise(&mut out);
                self.stage = Stage::Over;
            } else if Instant::now() >= self.summary_due {
                self.summarise(&mut out);
            }
            if !out.is_empty() || self.stage == Stage::Over {
                self.bytes += out.len() as u64;
                return Some(out);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = self.ended.changed() => {}
            }
        }
    }

    /// Whether its time is over, or it was told to end.
    fn is_over(&self) -> bool {
        *self.ended.borrow() >= self.run
            || self.limits.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Writes what waits in the ring, up to a length; false once a limit is reached.
    fn drain(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        let since_boot = monotonic_to_wall();
        let Self { ring, writer, names, limits, packets, told, run, bytes, .. } = self;
        let mut room = true;
        while room && out.len() < most && *packets < limits.packets {
            let more = ring.next(|captured, before, after| {
                if captured.run != *run {
                    return;
                }
                let taken = *bytes + (out.len() + before.len() + after.len()) as u64;
                if taken.saturating_add(ROOM) > limits.bytes {
                    room = false;
                    return;
                }
                *packets += 1;
                told.entry(captured.ingress).or_default().1 += 1;
                let time = captured.time.saturating_add(since_boot);
                let packet = Packet { captured: *captured, time, before, after };
                writer.packet(names, &packet, out);
            });
            if !more {
                return true;
            }
        }
        room && *packets < limits.packets
    }

    fn summarise(&mut self, out: &mut Vec<u8>) {
        self.summary_due = Instant::now() + SUMMARY;
        self.names.look();
        for attached in self.running.interfaces().values() {
            self.told.entry(attached.link.ifindex).or_default().0 = attached.slot;
        }
        let counts = match counts(&self.running) {
            Ok(counts) => counts,
            Err(error) => {
                log::warn!("what the capture has lost is not known: {error}");
                return;
            }
        };
        let summary = |(&ifindex, &(slot, packets)): (&u32, &(u32, u64))| {
            let pair = (counts.get(slot as usize), self.before.get(slot as usize));
            let (Some(now), Some(before)) = pair else {
                return (ifindex, CaptureSummary { packets, ..CaptureSummary::default() });
            };
            let sampled_out = now.sampled_out - before.sampled_out;
            let rate_limited = now.rate_limited - before.rate_limited;
            let left_out = sampled_out + rate_limited;
            (ifindex, CaptureSummary { packets, left_out, lost: now.lost - before.lost })
        };
        let by_interface: Vec<_> = self.told.iter().map(summary).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.writer.summary(&mut self.names, &by_interface, now.as_nanos() as u64, out);
    }
}

fn busy() -> ErrorBody {
    let text = "another capture runs: end it where it runs, or by DELETE /v1/capture";
    ErrorBody::new(ErrorCode::InvalidState, text)
}

/// By slot.
fn counts(running: &Running) -> Result<Vec<Counts>, DatapathError> {
    let datapath = running.datapath();
    (0..INTERFACE_SLOTS).map(|slot| datapath.capture_counts(slot)).collect()
}

/// Nanoseconds from the kernel's monotonic clock to the time since 1970, as it is now.
fn monotonic_to_wall() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    wall.saturating_sub(monotonic).as_nanos() as u64
}
