//! Which targets and which load balancer addresses serve the flows of a zone.
//!
//! A *pool* is a part of a target group's targets, among which new flows are balanced; a *face* is a part of a load
//! balancer's addresses, from which flows leave. Both have numbers of their own.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use privatelink_common::hash::hash;
use privatelink_common::maglev::Candidate;

use super::{Fitness, Host};
use crate::model::{
    Family, LoadBalancer, LoadBalancerAddress, MinimumHealthy, Model, Target, TargetGroup,
};
use crate::numbers::Numbering;

/// A part of what has zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part<'m> {
    /// All of it.
    All,
    /// What is in a zone, and the targets that may be in any.
    Zone(&'m str),
    /// The targets that may be in any zone: what a zone has where no target is.
    Zoneless,
}

impl Part<'_> {
    fn has(self, zone: Option<&str>) -> bool {
        match (self, zone) {
            (Self::All, _) | (_, None) => true,
            (Self::Zone(zone), Some(of)) => zone == of,
            (Self::Zoneless, Some(_)) => false,
        }
    }

    /// What a part of the thing with this name is called; no name has a space.
    fn key(self, name: &str) -> String {
        match self {
            Self::All => name.to_owned(),
            Self::Zone(zone) => format!("{name} in zone {zone}"),
            Self::Zoneless => format!("{name} in any zone"),
        }
    }
}

/// A part of the targets of a target group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool<'m> {
    /// Index of the target group.
    pub group: usize,
    /// Which of its targets.
    pub part: Part<'m>,
}

/// A part of the addresses of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Face<'m> {
    /// Index of the load balancer.
    pub load_balancer: usize,
    /// Which of its addresses.
    pub part: Part<'m>,
}

impl Pool<'_> {
    /// What it is called.
    pub fn key(self, model: &Model) -> String {
        self.part.key(&model.target_groups[self.group].name)
    }
}

impl<'m> Face<'m> {
    /// What it is called.
    pub fn key(self, model: &Model) -> String {
        self.part.key(&model.load_balancers[self.load_balancer].name)
    }

    /// Its addresses, but for those that are draining.
    pub fn addresses(self, model: &'m Model) -> impl Iterator<Item = &'m LoadBalancerAddress> {
        let addresses = model.load_balancers[self.load_balancer].addresses.iter();
        addresses.filter(move |address| !address.draining && self.part.has(Some(&address.zone)))
    }

    /// Whether any of its addresses is of a family.
    fn has(self, family: Family, model: &'m Model) -> bool {
        self.addresses(model).any(|of| Family::of(of.address.addr()) == family)
    }
}

/// Whether flows stay in the zone they enter by.
const fn stay_in_zone(balancer: &LoadBalancer, group: &TargetGroup) -> bool {
    match group.attributes.cross_zone {
        Some(cross_zone) => !cross_zone,
        None => !balancer.cross_zone,
    }
}

/// Indexes of the load balancers and target groups between which flows stay in their zone.
fn zonal(model: &Model) -> (HashSet<usize>, HashSet<usize>) {
    let listeners = model.load_balancers.iter().enumerate().flat_map(|(index, balancer)| {
        balancer.listeners.iter().map(move |listener| (index, balancer, listener.target_group))
    });
    // The configuration's limits are checked on models that may lack a group.
    let stays = |balancer: &LoadBalancer, group: usize| {
        model.target_groups.get(group).is_some_and(|group| stay_in_zone(balancer, group))
    };
    listeners
        .filter(|&(_, balancer, group)| stays(balancer, group))
        .map(|(index, _, group)| (index, group))
        .unzip()
}

/// The pools of a model: each group's targets, and their parts by zone if flows to the group
/// stay in their zone.
pub fn pools(model: &Model) -> Vec<Pool<'_>> {
    let (_, zonal) = zonal(model);
    let mut pools = Vec::new();
    for (index, group) in model.target_groups.iter().enumerate() {
        let staying = group.targets.iter().filter(|target| target.draining_since.is_none());
        let zones: BTreeSet<Option<&str>> = staying.map(|target| target.zone.as_deref()).collect();
        let parts = zones.iter().map(|zone| zone.map_or(Part::Zoneless, Part::Zone));
        let by_zone = zonal.contains(&index) && zones.iter().any(Option::is_some);
        let parts = std::iter::once(Part::All).chain(parts.filter(|_| by_zone));
        pools.extend(parts.map(|part| Pool { group: index, part }));
    }
    pools
}

