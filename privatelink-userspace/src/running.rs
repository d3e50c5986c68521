//! The running gateway: what the daemon's tasks and the control API share.

mod remembered;
mod standing;

pub use self::standing::{Standing, Standings};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use privatelink_common::flow_table::Flow;
use privatelink_common::records::{AddressKey, FlowKey, Mac, NextHop as HopRecord};
use tokio::sync::Notify;

use crate::config::{Errors, interface_exists, load_on_host};
use crate::contents::zones::WHOLE_SHARE;
use crate::contents::{Contents, Fitness, Host, LinkFacts, interface_record};
use crate::datapath::{Clock, Datapath, DatapathError, FlowTable, jiffies_per_second};
use crate::draining::{self, InUse, since_boot};
use crate::health::Status;
use crate::model::{AttachMode, Model};
use crate::netlink::{Link, NextHop};
use crate::numbers::{Full, Kind, Numbering, Numbers};
use crate::reconcile::Reconciler;
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};

/// How long a number rests after its resource went: far longer than a packet is on a CPU.
const REST: Duration = Duration::from_secs(2);

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
    /// How XDP is attached.
    pub mode: AttachMode,
}

/// What the daemon's tasks share. Whoever changes the model or the maps holds `desired`, and takes one of the other
/// locks at a time; no other two locks are held at once.
pub struct Running {
    config: PathBuf,
    started: Instant,
    hash_seed: u64,
    generation: u32,
    snapshot: RwLock<Arc<Snapshot>>,
    desired: Mutex<Desired>,
    datapath: Mutex<Datapath>,
    flow_table: FlowTable,
    interfaces: Mutex<BTreeMap<String, Attached>>,
    next_hops: Mutex<BTreeMap<u32, NextHop>>,
    health: Mutex<Standings>,
    changed: Notify,
}

/// What leads from the model to the maps.
struct Desired {
    numbers: Numbers,
    /// Numbers of what is gone, and since when.
    resting: BTreeMap<(Kind, String), Instant>,
    reconciler: Reconciler,
    store: Store,
}

