//! What a request of the control API makes of what is declared: a declaration that is right as a whole, or a refusal.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;

use serde_json::{Map, Value};

use super::{
    Declaration, Declared, Origin, Resource, ResourceId, ResourceKind, Resources, unspeakable,
};
use crate::api::{DeregisterOrder, ErrorBody, ErrorCode, RegisterOrder};
use crate::model::{Model, TargetGroup};

/// The key of a request by which the same request is known again.
const CLIENT_TOKEN: &str = "client_token";
/// Hexadecimal digits of an id that is made up, as AWS's have.
const ID_DIGITS: usize = 17;
/// Longest client token that AWS takes, in characters.
const MAX_TOKEN: usize = 64;

fn refused(code: ErrorCode, text: impl Into<String>) -> ErrorBody {
    ErrorBody::new(code, text)
}

/// What a request to make a resource comes to.
#[derive(Debug)]
pub enum Made {
    /// The resource, in a declaration to be put in force.
    New(ResourceId, Box<Declaration>),
    /// The same request has made this before.
    Before(ResourceId),
}

impl Declaration {
    /// With one more resource; the same request with the same token makes it once.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub fn make(
        &self,
        kind: ResourceKind,
        mut request: Map<String, Value>,
    ) -> Result<Made, ErrorBody> {
        let token = client_token(&mut request)?;
        if let Some(token) = &token
            && let Some(id) = self.made_by(kind, token, &request)?
        {
            return Ok(Made::Before(id));
        }
        let created_with = request.clone();
        let id = (kind, id_of(kind, &mut request)?);
        if self.find(&id).is_some() {
            let text =
                format!("{} {} is there already: choose another {}", kind.noun(), id.1, kind.key());
            return Err(refused(kind.duplicate(), text));
        }
        refuse_unspeakable(&request)?;
        refuse_dangling(self, &id, &request)?;
        let mut resources = self.resources.clone();
        let resource =
            Resource { settings: request, client_token: token, created_with, failed: None };
        resources.insert(id.clone(), resource);
        Ok(Made::New(id, Box::new(self.changed(resources)?)))
    }

    /// The resource that a request with this token has made.
    fn made_by(
        &self,
        kind: ResourceKind,
        token: &str,
        request: &Map<String, Value>,
    ) -> Result<Option<ResourceId>, ErrorBody> {
        let mut made = self.resources.iter();
        let same = made.find(|((of, _), resource)| {
            *of == kind && resource.client_token.as_deref() == Some(token)
        });
        let Some((id, resource)) = same else { return Ok(None) };
        if resource.created_with != *request {
            let text =
                format!("client_token {token} was used for another request: choose another token");
            return Err(refused(ErrorCode::IdempotentParameterMismatch, text));
        }
        Ok(Some(id.clone()))
    }

    /// With other keys of a resource; null takes one out.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub fn modify(&self, id: &ResourceId, changes: Map<String, Value>) -> Result<Self, ErrorBody> {
        let declared = of_api(self.known(id)?)?;
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
        refuse_dangling(self, id, &settings)?;
        let mut resources = self.resources.clone();
        if let Some(before) = self.resources.get(id) {
            let resource = Resource { settings, failed: None, ..before.clone() };
            resources.insert(id.clone(), resource);
        }
        self.changed(resources)
    }

    /// Without a resource, and without what refers to it if that is asked for; which those are.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub fn delete(
        &self,
        id: &ResourceId,
        cascade: bool,
    ) -> Result<(Vec<ResourceId>, Self), ErrorBody> {
        of_api(self.known(id)?)?;
        let mut going = vec![id.clone()];
        let mut next = 0;
        while let Some(id) = going.get(next).cloned() {
            for declared in self.referring_to(&id) {
                let of_file = declared.origin == Origin::File;
                if of_file || !cascade {
                    return Err(in_use(&id, &declared, of_file));
                }
                if !going.contains(&declared.id) {
                    going.push(declared.id);
                }
            }
            next += 1;
        }
        let mut resources = self.resources.clone();
        going.iter().for_each(|id| resources.remove(id));
        Ok((going, self.changed(resources)?))
    }

    /// With targets registered with a target group, of the file or of the API.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub fn register(&self, group: &str, order: RegisterOrder) -> Result<Self, ErrorBody> {
        let (default, _) = own_targets(self, group)?;
        refuse_none(&order.targets)?;
        let mut resources = self.resources.clone();
        for target in order.targets {
            refuse_unspeakable(&target)?;
            let name = target_name(&target, default);
            resources.registration(group).register(name, target);
        }
        self.changed(resources)
    }

    /// With targets deregistered from a target group, of the file or of the API.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub fn deregister(&self, group: &str, order: &DeregisterOrder) -> Result<Self, ErrorBody> {
        let (default, own) = own_targets(self, group)?;
        refuse_none(&order.targets)?;
        let there = targets_of(&self.model, group);
        let mut resources = self.resources.clone();
        for target in &order.targets {
            let target = SocketAddr::new(target.address, target.port.unwrap_or(default));
            let target = target.to_string();
            if !there.contains(&target) {
                let text = format!(
                    "{target} is not registered with target group {group}: see `privatelink targets`"
                );
                return Err(refused(ErrorCode::TargetNotFound, text));
            }
            let own = own.contains(&target);
            resources.registration(group).deregister(target, own);
        }
        self.changed(resources)
    }

    /// The resource with an id.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn known(&self, id: &ResourceId) -> Result<Declared, ErrorBody> {
        self.find(id).ok_or_else(|| {
            let (kind, name) = id;
            let text = format!("no {} {name}: {} lists them", kind.noun(), kind.listing());
            refused(kind.not_found(), text)
        })
    }

    fn changed(&self, mut resources: Resources) -> Result<Self, ErrorBody> {
        resources.tidy();
        self.with(resources)
            .map_err(|errors| refused(ErrorCode::InvalidParameter, errors.to_string()))
    }
}

