//! The configuration file: read, checked and resolved into a [`Model`].
//!
//! A file is accepted as a whole or refused with every mistake it holds, so that one round of
//! corrections is enough. Only a syntax error hides the mistakes behind it.

mod addresses;
mod attributes;
mod check;
mod consumer;
mod document;
mod error;
mod file;
mod flow_limits;
mod health_check;
mod listeners;
mod metrics;
mod names;
mod provider;
mod published;
mod source;
mod tags;
mod target_group_attributes;
#[cfg(test)]
mod tests;
mod timeouts;
mod values;
mod vpcs;

use std::path::Path;

use nix::net::if_::if_nametoindex;

pub use self::error::{Error, Errors, Place};
pub use self::source::{Addition, MAX_FILE_BYTES, Source};
use crate::model::Model;

/// Reads and checks the file at `path`, without asking what exists on this host.
///
/// # Errors
///
/// Everything wrong with the file, or the one reason it cannot be read.
pub fn load(path: &Path) -> Result<Model, Errors> {
    load_on_host(path, |_| true)
}

/// Reads and checks the file at `path`; interfaces for which `exists` says no are refused too.
///
/// [`interface_exists`] is the predicate for the network namespace of the calling thread.
///
/// # Errors
///
/// As [`load`], and every interface that does not exist.
pub fn load_on_host(path: &Path, exists: impl Fn(&str) -> bool) -> Result<Model, Errors> {
    Source::read(path)?.check(&[], exists)
}

/// Checks the text of a configuration file, without asking what exists on this host.
///
/// `path` only names the file in the errors.
///
/// # Errors
///
/// Everything wrong with the text.
pub fn parse(path: &str, text: &str) -> Result<Model, Errors> {
    Source::new(path, text).check(&[], |_| true)
}

/// Whether the network namespace of the calling thread has an interface of this name.
pub fn interface_exists(name: &str) -> bool {
    if_nametoindex(name).is_ok()
}
