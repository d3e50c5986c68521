//! In which states the resources are.

use std::collections::{BTreeMap, HashSet};

use super::desired::Desired;
use super::{Running, lock};
use crate::model::{EndpointState, LoadBalancer, LoadBalancerState, Model, ServiceState};
use crate::numbers::Kind;
use crate::resources::ResourceKind;

/// The state of each resource that has one, by its id or name.
pub(super) struct States {
    /// Of endpoints in force.
    pub endpoints: BTreeMap<String, EndpointState>,
    /// Of load balancers in force.
    pub load_balancers: BTreeMap<String, LoadBalancerState>,
    /// Of services in force, going or failed.
    pub services: BTreeMap<String, ServiceState>,
}

impl States {
    /// Of what a model has in force, and of the services that are `going` or have `failed`; `attached` are the vpcs that have
    /// an interface attached.
    fn of<'s>(
        model: &Model,
        attached: &HashSet<String>,
        going: impl Iterator<Item = &'s str>,
        failed: impl Iterator<Item = &'s str>,
    ) -> Self {
        let is_active = |balancer: &LoadBalancer| attached.contains(&model.vpcs[balancer.vpc].id);
        let load_balancers = model.load_balancers.iter().map(|balancer| {
            let state = match is_active(balancer) {
                true => LoadBalancerState::Active,
                false => LoadBalancerState::Provisioning,
            };
            (balancer.name.clone(), state)
        });
        let services = model.services.iter().map(|service| {
            let mut balancers = service.load_balancers.iter();
            let state = match balancers.any(|&index| is_active(&model.load_balancers[index])) {
                true => ServiceState::Available,
                false => ServiceState::Pending,
            };
            (service.id.clone(), state)
        });
        let going = going.map(|id| (id.to_owned(), ServiceState::Deleting));
        let failed = failed.map(|id| (id.to_owned(), ServiceState::Failed));
        let endpoints = model.endpoints.iter();
        Self {
            endpoints: endpoints.map(|endpoint| (endpoint.id.clone(), endpoint.state)).collect(),
            load_balancers: load_balancers.collect(),
            services: services.chain(going).chain(failed).collect(),
        }
    }
}

impl Running {
    /// The states now.
    pub(super) fn states(&self, desired: &Desired) -> States {
        let interfaces = self.interfaces().clone();
        let attached = interfaces.into_values().map(|attached| attached.vpc).collect();
        let resources = desired.declared.resources.iter();
        let failed = resources.filter(|((kind, _), resource)| {
            *kind == ResourceKind::Service && resource.failed.is_some()
        });
        let failed = failed.map(|((_, id), _)| id.as_str());
        States::of(&self.snapshot().model, &attached, desired.resting(Kind::Service), failed)
    }

    /// The state of each service, by its id.
    pub fn service_states(&self) -> BTreeMap<String, ServiceState> {
        self.states(&lock(&self.desired)).services
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::model::Vpc;

    const OVERLAP: &str = include_str!("../../../examples/overlap.toml");
    const SERVICE: &str = "vpce-svc-0e123abc123198abc";

    #[test]
    fn a_service_is_available_with_its_first_load_balancer() {
        use LoadBalancerState::{Active, Provisioning};
        use ServiceState::{Available, Pending};
        let mut model = config::parse("overlap.toml", OVERLAP).unwrap();
        let elsewhere = Vpc { id: "vpc-elsewhere".into(), ..model.vpcs[0].clone() };
        model.vpcs.push(elsewhere);
        let vpc = model.vpcs.len() - 1;
        let second = LoadBalancer { name: "second".into(), vpc, ..model.load_balancers[0].clone() };
        model.load_balancers.push(second);
        model.services[0].load_balancers.push(1);
        for (attached, first, second, service) in [
            (&[][..], Provisioning, Provisioning, Pending),
            (&["vpc-consumer-a"], Provisioning, Provisioning, Pending),
            (&["vpc-provider"], Active, Provisioning, Available),
            (&["vpc-elsewhere"], Provisioning, Active, Available),
            (&["vpc-provider", "vpc-elsewhere"], Active, Active, Available),
        ] {
            let vpcs = attached.iter().map(|&vpc| vpc.to_owned()).collect();
            let states = States::of(&model, &vpcs, [].into_iter(), [].into_iter());
            let balancers = [("second".to_owned(), second), ("web-nlb".to_owned(), first)];
            assert_eq!(states.load_balancers, balancers.into(), "{attached:?}");
            assert_eq!(states.services, [(SERVICE.to_owned(), service)].into(), "{attached:?}");
        }
    }

    #[test]
    fn a_service_that_fails_or_goes() {
        use ServiceState::{Available, Deleting, Failed};
        let declared = config::parse("overlap.toml", OVERLAP).unwrap();
        let mut other = declared.clone();
        (other.services, other.endpoints) = (Vec::new(), Vec::new());
        let attached = ["vpc-provider".to_owned()].into();
        for (model, going, failed, state) in [
            (&declared, false, false, Some(Available)),
            (&other, false, false, None),
            (&other, true, false, Some(Deleting)),
            (&other, false, true, Some(Failed)),
            // Its flows end because it has failed.
            (&other, true, true, Some(Failed)),
        ] {
            let [going, failed] = [going, failed].map(|is| is.then_some(SERVICE).into_iter());
            let states = States::of(model, &attached, going, failed);
            assert_eq!(states.services.get(SERVICE), state.as_ref());
        }
    }
}
