//! What has changed for endpoints between the decisions before and now.

use super::{Connection, Decisions};
use crate::api::{ConnectionChange, What};
use crate::model::EndpointState;
use crate::principal::root_arn;

impl Decisions {
    /// Every connection that is new or in another state, as an event; `message` is what an endpoint's owner has to say to the
    /// provider.
    pub fn changes_since<'m>(
        &self,
        before: &Self,
        message: impl Fn(&str) -> Option<&'m str>,
    ) -> Vec<What> {
        let mut changes = Vec::new();
        for (id, now) in &self.connections {
            let change = |before: Option<EndpointState>, of: &Connection| {
                let change = ConnectionChange {
                    endpoint: id.clone(),
                    service: of.service.clone(),
                    principal: root_arn(&of.account),
                    before,
                    state: of.state,
                    reason: of.reason.clone(),
                    request_message: message(id).unwrap_or_default().to_owned(),
                };
                event(change)
            };
            match before.connections.get(id) {
                Some(before) if is_successor(before, now) => {
                    if before.state != EndpointState::Deleting {
                        let mut gone = before.clone();
                        gone.delete(now.since);
                        changes.push(change(Some(before.state), &gone));
                    }
                    changes.push(change(None, now));
                }
                Some(before) if before.state == now.state => {}
                before => changes.push(change(before.map(|before| before.state), now)),
            }
        }
        changes
    }
}

/// Whether it is another connection, of an endpoint with the same id.
fn is_successor(before: &Connection, now: &Connection) -> bool {
    now.state != EndpointState::Deleting && !before.is_of(&now.service, &now.account)
}

fn event(change: ConnectionChange) -> What {
    match change.state {
        EndpointState::PendingAcceptance => What::Connect(change),
        EndpointState::Available if change.before.is_none() => What::Connect(change),
        EndpointState::Available => What::Accept(change),
        EndpointState::Rejected => What::Reject(change),
        EndpointState::Deleting => What::Delete(change),
        EndpointState::Failed => What::Fail(change),
        EndpointState::Expired => What::Expire(change),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn decisions(connection: Option<(&str, EndpointState)>) -> Decisions {
        let connection = connection.map(|(account, state)| {
            let new = Connection::new("vpce-svc-a", account, NOW);
            ("vpce-a".to_owned(), Connection { state, ..new })
        });
        Decisions { connections: connection.into_iter().collect(), ..Decisions::default() }
    }

    /// The events in words: kind, and from which state to which.
    fn told(
        before: Option<(&str, EndpointState)>,
        now: Option<(&str, EndpointState)>,
    ) -> Vec<String> {
        let changes = decisions(now).changes_since(&decisions(before), |_| Some("please"));
        let line = |what: What| {
            let name = what.name();
            let change = match what {
                What::Connect(change)
                | What::Accept(change)
                | What::Reject(change)
                | What::Delete(change)
                | What::Expire(change)
                | What::Fail(change) => change,
                other => panic!("{other:?}"),
            };
            assert_eq!(change.endpoint, "vpce-a");
            assert_eq!(change.request_message, "please");
            let before = change.before.map_or("", EndpointState::name);
            let account = &change.principal["arn:aws:iam::".len()..][..1];
            format!("{name} of {account}: {before}>{}", change.state.name())
        };
        changes.into_iter().map(line).collect()
    }

    #[test]
    fn each_change_is_an_event() {
        use EndpointState::{Available, Deleting, Expired, Failed, PendingAcceptance, Rejected};
        let one = |state| Some(("111111111111", state));
        let two = |state| Some(("222222222222", state));
        for (before, now, expected) in [
            (None, None, &[][..]),
            (None, one(PendingAcceptance), &["connect of 1: >pendingAcceptance"]),
            (None, one(Available), &["connect of 1: >available"]),
            (None, one(Failed), &["fail of 1: >failed"]),
            (one(PendingAcceptance), one(PendingAcceptance), &[]),
            (one(PendingAcceptance), one(Available), &["accept of 1: pendingAcceptance>available"]),
            (one(PendingAcceptance), one(Rejected), &["reject of 1: pendingAcceptance>rejected"]),
            (one(PendingAcceptance), one(Expired), &["expire of 1: pendingAcceptance>expired"]),
            (one(PendingAcceptance), one(Failed), &["fail of 1: pendingAcceptance>failed"]),
            (one(Available), one(Rejected), &["reject of 1: available>rejected"]),
            (one(Rejected), one(Available), &["accept of 1: rejected>available"]),
            (one(Failed), one(PendingAcceptance), &["connect of 1: failed>pendingAcceptance"]),
            (one(Available), one(Deleting), &["delete of 1: available>deleting"]),
            (one(Deleting), one(Deleting), &[]),
            (one(Deleting), None, &[]),
            // Declared anew before it was forgotten, or by another account.
            (one(Deleting), one(PendingAcceptance), &["connect of 1: >pendingAcceptance"]),
            (
                one(Available),
                two(Available),
                &["delete of 1: available>deleting", "connect of 2: >available"],
            ),
            (one(Deleting), two(Failed), &["fail of 2: >failed"]),
        ] {
            assert_eq!(told(before, now), expected, "{before:?} {now:?}");
        }
    }
}
