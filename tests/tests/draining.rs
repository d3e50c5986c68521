//! Targets and load balancer addresses that are removed keep the flows they have. Needs root.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{
    Daemon, ENDPOINT, Greeting, Lab, Server, Topology, connect, echo_targets, example, exchange,
    greeting, round_trip, wait_until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: &str = "  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n";
const DELAY: &str = "\"deregistration_delay.timeout_seconds\" = 90";

/// Two echo targets behind the gateway of the example, which is changed as the test goes on.
struct Site {
    lab: Lab,
    _targets: [Server; 2],
    config: PathBuf,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let config = lab.folder().join("draining.toml");
        let site = Self { lab, _targets: targets, config };
        site.write(&[]);
        site
    }

    /// Writes the example with these edits.
    fn write(&self, edits: &[(&str, &str)]) {
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        let text = text.replacen("protocol = \"http\" ", "protocol = \"tcp\" ", 1);
        let text = text.replacen("path = \"/\"\n", "", 1);
        let edited = edits.iter().fold(text, |text, (find, replace)| {
            assert!(text.contains(find), "{find}");
            text.replacen(find, replace, 1)
        });
        fs::write(&self.config, edited).unwrap();
    }

    fn start(&self) -> Daemon {
        Daemon::start(&self.lab, &self.config, &[]).unwrap()
    }

    fn open(&self) -> (TcpStream, Greeting) {
        let consumer = self.lab.network("consumer-a").unwrap();
        let mut stream = connect(consumer, None, ENDPOINT).unwrap();
        let greeting = greeting(&mut stream).unwrap();
        (stream, greeting)
    }

    /// A connection to the target that is going to leave.
    fn open_to_second(&self) -> TcpStream {
        let mut found = None;
        wait_until(PATIENCE, "the second target is met", || {
            let (stream, greeting) = self.open();
            found = (greeting.name == "10.0.1.11:8081").then_some(stream);
            found.is_some()
        })
        .unwrap();
        found.unwrap()
    }

    /// Where new connections go and what they come from.
    fn new_connections(&self) -> Vec<(String, Ipv4Addr)> {
        let consumer = self.lab.network("consumer-a").unwrap();
        let opened = (0..20).map(|_| round_trip(consumer, ENDPOINT).unwrap());
        opened.map(|greeting| (greeting.name, *greeting.peer.ip())).collect()
    }
}

fn reload(daemon: &Daemon, endings: &str) {
    let before = daemon.log().matches("is in force").count();
    daemon.signal(Signal::SIGHUP);
    wait_until(PATIENCE, "the file is in force", || {
        daemon.log().matches("is in force").count() > before
    })
    .unwrap();
    let log = daemon.log();
    let last = log.lines().rfind(|line| line.contains("is in force")).unwrap();
    assert!(last.ends_with(endings), "{last}");
}

fn says(stream: &mut TcpStream, words: &str) {
    assert_eq!(exchange(stream, words.as_bytes()).unwrap(), words.as_bytes());
}

/// Waits until the target that left is in this state, or gone.
fn wait_state(daemon: &Daemon, state: Option<[&str; 2]>) {
    let is_so = |rows: &Value| {
        let rows = rows.as_array().unwrap();
        let row = rows.iter().find(|row| row["target"] == "10.0.1.11:8081");
        match (row, state) {
            (Some(row), Some([state, reason])) => row["health"] == state && row["reason"] == reason,
            (row, state) => row.is_none() == state.is_none(),
        }
    };
    daemon.wait_cli(PATIENCE, "the target's state", &["targets", "-o", "json"], is_so).unwrap();
}

const DRAINING: Option<[&str; 2]> = Some(["draining", "Target.DeregistrationInProgress"]);

