//! Measuring several ways in turn, so that all of them see the same minutes of the machine.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use crate::report::Series;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C ends the run between two measurements, so that everything is taken down in order.
pub(crate) fn take_over_interrupt() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("cannot take over Ctrl-C")
}

/// Measures each of `names` once in a round, and every round begins with another one.
///
/// `measure` is given an index into `names` and returns that way's figure.
pub(crate) fn in_turn(
    names: &[&'static str],
    rounds: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<Vec<Series>> {
    let mut series: Vec<Series> =
        names.iter().map(|&name| Series { name, rounds: Vec::new() }).collect();
    for round in 0..rounds {
        for turn in 0..names.len() {
            ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
            let index = (round + turn) % names.len();
            let name = names[index];
            let figure = measure(index).with_context(|| format!("{name}, round {round}"))?;
            series[index].rounds.push(figure);
        }
    }
    Ok(series)
}