fn refuse_none<T>(targets: &[T]) -> Result<(), ErrorBody> {
    if targets.is_empty() {
        return Err(refused(ErrorCode::MissingParameter, "no targets: name one at least"));
    }
    Ok(())
}

fn of_api(declared: Declared) -> Result<Declared, ErrorBody> {
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

fn in_use(id: &ResourceId, by: &Declared, of_file: bool) -> ErrorBody {
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

fn refuse_unspeakable(settings: &Map<String, Value>) -> Result<(), ErrorBody> {
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
) -> Result<(), ErrorBody> {
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
fn client_token(request: &mut Map<String, Value>) -> Result<Option<String>, ErrorBody> {
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
fn id_of(kind: ResourceKind, request: &mut Map<String, Value>) -> Result<String, ErrorBody> {
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
) -> Result<(u16, HashSet<String>), ErrorBody> {
    let declared = declaration.known(&(ResourceKind::TargetGroup, group.to_owned()))?;
    let port = declared.settings.get("port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    let targets = declared.settings.get("targets").and_then(Value::as_array);
    let targets = targets.into_iter().flatten().filter_map(Value::as_object);
    Ok((port, targets.map(|target| target_name(target, port)).collect()))
}

/// The address and port of a target in the configuration's words, as the model writes them where they are right.
fn target_name(target: &Map<String, Value>, default_port: u16) -> String {
    let address = target.get("address").and_then(Value::as_str).unwrap_or_default();
    let port = target.get("port");
    let number = port.map_or(Some(default_port), |port| port.as_u64()?.try_into().ok());
    if let (Ok(address), Some(port)) = (address.parse(), number) {
        return SocketAddr::new(address, port).to_string();
    }
    let port = port.map_or_else(|| default_port.to_string(), Value::to_string);
    format!("{address}:{port}")
}

/// The targets of a group that do not drain.
pub fn targets_of(model: &Model, group: &str) -> BTreeSet<String> {
    let group = model.target_groups.iter().find(|of| of.name == group);
    let targets = group.map(|TargetGroup { targets, .. }| targets.as_slice()).unwrap_or_default();
    let staying = targets.iter().filter(|target| target.draining_since.is_none());
    staying.map(|target| target.end().to_string()).collect()
}
