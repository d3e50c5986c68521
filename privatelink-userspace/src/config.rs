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
mod names;
mod provider;
mod published;
mod target_group_attributes;
#[cfg(test)]
mod tests;
mod timeouts;
mod values;
mod vpcs;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::net::if_::if_nametoindex;

pub use self::error::{Error, Errors, Place};
use crate::model::Model;

/// Largest configuration file read, in bytes: several times what a file at all limits needs.
///
/// Keeps a path such as `/dev/zero` from filling the memory.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Reads and checks the file at `path`, without asking what exists on this host.
///
/// # Errors
///
/// Everything wrong with the file, or the one reason it cannot be read.
pub fn load(path: &Path) -> Result<Model, Errors> {
    load_with(path, |_| true)
}

/// Reads and checks the file at `path`; interfaces for which `exists` says no are refused too.
///
/// [`interface_exists`] is the predicate for the network namespace of the calling thread.
///
/// # Errors
///
/// As [`load`], and every interface that does not exist.
pub fn load_on_host(path: &Path, exists: impl Fn(&str) -> bool) -> Result<Model, Errors> {
    load_with(path, exists)
}

/// Checks the text of a configuration file, without asking what exists on this host.
///
/// `path` only names the file in the errors.
///
/// # Errors
///
/// Everything wrong with the text.
pub fn parse(path: &str, text: &str) -> Result<Model, Errors> {
    check::check(path, text, &|_| true)
}

/// Whether the network namespace of the calling thread has an interface of this name.
pub fn interface_exists(name: &str) -> bool {
    if_nametoindex(name).is_ok()
}

fn load_with(path: &Path, exists: impl Fn(&str) -> bool) -> Result<Model, Errors> {
    let name = path.display().to_string();
    let bytes = read(path).map_err(|source| Errors::unreadable(&name, &source))?;
    match String::from_utf8(bytes) {
        Ok(text) => check::check(&name, &text, &exists),
        Err(refused) => {
            Err(Errors::not_utf8(&name, refused.as_bytes(), refused.utf8_error().valid_up_to()))
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
