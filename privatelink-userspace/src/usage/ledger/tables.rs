//! The tables of subjects and rows, and what is done to each of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redb::{ReadableTable as _, TableDefinition, WriteTransaction};

use super::super::Subject;
use super::super::row::{self, Piece};
use super::LedgerError;
use super::addresses::Addresses;

/// Account, endpoint, service and zone of each subject by its number.
pub(super) const SUBJECT: TableDefinition<'_, u32, (&str, &str, &str, &str)> =
    TableDefinition::new("subject");
/// The last hour of which there is a row, by the number of the subject.
pub(super) const LAST: TableDefinition<'_, u32, u32> = TableDefinition::new("last");
/// Rows by the hour and the number of the piece: see [`row`].
pub(super) const ROWS: TableDefinition<'_, (u32, u32), &[u8]> = TableDefinition::new("rows");
/// Up to when time is in the rows, milliseconds since boot; and how many batches were written.
pub(super) const UNTIL: TableDefinition<'_, (), (u64, u64)> = TableDefinition::new("until");

/// Hours that go at once, at most, each time an hour begins: a clock that is wrong for a while empties no books.
const PRUNED: usize = 24;

/// Writes new subjects.
pub(super) fn write_subjects(
    transaction: &WriteTransaction,
    added: &HashMap<Arc<Subject>, u32>,
) -> Result<(), LedgerError> {
    let mut table = transaction.open_table(SUBJECT)?;
    for (subject, number) in added {
        let Subject { account, endpoint, service, zone } = &**subject;
        table.insert(number, (&**account, &**endpoint, &**service, &**zone))?;
    }
    Ok(())
}

/// Adds to rows.
pub(super) fn write_rows(
    transaction: &WriteTransaction,
    pieces: HashMap<(u32, u32), Piece>,
) -> Result<(), LedgerError> {
    let (mut table, mut last) = (transaction.open_table(ROWS)?, transaction.open_table(LAST)?);
    for ((hour, piece), added) in pieces {
        let mut rows = match table.get((hour, piece))? {
            Some(bytes) => row::decode(piece, bytes.value()).ok_or(LedgerError::Damaged)?,
            None => Piece::new(),
        };
        let before = rows.len();
        added.iter().for_each(|(subject, amounts)| row::add(&mut rows, *subject, amounts));
        if rows.len() > before {
            for (subject, _) in added {
                let begun = last.get(subject)?.is_some_and(|last| last.value() >= hour);
                if !begun {
                    last.insert(subject, hour)?;
                }
            }
        }
        table.insert((hour, piece), &*row::encode(&rows))?;
    }
    Ok(())
}

/// Removes the oldest hours before `oldest`, and the subjects that have no row any more, which it returns.
pub(super) fn prune(
    transaction: &WriteTransaction,
    oldest: u32,
    known: &Addresses,
) -> Result<Vec<u32>, LedgerError> {
    let mut table = transaction.open_table(ROWS)?;
    for _ in 0..PRUNED {
        let Some(first) = table.first()?.map(|(key, _)| key.value().0) else { break };
        if first >= oldest {
            break;
        }
        table.retain_in((first, 0)..(first + 1, 0), |_, _| false)?;
    }
    let kept = table.first()?.map_or(oldest, |(key, _)| key.value().0);
    let mut last = transaction.open_table(LAST)?;
    let held: HashSet<u32> = known.values().map(|(number, ..)| *number).collect();
    let mut gone = Vec::new();
    for row in last.iter()? {
        let (number, hour) = row?;
        if hour.value() < kept && !held.contains(&number.value()) {
            gone.push(number.value());
        }
    }
    let mut subjects = transaction.open_table(SUBJECT)?;
    for number in &gone {
        last.remove(number)?;
        subjects.remove(number)?;
    }
    Ok(gone)
}
