//! Keeps next hops and interfaces true, and tells of every change.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::choice::{Choice, Offer, choose};
use super::events::Notice;
use super::hop::{Hop, NextHop};
use super::link::Link;
use super::neighbour::{Entry, Neighbour, needs_install, stale};
use super::request::Requests;
use super::route::Route;
use super::state::{Snapshot, State, wanted};
use super::{Error, Netlink, Result};

/// Everything is looked at again this often, event or not.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);

/// Least time between two resynchronisations, so that a storm of route changes costs one of them.
const RESYNC_SPACING: Duration = Duration::from_millis(100);

/// Pause after the kernel could not be asked.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<K> {
    /// The next hop of a target is known, or different, or lost.
    NextHop {
        /// Which hop.
        key: K,
        /// Its state now.
        state: NextHop,
    },
    /// A watched interface is there, or different (MAC, MTU, up or down, XDP program …).
    Link(Link),
    /// A watched interface is gone. If it was re-created under another number, [`Event::Link`] follows.
    LinkRemoved {
        /// The number it had.
        ifindex: u32,
        /// Its name.
        name: String,
    },
}

/// Resolves hops and watches interfaces: those of the hops, and others by [`Resolver::watch`].
///
/// Dropping it leaves its neighbour entries in the kernel, so that traffic keeps flowing while a
/// daemon is replaced; the next resolver adopts them. [`Resolver::close`] removes them.
#[derive(Debug)]
pub struct Resolver<K> {
    netlink: Netlink,
    state: State<K>,
    /// Interfaces on which entries with our mark are ours to remove.
    territory: BTreeSet<u32>,
    /// Hops that may be wrong although nobody has told so.
    doubted: BTreeSet<K>,
    /// What was seen may no longer be true.
    dirty: bool,
    /// A connection has died.
    broken: bool,
    /// No resynchronisation before this.
    not_before: Instant,
    /// Resynchronisation at this time at the latest.
    due: Instant,
    overruns: u64,
}

impl<K: Clone + Ord + Debug> Resolver<K> {
    /// A resolver for these hops. Nothing happens until [`Resolver::next_event`] is polled.
    pub fn new(netlink: Netlink, hops: BTreeMap<K, Hop>) -> Self {
        let now = Instant::now();
        Self {
            netlink,
            state: State::new(hops),
            territory: BTreeSet::new(),
            doubted: BTreeSet::new(),
            dirty: true,
            broken: false,
            not_before: now,
            due: now,
            overruns: 0,
        }
    }

    /// Replaces the hops. Those that stay the same give no event; those that are gone give none any
    /// more, and what the kernel was asked to do for them is undone.
    pub fn set_hops(&mut self, hops: BTreeMap<K, Hop>) {
        self.state.set_hops(hops);
        self.dirty = true;
    }

    /// Replaces the names of the interfaces to watch besides those of the hops. They need not exist.
    pub fn watch(&mut self, names: impl IntoIterator<Item = String>) {
        self.state.set_watched(names.into_iter().collect());
        self.dirty = true;
    }

    /// Has the kernel ask anew, and everybody, where a hop's target is: it does not answer, and may have another MAC
    /// address. Until somebody answers, or nobody has, the hop is what it was.
    pub fn doubt(&mut self, key: K) {
        self.doubted.insert(key);
        self.dirty = true;
    }

    /// What was last reported of a hop; `None` if nothing yet.
    pub fn next_hop(&self, key: &K) -> Option<&NextHop> {
        self.state.next_hop(key)
    }

    /// How often the kernel had to throw events away because we did not read them in time. Each time
    /// everything was looked at again.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// The connection, for questions of one's own.
    pub fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// Waits for the next change. First come the watched interfaces that exist, and each hop as soon
    /// as it is resolved or known not to be (which takes the kernel up to three seconds).
    ///
    /// Never fails: trouble with the kernel is logged and tried again. Cancel safe: a call that is
    /// dropped loses no event. Better give the resolver a task of its own than a branch of a busy
    /// `select!`, though: looking at everything starts anew when cancelled.
    pub async fn next_event(&mut self) -> Event<K> {
        loop {
            self.drain();
            if self.dirty && self.not_before <= Instant::now() {
                self.resync().await;
            }
            if let Some(event) = self.state.pop() {
                return event;
            }
            let wake = if self.dirty { self.not_before } else { self.due };
            tokio::select! {
                notice = self.netlink.events.next(), if !self.broken => self.note(notice),
                () = sleep_until(wake) => self.dirty = true,
            }
        }
    }

