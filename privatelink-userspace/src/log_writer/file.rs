//! A file that is replaced from time to time: the old ones are compressed, and the oldest removed.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use humantime_serde::re::humantime::format_rfc3339_nanos;

use crate::model::LogFile;

/// What the name of a compressed file ends with.
const COMPRESSED: &str = ".gz";

/// The file as it is written.
pub(super) struct ReplacedFile {
    rules: LogFile,
    header: String,
    now: Option<Now>,
    compressing: Option<JoinHandle<()>>,
}

/// The one that is written now.
struct Now {
    file: File,
    bytes: u64,
    since: Instant,
}

impl ReplacedFile {
    /// A file with a header, which may be empty. What a daemon before this one left uncompressed is compressed.
    pub(super) fn new(rules: LogFile, header: String) -> Self {
        let left = replaced(&rules.path).unwrap_or_default();
        let left: Vec<PathBuf> = left.into_iter().filter(|path| !is_compressed(path)).collect();
        let mut file = Self { rules, header, now: None, compressing: None };
        file.compress(left);
        file
    }

    /// The one that is written.
    pub(super) fn path(&self) -> &Path {
        &self.rules.path
    }

    /// Writes lines; all or none, as far as the file system lets us.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.replace_if_due()?;
        let now = match &mut self.now {
            Some(now) => now,
            None => self.now.insert(open(&self.rules.path, &self.header)?),
        };
        if let Err(error) = now.file.write_all(lines) {
            // Half a line would spoil the next; and the file may be another by the time that there is room again.
            let _ = now.file.set_len(now.bytes);
            self.now = None;
            return Err(error);
        }
        now.bytes += lines.len() as u64;
        Ok(())
    }

    /// Replaces the file if it is too large or too old.
    pub(super) fn replace_if_due(&mut self) -> io::Result<()> {
        if self.now.as_ref().is_some_and(|now| !is_at(&now.file, &self.rules.path)) {
            // Somebody has moved or removed it.
            self.now = None;
        }
        let LogFile { most_bytes, longest, .. } = self.rules;
        let is_due =
            |now: &Now| now.bytes >= most_bytes || now.since.elapsed() >= longest && now.bytes > 0;
        if !self.now.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        self.now = None;
        let path = &self.rules.path;
        // To the nanosecond, so that no two have one name.
        let replaced = with_suffix(path, &format!(".{}", format_rfc3339_nanos(SystemTime::now())));
        fs::rename(path, &replaced)?;
        self.compress(vec![replaced]);
        Ok(())
    }

    /// Compresses beside the writing, one after the other.
    fn compress(&mut self, files: Vec<PathBuf>) {
        let (path, keep) = (self.rules.path.clone(), self.rules.keep);
        let before = self.compressing.take();
        let all = move || {
            // Its own errors are told.
            let _ = before.map(JoinHandle::join);
            for file in &files {
                if let Err(error) = compress(file) {
                    log::warn!("{} cannot be compressed: {error}", file.display());
                }
            }
            if let Err(error) = remove_oldest(&path, keep) {
                log::warn!("old ones of {} cannot be removed: {error}", path.display());
            }
        };
        self.compressing = Some(std::thread::spawn(all));
    }
}

impl Drop for ReplacedFile {
    fn drop(&mut self) {
        let _ = self.compressing.take().map(JoinHandle::join);
    }
}

/// Who sees flows may see much: the group may read, others not.
fn open(path: &Path, header: &str) -> io::Result<Now> {
    let mut file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        file.write_all(header.as_bytes())?;
        return Ok(Now { file, bytes: header.len() as u64, since: Instant::now() });
    }
    Ok(Now { file, bytes, since: Instant::now() })
}

/// Whether it is still this file that has the name.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |of: io::Result<Metadata>| of.map(|of| (of.dev(), of.ino())).ok();
    identity(file.metadata()) == identity(fs::metadata(path))
}

