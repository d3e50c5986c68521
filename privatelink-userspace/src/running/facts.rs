//! What the metrics say of the running gateway.

use privatelink_common::flow_event::Lost;
use privatelink_common::flow_table::totals::Counts;
use privatelink_common::limits::{
    INTERFACE_SLOTS, MAX_ADDRESSES, MAX_ENDPOINTS, MAX_LISTENERS, MAX_LOAD_BALANCERS, MAX_POOLS,
    MAX_TARGETS,
};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{Running, lock};
use crate::api::Totals;
use crate::datapath::DatapathError;
use crate::gateway::join;
use crate::health::State;
use crate::log_writer::Fate;
use crate::metrics::{
    DropFacts, EndpointFacts, Facts, Format, GroupFacts, LeaseFacts, LoadBalancerFacts, LogFacts,
    MapFacts, ServiceFacts, TableFacts, TargetFacts, exposition, totals,
};
use crate::model::Model;
use crate::numbers::target_key;
use crate::snapshot::Snapshot;
use crate::tally::Tally;

impl Running {
    /// The metrics as text.
    ///
    /// # Errors
    ///
    /// The drop counters cannot be read.
    pub fn metrics_text(&self, format: Format) -> Result<String, DatapathError> {
        Ok(exposition(self.facts()?, &self.metrics, format))
    }

    /// The metrics as the control API answers them.
    ///
    /// # Errors
    ///
    /// The drop counters cannot be read.
    pub fn totals(&self) -> Result<Totals, DatapathError> {
        let facts = self.facts()?;
        Ok(totals(&facts, std::process::id()))
    }

    /// The facts of now, or of a moment ago where many flows are to be added up.
    ///
    /// # Errors
    ///
    /// The drop counters cannot be read.
    pub(super) fn facts(&self) -> Result<Arc<Facts>, DatapathError> {
        self.last_facts.or(|| self.snapshot(), |snapshot| self.gather(snapshot))
    }

