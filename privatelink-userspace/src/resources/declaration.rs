//! What is declared: the file and the resources beside it, and the model that they come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Part, ResourceId, ResourceKind, Resources};
use crate::config::{Addition, Errors, Source};
use crate::model::Model;

/// A file, the resources beside it, and the model that they come to.
#[derive(Clone, Debug, Default)]
pub struct Declaration {
    source: Source,
    /// The resources of the file; those that have no id are not there.
    in_file: Arc<BTreeMap<ResourceId, Map<String, Value>>>,
    /// The resources beside it.
    pub resources: Resources,
    /// What they come to.
    pub model: Model,
}

/// Where a resource is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File,
    /// By the control API.
    Api,
}

impl Origin {
    /// `file` or `api`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// A resource as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its kind and id.
    pub id: ResourceId,
    /// Where.
    pub origin: Origin,
    /// Its table in the configuration's words.
    pub settings: Map<String, Value>,
    /// Why it is not in force, if it is not.
    pub failed: Option<String>,
}

impl Declaration {
    /// Of a file that must be right, and resources of which those are left out that do not go with it: they are marked as
    /// failed.
    ///
    /// # Errors
    ///
    /// Everything wrong with the file.
    pub fn of(
        source: Source,
        mut resources: Resources,
        exists: impl Fn(&str) -> bool,
    ) -> Result<Self, Errors> {
        let in_file = Arc::new(resources_in(&source));
        resources.held.values_mut().for_each(|resource| resource.failed = None);
        resources.registrations.values_mut().for_each(|of| of.failed = None);
        loop {
            let (parts, additions): (Vec<Part>, Vec<Addition>) =
                resources.additions().into_iter().unzip();
            let errors = match source.check(&additions, &exists) {
                Ok(model) => return Ok(Self { source, in_file, resources, model }),
                Err(errors) => errors,
            };
            let failing: Vec<_> = errors
                .as_slice()
                .iter()
                .filter_map(|error| Some((parts.get(error.addition?)?, error.to_string())))
                .collect();
            if failing.is_empty() {
                // The file is at fault, or an addition makes it seem so: the first without which all is right.
                source.check(&[], &exists)?;
                let fits = |most: &usize| source.check(&additions[..*most], &exists).is_ok();
                let last = (1..additions.len()).take_while(fits).last().unwrap_or(0);
                resources.fail(&parts[last], errors.to_string());
            }
            for (part, why) in failing {
                resources.fail(part, why);
            }
        }
    }

    /// The same file with other resources, all of which must be right.
    ///
    /// # Errors
    ///
    /// Everything wrong with them.
    pub fn with(&self, resources: Resources) -> Result<Self, Errors> {
        let additions: Vec<Addition> =
            resources.additions().into_iter().map(|(_, addition)| addition).collect();
        // The file's interfaces were there when it was read.
        let model = self.source.check(&additions, |_| true)?;
        let (source, in_file) = (self.source.clone(), self.in_file.clone());
        Ok(Self { source, in_file, resources, model })
    }

    /// Why resources are not in force, of those that are not.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        let resources = self.resources.held.values().filter_map(|of| of.failed.as_deref());
        let registrations = self.resources.registrations.values();
        resources.chain(registrations.filter_map(|of| of.failed.as_deref()))
    }

    /// Every resource of a kind, those of the file first.
    pub fn all(&self, kind: ResourceKind) -> Vec<Declared> {
        let in_file = self.in_file.keys().filter(|id| id.0 == kind);
        let by_api = self.resources.iter().map(|(id, _)| id).filter(|id| id.0 == kind);
        in_file.chain(by_api).filter_map(|id| self.find(id)).collect()
    }

    /// The resource with an id.
    pub fn find(&self, id: &ResourceId) -> Option<Declared> {
        if let Some(settings) = self.in_file.get(id) {
            let (id, settings) = (id.clone(), settings.clone());
            return Some(Declared { id, origin: Origin::File, settings, failed: None });
        }
        let resource = self.resources.get(id)?;
        Some(Declared {
            id: id.clone(),
            origin: Origin::Api,
            settings: resource.settings.clone(),
            failed: resource.failed.clone(),
        })
    }

    /// The resources that refer to one.
    pub fn referring_to(&self, id: &ResourceId) -> Vec<Declared> {
        let all = ResourceKind::ALL.into_iter().flat_map(|kind| self.all(kind));
        let refers = |declared: &Declared| {
            let references = declared.id.0.references(&declared.settings);
            references.iter().any(|reference| reference.as_ref() == Ok(id))
        };
        all.filter(refers).collect()
    }
}

