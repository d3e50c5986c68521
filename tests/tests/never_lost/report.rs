//! What has become of a crowd.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::crowd::STREAMS;

/// A connection that did not end in order.
#[derive(Clone)]
pub(crate) struct Failure {
    /// Its target, where it was known.
    pub(crate) target: Option<u8>,
    /// Other bytes arrived than were sent.
    wrong_content: bool,
    what: String,
}

impl Failure {
    pub(crate) fn new(target: Option<u8>, which: &str, error: &io::Error) -> Self {
        let wrong_content = error.kind() == io::ErrorKind::InvalidData;
        Self { target, wrong_content, what: format!("{which}: {error}") }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

pub(crate) struct Report {
    pub(crate) took: Duration,
    /// Streams by target.
    pub(crate) streams: BTreeMap<u8, usize>,
    pub(crate) lost: Vec<Failure>,
    /// New connections, those that failed included.
    pub(crate) opened: u64,
    pub(crate) failed: Vec<Failure>,
    /// What targets say.
    pub(crate) complaints: Vec<Failure>,
}

impl Report {
    /// Says what came of a scenario, and insists that all is whole.
    pub(crate) fn assert_whole(&self, scenario: &str) {
        self.say(scenario, &self.lost, STREAMS as usize, "");
        assert!(self.failed.is_empty(), "{scenario}: {:#?}", self.failed);
        assert!(self.complaints.is_empty(), "{scenario}: {:#?}", self.complaints);
    }

    /// Says what came of a scenario that took a target away, and insists that all else is whole. A new connection
    /// that has failed may have been on its way to that target.
    pub(crate) fn assert_whole_but(&self, scenario: &str, gone: u8) {
        let is_gone = |failure: &&Failure| failure.target == Some(gone);
        let (ended, lost): (Vec<_>, Vec<_>) = self.lost.iter().cloned().partition(|f| is_gone(&f));
        let there = self.streams.get(&gone).copied().unwrap_or_default();
        let note = format!("; of {there} streams on that target {} ended", ended.len());
        self.say(scenario, &lost, STREAMS as usize - there, &note);
        let other: Vec<_> =
            self.failed.iter().filter(|f| f.target.is_some() && !is_gone(f)).collect();
        assert!(other.is_empty(), "{scenario}: {other:#?}");
        assert!(there > 0, "{scenario}: nobody was there");
    }

    fn say(&self, scenario: &str, lost: &[Failure], streams: usize, note: &str) {
        let all = self.lost.iter().chain(&self.failed).chain(&self.complaints);
        let wrong: Vec<_> = all.filter(|failure| failure.wrong_content).collect();
        println!(
            "{scenario}: {streams} streams, {} lost; {} new connections, {} failed; {} content errors{note}; {:.1} s",
            lost.len(),
            self.opened,
            self.failed.len(),
            wrong.len(),
            self.took.as_secs_f64()
        );
        assert!(wrong.is_empty(), "{scenario}: {wrong:#?}");
        assert!(lost.is_empty(), "{scenario}: {lost:#?}");
        assert_eq!(self.streams.values().sum::<usize>() as u64, STREAMS);
        assert!(self.opened > 0);
    }
}
