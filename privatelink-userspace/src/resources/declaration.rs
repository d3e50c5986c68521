//! What is declared: the file and the resources beside it, and the model that they come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{ResourceId, ResourceKind, Resources};
use crate::config::{Error, Errors, Needed, Source};
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
        resources: Resources,
        has: impl Fn(Needed<'_>) -> bool,
    ) -> Result<Self, Errors> {
        let in_file = Arc::new(resources_in(&source));
        let mut resources = resources.tried_again();
        loop {
            let (parts, additions) = resources.additions();
            let errors = match source.check(&additions, &has) {
                Ok(model) => return Ok(Self { source, in_file, resources, model }),
                Err(errors) => errors,
            };
            let failing = at_fault(errors.as_slice());
            if failing.is_empty() {
                // The file is at fault, or there is too much of something: the first without which all is right.
                source.check(&[], &has)?;
                let fits = |most: &usize| source.check(&additions[..*most], &has).is_ok();
                let last = (1..additions.len()).take_while(fits).last().unwrap_or(0);
                resources.fail(&parts[last], errors.to_string());
            }
            for (index, why) in failing {
                resources.fail(&parts[index], why);
            }
        }
    }

    /// The same file with other resources, all of which must be right but those that have failed. These come back if they
    /// fit now; until then they bar others from what they claim, so that their return puts nothing out of force.
    ///
    /// # Errors
    ///
    /// Everything wrong with them.
    pub fn with(&self, resources: Resources) -> Result<Self, Errors> {
        let (_, additions) = resources.additions();
        // What the file needs of the host was there when it was read.
        let has = |_: Needed<'_>| true;
        let model = self.source.check(&additions, has)?;
        if resources.failures().next().is_none() {
            let (source, in_file) = (self.source.clone(), self.in_file.clone());
            return Ok(Self { source, in_file, resources, model });
        }
        let (parts, additions) = resources.clone().tried_again().additions();
        let was_right = |error: &Error| {
            error.addition.is_some_and(|index| !resources.has_failed(&parts[index]))
        };
        match self.source.check(&additions, has).map_err(|errors| errors.only(was_right)) {
            Err(Some(errors)) => Err(errors),
            _ => Self::of(self.source.clone(), resources, has),
        }
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

/// Which additions are at fault, and why; not those that only want what such a one has.
fn at_fault(errors: &[Error]) -> Vec<(usize, String)> {
    let wrong: BTreeSet<usize> = errors.iter().filter_map(|error| error.addition).collect();
    let by_another = |error: &&Error| {
        let another = error.against.filter(|other| Some(*other) != error.addition);
        another.is_some_and(|other| wrong.contains(&other))
    };
    let errors = errors.iter().filter(|error| !by_another(error));
    errors
        .filter_map(|error| Some((error.addition.or(error.against)?, error.to_string())))
        .collect()
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
    fn one_that_fails_takes_no_other_with_it() {
        let mut resources = Resources::default();
        let flaws = [
            ("service", Value::from("vpce-svc-none")),
            ("security_groups", serde_json::json!(["sg-none"])),
            ("vpc", Value::from("vpc-none")),
            ("limits", serde_json::json!({ "flows": 0 })),
        ];
        for (index, (key, flaw)) in flaws.into_iter().enumerate() {
            let address = format!("10.0.3.{index}");
            let (id, mut resource) = endpoint(&format!("vpce-1{index}"), &address);
            resource.settings.insert(key.into(), flaw);
            resources.insert(id, resource);
            let (id, resource) = endpoint(&format!("vpce-2{index}"), &address);
            resources.insert(id, resource);
        }
        let declaration = declared(resources);
        let all = declaration.all(ResourceKind::Endpoint);
        let failed: Vec<_> = all.iter().filter(|of| of.failed.is_some()).collect();
        let failed: Vec<_> =
            failed.iter().map(|of| (of.id.1.as_str(), of.failed.as_deref())).collect();
        let bad: Vec<_> = failed.iter().map(|(id, _)| *id).collect();
        assert_eq!(bad, ["vpce-10", "vpce-11", "vpce-12", "vpce-13"], "{failed:#?}");
    }

    #[test]
    fn one_that_has_failed_comes_back_and_keeps_its_claim_meanwhile() {
        let mut resources = Resources::default();
        let (id, mut resource) = endpoint("vpce-c", "10.0.3.1");
        resource.settings.insert("security_groups".into(), serde_json::json!(["sg-b"]));
        resources.insert(id.clone(), resource);
        let failed = declared(resources);
        assert!(failed.find(&id).unwrap().failed.is_some());
        let (other, taking) = endpoint("vpce-d", "10.0.3.1");
        let mut resources = failed.resources.clone();
        resources.insert(other, taking);
        let refused = failed.with(resources).unwrap_err().to_string();
        assert!(refused.contains("by endpoint vpce-c made at run time"), "{refused}");
        let group = serde_json::json!({ "id": "sg-b", "vpc": "vpc-consumer-a", "ingress": [] });
        let settings: Map<String, Value> = group.as_object().unwrap().clone();
        let created_with = settings.clone();
        let group = Resource { settings, client_token: None, created_with, failed: None };
        let mut resources = failed.resources.clone();
        resources.insert((ResourceKind::SecurityGroup, "sg-b".into()), group);
        let whole = failed.with(resources).unwrap();
        assert_eq!(whole.find(&id).unwrap().failed, None);
        assert_eq!(whole.model.endpoints.len(), 3);
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

    #[test]
    fn ipv6_targets_come_and_go_however_they_are_written() {
        let text = OVERLAP.replacen(
            "cidrs = [\"10.0.0.0/16\"]",
            "cidrs = [\"10.0.0.0/16\", \"fd00::/64\"]",
            1,
        ) + "[[target_group]]\nname = \"six\"\nvpc = \"vpc-provider\"\nprotocol = \"tcp\"\nport = 80\n\
               targets = [{ address = \"fd00:0::1:10\" }]\n";
        let source = Source::new("overlap.toml", &text);
        let declaration = Declaration::of(source, Resources::default(), |_| true).unwrap();
        let order = |address: &str, weight: u16| {
            let target = serde_json::json!({ "address": address, "weight": weight });
            crate::api::RegisterOrder { targets: vec![target.as_object().unwrap().clone()] }
        };
        let both = declaration.register("six", order("fd00::0:1:11", 3)).unwrap();
        let again = both.register("six", order("fd00::1:11", 4)).unwrap();
        let weights = again.model.target_groups[1].targets.iter();
        let weights: Vec<_> = weights.map(|of| (of.end().to_string(), of.weight)).collect();
        let [own, other] = ["[fd00::1:10]:80", "[fd00::1:11]:80"].map(str::to_owned);
        assert_eq!(weights, [(own, 1), (other.clone(), 4)]);
        let gone = crate::api::DeregisterOrder {
            targets: vec![crate::api::TargetAddress {
                address: "fd00::1:10".parse().unwrap(),
                port: None,
            }],
        };
        let left = again.deregister("six", &gone).unwrap();
        assert_eq!(super::super::targets_of(&left.model, "six"), [other].into());
        let refused = left.register("six", order("10.0.1.12", 1)).unwrap_err();
        assert!(refused.error.contains("is one of ipv6; put it into"), "{}", refused.error);
    }
}
