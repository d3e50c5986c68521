//! A daemon whose wall clock is another than the machine's, which others use.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use privatelink_tests::binary_with;

/// Seconds.
pub(crate) const DAY: i64 = 86_400;

/// A program that becomes the daemon with a wall clock of its own, moved by the seconds in the file `offset`.
pub(crate) fn daemon_with_a_clock(folder: &Path, offset: &Path) -> PathBuf {
    let offset = offset.to_str().unwrap();
    let library = env!("WALL_CLOCK_LIBRARY");
    let variables = [("LD_PRELOAD", library), ("WALL_CLOCK_OFFSET", offset)];
    binary_with(folder, &variables).unwrap()
}

/// How far the wall clock of a program with the preloaded library is from ours, seconds.
pub(crate) fn seen_step(offset: &Path) -> i64 {
    let mut date = Command::new("date");
    date.env("LD_PRELOAD", env!("WALL_CLOCK_LIBRARY")).env("WALL_CLOCK_OFFSET", offset);
    let output = date.arg("+%s").output().unwrap();
    let seen: i64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    seen - now.cast_signed()
}
