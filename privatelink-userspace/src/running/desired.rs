//! What leads to the model in force: what is declared, what was decided on it, and the numbers it has in the maps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::remembered;
use super::standing::Standings;
use crate::api::What;
use crate::config::Errors;
use crate::contents::Contents;
use crate::datapath::DatapathError;
use crate::decisions::{Decisions, now};
use crate::draining::{self, since_boot};
use crate::model::Model;
use crate::numbers::{Full, Kind, Numbering, Numbers};
use crate::reconcile::Reconciler;
use crate::resources::Declaration;
use crate::snapshot::Snapshot;
use crate::store::{Documents, Store, StoreError};
use crate::usage::LedgerError;

/// Why a model cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Maps are full.
    #[error(transparent)]
    Full(#[from] Full),
    /// The configuration file is refused.
    #[error(transparent)]
    Config(#[from] Errors),
    /// A flow table cannot change its size while flows are in it.
    #[error(
        "{key} of [flow_table] cannot change from {from} to {to} while flows live: write {key} = {from}, or restart the daemon with --replace"
    )]
    Capacity {
        /// Which of the two, by its key.
        key: &'static str,
        /// The capacity in force, flows.
        from: u32,
        /// That asked for.
        to: u32,
    },
    /// What it comes to cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Usage cannot be kept.
    #[error(transparent)]
    Usage(#[from] LedgerError),
    /// The maps that an earlier daemon left cannot be adopted.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// A kind of resource and the key that one of it goes by in [`Numbers`].
type Key = (Kind, String);

/// What is in force, and what of it is stored.
pub(super) struct Desired {
    /// What is declared, before any decision.
    pub(super) declared: Arc<Declaration>,
    /// What was decided on it.
    pub(super) decisions: Decisions,
    pub(super) numbers: Numbers,
    /// Numbers of what is gone, and since when.
    resting: BTreeMap<Key, Instant>,
    pub(super) reconciler: Reconciler,
    /// Endpoints whose flows were cut, and may have got one from a CPU that was opening it meanwhile.
    pub(super) cut_endpoints: HashSet<u32>,
    /// Whether the store may lack something: the targets' health, or that numbers are free again.
    pub(super) unsaved: bool,
    store: Store,
}

/// What is to be put in force.
pub(super) struct Next {
    pub(super) snapshot: Snapshot,
    decisions: Decisions,
    numbers: Numbers,
    /// What is no longer there.
    pub(super) gone: BTreeSet<Key>,
}

/// What was taken over.
pub(super) struct Adopted {
    /// To be put in force.
    pub(super) snapshot: Snapshot,
    /// What is gone since.
    pub(super) gone: BTreeSet<Key>,
    /// What is to be told once it is in force.
    pub(super) news: Vec<What>,
}

impl Desired {
    /// As the store left it, with another model.
    pub(super) fn start(
        declared: Declaration,
        decisions: Decisions,
        store: Store,
        adopted: Option<&Contents>,
    ) -> Result<(Self, Adopted), ModelError> {
        let numbers = store.saved().numbers.clone();
        let declared = Arc::new(declared);
        let reconciler = Reconciler::new(adopted.cloned().unwrap_or_default());
        let mut desired = Self {
            declared: declared.clone(),
            decisions: decisions.clone(),
            resting: BTreeMap::new(),
            numbers,
            reconciler,
            cut_endpoints: HashSet::new(),
            unsaved: true,
            store,
        };
        let (mut model, decisions) = decided(&declared, decisions);
        if let Some(left) = adopted {
            let since = remembered::draining(&desired.store.saved().documents);
            draining::restore(&mut model, &desired.numbers, left, &since, since_boot());
        }
        let next = Next::of(model, decisions, desired.numbers.clone())?;
        let adopted = desired.adopt(declared, next)?;
        Ok((desired, adopted))
    }

    /// What is declared, with these decisions; nothing has changed yet.
    pub(super) fn next(
        &self,
        before: &Snapshot,
        declared: &Declaration,
        decisions: Decisions,
    ) -> Result<Next, ModelError> {
        let (before_it, wanted) = (&before.model, &declared.model);
        for (key, from, to) in [
            ("capacity", before_it.flow_capacity, wanted.flow_capacity),
            ("ipv6_flow_capacity", before_it.wide_flow_capacity, wanted.wide_flow_capacity),
        ] {
            if from != to {
                return Err(ModelError::Capacity { key, from, to });
            }
        }
        let (mut model, decisions) = decided(declared, decisions);
        draining::keep(&before.model, &mut model, since_boot());
        Next::of(model, decisions, self.numbers.clone())
    }

    /// The model in force without what has drained.
    pub(super) fn drained(&self, model: Model) -> Result<Next, ModelError> {
        Next::of(model, self.decisions.clone(), self.numbers.clone())
    }

    /// Takes it over, on disk first.
    pub(super) fn adopt(
        &mut self,
        declared: Arc<Declaration>,
        next: Next,
    ) -> Result<Adopted, StoreError> {
        let Next { snapshot, decisions, numbers, gone } = next;
        let mut documents = self.documents(&decisions);
        declared.resources.write(&mut documents);
        remembered::set_draining(&mut documents, &draining::since(&snapshot.model));
        self.store.save(&numbers, &documents)?;
        let endpoints = snapshot.model.endpoints.iter();
        let messages: HashMap<&str, &str> =
            endpoints.map(|of| (of.id.as_str(), of.request_message.as_str())).collect();
        let news = decisions.changes_since(&self.decisions, |id| messages.get(id).copied());
        (self.declared, self.decisions, self.numbers) = (declared, decisions, numbers);
        self.unsaved = true;
        self.resting.retain(|key, _| gone.contains(key));
        let now = Instant::now();
        let begins = |key: &&Key| !self.resting.contains_key(*key);
        let newly: BTreeSet<_> = gone.iter().filter(begins).cloned().collect();
        self.resting.extend(newly.iter().cloned().map(|key| (key, now)));
        Ok(Adopted { snapshot, gone: newly, news })
    }

    /// What has been gone for this long.
    pub(super) fn rested(&self, rest: Duration) -> BTreeSet<Key> {
        let rested = self.resting.iter().filter(|(_, since)| since.elapsed() > rest);
        rested.map(|(key, _)| key.clone()).collect()
    }

    /// The keys of what is gone and not released yet.
    pub(super) fn resting(&self, wanted: Kind) -> impl Iterator<Item = &str> {
        self.resting.keys().filter(move |(kind, _)| *kind == wanted).map(|(_, key)| key.as_str())
    }

    /// Gives back the numbers of what is gone, and says which.
    pub(super) fn release(&mut self, gone: &BTreeSet<Key>) -> Vec<(Kind, u32)> {
        self.unsaved |= !gone.is_empty();
        let mut released = Vec::new();
        for key @ (kind, id) in gone {
            self.resting.remove(key);
            released.extend(self.numbers.release(*kind, id).map(|number| (*kind, number)));
            if *kind == Kind::Endpoint {
                self.decisions.forget(id);
            }
        }
        released
    }

    /// Stores what has changed, the targets' health included.
    pub(super) fn save(&mut self, of: &Snapshot, health: &Standings) -> Result<(), StoreError> {
        if self.unsaved {
            let mut documents = self.documents(&self.decisions);
            remembered::set_health(&mut documents, of, health);
            self.store.save(&self.numbers, &documents)?;
            self.unsaved = false;
        }
        Ok(())
    }

    fn documents(&self, decisions: &Decisions) -> Documents {
        let mut documents = self.store.saved().documents.clone();
        decisions.write(&mut documents);
        documents
    }
}

impl Next {
    fn of(model: Model, decisions: Decisions, mut numbers: Numbers) -> Result<Self, ModelError> {
        let numbering = Numbering::of(&model, &mut numbers)?;
        let kept = numbering.keys(&model);
        let held = numbers.iter().map(|(kind, key, _)| (kind, key.to_owned()));
        let gone = held.filter(|key| !kept.contains(key)).collect();
        Ok(Self { snapshot: Snapshot::new(model, numbering), decisions, numbers, gone })
    }
}

/// What is declared, with decisions on it; these note what they see.
fn decided(declared: &Declaration, mut decisions: Decisions) -> (Model, Decisions) {
    let mut model = declared.model.clone();
    decisions.apply(&mut model, now());
    (model, decisions)
}
