//! What a reload would change.

use std::collections::BTreeMap;

use super::desired::ModelError;
use super::{Running, lock};
use crate::api::PlanRow;
use crate::numbers::Kind;
use crate::plan;

impl Running {
    /// What [`Running::reload`] would change now.
    ///
    /// # Errors
    ///
    /// Those of [`Running::reload`].
    pub fn planned(&self) -> Result<Vec<PlanRow>, ModelError> {
        let targets = self.count_flows(|flow| flow.target);
        let desired = lock(&self.desired);
        let declared = self.declared_now(&desired)?;
        let before = self.snapshot();
        let next = desired.next(&before, &declared, desired.decisions.clone())?;
        let flows_of = |kind, number| match kind {
            Kind::Endpoint => self.flow_table.live_of(number),
            Kind::Target => targets.get(&number).copied().unwrap_or(0),
            _ => 0,
        };
        let numbers = desired.numbers.iter();
        let gone = numbers.filter(|(kind, id, _)| next.gone.contains(&(*kind, (*id).to_owned())));
        let flows: BTreeMap<String, u64> =
            gone.map(|(kind, id, number)| (id.to_owned(), flows_of(kind, number))).collect();
        Ok(plan::rows(&before.model, &next.snapshot.model, &flows))
    }
}
