//! Why a check has failed.

use std::io;
use std::time::Duration;

use nix::libc::{ENETDOWN, ENODEV, ENXIO};

use super::state::Reason;

/// Why a check has failed: for programs, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) words: String,
}

impl Failure {
    /// The target could not be reached, or what it said makes no sense.
    pub(super) fn of_target(words: impl Into<String>) -> Self {
        Self { reason: Reason::FailedHealthChecks, words: words.into() }
    }

    /// The target's answer has another status than wanted.
    pub(super) fn status(words: String) -> Self {
        Self { reason: Reason::ResponseCodeMismatch, words }
    }

    /// Something was missing when the time was over.
    pub(super) fn timeout(missing: &str, timeout: Duration) -> Self {
        let words = format!("{missing} within {} s", timeout.as_secs_f64());
        Self { reason: Reason::Timeout, words }
    }

    /// We could not check.
    pub(super) fn internal(words: impl Into<String>) -> Self {
        Self { reason: Reason::InternalError, words: words.into() }
    }

    /// The connection, of which an interface's failure is one kind, was lost.
    pub(super) fn lost(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<InterfaceFailed>()) {
            Some(failed) => Self::internal(failed.to_string()),
            None => Self::of_target(match error.kind() {
                io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
                io::ErrorKind::UnexpectedEof => "connection closed before the answer".to_owned(),
                _ => error.to_string(),
            }),
        }
    }
}

/// Frames can neither be sent nor received on an interface.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the interface {0}")]
pub(super) struct InterfaceFailed(String);

impl From<&io::Error> for InterfaceFailed {
    fn from(error: &io::Error) -> Self {
        Self(match error.raw_os_error() {
            Some(ENETDOWN) => "is down".to_owned(),
            Some(ENODEV | ENXIO) => "is gone".to_owned(),
            _ => format!("carries no health checks: {error}"),
        })
    }
}

impl From<InterfaceFailed> for io::Error {
    fn from(failed: InterfaceFailed) -> Self {
        Self::other(failed)
    }
}