/// The faces of a model: each load balancer's addresses, and their parts by zone if its flows
/// stay in their zone and it is in several.
pub fn faces(model: &Model) -> Vec<Face<'_>> {
    let (zonal, _) = zonal(model);
    let mut faces = Vec::new();
    for (index, balancer) in model.load_balancers.iter().enumerate() {
        let staying = balancer.addresses.iter().filter(|address| !address.draining);
        let zones: BTreeSet<&str> = staying.map(|address| address.zone.as_str()).collect();
        let by_zone = zonal.contains(&index) && zones.len() > 1;
        let parts = zones.into_iter().map(Part::Zone).filter(|_| by_zone);
        let parts = std::iter::once(Part::All).chain(parts);
        faces.extend(parts.map(|part| Face { load_balancer: index, part }));
    }
    faces
}

/// The numbers of pools and faces, to be found by zone.
pub struct Numbers<'m> {
    model: &'m Model,
    pools: HashMap<Pool<'m>, u32>,
    faces: HashMap<Face<'m>, u32>,
}

impl<'m> Numbers<'m> {
    /// Those of a model.
    pub fn new(model: &'m Model, numbering: &Numbering) -> Self {
        fn numbered<T: Eq + Hash>(all: Vec<T>, numbers: &[u32]) -> HashMap<T, u32> {
            all.into_iter().zip(numbers.iter().copied()).collect()
        }
        let pools = numbered(pools(model), &numbering.pools);
        Self { model, pools, faces: numbered(faces(model), &numbering.faces) }
    }

    /// The pool and the face that serve flows from a zone through a load balancer to a target group.
    pub fn of(&self, zone: &'m str, load_balancer: usize, group: usize) -> (u32, u32) {
        let model = self.model;
        let stay = stay_in_zone(&model.load_balancers[load_balancer], &model.target_groups[group]);
        let parts: &[Part<'m>] =
            if stay { &[Part::Zone(zone), Part::Zoneless, Part::All] } else { &[Part::All] };
        let mut pools =
            parts.iter().filter_map(|&part| self.pools.get(&Pool { group, part }).copied());
        let faces = parts.iter().map(|&part| Face { load_balancer, part });
        let family = model.target_groups[group].family;
        let serves = |face: &Face<'m>| face.part == Part::All || face.has(family, model);
        let mut faces = faces.filter(serves).filter_map(|face| self.faces.get(&face).copied());
        // Every group and every load balancer has its whole.
        (pools.next().unwrap_or_default(), faces.next().unwrap_or_default())
    }
}

/// How much of its weight a target counts for: all of it, or less in slow start.
pub const WHOLE_SHARE: u16 = 16;

/// How well a part of a target group serves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    None,
    Unreachable,
    /// Too few of its targets are healthy.
    Poor,
    Good,
}

/// The targets among which new flows of a pool are shared: those of its part, or of all its group where that serves
/// better. Of these the healthy ones, or all that are reachable where too few are healthy: the group fails open, as
/// those of AWS do.
pub fn candidates(
    model: &Model,
    numbering: &Numbering,
    pool: Pool<'_>,
    host: &Host<'_>,
) -> Vec<Candidate> {
    let group = &model.target_groups[pool.group];
    let takes_flows = |target: &Target| target.weight > 0 && target.draining_since.is_none();
    let takers: Vec<(&Target, u32, Fitness)> = group
        .targets
        .iter()
        .zip(&numbering.targets[pool.group])
        .filter(|(target, _)| takes_flows(target))
        .map(|(target, &number)| (target, number, (host.fitness)(number)))
        .collect();
    let fittest = |part: Part<'_>, minimum: MinimumHealthy| {
        let part = takers.iter().filter(|(target, ..)| part.has(target.zone.as_deref()));
        let fit = |least| part.clone().filter(move |&&(.., fitness)| fitness >= least);
        let (all, reachable, healthy) =
            (part.clone().count(), fit(Fitness::Reachable).count(), fit(Fitness::Healthy).count());
        let service = match (all, reachable) {
            (0, _) => Service::None,
            (_, 0) => Service::Unreachable,
            _ if minimum.is_met(healthy, all) => Service::Good,
            _ => Service::Poor,
        };
        let routed = group.attributes.routing_minimum.is_met(healthy, all) && healthy > 0;
        let least = match reachable {
            0 => Fitness::Unreachable,
            _ if routed => Fitness::Healthy,
            _ => Fitness::Reachable,
        };
        (service, fit(least).collect::<Vec<_>>())
    };
    let own = fittest(pool.part, group.attributes.failover_minimum);
    let all = fittest(Part::All, group.attributes.routing_minimum);
    let chosen = if own.0 < all.0 { all.1 } else { own.1 };
    let candidate = |&&(target, number, _): &&(&Target, u32, Fitness)| Candidate {
        target: number as u16,
        identity: identity(target),
        // At most 999 of 16 shares.
        weight: target.weight * (host.share)(number),
    };
    chosen.iter().map(candidate).collect()
}

