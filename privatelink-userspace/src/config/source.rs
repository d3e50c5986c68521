//! The text of a configuration: a file, and what is declared beside it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::{Errors, Parts};
use super::{Needed, check};
use crate::model::Model;

/// Largest configuration file read, in bytes: several times what a file at all limits needs.
///
/// Keeps a path such as `/dev/zero` from filling the memory.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// The text of a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
}

/// A resource that is declared beside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// What errors call it, e.g. `endpoint vpce-1`.
    pub name: String,
    /// The resource as a table of the file, e.g. `[[endpoint]]` and its keys.
    pub text: String,
}

impl Source {
    /// A text; `name` names it in errors.
    pub fn new(name: &str, text: &str) -> Self {
        // Some editors begin a file with a byte order mark; it must not count as a column.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// The one reason it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Errors> {
        let name = path.display().to_string();
        let bytes = read(path).map_err(|source| Errors::unreadable(&name, &source))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Self::new(&name, text)),
            Err(refused) => Err(Errors::not_utf8(&name, &bytes, refused.valid_up_to())),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks the file with these additions; what it needs of this host, and `has` says no to, is refused too.
    ///
    /// # Errors
    ///
    /// Everything wrong with the file and the additions.
    pub fn check(
        &self,
        additions: &[Addition],
        has: impl Fn(Needed<'_>) -> bool,
    ) -> Result<Model, Errors> {
        let mut text = self.text.clone();
        let mut starts = Vec::new();
        for addition in additions {
            text.push('\n');
            starts.push((text.len(), addition.name.clone()));
            text.push_str(&addition.text);
        }
        check::check(&text, Parts { file: &self.name, additions: &starts }, &has)
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
