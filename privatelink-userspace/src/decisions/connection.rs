//! The life of a connection: what an endpoint is to its service.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::model::EndpointState::{
    self, Available, Deleting, Expired, Failed, PendingAcceptance, Rejected,
};

/// How long an endpoint waits for its provider: as long as AWS's requests for a peering of vpcs do. AWS names no time for
/// endpoints.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

/// An endpoint as its service's owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Id of the service.
    pub service: String,
    /// Account that owns the endpoint's vpc.
    pub account: String,
    /// Its state.
    pub state: EndpointState,
    /// Since when.
    #[serde(with = "humantime_serde")]
    pub since: SystemTime,
    /// Why, in words.
    pub reason: String,
}

impl Connection {
    /// One that nobody has decided about.
    pub fn new(service: &str, account: &str, now: SystemTime) -> Self {
        Self {
            service: service.to_owned(),
            account: account.to_owned(),
            state: PendingAcceptance,
            since: now,
            reason: "waits for the provider to accept it".into(),
        }
    }

    /// Whether it is of this account at this service, and still declared.
    pub fn is_of(&self, service: &str, account: &str) -> bool {
        self.state != Deleting && self.service == service && self.account == account
    }

    /// Whether it has waited for too long.
    pub fn is_due(&self, now: SystemTime) -> bool {
        // A clock that was set back has not waited.
        let waited = now.duration_since(self.since).unwrap_or_default();
        self.state == PendingAcceptance && waited >= PATIENCE
    }

    /// Follows the rules of its service, which decide about whom the provider has not decided: once available or rejected,
    /// it stays so.
    pub fn follow(&mut self, admitted: bool, acceptance_required: bool, now: SystemTime) {
        let undecided = matches!(self.state, PendingAcceptance | Failed | Expired);
        match self.state {
            _ if undecided && admitted && !acceptance_required => {
                self.enter(Available, "the service requires no acceptance", now);
            }
            PendingAcceptance if !admitted => {
                let reason = format!("the service does not admit account {}", self.account);
                self.enter(Failed, &reason, now);
            }
            PendingAcceptance if self.is_due(now) => {
                self.enter(Expired, "the provider has not answered within 7 days", now);
            }
            Failed if admitted => *self = Self::new(&self.service, &self.account, now),
            _ => {}
        }
    }

    /// Accepts or rejects it; in that state already, it stays as it is.
    pub fn decide(&mut self, accept: bool, reason: &str, now: SystemTime) {
        self.enter(if accept { Available } else { Rejected }, reason, now);
    }

    /// It is not declared any more.
    pub fn delete(&mut self, now: SystemTime) {
        self.enter(Deleting, "it is not declared any more", now);
    }

    fn enter(&mut self, state: EndpointState, reason: &str, now: SystemTime) {
        if self.state != state {
            (self.state, self.reason, self.since) = (state, reason.to_owned(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [EndpointState; 6] =
        [PendingAcceptance, Available, Rejected, Deleting, Failed, Expired];

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn in_state(state: EndpointState) -> Connection {
        Connection { state, reason: "before".into(), ..Connection::new("vpce-svc-a", "1", at(1)) }
    }

    fn assert_entered(connection: &Connection, state: EndpointState, now: u64, what: &str) {
        assert_eq!(connection.state, state, "{what}");
        let entered = connection.since == at(now) && connection.reason != "before";
        let same = *connection == in_state(state);
        assert!(entered || same, "{what}: {connection:?}");
    }

    #[test]
    fn rules_decide_about_whom_nobody_has_decided() {
        for (before, [open, by_acceptance, shut_out]) in [
            // Admitted without acceptance, admitted with, not admitted.
            (PendingAcceptance, [Available, PendingAcceptance, Failed]),
            (Failed, [Available, PendingAcceptance, Failed]),
            (Expired, [Available, Expired, Expired]),
            (Available, [Available, Available, Available]),
            (Rejected, [Rejected, Rejected, Rejected]),
            (Deleting, [Deleting, Deleting, Deleting]),
        ] {
            for (admitted, acceptance_required, after) in [
                (true, false, open),
                (true, true, by_acceptance),
                (false, true, shut_out),
                (false, false, shut_out),
            ] {
                let mut connection = in_state(before);
                connection.follow(admitted, acceptance_required, at(2));
                let what = format!("{before:?}, {admitted}, {acceptance_required}");
                assert_entered(&connection, after, 2, &what);
            }
        }
    }

    #[test]
    fn a_request_expires() {
        let last = 1 + PATIENCE.as_secs();
        for (before, now, after) in [
            (PendingAcceptance, 0, PendingAcceptance),
            (PendingAcceptance, last - 1, PendingAcceptance),
            (PendingAcceptance, last, Expired),
            (Available, last, Available),
            (Rejected, last, Rejected),
        ] {
            let mut connection = in_state(before);
            assert_eq!(connection.is_due(at(now)), before != after);
            connection.follow(true, true, at(now));
            assert_entered(&connection, after, now, &format!("{before:?} at {now}"));
        }
    }

    #[test]
    fn the_provider_may_change_his_mind() {
        for before in ALL {
            for (accept, after) in [(true, Available), (false, Rejected)] {
                let mut connection = in_state(before);
                connection.decide(accept, "because", at(2));
                assert_entered(&connection, after, 2, &format!("{before:?}, {accept}"));
            }
        }
    }

    #[test]
    fn what_is_deleted_is_not_known_again() {
        for before in ALL {
            let mut connection = in_state(before);
            connection.delete(at(2));
            assert_entered(&connection, Deleting, 2, before.name());
            assert!(!connection.is_of("vpce-svc-a", "1"));
        }
    }

    #[test]
    fn documents_have_times_that_people_can_read() {
        let mut connection = Connection::new("vpce-svc-a", "111111111111", at(0));
        connection.decide(false, "not now", at(86_400));
        let document = serde_json::to_string(&connection).unwrap();
        assert_eq!(
            document,
            r#"{"service":"vpce-svc-a","account":"111111111111","state":"rejected","since":"1970-01-02T00:00:00Z","reason":"not now"}"#
        );
        assert_eq!(serde_json::from_str::<Connection>(&document).unwrap(), connection);
    }
}
