//! Numbers in few characters.

/// A number in at most five characters: `0`, `0.4`, `12`, `999`, `1.2k`, `120k`, `3.4M`, `56G`.
pub(super) fn short(number: f64) -> String {
    let mut rest = number;
    let mut units = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would be rounded to 1000 is one of the next unit.
    while rest >= 999.5 {
        let Some(next) = units.next() else { break };
        (rest, unit) = (rest / 1000.0, next);
    }
    let is_whole = rest == 0.0 || rest >= 9.95 || (unit.is_empty() && rest.fract() == 0.0);
    if is_whole { format!("{rest:.0}{unit}") } else { format!("{rest:.1}{unit}") }
}

/// A number, or that there is none.
pub(super) fn short_or_none(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_characters_and_a_unit() {
        for (number, expected) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (0.4, "0.4"),
            (3.0, "3"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (1234.0, "1.2k"),
            (12_345.0, "12k"),
            (999_499.0, "999k"),
            (999_999.0, "1.0M"),
            (3.4e9, "3.4G"),
            (1.8e19, "18E"),
            (1e24, "1000000E"),
        ] {
            assert_eq!(short(number), expected, "{number}");
        }
        assert_eq!(short_or_none(None), "-");
        assert_eq!(short_or_none(Some(5.0)), "5");
    }
}
