//! Whether the file of a store is whole.

use std::fs;
use std::io;
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend as _};

/// Looks at every checksum of a store, in a copy: looking repairs, which may roll back, and what is kept aside is to be
/// what was found. What a crash may leave is no damage.
pub(super) fn verify(path: &Path) -> Result<(), redb::Error> {
    let bytes = fs::read(path)?;
    // redb 4.5 panics at some damage.
    match std::panic::catch_unwind(|| is_whole(&bytes)) {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(redb::Error::Corrupted("a checksum is wrong".to_owned())),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(redb::Error::Corrupted("it makes no sense".to_owned())),
    }
}

fn is_whole(bytes: &[u8]) -> Result<bool, redb::Error> {
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, bytes)?;
    // Nothing at all would be taken for a store to be made.
    Ok(!bytes.is_empty() && Database::builder().create_with_backend(copy)?.check_integrity()?)
}

/// Whether the file itself is at fault, not what is around it.
pub(crate) fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => true,
        redb::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}
