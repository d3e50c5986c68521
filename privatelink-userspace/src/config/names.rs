//! Names and ids: what they may look like, who holds them, and what was probably meant.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::document::Text;
use super::error::Report;

/// Longest name or id, in characters.
const MAX_NAME: usize = 128;

/// Names listed in a remedy before it is cut short.
const LISTED_NAMES: usize = 8;

/// Names a misspelt one is compared with; bounds the work that a long file of mistakes causes.
const COMPARED_NAMES: usize = 1000;

/// What a name or id must look like.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Letters, digits, `.`, `_` and `-`.
    Name,
    /// A prefix and lower-case letters or digits, as AWS makes its ids.
    Id(&'static str),
    /// As `Id`, with hyphens: security group ids are found in no other name, so people choose them.
    HyphenId(&'static str),
}

impl Form {
    /// Reports `name` if it does not have this form.
    pub(super) fn check(self, what: &str, name: &Text<'_>, report: &mut Report<'_>) -> bool {
        let text = *name.get_ref();
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let (rest, right, remedy) = match self {
            Self::Name => (
                Some(text),
                text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
                format!("use letters, digits, '.', '_' and '-', at most {MAX_NAME}"),
            ),
            Self::Id(prefix) => {
                let rest = text.strip_prefix(prefix);
                let remedy =
                    format!("write {prefix} and lower-case letters or digits, at most {MAX_NAME}");
                (rest, rest.is_some_and(|rest| rest.chars().all(lower)), remedy)
            }
            Self::HyphenId(prefix) => {
                let rest = text.strip_prefix(prefix);
                let remedy = format!(
                    "write {prefix} and lower-case letters, digits or '-', at most {MAX_NAME}"
                );
                let right = rest.is_some_and(|rest| rest.chars().all(|c| lower(c) || c == '-'));
                (rest, right, remedy)
            }
        };
        let right = right && rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= MAX_NAME;
        if !right {
            report.add(name.span(), format!("not a valid {what}"), remedy);
        }
        right
    }
}

/// The names of all resources of one kind.
pub(super) struct Names<'a> {
    /// The kind in words, e.g. `target group`.
    kind: &'static str,
    /// How one is declared, e.g. `[[target_group]]`.
    header: &'static str,
    held: HashMap<&'a str, (usize, Range<usize>)>,
    in_order: Vec<&'a str>,
    /// Whether every resource has a well-formed name of its own; if not, an unknown name may be the
    /// one that it should have.
    complete: bool,
}

impl<'a> Names<'a> {
    /// Collects the names of resources in the order of the file, reporting repeated and ill-formed ones.
    ///
    /// `key` is the key that holds the name.
    pub(super) fn collect<'n>(
        kind: &'static str,
        header: &'static str,
        (key, form): (&'static str, Form),
        names: impl Iterator<Item = &'n Option<Text<'a>>>,
        report: &mut Report<'_>,
    ) -> Self
    where
        'a: 'n,
    {
        let mut collected =
            Self { kind, header, held: HashMap::new(), in_order: Vec::new(), complete: true };
        for (index, name) in names.enumerate() {
            let Some(name) = name else {
                collected.complete = false;
                continue;
            };
            let right = form.check(&format!("{kind} {key}"), name, report);
            collected.complete &= right;
            match collected.held.entry(*name.get_ref()) {
                Entry::Vacant(free) => {
                    free.insert((index, name.span()));
                    collected.in_order.push(*name.get_ref());
                }
                Entry::Occupied(held) => {
                    collected.complete = false;
                    let place = report.place(&held.get().1);
                    let cause = format!("repeated {kind} {key}, first {place}");
                    report.add(name.span(), cause, format!("give each {kind} its own {key}"));
                }
            }
        }
        collected
    }

    /// Index of the resource called `name`, which is reported at `span` if there is none.
    pub(super) fn find(
        &self,
        name: &str,
        span: Range<usize>,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        if let Some((index, _)) = self.held.get(name) {
            return Some(*index);
        }
        if self.complete {
            let Self { kind, header, in_order, .. } = self;
            let remedy = if in_order.is_empty() {
                format!("declare it with {header}; none is declared yet")
            } else if let Some(near) = nearest(name, in_order) {
                format!("did you mean {near}? Otherwise declare it with {header}")
            } else {
                format!("declare it with {header}, or use one that exists: {}", listed(in_order))
            };
            report.add(span, format!("unknown {kind}"), remedy);
        }
        None
    }

    /// As [`Self::find`] for a name as it stands in the file, if any does.
    pub(super) fn find_text(
        &self,
        name: Option<&Text<'_>>,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        let name = name?;
        self.find(name.get_ref(), name.span(), report)
    }
}

/// The one of `names` that differs least from `name`, if little enough to be a slip of the finger.
pub(super) fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let length = name.chars().count();
    if length > MAX_NAME {
        return None;
    }
    let tolerated = (length / 4).max(1);
    names
        .iter()
        .take(COMPARED_NAMES)
        .filter(|known| known.chars().count().abs_diff(length) <= tolerated)
        .map(|known| (edits(name, known), *known))
        .filter(|(edits, _)| *edits <= tolerated)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

/// Insertions, deletions and replacements of a character that make `a` into `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    // `row` holds the edits from the part of `a` seen so far to every prefix of `b` but the empty.
    let mut row: Vec<usize> = (1..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().zip(b.chars()) {
            left = (diagonal + usize::from(from != to)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_else(|| a.chars().count())
}

fn listed(names: &[&str]) -> String {
    let some = names.iter().take(LISTED_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED_NAMES) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
