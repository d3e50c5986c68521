//! `privatelink events`: each event on a line as it arrives.

use std::io::{self, Write};

use anyhow::Context as _;

use super::args::{EventsArgs, EventsFormat};
use super::commands::{runtime, unanswered};
use super::failure::Failure;
use super::stdout::written;
use crate::api::Event;
use crate::control::{Client, EventStream, Question};

/// Prints what has happened, and if asked to, what happens.
pub(super) fn events(args: &EventsArgs) -> Result<(), Failure> {
    let runtime = runtime()?;
    let question = Question::events(&args.event_query());
    let answer = runtime.block_on(Client::new(&args.socket).open(&question)).map_err(unanswered)?;
    let mut events = EventStream::new(answer);
    let mut out = io::stdout().lock();
    while let Some(event) = runtime.block_on(events.next())? {
        let line = match args.output {
            EventsFormat::Json => event,
            EventsFormat::Table => line(&event)?,
        };
        if written(writeln!(out, "{line}").and_then(|()| out.flush()))?.is_break() {
            break;
        }
    }
    Ok(())
}

/// An event for people: when, its kind, and what the daemon's log says of it.
fn line(event: &str) -> anyhow::Result<String> {
    let Event { id: _, time, what } = serde_json::from_str(event)
        .context("an event of the daemon makes no sense: is it of another version?")?;
    Ok(format!("{time}  {:<15}  {what}", what.name()))
}
