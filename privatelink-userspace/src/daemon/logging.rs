//! Flow logs and access log: a thread that looks at the flow table and hears what the data path tells.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use privatelink_common::flow_event::{FlowEvent, Lost};

use crate::datapath::{DatapathError, FlowEvents};
use crate::flow_logs::{Connection, Interval, Line, Lines, Moments, Names, header};
use crate::log_writer::{LogFates, LogWriter};
use crate::model::{AccessLog, FlowLogs, LogForm};
use crate::running::Running;
use crate::seldom::Seldom;
use crate::snapshot::Snapshot;

/// How often it hears what the data path tells: the ring holds what a million flows a second tell in 50 ms.
const LISTEN: Duration = Duration::from_millis(50);
/// How often it looks whether there is to be a log.
const LOOK: Duration = Duration::from_secs(1);
/// Work at a stretch while all flows are looked at, and the pause after it: the data path wants the CPUs too.
const STRETCH: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_millis(18);
/// Flows after which it looks at the clock.
const FEW: usize = 64;
/// How long the names of resources that are gone are known: their flows end at once.
const MEMORY: Duration = Duration::from_secs(2);
/// More is complained of only after this long.
const SILENCE: Duration = Duration::from_secs(60);

/// The thread. What it knows is written when it is dropped.
pub(super) struct Logging {
    /// A message is that the model is another; without a sender it is over.
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Logging {
    /// Starts it. A log that the model wants has begun when this returns.
    pub(super) fn start(running: Arc<Running>, events: FlowEvents) -> Self {
        let (wake, woken) = channel();
        let mut logger = Logger {
            running,
            events,
            names: VecDeque::new(),
            log: None,
            complaining: Seldom::after(SILENCE),
        };
        logger.step_or_complain(false, &woken);
        let thread = std::thread::spawn(move || logger.run(&woken));
        Self { wake: Some(wake), thread: Some(thread) }
    }

    /// Has it look at the model, which is another.
    pub(super) fn follow(&self) {
        // It only ends with us, or by a panic, which has been told.
        let _ = self.wake.as_ref().map(|wake| wake.send(()));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.wake = None;
        // A panic there has been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Logger {
    running: Arc<Running>,
    events: FlowEvents,
    /// Of the model in force, and before it of earlier ones.
    names: VecDeque<Known>,
    log: Option<Log>,
    complaining: Seldom,
}

struct Known {
    snapshot: Arc<Snapshot>,
    since: Instant,
    names: Names,
}

type Settings = (Option<FlowLogs>, Option<AccessLog>);

/// A log as it is written.
struct Log {
    settings: Settings,
    interval: Interval,
    ends: Instant,
    lost: Lost,
    writers: Writers,
}

/// Where the lines go.
#[derive(Default)]
struct Writers {
    flow: Option<(FlowLogs, LogWriter)>,
    access: Option<(LogForm, LogWriter)>,
    region: String,
}

impl Logger {
    fn run(mut self, woken: &Receiver<()>) {
        loop {
            let pause = if self.log.is_some() { LISTEN } else { LOOK };
            let is_over = woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected);
            self.step_or_complain(is_over, woken);
            if is_over {
                return;
            }
        }
    }

    fn step_or_complain(&mut self, is_over: bool, woken: &Receiver<()>) {
        if let Err(error) = self.step(is_over, woken) {
            self.complain(|| format!("flow logs are behind: {error}"));
        }
    }

    fn step(&mut self, is_over: bool, woken: &Receiver<()>) -> Result<(), DatapathError> {
        let snapshot = self.running.snapshot();
        let model = &snapshot.model;
        let is_as_wanted =
            |(flow, access): &Settings| *flow == model.flow_logs && *access == model.access_log;
        let is_other = self.log.as_ref().is_some_and(|log| !is_as_wanted(&log.settings));
        self.learn(&snapshot);
        self.listen()?;
        if self.log.as_ref().is_some_and(|log| is_over || is_other || Instant::now() >= log.ends) {
            self.end_interval(is_over || is_other, woken)?;
        }
        if is_other {
            self.log = None;
        }
        if self.log.is_none() && !is_over && !is_as_wanted(&(None, None)) {
            self.log = Some(self.begin((model.flow_logs.clone(), model.access_log.clone()))?);
        }
        Ok(())
    }

    fn begin(&self, settings: Settings) -> Result<Log, DatapathError> {
        let now = Moments::now(self.running.clock()?);
        let mut writers = Writers::start(&settings, &self.running.metrics().logs);
        writers.region = self.running.snapshot().model.region.clone();
        let mut before = 0;
        let flows = self.running.flow_table().flows().inspect(|_| before += 1);
        let interval = Interval::begin(flows, now);
        if before > 0 {
            writers.flow(&Line::Skipped([now.now / 1000; 2]));
            writers.flush();
        }
        let time = settings.0.as_ref().map_or(LOOK, |logs| logs.interval);
        let ends = Instant::now() + time;
        Ok(Log { settings, interval, ends, lost: self.events.lost()?, writers })
    }

    /// Hears what the data path has told.
    fn listen(&mut self) -> Result<(), DatapathError> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let Some(first) = self.events.next() else {
            return Ok(());
        };
        // After the event: what it tells does not lie ahead.
        let mut now = Moments::now(self.running.clock()?);
        let names = self.names.iter().map(|known| &known.names);
        let mut next = Some(first);
        let mut heard = 0_usize;
        while let Some(event) = next {
            match event {
                FlowEvent::Ended(ended) => {
                    log.interval.ended(&ended, &names, now, &mut log.writers);
                }
                FlowEvent::Refused(refused) => log.interval.refused(&refused, now),
            }
            heard += 1;
            if heard.is_multiple_of(FEW * FEW) {
                now = Moments::now(self.running.clock()?);
            }
            next = self.events.next();
        }
        log.writers.flush();
        Ok(())
    }

