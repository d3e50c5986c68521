//! What endpoints have used: which of it, and a row of it, `GET /v1/usage`.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};

use super::hour::Hour;

/// Which usage, and how it is added up; the query of `GET /v1/usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// From this hour on; from the first of this month if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Hour>,
    /// Up to the beginning of this hour; to the end of the present one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Hour>,
    /// Only that of this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only that of the endpoints of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only that of the endpoints of this endpoint service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only that in this zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How long a row's time is; an hour if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Period>,
    /// What rows are told apart by; everything if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Parties>,
}

/// How long the time of a row is, by UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// An hour
    #[default]
    Hour,
    /// A day
    Day,
    /// A month
    Month,
    /// All of the time asked for
    Total,
}

/// Whose usage a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The account that owns the endpoint's vpc.
    Account,
    /// The endpoint.
    Endpoint,
    /// The endpoint service.
    Service,
    /// The zone of the endpoint's address.
    Zone,
}

impl Party {
    /// All, in the order of a row.
    pub const ALL: [Self; 4] = [Self::Account, Self::Endpoint, Self::Service, Self::Zone];

    /// Its name, as a field of a row.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Endpoint => "endpoint",
            Self::Service => "service",
            Self::Zone => "zone",
        }
    }
}

impl ValueEnum for Party {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// What rows are told apart by; in a query, names with commas between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Parties(pub Vec<Party>);

/// Usage is not told apart by this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: usage is not kept by that; group by any of {}", Party::ALL.map(Party::name).join(", "))]
pub struct UnknownParty {
    name: String,
}

impl TryFrom<String> for Parties {
    type Error = UnknownParty;

    fn try_from(names: String) -> Result<Self, UnknownParty> {
        let party = |name: &str| {
            let found = Party::ALL.into_iter().find(|party| party.name() == name);
            found.ok_or_else(|| UnknownParty { name: name.to_owned() })
        };
        names.split(',').map(party).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Parties> for String {
    fn from(Parties(parties): Parties) -> Self {
        parties.into_iter().map(Party::name).collect::<Vec<_>>().join(",")
    }
}

/// What was used in some time. Money is an exact decimal number; it is there only if the configuration has prices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// When its time begins, by RFC 3339.
    pub from: String,
    /// When its time ends.
    pub to: String,
    /// Account that owns the endpoint's vpc; as all parties, only if rows are told apart by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `vpce-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `vpce-svc-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Availability zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Hours in any part of which an endpoint was there, for each of its zones.
    pub endpoint_hours: u64,
    /// Seconds for which an endpoint was `available`, for each of its zones.
    pub endpoint_seconds: u64,
    /// Flows opened.
    pub new_flows: u64,
    /// Bytes forwarded to targets.
    pub bytes_to_target: u64,
    /// Bytes forwarded to clients.
    pub bytes_to_client: u64,
    /// What the endpoint-hours cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_cost: Option<String>,
    /// What the bytes cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_cost: Option<String>,
    /// What both cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// Three letters of ISO 4217.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_by_name() {
        let parties = |names: &str| Parties::try_from(names.to_owned());
        assert_eq!(parties("account,endpoint,service,zone"), Ok(Parties(Party::ALL.into())));
        assert_eq!(String::from(parties("zone,account").unwrap()), "zone,account");
        for (names, wrong) in [("", ""), ("zone,", ""), ("vpc", "vpc"), ("zone,Zone", "Zone")] {
            let said = parties(names).unwrap_err().to_string();
            let expected =
                "usage is not kept by that; group by any of account, endpoint, service, zone";
            assert_eq!(said, format!("{wrong}: {expected}"), "{names}");
        }
    }
}
