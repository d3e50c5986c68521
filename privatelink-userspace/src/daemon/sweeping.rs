//! What is done again and again beside the packets: ending what is due, and whatever else time brings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::running::Running;

/// Pause between two sweeps of the flow table, at least.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// A sweep may take this part of one CPU at most: the pause grows with the sweep.
const SWEEP_SHARE: u32 = 10;
/// The sweeping task; ended when dropped.
pub(super) struct Sweeper(JoinHandle<()>);

impl Sweeper {
    /// Starts the task.
    pub(super) fn start(running: Arc<Running>) -> Self {
        Self(tokio::spawn(sweep_for_ever(running)))
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn sweep_for_ever(running: Arc<Running>) {
    loop {
        let started = Instant::now();
        let running = running.clone();
        let sweep = move || {
            running.tidy();
            running.sweep()
        };
        match tokio::task::spawn_blocking(sweep).await {
            Ok(Ok(0)) => {}
            Ok(Ok(removed)) => log::debug!("{removed} flows removed"),
            Ok(Err(error)) => log::error!("flows cannot be swept: {error}"),
            Err(error) => log::error!("sweeping has failed: {error}"),
        }
        tokio::time::sleep(SWEEP_PAUSE.max(started.elapsed() * SWEEP_SHARE)).await;
    }
}
