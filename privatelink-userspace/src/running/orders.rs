//! What providers order, carried out on the running gateway.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::desired::{Desired, ModelError};
use super::{Running, lock};
use crate::api::{ErrorBody, ErrorCode, Order, Ordered, OrderedEndpoint};
use crate::control::GatewayError;
use crate::datapath::DatapathError;
use crate::decisions::{Connection, now};
use crate::model::{Endpoint, EndpointState};
use crate::principal::root_arn;
use crate::snapshot::Snapshot;

impl From<ModelError> for GatewayError {
    fn from(error: ModelError) -> Self {
        let text = error.to_string();
        let code = match error {
            ModelError::Config(_) | ModelError::Capacity { .. } => ErrorCode::InvalidConfiguration,
            ModelError::Full(_) | ModelError::Datapath(DatapathError::TooManyPools { .. }) => {
                ErrorCode::ResourceLimitExceeded
            }
            ModelError::Store(_) | ModelError::Datapath(_) | ModelError::Usage(_) => {
                ErrorCode::InternalFailure
            }
        };
        ErrorBody::new(code, text).into()
    }
}

impl Running {
    /// Carries out an order about a service, or tells what it would come to.
    ///
    /// # Errors
    ///
    /// It is refused as a whole, and nothing has changed.
    pub fn carry_out(&self, service: &str, order: &Order) -> Result<Ordered, GatewayError> {
        let mut desired = lock(&self.desired);
        let (before, declared) = (self.snapshot(), desired.declared.clone());
        let mut decisions = desired.decisions.clone();
        let chosen = decisions.carry_out(order, service, &declared.model, now())?;
        let next = desired.next(&before, &declared, decisions.clone())?.snapshot;
        let endpoints: Vec<_> =
            chosen.iter().map(|&index| self.ordered(index, &before, &next)).collect();
        let cut = |&&index: &&usize| {
            order.reconcile() && next.model.endpoints[index].state != EndpointState::Available
        };
        let cut: HashSet<u32> =
            chosen.iter().filter(cut).map(|&index| before.numbering.endpoints[index]).collect();
        let flows_cut = if order.dry_run() {
            cut.iter().map(|&number| self.flow_table.live_of(number)).sum()
        } else {
            self.put_in_force(&mut desired, declared, decisions)?;
            let flows_cut = self.cut_flows(|flow| cut.contains(&flow.endpoint));
            desired.cut_endpoints.extend(cut);
            flows_cut as u64
        };
        let listed = next.model.services.into_iter().find(|listed| listed.id == service);
        Ok(Ordered {
            service: service.to_owned(),
            allowed_principals: listed.map(|listed| listed.allowed_principals).unwrap_or_default(),
            endpoints,
            flows_cut,
            dry_run: order.dry_run(),
        })
    }

    fn ordered(&self, index: usize, before: &Snapshot, after: &Snapshot) -> OrderedEndpoint {
        let endpoint = &before.model.endpoints[index];
        OrderedEndpoint {
            endpoint: endpoint.id.clone(),
            principal: root_arn(&before.model.vpcs[endpoint.vpc].account),
            before: endpoint.state.name().into(),
            state: after.model.endpoints[index].state.name().into(),
            flows: self.flow_table.live_of(before.numbering.endpoints[index]),
        }
    }

    /// What was decided and seen of every endpoint, by its id.
    pub fn decided(&self) -> BTreeMap<String, Connection> {
        lock(&self.desired).decisions.connections().clone()
    }

    /// Ends what a CPU was opening while an order cut the flows of its endpoint.
    pub(super) fn cut_late(&self) {
        let mut cut = std::mem::take(&mut lock(&self.desired).cut_endpoints);
        let snapshot = self.snapshot();
        let closed = |endpoint: &Endpoint| endpoint.state != EndpointState::Available;
        cut.retain(|&number| snapshot.endpoint(number).is_some_and(closed));
        if !cut.is_empty() {
            self.cut_flows(|flow| cut.contains(&flow.endpoint));
        }
    }

    /// Has requests expire that nobody has answered in time.
    pub(super) fn expire(&self, desired: &mut Desired) {
        if !desired.decisions.are_due(now()) {
            return;
        }
        let (declared, decisions) = (Arc::clone(&desired.declared), desired.decisions.clone());
        if let Err(error) = self.put_in_force(desired, declared, decisions) {
            log::error!("requests that nobody has answered cannot expire: {error}");
        }
    }
}
