//! What is wrong with a configuration file, one line per mistake.

use std::fmt;
use std::io;
use std::ops::Range;

/// Characters of the offending text that are shown; more would bury the cause.
const SHOWN_TEXT: usize = 60;

/// Everything wrong with a configuration file, in the order of the file; never empty.
///
/// Displayed as one line per mistake, without a trailing newline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Errors(Vec<Error>);

/// One mistake in a configuration file.
///
/// Displayed on one line: `FILE:LINE:COLUMN: "offending text": cause; remedy`, or
/// `FILE: cause; remedy` where no place in the file can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file, as the caller named it.
    pub file: String,
    /// Where in the file; `None` if the file could not be read at all.
    pub place: Option<Place>,
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The offending text: the start of its first line, without quotes around it.
    pub text: String,
}

impl Errors {
    /// The mistakes, in the order of the file.
    pub fn as_slice(&self) -> &[Error] {
        &self.0
    }

    /// The file could not be opened or read.
    pub(super) fn unreadable(file: &str, source: &io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::NotFound => "give the path of an existing file",
            io::ErrorKind::PermissionDenied => "make it readable for this user, or run as root",
            io::ErrorKind::IsADirectory => "give the path of a file, not of a directory",
            io::ErrorKind::FileTooLarge => "give the path of a configuration file",
            _ => "check the file and its file system",
        };
        Self(vec![Error {
            file: file.to_owned(),
            place: None,
            cause: format!("cannot be read: {source}"),
            remedy: remedy.to_owned(),
        }])
    }

    /// The file's bytes are not UTF-8 from offset `valid` on.
    pub(super) fn not_utf8(file: &str, bytes: &[u8], valid: usize) -> Self {
        let lines = Lines::new(bytes);
        let (line, column) = lines.position(bytes, valid);
        let text = bytes.get(valid).map(|byte| format!("\\x{byte:02x}")).unwrap_or_default();
        Self(vec![Error {
            file: file.to_owned(),
            place: Some(Place { line, column, text }),
            cause: "not UTF-8 text".to_owned(),
            remedy: "save the file as UTF-8".to_owned(),
        }])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, cause, remedy } = self;
        // Cause and remedy may quote names from elsewhere in the file.
        let (file, cause, remedy) = (plain(file), plain(cause), plain(remedy));
        match place {
            Some(Place { line, column, text }) => {
                write!(f, "{file}:{line}:{column}: \"{}\": {cause}; {remedy}", plain(text))
            }
            None => write!(f, "{file}: {cause}; {remedy}"),
        }
    }
}

/// Collects the mistakes found in one text.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    lines: Lines,
    found: Vec<(usize, Error)>,
}

impl<'t> Report<'t> {
    /// An empty report on `text`.
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, lines: Lines::new(text.as_bytes()), found: Vec::new() }
    }

    /// Adds a mistake at `span`, a range of bytes of the text.
    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (line, column) = self.lines.position(self.text.as_bytes(), span.start);
        let text = shown(self.text.get(span.clone()).unwrap_or_default());
        let place = Some(Place { line, column, text });
        self.found.push((
            span.start,
            Error { file: self.file.to_owned(), place, cause: cause.into(), remedy: remedy.into() },
        ));
    }

    /// The line, from 1, on which `span` begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        self.lines.line(span.start)
    }

    /// `value` if nothing is wrong, else all that is.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Errors> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|(offset, _)| *offset);
        Err(Errors(self.found.into_iter().map(|(_, error)| error).collect()))
    }
}

/// Offsets at which the lines of a text begin, so that a thousand mistakes do not cost a thousand
/// passes over it.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &[u8]) -> Self {
        let after_newlines =
            text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_newlines).collect())
    }

    /// The line of an offset, without the pass over its line that the column takes: a generated
    /// file may hold a whole target group on one line, and ask this for each target.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }

    fn position(&self, text: &[u8], offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = line.checked_sub(1).and_then(|line| self.0.get(line)).copied().unwrap_or(0);
        let before = text.get(start..offset).unwrap_or_default();
        // A continuation byte of UTF-8 (0b10xxxxxx) is no character of its own.
        let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        (line, column)
    }
}

/// The start of the first line of `source`, without the quotes around a string or key.
fn shown(source: &str) -> String {
    let text = source.trim().trim_matches(['"', '\'']);
    let first = text.lines().next().unwrap_or_default();
    let mut shown: String = first.chars().take(SHOWN_TEXT).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// `text` without the control characters that could break the line or drive a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

fn lines(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
