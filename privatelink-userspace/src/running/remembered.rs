//! What is stored of draining and of health, so that the next daemon goes on with it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::standing::Standings;
use crate::draining::Since;
use crate::health::{Health, Reason, State, Status};
use crate::numbers::target_key;
use crate::snapshot::Snapshot;
use crate::store::Documents;

const DRAINING: &str = "draining";
const HEALTH: &str = "health";

/// A target's health in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    healthy: bool,
    reason: Option<String>,
}

/// Since when which targets drain.
pub(super) fn draining(documents: &Documents) -> Since {
    let of = documents.iter().filter(|((kind, _), _)| kind == DRAINING);
    // What cannot be read begins to drain now.
    of.filter_map(|((_, id), text)| Some((id.clone(), Duration::from_millis(text.parse().ok()?))))
        .collect()
}

/// Replaces what is stored of draining.
pub(super) fn set_draining(documents: &mut Documents, since: &Since) {
    documents.retain(|(kind, _), _| kind != DRAINING);
    documents.extend(
        since
            .iter()
            .map(|(id, time)| ((DRAINING.into(), id.clone()), time.as_millis().to_string())),
    );
}

/// How the targets of a model stood.
pub(super) fn health(documents: &Documents, snapshot: &Snapshot) -> Standings {
    let mut standings = Standings::default();
    let now = Instant::now();
    for (key, number) in targets(snapshot) {
        let stored = documents.get(&(HEALTH.into(), key));
        // What cannot be read is checked anew.
        let stored = stored.and_then(|text| serde_json::from_str::<Stored>(text).ok());
        let health = stored.and_then(|Stored { healthy, reason }| {
            if healthy {
                return Some(Health { state: State::Healthy, reason: None });
            }
            let reason = reason.and_then(|code| Reason::from_code(&code));
            Some(Health { state: State::Unhealthy, reason: Some(reason?) })
        });
        if let Some(health) = health {
            standings.set(number, Status { health, last_error: None, latency: None }, &[], now);
        }
    }
    standings
}

/// Replaces what is stored of health.
pub(super) fn set_health(documents: &mut Documents, snapshot: &Snapshot, standings: &Standings) {
    documents.retain(|(kind, _), _| kind != HEALTH);
    for (key, number) in targets(snapshot) {
        let Some(standing) = standings.get(number) else { continue };
        let Health { state, reason } = standing.status.health;
        let healthy = match state {
            State::Healthy => true,
            State::Unhealthy => false,
            _ => continue,
        };
        let reason = reason.map(|reason| reason.code().to_owned());
        if let Ok(text) = serde_json::to_string(&Stored { healthy, reason }) {
            documents.insert((HEALTH.into(), key), text);
        }
    }
}

fn targets(snapshot: &Snapshot) -> impl Iterator<Item = (String, u32)> {
    let model = &snapshot.model;
    snapshot
        .numbering
        .targets(model)
        .map(|(number, group, target)| (target_key(&model.target_groups[group], target), number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::numbers::Numbering;

    #[test]
    fn what_is_stored_is_read_back() {
        const OVERLAP: &str = include_str!("../../../examples/overlap.toml");
        let model = config::parse("overlap.toml", OVERLAP).unwrap();
        let numbering = Numbering::in_order(&model).unwrap();
        let snapshot = Snapshot::new(model, numbering);
        let healths = [
            Health { state: State::Healthy, reason: None },
            Health { state: State::Unhealthy, reason: Some(Reason::Timeout) },
        ];
        let mut standings = Standings::default();
        for (number, health) in (0..).zip(healths) {
            let status = Status { health, last_error: None, latency: None };
            standings.set(number, status, &[], Instant::now());
        }
        let since: Since = [("web/10.0.1.9:80".into(), Duration::from_millis(1234))].into();
        let mut documents = Documents::new();
        for _ in 0..2 {
            set_health(&mut documents, &snapshot, &standings);
            set_draining(&mut documents, &since);
        }
        assert_eq!(documents.len(), 3);
        assert_eq!(draining(&documents), since);
        let read = health(&documents, &snapshot);
        let found = [0, 1].map(|number| read.get(number).unwrap().status.health);
        assert_eq!(found, healths);
        documents.values_mut().for_each(|text| text.insert(0, '?'));
        assert!(draining(&documents).is_empty());
        assert_eq!(health(&documents, &snapshot).iter().count(), 0);
    }
}