    /// Removes every neighbour entry that we had the kernel make.
    ///
    /// # Errors
    ///
    /// The first of those met; the rest was tried nevertheless.
    pub async fn close(self) -> Result<()> {
        self.netlink.remove_neighbours(&self.territory).await
    }

    /// Takes in the notices that are there already.
    fn drain(&mut self) {
        while let Some(notice) = self.netlink.events.try_next() {
            self.note(Some(notice));
        }
    }

    fn note(&mut self, notice: Option<Notice>) {
        match notice {
            Some(Notice::Topology) => self.dirty = true,
            Some(Notice::Neighbour(key, entry)) => {
                self.dirty |= self.state.neighbour_changed(key, entry);
            }
            Some(Notice::Overrun) => {
                self.overruns += 1;
                self.dirty = true;
                log::info!("netlink events were lost: looking at everything again");
            }
            None => {
                self.broken = true;
                self.dirty = true;
            }
        }
    }

    /// Looks at everything, has the kernel ask for what is wanted, and queues the differences.
    ///
    /// Race: an event from before the dumps may be read after them and be taken for news. It is at
    /// worst outdated for as long as it takes to read the next one, which tells what the dump told.
    ///
    /// Dropped in the middle it leaves `dirty` set, and the marks in the kernel tell what was installed.
    async fn resync(&mut self) {
        match self.try_resync().await {
            Ok(()) => {
                let now = Instant::now();
                self.doubted.clear();
                self.dirty = false;
                self.not_before = now + RESYNC_SPACING;
                self.due = now + RESYNC_INTERVAL;
            }
            Err(error) => {
                log::warn!("{}: trying again in {RETRY_PAUSE:?}", describe(&error));
                // A connection that owes us an answer cannot be trusted with the next question.
                self.broken |= matches!(error, Error::Closed { .. } | Error::Timeout { .. });
                self.not_before = Instant::now() + RETRY_PAUSE;
            }
        }
    }

    async fn try_resync(&mut self) -> Result<()> {
        if self.broken {
            self.netlink = Netlink::open().await?;
            self.broken = false;
        }
        let requests = &self.netlink.requests;
        let links = requests.links().await?;
        let addresses = requests.addresses().await?;
        self.state.remember_names(&links);
        let mut choices = BTreeMap::new();
        for (key, hop) in self.state.hops() {
            let mut offers = Vec::new();
            for link in
                hop.interfaces.iter().filter_map(|ifindex| self.state.candidate(*ifindex, &links))
            {
                self.territory.insert(link.ifindex);
                offers.push(Offer { link, route: route(requests, link, hop).await? });
            }
            choices.insert(key.clone(), choose(hop, &offers, &addresses));
        }
        let doubted = wanted(self.doubted.iter().filter_map(|key| choices.get(key)));
        let (table, refused) = neighbours(requests, &choices, &self.territory, &doubted).await?;
        self.state.observe(Snapshot { links, choices, table, refused });
        Ok(())
    }
}

/// The route to a hop's target through an interface. A refused lookup is a missing route: it must not
/// keep the other hops waiting.
async fn route(requests: &Requests, link: &Link, hop: &Hop) -> Result<Route> {
    if !link.up {
        return Ok(Route::Absent("no route".to_owned()));
    }
    match requests.route(link.ifindex, hop.target).await {
        Err(error @ Error::Refused { .. }) => {
            Ok(Route::Absent(format!("no route ({})", describe(&error))))
        }
        other => other,
    }
}

/// Makes the kernel's entries those that the choices need. Returns what it then knows, and what it
/// would not do.
async fn neighbours<K>(
    requests: &Requests,
    choices: &BTreeMap<K, Choice>,
    territory: &BTreeSet<u32>,
    doubted: &BTreeSet<Neighbour>,
) -> Result<(BTreeMap<Neighbour, Entry>, BTreeMap<Neighbour, String>)> {
    let wanted = wanted(choices.values());
    let mut table = requests.neighbours().await?;
    for neighbour in stale(&table, &(&wanted - doubted), territory) {
        requests.remove(neighbour).await?;
        table.remove(&neighbour);
    }
    let mut refused = BTreeMap::new();
    let mut installed = false;
    for neighbour in wanted {
        if needs_install(table.get(&neighbour)) {
            match requests.install(neighbour).await {
                Ok(()) => installed = true,
                Err(error @ Error::Refused { .. }) => {
                    refused.insert(neighbour, describe(&error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    if installed {
        table = requests.neighbours().await?;
    }
    Ok((table, refused))
}

/// An error with its cause, in one line.
fn describe(error: &Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
