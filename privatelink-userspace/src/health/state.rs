//! Health of a target: states and reasons by AWS's names, and what the checks make of them.

/// State of a target, as [AWS's `TargetHealth`][1] names it.
///
/// [1]: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Initial,
    /// Gets new flows.
    Healthy,
    /// Gets no new flows.
    Unhealthy,
    /// Unhealthy, and its flows are given time to end.
    UnhealthyDraining,
    /// Removed from its group, and its flows are given time to end.
    Draining,
    /// In no group that a listener serves, or in none any more.
    Unused,
    /// Not checked.
    Unavailable,
}

impl State {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::UnhealthyDraining => "unhealthy.draining",
            Self::Draining => "draining",
            Self::Unused => "unused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a target is in its state, as AWS's `TargetHealth` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first check has not begun.
    RegistrationInProgress,
    /// Fewer checks have failed than make it unhealthy.
    InitialHealthChecking,
    /// We could not check.
    InternalError,
    /// HTTP with another status than wanted.
    ResponseCodeMismatch,
    /// No answer in time.
    Timeout,
    /// No connection, or an answer that makes no sense.
    FailedHealthChecks,
    /// No listener serves its group.
    NotInUse,
    /// It was removed from its group, and its deregistration delay is over.
    NotRegistered,
    /// It was removed from its group.
    DeregistrationInProgress,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::RegistrationInProgress,
        Self::InitialHealthChecking,
        Self::InternalError,
        Self::ResponseCodeMismatch,
        Self::Timeout,
        Self::FailedHealthChecks,
        Self::NotInUse,
        Self::NotRegistered,
        Self::DeregistrationInProgress,
    ];

    /// The reason with a code of AWS's.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// AWS's code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::RegistrationInProgress => "Elb.RegistrationInProgress",
            Self::InitialHealthChecking => "Elb.InitialHealthChecking",
            Self::InternalError => "Elb.InternalError",
            Self::ResponseCodeMismatch => "Target.ResponseCodeMismatch",
            Self::Timeout => "Target.Timeout",
            Self::FailedHealthChecks => "Target.FailedHealthChecks",
            Self::NotInUse => "Target.NotInUse",
            Self::NotRegistered => "Target.NotRegistered",
            Self::DeregistrationInProgress => "Target.DeregistrationInProgress",
        }
    }
}

/// A state and why it is so; a healthy target has no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The state.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
}

impl Health {
    /// Of a target that was never checked.
    pub const NEW: Self = Self::new(State::Initial, Reason::RegistrationInProgress);

    /// Of a target whose group no listener serves.
    pub const NOT_IN_USE: Self = Self::new(State::Unused, Reason::NotInUse);

    /// Of a target that was removed a moment ago.
    pub const DRAINING: Self = Self::new(State::Draining, Reason::DeregistrationInProgress);

    /// Of a target that was removed for longer than its deregistration delay, and has flows nevertheless.
    pub const NOT_REGISTERED: Self = Self::new(State::Unused, Reason::NotRegistered);

    const HEALTHY: Self = Self { state: State::Healthy, reason: None };

    const fn new(state: State, reason: Reason) -> Self {
        Self { state, reason: Some(reason) }
    }
}

/// Results in a row that change a target's state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) healthy: u8,
    pub(super) unhealthy: u8,
}

/// Follows the checks of one target.
///
/// The first success makes a new target healthy: "After your target is registered, it must pass one health
/// check to be considered healthy" ([Health Checks for Your Target Groups][1]); the healthy threshold is for
/// those that were unhealthy.
///
/// [1]: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html
#[derive(Debug)]
pub(super) struct Tracker {
    health: Health,
    /// Results in a row that speak against the state.
    contrary: u8,
}

impl Tracker {
    /// Of a target whose health is known from before, or [`Health::NEW`].
    pub(super) const fn new(health: Health) -> Self {
        Self { health, contrary: 0 }
    }

    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// A check begins.
    pub(super) fn begin(&mut self) {
        if self.health == Health::NEW {
            self.health = Health::new(State::Initial, Reason::InitialHealthChecking);
        }
    }

