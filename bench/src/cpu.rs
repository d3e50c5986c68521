//! Who runs where, and before whom: what else the machine does shall not end up in the figures.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// What starts a program on one CPU with the highest priority among ordinary ones.
pub(crate) const EAGERLY: [&str; 3] = ["nice", "-n", "-20"];
/// What starts a program that others have to make way for at once. Not for programs that keep a CPU busy.
pub(crate) const URGENTLY: [&str; 3] = ["chrt", "--rr", "1"];

/// Keeps a thread, 0 for the caller's own, on one CPU.
pub(crate) fn pin(thread: i32, cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).context("no such CPU")?;
    sched_setaffinity(Pid::from_raw(thread), &cpus)
        .with_context(|| format!("cannot keep {thread} on CPU {cpu}"))
}

/// Keeps a thread on one CPU, and gives it the highest priority among ordinary ones.
pub(crate) fn occupy(thread: i32, cpu: usize) -> Result<()> {
    pin(thread, cpu)?;
    run(&["renice", "-n", "-20", "-p", &thread.to_string()])
}

/// Lets others make way for all threads of a process at once.
pub(crate) fn make_urgent(process: u32) -> Result<()> {
    run(&["chrt", "--all-tasks", "--rr", "--pid", "1", &process.to_string()])
}

fn run(words: &[&str]) -> Result<()> {
    let line = || words.join(" ");
    let mut command = Command::new(words[0]);
    let status = command.args(&words[1..]).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot run {}", line()))?;
    ensure!(status.success(), "{} failed", line());
    Ok(())
}
