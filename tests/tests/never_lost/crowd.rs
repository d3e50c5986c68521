//! Many long streams that never pause for long, and beside them connections that come and go.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use privatelink_tests::{Lab, Namespace, wait_until};

use crate::client::Client;
use crate::report::{Failure, Report};

/// Long streams, half of them from each consumer.
pub(crate) const STREAMS: u64 = 200;
/// Numbers from here on are those of short connections.
const NEWCOMERS: u64 = 1 << 20;
const CONSUMERS: [&str; 2] = ["consumer-a", "consumer-b"];
/// Between two rounds of a stream.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two new connections of a consumer.
const GAP: Duration = Duration::from_millis(10);
/// Frames that a new connection carries each way.
const SHORT: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients' threads share.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    /// By consumer: no new connections come.
    quiet: [AtomicBool; 2],
    opened: AtomicU64,
    failed: Mutex<Vec<Failure>>,
}

/// The clients, at work until they are told to finish.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    streams: Vec<Stream>,
    newcomers: [Option<JoinHandle<()>>; 2],
    lab: Arc<Lab>,
    began: Instant,
}

struct Stream {
    target: u8,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

impl Crowd {
    /// Opens all streams and lets new connections come; returns once every stream has carried something.
    pub(crate) fn start(lab: &Arc<Lab>) -> Self {
        let consumers = CONSUMERS.map(|name| lab.network(name).unwrap());
        let shared = Arc::<Shared>::default();
        let streams = (0..STREAMS)
            .map(|number| {
                let mut client = Client::open(consumers[number as usize % 2], number).unwrap();
                client.round().unwrap();
                Stream::start(client, Arc::clone(&shared))
            })
            .collect();
        let (lab, began) = (Arc::clone(lab), Instant::now());
        let mut crowd = Self { shared, streams, newcomers: [None, None], lab, began };
        CONSUMERS.iter().for_each(|consumer| crowd.resume(consumer));
        crowd
    }

    /// Lets new connections of a consumer come again.
    pub(crate) fn resume(&mut self, consumer: &str) {
        let index = index(consumer);
        self.shared.quiet[index].store(false, Relaxed);
        let (lab, shared) = (Arc::clone(&self.lab), Arc::clone(&self.shared));
        self.newcomers[index] = Some(thread::spawn(move || come_and_go(&lab, index, &shared)));
    }

    /// Has no more new connections of a consumer come, and waits for the last.
    pub(crate) fn pause(&mut self, consumer: &str) {
        let index = index(consumer);
        self.shared.quiet[index].store(true, Relaxed);
        if let Some(newcomer) = self.newcomers[index].take() {
            newcomer.join().unwrap();
        }
    }

    /// Waits until every stream has carried something in both directions from now on, and some new connections have
    /// come and gone; streams that have ended are not waited for.
    pub(crate) fn wait_progress(&self) {
        let before: Vec<u64> = self.rounds().collect();
        let opened = || self.shared.opened.load(Relaxed);
        let enough = opened() + 10;
        wait_until(PATIENCE, "every stream has gone on", || {
            // One may have begun before now: two have not.
            let went_on = |((now, before), stream): ((u64, &u64), &Stream)| {
                now >= before + 2 || stream.thread.is_finished()
            };
            let all = self.rounds().zip(&before).zip(&self.streams).all(went_on);
            all && (self.newcomers.iter().all(Option::is_none) || opened() >= enough)
        })
        .unwrap();
    }

    /// How many new connections have failed.
    pub(crate) fn failed(&self) -> usize {
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn rounds(&self) -> impl Iterator<Item = u64> {
        self.streams.iter().map(|stream| stream.rounds.load(Relaxed))
    }

    /// Has every stream carry one frame more each way and close, and the new connections end.
    pub(crate) fn finish(mut self) -> Report {
        self.shared.over.store(true, Relaxed);
        CONSUMERS.iter().for_each(|consumer| self.pause(consumer));
        let (mut streams, mut lost) = (BTreeMap::new(), Vec::new());
        for (number, stream) in std::mem::take(&mut self.streams).into_iter().enumerate() {
            *streams.entry(stream.target).or_default() += 1;
            let which = format!("stream {number} after {} rounds", stream.rounds.load(Relaxed));
            if let Err(error) = stream.thread.join().unwrap() {
                lost.push(Failure::new(Some(stream.target), &which, &error));
            }
        }
        let opened = self.shared.opened.load(Relaxed);
        let failed = std::mem::take(&mut *self.shared.failed.lock().unwrap());
        Report { took: self.began.elapsed(), streams, lost, opened, failed, complaints: Vec::new() }
    }
}

impl Drop for Crowd {
    /// What is left when a test fails.
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        self.newcomers.iter_mut().filter_map(Option::take).for_each(|end| drop(end.join()));
    }
}

impl Stream {
    fn start(mut client: Client, shared: Arc<Shared>) -> Self {
        let (target, rounds) = (client.target(), Arc::<AtomicU64>::default());
        let counter = Arc::clone(&rounds);
        let thread = thread::spawn(move || {
            while !shared.over.load(Relaxed) {
                thread::sleep(PAUSE);
                client.round()?;
                counter.fetch_add(1, Relaxed);
            }
            client.round()?;
            client.close()
        });
        Self { target, rounds, thread }
    }
}

fn index(consumer: &str) -> usize {
    CONSUMERS.iter().position(|name| *name == consumer).unwrap()
}

fn come_and_go(lab: &Lab, index: usize, shared: &Shared) {
    let consumer = lab.network(CONSUMERS[index]).unwrap();
    let mut number = NEWCOMERS + index as u64;
    while !shared.over.load(Relaxed) && !shared.quiet[index].load(Relaxed) {
        number += 2;
        let mut target = None;
        if let Err(error) = come(consumer, number, &mut target) {
            let failure = Failure::new(target, &format!("new connection {number}"), &error);
            shared.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
        }
        shared.opened.fetch_add(1, Relaxed);
        thread::sleep(GAP);
    }
}

/// Notes the target as soon as it is known.
fn come(consumer: &Namespace, number: u64, target: &mut Option<u8>) -> io::Result<()> {
    let mut client = Client::open(consumer, number)?;
    *target = Some(client.target());
    (0..SHORT).try_for_each(|_| client.round())?;
    client.close()
}