    fn gather(&self, snapshot: &Snapshot) -> Result<Facts, DatapathError> {
        let up = self.uptime();
        // Totals first: a flow that ends now is then in neither, and never in both.
        let totals_of = |number: &u32| self.flow_table.endpoint_totals(*number);
        let endpoints: Vec<Counts> = snapshot.numbering.endpoints.iter().map(totals_of).collect();
        let numbers = snapshot.numbering.targets(&snapshot.model).map(|(number, ..)| number);
        let targets: HashMap<u32, Counts> =
            numbers.map(|number| (number, self.flow_table.target_totals(number))).collect();
        let tally = self.flow_table.tally();

        let (endpoints, services) = self.endpoint_facts(snapshot, &endpoints, &tally);
        let (targets, load_balancers) = self.target_facts(snapshot, &targets, &tally);
        let [capacity, ipv6_capacity] = self.flow_table.capacities();
        let [held, ipv6_held] = self.flow_table.held();
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Facts {
            version: env!("CARGO_PKG_VERSION").into(),
            started: started.as_secs_f64(),
            up,
            table: TableFacts {
                capacity,
                held,
                ipv6_capacity: if snapshot.model.has_ipv6() { ipv6_capacity } else { 0 },
                ipv6_held,
                flows: endpoints.iter().map(|of| of.flows).sum(),
                half_open: endpoints.iter().map(|of| of.half_open).sum(),
            },
            maps: self.map_facts(),
            usage_failures: self.accounting.failures(),
            endpoints,
            services,
            groups: self.group_facts(snapshot),
            targets,
            load_balancers,
            leases: lease_facts(snapshot, &tally),
            drops: self.drop_facts()?,
            logs: self.log_facts(),
            untold: self.untold(),
        })
    }

    fn endpoint_facts(
        &self,
        snapshot: &Snapshot,
        totals: &[Counts],
        tally: &Tally,
    ) -> (Vec<EndpointFacts>, Vec<ServiceFacts>) {
        let model = &snapshot.model;
        let numbers = snapshot.numbering.endpoints.iter().copied();
        let mut endpoints: Vec<EndpointFacts> = model
            .endpoints
            .iter()
            .zip(numbers)
            .zip(totals)
            .map(|((endpoint, number), totals)| {
                let service = &model.services[endpoint.service];
                EndpointFacts {
                    id: endpoint.id.clone(),
                    vpc: model.vpcs[endpoint.vpc].id.clone(),
                    service: service.id.clone(),
                    service_name: service.service_name(&model.region),
                    flows: self.flow_table.live_of(number),
                    half_open: self.flow_table.half_open_of(number),
                    counts: tally.endpoint(number, *totals),
                }
            })
            .collect();
        let mut services: Vec<ServiceFacts> = model
            .services
            .iter()
            .map(|service| ServiceFacts {
                id: service.id.clone(),
                load_balancers: join(
                    service.load_balancers.iter().map(|&index| &model.load_balancers[index].name),
                ),
                ..ServiceFacts::default()
            })
            .collect();
        for (endpoint, facts) in model.endpoints.iter().zip(&endpoints) {
            let service = &mut services[endpoint.service];
            service.endpoints += 1;
            service.flows += facts.flows;
        }
        self.metrics.growing(|growing| {
            let growing = &mut growing.endpoints;
            let seen = endpoints.iter().map(|of| (of.id.clone(), [&*of.service], of.counts));
            growing.see(seen);
            let known: HashSet<&str> = services.iter().map(|service| &*service.id).collect();
            growing.keep_owners(|id| known.contains(id));
            for service in &mut services {
                service.counts = growing.of_owner(&service.id);
            }
            for endpoint in &mut endpoints {
                endpoint.counts = growing.said(&endpoint.id);
            }
        });
        (endpoints, services)
    }

    fn group_facts(&self, snapshot: &Snapshot) -> Vec<GroupFacts> {
        let (model, health) = (&snapshot.model, self.health().clone());
        let groups = model.target_groups.iter().zip(&snapshot.numbering.targets).enumerate();
        let facts = groups.map(|(index, (group, numbers))| {
            let registered = group.targets.iter().zip(numbers);
            let registered = registered.filter(|(target, _)| target.draining_since.is_none());
            let states: Vec<State> = registered
                .filter_map(|(_, &number)| Some(health.get(number)?.status.health.state))
                .collect();
            let count = |of: State| states.iter().filter(|&&state| state == of).count() as u64;
            GroupFacts {
                name: group.name.clone(),
                load_balancers: join(used_by(model, index)),
                healthy: count(State::Healthy),
                unhealthy: count(State::Unhealthy),
            }
        });
        facts.collect()
    }

    fn target_facts(
        &self,
        snapshot: &Snapshot,
        totals: &HashMap<u32, Counts>,
        tally: &Tally,
    ) -> (Vec<TargetFacts>, Vec<LoadBalancerFacts>) {
        let (model, health) = (&snapshot.model, self.health().clone());
        let counted = |(number, group, target)| {
            let totals = totals.get(&number).copied().unwrap_or_default();
            (number, group, target, tally.target(number, totals))
        };
        let all: Vec<_> = snapshot.numbering.targets(model).map(counted).collect();
        let by_group: Vec<Vec<&str>> =
            (0..model.target_groups.len()).map(|group| used_by(model, group).collect()).collect();
        let routing = self.metrics.routing();
        let (mut facts, mut flows) = (Vec::new(), HashMap::<&str, u64>::new());
        self.metrics.growing(|growing| {
            let growing = &mut growing.targets;
            growing.see(all.iter().map(|&(_, group, target, (_, counts))| {
                let of = &model.target_groups[group];
                (target_key(of, target), by_group[group].iter().copied(), counts)
            }));
            growing.keep_owners(|name| model.load_balancers.iter().any(|of| of.name == name));
            for &(number, group, target, (live, _)) in &all {
                let of = &model.target_groups[group];
                let status = health.get(number).map(|standing| &standing.status);
                let counts = growing.said(&target_key(of, target));
                by_group[group].iter().for_each(|name| *flows.entry(name).or_default() += live);
                facts.push(TargetFacts {
                    group: of.name.clone(),
                    target: target.end().to_string(),
                    healthy: health.is_healthy(number),
                    latency: status.and_then(|status| status.latency),
                    flows: live,
                    unhealthy_routing: routing.flows(number, counts.opened),
                    counts,
                });
            }
            let balancers = model.load_balancers.iter().map(|balancer| LoadBalancerFacts {
                name: balancer.name.clone(),
                flows: flows.get(&*balancer.name).copied().unwrap_or_default(),
                counts: growing.of_owner(&balancer.name),
            });
            (facts, balancers.collect())
        })
    }

    fn map_facts(&self) -> Vec<MapFacts> {
        let desired = lock(&self.desired);
        let held = desired.reconciler.installed();
        [
            ("addresses", held.addresses.len(), MAX_ADDRESSES),
            ("endpoints", held.endpoints.len(), MAX_ENDPOINTS),
            ("interfaces", held.interfaces.len(), INTERFACE_SLOTS as usize),
            ("listeners", held.listeners.len(), MAX_LISTENERS),
            ("load_balancers", held.load_balancers.len(), MAX_LOAD_BALANCERS),
            ("pools", held.pools.len(), MAX_POOLS),
            ("target_keys", held.target_keys.len(), 2 * MAX_TARGETS),
            ("targets", held.targets.len(), MAX_TARGETS),
            ("wide_addresses", held.wide_addresses.len(), MAX_ADDRESSES),
            ("wide_listeners", held.wide_listeners.len(), MAX_LISTENERS),
            ("wide_target_keys", held.wide_target_keys.len(), 2 * MAX_TARGETS),
        ]
        .map(|(name, used, capacity)| MapFacts { name, used, capacity })
        .into()
    }

    fn log_facts(&self) -> Vec<LogFacts> {
        let of = |name, fate: &Fate| {
            let [written, crowded_out, failed] = fate.counts();
            LogFacts { name, written, crowded_out, failed }
        };
        let fates = &self.metrics.logs;
        vec![of("access", &fates.access), of("flow", &fates.flow)]
    }

    fn untold(&self) -> [u64; 2] {
        let Lost { ended, refused } = self.metrics.logs.untold.load();
        [ended, refused]
    }

    fn drop_facts(&self) -> Result<Vec<DropFacts>, DatapathError> {
        let facts = self.dropped()?.into_iter().map(|(attached, reason, packets)| DropFacts {
            interface: attached.link.name,
            vpc: attached.vpc,
            reason: reason.name(),
            packets,
        });
        Ok(facts.collect())
    }
}

