//! `docs/walkthrough.md`, typed as it stands there by a shell in each network, prints what stands there. Needs root.
//!
//! The shells have a mount namespace of their own, so that the daemon's default paths are theirs alone and nothing of
//! them outlives the test. Commands that only look are repeated until they print what is expected.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use privatelink_tests::{Lab, Namespace, Topology, binary, wait_until};
use regex::Regex;

const PATIENCE: Duration = Duration::from_secs(40);
/// What a shell prints when a command has ended.
const END: &str = "-- end of command --";

/// A fenced block of the document.
enum Step<'d> {
    /// A file by this name.
    File(&'d str, String),
    /// A command in a network, and what it prints.
    Command { network: &'d str, command: &'d str, output: String },
}

/// The blocks of a document: files have their name after the language, commands a prompt such as `provider$`.
fn steps(document: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block = lines.by_ref().take_while(|line| *line != "```");
        match info.split_once(' ') {
            Some((_, name)) => {
                steps.push(Step::File(name, block.map(|l| format!("{l}\n")).collect()));
            }
            None if info == "console" => block.for_each(|line| add_line(&mut steps, line)),
            None => panic!("{line}: neither a file nor console"),
        }
    }
    steps
}

fn add_line<'d>(steps: &mut Vec<Step<'d>>, line: &'d str) {
    if let Some((network, command)) = line.split_once("$ ")
        && ["gateway", "provider", "consumer-a", "consumer-b"].contains(&network)
    {
        steps.push(Step::Command { network, command, output: String::new() });
    } else if let Some(Step::Command { output, .. }) = steps.last_mut() {
        output.push_str(line);
        output.push('\n');
    } else {
        panic!("{line:?}: no command before it");
    }
}

/// Text without what differs from run to run: times, ports, pids, MAC addresses, and the widths that follow from them.
fn normal(text: &str) -> String {
    static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
            (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
            (r"(10\.0\.0\.10|10\.0\.2\.20):\d+", "$1:<port>"),
            (r#""pid":\d+"#, r#""pid":<pid>"#),
            (r"\d+ milliseconds", "<ms> milliseconds"),
            (r"  +", "  "),
        ]
        .map(|(varying, name)| (Regex::new(&format!("(?-u){varying}")).unwrap(), name))
        .into()
    });
    VARYING.iter().fold(text.trim_end().to_owned(), |text, (varying, name)| {
        varying.replace_all(&text, *name).into_owned()
    })
}

/// A mount namespace with empty places for the daemon's socket, state and pins.
fn places() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        for (kind, place) in [("tmpfs", "/run"), ("tmpfs", "/var/lib"), ("bpf", "/sys/fs/bpf")] {
            mount(Some(kind), place, Some(kind), MsFlags::empty(), none).unwrap();
        }
        File::open("/proc/thread-self/ns/mnt").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

/// A shell in a network; what it started ends with it.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<UnixStream>,
}

impl Shell {
    fn start(namespace: &Namespace, places: &File, folder: &Path) -> Self {
        let (output, written) = UnixStream::pair().unwrap();
        output.set_read_timeout(Some(PATIENCE)).unwrap();
        let written = OwnedFd::from(written);
        let places = places.try_clone().unwrap();
        let paths = std::env::var("PATH").unwrap();
        let path = format!("{}:{paths}", binary().unwrap().parent().unwrap().display());
        let mut command = namespace.command("bash");
        let enter = move || setns(&places, CloneFlags::CLONE_NEWNS).map_err(Into::into);
        // SAFETY: between fork and exec the closure only makes the system call setns, on a descriptor that it keeps open.
        unsafe { command.pre_exec(enter) };
        command.env("PATH", path).env("NO_COLOR", "1").env_remove("PRIVATELINK_LOG");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(written.try_clone().unwrap())
            .stderr(written)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut shell = Self { child, input, output: BufReader::new(output) };
        shell.run(&format!("cd {}", folder.display()));
        shell
    }

    /// Types a command; what it prints.
    fn run(&mut self, command: &str) -> String {
        // A line of its own, also where the output does not end with one.
        writeln!(self.input, "{command}\nprintf '\\n{END}\\n'").unwrap();
        let lines = (&mut self.output).lines().map(Result::unwrap);
        lines.take_while(|line| line != END).map(|line| line + "\n").collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Whether a command changes nothing.
fn only_looks(command: &str) -> bool {
    let words: Vec<&str> = command.split(' ').collect();
    let listings = ["status", "services", "endpoints", "targets", "flows", "drops"];
    match words[..] {
        ["privatelink", what, ..] if listings.contains(&what) => true,
        ["privatelink", "connection", "list", ..] => true,
        _ => false,
    }
}

fn follow(shell: &mut Shell, command: &str, expected: &str) {
    let mut printed = shell.run(command);
    let as_written = |printed: &str| normal(printed) == normal(expected);
    if only_looks(command) && !as_written(&printed) {
        let _ = wait_until(PATIENCE, command, || {
            printed = shell.run(command);
            as_written(&printed)
        });
    }
    assert!(as_written(&printed), "{command}\n--- written\n{expected}\n--- printed\n{printed}");
}

#[test]
fn the_walkthrough_prints_what_it_says() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let places = places();
    let mut shells: BTreeMap<&str, Shell> = BTreeMap::new();
    for step in steps(include_str!("../../docs/walkthrough.md")) {
        match step {
            Step::File(name, text) => fs::write(lab.folder().join(name), text).unwrap(),
            Step::Command { network, command, output } => {
                let shell = shells.entry(network).or_insert_with(|| {
                    let namespace = match network {
                        "gateway" => lab.gateway(),
                        network => lab.network(network).unwrap(),
                    };
                    Shell::start(namespace, &places, lab.folder())
                });
                follow(shell, command, &output);
            }
        }
    }
}
