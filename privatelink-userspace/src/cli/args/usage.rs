//! Which usage to list, and how it is added up.

use clap::Args;

use super::QueryArgs;
use crate::api::{Hour, Parties, Party, Period, UsageQuery};

#[derive(Debug, Args)]
pub(in crate::cli) struct UsageArgs {
    /// From this time on: a date, or a full hour such as 2026-11-01T13:00:00Z [default: the first of this month]
    #[arg(long, value_name = "TIME")]
    from: Option<Hour>,
    /// Up to this time [default: the end of this hour]
    #[arg(long, value_name = "TIME")]
    to: Option<Hour>,
    /// Only that of this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only that of the endpoints of this account
    #[arg(long, value_name = "NUMBER")]
    account: Option<String>,
    /// Only that of the endpoints of this endpoint service
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    /// Only that in this zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// How long the time of a row is
    #[arg(long, value_name = "PERIOD", value_enum, default_value_t = Period::Hour)]
    by: Period,
    /// What rows are told apart by, separated by commas [default: everything]
    #[arg(long, value_name = "PARTY", value_enum, value_delimiter = ',')]
    group_by: Vec<Party>,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl UsageArgs {
    /// The part of the arguments the daemon needs.
    pub(in crate::cli) fn usage_query(&self) -> UsageQuery {
        let parties = Some(self.group_by.clone()).filter(|parties| !parties.is_empty());
        UsageQuery {
            from: self.from,
            to: self.to,
            endpoint: self.endpoint.clone(),
            account: self.account.clone(),
            service: self.service.clone(),
            zone: self.zone.clone(),
            by: Some(self.by),
            group_by: parties.map(Parties),
        }
    }
}
