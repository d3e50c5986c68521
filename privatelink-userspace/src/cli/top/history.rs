//! The rates of the last minute, for charts.

use std::collections::VecDeque;

use super::rates::Rates;

/// How far back charts go, milliseconds.
const SPAN: u64 = 60_000;

/// Rates with the time they were measured over, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Span>);

/// Rates between two moments, each in milliseconds of the daemon's uptime.
#[derive(Debug)]
struct Span {
    from: u64,
    to: u64,
    rates: Rates,
}

impl History {
    /// Notes what was measured between two moments, and forgets what is too old.
    pub(super) fn note(&mut self, from: u64, to: u64, rates: Rates) {
        self.0.push_back(Span { from, to, rates });
        while self.0.front().is_some_and(|span| span.to + SPAN <= to) {
            self.0.pop_front();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The last minute in so many columns, the newest last: the most that was measured within each, 0 where nothing was.
    pub(super) fn columns(&self, count: usize, of: fn(&Rates) -> f64) -> Vec<u64> {
        let mut columns = vec![0_u64; count];
        let Some(end) = self.0.back().map(|span| span.to) else { return columns };
        for span in &self.0 {
            // Measured back from the newest; a span ends just before the moment it is named by.
            let column = |age: u64| (age as f64 / SPAN as f64 * count as f64) as usize;
            let (newest, oldest) =
                (column(end - span.to), column((end - span.from).saturating_sub(1)));
            for back in newest..=oldest.min(count.saturating_sub(1)) {
                if let Some(column) = columns.iter_mut().rev().nth(back) {
                    *column = (*column).max(of(&span.rates) as u64);
                }
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(packets: f64) -> Rates {
        Rates { packets, ..Rates::default() }
    }

    fn columns(history: &History, count: usize) -> Vec<u64> {
        history.columns(count, |rates| rates.packets)
    }

    #[test]
    fn nothing_is_a_flat_line() {
        assert_eq!(columns(&History::default(), 3), [0, 0, 0]);
        assert!(columns(&History::default(), 0).is_empty());
    }

    #[test]
    fn the_newest_stands_last_and_a_minute_is_kept() {
        let mut history = History::default();
        for second in 0..90 {
            history.note(second * 1000, (second + 1) * 1000, packets(second as f64));
        }
        assert_eq!(columns(&history, 60), (30..90).collect::<Vec<_>>());
        assert_eq!(columns(&history, 6), [39, 49, 59, 69, 79, 89], "the most of ten seconds");
        assert!(history.0.len() <= 61);
    }

    #[test]
    fn a_long_span_fills_all_its_columns() {
        let mut history = History::default();
        history.note(0, 30_000, packets(5.0));
        history.note(30_000, 50_000, packets(7.0));
        assert_eq!(columns(&history, 6), [0, 5, 5, 5, 7, 7]);
    }

    #[test]
    fn of_many_short_spans_the_most_is_seen() {
        let mut history = History::default();
        for (number, most) in [1.0, 9.0, 2.0, 3.0, 4.0].into_iter().enumerate() {
            let from = number as u64 * 200;
            history.note(from, from + 200, packets(most));
        }
        assert_eq!(columns(&history, 60)[58..], [0, 9]);
    }
}
