//! What people write for people: a message of a consumer, the reason of a decision.

/// Most characters of it: as many as Azure lets a request message have.
const MAX_CHARACTERS: usize = 140;

/// What it looks like, for those who wrote something else.
pub const FORM: &str = "write 1 to 140 printable characters on one line";

/// What is wrong with the text, if anything.
pub fn fault(text: &str) -> Option<&'static str> {
    match text.chars().count() {
        0 => Some("empty"),
        1..=MAX_CHARACTERS if text.chars().any(|c| !is_printable(c)) => Some("not printable"),
        1..=MAX_CHARACTERS => None,
        _ => Some("too long"),
    }
}

/// Neither a control character, nor a line's end, nor one that changes the direction of what follows it.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        for (text, expected) in [
            ("please let us in", None),
            ("häßlich, 你好", None),
            (&"ü".repeat(140), None),
            (&"ü".repeat(141), Some("too long")),
            ("", Some("empty")),
            ("two\nlines", Some("not printable")),
            ("\u{1b}[31mred", Some("not printable")),
            ("\u{202e}backwards", Some("not printable")),
        ] {
            assert_eq!(fault(text), expected, "{text:?}");
        }
    }
}
