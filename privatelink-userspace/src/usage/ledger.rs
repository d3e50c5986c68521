//! The books: a database of its own in the state directory.

mod addresses;
mod tables;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, OwnedRange, ReadableDatabase as _, ReadableTable as _};

use self::addresses::{AVAILABLE, Addresses, GONE, THERE};
use self::tables::{LAST, ROWS, SUBJECT, UNTIL, prune, write_rows, write_subjects};
use super::row::{self, Piece, SUBJECTS};
use super::{Accountant, Batch, Counted, Known, Rows, Subject};
use crate::store::{is_damage, kept_aside};

/// Name of the database in the state directory.
const FILE: &str = "usage.redb";

/// Why the books cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Reading or writing failed.
    #[error("the database of usage cannot be read or written: {0}")]
    Access(#[source] Box<redb::Error>),
    /// It could not be written a moment ago.
    #[error(
        "the database of usage could not be written a moment ago: see the log, and ask again in a minute"
    )]
    Closed,
    /// Something in it is not what was stored.
    #[error("the database of usage is damaged: move usage.redb away, and restart privatelink")]
    Damaged,
}

impl<E: Into<redb::Error>> From<E> for LedgerError {
    fn from(error: E) -> Self {
        Self::Access(Box::new(error.into()))
    }
}

/// The numbers of subjects. Shared by those who read, until there is another one.
type Numbers = HashMap<u32, Arc<Subject>>;

/// The books.
pub struct Ledger {
    path: PathBuf,
    /// `None` after a failure: redb takes nothing more then.
    database: Option<Database>,
    subjects: Arc<Numbers>,
    numbers: HashMap<Arc<Subject>, u32>,
    next: u32,
    /// The latest hour of the last batch.
    latest: u32,
    known: Addresses,
    /// How many batches were written.
    serial: u64,
    /// A batch of which it is not known whether it was written, by its number.
    unsure: Option<(u64, Rows)>,
    /// What came after that one.
    waiting: Rows,
}

