//! What has happened: the form in which the stream of the control API, the command line and the webhook tell it.

use serde::{Deserialize, Serialize};

use crate::model::EndpointState;

/// Something that has happened, `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// One more than that of the event before. A later daemon's are larger.
    pub id: u64,
    /// When, by RFC 3339, to the millisecond.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What has happened; the tag is its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// An endpoint asks its service for a connection, or gets it at once.
    Connect(ConnectionChange),
    /// An endpoint that had to wait, or was refused, may connect.
    Accept(ConnectionChange),
    /// The provider has rejected an endpoint.
    Reject(ConnectionChange),
    /// An endpoint is not declared any more.
    Delete(ConnectionChange),
    /// The provider has not answered an endpoint in time.
    Expire(ConnectionChange),
    /// An endpoint's service does not admit its account.
    Fail(ConnectionChange),
    /// The health of a target is another.
    TargetHealth(HealthChange),
    /// New flows find no NAT lease.
    LeaseExhausted(Refused),
    /// New flows find no room in the flow table, or none for their endpoint.
    FlowsRefused(Refused),
    /// The flow table has become fuller, or emptier.
    TablePressure(FillChange),
    /// Events are gone before this reader has read them.
    Lost {
        /// How many, of any kind.
        events: u64,
    },
}

/// The connection of an endpoint to its service is in another state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionChange {
    /// `vpce-…`.
    pub endpoint: String,
    /// `vpce-svc-…`.
    pub service: String,
    /// The account that owns the endpoint, as `allowed_principals` name it.
    pub principal: String,
    /// The state it was in; absent for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<EndpointState>,
    /// The state it is in.
    pub state: EndpointState,
    /// Why, in words.
    pub reason: String,
    /// What the owner of the endpoint has to say to the provider, if anything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_message: String,
}

/// The health of a target is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    /// Name of its target group.
    pub target_group: String,
    /// Its address and port.
    pub target: String,
    /// The state it was in, by AWS's names.
    pub before: String,
    /// The state it is in.
    pub state: String,
    /// AWS's code of why; absent for a healthy target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why the last check failed, in words; absent if it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// New flows are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Interface of the clients.
    pub interface: String,
    /// Vpc of the interface.
    pub vpc: String,
    /// Name of the drop reason.
    pub reason: String,
    /// Packets dropped since this was told last.
    pub packets: u64,
    /// What the reason means, and what to do.
    pub description: String,
}

/// The flow table has passed a mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillChange {
    /// How full it was.
    pub before: Fill,
    /// How full it is.
    pub state: Fill,
    /// Flows that have a place: those alive, and those that have ended and hold their lease.
    pub flows_held: u64,
    /// Most flows the table can hold.
    pub flows_max: u64,
}

/// How full the flow table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// There is room.
    Normal,
    /// At 80 %, and until it is below 75 %.
    High,
    /// At 95 %, and until it is below 90 %.
    Critical,
}

impl Fill {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Kinds of events that may be asked for; `lost` comes unasked.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum EventKind {
    /// An endpoint asks for a connection, or gets it at once.
    Connect,
    /// An endpoint may connect from now on.
    Accept,
    /// The provider has rejected an endpoint.
    Reject,
    /// An endpoint is not declared any more.
    Delete,
    /// The provider has not answered an endpoint in time.
    Expire,
    /// An endpoint's service does not admit its account.
    Fail,
    /// The health of a target is another.
    TargetHealth,
    /// New flows find no NAT lease.
    LeaseExhausted,
    /// New flows find no room in the flow table, or none for their endpoint.
    FlowsRefused,
    /// The flow table has become fuller, or emptier.
    TablePressure,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Accept,
        Self::Reject,
        Self::Delete,
        Self::Expire,
        Self::Fail,
        Self::TargetHealth,
        Self::LeaseExhausted,
        Self::FlowsRefused,
        Self::TablePressure,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Delete => "delete",
            Self::Expire => "expire",
            Self::Fail => "fail",
            Self::TargetHealth => "target_health",
            Self::LeaseExhausted => "lease_exhausted",
            Self::FlowsRefused => "flows_refused",
            Self::TablePressure => "table_pressure",
        }
    }
}

