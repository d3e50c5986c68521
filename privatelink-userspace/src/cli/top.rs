//! `privatelink top`: what goes on, as it goes on.

mod draw;
mod events;
#[cfg(test)]
mod example;
mod history;
mod lines;
mod number;
mod page;
mod rates;
mod screen;
mod state;
mod terminal;
mod widths;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;

use anyhow::{Context, anyhow};
use tokio::sync::watch;

use self::draw::{Theme, draw};
use self::events::{Event, ask, events};
use self::state::Top;
use self::terminal::Guard;
use super::args::TopArgs;
use super::commands::runtime;
use super::failure::Failure;
use crate::control::Client;

/// Shows it until a key or a signal ends it.
pub(super) fn top(args: &TopArgs) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::mistake(anyhow!(
            "standard output is not a terminal, which top needs: use `privatelink flows --watch`, or the metrics"
        )));
    }
    runtime()?.block_on(show(args))
}

async fn show(args: &TopArgs) -> Result<(), Failure> {
    let client = Client::new(&args.socket);
    let mut top = Top::new(ask(&client, None).await?, args.interval);
    let (want, wanted) = watch::channel(top.wanted());
    // Signals are caught before there is anything to give back.
    let mut events = events(client, args.interval, wanted)
        .context("signals cannot be caught: raise the limit on open files")?;
    let mut terminal = Guard::take().context(NO_TERMINAL)?;
    let theme = Theme::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
    loop {
        terminal.draw(|frame| draw(frame, &top.screen(), theme)).context(NO_TERMINAL)?;
        match events.recv().await {
            Some(Event::Key(key)) => {
                if let ControlFlow::Break(()) = top.key(key) {
                    return Ok(());
                }
            }
            Some(Event::Resized) => {}
            Some(Event::Answer(answer)) => top.answer(answer.map_err(|error| error.to_string())),
            Some(Event::End) | None => return Ok(()),
        }
        want.send_if_modified(|wanted| {
            let is_new = *wanted != top.wanted();
            *wanted = top.wanted();
            is_new
        });
    }
}

/// What is wrong with a terminal that cannot be drawn on.
const NO_TERMINAL: &str = "the terminal cannot be drawn on: run top in another, or use the metrics";
