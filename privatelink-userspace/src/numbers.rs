//! The numbers by which maps and flows know the resources of a model.
//!
//! A flow outlives reloads and restarts of the daemon, and keeps the numbers of its endpoint, target and
//! vpcs. So a resource keeps its number for as long as it exists, wherever it stands in the model, and a
//! number is given to another resource only after it was released.

use std::collections::{BTreeMap, BTreeSet};

use privatelink_common::limits::{
    MAX_ENDPOINTS, MAX_LOAD_BALANCERS, MAX_POOLS, MAX_TARGETS, MAX_VPCS,
};

use crate::contents::zones::{faces, pools};
use crate::model::{Model, Target, TargetGroup};

/// What is numbered. Each kind has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Vpcs, from 1: 0 is no vpc.
    Vpc,
    /// Endpoints.
    Endpoint,
    /// Endpoint services.
    Service,
    /// Parts of load balancers: [`Face`](crate::contents::zones::Face).
    Face,
    /// Parts of target groups: [`Pool`](crate::contents::zones::Pool).
    Pool,
    /// Targets; one in two groups has two numbers.
    Target,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Vpc, Self::Endpoint, Self::Service, Self::Face, Self::Pool, Self::Target];

    /// Its name, e.g. `endpoint service`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Endpoint => "endpoint",
            Self::Service => "endpoint service",
            Self::Face => "load balancer",
            Self::Pool => "target group",
            Self::Target => "target",
        }
    }

    /// The first number.
    const fn first(self) -> u32 {
        match self {
            Self::Vpc => 1,
            _ => 0,
        }
    }

    /// How many numbers there are.
    const fn count(self) -> usize {
        match self {
            Self::Vpc => MAX_VPCS,
            Self::Endpoint => MAX_ENDPOINTS,
            // No map has one for each.
            Self::Service => u32::MAX as usize,
            Self::Face => MAX_LOAD_BALANCERS,
            Self::Pool => MAX_POOLS,
            Self::Target => MAX_TARGETS,
        }
    }
}

/// All numbers of a kind are taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no number left for {kind} {key}: the maps hold {most}, those deleted a moment ago included; delete others", kind = .kind.name(), most = .kind.count())]
pub struct Full {
    /// The kind.
    pub kind: Kind,
    /// The resource that finds none.
    pub key: String,
}

/// Which resource has which number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    held: BTreeMap<(Kind, String), u32>,
    taken: BTreeMap<Kind, BTreeSet<u32>>,
}

impl Numbers {
    /// The number of a resource; the lowest free one if it has none yet.
    pub fn assign(&mut self, kind: Kind, key: &str) -> Result<u32, Full> {
        if let Some(&number) = self.held.get(&(kind, key.to_owned())) {
            return Ok(number);
        }
        let taken = self.taken.entry(kind).or_default();
        // As long as no number was released, the next one is one beyond the last.
        let next = taken.last().map_or(kind.first(), |last| last + 1);
        let dense = (next - kind.first()) as usize == taken.len();
        let number = if dense {
            next
        } else {
            (kind.first()..next).find(|number| !taken.contains(number)).unwrap_or(next)
        };
        if (number - kind.first()) as usize >= kind.count() {
            return Err(Full { kind, key: key.to_owned() });
        }
        self.insert(kind, key.to_owned(), number);
        Ok(number)
    }

    /// Notes a number that a resource has from before.
    pub fn insert(&mut self, kind: Kind, key: String, number: u32) {
        self.taken.entry(kind).or_default().insert(number);
        self.held.insert((kind, key), number);
    }

    /// Gives the number of a resource back.
    pub fn release(&mut self, kind: Kind, key: &str) -> Option<u32> {
        let number = self.held.remove(&(kind, key.to_owned()))?;
        self.taken.entry(kind).or_default().remove(&number);
        Some(number)
    }

    /// Every number of a kind that a resource has.
    pub fn of_kind(&self, wanted: Kind) -> impl Iterator<Item = u32> {
        self.iter().filter(move |(kind, ..)| *kind == wanted).map(|(_, _, number)| number)
    }

    /// Every resource that has a number.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, u32)> {
        self.held.iter().map(|((kind, key), &number)| (*kind, key.as_str(), number))
    }
}

/// The numbers of a model's resources, by their indexes in the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// Of vpcs.
    pub vpcs: Vec<u16>,
    /// Of endpoints.
    pub endpoints: Vec<u32>,
    /// Of endpoint services.
    pub services: Vec<u32>,
    /// Of [`faces`].
    pub faces: Vec<u32>,
    /// Of [`pools`].
    pub pools: Vec<u32>,
    /// Of targets, by group.
    pub targets: Vec<Vec<u32>>,
}

