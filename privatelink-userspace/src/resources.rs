//! Resources that were made through the control API: declared in the configuration's words, beside the file.
//!
//! Each is stored as one document. What the file and they declare together is checked as a whole, as if they stood at the
//! end of the file; so there is one set of rules, and the file goes first where the two are at odds.

mod changes;
mod declaration;
mod kind;
mod registration;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::changes::{Made, targets_of};
pub use self::declaration::{Declaration, Declared, Origin};
pub use self::kind::{Reference, ResourceKind};
pub use self::registration::Registration;
use crate::config::Addition;
use crate::store::Documents;

/// Kind of the documents on resources, by kind and id.
const RESOURCE: &str = "resource";
/// Kind of the documents on registered targets, by the names of the target groups.
const REGISTRATION: &str = "registration";

/// Which resource.
pub type ResourceId = (ResourceKind, String);

/// A resource that was made through the control API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its table in the configuration's words, id or name included.
    pub settings: Map<String, Value>,
    /// By which the same request is known again.
    pub client_token: Option<String>,
    /// What the request that made it said.
    pub created_with: Map<String, Value>,
    /// Why it is not in force, if it is not.
    #[serde(skip)]
    pub failed: Option<String>,
}

/// All of them, and the targets that were registered and deregistered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    held: BTreeMap<ResourceId, Resource>,
    registrations: BTreeMap<String, Registration>,
}

/// A stored resource has a form that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stored {id} cannot be read ({source}): run the version of privatelink that wrote it, or choose another --state-dir"
)]
pub struct Unreadable {
    id: String,
    source: serde_json::Error,
}

impl Resources {
    /// Those that are stored.
    ///
    /// # Errors
    ///
    /// One cannot be read.
    pub fn read(documents: &Documents) -> Result<Self, Unreadable> {
        let mut read = Self::default();
        for ((kind, id), text) in documents {
            let unreadable = |source| Unreadable { id: id.clone(), source };
            if kind == RESOURCE
                && let Some((kind, name)) = id.split_once(' ')
                && let Some(kind) = ResourceKind::of_table(kind)
            {
                let resource = serde_json::from_str(text).map_err(unreadable)?;
                read.held.insert((kind, name.to_owned()), resource);
            } else if kind == REGISTRATION {
                let registration = serde_json::from_str(text).map_err(unreadable)?;
                read.registrations.insert(id.clone(), registration);
            }
        }
        Ok(read)
    }

    /// Replaces those among the documents by these.
    pub fn write(&self, documents: &mut Documents) {
        documents.retain(|(kind, _), _| kind != RESOURCE && kind != REGISTRATION);
        for ((kind, id), resource) in &self.held {
            // Cannot fail: what was read from JSON.
            let text = serde_json::to_string(resource).unwrap_or_default();
            documents.insert((RESOURCE.into(), format!("{} {id}", kind.table())), text);
        }
        for (group, registration) in &self.registrations {
            let text = serde_json::to_string(registration).unwrap_or_default();
            documents.insert((REGISTRATION.into(), group.clone()), text);
        }
    }

    /// The resource with an id.
    pub fn get(&self, id: &ResourceId) -> Option<&Resource> {
        self.held.get(id)
    }

