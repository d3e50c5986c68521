//! What was decided at run time about who may connect, and what was seen of those who do.
//!
//! It stands between the model that is declared and the one in force ([`Decisions::apply`]), and is stored as one
//! document for each endpoint and each service. `Decisions` are plain values: whoever changes them changes a copy, and
//! puts that in force or drops it.

mod changes;
mod connection;
mod orders;
mod principals;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::connection::Connection;
pub use self::principals::Principals;
use crate::model::Model;
use crate::principal::admits;
use crate::store::Documents;

/// Kind of the documents on endpoints, by their ids.
const CONNECTION: &str = "connection";
/// Kind of the documents on the principals of services, by the services' ids.
const PRINCIPALS: &str = "principals";

/// All decisions in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    connections: BTreeMap<String, Connection>,
    principals: BTreeMap<String, Principals>,
}

/// A stored decision has a form that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stored decision on {id} cannot be read ({source}): run the version of privatelink that wrote it, or choose another --state-dir"
)]
pub struct Unreadable {
    id: String,
    source: serde_json::Error,
}

/// The time of a decision: in whole seconds, which is what people read.
pub fn now() -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs())
}

impl Decisions {
    /// Those that are stored.
    ///
    /// # Errors
    ///
    /// One cannot be read: going on without it might let somebody in who was rejected.
    pub fn read(documents: &Documents) -> Result<Self, Unreadable> {
        Ok(Self {
            connections: read_all(documents, CONNECTION)?,
            principals: read_all(documents, PRINCIPALS)?,
        })
    }

    /// Replaces those among the documents by these.
    pub fn write(&self, documents: &mut Documents) {
        documents.retain(|(kind, _), _| kind != CONNECTION && kind != PRINCIPALS);
        write_all(&self.connections, CONNECTION, documents);
        write_all(&self.principals, PRINCIPALS, documents);
    }

    /// What was decided and seen of an endpoint.
    pub fn connection(&self, endpoint: &str) -> Option<&Connection> {
        self.connections.get(endpoint)
    }

    /// What was decided on a service's principals.
    pub fn principals(&self, service: &str) -> Option<&Principals> {
        self.principals.get(service)
    }

    /// Every endpoint that is not forgotten, by its id.
    pub const fn connections(&self) -> &BTreeMap<String, Connection> {
        &self.connections
    }

    /// Whether [`Decisions::apply`] would change a state now that time has passed.
    pub fn are_due(&self, now: SystemTime) -> bool {
        self.connections.values().any(|connection| connection.is_due(now))
    }

    /// Forgets an endpoint of which nothing is left.
    pub fn forget(&mut self, endpoint: &str) {
        self.connections.remove(endpoint);
    }

    /// Makes of the model that is declared the one to be put in force: principals and endpoint states.
    ///
    /// Endpoints not seen before are noted, and those that are gone marked; what was decided about services that are gone is
    /// forgotten.
    pub fn apply(&mut self, model: &mut Model, now: SystemTime) {
        self.principals.retain(|id, _| model.services.iter().any(|service| service.id == *id));
        for service in &mut model.services {
            if let Some(decided) = self.principals.get_mut(&service.id) {
                decided.follow(&service.allowed_principals);
                service.allowed_principals = decided.listed(&service.allowed_principals);
            }
        }
        self.principals.retain(|_, decided| !decided.is_empty());

        let mut seen = std::mem::take(&mut self.connections);
        for endpoint in &mut model.endpoints {
            let (service, account) =
                (&model.services[endpoint.service], &model.vpcs[endpoint.vpc].account);
            let mut connection = seen
                .remove(&endpoint.id)
                .filter(|seen| seen.is_of(&service.id, account))
                .unwrap_or_else(|| Connection::new(&service.id, account, now));
            let admitted = admits(&service.allowed_principals, account);
            connection.follow(admitted, service.acceptance_required, now);
            endpoint.state = connection.state;
            self.connections.insert(endpoint.id.clone(), connection);
        }
        for (id, mut gone) in seen {
            gone.delete(now);
            self.connections.insert(id, gone);
        }
    }
}

fn read_all<T: DeserializeOwned>(
    documents: &Documents,
    wanted: &str,
) -> Result<BTreeMap<String, T>, Unreadable> {
    let found = documents.iter().filter(|((kind, _), _)| kind == wanted);
    let read = found.map(|((_, id), document)| match serde_json::from_str(document) {
        Ok(decision) => Ok((id.clone(), decision)),
        Err(source) => Err(Unreadable { id: id.clone(), source }),
    });
    read.collect()
}

fn write_all<T: Serialize>(of: &BTreeMap<String, T>, kind: &str, documents: &mut Documents) {
    for (id, decision) in of {
        // Cannot fail: strings, times after 1970 and names.
        let document = serde_json::to_string(decision).unwrap_or_default();
        documents.insert((kind.into(), id.clone()), document);
    }
}
