//! What endpoints use, put into the books.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use privatelink_common::flow_table::PacketKey;

use super::{Running, lock};
use crate::api::{Hour, UsageQuery};
use crate::contents::counted_addresses;
use crate::datapath::DatapathError;
use crate::model::EndpointState;
use crate::numbers::{Kind, Numbers};
use crate::seldom::Seldom;
use crate::snapshot::Snapshot;
use crate::usage::{
    Accountant, Batch, Counted, CountedAddress, Ledger, LedgerError, Listing, Moment, Present,
    Subject, Wanted,
};

/// More is said of what fails only after this long.
const SILENCE: Duration = Duration::from_secs(600);

/// The books, and who keeps them. Whoever holds the ledger, or the model, may take the accountant; who holds that one takes
/// no other lock but to look at the model in force.
pub(super) struct Accounting {
    accountant: Mutex<Accountant>,
    ledger: Mutex<Ledger>,
    failures: AtomicU64,
    complaining: Mutex<Seldom>,
}

impl Accounting {
    /// Goes on with the books; where the counters are `new`, from zero.
    pub(super) fn new(mut ledger: Ledger, new: bool) -> Result<Self, LedgerError> {
        let accountant = Mutex::new(ledger.accountant(new)?);
        let (failures, complaining) = (AtomicU64::new(0), Mutex::new(Seldom::after(SILENCE)));
        Ok(Self { accountant, ledger: Mutex::new(ledger), failures, complaining })
    }

    /// How often the books could not be written.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn fail(&self, error: &dyn std::error::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if lock(&self.complaining).may(Instant::now()) {
            log::warn!("usage cannot be written, which is tried again each minute: {error}");
        }
    }
}

impl Running {
    /// Reads what was used since the last time, and writes it into the books. What cannot be written is written with
    /// what comes next.
    pub fn account(&self) {
        let mut ledger = lock(&self.accounting.ledger);
        let (snapshot, batch) = match self.batch() {
            Ok(read) => read,
            Err(error) => return self.accounting.fail(&error),
        };
        if let Err(error) = ledger.write(batch, snapshot.model.usage.days) {
            self.accounting.fail(&error);
        }
    }

    /// What is new since the last time, by the model that is in force. Nobody gets a number or an address meanwhile
    /// whose counters are another's: whoever gives one takes the accountant first.
    fn batch(&self) -> Result<(Arc<Snapshot>, Batch), DatapathError> {
        let mut accountant = lock(&self.accounting.accountant);
        let (snapshot, now) = (self.snapshot(), Moment::now());
        let (counts, used) = self.counted()?;
        accountant.count(now, &present(&snapshot), &counts);
        let stale = accountant.stale(now, |key| used.contains(key));
        self.flow_table.forget_addresses(&stale)?;
        accountant.close(now, &stale, &HashMap::new());
        Ok((snapshot, accountant.batch(now)))
    }

    /// Usage as a query asks for it, up to now.
    pub fn usage(&self, query: &UsageQuery) -> Result<Listing, LedgerError> {
        self.account();
        let wanted = Wanted::new(query, Hour::of(Moment::now().wall));
        let reading = lock(&self.accounting.ledger).rows(wanted.from.0, wanted.to.0)?;
        Ok(Listing::new(reading, wanted, self.snapshot().model.usage.prices.clone()))
    }

    /// Takes note that another model is in force.
    pub(super) fn note_usage(&self) {
        let mut accountant = lock(&self.accounting.accountant);
        accountant.note(Moment::now(), &present(&self.snapshot()));
    }

    /// Takes the last words of the counters of endpoints that are gone, before others get their numbers.
    pub(super) fn close_usage(&self, numbers: &Numbers, gone: &BTreeSet<(Kind, String)>) {
        let held = numbers.iter().filter(|(kind, key, _)| {
            *kind == Kind::Endpoint && gone.contains(&(*kind, (*key).to_owned()))
        });
        let endpoints: HashSet<u32> = held.map(|(_, _, number)| number).collect();
        if endpoints.is_empty() {
            return;
        }
        let mut accountant = lock(&self.accounting.accountant);
        let closed = self.flow_table.address_counts().and_then(|counts| {
            let is_gone = |key: &&CountedAddress| endpoints.contains(&key.endpoint.into());
            let keys: Vec<_> = counts.keys().filter(is_gone).copied().collect();
            let counts = counts.into_iter().map(|(key, counts)| (key, counts.into())).collect();
            accountant.close(Moment::now(), &keys, &counts);
            self.flow_table.forget_addresses(&keys)
        });
        if let Err(error) = closed {
            self.accounting.fail(&error);
        }
    }

    /// What the counters of addresses say, with the flows that live; and the addresses that live flows have.
    fn counted(
        &self,
    ) -> Result<(HashMap<CountedAddress, Counted>, HashSet<CountedAddress>), DatapathError> {
        // First: a flow that ends now is then in neither, and never in both.
        let mut counts = self.flow_table.address_counts()?;
        let mut used = HashSet::new();
        for flow in self.flow_table.flows() {
            let PacketKey { destination: address, vpc, .. } = flow.forward.key;
            // Fits: there are MAX_ENDPOINTS.
            let key = CountedAddress { address, vpc, endpoint: flow.endpoint as u16 };
            used.insert(key);
            if let Some(counts) = counts.get_mut(&key) {
                counts.add(&flow);
            }
        }
        Ok((counts.into_iter().map(|(key, counts)| (key, counts.into())).collect(), used))
    }
}

/// Who is there.
fn present(snapshot: &Snapshot) -> Vec<Present> {
    let model = &snapshot.model;
    let addresses = counted_addresses(model, &snapshot.numbering);
    let present = addresses.map(|(key, endpoint, at)| Present {
        key,
        subject: Subject {
            account: model.vpcs[endpoint.vpc].account.clone(),
            endpoint: endpoint.id.clone(),
            service: model.services[endpoint.service].id.clone(),
            zone: at.zone.clone(),
        },
        is_available: endpoint.state == EndpointState::Available,
    });
    present.collect()
}