/// The resources of a file.
fn resources_in(source: &Source) -> BTreeMap<ResourceId, Map<String, Value>> {
    // One that is no TOML is refused elsewhere.
    let file: toml::Table = toml::from_str(source.text()).unwrap_or_default();
    let mut found = BTreeMap::new();
    for kind in ResourceKind::ALL {
        let tables = file.get(kind.table()).and_then(toml::Value::as_array);
        for table in tables.into_iter().flatten() {
            if let Ok(Value::Object(settings)) = serde_json::to_value(table)
                && let Some(id) = settings.get(kind.key()).and_then(Value::as_str)
            {
                found.insert((kind, id.to_owned()), settings);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Registration, Resource};
    use super::*;

    const OVERLAP: &str = include_str!("../../../examples/overlap.toml");

    fn endpoint(id: &str, address: &str) -> (ResourceId, Resource) {
        let settings = format!(
            r#"{{"id":"{id}","vpc":"vpc-consumer-a","service":"vpce-svc-0e123abc123198abc",
            "addresses":[{{"zone":"us-east-1a","address":"{address}"}}]}}"#
        );
        let settings: Map<String, Value> = serde_json::from_str(&settings).unwrap();
        let created_with = settings.clone();
        let resource = Resource { settings, client_token: None, created_with, failed: None };
        ((ResourceKind::Endpoint, id.to_owned()), resource)
    }

    fn declared(resources: Resources) -> Declaration {
        let source = Source::new("overlap.toml", OVERLAP);
        Declaration::of(source, resources, |_| true).unwrap()
    }

    #[test]
    fn resources_stand_beside_those_of_the_file() {
        let mut resources = Resources::default();
        let (id, resource) = endpoint("vpce-c", "10.0.3.1");
        resources.insert(id.clone(), resource);
        let declaration = declared(resources);
        assert_eq!(declaration.model.endpoints.len(), 3);
        let origins: Vec<_> =
            declaration.all(ResourceKind::Endpoint).iter().map(|of| of.origin.name()).collect();
        assert_eq!(origins, ["file", "file", "api"]);
        let service = (ResourceKind::Service, "vpce-svc-0e123abc123198abc".to_owned());
        assert_eq!(declaration.referring_to(&service).len(), 3);
        assert_eq!(declaration.find(&id).unwrap().failed, None);
    }

    #[test]
    fn one_that_does_not_fit_fails_alone_and_recovers() {
        let mut resources = Resources::default();
        for (id, address) in [("vpce-c", "10.0.3.1"), ("vpce-d", "10.0.1.10"), ("vpce-e", "ten")] {
            let (id, resource) = endpoint(id, address);
            resources.insert(id, resource);
        }
        let mut registration = Registration::default();
        registration.register("10.9.9.9:1".into(), Map::new());
        resources.registrations.insert("web".into(), registration);
        let declaration = declared(resources);
        let failed: Vec<_> = declaration
            .all(ResourceKind::Endpoint)
            .into_iter()
            .filter_map(|of| Some((of.id.1, of.failed?)))
            .collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert_eq!(failed[0].0, "vpce-d");
        assert!(
            failed[0].1.starts_with("endpoint vpce-d: \"10.0.1.10\": tcp/80 already published"),
            "{}",
            failed[0].1
        );
        assert!(failed[1].1.starts_with("endpoint vpce-e: \"ten\": not an"), "{}", failed[1].1);
        assert!(declaration.resources.registrations["web"].failed.is_some());
        assert_eq!(declaration.model.endpoints.len(), 3);
        let other = OVERLAP
            .replace(r#"address = "10.0.1.10" }]      #"#, r#"address = "10.0.1.12" }]      #"#);
        let source = Source::new("overlap.toml", &other);
        let later = Declaration::of(source, declaration.resources, |_| true).unwrap();
        assert_eq!(later.model.endpoints.len(), 4);
    }

    #[test]
    fn where_a_file_is_at_odds_with_a_resource_the_file_goes_first() {
        let mut resources = Resources::default();
        let (id, resource) = endpoint("vpce-c", "10.0.3.1");
        resources.insert(id, resource);
        let taken: Map<String, Value> =
            serde_json::from_str(r#"{"address":"10.0.0.10","port":1}"#).unwrap();
        resources.registration("web").register("10.0.0.10:1".into(), taken);
        let declaration = declared(resources);
        let failed = declaration.resources.registrations["web"].failed.clone().unwrap();
        assert!(failed.contains("already the address of a target of web"), "{failed}");
        assert_eq!(declaration.model.endpoints.len(), 3);
        assert_eq!(declaration.model.target_groups[0].targets.len(), 2);
    }

    #[test]
    fn what_is_wrong_with_the_file_is_the_files() {
        let mut resources = Resources::default();
        let (id, resource) = endpoint("vpce-c", "10.0.3.1");
        resources.insert(id, resource);
        let source = Source::new("f.toml", &OVERLAP.replace("port = 80\n", "port = 0\n"));
        let error = Declaration::of(source, resources, |_| true).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("f.toml:48:8: \"0\": "), "{error}");
    }

    #[test]
    fn registered_targets_come_and_go() {
        let targets = |edit: &dyn Fn(&mut Registration)| -> Vec<String> {
            let mut resources = Resources::default();
            edit(resources.registration("web"));
            let declaration = declared(resources);
            let targets = &declaration.model.target_groups[0].targets;
            targets.iter().map(|t| format!("{}:{}*{}", t.address, t.port, t.weight)).collect()
        };
        let settings = |text: &str| -> Map<String, Value> { serde_json::from_str(text).unwrap() };
        assert_eq!(
            targets(
                &|of| of.register("10.0.1.12:8080".into(), settings(r#"{"address":"10.0.1.12"}"#))
            ),
            ["10.0.1.10:8080*1", "10.0.1.11:8081*2", "10.0.1.12:8080*1"]
        );
        assert_eq!(
            targets(&|of| of.register(
                "10.0.1.10:8080".into(),
                settings(r#"{"address":"10.0.1.10","weight":7}"#)
            )),
            ["10.0.1.11:8081*2", "10.0.1.10:8080*7"]
        );
        assert_eq!(
            targets(&|of| of.deregister("10.0.1.10:8080".into(), true)),
            ["10.0.1.11:8081*2"]
        );
        assert_eq!(targets(&|of| of.deregister("10.0.1.99:1".into(), true)).len(), 2);
    }
}
