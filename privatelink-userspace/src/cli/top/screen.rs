//! What is to be seen, before it is drawn.

use std::time::Duration;

use super::history::History;
use super::lines::Line;
use super::number::short_or_none;
use super::page::View;
use super::rates::Rates;
use crate::api::Totals;
use crate::cli::output::duration;

/// What is to be seen.
#[derive(Debug)]
pub(super) struct Screen<'t> {
    /// What the daemon has said last.
    pub(super) totals: &'t Totals,
    /// How often it is asked.
    pub(super) interval: Duration,
    /// Whether it is not asked for now.
    pub(super) is_paused: bool,
    /// Why it has not answered.
    pub(super) fault: Option<&'t str>,
    /// Rates of everything together.
    pub(super) rates: Option<Rates>,
    /// Packets dropped per second.
    pub(super) drops: Option<f64>,
    /// Rates of the last minute.
    pub(super) history: &'t History,
    /// What is listed.
    pub(super) view: View,
    /// What stands above the lines.
    pub(super) title: String,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// Which of them is chosen.
    pub(super) chosen: Option<usize>,
    /// The filter, while it is typed.
    pub(super) typed: Option<&'t str>,
    /// Whether the keys are explained.
    pub(super) shows_help: bool,
}

impl Screen<'_> {
    /// The first line.
    pub(super) fn head(&self) -> String {
        let Self { totals, interval, .. } = self;
        let up = duration(totals.uptime_ms);
        let every = duration(interval.as_millis() as u64);
        format!("privatelink {}  up {up}  every {every}", totals.version)
    }

    /// What is not as usual.
    pub(super) const fn notice(&self) -> Option<&'static str> {
        match self.fault {
            Some(_) => Some("no answer, trying again"),
            None if self.is_paused => Some("paused: Space goes on"),
            None => None,
        }
    }

    /// Rates of everything together.
    pub(super) fn sums(&self) -> String {
        let of = |rate: fn(&Rates) -> f64| short_or_none(self.rates.as_ref().map(rate));
        format!(
            "B/s {} to targets, {} to clients  packets/s {}  new/s {}  drops/s {}",
            of(|rates| rates.to_target),
            of(|rates| rates.to_client),
            of(|rates| rates.packets),
            of(|rates| rates.new_flows),
            short_or_none(self.drops),
        )
    }

    /// How full the flow table is, 0 to 1: the fuller one, where flows with IPv6 have one of their own.
    pub(super) fn fill(&self) -> f64 {
        let table = &self.totals.flow_table;
        let fill = |held: u64, capacity: u64| held as f64 / capacity.max(1) as f64;
        let narrow = fill(table.held, table.capacity);
        let fuller = match table.ipv6_capacity {
            0 => narrow,
            capacity => narrow.max(fill(table.ipv6_held, capacity)),
        };
        fuller.clamp(0.0, 1.0)
    }

    /// How full the flow table is, in words.
    pub(super) fn filled(&self) -> String {
        let table = &self.totals.flow_table;
        let (flows, half_open) = (table.flows, table.half_open);
        let capacity = table.capacity + table.ipv6_capacity;
        format!("{flows} of {capacity} flows, {half_open} half-open")
    }
}
