//! Where the pools' tables are in `MAGLEV`: one more than a pool needs is written while the other is in force.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a table that is no longer in force is left alone: a packet that read its number just before may still look
/// into it.
const REST: Duration = Duration::from_secs(1);

/// The empty table, that of pools without targets: what new maps name for every pool.
pub(super) const NO_TABLE: u32 = 0;

/// Which element of `MAGLEV` is whose.
pub(super) struct TableNumbers {
    /// Numbers of the tables in force, by pool.
    in_force: HashMap<u32, u32>,
    /// Numbers of the others, and since when; the first has rested longest.
    spare: VecDeque<(u32, Option<Instant>)>,
}

impl TableNumbers {
    /// Nothing in force yet, of this many tables.
    pub(super) fn new(tables: u32) -> Self {
        let spare = (NO_TABLE + 1..tables).map(|number| (number, None));
        Self { in_force: HashMap::new(), spare: spare.collect() }
    }

    /// A pool has no table any more.
    pub(super) fn release(&mut self, pool: u32, now: Instant) {
        let before = self.in_force.remove(&pool);
        self.spare.extend(before.map(|number| (number, Some(now))));
    }

    /// Which table is to be written for a pool: a spare one; where none has rested, the one in force, so that a flow
    /// opened meanwhile goes to a target of the old table or of the new one. `None` where the pool has none.
    pub(super) fn writable(&self, pool: u32, now: Instant) -> Option<u32> {
        let rested = |since: Option<Instant>| since.is_none_or(|since| now - since >= REST);
        let spare = self.spare.front().filter(|&&(_, since)| rested(since));
        spare.map(|&(number, _)| number).or_else(|| self.in_force.get(&pool).copied())
    }

    /// A pool's table is now the one that [`Self::writable`] told.
    pub(super) fn put_in_force(&mut self, pool: u32, number: u32, now: Instant) {
        self.spare.pop_front_if(|spare| spare.0 == number);
        let before = self.in_force.insert(pool, number);
        self.spare.extend(before.filter(|&before| before != number).map(|it| (it, Some(now))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(numbers: &mut TableNumbers, pool: u32, now: Instant) -> Option<u32> {
        let number = numbers.writable(pool, now)?;
        numbers.put_in_force(pool, number, now);
        Some(number)
    }

    #[test]
    fn a_table_rests_before_it_is_written_anew() {
        let mut numbers = TableNumbers::new(4);
        let start = Instant::now();
        assert_eq!([0, 1].map(|pool| write(&mut numbers, pool, start)), [Some(1), Some(2)]);
        assert_eq!(write(&mut numbers, 0, start), Some(3), "the spare one");
        // 1 rests: what is in force is changed in place.
        assert_eq!(write(&mut numbers, 0, start), Some(3));
        assert_eq!(write(&mut numbers, 1, start + REST / 2), Some(2));
        assert_eq!(write(&mut numbers, 1, start + REST), Some(1));
        assert_eq!(write(&mut numbers, 0, start + REST), Some(3), "2 has just begun to rest");
        assert_eq!(write(&mut numbers, 0, start + REST * 2), Some(2));
    }

    #[test]
    fn a_table_that_is_given_back_rests_too() {
        let mut numbers = TableNumbers::new(3);
        let start = Instant::now();
        assert_eq!([0, 1].map(|pool| write(&mut numbers, pool, start)), [Some(1), Some(2)]);
        numbers.release(1, start);
        assert_eq!(write(&mut numbers, 8, start), None);
        assert_eq!(write(&mut numbers, 8, start + REST), Some(2));
    }

    #[test]
    fn a_pool_too_many_has_no_table() {
        let mut numbers = TableNumbers::new(2);
        let now = Instant::now();
        assert_eq!([0, 1].map(|pool| write(&mut numbers, pool, now)), [Some(1), None]);
    }
}
