//! How the targets stand: their health, since when, and what follows from it with time.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::contents::zones::WHOLE_SHARE;
use crate::health::{Health, State, Status};
use crate::model::TargetGroupAttributes;

/// What is known of a target.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What its checks say.
    pub status: Status,
    /// Since when it is in its state.
    since: Instant,
    /// Whether it has become healthy beside others that were, and gets its share little by little.
    starts_slowly: bool,
}

impl Standing {
    /// Its health as it is shown: an unhealthy target is draining first, if its group says so.
    pub fn health(&self, attributes: &TargetGroupAttributes, now: Instant) -> Health {
        let Health { state, reason } = self.status.health;
        let drains = state == State::Unhealthy
            && !attributes.unhealthy_ends_flows
            && self.elapsed(now) < attributes.unhealthy_draining;
        Health { state: if drains { State::UnhealthyDraining } else { state }, reason }
    }

    fn is_healthy(&self) -> bool {
        self.status.health.state == State::Healthy
    }

    /// Whether its flows are to end, if the group has a healthy target.
    fn is_to_lose_its_flows(&self, attributes: &TargetGroupAttributes, now: Instant) -> bool {
        let waits_for_ever =
            !attributes.unhealthy_ends_flows && attributes.unhealthy_draining.is_zero();
        self.health(attributes, now).state == State::Unhealthy && !waits_for_ever
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// How all targets stand, by number.
#[derive(Clone, Debug, Default)]
pub struct Standings(BTreeMap<u32, Standing>);

impl Standings {
    /// How a target stands, once that is known.
    pub fn get(&self, number: u32) -> Option<&Standing> {
        self.0.get(&number)
    }

    /// Notes what the checks say of a target now; `beside` are all targets of its group.
    pub fn set(&mut self, number: u32, status: Status, beside: &[u32], now: Instant) {
        let before = self.0.get(&number);
        let (since, starts_slowly) = match before {
            Some(before) if before.status.health.state == status.health.state => {
                (before.since, before.starts_slowly)
            }
            _ => (now, beside.iter().any(|&other| other != number && self.is_healthy(other))),
        };
        self.0.insert(number, Standing { status, since, starts_slowly });
    }

    /// Forgets a target.
    pub fn remove(&mut self, number: u32) {
        self.0.remove(&number);
    }

    /// Every target of which something is known.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Standing)> {
        self.0.iter().map(|(&number, standing)| (number, standing))
    }

    /// Whether a target is healthy.
    pub fn is_healthy(&self, number: u32) -> bool {
        self.get(number).is_some_and(Standing::is_healthy)
    }

    /// How much of its weight a target counts for, of [`WHOLE_SHARE`].
    pub fn share(&self, number: u32, slow_start: Duration, now: Instant) -> u16 {
        let starts = self.get(number).filter(|standing| standing.starts_slowly);
        let elapsed = starts.map_or(slow_start, |standing| standing.elapsed(now));
        if elapsed >= slow_start {
            return WHOLE_SHARE;
        }
        // At least 1, so that it gets something at all.
        1 + (elapsed.as_secs_f64() / slow_start.as_secs_f64() * f64::from(WHOLE_SHARE - 1)) as u16
    }

    /// Which targets of a group are to lose their flows: clients find healthy ones when they connect again.
    pub fn condemned(
        &self,
        group: &[u32],
        attributes: &TargetGroupAttributes,
        now: Instant,
    ) -> HashSet<u32> {
        if !group.iter().any(|&number| self.is_healthy(number)) {
            return HashSet::new();
        }
        let is_condemned = |number: &u32| {
            let standing = self.get(*number);
            standing.is_some_and(|standing| standing.is_to_lose_its_flows(attributes, now))
        };
        group.iter().copied().filter(is_condemned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Reason;
    use crate::model::Protocols;

    const MINUTE: Duration = Duration::from_secs(60);
    const HEALTHY: Health = Health { state: State::Healthy, reason: None };
    const UNHEALTHY: Health = Health { state: State::Unhealthy, reason: Some(Reason::Timeout) };

    fn status(health: Health) -> Status {
        Status { health, last_error: None, latency: None }
    }

    fn standings(now: Instant, all: &[Health]) -> Standings {
        let numbers: Vec<u32> = (0..all.len() as u32).collect();
        let mut standings = Standings::default();
        for (&number, &health) in numbers.iter().zip(all) {
            standings.set(number, status(health), &numbers, now);
        }
        standings
    }

    #[test]
    fn what_an_unhealthy_target_loses_and_when() {
        let now = Instant::now();
        let at_once = TargetGroupAttributes::of(Protocols::Tcp);
        let never = TargetGroupAttributes { unhealthy_ends_flows: false, ..at_once.clone() };
        let late = TargetGroupAttributes { unhealthy_draining: MINUTE, ..never.clone() };
        let (part, whole) = (MINUTE / 2, MINUTE);
        for (attributes, after, state, condemned) in [
            (&at_once, Duration::ZERO, "unhealthy", true),
            (&never, whole, "unhealthy", false),
            (&late, part, "unhealthy.draining", false),
            (&late, whole, "unhealthy", true),
        ] {
            let group = standings(now, &[HEALTHY, UNHEALTHY]);
            let shown = group.get(1).unwrap().health(attributes, now + after);
            assert_eq!((shown.state.name(), shown.reason), (state, Some(Reason::Timeout)));
            let found = group.condemned(&[0, 1], attributes, now + after);
            assert_eq!(found, condemned.then_some(1).into_iter().collect());
            let alone = standings(now, &[UNHEALTHY, UNHEALTHY]);
            assert!(alone.condemned(&[0, 1], attributes, now + after).is_empty());
        }
    }

    #[test]
    fn another_reason_for_the_same_state_does_not_begin_it_anew() {
        let now = Instant::now();
        let mut group = standings(now, &[UNHEALTHY]);
        let other = Health { reason: Some(Reason::FailedHealthChecks), ..UNHEALTHY };
        group.set(0, status(other), &[0], now + MINUTE);
        let late = TargetGroupAttributes {
            unhealthy_ends_flows: false,
            unhealthy_draining: MINUTE,
            ..TargetGroupAttributes::of(Protocols::Tcp)
        };
        let shown = group.get(0).unwrap().health(&late, now + MINUTE);
        assert_eq!(shown, Health { state: State::Unhealthy, ..other });
    }

    #[test]
    fn a_share_grows_beside_healthy_ones_only() {
        let now = Instant::now();
        let group = standings(now, &[HEALTHY, HEALTHY]);
        let shares = [0, 1, 30, 59, 60, 90].map(|seconds| {
            let later = now + Duration::from_secs(seconds);
            [0, 1].map(|number| group.share(number, MINUTE, later))
        });
        assert_eq!(shares, [[16, 1], [16, 1], [16, 8], [16, 15], [16, 16], [16, 16]]);
        assert_eq!(group.share(1, Duration::ZERO, now), 16);
        assert_eq!(group.share(7, MINUTE, now), 16, "nothing is known of it");
    }
}
