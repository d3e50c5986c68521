//! Checks many targets, each at its own pace, and tells of every change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::check::{Check, Means};
use super::failure::Failure;
use super::state::{Health, Reason, Thresholds, Tracker};

/// Within which a new target is checked first: soon, since it waits for it, but many are not checked all at once.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// What is known of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its state and why.
    pub health: Health,
    /// Why the last check failed, in words; `None` if it did not.
    pub last_error: Option<String>,
    /// How long the last check took that succeeded; `None` if none has.
    pub latency: Option<Duration>,
}

impl Status {
    const fn unchecked(health: Health) -> Self {
        Self { health, last_error: None, latency: None }
    }

    /// Whether a check has come to an end.
    pub const fn is_checked(&self) -> bool {
        self.last_error.is_some() || self.latency.is_some()
    }
}

/// What there is to tell of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<K> {
    /// Its state or the reason has changed.
    Changed {
        /// Which target.
        key: K,
        /// What is known of it now.
        status: Status,
    },
    /// Nothing, or not all, came back from it in time.
    Unanswered {
        /// Which target.
        key: K,
    },
}

/// Runs the checks, each in a task of its own. Dropping it ends them all.
#[derive(Debug)]
pub struct Checker<K> {
    means: Arc<Means>,
    events: mpsc::Sender<Event<K>>,
    running: BTreeMap<K, Running>,
}

/// A target that is being checked.
#[derive(Debug)]
struct Running {
    check: watch::Sender<Check>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K: Clone + Ord + Send + 'static> Checker<K> {
    /// A checker without targets, whose events go to `events`. While nobody takes them, checks wait.
    pub fn new(events: mpsc::Sender<Event<K>>) -> Self {
        Self { means: Arc::default(), events, running: BTreeMap::new() }
    }

    /// Replaces the targets. One that was there keeps its state, and its next check goes by what is new of
    /// it; a new one begins with the health that `known` has of it, and is checked first at a random moment of the
    /// next second.
    ///
    /// Events of a target that is gone may still wait to be received. Needs a running tokio runtime.
    pub fn set_checks(&mut self, checks: BTreeMap<K, Check>, known: impl Fn(&K) -> Option<Health>) {
        self.means.wires.keep(&checks.values().filter_map(Check::place).collect());
        let mut before = std::mem::take(&mut self.running);
        for (key, check) in checks {
            let same = |running: &Running| running.check.borrow().target == check.target;
            let running = match before.remove(&key).filter(same) {
                Some(running) => {
                    running.check.send_replace(check);
                    running
                }
                None => self.start(key.clone(), check, known(&key).unwrap_or(Health::NEW)),
            };
            self.running.insert(key, running);
        }
    }

    /// What is known of every target.
    pub fn statuses(&self) -> impl Iterator<Item = (&K, Status)> {
        self.running.iter().map(|(key, running)| (key, running.status.borrow().clone()))
    }

    fn start(&self, key: K, check: Check, health: Health) -> Running {
        let (check, facts) = watch::channel(check);
        let (report, status) = watch::channel(Status::unchecked(health));
        let means = Arc::clone(&self.means);
        let events = self.events.clone();
        let target = Target { key, tracker: Tracker::new(health), report, events };
        Running { check, status, task: tokio::spawn(target.check(facts, means)) }
    }
}

/// A target in its task.
struct Target<K> {
    key: K,
    tracker: Tracker,
    report: watch::Sender<Status>,
    events: mpsc::Sender<Event<K>>,
}

impl<K: Clone> Target<K> {
    async fn check(mut self, facts: watch::Receiver<Check>, means: Arc<Means>) {
        let mut due = Instant::now() + FIRST_WITHIN.mul_f64(rand::random());
        loop {
            sleep_until(due).await;
            self.tracker.begin();
            self.tell(|_| {}).await;
            let check = facts.borrow().clone();
            let begun = Instant::now();
            let (result, connection) = check.run(&means).await;
            self.end(&check, result, begun.elapsed()).await;
            if let Some(connection) = connection {
                connection.close().await;
            }
            due = Instant::now().max(due + check.settings.interval);
        }
    }

    async fn end(&mut self, check: &Check, result: Result<(), Failure>, took: Duration) {
        let settings = &check.settings;
        let thresholds = Thresholds {
            healthy: settings.healthy_threshold,
            unhealthy: settings.unhealthy_threshold,
        };
        let reason = result.as_ref().map(drop).map_err(|failure| failure.reason);
        self.tracker.end(reason, thresholds);
        self.tell(|status| {
            status.latency = result.is_ok().then_some(took).or(status.latency);
            status.last_error = result.err().map(|failure| failure.words);
        })
        .await;
        if reason == Err(Reason::Timeout) {
            self.send(Event::Unanswered { key: self.key.clone() }).await;
        }
    }

    /// Notes what is new, and tells if the state or its reason is.
    async fn tell(&mut self, edit: impl FnOnce(&mut Status)) {
        let health = self.tracker.health();
        let changed = self.report.borrow().health != health;
        self.report.send_modify(|status| {
            status.health = health;
            edit(status);
        });
        if changed {
            let status = self.report.borrow().clone();
            self.send(Event::Changed { key: self.key.clone(), status }).await;
        }
    }

    async fn send(&mut self, event: Event<K>) {
        // Nobody listens any more while the daemon stops.
        let _ = self.events.send(event).await;
    }
}
