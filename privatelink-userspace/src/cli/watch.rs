//! Showing something again and again.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::failure::Failure;
use super::stdout::offer;
use crate::control::ClientError;

/// Clears a terminal's screen: ECMA-48, CUP and ED.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Asks and shows what was answered, and so on after each pause, until SIGINT or SIGTERM ends it or nobody reads it any
/// more. An answer that has begun is shown to its end.
///
/// # Errors
///
/// Nobody answers, or it cannot be written.
pub(super) async fn watch<A>(
    pause: Duration,
    ask: impl AsyncFn() -> Result<A, ClientError>,
    show: impl AsyncFn(A) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut told_to_end = pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let clear = if io::stdout().is_terminal() { CLEAR } else { b"" };
    loop {
        let answer = tokio::select! {
            () = &mut told_to_end => return Ok(()),
            answer = ask() => answer?,
        };
        if offer(|out| out.write_all(clear))?.is_break() || show(answer).await?.is_break() {
            return Ok(());
        }
        tokio::select! {
            () = &mut told_to_end => return Ok(()),
            () = sleep(pause) => {}
        }
    }
}
