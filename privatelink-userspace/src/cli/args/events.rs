//! Events: which, and how to show them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::api::{EventKind, EventKinds, EventQuery};
use crate::control::DEFAULT_SOCKET;

#[derive(Debug, Args)]
pub(in crate::cli) struct EventsArgs {
    /// Only events of this kind; may be repeated
    #[arg(long, value_name = "KIND", value_enum)]
    kind: Vec<EventKind>,
    /// Only events after the one with this id
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// Go on with what happens, until the daemon stops
    #[arg(short, long)]
    follow: bool,
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(in crate::cli) socket: PathBuf,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = EventsFormat::Table)]
    pub(in crate::cli) output: EventsFormat,
}

/// A line each, since there may be no last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum EventsFormat {
    /// For people
    Table,
    /// One object per line
    Json,
}

impl EventsArgs {
    /// What to ask for.
    pub(in crate::cli) fn event_query(&self) -> EventQuery {
        let kinds = Some(self.kind.clone()).filter(|kinds| !kinds.is_empty());
        EventQuery { kind: kinds.map(EventKinds), after: self.after, follow: Some(self.follow) }
    }
}
