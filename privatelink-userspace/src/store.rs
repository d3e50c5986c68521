//! What must survive a restart of the daemon: the numbers of resources, and what was decided at run time.

mod integrity;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::numbers::{Kind, Numbers};
pub(crate) use integrity::is_damage;
use integrity::verify;

/// Name of the store in the state directory.
const FILE: &str = "state.redb";

/// The generation, under an empty key.
const GENERATION: TableDefinition<'_, (), u32> = TableDefinition::new("generation");
/// Numbers, by the name of the kind and the key of the resource.
const NUMBERS: TableDefinition<'_, (&str, &str), u32> = TableDefinition::new("numbers");
/// JSON documents, by their kind and the id of what they are about.
const DOCUMENTS: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("documents");

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened, for a reason that lies outside it.
    #[error("the store {} cannot be opened ({source}): check the file and its file system, or choose another --state-dir", path.display())]
    Open {
        /// The store.
        path: PathBuf,
        /// Why.
        source: redb::Error,
    },
    /// It is damaged, and cannot be moved out of the way.
    #[error("the store {} is damaged and cannot be kept aside ({source}): move it away", path.display())]
    Aside {
        /// The store.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("the store cannot be read or written: {0}")]
    Access(#[source] redb::Error),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Access(error.into())
    }
}

/// Documents by kind and id.
pub type Documents = BTreeMap<(String, String), String>;

/// Everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// By which pinned maps are known to belong to this store: their numbers are meaningless without it. Not 0, which
    /// maps say that never were filled.
    pub generation: u32,
    /// Numbers of resources.
    pub numbers: Numbers,
    /// JSON documents.
    pub documents: Documents,
}

/// The store. Every change is on disk before it returns.
pub struct Store {
    database: Database,
    saved: Saved,
}

impl Store {
    /// Opens the store of a state directory, or makes an empty one. A damaged one is kept aside, and said so in the log.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        match Self::read(&path) {
            Ok(store) => Ok(store),
            Err(source) if is_damage(&source) => {
                let aside = kept_aside(&path);
                log::error!(
                    "the store {} is damaged ({source}): it is kept as {}, and decisions made at run time are lost",
                    path.display(),
                    aside.display()
                );
                fs::rename(&path, &aside)
                    .map_err(|source| StoreError::Aside { path: path.clone(), source })?;
                Self::read(&path).map_err(|source| StoreError::Open { path, source })
            }
            Err(source) => Err(StoreError::Open { path, source }),
        }
    }

    fn read(path: &Path) -> Result<Self, redb::Error> {
        if path.exists() {
            verify(path)?;
        }
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        {
            let mut generation = transaction.open_table(GENERATION)?;
            if generation.get(())?.is_none() {
                generation.insert((), rand::random::<u32>().max(1))?;
            }
            transaction.open_table(NUMBERS)?;
            transaction.open_table(DOCUMENTS)?;
        }
        transaction.commit()?;

        let transaction = database.begin_read()?;
        let generation = transaction.open_table(GENERATION)?.get(())?;
        let mut saved = Saved {
            generation: generation.map_or(0, |generation| generation.value()),
            ..Saved::default()
        };
        for row in transaction.open_table(NUMBERS)?.iter()? {
            let (key, number) = row?;
            let (kind, id) = key.value();
            if let Some(kind) = Kind::ALL.into_iter().find(|of| of.name() == kind) {
                saved.numbers.insert(kind, id.to_owned(), number.value());
            }
        }
        for row in transaction.open_table(DOCUMENTS)?.iter()? {
            let (key, document) = row?;
            let (kind, id) = key.value();
            saved.documents.insert((kind.into(), id.into()), document.value().into());
        }
        drop(transaction);
        Ok(Self { database, saved })
    }

    /// What is stored.
    pub const fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Stores other numbers and documents, all or nothing.
    pub fn save(&mut self, numbers: &Numbers, documents: &Documents) -> Result<(), StoreError> {
        if *numbers == self.saved.numbers && *documents == self.saved.documents {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(NUMBERS)?;
            let (before, after) = (by_key(&self.saved.numbers), by_key(numbers));
            for &key in before.keys().filter(|key| !after.contains_key(*key)) {
                table.remove(key)?;
            }
            for (&key, &number) in after.iter().filter(|(key, n)| before.get(*key) != Some(n)) {
                table.insert(key, number)?;
            }
            let mut table = transaction.open_table(DOCUMENTS)?;
            for (kind, id) in
                self.saved.documents.keys().filter(|key| !documents.contains_key(*key))
            {
                table.remove((kind.as_str(), id.as_str()))?;
            }
            let changed =
                documents.iter().filter(|(key, d)| self.saved.documents.get(*key) != Some(d));
            for ((kind, id), document) in changed {
                table.insert((kind.as_str(), id.as_str()), document.as_str())?;
            }
        }
        transaction.commit()?;
        self.saved.numbers = numbers.clone();
        self.saved.documents = documents.clone();
        Ok(())
    }
}

