//! What was measured: printed as tables, kept as JSON.

use std::fmt;

use serde::Serialize;

use crate::machine::Machine;
use crate::spread::Spread;

/// Everything a run has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where.
    pub(crate) machine: Machine,
    /// What.
    pub(crate) cases: Vec<Case>,
    /// What was left out, and why.
    pub(crate) skipped: Vec<String>,
}

impl Report {
    /// Adds a case, and prints it.
    pub(crate) fn add(&mut self, case: Case) {
        print!("\n{case}");
        self.cases.push(case);
    }

    /// Notes that something cannot be measured here, and prints that.
    pub(crate) fn skip(&mut self, reason: String) {
        println!("\nskipped: {reason}");
        self.skipped.push(reason);
    }
}

/// Several ways to do one thing, measured in turn in the same rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// What is done.
    pub(crate) title: String,
    /// What the figures count.
    pub(crate) unit: &'static str,
    /// Under which conditions.
    pub(crate) conditions: String,
    /// The ways; all ratios are to the first one.
    pub(crate) series: Vec<Series>,
    /// What is demanded.
    pub(crate) gates: Vec<Gate>,
}

/// One way, its figures round by round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) name: &'static str,
    /// One figure for each round.
    pub(crate) rounds: Vec<f64>,
}

impl Series {
    /// The spread of its figures.
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.rounds.iter().copied())
    }

    /// The spread of its ratios to another series, each of the same round.
    pub(crate) fn ratio(&self, to: &Self) -> Spread {
        Spread::of(self.rounds.iter().zip(&to.rounds).map(|(own, other)| own / other))
    }

    /// What each round's figure is beyond another series'.
    pub(crate) fn beyond(&self, floor: &Self) -> Self {
        let rounds = self.rounds.iter().zip(&floor.rounds).map(|(own, floor)| own - floor);
        Self { name: self.name, rounds: rounds.collect() }
    }
}

/// A bound on the median of figures, of their ratios to another way's, or of the differences from them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// It must not be greater.
    AtMost(f64),
    /// It must not be less.
    AtLeast(f64),
    /// The figure must not be beyond the other way's by more, in its own unit.
    MoreByAtMost(f64),
}

impl Bound {
    fn holds(self, found: f64) -> bool {
        match self {
            Self::AtMost(bound) | Self::MoreByAtMost(bound) => found <= bound,
            Self::AtLeast(bound) => found >= bound,
        }
    }
}

/// A bound, and how it went.
#[derive(Debug, Serialize)]
pub(crate) struct Gate {
    subject: &'static str,
    /// Where the bound is on the ratio to another way, or on the difference.
    baseline: Option<&'static str>,
    bound: Bound,
    found: Spread,
    passed: bool,
}

impl Case {
    /// Demands something of a way beside another one; nothing where either was not measured.
    pub(crate) fn demand(&mut self, subject: &'static str, bound: Bound, baseline: &'static str) {
        let find = |name| self.series.iter().find(|series| series.name == name);
        if let (Some(own), Some(other)) = (find(subject), find(baseline)) {
            let found = match bound {
                Bound::MoreByAtMost(_) => own.beyond(other).spread(),
                Bound::AtMost(_) | Bound::AtLeast(_) => own.ratio(other),
            };
            self.gate(subject, Some(baseline), bound, found);
        }
    }

    /// Demands something of a way's own figures; nothing where it was not measured.
    pub(crate) fn demand_alone(&mut self, subject: &'static str, bound: Bound) {
        if let Some(own) = self.series.iter().find(|series| series.name == subject) {
            let found = own.spread();
            self.gate(subject, None, bound, found);
        }
    }

    fn gate(
        &mut self,
        subject: &'static str,
        baseline: Option<&'static str>,
        bound: Bound,
        found: Spread,
    ) {
        let passed = bound.holds(found.median);
        self.gates.push(Gate { subject, baseline, bound, found, passed });
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.group, self.title)?;
        writeln!(f, "  {}", self.conditions)?;
        let first = self.series.first();
        let baseline = first.map_or("", |series| series.name);
        let ratio = format!("ratio to {baseline}");
        writeln!(f, "  {:<24}  {:^33}  {ratio:^33}", "minimum / median / maximum", self.unit)?;
        for series in &self.series {
            write!(f, "  {:<26}{}", series.name, series.spread().text())?;
            match first {
                Some(first) if first.name != series.name => {
                    writeln!(f, "  {}", series.ratio(first).text())?;
                }
                _ => writeln!(f)?,
            }
        }
        self.gates.iter().try_for_each(|gate| writeln!(f, "  {gate}"))
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, baseline, bound, found, passed } = self;
        let verdict = if *passed { "pass" } else { "MISS" };
        let (sign, bound, joint) = match bound {
            Bound::AtMost(bound) => ("<=", bound, "x"),
            Bound::AtLeast(bound) => (">=", bound, "x"),
            Bound::MoreByAtMost(bound) => ("<=", bound, "+"),
        };
        write!(f, "{verdict}: {subject} {sign} {bound}")?;
        if let Some(baseline) = baseline {
            write!(f, " {joint} {baseline}")?;
        }
        write!(f, ": {:.2}", found.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        // A machine that is twice as slow in the second round: each way is, so the ratio is not.
        let slow = Series { name: "slow", rounds: vec![10.0, 20.0, 10.0] };
        let fast = Series { name: "fast", rounds: vec![5.0, 10.0, 4.0] };
        let ratio = fast.ratio(&slow);
        assert_eq!((ratio.minimum, ratio.median, ratio.maximum), (0.4, 0.5, 0.5));

        let mut case = Case {
            group: "test",
            title: String::new(),
            unit: "ns",
            conditions: String::new(),
            series: vec![slow, fast],
            gates: Vec::new(),
        };
        case.demand("fast", Bound::AtMost(0.5), "slow");
        case.demand("fast", Bound::AtLeast(0.6), "slow");
        case.demand("fast", Bound::AtLeast(0.6), "absent");
        case.demand_alone("slow", Bound::AtMost(10.0));
        case.demand_alone("absent", Bound::AtMost(10.0));
        case.demand("slow", Bound::MoreByAtMost(6.0), "fast");
        case.demand("slow", Bound::MoreByAtMost(5.0), "fast");
        let passed: Vec<_> = case.gates.iter().map(|gate| gate.passed).collect();
        assert_eq!(passed, [true, false, true, true, false]);
        assert_eq!(case.gates[3].to_string(), "pass: slow <= 6 + fast: 6.00");
    }
}
