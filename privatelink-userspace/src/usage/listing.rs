//! Usage added up as it is asked for, one row after the other.

use std::collections::BTreeMap;
use std::vec;

use super::{Amounts, LedgerError, Reading, Subject};
use crate::api::{Hour, Party, Period, UsageQuery, UsageRow};
use crate::model::{Cost, Prices};

/// What is asked for, with all that the query leaves open.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From this hour on.
    pub from: Hour,
    /// Up to the beginning of this hour.
    pub to: Hour,
    by: Period,
    parties: Vec<Party>,
    query: UsageQuery,
}

impl Wanted {
    /// What a query asks for at the hour that it is.
    pub fn new(query: &UsageQuery, now: Hour) -> Self {
        let (from, to) = (query.from.unwrap_or_else(|| now.month()), query.to);
        let parties = query.group_by.as_ref().map(|parties| parties.0.clone());
        Self {
            from,
            to: to.unwrap_or_else(|| now.next()),
            by: query.by.unwrap_or_default(),
            parties: parties.unwrap_or_else(|| Party::ALL.into()),
            query: query.clone(),
        }
    }

    fn includes(&self, subject: &Subject) -> bool {
        let UsageQuery { account, endpoint, service, zone, .. } = &self.query;
        [
            (account, &subject.account),
            (endpoint, &subject.endpoint),
            (service, &subject.service),
            (zone, &subject.zone),
        ]
        .into_iter()
        .all(|(wanted, is)| wanted.as_ref().is_none_or(|wanted| wanted == is))
    }

    /// When the time of the row begins that an hour belongs to, and when it ends.
    fn span(&self, hour: Hour) -> (Hour, Hour) {
        let (begins, ends) = match self.by {
            Period::Hour => (hour, hour.next()),
            Period::Day => (hour.day(), hour.next_day()),
            Period::Month => (hour.month(), hour.next_month()),
            Period::Total => (self.from, self.to),
        };
        (begins.max(self.from), ends.min(self.to))
    }

    fn party(&self, party: Party, subject: &Subject) -> Option<String> {
        self.parties.contains(&party).then(|| {
            match party {
                Party::Account => &subject.account,
                Party::Endpoint => &subject.endpoint,
                Party::Service => &subject.service,
                Party::Zone => &subject.zone,
            }
            .clone()
        })
    }
}

#[derive(Default)]
struct Sum {
    hours: u64,
    amounts: Amounts,
    endpoint_cost: Cost,
    data_cost: Cost,
}

/// The rows, by time and then by party. Those of one time are in memory at once.
pub struct Listing {
    reading: Reading,
    wanted: Wanted,
    prices: Option<Prices>,
    span: Option<(Hour, Hour)>,
    sums: BTreeMap<[Option<String>; 4], Sum>,
    ready: vec::IntoIter<UsageRow>,
}

impl Listing {
    /// Of rows that are read, which are those wanted or more.
    pub fn new(reading: Reading, wanted: Wanted, prices: Option<Prices>) -> Self {
        let (span, sums) = (None, BTreeMap::new());
        Self { reading, wanted, prices, span, sums, ready: Vec::new().into_iter() }
    }

    fn add(&mut self, number: u32, amounts: &Amounts) -> Result<(), LedgerError> {
        let subject = self.reading.subject(number).ok_or(LedgerError::Damaged)?;
        if !self.wanted.includes(subject) {
            return Ok(());
        }
        let parties = Party::ALL.map(|party| self.wanted.party(party, subject));
        let sum = self.sums.entry(parties).or_default();
        sum.hours += 1;
        sum.amounts.add(amounts);
        if let Some(prices) = &self.prices {
            let rates = prices.of(&subject.zone);
            let bytes = u128::from(amounts.to_target) + u128::from(amounts.to_client);
            sum.endpoint_cost = sum.endpoint_cost.plus(rates.of_hours(1));
            sum.data_cost = sum.data_cost.plus(rates.of_bytes(bytes));
        }
        Ok(())
    }

    /// The rows of the time that is over.
    fn close(&mut self) -> Vec<UsageRow> {
        let Some((from, to)) = self.span.take() else {
            return Vec::new();
        };
        let sums = std::mem::take(&mut self.sums);
        let rows = sums.into_iter().map(|([account, endpoint, service, zone], sum)| {
            let money = |cost: Cost| self.prices.as_ref().map(|_| cost.to_string());
            UsageRow {
                from: from.to_string(),
                to: to.to_string(),
                account,
                endpoint,
                service,
                zone,
                endpoint_hours: sum.hours,
                endpoint_seconds: sum.amounts.seconds,
                new_flows: sum.amounts.flows,
                bytes_to_target: sum.amounts.to_target,
                bytes_to_client: sum.amounts.to_client,
                endpoint_cost: money(sum.endpoint_cost),
                data_cost: money(sum.data_cost),
                cost: money(sum.endpoint_cost.plus(sum.data_cost)),
                currency: self.prices.as_ref().map(|prices| prices.currency.clone()),
            }
        });
        rows.collect()
    }
}

impl Iterator for Listing {
    type Item = Result<UsageRow, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            let (hour, rows) = match self.reading.next() {
                Some(Ok(read)) => read,
                Some(Err(error)) => return Some(Err(error)),
                None if self.span.is_none() => return None,
                None => {
                    self.ready = self.close().into_iter();
                    continue;
                }
            };
            let span = self.wanted.span(Hour(hour));
            if self.span.is_some_and(|before| before != span) {
                self.ready = self.close().into_iter();
            }
            self.span = Some(span);
            for (subject, amounts) in rows {
                if let Err(error) = self.add(subject, &amounts) {
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
