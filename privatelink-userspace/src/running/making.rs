//! Making, changing and deleting resources by the control API.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::desired::Desired;
use super::states::States;
use super::{Running, lock};
use crate::api::{DeleteQuery, Deleted, DeregisterOrder, RegisterOrder, Registered, ResourceBody};
use crate::control::GatewayError;
use crate::resources::{Declaration, Declared, Made, ResourceId, ResourceKind, targets_of};

impl Running {
    /// Every resource of a kind.
    pub fn described(&self, kind: ResourceKind) -> Vec<ResourceBody> {
        let desired = lock(&self.desired);
        let (declaration, states) = (Arc::clone(&desired.declared), self.states(&desired));
        drop(desired);
        declaration.all(kind).into_iter().map(|declared| shown(declared, &states)).collect()
    }

    /// One resource.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn describe(&self, id: &ResourceId) -> Result<ResourceBody, GatewayError> {
        let desired = lock(&self.desired);
        Ok(shown(desired.declared.known(id)?, &self.states(&desired)))
    }

    /// Makes a resource; the same request with the same token makes it once.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn make(
        &self,
        kind: ResourceKind,
        request: Map<String, Value>,
    ) -> Result<ResourceBody, GatewayError> {
        let mut desired = lock(&self.desired);
        let id = match desired.declared.make(kind, request)? {
            Made::New(id, declaration) => {
                self.declare(&mut desired, *declaration)?;
                id
            }
            Made::Before(id) => id,
        };
        Ok(shown(desired.declared.known(&id)?, &self.states(&desired)))
    }

    /// Changes keys of a resource; null takes one out.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn modify(
        &self,
        id: &ResourceId,
        changes: Map<String, Value>,
    ) -> Result<ResourceBody, GatewayError> {
        let mut desired = lock(&self.desired);
        let declaration = desired.declared.modify(id, changes)?;
        self.declare(&mut desired, declaration)?;
        Ok(shown(desired.declared.known(id)?, &self.states(&desired)))
    }

    /// Deletes a resource, and what refers to it if that is asked for.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn delete(&self, id: &ResourceId, query: DeleteQuery) -> Result<Deleted, GatewayError> {
        let mut desired = lock(&self.desired);
        let (going, declaration) = desired.declared.delete(id, query.cascade)?;
        let flows_cut = match query.dry_run {
            true => self.flows_of(&going),
            false => self.declare(&mut desired, declaration)?,
        };
        let deleted = going.iter().map(|(kind, id)| format!("{} {id}", kind.noun())).collect();
        Ok(Deleted { deleted, flows_cut, dry_run: query.dry_run })
    }

    /// Registers targets with a target group, of the file or of the API.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn register(&self, group: &str, order: RegisterOrder) -> Result<Registered, GatewayError> {
        let mut desired = lock(&self.desired);
        let declaration = desired.declared.register(group, order)?;
        self.declare(&mut desired, declaration)?;
        Ok(self.registered(group))
    }

    /// Deregisters targets from a target group, of the file or of the API; they drain.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn deregister(
        &self,
        group: &str,
        order: &DeregisterOrder,
    ) -> Result<Registered, GatewayError> {
        let mut desired = lock(&self.desired);
        let declaration = desired.declared.deregister(group, order)?;
        self.declare(&mut desired, declaration)?;
        Ok(self.registered(group))
    }

    fn registered(&self, group: &str) -> Registered {
        let targets = targets_of(&self.snapshot().model, group).into_iter().collect();
        Registered { target_group: group.to_owned(), targets }
    }

    /// Puts another declaration in force; how many flows that ended.
    fn declare(
        &self,
        desired: &mut Desired,
        declaration: Declaration,
    ) -> Result<u64, GatewayError> {
        let decisions = desired.decisions.clone();
        let cut = self.put_in_force(desired, Arc::new(declaration), decisions)?;
        self.changed.notify_one();
        Ok(cut as u64)
    }

    /// How many flows end with these resources.
    fn flows_of(&self, going: &[ResourceId]) -> u64 {
        let snapshot = self.snapshot();
        let is_going = |kind, id: &str| going.iter().any(|of| of.0 == kind && of.1 == id);
        let endpoints = snapshot.model.endpoints.iter().zip(&snapshot.numbering.endpoints);
        let endpoints: HashSet<u32> = endpoints
            .filter(|(endpoint, _)| is_going(ResourceKind::Endpoint, &endpoint.id))
            .map(|(_, &number)| number)
            .collect();
        self.flow_table.flows().filter(|flow| endpoints.contains(&flow.endpoint)).count() as u64
    }
}

fn shown(declared: Declared, states: &States) -> ResourceBody {
    let Declared { id: (kind, id), origin, settings, failed } = declared;
    let state = match kind {
        ResourceKind::Endpoint => states.endpoints.get(&id).map(|state| state.name()),
        ResourceKind::Service => states.services.get(&id).map(|state| state.name()),
        ResourceKind::LoadBalancer => states.load_balancers.get(&id).map(|state| state.name()),
        ResourceKind::TargetGroup | ResourceKind::SecurityGroup => None,
    };
    let other = if failed.is_some() { "failed" } else { "available" };
    let state = state.unwrap_or(other).to_owned();
    let (table, origin) = (kind.table().into(), origin.name().into());
    ResourceBody { kind: table, id, origin, state, reason: failed, settings }
}