/// Names of the load balancers that use a target group.
fn used_by(model: &Model, group: usize) -> impl Iterator<Item = &str> {
    let balancers = model.load_balancers.iter();
    let uses = move |listener: &crate::model::Listener| listener.target_group == group;
    balancers
        .filter(move |balancer| balancer.listeners.iter().any(uses))
        .map(|balancer| &*balancer.name)
}

fn lease_facts(snapshot: &Snapshot, tally: &Tally) -> Vec<LeaseFacts> {
    let (model, numbering) = (&snapshot.model, &snapshot.numbering);
    let addresses: HashMap<(u16, IpAddr), (&str, String)> = model
        .load_balancers
        .iter()
        .flat_map(|balancer| {
            let vpc = numbering.vpcs[balancer.vpc];
            balancer.addresses.iter().map(move |of| {
                let address = of.address.addr();
                ((vpc, address), (&*balancer.name, address.to_string()))
            })
        })
        .collect();
    let mut facts: Vec<LeaseFacts> = tally
        .leases()
        .filter_map(|((vpc, address, target), used)| {
            let (load_balancer, address) = addresses.get(&(vpc, address))?;
            let (_, target) = snapshot.target(target)?;
            Some(LeaseFacts {
                load_balancer: (*load_balancer).to_owned(),
                address: address.clone(),
                target: target.end().to_string(),
                used,
            })
        })
        .collect();
    facts.sort_by(|a, b| (&a.address, &a.target).cmp(&(&b.address, &b.target)));
    facts
}
