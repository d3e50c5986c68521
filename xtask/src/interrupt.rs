//! Ctrl-C, SIGTERM and SIGHUP as something to look at and to wait for, so that guards run instead of being cut off.

use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

struct Signals {
    taken_over: bool,
    seen: bool,
}

static SIGNALS: Mutex<Signals> = Mutex::new(Signals { taken_over: false, seen: false });
static CHANGED: Condvar = Condvar::new();

/// From here on the signals no longer end this process; a second one does not shorten a teardown either.
pub(crate) fn take_over() -> Result<()> {
    let mut signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    if !signals.taken_over {
        ctrlc::set_handler(note).context("cannot take over Ctrl-C")?;
        signals.taken_over = true;
    }
    Ok(())
}

fn note() {
    let mut signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    if signals.seen {
        eprintln!("already stopping");
    }
    signals.seen = true;
    CHANGED.notify_all();
}

/// Whether a signal has come.
pub(crate) fn seen() -> bool {
    SIGNALS.lock().unwrap_or_else(PoisonError::into_inner).seen
}

/// Fails when a signal has come, for the places between two steps.
pub(crate) fn check() -> Result<()> {
    ensure!(!seen(), "interrupted");
    Ok(())
}

/// Waits for a signal.
pub(crate) fn wait() {
    let signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    drop(CHANGED.wait_while(signals, |signals| !signals.seen));
}