impl What {
    /// Its kind; `None` for [`What::Lost`].
    pub const fn kind(&self) -> Option<EventKind> {
        Some(match self {
            Self::Connect(_) => EventKind::Connect,
            Self::Accept(_) => EventKind::Accept,
            Self::Reject(_) => EventKind::Reject,
            Self::Delete(_) => EventKind::Delete,
            Self::Expire(_) => EventKind::Expire,
            Self::Fail(_) => EventKind::Fail,
            Self::TargetHealth(_) => EventKind::TargetHealth,
            Self::LeaseExhausted(_) => EventKind::LeaseExhausted,
            Self::FlowsRefused(_) => EventKind::FlowsRefused,
            Self::TablePressure(_) => EventKind::TablePressure,
            Self::Lost { .. } => return None,
        })
    }

    /// The name of its kind, as in its tag.
    pub fn name(&self) -> &'static str {
        self.kind().map_or("lost", EventKind::name)
    }
}

/// Kinds of events by name, comma separated; none of them is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventKinds(pub Vec<EventKind>);

impl EventKinds {
    /// Whether something is of these kinds; that events are lost is always.
    pub fn include(&self, what: &What) -> bool {
        let Self(wanted) = self;
        wanted.is_empty() || what.kind().is_none_or(|kind| wanted.contains(&kind))
    }
}

/// There is no kind of events of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: no kind of events; the kinds are {}", EventKind::ALL.map(EventKind::name).join(", "))]
pub struct UnknownKind {
    name: String,
}

impl std::str::FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownKind { name: name.to_owned() })
    }
}

impl TryFrom<String> for EventKinds {
    type Error = UnknownKind;

    fn try_from(names: String) -> Result<Self, UnknownKind> {
        names.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl From<EventKinds> for String {
    fn from(EventKinds(kinds): EventKinds) -> Self {
        kinds.into_iter().map(EventKind::name).collect::<Vec<_>>().join(",")
    }
}

/// Which events to tell, the query of `GET /v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only these kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventKinds>,
    /// Only those after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Whether to go on with what happens from now on, which it does if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_name() {
        let kinds = |names: &str| EventKinds::try_from(names.to_owned());
        let all = EventKind::ALL.map(EventKind::name).join(",");
        assert_eq!(kinds(&all), Ok(EventKinds(EventKind::ALL.into())));
        assert_eq!(String::from(kinds(&all).unwrap()), all);
        for (names, wrong) in [("", ""), ("accept,", ""), ("lost", "lost"), ("a,accept", "a")] {
            let said = kinds(names).unwrap_err().to_string();
            let expected = format!("{wrong}: no kind of events; the kinds are connect, accept, ");
            assert!(said.starts_with(&expected), "{names:?}: {said}");
        }
    }

    #[test]
    fn a_kind_has_one_name_everywhere() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            let value = clap::ValueEnum::to_possible_value(&kind).unwrap();
            assert_eq!(value.get_name(), kind.name());
        }
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            id: 7,
            time: "2026-11-21T19:00:00.123Z".into(),
            what: What::Accept(ConnectionChange {
                endpoint: "vpce-a".into(),
                service: "vpce-svc-a".into(),
                principal: "arn:aws:iam::222222222222:root".into(),
                before: Some(EndpointState::PendingAcceptance),
                state: EndpointState::Available,
                reason: "contract 7".into(),
                request_message: String::new(),
            }),
        };
        let text = r#"{"id":7,"time":"2026-11-21T19:00:00.123Z","kind":"accept","endpoint":"vpce-a","service":"vpce-svc-a","principal":"arn:aws:iam::222222222222:root","before":"pendingAcceptance","state":"available","reason":"contract 7"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event);
    }
}