/// Why a model cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Maps are full.
    #[error(transparent)]
    Full(#[from] Full),
    /// The configuration file is refused.
    #[error(transparent)]
    Config(#[from] Errors),
    /// The flow table cannot change its size while flows are in it.
    #[error(
        "capacity of [flow_table] cannot change from {from} to {to} while flows live: change it back, or restart the daemon with --replace"
    )]
    Capacity {
        /// The capacity in force, flows.
        from: u32,
        /// That asked for.
        to: u32,
    },
    /// What it comes to cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The maps that an earlier daemon left cannot be adopted.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
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
        config: PathBuf,
        mut model: Model,
        mut datapath: Datapath,
        flow_table: FlowTable,
        mut store: Store,
    ) -> Result<Self, ModelError> {
        let generation = store.saved().generation;
        let adopted = datapath.adopted()?;
        if adopted.as_ref().is_some_and(|left| left.settings.generation != generation) {
            return Err(DatapathError::OtherStore.into());
        }
        let mut numbers = store.saved().numbers.clone();
        let mut documents = store.saved().documents.clone();
        if let Some(left) = &adopted {
            let since = remembered::draining(&documents);
            draining::restore(&mut model, &numbers, left, &since, since_boot());
        }
        let numbering = Numbering::of(&model, &mut numbers)?;
        let kept = numbering.keys(&model);
        let now = Instant::now();
        let gone = numbers.iter().map(|(kind, key, _)| (kind, key.to_owned()));
        let resting = gone.filter(|key| !kept.contains(key)).map(|key| (key, now)).collect();
        remembered::set_draining(&mut documents, &draining::since(&model));
        store.save(&numbers, &documents)?;
        let snapshot = Snapshot::new(model, numbering);
        // Without flows from before, a target begins as a new one.
        let health = match adopted {
            Some(_) => remembered::health(&documents, &snapshot),
            None => Standings::default(),
        };
        let hash_seed = adopted.as_ref().map_or_else(rand::random, |left| left.settings.hash_seed);
        let reconciler = Reconciler::new(adopted.unwrap_or_default());
        Ok(Self {
            config,
            started: Instant::now(),
            hash_seed,
            generation,
            snapshot: RwLock::new(Arc::new(snapshot)),
            desired: Mutex::new(Desired { numbers, resting, reconciler, store }),
            datapath: Mutex::new(datapath),
            flow_table,
            interfaces: Mutex::default(),
            next_hops: Mutex::default(),
            health: Mutex::new(health),
            changed: Notify::new(),
        })
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
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

    /// What is known of the targets' next hops, by target number.
    pub fn next_hops(&self) -> MutexGuard<'_, BTreeMap<u32, NextHop>> {
        lock(&self.next_hops)
    }

    /// How the targets stand.
    pub fn health(&self) -> MutexGuard<'_, Standings> {
        lock(&self.health)
    }

    /// Notes that a target's health is another; how many flows that ended.
    pub fn set_health(&self, number: u32, status: Status) -> usize {
        let snapshot = self.snapshot();
        let beside = snapshot.numbers_beside(number).unwrap_or_default();
        self.health().set(number, status, beside, Instant::now());
        self.reconcile();
        self.cut_condemned(|group| group.contains(&number))
    }

    /// Ends the flows that the targets of some groups are to lose; how many.
    fn cut_condemned(&self, of: impl Fn(&[u32]) -> bool) -> usize {
        let snapshot = self.snapshot();
        let groups = snapshot.model.target_groups.iter().zip(&snapshot.numbering.targets);
        let now = Instant::now();
        let condemned: HashSet<u32> = groups
            .filter(|(_, numbers)| of(numbers))
            .flat_map(|(group, numbers)| self.health().condemned(numbers, &group.attributes, now))
            .collect();
        if condemned.is_empty() {
            return 0;
        }
        self.cut_flows(|flow| condemned.contains(&flow.target))
    }

    /// Waits until another model is in force.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The moment by the clock of the records.
    pub fn clock(&self) -> Result<Clock, DatapathError> {
        self.datapath().clock()
    }

    /// Puts another model in force; how many flows that ended, since what they used is gone. Where it does not fit,
    /// nothing changes.
    pub fn set_model(&self, mut model: Model) -> Result<usize, ModelError> {
        let mut desired = lock(&self.desired);
        let before = self.snapshot();
        let (from, to) = (before.model.flow_capacity, model.flow_capacity);
        if from != to {
            return Err(ModelError::Capacity { from, to });
        }
        draining::keep(&before.model, &mut model, since_boot());
        let cut = self.put_in_force(&mut desired, model)?;
        drop(desired);
        self.changed.notify_one();
        Ok(cut)
    }

    fn put_in_force(&self, desired: &mut Desired, model: Model) -> Result<usize, ModelError> {
        let before = self.snapshot();
        let mut numbers = desired.numbers.clone();
        let numbering = Numbering::of(&model, &mut numbers)?;
        let mut documents = desired.store.saved().documents.clone();
        remembered::set_draining(&mut documents, &draining::since(&model));
        // Before any flow can have them.
        desired.store.save(&numbers, &documents)?;
        desired.numbers = numbers;
        let kept = numbering.keys(&model);
        let now = Instant::now();
        desired.resting.retain(|key, _| !kept.contains(key));
        let gone: BTreeSet<_> =
            before.numbering.keys(&before.model).difference(&kept).cloned().collect();
        desired.resting.extend(gone.iter().cloned().map(|key| (key, now)));
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Snapshot::new(model, numbering));
        let addresses_before: HashSet<AddressKey> =
            desired.reconciler.installed().addresses.keys().copied().collect();
        self.write_maps(desired);
        let addresses = &desired.reconciler.installed().addresses;
        let lost = addresses_before.into_iter().filter(|key| !addresses.contains_key(key));
        Ok(self.cut(&desired.numbers, &gone, &lost.collect()))
    }

    /// Reads the configuration file again and puts what it declares in force; how many flows that ended.
    ///
    /// # Errors
    ///
    /// The file is refused, or what it declares does not fit: nothing has changed then.
    pub fn reload(&self) -> Result<usize, ModelError> {
        self.set_model(load_on_host(&self.config, interface_exists)?)
    }

    /// Brings the maps in step with the model, the host's interfaces and the targets' next hops.
    pub fn reconcile(&self) {
        self.write_maps(&mut lock(&self.desired));
    }

    fn write_maps(&self, desired: &mut Desired) {
        let snapshot = self.snapshot();
        let (interfaces, slots): (HashMap<_, _>, HashMap<_, _>) = self
            .interfaces()
            .values()
            .map(|attached| {
                let record = interface_record(attached.vpc_number, &facts(&attached.link));
                ((attached.slot, record), (attached.link.ifindex, attached.slot))
            })
            .unzip();
        // Until the resolver has spoken, a target's next hop is what an earlier daemon knew.
        let installed = &desired.reconciler.installed().targets;
        let mut hops: HashMap<u32, HopRecord> =
            installed.iter().map(|(&number, target)| (number, target.next_hop)).collect();
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
            hash_seed: self.hash_seed,
            generation: self.generation,
            jiffies_per_second: jiffies_per_second(),
        };
        let wanted = Contents::new(&snapshot.model, &snapshot.numbering, &host);
        // First: a flow of a new endpoint must not be taken for one without.
        self.flow_table.set_rules(&wanted);
        let (_, failed) = desired.reconciler.apply(&wanted, &mut *self.datapath());
        for (change, error) in failed {
            log::error!("the data path refuses a change, which is tried again later: {error}");
            log::debug!("refused: {change:?}");
        }
    }

    /// Ends the flows of what is gone: resources, and addresses of the gateway's.
    fn cut(
        &self,
        numbers: &Numbers,
        gone: &BTreeSet<(Kind, String)>,
        lost: &HashSet<AddressKey>,
    ) -> usize {
        let of = |wanted: Kind| -> HashSet<u32> {
            let held = numbers.iter().filter(|(kind, ..)| *kind == wanted);
            held.filter(|(kind, key, _)| gone.contains(&(*kind, (*key).to_owned())))
                .map(|(_, _, number)| number)
                .collect()
        };
        let (endpoints, targets) = (of(Kind::Endpoint), of(Kind::Target));
        if endpoints.is_empty() && targets.is_empty() && lost.is_empty() {
            return 0;
        }
        let is_lost = |key: &FlowKey| lost.contains(&AddressKey::new(key.vpc, key.destination));
        self.cut_flows(|flow| {
            endpoints.contains(&flow.endpoint)
                || targets.contains(&flow.target)
                || is_lost(&flow.forward.key)
                || is_lost(&flow.reverse.key)
        })
    }

    /// Ends the live flows that `wanted` says so of; how many.
    fn cut_flows(&self, wanted: impl Fn(&Flow) -> bool) -> usize {
        match self.clock() {
            Ok(clock) => self.flow_table.cut(clock.tick(), wanted),
            Err(error) => {
                log::error!("flows cannot be ended: {error}");
                0
            }
        }
    }

    /// What time brings, to be called about once a second: what has drained goes, targets in slow start get more, and
    /// the numbers of what is gone for long enough are given back.
    pub fn tidy(&self) {
        self.end_draining();
        self.cut_condemned(|_| true);
        if slow_starts(&self.snapshot()).next().is_some() {
            self.reconcile();
        }
        self.release_numbers();
    }

    /// Ends the flows of targets that have drained for long enough, and forgets what drains without flows.
    fn end_draining(&self) {
        let mut desired = lock(&self.desired);
        let before = self.snapshot();
        if !draining::is_any(&before.model) {
            return;
        }
        let now = since_boot();
        let overdue = draining::overdue(&before, now);
        if !overdue.is_empty() {
            self.cut_flows(|flow| overdue.contains(&flow.target));
        }
        let used: InUse = self.flow_table.flows().collect();
        let mut model = before.model.clone();
        let drained = draining::forget(&mut model, &before.numbering, &used, now);
        if drained.is_empty() {
            return;
        }
        match self.put_in_force(&mut desired, model) {
            Ok(_) => {
                drained.iter().for_each(|what| log::info!("{what} has drained"));
                self.changed.notify_one();
            }
            Err(error) => log::error!("what has drained stays for now: {error}"),
        }
    }

    /// Gives back the numbers of what is gone for long enough, once no flow has them; and stores what is new of the
    /// targets' health.
    fn release_numbers(&self) {
        let mut desired = lock(&self.desired);
        let rested: BTreeSet<_> = desired
            .resting
            .iter()
            .filter(|(_, since)| since.elapsed() > REST)
            .map(|(key, _)| key.clone())
            .collect();
        if !rested.is_empty() {
            // What a CPU was opening while its endpoint or target went.
            self.cut(&desired.numbers, &rested, &HashSet::new());
        }
        for key in rested {
            let number = desired.numbers.release(key.0, &key.1);
            if let (Kind::Target, Some(number)) = (key.0, number) {
                self.next_hops().remove(&number);
                self.health().remove(number);
            }
            desired.resting.remove(&key);
        }
        let Desired { numbers, store, .. } = &mut *desired;
        let mut documents = store.saved().documents.clone();
        remembered::set_health(&mut documents, &self.snapshot(), &self.health());
        if let Err(error) = store.save(numbers, &documents) {
            log::error!("{error}");
        }
    }

    /// The slot that an interface has had since an earlier daemon.
    pub fn slot_of(&self, ifindex: u32) -> Option<u32> {
        let desired = lock(&self.desired);
        let mut installed = desired.reconciler.installed().interfaces.iter();
        installed.find(|(_, interface)| interface.ifindex == ifindex).map(|(&slot, _)| slot)
    }

    /// Ends flows that are silent for too long; returns how many records it took a step further.
    pub fn sweep(&self) -> Result<usize, DatapathError> {
        let clock = self.clock()?;
        Ok(self.flow_table.sweep(clock.tick()))
    }
}

/// The targets, by number, of groups that start them slowly.
fn slow_starts(snapshot: &Snapshot) -> impl Iterator<Item = (u32, Duration)> {
    let groups = snapshot.model.target_groups.iter().zip(&snapshot.numbering.targets);
    groups.filter(|(group, _)| !group.attributes.slow_start.is_zero()).flat_map(
        |(group, numbers)| numbers.iter().map(|&number| (number, group.attributes.slow_start)),
    )
}

/// What the data path must know of a link.
pub fn facts(link: &Link) -> LinkFacts {
    LinkFacts { ifindex: link.ifindex, mac: link.mac, mtu: link.mtu }
}

/// A next hop by an interface that is attached; `slots` are those of the interfaces by their indexes.
fn hop_record(hop: &NextHop, slots: &HashMap<u32, u32>) -> Option<HopRecord> {
    let NextHop::Resolved { ifindex, mac, mtu: _ } = hop else {
        return None;
    };
    // Fits: there are INTERFACE_SLOTS.
    slots.get(ifindex).map(|&slot| HopRecord::new(Mac::from_bytes(*mac), slot as u16))
}
