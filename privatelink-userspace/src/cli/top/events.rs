//! What happens: keys, answers and signals, one after the other.

use std::time::Duration;

use crossterm::event::{self, KeyEvent, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::lines::Sample;
use super::state::Wanted;
use crate::api::FlowQuery;
use crate::control::{Client, ClientError, Question};

/// Events that wait to be taken.
const WAITING: usize = 64;

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A key is pressed.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// The daemon has answered, or not.
    Answer(Result<Sample, ClientError>),
    /// It is time to end: a signal has come, or the terminal is gone.
    End,
}

/// All that happens from now on; the daemon is asked every `pause` for what is wanted, and at once when that changes.
///
/// # Errors
///
/// Signals cannot be caught.
pub(super) fn events(
    client: Client,
    pause: Duration,
    wanted: watch::Receiver<Wanted>,
) -> std::io::Result<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::channel(WAITING);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let (mut signals, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            signals.recv().await;
            // An error means that all has ended anyway.
            let _ = sender.send(Event::End).await;
        });
    }
    let keys = sender.clone();
    std::thread::spawn(move || while keys.blocking_send(typed()).is_ok() {});
    tokio::spawn(async move { answers(&client, pause, wanted, &sender).await });
    Ok(events)
}

/// The next that happens at the terminal.
fn typed() -> Event {
    loop {
        match event::read() {
            Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => {
                return Event::Key(key);
            }
            Ok(event::Event::Resize(..)) => return Event::Resized,
            Ok(_) => {}
            Err(_) => return Event::End,
        }
    }
}

async fn answers(
    client: &Client,
    pause: Duration,
    mut wanted: watch::Receiver<Wanted>,
    to: &mpsc::Sender<Event>,
) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and a first answer is there already.
    ticks.reset();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = wanted.changed() => match changed {
                Ok(()) => ticks.reset(),
                Err(_) => return,
            }
        }
        let now = wanted.borrow_and_update().clone();
        if let Wanted::Sample(flows) = now {
            let answer = ask(client, flows.as_ref()).await;
            if to.send(Event::Answer(answer)).await.is_err() {
                return;
            }
        }
    }
}

/// Asks for totals, and for flows if there is a query for them.
///
/// # Errors
///
/// As all asking.
pub(super) async fn ask(client: &Client, flows: Option<&FlowQuery>) -> Result<Sample, ClientError> {
    let totals = client.ask(&Question::totals()).await?;
    let flows = match flows {
        Some(query) => client.ask(&Question::flows(query)).await?,
        None => Vec::new(),
    };
    Ok(Sample { totals, flows })
}
