//! Any text is accepted or refused with places that exist; none brings the parser down.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::ipv6::BOTH;
use super::{OVERLAP, parse};

/// What is mutated.
const FILES: [&str; 2] = [OVERLAP, BOTH];

/// One thing done to the bytes of the example.
#[derive(Clone, Debug)]
enum Mutation {
    Delete(Index, usize),
    Duplicate(Index, usize, Index),
    Replace(Index, usize, Vec<u8>),
    /// What stands elsewhere in the example: a valid thing in a wrong place.
    Copy(Index, Index, usize),
}

impl Mutation {
    fn apply(&self, text: &mut Vec<u8>) {
        let span = |at: &Index, length: usize, text: &[u8]| -> Range<usize> {
            let start = at.index(text.len() + 1);
            start..(start + length).min(text.len())
        };
        match self {
            Self::Delete(at, length) => drop(text.drain(span(at, *length, text))),
            Self::Duplicate(at, length, to) => {
                let copied = text[span(at, *length, text)].to_vec();
                let to = to.index(text.len() + 1);
                text.splice(to..to, copied);
            }
            Self::Replace(at, length, bytes) => {
                let replaced = span(at, *length, text);
                text.splice(replaced, bytes.iter().copied());
            }
            Self::Copy(from, to, length) => {
                let copied = text[span(from, *length, text)].to_vec();
                let replaced = span(to, *length, text);
                text.splice(replaced, copied);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 1..40_usize).prop_map(|(at, length)| Mutation::Delete(at, length)),
        (at(), 1..200_usize, at()).prop_map(|(at, n, to)| Mutation::Duplicate(at, n, to)),
        (at(), 0..8_usize, prop::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(at, length, bytes)| Mutation::Replace(at, length, bytes)),
        (at(), 0..4_usize, "[0-9a-z./\"\\[\\]{}=,\n-]{0,6}")
            .prop_map(|(at, length, text)| Mutation::Replace(at, length, text.into_bytes())),
        (at(), at(), 1..30_usize).prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
    ]
}

/// Every error is one line, its place is in the text, and they are in the order of the text.
fn check_places(text: &str) -> Result<(), TestCaseError> {
    let Err(errors) = parse("fuzzed.toml", text) else { return Ok(()) };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    prop_assert!(!errors.as_slice().is_empty());
    prop_assert_eq!(errors.to_string().lines().count(), errors.as_slice().len());
    let mut last = (1, 1);
    for error in errors.as_slice() {
        prop_assert!(!error.cause.is_empty() && !error.remedy.is_empty(), "{}", error);
        let place = error.place.as_ref();
        let place = place.ok_or_else(|| TestCaseError::fail("an error without place"))?;
        prop_assert!((1..=lines.len()).contains(&place.line), "{}", error);
        let columns = lines[place.line - 1].chars().count() + 1;
        prop_assert!((1..=columns).contains(&place.column), "{}", error);
        prop_assert!((place.line, place.column) >= last, "{}", error);
        last = (place.line, place.column);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check_places(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn mutated_example(
        file in select(&FILES),
        mutations in prop::collection::vec(mutation(), 1..5),
    ) {
        let mut text = file.as_bytes().to_vec();
        for mutation in &mutations {
            mutation.apply(&mut text);
        }
        check_places(&String::from_utf8_lossy(&text))?;
    }

    /// Most mutations break the syntax; one string in place of another does not.
    #[test]
    fn mutated_strings(
        file in select(&FILES),
        edits in prop::collection::vec((any::<Index>(), any::<Index>()), 1..8),
    ) {
        let mut parts: Vec<&str> = file.split('"').collect();
        let strings = parts.len() / 2;
        for (to, from) in edits {
            parts[to.index(strings) * 2 + 1] = parts[from.index(strings) * 2 + 1];
        }
        check_places(&parts.join("\""))?;
    }

    #[test]
    fn mutated_values(
        file in select(&FILES),
        edits in prop::collection::vec((any::<Index>(), "\\PC{0,12}|-?[0-9]{1,20}"), 1..8),
    ) {
        let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
        for (line, value) in edits {
            let line = line.get_mut(lines.as_mut_slice());
            if let Some((key, _)) = line.split_once(" = ") {
                *line = match value.parse::<i64>() {
                    Ok(number) => format!("{key} = {number}"),
                    Err(_) => format!("{key} = {value:?}"),
                };
            }
        }
        check_places(&lines.join("\n"))?;
    }
}
