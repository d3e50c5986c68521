//! The running gateway: what the daemon's tasks and the control API share.

mod accounting;
mod cutting;
mod desired;
mod facts;
mod history;
mod last_facts;
mod making;
mod orders;
mod plan;
mod remembered;
#[cfg(test)]
mod sequences;
mod standing;
mod states;
mod time;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::Flock;
use privatelink_common::drop_reason::{DROP_COUNTERS, DropReason};
use privatelink_common::hash::Seeds;
use privatelink_common::records::{Interface, Mac, NextHop as HopRecord};
use tokio::sync::Notify;

use self::accounting::Accounting;
pub use self::desired::ModelError;
use self::desired::{Adopted, Desired, Next};
use self::last_facts::LastFacts;
pub use self::standing::{Standing, Standings};
use crate::api::What;
use crate::attach_choice::{Choice, Mode};
use crate::audit::Audit;
use crate::capture::Captures;
use crate::config::{Source, host_has};
use crate::contents::zones::WHOLE_SHARE;
use crate::contents::{
    Contents, Fitness, Host, LinkFacts, VpcAddress, counted_addresses, interface_record,
};
use crate::datapath::{Clock, Datapath, DatapathError, FlowTable, jiffies_per_second};
use crate::decisions::Decisions;
use crate::events::{Events, health_change};
use crate::former_slots::FormerSlots;
use crate::health::{Health, Status};
use crate::history::History;
use crate::metrics::Metrics;
use crate::model::AttachMode;
use crate::netlink::{Link, NextHop};
use crate::resources::Declaration;
use crate::snapshot::Snapshot;
use crate::state::State;

/// An interface of the model that is attached.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The link as last seen.
    pub link: Link,
    /// Its slot in the interface table.
    pub slot: u32,
    /// Id of its vpc.
    pub vpc: String,
    /// Number of its vpc.
    pub vpc_number: u16,
    /// Its zone.
    pub zone: String,
    /// How it is to be attached.
    pub wanted: AttachMode,
    /// How it is attached, and why.
    pub choice: Choice,
}

/// What the daemon's tasks share. Whoever changes the model or the maps holds `desired`, and takes one of the other
/// locks at a time; no other two locks are held at once. Who gathers facts holds `last_facts`, and may take any of them:
/// nobody takes that one while holding another. Who tells an event may hold any.
pub struct Running {
    config: PathBuf,
    attach: AttachMode,
    started: Instant,
    started_at: SystemTime,
    seeds: Seeds,
    generation: u32,
    snapshot: RwLock<Arc<Snapshot>>,
    desired: Mutex<Desired>,
    datapath: Mutex<Datapath>,
    flow_table: FlowTable,
    interfaces: Mutex<BTreeMap<String, Attached>>,
    former_slots: Mutex<FormerSlots>,
    next_hops: Mutex<BTreeMap<u32, NextHop>>,
    health: Mutex<Standings>,
    changed: Notify,
    metrics: Metrics,
    last_facts: LastFacts,
    history: Mutex<History>,
    events: Events,
    captures: Captures,
    audit: Audit,
    accounting: Accounting,
    /// Kept as long as the state may be written.
    _state_lock: Flock<File>,
}

