//! The last facts, kept for a moment where they are dear.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::lock;
use crate::metrics::Facts;
use crate::snapshot::Snapshot;

/// Gathering facts may take this part of one CPU at most: who asks before is told what others were.
const SHARE: u32 = 20;
/// What takes no more CPU time than this is gathered whenever somebody asks.
const CHEAP: Duration = Duration::from_millis(10);

/// The facts that were gathered last.
#[derive(Default)]
pub(super) struct LastFacts(Mutex<Option<Gathered>>);

struct Gathered {
    facts: Arc<Facts>,
    snapshot: Arc<Snapshot>,
    /// They are told until then, while the model is the same.
    until: Instant,
}

impl LastFacts {
    /// Those, while they may be told, or else what `gather` finds out of the model in force. Whoever asks while facts are
    /// gathered waits, and is told the same.
    pub(super) fn or<E>(
        &self,
        in_force: impl FnOnce() -> Arc<Snapshot>,
        gather: impl FnOnce(&Snapshot) -> Result<Facts, E>,
    ) -> Result<Arc<Facts>, E> {
        let mut last = lock(&self.0);
        let snapshot = in_force();
        let may_be_told =
            |of: &&Gathered| Arc::ptr_eq(&of.snapshot, &snapshot) && Instant::now() < of.until;
        if let Some(Gathered { facts, .. }) = last.as_ref().filter(may_be_told) {
            return Ok(facts.clone());
        }
        let began = cpu_time();
        let facts = Arc::new(gather(&snapshot)?);
        let took = cpu_time() - began;
        let until = Instant::now() + if took > CHEAP { took * SHARE } else { Duration::ZERO };
        *last = Some(Gathered { facts: facts.clone(), snapshot, until });
        Ok(facts)
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    // Cannot fail: every thread has this clock.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told when asked of each model in turn; each time facts are gathered takes so much CPU time, and has them say
    /// how often they were gathered.
    fn told(cost: Duration, models: &[&Arc<Snapshot>]) -> Vec<f64> {
        let (last, mut gathered) = (LastFacts::default(), 0.0);
        let told = models.iter().map(|model| {
            let facts = last.or(
                || Arc::clone(model),
                |_| {
                    let began = cpu_time();
                    while cpu_time() - began < cost {}
                    gathered += 1.0;
                    Ok::<_, ()>(Facts { started: gathered, ..Facts::default() })
                },
            );
            facts.unwrap().started
        });
        told.collect()
    }

    #[test]
    fn dear_facts_are_told_again_while_the_model_is_the_same() {
        let [a, b] = [Snapshot::default(), Snapshot::default()].map(Arc::new);
        assert_eq!(
            told(Duration::from_millis(100), &[&a, &a, &b, &b, &a]),
            [1.0, 1.0, 2.0, 2.0, 3.0]
        );
        assert_eq!(told(Duration::ZERO, &[&a, &a, &b]), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn what_could_not_be_gathered_is_tried_again() {
        let (last, model) = (LastFacts::default(), Arc::<Snapshot>::default());
        assert_eq!(last.or(|| model.clone(), |_| Err("unread")), Err("unread"));
        assert_eq!(
            last.or(|| model.clone(), |_| Ok::<_, ()>(Facts::default())),
            Ok(Arc::default())
        );
    }
}
