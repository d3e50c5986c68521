//! What is wrong with a configuration file, one line per mistake.

use std::fmt;
use std::io;
use std::ops::Range;

/// Characters of the offending text that are shown; more would bury the cause.
const SHOWN_TEXT: usize = 60;

/// Characters of a cause or remedy that are kept; the names in it may be of any length.
const KEPT_WORDS: usize = 400;

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
    /// The file, as the caller named it, or the name of the addition.
    pub file: String,
    /// Index of the addition it is in; `None` if it is in the file.
    pub addition: Option<usize>,
    /// Index of the addition that has what this one wants, if one has.
    pub against: Option<usize>,
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

    /// Those that are `wanted`, if there are any.
    pub fn only(self, wanted: impl FnMut(&Error) -> bool) -> Option<Self> {
        let wanted: Vec<Error> = self.0.into_iter().filter(wanted).collect();
        if wanted.is_empty() { None } else { Some(Self(wanted)) }
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
            addition: None,
            against: None,
            place: None,
            cause: format!("cannot be read: {source}"),
            remedy: remedy.to_owned(),
        }])
    }

    /// The file's bytes are not UTF-8 from offset `valid` on.
    pub(super) fn not_utf8(file: &str, bytes: &[u8], valid: usize) -> Self {
        let mut cursor = Cursor::START;
        cursor.advance(&Lines::new(bytes), bytes, valid);
        let Cursor { line, column, .. } = cursor;
        let text = bytes.get(valid).map(|byte| format!("\\x{byte:02x}")).unwrap_or_default();
        Self(vec![Error {
            file: file.to_owned(),
            addition: None,
            against: None,
            place: Some(Place { line, column, text }),
            cause: "not UTF-8 text".to_owned(),
            remedy: "save the file as UTF-8".to_owned(),
        }])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, addition: _, against: _, place, cause, remedy } = self;
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

/// A text made of a file and of additions that follow it.
#[derive(Clone, Copy)]
pub(super) struct Parts<'t> {
    /// Name of the file.
    pub(super) file: &'t str,
    /// Offset at which each addition begins, and its name.
    pub(super) additions: &'t [(usize, String)],
}

impl<'t> Parts<'t> {
    /// The addition that has an offset, and its name.
    fn addition(self, offset: usize) -> Option<(usize, &'t str)> {
        let index = self.additions.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        self.additions.get(index).map(|(_, name)| (index, name.as_str()))
    }
}

/// Collects the mistakes found in one text.
pub(super) struct Report<'t> {
    parts: Parts<'t>,
    text: &'t str,
    lines: Lines,
    found: Vec<Found>,
}

struct Found {
    span: Range<usize>,
    cause: String,
    remedy: String,
    against: Option<usize>,
}

/// A place that a mistake elsewhere is about. Displayed as `on line 7`, or `made at run time`.
#[derive(Clone)]
pub(super) struct Cited {
    words: String,
    addition: Option<usize>,
}

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl<'t> Report<'t> {
    /// An empty report on `text`.
    pub(super) fn new(parts: Parts<'t>, text: &'t str) -> Self {
        Self { parts, text, lines: Lines::new(text.as_bytes()), found: Vec::new() }
    }

    /// Adds a mistake at `span`, a range of bytes of the text.
    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(span, &cause.into(), &remedy.into(), None);
    }

    /// Adds a mistake at `span`: what stands at another place has what this wants.
    pub(super) fn add_against(
        &mut self,
        other: &Cited,
        span: Range<usize>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(span, &cause.into(), &remedy.into(), other.addition);
    }

    fn note(&mut self, span: Range<usize>, cause: &str, remedy: &str, against: Option<usize>) {
        let (cause, remedy) = (start(cause, KEPT_WORDS), start(remedy, KEPT_WORDS));
        self.found.push(Found { span, cause, remedy, against });
    }

    /// Where `span` begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Cited {
        let addition = self.parts.addition(span.start).map(|(index, _)| index);
        let words = match addition {
            Some(_) => "made at run time".to_owned(),
            None => format!("on line {}", self.lines.line(span.start)),
        };
        Cited { words, addition }
    }

    /// `value` if nothing is wrong, else all that is.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Errors> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|found| found.span.start);
        let mut cursor = Cursor::START;
        let errors = self.found.into_iter().map(|Found { span, cause, remedy, against }| {
            cursor.advance(&self.lines, self.text.as_bytes(), span.start);
            let Cursor { line, column, .. } = cursor;
            let text = shown(self.text.get(span.clone()).unwrap_or_default());
            match self.parts.addition(span.start) {
                Some((index, name)) => Error {
                    file: name.to_owned(),
                    addition: Some(index),
                    against,
                    place: None,
                    cause: format!("\"{text}\": {cause}"),
                    remedy,
                },
                None => Error {
                    file: self.parts.file.to_owned(),
                    addition: None,
                    against,
                    place: Some(Place { line, column, text }),
                    cause,
                    remedy,
                },
            }
        });
        Err(Errors(errors.collect()))
    }
}

/// A place in a text, moved forward only: a generated file may have all its mistakes on one line,
/// and each would cost a pass over that line.
#[derive(Clone, Copy)]
struct Cursor {
    line: usize,
    column: usize,
    offset: usize,
}

impl Cursor {
    const START: Self = Self { line: 1, column: 1, offset: 0 };

    fn advance(&mut self, lines: &Lines, text: &[u8], offset: usize) {
        let line = lines.line(offset);
        if line > self.line {
            *self = Self { line, column: 1, offset: lines.start(line) };
        }
        let passed = text.get(self.offset..offset).unwrap_or_default();
        // A continuation byte of UTF-8 (0b10xxxxxx) is no character of its own.
        self.column += passed.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        self.offset = offset;
    }
}

/// Offsets at which the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &[u8]) -> Self {
        let after_newlines =
            text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_newlines).collect())
    }

    /// The line, from 1, of an offset.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }

    /// The offset at which a line begins.
    fn start(&self, line: usize) -> usize {
        line.checked_sub(1).and_then(|index| self.0.get(index)).copied().unwrap_or(0)
    }
}

/// The start of the first line of `source`, without the quotes around a string or key.
fn shown(source: &str) -> String {
    let text = source.trim().trim_matches(['"', '\'']);
    let first = text.lines().next().unwrap_or_default();
    let mut shown = start(first, SHOWN_TEXT);
    if first.len() < text.len() && !shown.ends_with('…') {
        shown.push('…');
    }
    shown
}

/// The first `most` characters of `text`, marked if there are more.
fn start(text: &str, most: usize) -> String {
    let mut start: String = text.chars().take(most).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// `text` with what could break the line, drive a terminal or reorder what it shows as escapes.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => plain.push(c),
            _ => plain.extend(c.escape_debug()),
        }
    }
    plain
}

fn lines(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