/// A panic elsewhere leaves plain data behind, of which every state is valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// A gateway with this model. Its maps are as they were loaded: still empty, or with what an earlier daemon left.
    ///
    /// # Errors
    ///
    /// Maps that an earlier daemon left go with another store.
    pub fn new(
        config: &Path,
        declared: Declaration,
        mut datapath: Datapath,
        flow_table: FlowTable,
        state: State,
    ) -> Result<Self, ModelError> {
        let State { store, decisions, resources: _, usage, audit, lock } = state;
        let generation = store.saved().generation;
        let adopted = datapath.adopted(&store.saved().numbers)?;
        if adopted.as_ref().is_some_and(|left| left.settings.generation != generation) {
            return Err(DatapathError::OtherStore.into());
        }
        let seeds =
            adopted.as_ref().map_or_else(|| Seeds::of(rand::random()), |left| left.settings.seeds);
        let documents = store.saved().documents.clone();
        let (desired, Adopted { snapshot, gone: _, news }) =
            Desired::start(declared, decisions, store, adopted.as_ref())?;
        // Also where nothing declared is IPv6 any more: flows may be left.
        if snapshot.model.has_ipv6() || adopted.as_ref().is_some_and(Contents::is_wide) {
            datapath.load_wide()?;
        }
        let accounting = Accounting::new(usage, adopted.is_none())?;
        // Without flows from before, a target begins as a new one.
        let health = match adopted {
            Some(_) => remembered::health(&documents, &snapshot),
            None => Standings::default(),
        };
        let captures = Captures::new(&mut datapath)?;
        let events = Events::default();
        news.into_iter().for_each(|what| events.tell(what));
        Ok(Self {
            config: config.to_owned(),
            attach: AttachMode::Auto,
            started: Instant::now(),
            started_at: SystemTime::now(),
            seeds,
            generation,
            snapshot: RwLock::new(Arc::new(snapshot)),
            desired: Mutex::new(desired),
            datapath: Mutex::new(datapath),
            flow_table,
            interfaces: Mutex::default(),
            former_slots: Mutex::default(),
            next_hops: Mutex::default(),
            health: Mutex::new(health),
            changed: Notify::new(),
            metrics: Metrics::default(),
            last_facts: LastFacts::default(),
            history: Mutex::default(),
            events,
            captures,
            audit,
            accounting,
            _state_lock: lock,
        })
    }

    /// The same, with another mode of interfaces of which the configuration leaves it to the daemon.
    #[must_use]
    pub fn with_attach(self, attach: AttachMode) -> Self {
        Self { attach, ..self }
    }

    /// How interfaces are attached of which the configuration leaves it to the daemon.
    pub const fn attach(&self) -> AttachMode {
        self.attach
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The record of changes.
    pub const fn audit_log(&self) -> &Audit {
        &self.audit
    }

    /// What is noted for the metrics.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What happens.
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// The captures of packets.
    pub const fn captures(&self) -> &Captures {
        &self.captures
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The model in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The programs and maps, except for the flow table.
    pub fn datapath(&self) -> MutexGuard<'_, Datapath> {
        lock(&self.datapath)
    }

    /// The flow table.
    pub const fn flow_table(&self) -> &FlowTable {
        &self.flow_table
    }

    /// The attached interfaces by name.
    pub fn interfaces(&self) -> MutexGuard<'_, BTreeMap<String, Attached>> {
        lock(&self.interfaces)
    }

    /// The attached interfaces with the packets dropped on each, by the number of the reason.
    pub fn drop_counts(&self) -> Result<Vec<(Attached, [u64; DROP_COUNTERS])>, DatapathError> {
        let attached: Vec<Attached> = self.interfaces().values().cloned().collect();
        let counted = attached.into_iter().map(|attached| {
            let counts = self.datapath().drops(attached.slot)?;
            Ok((attached, counts))
        });
        counted.collect()
    }

    /// What was dropped: on which interface, for which reason and how many packets, without zero counts.
    pub fn dropped(&self) -> Result<Vec<(Attached, DropReason, u64)>, DatapathError> {
        let mut dropped = Vec::new();
        for (attached, counts) in self.drop_counts()? {
            let counted = DropReason::ALL.iter().map(|&reason| (reason, counts[reason as usize]));
            let counted = counted.filter(|&(_, packets)| packets != 0);
            dropped.extend(counted.map(|(reason, packets)| (attached.clone(), reason, packets)));
        }
        Ok(dropped)
    }

    /// The slots of interfaces that were made anew.
    pub fn former_slots(&self) -> MutexGuard<'_, FormerSlots> {
        lock(&self.former_slots)
    }

    /// What is known of the targets' next hops, by target number.
    pub fn next_hops(&self) -> MutexGuard<'_, BTreeMap<u32, NextHop>> {
        lock(&self.next_hops)
    }

    /// How the targets stand.
    pub fn health(&self) -> MutexGuard<'_, Standings> {
        lock(&self.health)
    }

    /// Notes that the health of targets is another; how many flows that ended.
    pub fn set_health(&self, changes: BTreeMap<u32, Status>) -> usize {
        let snapshot = self.snapshot();
        let changed: HashSet<u32> = changes.keys().copied().collect();
        let mut news = Vec::new();
        for (number, status) in changes {
            let before = self.health().get(number).map_or(Health::NEW, |of| of.status.health);
            news.extend(snapshot.target(number).and_then(|(group, target)| {
                health_change(group, target, before, &status).map(What::TargetHealth)
            }));
            let beside = snapshot.numbers_beside(number).unwrap_or_default();
            self.health().set(number, status, beside, Instant::now());
            let (healthy, opened) =
                (self.health().is_healthy(number), self.flow_table.target_totals(number).opened);
            self.metrics.routing().note(number, healthy, opened);
        }
        let mut desired = lock(&self.desired);
        desired.unsaved = true;
        self.write_maps(&mut desired);
        drop(desired);
        self.tell(news);
        self.cut_condemned(|group| group.iter().any(|number| changed.contains(number)))
    }

    /// Waits until another model is in force.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The moment by the clock of the records.
    pub fn clock(&self) -> Result<Clock, DatapathError> {
        self.datapath().clock()
    }

    /// Puts what is declared in force with these decisions.
    fn put_in_force(
        &self,
        desired: &mut Desired,
        declared: Arc<Declaration>,
        decisions: Decisions,
    ) -> Result<usize, ModelError> {
        let next = desired.next(&self.snapshot(), &declared, decisions)?;
        self.adopt(desired, declared, next)
    }

    fn adopt(
        &self,
        desired: &mut Desired,
        declared: Arc<Declaration>,
        next: Next,
    ) -> Result<usize, ModelError> {
        self.make_room(&next.snapshot)?;
        let Adopted { snapshot, gone, news } = desired.adopt(declared, next)?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.note_usage();
        let places = |desired: &Desired| -> HashSet<VpcAddress> {
            desired.reconciler.installed().all_addresses().map(|(place, _)| place).collect()
        };
        let before = places(desired);
        self.write_maps(desired);
        let lost = &before - &places(desired);
        let cut = self.cut(&desired.numbers, &gone, &lost);
        self.tell(news);
        Ok(cut)
    }

    /// Makes sure that the data path can carry a model.
    fn make_room(&self, next: &Snapshot) -> Result<(), DatapathError> {
        let mut datapath = self.datapath();
        datapath.has_room_for(next.numbering.pools.len())?;
        if next.model.has_ipv6() {
            datapath.call_wide()?;
        }
        Ok(())
    }

    fn tell(&self, news: Vec<What>) {
        news.into_iter().for_each(|what| self.events.tell(what));
    }

    /// Reads the configuration file again and puts what it declares in force; how many flows that ended, since what they
    /// used is gone.
    ///
    /// # Errors
    ///
    /// The file is refused, or what it declares does not fit: nothing has changed then.
    pub fn reload(&self) -> Result<usize, ModelError> {
        let mut desired = lock(&self.desired);
        let declared = self.declared_now(&desired)?;
        declared.resources.failures().for_each(|why| log::error!("not in force: {why}"));
        let decisions = desired.decisions.clone();
        let cut = self.put_in_force(&mut desired, Arc::new(declared), decisions)?;
        drop(desired);
        self.changed.notify_one();
        Ok(cut)
    }

    /// What the configuration file declares now, with the resources beside it.
    fn declared_now(&self, desired: &Desired) -> Result<Declaration, ModelError> {
        let source = Source::read(&self.config)?;
        let resources = desired.declared.resources.clone();
        Ok(Declaration::of(source, resources, host_has)?)
    }

    /// Brings the maps in step with the model, the host's interfaces and the targets' next hops.
    pub fn reconcile(&self) {
        self.write_maps(&mut lock(&self.desired));
    }

    fn write_maps(&self, desired: &mut Desired) {
        let began = Instant::now();
        let snapshot = self.snapshot();
        let (interfaces, slots) = self.interface_records();
        // Until the resolver has spoken, a target's next hop is what an earlier daemon knew.
        let installed = desired.reconciler.installed();
        let mut hops: HashMap<u32, HopRecord> =
            installed.targets.iter().map(|(&number, target)| (number, target.next_hop)).collect();
        for (&number, hop) in &*self.next_hops() {
            hops.insert(number, hop_record(hop, &slots).unwrap_or(HopRecord::UNKNOWN));
        }
        let next_hop = |number| hops.get(&number).copied().unwrap_or(HopRecord::UNKNOWN);
        let health = self.health().clone();
        let slow_starts: HashMap<u32, Duration> = slow_starts(&snapshot).collect();
        let now = Instant::now();
        let host = Host {
            interfaces,
            next_hop: &next_hop,
            fitness: &|number| match next_hop(number).is_unknown() {
                true => Fitness::Unreachable,
                false if health.is_healthy(number) => Fitness::Healthy,
                false => Fitness::Reachable,
            },
            share: &|number| {
                slow_starts
                    .get(&number)
                    .map_or(WHOLE_SHARE, |&time| health.share(number, time, now))
            },
            marked: &|key| installed.is_marked(key),
            seeds: self.seeds,
            generation: self.generation,
            jiffies_per_second: jiffies_per_second(),
        };
        let wanted = Contents::new(&snapshot.model, &snapshot.numbering, &host);
        // First: a flow of a new endpoint must not be taken for one without.
        self.flow_table.set_rules(&wanted);
        let counted = counted_addresses(&snapshot.model, &snapshot.numbering);
        if let Err(error) = self.flow_table.count_addresses(counted.map(|(key, ..)| key)) {
            log::error!("usage by zone is incomplete, which is put right later: {error}");
        }
        let (_, failed) = desired.reconciler.apply(&wanted, &mut *self.datapath());
        for (change, error) in failed {
            log::error!("the data path refuses a change, which is tried again later: {error}");
            log::debug!("refused: {change:?}");
        }
        self.metrics.reconciled(began.elapsed());
    }

    /// What each slot is to hold, and the slot of each interface by its index.
    fn interface_records(&self) -> (HashMap<u32, Interface>, HashMap<u32, u32>) {
        let attached: Vec<Attached> = self.interfaces().values().cloned().collect();
        let former = self.former_slots();
        let (mut records, mut slots) = (HashMap::new(), HashMap::new());
        for of in &attached {
            let Attached { link, slot, vpc_number, .. } = of;
            let record = interface_record(*vpc_number, &facts(of));
            let all = former.of(&link.name).chain([*slot]);
            records.extend(all.map(|slot| (slot, record)));
            slots.insert(link.ifindex, *slot);
        }
        (records, slots)
    }

    /// The slots that say this of their interface, since an earlier daemon.
    pub fn slots_where(&self, is: impl Fn(&Interface) -> bool) -> Vec<u32> {
        let desired = lock(&self.desired);
        let installed = desired.reconciler.installed().interfaces.iter();
        installed.filter(|(_, interface)| is(interface)).map(|(&slot, _)| slot).collect()
    }

    /// Ends flows that are silent for too long; returns how many records it took a step further.
    pub fn sweep(&self) -> Result<usize, DatapathError> {
        let (began, now) = (Instant::now(), self.clock()?.tick());
        let swept = self.flow_table.sweep(now, |endings| self.datapath().end(endings, now));
        self.metrics.swept(began.elapsed());
        swept
    }
}

/// The targets, by number, of groups that start them slowly.
fn slow_starts(snapshot: &Snapshot) -> impl Iterator<Item = (u32, Duration)> {
    let groups = snapshot.model.target_groups.iter().zip(&snapshot.numbering.targets);
    groups.filter(|(group, _)| !group.attributes.slow_start.is_zero()).flat_map(
        |(group, numbers)| numbers.iter().map(|&number| (number, group.attributes.slow_start)),
    )
}

/// What the data path must know of an interface.
fn facts(attached: &Attached) -> LinkFacts {
    let Attached { link, choice, .. } = attached;
    let tcx = choice.mode == Mode::Tcx;
    LinkFacts { ifindex: link.ifindex, mac: link.mac, mtu: link.mtu, tcx }
}

/// A next hop by an interface that is attached; `slots` are those of the interfaces by their indexes.
fn hop_record(hop: &NextHop, slots: &HashMap<u32, u32>) -> Option<HopRecord> {
    let NextHop::Resolved { ifindex, mac, mtu: _ } = hop else {
        return None;
    };
    // Fits: there are INTERFACE_SLOTS.
    slots.get(ifindex).map(|&slot| HopRecord::new(Mac::from_bytes(*mac), slot as u16))
}