    /// A check has ended, well or for this reason.
    pub(super) fn end(&mut self, result: Result<(), Reason>, thresholds: Thresholds) {
        let unhealthy = self.health.state == State::Unhealthy;
        let (next, wanted) = match result {
            Ok(()) if unhealthy => (Health::HEALTHY, thresholds.healthy),
            Err(reason) if !unhealthy => {
                (Health::new(State::Unhealthy, reason), thresholds.unhealthy)
            }
            Ok(()) => (Health::HEALTHY, 0),
            Err(reason) => (Health::new(State::Unhealthy, reason), 0),
        };
        self.contrary += 1;
        if self.contrary >= wanted {
            (self.health, self.contrary) = (next, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { healthy: 3, unhealthy: 2 };

    /// What a row of checks comes to: `+` succeeds, `t` times out, `r` is refused, `5` answers 503, `!` could
    /// not be made.
    fn after(checks: &str) -> (&'static str, Option<&'static str>) {
        let mut tracker = Tracker::new(Health::NEW);
        for check in checks.chars() {
            tracker.begin();
            let result = match check {
                't' => Err(Reason::Timeout),
                'r' => Err(Reason::FailedHealthChecks),
                '5' => Err(Reason::ResponseCodeMismatch),
                '!' => Err(Reason::InternalError),
                _ => Ok(()),
            };
            tracker.end(result, THRESHOLDS);
        }
        let Health { state, reason } = tracker.health();
        (state.name(), reason.map(Reason::code))
    }

    #[test]
    fn checks_and_what_they_come_to() {
        for (checks, state, reason) in [
            ("", "initial", "Elb.RegistrationInProgress"),
            // A new target: one success is enough, one failure says nothing.
            ("+", "healthy", ""),
            ("t", "initial", "Elb.InitialHealthChecking"),
            ("t+", "healthy", ""),
            ("tt", "unhealthy", "Target.Timeout"),
            // A healthy one: only failures in a row count.
            ("+t", "healthy", ""),
            ("+t+t", "healthy", ""),
            ("+tt", "unhealthy", "Target.Timeout"),
            ("+t+tt", "unhealthy", "Target.Timeout"),
            ("t+t", "healthy", ""),
            // An unhealthy one: only successes in a row count, and the last failure is the reason.
            ("tt++", "unhealthy", "Target.Timeout"),
            ("tt+++", "healthy", ""),
            ("tt++t++", "unhealthy", "Target.Timeout"),
            ("tt++t+++", "healthy", ""),
            ("tr", "unhealthy", "Target.FailedHealthChecks"),
            ("tt5", "unhealthy", "Target.ResponseCodeMismatch"),
            ("tt+r", "unhealthy", "Target.FailedHealthChecks"),
            ("!!", "unhealthy", "Elb.InternalError"),
            // Healthy again: the count begins anew.
            ("tt+++t", "healthy", ""),
            ("tt+++tt", "unhealthy", "Target.Timeout"),
        ] {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            assert_eq!(after(checks), (state, reason), "{checks:?}");
        }
    }

    #[test]
    fn a_target_goes_on_with_the_health_it_had() {
        for (known, failures, state) in [
            (Health::NEW, 1, State::Initial),
            (Health::HEALTHY, 1, State::Healthy),
            (Health::HEALTHY, 2, State::Unhealthy),
        ] {
            let mut tracker = Tracker::new(known);
            for _ in 0..failures {
                tracker.begin();
                tracker.end(Err(Reason::Timeout), THRESHOLDS);
            }
            assert_eq!(tracker.health().state, state, "{known:?}");
        }
    }

    #[test]
    fn the_first_check_begins() {
        let mut tracker = Tracker::new(Health::NEW);
        tracker.begin();
        assert_eq!(tracker.health().reason, Some(Reason::InitialHealthChecking));
        tracker.end(Ok(()), THRESHOLDS);
        tracker.begin();
        assert_eq!(tracker.health(), Health::HEALTHY);
    }
}
