//! What became of lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use privatelink_common::flow_event::Lost;

/// What became of the lines of one log since the daemon was started.
#[derive(Debug, Default)]
pub struct Fate {
    /// Lines written.
    pub written: AtomicU64,
    /// Lines given up since too many waited.
    pub crowded_out: AtomicU64,
    /// Lines given up since they could not be written.
    pub failed: AtomicU64,
}

impl Fate {
    /// Lines written, crowded out and failed.
    pub fn counts(&self) -> [u64; 3] {
        [&self.written, &self.crowded_out, &self.failed].map(|of| of.load(Ordering::Relaxed))
    }

    pub(super) fn count(counter: &AtomicU64, lines: u64) {
        counter.fetch_add(lines, Ordering::Relaxed);
    }
}

/// Of both logs.
#[derive(Debug, Default)]
pub struct LogFates {
    /// The flow log's.
    pub flow: Arc<Fate>,
    /// The access log's.
    pub access: Arc<Fate>,
    /// What the data path could not tell.
    pub untold: Untold,
}

/// Events that the data path had no room for since its maps were made.
#[derive(Debug, Default)]
pub struct Untold {
    ended: AtomicU64,
    refused: AtomicU64,
}

impl Untold {
    /// Notes how many there are.
    pub fn store(&self, lost: Lost) {
        self.ended.store(lost.ended, Ordering::Relaxed);
        self.refused.store(lost.refused, Ordering::Relaxed);
    }

    /// How many there were at the last look.
    pub fn load(&self) -> Lost {
        Lost {
            ended: self.ended.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
