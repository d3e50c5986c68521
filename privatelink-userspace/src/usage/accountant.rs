//! From what counters say to what is new of it, and to which hour that belongs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Amounts, Counted, CountedAddress, Moment, Rows, Subject};
use crate::api::Hour;

/// How long an address keeps its counters once no endpoint has it: far longer than a CPU takes to open a flow.
const REST: Duration = Duration::from_secs(60);

/// An address that an endpoint has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// By what it is counted.
    pub key: CountedAddress,
    /// Whose it is.
    pub subject: Subject,
    /// Whether flows may be opened.
    pub is_available: bool,
}

/// An address that is, or was, counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whose it is.
    pub subject: Arc<Subject>,
    /// What of its counters is in the books.
    pub counted: Counted,
    /// Whether flows may be opened.
    pub is_available: bool,
    /// Since when no endpoint has it, by the clock since boot.
    pub gone: Option<Duration>,
}

/// What is to be written at once: either all of it is in the books, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What is new.
    pub rows: Rows,
    /// Up to where the counters are in the books with it.
    pub known: HashMap<CountedAddress, Known>,
    /// The moment, by the clock since boot.
    pub since_boot: Duration,
}

/// Knows what of the counters is in the books.
#[derive(Debug, Default)]
pub struct Accountant {
    known: HashMap<CountedAddress, Known>,
    /// Not in the books yet.
    fresh: Rows,
    /// Up to when time is accounted for, by the clock since boot.
    until: Option<Duration>,
    /// Whether nobody looked between then and now: the counters went on without a daemon.
    is_resumed: bool,
}

impl Accountant {
    /// One that goes on where the books end.
    pub fn resume(known: HashMap<CountedAddress, Known>, until: Option<Duration>) -> Self {
        Self { known, fresh: Rows::new(), until, is_resumed: true }
    }

    /// Takes note of who is there from now on.
    pub fn note(&mut self, now: Moment, present: &[Present]) {
        self.pass(now);
        let mut gone: HashMap<CountedAddress, Known> = std::mem::take(&mut self.known);
        for Present { key, subject, is_available } in present {
            let before = gone.remove(key);
            let (subject, counted) = match before {
                Some(before) if *before.subject == *subject => (before.subject, before.counted),
                // Its number may have been another's, who is not in the books any more.
                Some(before) if before.subject.endpoint == subject.endpoint => {
                    (Arc::new(subject.clone()), before.counted)
                }
                _ => (Arc::new(subject.clone()), Counted::default()),
            };
            self.fresh.entry((Hour::of(now.wall).0, subject.clone())).or_default();
            let known = Known { subject, counted, is_available: *is_available, gone: None };
            self.known.insert(*key, known);
        }
        self.known.extend(gone.into_iter().map(|(key, known)| {
            let gone = known.gone.or(Some(now.since_boot));
            (key, Known { is_available: false, gone, ..known })
        }));
    }

    /// Takes what the counters say, those of flows that live included. It belongs to the hour in which most of the time
    /// lies since they were read before; after a daemon was away, to the present one.
    pub fn count(
        &mut self,
        now: Moment,
        present: &[Present],
        counts: &HashMap<CountedAddress, Counted>,
    ) {
        let elapsed = match self.until {
            Some(until) if !self.is_resumed => now.since_boot.saturating_sub(until),
            _ => Duration::ZERO,
        };
        self.is_resumed = false;
        self.note(now, present);
        let hour = Hour::of(now.wall.saturating_sub(elapsed.as_secs().div_ceil(2))).0;
        for (key, counts) in counts {
            self.add(hour, key, counts);
        }
    }

    /// Takes the last words of counters that are no more.
    pub fn close(
        &mut self,
        now: Moment,
        keys: &[CountedAddress],
        counts: &HashMap<CountedAddress, Counted>,
    ) {
        for key in keys {
            if let Some(counts) = counts.get(key) {
                self.add(Hour::of(now.wall).0, key, counts);
            }
            self.known.remove(key);
        }
    }

    fn add(&mut self, hour: u32, key: &CountedAddress, counts: &Counted) {
        let Some(known) = self.known.get_mut(key) else {
            return;
        };
        // A flow that ends while the counters are read is in none of them for once: they have said less then than
        // before, and that is no reason to count it twice.
        let news = |before: &mut u64, now: u64| {
            let more = now.saturating_sub(*before);
            *before += more;
            more
        };
        let Counted { flows, to_target, to_client } = &mut known.counted;
        let amounts = Amounts {
            seconds: 0,
            flows: news(flows, counts.flows),
            to_target: news(to_target, counts.to_target),
            to_client: news(to_client, counts.to_client),
        };
        if amounts != Amounts::default() {
            self.fresh.entry((hour, known.subject.clone())).or_default().add(&amounts);
        }
    }

    /// The addresses that no endpoint has had for long enough, and no flow has.
    pub fn stale(
        &self,
        now: Moment,
        is_used: impl Fn(&CountedAddress) -> bool,
    ) -> Vec<CountedAddress> {
        let rested = |known: &Known| {
            known.gone.is_some_and(|gone| now.since_boot.saturating_sub(gone) >= REST)
        };
        let stale = self.known.iter().filter(|(key, known)| rested(known) && !is_used(key));
        stale.map(|(key, _)| *key).collect()
    }

    /// What is to be written.
    pub fn batch(&mut self, now: Moment) -> Batch {
        let rows = std::mem::take(&mut self.fresh);
        Batch { rows, known: self.known.clone(), since_boot: self.until.unwrap_or(now.since_boot) }
    }

    /// Those who were there until now have been for so much longer. Whole seconds only: the rest is left for the next
    /// time.
    fn pass(&mut self, now: Moment) {
        let until = self.until.unwrap_or(now.since_boot);
        let seconds = now.since_boot.saturating_sub(until).as_secs();
        self.until = Some(until + Duration::from_secs(seconds));
        let spans = spans(now.wall, seconds);
        for known in self.known.values().filter(|known| known.gone.is_none()) {
            for &(hour, seconds) in &spans {
                let seconds = if known.is_available { seconds } else { 0 };
                let amounts = Amounts { seconds, ..Amounts::default() };
                self.fresh.entry((hour, known.subject.clone())).or_default().add(&amounts);
            }
        }
    }
}

/// The hours that the last so many seconds lie in, and how many in each.
fn spans(wall: u64, seconds: u64) -> Vec<(u32, u64)> {
    let (mut end, mut left, mut spans) = (wall, seconds.min(wall), Vec::new());
    while left > 0 {
        let hour = Hour::of(end - 1);
        let part = left.min(end - hour.begins());
        spans.push((hour.0, part));
        (end, left) = (end - part, left - part);
    }
    spans
}

#[cfg(test)]
mod tests;
