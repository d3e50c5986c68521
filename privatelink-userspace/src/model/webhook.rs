//! Where events are posted.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use crate::api::EventKinds;

/// A server that takes events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it takes them; `http` or `https`, with a host.
    pub url: Uri,
    /// A file with the secret by which what is sent is signed.
    pub secret_file: Option<PathBuf>,
    /// Which events it gets.
    pub kinds: EventKinds,
    /// How long it may take to answer.
    pub timeout: Duration,
}
