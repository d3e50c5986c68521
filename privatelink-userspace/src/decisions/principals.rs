//! What was changed at run time in the list of a service's principals.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Changes of a list; `declared` is always the list of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principals {
    granted: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

impl Principals {
    /// Puts a principal on the list.
    pub fn allow(&mut self, declared: &[String], principal: &str) {
        self.revoked.remove(principal);
        if !declared.iter().any(|listed| listed == principal) {
            self.granted.insert(principal.to_owned());
        }
    }

    /// Takes a principal off the list.
    pub fn revoke(&mut self, declared: &[String], principal: &str) {
        self.granted.remove(principal);
        if declared.iter().any(|listed| listed == principal) {
            self.revoked.insert(principal.to_owned());
        }
    }

    /// Forgets the revocations that the configuration has caught up with: listed there anew, the principal is meant.
    pub fn follow(&mut self, declared: &[String]) {
        self.revoked.retain(|principal| declared.contains(principal));
    }

    /// The list.
    pub fn listed(&self, declared: &[String]) -> Vec<String> {
        let kept = declared.iter().filter(|principal| !self.revoked.contains(*principal));
        let added = self.granted.iter().filter(|principal| !declared.contains(principal));
        kept.chain(added).cloned().collect()
    }

    /// Whether the list is as the configuration has it.
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.revoked.is_empty()
    }
}