impl Numbering {
    /// Numbers the resources of a model; those that have a number keep it.
    pub fn of(model: &Model, numbers: &mut Numbers) -> Result<Self, Full> {
        let vpcs = model.vpcs.iter().map(|vpc| {
            // Fits: there are at most MAX_VPCS.
            numbers.assign(Kind::Vpc, &vpc.id).map(|number| number as u16)
        });
        let vpcs = vpcs.collect::<Result<_, _>>()?;
        let mut all = |kind, keys: &mut dyn Iterator<Item = String>| {
            keys.map(|key| numbers.assign(kind, &key)).collect::<Result<Vec<_>, _>>()
        };
        let groups = &model.target_groups;
        Ok(Self {
            vpcs,
            endpoints: all(Kind::Endpoint, &mut model.endpoints.iter().map(|e| e.id.clone()))?,
            services: all(Kind::Service, &mut model.services.iter().map(|s| s.id.clone()))?,
            faces: all(Kind::Face, &mut faces(model).into_iter().map(|face| face.key(model)))?,
            pools: all(Kind::Pool, &mut pools(model).into_iter().map(|pool| pool.key(model)))?,
            targets: groups
                .iter()
                .map(|group| {
                    let key = |target| numbers.assign(Kind::Target, &target_key(group, target));
                    group.targets.iter().map(key).collect()
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// Numbers the resources of a model in its order.
    pub fn in_order(model: &Model) -> Result<Self, Full> {
        Self::of(model, &mut Numbers::default())
    }

    /// Number, target group index and target of every target of the model.
    pub fn targets<'a>(
        &'a self,
        model: &'a Model,
    ) -> impl Iterator<Item = (u32, usize, &'a Target)> {
        model.target_groups.iter().zip(&self.targets).enumerate().flat_map(
            |(index, (group, numbers))| {
                numbers
                    .iter()
                    .zip(&group.targets)
                    .map(move |(&number, target)| (number, index, target))
            },
        )
    }

    /// Every number with the key that its resource goes by in [`Numbers`].
    pub fn keys(&self, model: &Model) -> BTreeSet<(Kind, String)> {
        let vpcs = model.vpcs.iter().map(|vpc| (Kind::Vpc, vpc.id.clone()));
        let endpoints = model.endpoints.iter().map(|e| (Kind::Endpoint, e.id.clone()));
        let services = model.services.iter().map(|service| (Kind::Service, service.id.clone()));
        let faces = faces(model).into_iter().map(|face| (Kind::Face, face.key(model)));
        let pools = pools(model).into_iter().map(|pool| (Kind::Pool, pool.key(model)));
        let targets = model.target_groups.iter().flat_map(|group| {
            group.targets.iter().map(|target| (Kind::Target, target_key(group, target)))
        });
        vpcs.chain(endpoints).chain(services).chain(faces).chain(pools).chain(targets).collect()
    }
}

/// What a target goes by in [`Numbers`]: `group/ip:port`, and `group/[ip]:port` of an IPv6 address.
pub fn target_key(group: &TargetGroup, target: &Target) -> String {
    format!("{}/{}", group.name, target.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const OVERLAP: &str = include_str!("../../examples/overlap.toml");

    #[test]
    fn a_resource_keeps_its_number_wherever_it_stands() {
        let model = config::parse("overlap.toml", OVERLAP).unwrap();
        let mut numbers = Numbers::default();
        let before = Numbering::of(&model, &mut numbers).unwrap();
        assert_eq!(before, Numbering::in_order(&model).unwrap());
        let mut later = model.clone();
        later.endpoints.reverse();
        later.target_groups[0].targets.remove(0);
        let after = Numbering::of(&later, &mut numbers).unwrap();
        assert_eq!(after.endpoints, [1, 0]);
        assert_eq!(after.targets, [[1]]);
    }

    #[test]
    fn a_number_goes_to_another_only_once_it_is_released() {
        let mut numbers = Numbers::default();
        for key in ["a", "b", "c"] {
            numbers.assign(Kind::Vpc, key).unwrap();
        }
        assert_eq!(numbers.assign(Kind::Vpc, "d"), Ok(4));
        numbers.release(Kind::Vpc, "b");
        assert_eq!(numbers.assign(Kind::Vpc, "e"), Ok(2));
        assert_eq!(numbers.assign(Kind::Vpc, "d"), Ok(4));
        assert_eq!(numbers.assign(Kind::Endpoint, "a"), Ok(0), "each kind has its own");
    }

    #[test]
    fn numbers_run_out_with_words() {
        let mut numbers = Numbers::default();
        for key in 0..MAX_LOAD_BALANCERS {
            numbers.assign(Kind::Face, &key.to_string()).unwrap();
        }
        let full = numbers.assign(Kind::Face, "one-more").unwrap_err();
        let start = format!(
            "there is no number left for load balancer one-more: the maps hold {MAX_LOAD_BALANCERS}"
        );
        assert!(full.to_string().starts_with(&start), "{full}");
        numbers.release(Kind::Face, "7");
        assert_eq!(numbers.assign(Kind::Face, "one-more"), Ok(7));
    }
}
