//! Figures of several rounds.

use serde::Serialize;

/// What the rounds gave, sorted, and what of it is worth printing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Spread {
    /// The least of all rounds.
    pub(crate) minimum: f64,
    /// The middle one.
    pub(crate) median: f64,
    /// The greatest.
    pub(crate) maximum: f64,
}

impl Spread {
    /// The spread of one or more figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self {
            minimum: at(0),
            median: at(sorted.len() / 2),
            maximum: at(sorted.len().saturating_sub(1)),
        }
    }

    /// The spread as text, with as many decimals as tell something.
    pub(crate) fn text(&self) -> String {
        let decimals = match self.median.abs() {
            large if large >= 1000.0 => 0,
            middling if middling >= 20.0 => 1,
            _ => 2,
        };
        let Self { minimum, median, maximum } = self;
        format!("{minimum:9.decimals$} / {median:9.decimals$} / {maximum:9.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_not_the_mean() {
        let spread = Spread::of([9.0, 1.0, 2.0]);
        assert_eq!((spread.minimum, spread.median, spread.maximum), (1.0, 2.0, 9.0));
        assert_eq!(spread.text(), "     1.00 /      2.00 /      9.00");
    }
}