#[test]
fn a_removed_target_keeps_its_connections_over_reloads_and_restarts() {
    let site = Site::new();
    let mut daemon = site.start();
    let mut stream = site.open_to_second();
    site.write(&[(SECOND, "")]);
    reload(&daemon, "is in force");
    says(&mut stream, "after it was removed");
    wait_state(&daemon, DRAINING);
    let gone_to = |connections: &[(String, Ipv4Addr)]| {
        connections.iter().all(|(name, _)| name == "10.0.1.10:8080")
    };
    assert!(gone_to(&site.new_connections()));

    for restart in ["SIGTERM", "SIGKILL"] {
        let home = daemon.home();
        if restart == "SIGTERM" {
            daemon.stop().unwrap();
        } else {
            daemon.kill().unwrap();
        }
        says(&mut stream, "without a daemon");
        daemon = Daemon::start_in(home, &site.lab, &site.config, &[]).unwrap();
        wait_state(&daemon, DRAINING);
        says(&mut stream, restart);
        assert!(gone_to(&site.new_connections()));
    }

    drop(stream);
    wait_state(&daemon, None);
    assert!(gone_to(&site.new_connections()));
}

#[test]
fn a_target_removed_while_no_daemon_runs_drains_as_well() {
    let site = Site::new();
    let daemon = site.start();
    let mut stream = site.open_to_second();
    let home = daemon.home();
    daemon.stop().unwrap();
    let other = ("10.0.0.10/16", "10.0.0.11/16");
    site.write(&[(SECOND, ""), other]);
    let daemon = Daemon::start_in(home, &site.lab, &site.config, &[]).unwrap();
    says(&mut stream, "by a target and an address that are gone");
    wait_state(&daemon, DRAINING);
    for (name, address) in site.new_connections() {
        assert_eq!((name.as_str(), address), ("10.0.1.10:8080", Ipv4Addr::new(10, 0, 0, 11)));
    }
}

#[test]
fn a_target_that_comes_back_stays() {
    let site = Site::new();
    let daemon = site.start();
    let mut stream = site.open_to_second();
    site.write(&[(SECOND, "")]);
    reload(&daemon, "is in force");
    wait_state(&daemon, DRAINING);
    site.write(&[]);
    reload(&daemon, "is in force");
    wait_state(&daemon, Some(["healthy", ""]));
    says(&mut stream, "home again");
    site.open_to_second();
}

#[test]
fn flows_end_with_the_delay_where_the_group_says_so() {
    const SHORT: &str = "\"deregistration_delay.timeout_seconds\" = 3";
    const ENDS: &str = "\"deregistration_delay.connection_termination.enabled\" = true";
    let site = Site::new();
    let daemon = site.start();
    let (mut kept, mut stream) = (site.open_to_second(), site.open_to_second());
    site.write(&[(SECOND, ""), (DELAY, SHORT)]);
    reload(&daemon, "is in force");
    says(&mut stream, "while it drains");
    wait_state(&daemon, Some(["unused", "Target.NotRegistered"]));
    says(&mut kept, "for as long as it likes");
    says(&mut stream, "for as long as it likes");

    site.write(&[(SECOND, ""), (DELAY, &format!("{SHORT}\n{ENDS}"))]);
    reload(&daemon, "is in force");
    wait_state(&daemon, None);
    for stream in [&mut kept, &mut stream] {
        let error = exchange(stream, b"too late").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
}

#[test]
fn a_removed_load_balancer_address_keeps_its_connections() {
    let (before, after) = (Ipv4Addr::new(10, 0, 0, 10), Ipv4Addr::new(10, 0, 0, 11));
    let site = Site::new();
    let daemon = site.start();
    let (mut stream, greeting) = site.open();
    assert_eq!(*greeting.peer.ip(), before);
    site.write(&[("10.0.0.10/16", "10.0.0.11/16")]);
    reload(&daemon, "is in force");
    says(&mut stream, "from the address it had");
    assert!(site.new_connections().iter().all(|(_, address)| *address == after));

    wait_state(&daemon, Some(["healthy", ""]));
    says(&mut stream, "from the address it had");
    drop(stream);
    daemon.wait_log("address 10.0.0.10 of web-nlb has drained", PATIENCE).unwrap();
}

#[test]
fn what_is_removed_as_a_whole_ends_its_flows() {
    const ENDPOINT_A: &str = "[{ zone = \"us-east-1a\", address = \"10.0.1.10\" }]      # the very";
    let site = Site::new();
    let daemon = site.start();
    let (_stream, _) = site.open();
    let elsewhere = "[{ zone = \"us-east-1a\", address = \"10.0.1.12\" }]      # the very";
    site.write(&[(ENDPOINT_A, elsewhere)]);
    reload(&daemon, "1 flows ended, since what they used is gone");
    assert!(daemon.flows(&[]).unwrap().is_empty());
}