fn by_key(numbers: &Numbers) -> BTreeMap<(&str, &str), u32> {
    numbers.iter().map(|(kind, key, number)| ((kind.name(), key), number)).collect()
}

/// Where a damaged file is kept.
pub(crate) fn kept_aside(path: &Path) -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    path.with_extension(format!("damaged-{seconds}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Documents {
        Documents::from([(("decision".into(), "vpce-a".into()), text.into())])
    }

    #[test]
    fn what_was_saved_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let generation = store.saved().generation;
        let mut numbers = Numbers::default();
        numbers.assign(Kind::Endpoint, "vpce-a").unwrap();
        numbers.assign(Kind::Endpoint, "vpce-b").unwrap();
        store.save(&numbers, &documents("accepted")).unwrap();
        numbers.release(Kind::Endpoint, "vpce-a");
        store.save(&numbers, &documents("rejected")).unwrap();
        drop(store);
        let again = Store::open(directory.path()).unwrap();
        let expected = Saved { generation, numbers, documents: documents("rejected") };
        assert_eq!(again.saved(), &expected);
    }

    #[test]
    fn a_damaged_store_is_kept_aside() {
        for (damage, text) in [
            ("no database", &b"this is no database, whatever its name says"[..]),
            ("empty header", &[0; 4096]),
            ("empty", &[]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(FILE), text).unwrap();
            let store = Store::open(directory.path()).expect(damage);
            assert_eq!(store.saved().documents, Documents::new());
            let kept = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
            let kept: Vec<_> = kept.filter(|path| *path != directory.path().join(FILE)).collect();
            assert_eq!(kept.len(), 1, "{damage}");
            assert_eq!(fs::read(&kept[0]).unwrap(), text, "{damage}");
        }
    }

    #[test]
    fn a_truncated_store_is_kept_aside() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        store.save(&Numbers::default(), &documents("accepted")).unwrap();
        drop(store);
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 3]).unwrap();
        let store = Store::open(directory.path()).expect("a new one is made");
        assert_eq!(store.saved().documents, Documents::new());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    /// Wherever a byte is wrong: the store says what was saved, or it is kept aside.
    #[test]
    fn damage_anywhere_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let mut numbers = Numbers::default();
        for number in 0..50 {
            numbers.assign(Kind::Target, &format!("target-{number}")).unwrap();
        }
        store.save(&numbers, &documents("accepted")).unwrap();
        let saved = store.saved().clone();
        drop(store);
        let whole = fs::read(directory.path().join(FILE)).unwrap();
        let used = (0..whole.len()).filter(|at| whole[*at] != 0);
        let mut aside = 0;
        for at in used.step_by(149) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let path = directory.path().join(at.to_string());
            fs::create_dir(&path).unwrap();
            fs::write(path.join(FILE), &damaged).unwrap();
            let store = Store::open(&path).unwrap_or_else(|error| panic!("byte {at}: {error}"));
            match fs::read_dir(&path).unwrap().count() {
                2 => aside += 1,
                _ => assert_eq!(*store.saved(), saved, "byte {at}"),
            }
        }
        assert!(aside > 10, "{aside}");
    }
}
