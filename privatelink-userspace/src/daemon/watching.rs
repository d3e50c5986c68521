//! What is looked at once a second: packets dropped that an operator must hear of, and how full the flow table is.

use std::time::Instant;

use anyhow::Result;
use privatelink_common::drop_reason::DropReason;

use crate::api::{Fill, FillChange, Refused, What};
use crate::diagnostics::{Diagnostics, Finding};
use crate::events::fill;
use crate::running::Running;

/// What was seen so far.
pub(super) struct Watch {
    diagnostics: Diagnostics,
    fill: Fill,
}

impl Watch {
    /// What was dropped before this daemon is no news; that the table is full is.
    pub(super) fn begin(running: &Running) -> Result<Self> {
        let mut diagnostics = Diagnostics::default();
        for (attached, counts) in running.drop_counts()? {
            for &reason in DropReason::ALL {
                diagnostics.begin_with(&attached.link, reason, counts[reason as usize]);
            }
        }
        Ok(Self { diagnostics, fill: Fill::Normal })
    }

    /// Looks, and tells what is new.
    pub(super) fn look(&mut self, running: &Running) -> Result<()> {
        for (attached, counts) in running.drop_counts()? {
            for &reason in DropReason::ALL {
                let packets = counts[reason as usize];
                let (link, mode) = (&attached.link, attached.choice.mode);
                let found = self.diagnostics.observe(link, mode, reason, packets, Instant::now());
                if let Some(finding) = found {
                    tell(running, &attached.vpc, finding);
                }
            }
        }
        self.look_at_table(running);
        Ok(())
    }

    fn look_at_table(&mut self, running: &Running) {
        let table = running.flow_table();
        let ([held, wide_held], [capacity, wide_capacity]) = (table.held(), table.capacities());
        // The fuller one.
        let (flows_held, flows_max) = match wide_held * capacity > held * wide_capacity {
            true => (wide_held, wide_capacity),
            false => (held, capacity),
        };
        let (before, state) = (self.fill, fill(self.fill, flows_held, flows_max));
        if state != before {
            self.fill = state;
            let change = FillChange { before, state, flows_held, flows_max };
            running.events().tell(What::TablePressure(change));
        }
    }
}

/// Of what refuses flows there is an event, of all else a line in the log.
fn tell(running: &Running, vpc: &str, finding: Finding) {
    let kind = match finding.reason {
        DropReason::LeaseExhausted => What::LeaseExhausted,
        DropReason::FlowTableFull
        | DropReason::EndpointFlowLimit
        | DropReason::EndpointHalfOpenLimit => What::FlowsRefused,
        _ => return log::warn!("{finding}"),
    };
    let Finding { interface, reason, packets, description } = finding;
    let (vpc, reason) = (vpc.to_owned(), reason.name().to_owned());
    running.events().tell(kind(Refused { interface, vpc, reason, packets, description }));
}
