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
mod events;
mod file;
mod flow_limits;
mod health_check;
mod ip_address_types;
mod listen;
mod listeners;
mod logs;
mod names;
mod provider;
mod published;
mod source;
mod tags;
mod target_group_attributes;
#[cfg(test)]
mod tests;
mod timeouts;
mod usage;
mod values;
mod vpcs;

use std::path::Path;

use nix::net::if_::if_nametoindex;

pub use self::error::{Error, Errors, Place};
pub use self::source::{Addition, MAX_FILE_BYTES, Source};
use crate::log_writer;
use crate::model::Model;
use crate::webhook::secret;

/// Reads and checks the file at `path`, without asking what exists on this host.
///
/// # Errors
///
/// Everything wrong with the file, or the one reason it cannot be read.
pub fn load(path: &Path) -> Result<Model, Errors> {
    load_on_host(path, |_| true)
}

/// Reads and checks the file at `path`; what it needs of the host, and `has` says no to, is refused too.
///
/// [`host_has`] is the predicate for this host and the network namespace of the calling thread.
///
/// # Errors
///
/// As [`load`], and all that the host does not have.
pub fn load_on_host(path: &Path, has: impl Fn(Needed<'_>) -> bool) -> Result<Model, Errors> {
    Source::read(path)?.check(&[], has)
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

/// What a configuration needs of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed<'a> {
    /// A network interface of this name.
    Interface(&'a str),
    /// A file with a secret.
    Secret(&'a Path),
    /// A file that can be written, there or not yet.
    LogFile(&'a Path),
}

/// Says what a host has.
type Host<'h> = &'h dyn Fn(Needed<'_>) -> bool;

/// Whether this host, and the network namespace of the calling thread, has it.
pub fn host_has(needed: Needed<'_>) -> bool {
    match needed {
        Needed::Interface(name) => if_nametoindex(name).is_ok(),
        Needed::Secret(path) => secret::read(path).is_ok(),
        Needed::LogFile(path) => log_writer::is_writable(path),
    }
}