fn compress(path: &Path) -> io::Result<()> {
    let whole = with_suffix(path, COMPRESSED);
    let part = with_suffix(path, ".part");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o640).open(&part)?;
    let mut encoder = GzEncoder::new(file, Compression::fast());
    io::copy(&mut BufReader::new(File::open(path)?), &mut encoder)?;
    encoder.finish()?;
    fs::rename(&part, &whole)?;
    fs::remove_file(path)
}

/// Those that were replaced, the oldest first: their names have the moment.
fn replaced(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let start = [name.as_encoded_bytes(), b".2"].concat();
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(&start) && !name.ends_with(b".part") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_compressed(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(COMPRESSED.as_bytes())
}

fn remove_oldest(path: &Path, keep: usize) -> io::Result<()> {
    let all = replaced(path)?;
    let surplus = all.len().saturating_sub(keep);
    all.iter().take(surplus).try_for_each(fs::remove_file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use flate2::read::GzDecoder;

    use super::*;

    fn rules(directory: &Path, most_bytes: u64, keep: usize) -> LogFile {
        LogFile { path: directory.join("flow.log"), most_bytes, longest: Duration::MAX, keep }
    }

    fn contents(path: &Path) -> String {
        let mut text = String::new();
        let file = File::open(path).unwrap();
        match is_compressed(path) {
            true => GzDecoder::new(file).read_to_string(&mut text).unwrap(),
            false => BufReader::new(file).read_to_string(&mut text).unwrap(),
        };
        text
    }

    #[test]
    fn replaced_ones_are_compressed_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let rules = rules(directory.path(), 12, 2);
        let mut file = ReplacedFile::new(rules.clone(), "head\n".into());
        for line in 0..8 {
            file.write(format!("line{line}\n").as_bytes()).unwrap();
        }
        drop(file);
        assert_eq!(contents(&rules.path), "head\nline6\nline7\n");
        let old = replaced(&rules.path).unwrap();
        let old: Vec<String> = old.iter().map(|path| contents(path)).collect();
        assert_eq!(old, ["head\nline2\nline3\n", "head\nline4\nline5\n"]);
    }

    #[test]
    fn a_file_that_is_there_goes_on_without_another_header() {
        let directory = tempfile::tempdir().unwrap();
        let rules = rules(directory.path(), 1000, 2);
        for line in ["one\n", "two\n"] {
            ReplacedFile::new(rules.clone(), "head\n".into()).write(line.as_bytes()).unwrap();
        }
        assert_eq!(contents(&rules.path), "head\none\ntwo\n");
    }

    #[test]
    fn one_that_somebody_takes_away_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let rules = rules(directory.path(), 1000, 2);
        let moved = directory.path().join("moved");
        let mut file = ReplacedFile::new(rules.clone(), "head\n".into());
        file.write(b"one\n").unwrap();
        fs::rename(&rules.path, &moved).unwrap();
        file.write(b"two\n").unwrap();
        fs::remove_file(&rules.path).unwrap();
        file.write(b"three\n").unwrap();
        assert_eq!([contents(&moved), contents(&rules.path)], ["head\none\n", "head\nthree\n"]);
    }

    #[test]
    fn what_was_left_uncompressed_is_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let rules = rules(directory.path(), 1000, 2);
        let left = with_suffix(&rules.path, ".2026-11-21T00:00:00.000Z");
        fs::write(&left, "left\n").unwrap();
        drop(ReplacedFile::new(rules.clone(), String::new()));
        let found = replaced(&rules.path).unwrap();
        assert_eq!(found, [with_suffix(&left, COMPRESSED)]);
        assert_eq!(contents(&found[0]), "left\n");
    }

    #[test]
    fn one_that_cannot_be_written_says_so_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut rules = rules(directory.path(), 1000, 2);
        rules.path = directory.path().join("later/flow.log");
        let mut file = ReplacedFile::new(rules.clone(), String::new());
        assert_eq!(file.write(b"lost\n").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir(directory.path().join("later")).unwrap();
        file.write(b"kept\n").unwrap();
        assert_eq!(contents(&rules.path), "kept\n");
    }
}
