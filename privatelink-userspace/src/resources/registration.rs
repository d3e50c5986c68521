//! Targets that come to a group and leave it at run time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What becomes of one target group's targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Targets that were registered, in the configuration's words, by address and port.
    targets: BTreeMap<String, Map<String, Value>>,
    /// Targets of the group's own that were deregistered: `10.0.1.10:8080`.
    deregistered: Vec<String>,
    /// Why it is not in force, if it is not.
    #[serde(skip)]
    pub failed: Option<String>,
}

impl Registration {
    /// Adds a target; one that was there gets what is new of it.
    pub fn register(&mut self, target: String, settings: Map<String, Value>) {
        self.deregistered.retain(|gone| *gone != target);
        self.targets.insert(target, settings);
    }

    /// Takes a target out; `own` says whether the group itself declares it.
    pub fn deregister(&mut self, target: String, own: bool) {
        self.targets.remove(&target);
        if own && !self.deregistered.contains(&target) {
            self.deregistered.push(target);
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.deregistered.is_empty()
    }

    /// As a table of the configuration.
    pub fn settings(&self, group: &str) -> Map<String, Value> {
        let targets: Vec<Value> = self.targets.values().cloned().map(Value::Object).collect();
        let deregistered: Vec<Value> =
            self.deregistered.iter().cloned().map(Value::String).collect();
        let settings = [
            ("target_group", Value::String(group.to_owned())),
            ("targets", Value::Array(targets)),
            ("deregistered", Value::Array(deregistered)),
        ];
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
