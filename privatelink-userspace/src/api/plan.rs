//! What a reload would change.

use serde::{Deserialize, Serialize};

/// A change that a reload would make, `GET /v1/plan`: a resource that comes or goes, or an attribute of one that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    /// What happens to the resource.
    pub change: Change,
    /// Its kind, as the configuration file has it; `target`, and `gateway` for what stands above all tables.
    pub kind: String,
    /// Its id or name; a target's is `group/ip:port`.
    pub id: String,
    /// The attribute that changes, or empty.
    pub attribute: String,
    /// Its value in force.
    pub before: String,
    /// Its value after a reload.
    pub after: String,
    /// Flows that end with an endpoint or a target that goes; a flow may count for both.
    pub flows_cut: u64,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It comes.
    Add,
    /// It stays, with another attribute.
    Modify,
    /// It goes.
    Remove,
}

impl Change {
    /// Its name, e.g. `add`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Modify => "modify",
            Self::Remove => "remove",
        }
    }
}