    /// Looks at all flows, and begins another interval. Slowly, unless it is the last.
    fn end_interval(&mut self, is_last: bool, woken: &Receiver<()>) -> Result<(), DatapathError> {
        let running = self.running.clone();
        let wants_flows = |settings: &Settings| {
            settings.0.as_ref().is_some_and(|logs| logs.traffic.has_accepted())
        };
        if self.log.as_ref().is_some_and(|log| wants_flows(&log.settings)) {
            let mut is_hurried = is_last;
            let mut now = Moments::now(running.clock()?);
            let mut began = Instant::now();
            for (at, flow) in running.flow_table().flows().enumerate() {
                let (Some(log), Some(known)) = (&mut self.log, self.names.front()) else { break };
                log.interval.live(&flow, &known.names, now, &mut log.writers);
                if at % FEW == 0 && began.elapsed() >= STRETCH {
                    self.listen()?;
                    // Another model is looked at once this is done, and soon.
                    is_hurried =
                        is_hurried || woken.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
                    now = Moments::now(running.clock()?);
                    began = Instant::now();
                }
            }
            self.listen()?;
        }
        let (now, lost) = (Moments::now(running.clock()?), self.events.lost()?);
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        if let Some(known) = self.names.front() {
            log.interval.end(lost != log.lost, &known.names, now, &mut log.writers);
        }
        log.writers.flush();
        let time = log.settings.0.as_ref().map_or(LOOK, |logs| logs.interval);
        log.ends = (log.ends + time).max(Instant::now());
        let before = std::mem::replace(&mut log.lost, lost);
        running.metrics().logs.untold.store(lost);
        if lost != before {
            let (ended, refused) = (lost.ended - before.ended, lost.refused - before.refused);
            self.complain(|| {
                format!("flow logs: {ended} flows that ended and {refused} refused packets were not told: more happens than can be heard")
            });
        }
        Ok(())
    }

    /// Knows the names of the model in force, and for a while those of earlier ones.
    fn learn(&mut self, snapshot: &Arc<Snapshot>) {
        let is_known = |known: &Known| Arc::ptr_eq(&known.snapshot, snapshot);
        let wanted = snapshot.model.flow_logs.is_some() || snapshot.model.access_log.is_some();
        if wanted && !self.names.front().is_some_and(is_known) {
            let (names, since) = (Names::of(snapshot), Instant::now());
            self.names.push_front(Known { snapshot: snapshot.clone(), since, names });
        }
        // One is needed until the next was there for a while.
        while self.names.len() > 1
            && self.names.get(self.names.len() - 2).is_some_and(|of| of.since.elapsed() > MEMORY)
        {
            self.names.pop_back();
        }
    }

    fn complain(&mut self, line: impl FnOnce() -> String) {
        if self.complaining.may(Instant::now()) {
            log::warn!("{}", line());
        }
    }
}

impl Writers {
    fn start((flow, access): &Settings, fates: &LogFates) -> Self {
        let flow = flow.as_ref().map(|logs| {
            let header = match logs.to.form {
                LogForm::Text => header(&logs.fields),
                LogForm::Json => String::new(),
            };
            let fate = fates.flow.clone();
            (logs.clone(), LogWriter::start("flow log", &logs.to, header, fate))
        });
        let access = access.as_ref().map(|log| {
            let fate = fates.access.clone();
            (log.to.form, LogWriter::start("access log", &log.to, String::new(), fate))
        });
        Self { flow, access, region: String::new() }
    }

    fn flush(&mut self) {
        if let Some((_, writer)) = &mut self.flow {
            writer.flush();
        }
        if let Some((_, writer)) = &mut self.access {
            writer.flush();
        }
    }
}

impl Lines for Writers {
    fn flow(&mut self, line: &Line<'_>) {
        if let Some((logs, writer)) = &mut self.flow {
            let is_wanted = match line {
                Line::Record(record) if record.refused.is_some() => logs.traffic.has_rejected(),
                Line::Record(_) => logs.traffic.has_accepted(),
                Line::Skipped(_) => true,
            };
            if is_wanted {
                writer.line(|to| line.write(to, logs.to.form, &logs.fields, &self.region));
            }
        }
    }

    fn connection(&mut self, connection: &Connection<'_>) {
        if let Some((form, writer)) = &mut self.access {
            writer.line(|to| connection.write(to, *form));
        }
    }
}