    /// Every resource.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Resource)> {
        self.held.iter()
    }

    /// Adds a resource, or replaces it.
    pub fn insert(&mut self, id: ResourceId, resource: Resource) {
        self.held.insert(id, resource);
    }

    /// Removes a resource.
    pub fn remove(&mut self, id: &ResourceId) {
        self.held.remove(id);
        if id.0 == ResourceKind::TargetGroup {
            self.registrations.remove(&id.1);
        }
    }

    /// What was registered with a target group and deregistered from it.
    pub fn registration(&mut self, group: &str) -> &mut Registration {
        self.registrations.entry(group.to_owned()).or_default()
    }

    /// Forgets the registrations that say nothing.
    pub fn tidy(&mut self) {
        self.registrations.retain(|_, registration| !registration.is_empty());
    }

    /// All that is in force: which each is, and as it is added to the file.
    fn additions(&self) -> (Vec<Part>, Vec<Addition>) {
        let resources = self.held.iter().filter(|(_, resource)| resource.failed.is_none());
        let resources = resources.map(|((kind, id), resource)| {
            let name = format!("{} {id}", kind.noun());
            let text = toml_of(kind.table(), &resource.settings);
            (Part::Resource((*kind, id.clone())), Addition { name, text })
        });
        let registrations = self.registrations.iter().filter(|(_, of)| of.failed.is_none());
        let registrations = registrations.map(|(group, registration)| {
            let name = format!("a target registered with {group}");
            let text = toml_of("registration", &registration.settings(group));
            (Part::Registration(group.clone()), Addition { name, text })
        });
        resources.chain(registrations).unzip()
    }

    /// As if none had failed.
    fn tried_again(mut self) -> Self {
        self.held.values_mut().for_each(|resource| resource.failed = None);
        self.registrations.values_mut().for_each(|of| of.failed = None);
        self
    }

    /// Why resources are not in force, of those that are not.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        let resources = self.held.values().filter_map(|of| of.failed.as_deref());
        resources.chain(self.registrations.values().filter_map(|of| of.failed.as_deref()))
    }

    fn has_failed(&self, part: &Part) -> bool {
        match part {
            Part::Resource(id) => self.held.get(id).is_some_and(|of| of.failed.is_some()),
            Part::Registration(group) => {
                self.registrations.get(group).is_some_and(|of| of.failed.is_some())
            }
        }
    }

    fn fail(&mut self, part: &Part, why: String) {
        match part {
            Part::Resource(id) => {
                if let Some(resource) = self.held.get_mut(id) {
                    resource.failed.get_or_insert(why);
                }
            }
            Part::Registration(group) => {
                self.registration(group).failed.get_or_insert(why);
            }
        }
    }
}

/// What an addition is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Resource(ResourceId),
    Registration(String),
}

/// What the configuration has no words for, if there is any: null, and numbers beyond 64 bits with a sign.
pub fn unspeakable(settings: &Map<String, Value>) -> Option<String> {
    toml::to_string(settings).err().map(|error| error.to_string().replace('\n', " "))
}

/// A table of the configuration, e.g. `[[endpoint]]` with these keys.
fn toml_of(table: &str, settings: &Map<String, Value>) -> String {
    let document = BTreeMap::from([(table, [settings])]);
    // Cannot fail: what is [`unspeakable`] was refused when it came.
    toml::to_string(&document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let mut resources = Resources::default();
        let settings: Map<String, Value> =
            serde_json::from_str(r#"{"id":"sg-b","vpc":"v","ingress":[{"protocol":"tcp"}]}"#)
                .unwrap();
        let resource = Resource {
            created_with: settings.clone(),
            settings,
            client_token: Some("token".into()),
            failed: None,
        };
        resources.insert((ResourceKind::SecurityGroup, "sg-b".into()), resource);
        resources.registration("web").deregister("10.0.1.10:8080".into(), true);
        let mut documents = Documents::new();
        documents.insert(("connection".into(), "vpce-a".into()), "{}".into());
        resources.write(&mut documents);
        assert_eq!(documents.len(), 3);
        assert_eq!(Resources::read(&documents).unwrap(), resources);
        resources.write(&mut documents);
        assert_eq!(documents.len(), 3);
        documents.values_mut().for_each(|text| text.insert(0, '?'));
        assert!(Resources::read(&documents).unwrap_err().to_string().contains("the stored"));
    }

    #[test]
    fn settings_become_a_table_of_the_file() {
        let settings = r#"{"attributes":{"stickiness.enabled":true},"listener":[{"port":"9000-9099"}],"name":"a\"b"}"#;
        let settings = serde_json::from_str(settings).unwrap();
        assert_eq!(
            toml_of("load_balancer", &settings),
            "[[load_balancer]]\nname = 'a\"b'\n\n[load_balancer.attributes]\n\"stickiness.enabled\" = true\n\n[[load_balancer.listener]]\nport = \"9000-9099\"\n"
        );
    }
}
