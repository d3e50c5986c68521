//! `privatelink top` in a terminal, as people have it. Needs root.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Server, Tmux, Topology, binary, connect, echo_targets, example,
    exchange, greeting, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);
const A: &str = "vpce-0a11111111111111a";
const B: &str = "vpce-0b22222222222222b";

struct Site {
    daemon: Daemon,
    _targets: [Server; 2],
    lab: Lab,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
        Self { daemon, _targets: targets, lab }
    }

    /// The command that looks at this site.
    fn top(&self) -> String {
        let (binary, socket) = (binary().unwrap(), self.daemon.home().socket());
        format!("{} top --interval 200ms --socket {}", binary.display(), socket.display())
    }
}

/// A client of consumer-a that sends and is sent without end; dropping it ends that.
struct Client {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    fn of(site: &Site) -> Self {
        let mut stream = connect(site.lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        let address = stream.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                exchange(&mut stream, &[b'x'; 1000]).unwrap();
            }
        });
        Self { address, ends, thread: Some(thread) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// The words of the line that begins with `name`.
fn line<'s>(screen: &'s str, name: &str) -> Option<Vec<&'s str>> {
    let words = |line: &'s str| line.split_whitespace().collect::<Vec<_>>();
    screen.lines().map(words).find(|words| words.first() == Some(&name))
}

fn is_moving(rate: &str) -> bool {
    !["-", "0", "0.0"].contains(&rate)
}

/// Whether the line that begins with `name` carries bytes to the target and to the client, these two words of it.
fn carries(screen: &str, name: &str, words: [usize; 2]) -> bool {
    line(screen, name).is_some_and(|line| {
        words.iter().all(|&at| line.get(at).is_some_and(|rate| is_moving(rate)))
    })
}

#[test]
fn rates_of_who_talks_and_what_is_behind_them() {
    let site = Site::new();
    let client = Client::of(&site);
    let tmux = Tmux::start(80, 24).unwrap();
    tmux.prompt(PATIENCE).unwrap();
    tmux.command(&site.top()).unwrap();

    let screen =
        tmux.wait(PATIENCE, "the endpoint has rates", |screen| carries(screen, A, [1, 2])).unwrap();
    assert_eq!(tmux.ask("alternate_on").unwrap(), "1");
    assert_eq!(line(&screen, A).unwrap()[5], "1", "one live flow");
    assert_eq!(line(&screen, B).unwrap()[1..], ["0", "0", "0", "0", "0"], "nobody talks there");
    assert!(screen.contains("1 of 1048576 flows, 0 half-open"), "{screen}");
    assert!(screen.contains("endpoints: 2, by bytes"), "{screen}");

    let flow = client.address.to_string();
    tmux.press("Enter").unwrap();
    tmux.wait(PATIENCE, "the flow has rates", |screen| {
        screen.contains(&format!("flows of {A}: 1, by bytes")) && carries(screen, &flow, [2, 3])
    })
    .unwrap();
    tmux.press("Escape").unwrap();
    tmux.press("2").unwrap();
    tmux.wait(PATIENCE, "services", |screen| screen.contains("services: 1, by bytes")).unwrap();
    tmux.press("Enter").unwrap();
    tmux.wait(PATIENCE, "the service's endpoints", |screen| {
        screen.contains("endpoints of vpce-svc-0e123abc123198abc: 2") && carries(screen, A, [1, 2])
    })
    .unwrap();
    tmux.press("3").unwrap();
    tmux.press("Enter").unwrap();
    tmux.wait(PATIENCE, "the flow under its target", |screen| {
        screen.contains("flows of 10.0.1.1") && carries(screen, &flow, [2, 3])
    })
    .unwrap();

    tmux.press("q").unwrap();
    let screen = tmux.prompt(PATIENCE).unwrap();
    assert!(!screen.contains("flows of"), "{screen}");
    assert_eq!(tmux.ask("alternate_on").unwrap(), "0");
    assert_eq!(tmux.ask("cursor_flag").unwrap(), "1");
    tmux.command("echo ended with $?").unwrap();
    tmux.wait(PATIENCE, "it ended well", |screen| screen.contains("\nended with 0\n")).unwrap();
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    let site = Site::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let tmux = Tmux::start(120, 40).unwrap();
        tmux.prompt(PATIENCE).unwrap();
        tmux.command(&site.top()).unwrap();
        tmux.wait(PATIENCE, "it is there", |screen| screen.contains("endpoints: 2")).unwrap();
        kill(tmux.child().unwrap(), signal).unwrap();
        tmux.prompt(PATIENCE).unwrap();
        assert_eq!(tmux.ask("alternate_on").unwrap(), "0", "{signal}");
        assert_eq!(tmux.ask("cursor_flag").unwrap(), "1", "{signal}");
        // Where echo is off, the shell does not show what it is told.
        tmux.command("stty -a").unwrap();
        let screen =
            tmux.wait(PATIENCE, "stty has spoken", |screen| screen.contains("icanon")).unwrap();
        let words: Vec<&str> = screen.split([' ', '\n', ';']).collect();
        for word in ["icanon", "echo", "isig", "opost"] {
            assert!(words.contains(&word), "{signal}: {word}: {screen}");
        }
    }
}