/// What a target is to all gateways, whatever its number is here.
fn identity(target: &Target) -> u64 {
    let port = u64::from(target.port);
    match target.address {
        IpAddr::V4(address) => u64::from(u32::from(address)) << 16 | port,
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            hash(port, (bits >> 64) as u64, bits as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use privatelink_common::hash::Seeds;
    use privatelink_common::records::NextHop;

    use super::*;
    use crate::config;

    /// A load balancer in zones a and b before one group; zones of the targets as given.
    fn model(cross_zone: bool, group: &str, targets: &[(&str, u16)]) -> Model {
        let targets: Vec<String> = targets
            .iter()
            .zip(10..)
            .map(|((zone, weight), host)| {
                let zone =
                    if zone.is_empty() { String::new() } else { format!("zone = \"{zone}\", ") };
                format!("{{ {zone}address = \"10.0.1.{host}\", weight = {weight} }}")
            })
            .collect();
        let text = format!(
            r#"
region = "us-east-1"
[[vpc]]
id = "provider"
account = "111111111111"
cidrs = ["10.0.0.0/16"]
interfaces = [{{ name = "eth0", zone = "a" }}]
[[target_group]]
name = "web"
vpc = "provider"
protocol = "tcp"
port = 80
targets = [{}]
[target_group.attributes]
"load_balancing.cross_zone.enabled" = {group}
[[load_balancer]]
name = "nlb"
vpc = "provider"
addresses = [{{ zone = "a", address = "10.0.0.10/16" }}, {{ zone = "b", address = "10.0.0.11/16" }}]
[[load_balancer.listener]]
protocol = "tcp"
port = 80
target_group = "web"
[load_balancer.attributes]
"load_balancing.cross_zone.enabled" = {cross_zone}
"#,
            targets.join(", ")
        );
        config::parse("zones.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn host<'h>(fitness: &'h dyn Fn(u32) -> Fitness, share: &'h dyn Fn(u32) -> u16) -> Host<'h> {
        Host {
            interfaces: HashMap::new(),
            next_hop: &|_| NextHop::UNKNOWN,
            fitness,
            share,
            marked: &|_| false,
            seeds: Seeds::of(0),
            generation: 0,
            jiffies_per_second: 250,
        }
    }

    const AS_BALANCER: &str = "\"use_load_balancer_configuration\"";

    /// The targets that flows from a zone go to, and the part of the addresses they leave from.
    fn serving<'m>(model: &'m Model, zone: &'m str) -> (Vec<u16>, Part<'m>) {
        let numbering = Numbering::in_order(model).unwrap();
        let (pool, face) = Numbers::new(model, &numbering).of(zone, 0, 0);
        let pool = pools(model)[pool as usize];
        let candidates = candidates(model, &numbering, pool, &host(&|_| Fitness::Healthy, &|_| 16));
        (candidates.iter().map(|c| c.target).collect(), faces(model)[face as usize].part)
    }

    #[test]
    fn each_zone_has_its_own() {
        let all = &[("a", 1), ("b", 1), ("b", 1)][..];
        let mixed = &[("a", 1), ("", 1)][..];
        let drained = &[("a", 0), ("b", 1)][..];
        let zoneless = &[("", 1), ("", 1)][..];
        type Row<'r> = (bool, &'r str, &'r [(&'r str, u16)], &'r str, &'r [u16], Part<'r>);
        let rows: [Row<'_>; 12] = [
            (false, AS_BALANCER, all, "a", &[0], Part::Zone("a")),
            (false, AS_BALANCER, all, "b", &[1, 2], Part::Zone("b")),
            // No target and no address in the zone: any will do.
            (false, AS_BALANCER, all, "c", &[0, 1, 2], Part::All),
            (false, AS_BALANCER, mixed, "a", &[0, 1], Part::Zone("a")),
            (false, AS_BALANCER, mixed, "b", &[1], Part::Zone("b")),
            (false, AS_BALANCER, drained, "a", &[1], Part::Zone("a")),
            (false, AS_BALANCER, zoneless, "a", &[0, 1], Part::Zone("a")),
            (true, AS_BALANCER, all, "a", &[0, 1, 2], Part::All),
            // The group's own word counts.
            (true, "false", all, "a", &[0], Part::Zone("a")),
            (false, "true", all, "a", &[0, 1, 2], Part::All),
            (true, "true", all, "b", &[0, 1, 2], Part::All),
            (false, "false", all, "b", &[1, 2], Part::Zone("b")),
        ];
        for (cross_zone, group, targets, zone, numbers, part) in rows {
            let model = model(cross_zone, group, targets);
            let expected = (numbers.to_vec(), part);
            assert_eq!(serving(&model, zone), expected, "{cross_zone} {group} {targets:?} {zone}");
        }
    }

    #[test]
    fn nobody_pays_for_zones_that_are_not_kept_apart() {
        let count = |model: &Model| (pools(model).len(), faces(model).len());
        let targets = &[("a", 1), ("b", 1), ("", 1)];
        assert_eq!(count(&model(true, AS_BALANCER, targets)), (1, 1));
        assert_eq!(count(&model(false, AS_BALANCER, targets)), (4, 3));
        assert_eq!(count(&model(false, AS_BALANCER, &[("", 1)])), (1, 3));
    }

    #[test]
    fn the_fittest_serve_and_those_of_the_zone_first() {
        let model = model(false, AS_BALANCER, &[("a", 1), ("a", 1), ("b", 1)]);
        let numbering = Numbering::in_order(&model).unwrap();
        let pool = Pool { group: 0, part: Part::Zone("a") };
        use Fitness::{Healthy as H, Reachable as R, Unreachable as U};
        for (fitness, expected) in [
            ([H, H, H], &[0, 1][..]),
            ([R, H, H], &[1]),
            ([U, R, R], &[1]),
            // Another zone's healthy one before one's own that is not.
            ([R, R, H], &[2]),
            ([R, U, R], &[0]),
            ([U, U, U], &[0, 1]),
        ] {
            let fitness = |number| fitness[number as usize];
            let found = candidates(&model, &numbering, pool, &host(&fitness, &|_| 16));
            let found: Vec<_> = found.iter().map(|candidate| candidate.target).collect();
            assert_eq!(found, expected, "{:?}", [0, 1, 2].map(fitness));
        }
    }

    #[test]
    fn too_few_healthy_ones_open_the_group_or_the_other_zones() {
        use Fitness::{Healthy as H, Reachable as R, Unreachable as U};
        let (one, off) = (MinimumHealthy { count: 1, percentage: 0 }, MinimumHealthy::default());
        let half = MinimumHealthy { count: 1, percentage: 50 };
        let two = MinimumHealthy { count: 2, percentage: 0 };
        // Targets 0 to 2 are in zone a, the last is in b; flows enter by a.
        for (routing, failover, fitness, expected) in [
            (one, one, [H, R, R, R], &[0][..]),
            (half, one, [H, R, R, R], &[0, 1, 2]),
            (half, one, [H, H, R, R], &[0, 1]),
            // Zone a has enough for its own flows, however few they are for the group.
            (two, one, [H, R, R, R], &[0, 1, 2]),
            (one, half, [H, R, R, H], &[0, 3]),
            (one, two, [H, R, R, R], &[0]),
            // Off: its flows stay, to whatever is reachable there.
            (one, off, [R, U, R, H], &[0, 2]),
            (one, off, [U, U, U, H], &[3]),
            (off, off, [H, R, R, H], &[0]),
            (two, one, [U, U, U, R], &[3]),
        ] {
            let zones = [("a", 1), ("a", 1), ("a", 1), ("b", 1)];
            let mut model = model(false, AS_BALANCER, &zones);
            let attributes = &mut model.target_groups[0].attributes;
            (attributes.routing_minimum, attributes.failover_minimum) = (routing, failover);
            let numbering = Numbering::in_order(&model).unwrap();
            let pool = Pool { group: 0, part: Part::Zone("a") };
            let of = |number| fitness[number as usize];
            let found = candidates(&model, &numbering, pool, &host(&of, &|_| 16));
            let found: Vec<_> = found.iter().map(|candidate| candidate.target).collect();
            assert_eq!(found, expected, "{routing:?}, {failover:?}: {fitness:?}");
        }
    }

    #[test]
    fn what_drains_gets_nothing_and_what_starts_gets_little() {
        let mut model = model(true, AS_BALANCER, &[("a", 2), ("a", 999), ("b", 1)]);
        model.target_groups[0].targets[0].draining_since = Some(Duration::ZERO);
        model.load_balancers[0].addresses[0].draining = true;
        let numbering = Numbering::in_order(&model).unwrap();
        let share = |number| if number == 1 { 16 } else { 1 };
        let host = host(&|_| Fitness::Healthy, &share);
        let found = candidates(&model, &numbering, pools(&model)[0], &host);
        let found: Vec<_> = found.iter().map(|c| (c.target, c.weight)).collect();
        assert_eq!(found, [(1, 999 * 16), (2, 1)]);
        assert_eq!(faces(&model)[0].addresses(&model).count(), 1);
    }
}
