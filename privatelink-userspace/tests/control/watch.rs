//! `privatelink flows --watch`: how it goes on, and how it ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use privatelink_userspace::control::GatewayError;

use crate::cli::{on, text};
use crate::fake::{Fake, Running};

const HEADER: &str = "client,state";
const ROWS: [&str; 3] =
    ["10.0.7.7:40000,established", "10.0.7.8:40001,established", "10.0.200.200:65535,syn_sent"];

fn watching(running: &Running, arguments: &[&str]) -> Command {
    let always = ["flows", "--watch", "100ms", "--columns", "client,state"];
    let mut command = on(&running.socket, &[&always, arguments].concat());
    command.stderr(Stdio::piped());
    command
}

fn piped(running: &Running) -> (Child, BufReader<ChildStdout>) {
    let mut child = watching(running, &["-o", "csv"]).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Expects the next lines to be a listing.
fn read_listing(out: &mut impl BufRead) {
    let lines: Vec<_> = out.lines().take(4).map(Result::unwrap).collect();
    assert_eq!((lines[0].as_str(), &lines[1..]), (HEADER, &ROWS.map(str::to_owned)[..]));
}

/// Its exit code, and what it said of a failure. One that does not end in time is killed, and has no exit code.
fn end(mut child: Child) -> (Option<i32>, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr).to_owned())
}

fn tell(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn listings_follow_one_another_until_a_signal() {
    let running = Running::start(Fake::full());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (child, mut out) = piped(&running);
        (0..3).for_each(|_| read_listing(&mut out));
        tell(&child, signal);
        assert_eq!(end(child), (Some(0), String::new()), "{signal}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.lines().count() % 4, 0, "each listing is whole: {rest}");
    }
}

#[test]
fn a_signal_ends_the_wait_for_an_answer() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let on_readings = Box::new(move |_: &_| asked.send(()).unwrap());
    let running = Running::start(Fake { on_readings: Some(on_readings), ..Fake::full() });
    let child = watching(&running, &["--rate", "60s"]).stdout(Stdio::piped()).spawn().unwrap();
    is_asked.recv().unwrap();
    tell(&child, Signal::SIGINT);
    assert_eq!(end(child), (Some(0), String::new()));
}

#[test]
fn it_ends_when_nobody_reads() {
    let running = Running::start(Fake::full());
    let (child, mut out) = piped(&running);
    read_listing(&mut out);
    drop(out);
    assert_eq!(end(child), (Some(0), String::new()));
}

#[test]
fn it_says_that_the_daemon_is_gone() {
    let running = Running::start(Fake::full());
    let (child, mut out) = piped(&running);
    read_listing(&mut out);
    let socket = running.socket.clone();
    drop(running);
    let (code, said) = end(child);
    // As it goes it may have been asked, and not have answered.
    let (gone, goes) = ("no privatelink daemon answers at", "broke off");
    assert!(said.contains(gone) || said.contains(goes), "{said}");
    assert!(said.contains(&*socket.to_string_lossy()), "{said}");
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
}

#[test]
fn it_says_that_the_daemon_has_failed() {
    let fault = Some(GatewayError::Failed("no map: restart".into()));
    let running = Running::start(Fake { fault, ..Fake::full() });
    let (child, mut out) = piped(&running);
    assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    assert_eq!(end(child), (Some(1), "privatelink: no map: restart\n".to_owned()));
}

#[test]
fn a_terminal_is_cleared_before_each_listing() {
    let running = Running::start(Fake::full());
    let terminal = openpty(None, None).unwrap();
    let child = watching(&running, &["-o", "csv"]).stdout(terminal.slave).spawn().unwrap();
    let mut out = BufReader::new(File::from(terminal.master));
    let listing = format!("\x1b[H\x1b[2J{HEADER}\r\n{}\r\n", ROWS.join("\r\n"));
    for _ in 0..2 {
        let mut found = vec![0; listing.len()];
        out.read_exact(&mut found).unwrap();
        assert_eq!(text(&found), listing);
    }
    tell(&child, Signal::SIGTERM);
    assert_eq!(end(child), (Some(0), String::new()));
}