#[test]
fn it_ends_with_its_terminal() {
    let site = Site::new();
    let tmux = Tmux::start(80, 24).unwrap();
    tmux.prompt(PATIENCE).unwrap();
    tmux.command(&site.top()).unwrap();
    tmux.wait(PATIENCE, "it is there", |screen| screen.contains("endpoints: 2")).unwrap();
    let top = tmux.child().unwrap();
    drop(tmux);
    // Signal 0 asks whether there is a process.
    wait_until(PATIENCE, "it has ended", || kill(top, None) == Err(Errno::ESRCH)).unwrap();
}

#[test]
fn a_daemon_that_goes_away_and_comes_back() {
    let mut site = Site::new();
    let tmux = Tmux::start(80, 24).unwrap();
    tmux.prompt(PATIENCE).unwrap();
    tmux.command(&site.top()).unwrap();
    tmux.wait(PATIENCE, "it is there", |screen| screen.contains("endpoints: 2")).unwrap();
    let home = site.daemon.home();
    site.daemon.kill().unwrap();
    let away = "no answer, trying again";
    let screen = tmux.wait(PATIENCE, "it says so", |screen| screen.contains(away)).unwrap();
    assert!(screen.contains("no privatelink daemon answers at"), "{screen}");
    assert!(line(&screen, A).is_some(), "{screen}");
    site.daemon = Daemon::start_in(home, &site.lab, &example("overlap.toml"), &[]).unwrap();
    tmux.wait(PATIENCE, "it has found it", |screen| {
        screen.contains("endpoints: 2") && !screen.contains(away)
    })
    .unwrap();
    tmux.press("C-c").unwrap();
    tmux.prompt(PATIENCE).unwrap();
}

#[test]
fn without_a_daemon_it_says_what_every_command_says() {
    let tmux = Tmux::start(120, 10).unwrap();
    tmux.prompt(PATIENCE).unwrap();
    let binary = binary().unwrap();
    tmux.command(&format!("{} top --socket /nowhere; echo ended with $?", binary.display()))
        .unwrap();
    let screen =
        tmux.wait(PATIENCE, "it has ended", |screen| screen.contains("\nended with 1\n")).unwrap();
    let line = "privatelink: no privatelink daemon answers at /nowhere: start it with";
    assert!(screen.contains(line), "{screen}");
}

#[test]
fn a_terminal_of_any_size_with_and_without_colour() {
    let site = Site::new();
    let tmux = Tmux::start(80, 24).unwrap();
    tmux.prompt(PATIENCE).unwrap();
    tmux.command(&site.top()).unwrap();
    tmux.wait(PATIENCE, "it is there", |screen| screen.contains("endpoints: 2")).unwrap();
    // How tmux writes a colour in the foreground.
    let is_coloured = |styled: &str| styled.contains("\x1b[38;5;");
    let styled = tmux.styled().unwrap();
    assert!(is_coloured(&styled), "{styled:?}");
    tmux.resize(30, 8).unwrap();
    tmux.wait(PATIENCE, "it is too small", |screen| screen.starts_with("too small")).unwrap();
    tmux.resize(120, 40).unwrap();
    tmux.wait(PATIENCE, "it is wide", |screen| screen.contains("vpc-consumer-a")).unwrap();
    tmux.press("q").unwrap();
    tmux.prompt(PATIENCE).unwrap();

    tmux.command(&format!("NO_COLOR=1 {}", site.top())).unwrap();
    tmux.wait(PATIENCE, "it is there", |screen| screen.contains("endpoints: 2")).unwrap();
    let styled = tmux.styled().unwrap();
    assert!(!is_coloured(&styled), "{styled:?}");
    tmux.press("q").unwrap();
    tmux.prompt(PATIENCE).unwrap();
}