impl Ledger {
    /// Opens those of a state directory, or makes empty ones. Damaged ones are kept aside, and said so in the log.
    ///
    /// # Errors
    ///
    /// They cannot be read or written.
    pub fn open(directory: &Path) -> Result<Self, LedgerError> {
        let path = directory.join(FILE);
        // redb 4.5 panics at some damage.
        let read = std::panic::catch_unwind(|| Self::read(&path));
        let panicked = |_| Err(redb::Error::Corrupted("it makes no sense".to_owned()).into());
        match read.unwrap_or_else(panicked) {
            Err(LedgerError::Access(source)) if is_damage(&source) => {
                let aside = kept_aside(&path);
                log::error!(
                    "{} is damaged ({source}): it is kept as {}, and usage is counted from now on",
                    path.display(),
                    aside.display()
                );
                fs::rename(&path, &aside).map_err(redb::Error::Io)?;
                Self::read(&path)
            }
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Self, LedgerError> {
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(SUBJECT)?;
        transaction.open_table(LAST)?;
        addresses::make(&transaction)?;
        transaction.open_table(UNTIL)?;
        transaction.open_table(ROWS)?;
        transaction.commit()?;

        let transaction = database.begin_read()?;
        let mut subjects = Numbers::new();
        for row in transaction.open_table(SUBJECT)?.iter()? {
            let (number, words) = row?;
            let (account, endpoint, service, zone) = words.value();
            let [account, endpoint, service, zone] =
                [account, endpoint, service, zone].map(str::to_owned);
            subjects.insert(number.value(), Arc::new(Subject { account, endpoint, service, zone }));
        }
        let known = addresses::read(&transaction)?;
        let (_, serial) = transaction.open_table(UNTIL)?.get(())?.map_or((0, 0), |at| at.value());
        Ok(Self {
            numbers: subjects.iter().map(|(&number, of)| (of.clone(), number)).collect(),
            next: subjects.keys().max().map_or(0, |last| last + 1),
            subjects: Arc::new(subjects),
            latest: 0,
            serial,
            known,
            path: path.to_owned(),
            database: Some(database),
            unsure: None,
            waiting: Rows::new(),
        })
    }

    /// Who goes on with them. If the counters are `new`, whatever they said before, they begin at zero.
    ///
    /// # Errors
    ///
    /// The books cannot be written.
    pub fn accountant(&mut self, new: bool) -> Result<Accountant, LedgerError> {
        if new {
            let transaction = self.database()?.begin_write()?;
            addresses::clear(&transaction)?;
            transaction.commit()?;
            self.known.clear();
            return Ok(Accountant::default());
        }
        let until = self.database()?.begin_read()?.open_table(UNTIL)?.get(())?;
        let until = until.map(|until| Duration::from_millis(until.value().0));
        let mut known = HashMap::new();
        for (&address, &(subject, state, flows, to_target, to_client)) in &self.known {
            let subject = self.subjects.get(&subject).ok_or(LedgerError::Damaged)?.clone();
            let counted = Counted { flows, to_target, to_client };
            let gone = (state == GONE).then(|| until.unwrap_or_default());
            let is_available = state == AVAILABLE;
            known.insert(address, Known { subject, counted, is_available, gone });
        }
        Ok(Accountant::resume(known, until))
    }

    fn database(&self) -> Result<&Database, LedgerError> {
        self.database.as_ref().ok_or(LedgerError::Closed)
    }

    /// Writes a batch, all or nothing; it is on disk when this returns. Hours that began more than `days` ago go. What
    /// cannot be written is kept here, and written with the next batch.
    ///
    /// # Errors
    ///
    /// The books cannot be written.
    pub fn write(&mut self, batch: Batch, days: u32) -> Result<(), LedgerError> {
        merge(&mut self.waiting, batch.rows);
        if let Some((serial, _)) = self.unsure {
            self.reopen()?;
            // A failure need not mean that it is not on disk.
            if let Some((_, rows)) = self.unsure.take().filter(|_| self.serial != serial) {
                merge(&mut self.waiting, rows);
            }
        }
        let batch = Batch { rows: std::mem::take(&mut self.waiting), ..batch };
        let done = self.try_to_write(&batch, days);
        if done.is_err() {
            self.unsure = Some((self.serial + 1, batch.rows));
            self.database = None;
        }
        done
    }

    /// Reads them anew.
    fn reopen(&mut self) -> Result<(), LedgerError> {
        self.database = None;
        let fresh = Self::read(&self.path)?;
        let (unsure, waiting) = (self.unsure.take(), std::mem::take(&mut self.waiting));
        *self = Self { unsure, waiting, ..fresh };
        Ok(())
    }

    fn try_to_write(&mut self, batch: &Batch, days: u32) -> Result<(), LedgerError> {
        let mut transaction = self.database()?.begin_write()?;
        // After a crash redb would else read all of it, at the next start, to know what of it is free.
        transaction.set_quick_repair(true);
        let mut subjects = self.subjects.clone();
        let (mut next, mut added) = (self.next, HashMap::new());
        let mut number_of = |of: &Arc<Subject>| {
            let known = self.numbers.get(of).copied();
            known.unwrap_or_else(|| {
                *added.entry(of.clone()).or_insert_with(|| {
                    next += 1;
                    next - 1
                })
            })
        };
        let mut pieces: HashMap<(u32, u32), Piece> = HashMap::new();
        for ((hour, subject), amounts) in &batch.rows {
            let number = number_of(subject);
            pieces.entry((*hour, number / SUBJECTS)).or_default().push((number, *amounts));
        }
        let mut known = HashMap::with_capacity(batch.known.len());
        for (key, of) in &batch.known {
            let Counted { flows, to_target, to_client } = of.counted;
            let state = match (of.gone, of.is_available) {
                (Some(_), _) => GONE,
                (None, false) => THERE,
                (None, true) => AVAILABLE,
            };
            let number = number_of(&of.subject);
            known.insert(*key, (number, state, flows, to_target, to_client));
        }
        write_subjects(&transaction, &added)?;
        let latest = pieces.keys().map(|(hour, _)| *hour).max().unwrap_or(self.latest);
        write_rows(&transaction, pieces)?;
        addresses::write(&transaction, &self.known, &known)?;
        let until = batch.since_boot.as_millis() as u64;
        let serial = self.serial + 1;
        transaction.open_table(UNTIL)?.insert((), (until, serial))?;
        let pruned = match latest != self.latest {
            true => prune(&transaction, latest.saturating_sub(days.saturating_mul(24)), &known)?,
            false => Vec::new(),
        };
        transaction.commit()?;

        if !added.is_empty() || !pruned.is_empty() {
            let all = Arc::make_mut(&mut subjects);
            all.extend(added.iter().map(|(subject, number)| (*number, subject.clone())));
            self.numbers.extend(added);
            for subject in pruned.iter().filter_map(|number| all.remove(number)) {
                self.numbers.remove(&subject);
            }
        }
        (self.subjects, self.next, self.latest, self.known) = (subjects, next, latest, known);
        self.serial = serial;
        Ok(())
    }

    /// The rows of some hours, from `from` on and before `to`, as they are now: whatever is written later.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn rows(&self, from: u32, to: u32) -> Result<Reading, LedgerError> {
        let table = self.database()?.begin_read()?.open_table(ROWS)?;
        let rows = table.range_owned((from, 0)..(to, 0))?;
        Ok(Reading { rows, subjects: self.subjects.clone() })
    }
}

/// Rows that are being read: those of an hour, piece by piece, and then those of the next.
pub struct Reading {
    rows: OwnedRange<(u32, u32), &'static [u8]>,
    subjects: Arc<Numbers>,
}

impl Reading {
    /// The subject with a number.
    pub fn subject(&self, number: u32) -> Option<&Arc<Subject>> {
        self.subjects.get(&number)
    }
}

impl Iterator for Reading {
    type Item = Result<(u32, Piece), LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.next()?.map_err(LedgerError::from).and_then(|(key, bytes)| {
            let (hour, piece) = key.value();
            let rows = row::decode(piece, bytes.value()).ok_or(LedgerError::Damaged)?;
            Ok((hour, rows))
        }))
    }
}

/// Adds rows to others.
fn merge(to: &mut Rows, rows: Rows) {
    for (of, amounts) in rows {
        to.entry(of).or_default().add(&amounts);
    }
}

#[cfg(test)]
mod tests;
