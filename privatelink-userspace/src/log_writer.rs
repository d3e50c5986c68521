//! Writes lines to a file or to standard output, from a thread of its own: nobody waits for a disk.
//!
//! Lines that the thread has no room for, and those that cannot be written, are counted and given up.

mod fate;
mod file;

use std::fs;
use std::io::{self, Write as _};
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::fate::{Fate, LogFates};
use self::file::ReplacedFile;
use crate::model::Destination;
use crate::seldom::Seldom;
use nix::unistd::{AccessFlags, access};

/// Whether a file can be written there, without making one.
pub fn is_writable(path: &Path) -> bool {
    let may_write = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    match (fs::metadata(path), path.parent()) {
        (Ok(of), _) => of.is_file() && may_write(path),
        (Err(_), Some(directory)) => directory.is_dir() && may_write(directory),
        (Err(_), None) => false,
    }
}

/// Bytes that are handed over at once.
const BLOCK: usize = 1 << 15;
/// Blocks that wait, at most: 16 MiB.
const QUEUE: usize = 512;
/// How often it is looked whether the file is to be replaced, though nothing is written.
const LOOK: Duration = Duration::from_secs(1);
/// More is complained of only after this long.
const SILENCE: Duration = Duration::from_secs(60);

/// Lines that wait to be written.
struct Block {
    lines: u64,
    text: String,
}

/// The writing end. What it holds is written when it is dropped.
pub struct LogWriter {
    block: Block,
    blocks: Option<SyncSender<Block>>,
    thread: Option<JoinHandle<()>>,
    fate: Arc<Fate>,
}

impl LogWriter {
    /// Starts to write to a destination; files begin with a header, which may be empty. `what` it is stands in complaints.
    pub fn start(what: &'static str, to: &Destination, header: String, fate: Arc<Fate>) -> Self {
        let (blocks, waiting) = sync_channel(QUEUE);
        let sink = match &to.file {
            Some(file) => Sink::File(Box::new(ReplacedFile::new(file.clone(), header))),
            None => Sink::Stdout,
        };
        let writing =
            Writing { what, sink, fate: fate.clone(), complaining: Seldom::after(SILENCE) };
        let thread = std::thread::spawn(move || writing.write_all(&waiting));
        let block = Block { lines: 0, text: String::with_capacity(2 * BLOCK) };
        Self { block, blocks: Some(blocks), thread: Some(thread), fate }
    }

    /// Has `write` write one line, with its end.
    pub fn line(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.block.text);
        self.block.lines += 1;
        if self.block.text.len() >= BLOCK {
            self.flush();
        }
    }

    /// Hands over what it holds.
    pub fn flush(&mut self) {
        if self.block.lines == 0 {
            return;
        }
        let empty = Block { lines: 0, text: String::with_capacity(2 * BLOCK) };
        let block = mem::replace(&mut self.block, empty);
        let lines = block.lines;
        if self.blocks.as_ref().is_none_or(|blocks| blocks.try_send(block).is_err()) {
            Fate::count(&self.fate.crowded_out, lines);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.flush();
        self.blocks = None;
        // A panic there has been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

enum Sink {
    File(Box<ReplacedFile>),
    Stdout,
}

struct Writing {
    what: &'static str,
    sink: Sink,
    fate: Arc<Fate>,
    complaining: Seldom,
}

impl Writing {
    fn write_all(mut self, waiting: &Receiver<Block>) {
        loop {
            match waiting.recv_timeout(LOOK) {
                Ok(block) => self.write(&block),
                Err(RecvTimeoutError::Timeout) => {
                    if let Sink::File(file) = &mut self.sink
                        && let Err(error) = file.replace_if_due()
                    {
                        self.complain(&error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, block: &Block) {
        let written = match &mut self.sink {
            Sink::File(file) => file.write(block.text.as_bytes()),
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(block.text.as_bytes()).and_then(|()| stdout.flush())
            }
        };
        match written {
            Ok(()) => Fate::count(&self.fate.written, block.lines),
            Err(error) => {
                Fate::count(&self.fate.failed, block.lines);
                self.complain(&error);
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if !self.complaining.may(Instant::now()) {
            return;
        }
        let (what, lost) = (self.what, self.fate.failed.load(Ordering::Relaxed));
        let place = match &self.sink {
            Sink::File(file) => file.path().display().to_string(),
            Sink::Stdout => "standard output".to_owned(),
        };
        log::warn!("the {what} cannot be written to {place}: {error}; lines lost so far: {lost}");
    }
}
