//! Making, changing and deleting resources by the control API.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::desired::Desired;
use super::{Running, lock};
use crate::api::{
    DeleteQuery, Deleted, DeregisterOrder, ErrorBody, ErrorCode, RegisterOrder, Registered,
    ResourceBody,
};
use crate::control::GatewayError;
use crate::model::{Model, TargetGroup};
use crate::resources::{
    Declaration, Declared, Origin, Resource, ResourceId, ResourceKind, Resources, unspeakable,
};

/// The key of a request by which the same request is known again.
const CLIENT_TOKEN: &str = "client_token";
/// Hexadecimal digits of an id that is made up, as AWS's have.
const ID_DIGITS: usize = 17;
/// Longest client token that AWS takes, in characters.
const MAX_TOKEN: usize = 64;

fn refused(code: ErrorCode, text: impl Into<String>) -> GatewayError {
    ErrorBody::new(code, text).into()
}

impl Running {
    /// Every resource of a kind.
    pub fn described(&self, kind: ResourceKind) -> Vec<ResourceBody> {
        let declaration = lock(&self.desired).declared.clone();
        let model = &self.snapshot().model;
        declaration.all(kind).into_iter().map(|declared| shown(declared, model)).collect()
    }

    /// One resource.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn describe(&self, id: &ResourceId) -> Result<ResourceBody, GatewayError> {
        let declaration = lock(&self.desired).declared.clone();
        Ok(shown(find(&declaration, id)?, &self.snapshot().model))
    }

    /// Makes a resource; the same request with the same token makes it once.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn make(
        &self,
        kind: ResourceKind,
        mut request: Map<String, Value>,
    ) -> Result<ResourceBody, GatewayError> {
        let token = client_token(&mut request)?;
        let mut desired = lock(&self.desired);
        let declaration = desired.declared.clone();
        if let Some(token) = &token {
            let mut made = declaration.resources.iter();
            let same = made.find(|((of, _), resource)| {
                *of == kind && resource.client_token.as_ref() == Some(token)
            });
            if let Some((id, resource)) = same {
                if resource.created_with != request {
                    let text = format!(
                        "client_token {token} was used for another request: choose another token"
                    );
                    return Err(refused(ErrorCode::IdempotentParameterMismatch, text));
                }
                return Ok(shown(find(&declaration, id)?, &self.snapshot().model));
            }
        }
        let created_with = request.clone();
        let id = (kind, id_of(kind, &mut request)?);
        if declaration.find(&id).is_some() {
            let text =
                format!("{} {} is there already: choose another {}", kind.noun(), id.1, kind.key());
            return Err(refused(kind.duplicate(), text));
        }
        refuse_unspeakable(&request)?;
        refuse_dangling(&declaration, &id, &request)?;
        let mut resources = declaration.resources.clone();
        let resource =
            Resource { settings: request, client_token: token, created_with, failed: None };
        resources.insert(id.clone(), resource);
        self.declare(&mut desired, resources)?;
        Ok(shown(find(&desired.declared, &id)?, &self.snapshot().model))
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
        let declaration = desired.declared.clone();
        let declared = of_api(find(&declaration, id)?)?;
        let key = id.0.key();
        if changes.get(key).is_some_and(|value| value.as_str() != Some(&id.1)) {
            let text = format!("the {key} of {} {} stays: leave it out", id.0.noun(), id.1);
            return Err(refused(ErrorCode::InvalidParameter, text));
        }
        let mut settings = declared.settings;
        for (key, value) in changes {
            match value {
                Value::Null => drop(settings.remove(&key)),
                value => drop(settings.insert(key, value)),
            }
        }
        refuse_unspeakable(&settings)?;
        refuse_dangling(&declaration, id, &settings)?;
        let mut resources = declaration.resources.clone();
        if let Some(before) = declaration.resources.get(id) {
            let resource = Resource { settings, failed: None, ..before.clone() };
            resources.insert(id.clone(), resource);
        }
        self.declare(&mut desired, resources)?;
        Ok(shown(find(&desired.declared, id)?, &self.snapshot().model))
    }

    /// Deletes a resource, and what refers to it if that is asked for.
    ///
    /// # Errors
    ///
    /// It is refused, and nothing has changed.
    pub fn delete(&self, id: &ResourceId, query: DeleteQuery) -> Result<Deleted, GatewayError> {
        let mut desired = lock(&self.desired);
        let declaration = desired.declared.clone();
        of_api(find(&declaration, id)?)?;
        let mut going = vec![id.clone()];
        let mut next = 0;
        while let Some(id) = going.get(next).cloned() {
            for declared in declaration.referring_to(&id) {
                let of_file = declared.origin == Origin::File;
                if of_file || !query.cascade {
                    return Err(in_use(&id, &declared, of_file));
                }
                if !going.contains(&declared.id) {
                    going.push(declared.id);
                }
            }
            next += 1;
        }
        let mut resources = declaration.resources.clone();
        going.iter().for_each(|id| resources.remove(id));
        let flows_cut = if query.dry_run {
            check(&declaration, resources)?;
            self.flows_of(&going)
        } else {
            self.declare(&mut desired, resources)?
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
        let declaration = desired.declared.clone();
        let (default, _) = own_targets(&declaration, group)?;
        if order.targets.is_empty() {
            return Err(refused(ErrorCode::MissingParameter, "no targets: name one at least"));
        }
        let mut resources = declaration.resources.clone();
        for target in order.targets {
            refuse_unspeakable(&target)?;
            let name = target_name(&target, default);
            resources.registration(group).register(name, target);
        }
        self.declare(&mut desired, resources)?;
        self.registered(group)
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
        let declaration = desired.declared.clone();
        let (default, own) = own_targets(&declaration, group)?;
        if order.targets.is_empty() {
            return Err(refused(ErrorCode::MissingParameter, "no targets: name one at least"));
        }
        let there = targets_of(&declaration.model, group);
        let mut resources = declaration.resources.clone();
        for target in &order.targets {
            let target = format!("{}:{}", target.address, target.port.unwrap_or(default));
            if !there.contains(&target) {
                let text = format!(
                    "{target} is not registered with target group {group}: see `privatelink targets`"
                );
                return Err(refused(ErrorCode::TargetNotFound, text));
            }
            let own = own.contains(&target);
            resources.registration(group).deregister(target, own);
        }
        self.declare(&mut desired, resources)?;
        self.registered(group)
    }

    fn registered(&self, group: &str) -> Result<Registered, GatewayError> {
        let targets = targets_of(&self.snapshot().model, group).into_iter().collect();
        Ok(Registered { target_group: group.to_owned(), targets })
    }

    /// Puts other resources in force; how many flows that ended.
    fn declare(
        &self,
        desired: &mut Desired,
        mut resources: Resources,
    ) -> Result<u64, GatewayError> {
        resources.tidy();
        let declaration = Arc::new(check(&desired.declared, resources)?);
        let decisions = desired.decisions.clone();
        let cut = self.put_in_force(desired, declaration, decisions)?;
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

/// What these resources come to beside the file.
fn check(before: &Declaration, resources: Resources) -> Result<Declaration, GatewayError> {
    before
        .with(resources)
        .map_err(|errors| refused(ErrorCode::InvalidParameter, errors.to_string()))
}

fn find(declaration: &Declaration, id: &ResourceId) -> Result<Declared, GatewayError> {
    let (kind, name) = id;
    declaration.find(id).ok_or_else(|| {
        let text = format!("no {} {name}: {} lists them", kind.noun(), kind.listing());
        refused(kind.not_found(), text)
    })
}

fn of_api(declared: Declared) -> Result<Declared, GatewayError> {
    match declared.origin {
        Origin::Api => Ok(declared),
        Origin::File => {
            let (kind, id) = &declared.id;
            let text = format!(
                "{} {id} is declared in the configuration file: change it there, then `privatelink reload`",
                kind.noun()
            );
            Err(refused(ErrorCode::DeclaredInFile, text))
        }
    }
}

fn in_use(id: &ResourceId, by: &Declared, of_file: bool) -> GatewayError {
    let (kind, name) = id;
    let remedy = if of_file {
        "take it out of the configuration file first"
    } else {
        "delete that first, or use --cascade"
    };
    let text =
        format!("{} {name} is used by {} {}: {remedy}", kind.noun(), by.id.0.noun(), by.id.1);
    refused(kind.in_use(), text)
}

fn refuse_unspeakable(settings: &Map<String, Value>) -> Result<(), GatewayError> {
    match unspeakable(settings) {
        Some(why) => {
            let text = format!("the body has a value that no key takes ({why}): leave it out");
            Err(refused(ErrorCode::InvalidParameter, text))
        }
        None => Ok(()),
    }
}

/// Refuses what refers to something that is not there.
fn refuse_dangling(
    declaration: &Declaration,
    id: &ResourceId,
    settings: &Map<String, Value>,
) -> Result<(), GatewayError> {
    for reference in id.0.references(settings) {
        let missing = match &reference {
            Ok(to) if declaration.find(to).is_none() => {
                Some((to.0.not_found(), to.0.noun(), to.1.as_str()))
            }
            Err(vpc) if !declaration.model.vpcs.iter().any(|of| of.id == *vpc) => {
                Some((ErrorCode::VpcNotFound, "vpc", vpc.as_str()))
            }
            _ => None,
        };
        if let Some((code, noun, name)) = missing {
            let text = format!("{} {}: no {noun} {name}", id.0.noun(), id.1);
            return Err(refused(code, text));
        }
    }
    Ok(())
}

/// Takes the client token out of a request.
fn client_token(request: &mut Map<String, Value>) -> Result<Option<String>, GatewayError> {
    match request.remove(CLIENT_TOKEN) {
        None => Ok(None),
        Some(Value::String(token)) if (1..=MAX_TOKEN).contains(&token.chars().count()) => {
            Ok(Some(token))
        }
        Some(_) => {
            let text = format!("client_token: not 1 to {MAX_TOKEN} characters: send a string");
            Err(refused(ErrorCode::InvalidParameter, text))
        }
    }
}

/// The id that a request names, or a new one where it may.
fn id_of(kind: ResourceKind, request: &mut Map<String, Value>) -> Result<String, GatewayError> {
    let key = kind.key();
    match (request.get(key), kind.prefix()) {
        (Some(Value::String(id)), _) => Ok(id.clone()),
        (Some(_), _) => {
            Err(refused(ErrorCode::InvalidParameter, format!("{key}: not a string: send one")))
        }
        (None, Some(prefix)) => {
            let digits = rand::random_range(0..1u128 << (4 * ID_DIGITS));
            let id = format!("{prefix}{digits:0ID_DIGITS$x}");
            request.insert(key.to_owned(), Value::String(id.clone()));
            Ok(id)
        }
        (None, None) => {
            let text = format!("{key} is missing: every {} has one", kind.noun());
            Err(refused(ErrorCode::MissingParameter, text))
        }
    }
}

/// The port of a group's targets that name none, and the targets it declares itself.
fn own_targets(
    declaration: &Declaration,
    group: &str,
) -> Result<(u16, HashSet<String>), GatewayError> {
    let declared = find(declaration, &(ResourceKind::TargetGroup, group.to_owned()))?;
    let port = declared.settings.get("port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    let targets = declared.settings.get("targets").and_then(Value::as_array);
    let targets = targets.into_iter().flatten().filter_map(Value::as_object);
    Ok((port, targets.map(|target| target_name(target, port)).collect()))
}

/// The address and port of a target in the configuration's words.
fn target_name(target: &Map<String, Value>, default_port: u16) -> String {
    let address = target.get("address").and_then(Value::as_str).unwrap_or_default();
    let port = target.get("port").map_or_else(|| default_port.to_string(), Value::to_string);
    format!("{address}:{port}")
}

/// The targets of a group that do not drain.
fn targets_of(model: &Model, group: &str) -> BTreeSet<String> {
    let group = model.target_groups.iter().find(|of| of.name == group);
    let targets = group.map(|TargetGroup { targets, .. }| targets.as_slice()).unwrap_or_default();
    let staying = targets.iter().filter(|target| target.draining_since.is_none());
    staying.map(|target| format!("{}:{}", target.address, target.port)).collect()
}

fn shown(declared: Declared, model: &Model) -> ResourceBody {
    let Declared { id: (kind, id), origin, settings, failed } = declared;
    let endpoint = model.endpoints.iter().find(|endpoint| endpoint.id == id);
    let state = match (kind, &failed) {
        (_, Some(_)) => "failed",
        (ResourceKind::Endpoint, None) => endpoint.map_or("deleting", |of| of.state.name()),
        (ResourceKind::Service, None) => "Available",
        (ResourceKind::LoadBalancer, None) => "active",
        (ResourceKind::TargetGroup | ResourceKind::SecurityGroup, None) => "available",
    };
    let (table, origin, state) = (kind.table().into(), origin.name().into(), state.into());
    ResourceBody { kind: table, id, origin, state, reason: failed, settings }
}
