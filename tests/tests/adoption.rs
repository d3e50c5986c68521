//! What an earlier daemon left is adopted as it is, or refused with the remedy and left alone. Needs root.

#[path = "refusals/refused.rs"]
mod refused;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use privatelink_tests::{
    Daemon, ENDPOINT, Home, Lab, Server, Topology, binary, connect, echo_targets, example,
    exchange, greeting, round_trip,
};

use refused::{Paths, assert_line, refused_at};

/// A data path without its daemon, and a connection over it.
struct Left {
    live: TcpStream,
    home: Arc<Home>,
    lab: Lab,
    _targets: [Server; 2],
}

impl Left {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
        let mut live = connect(lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
        greeting(&mut live).unwrap();
        let home = daemon.home();
        daemon.stop().unwrap();
        Self { live, home, lab, _targets: targets }
    }

    fn goes_on(&mut self) {
        assert_eq!(exchange(&mut self.live, b"as before").unwrap(), b"as before");
        round_trip(self.lab.network("consumer-b").unwrap(), ENDPOINT).unwrap();
    }

    /// A daemon with this configuration refuses to start, with these words, and all goes on; with `--replace` it starts,
    /// and the old flow is none.
    fn assert_refused(mut self, config: &Path, words: &[&str]) {
        let programs = self.lab.programs().unwrap();
        assert_line(&refused_at(&self.lab, config, &Paths::of(&self.home)), words);
        assert_eq!(self.lab.programs().unwrap(), programs);
        self.goes_on();

        let daemon =
            Daemon::start_in(self.home.clone(), &self.lab, config, &["--replace"]).unwrap();
        assert!(daemon.flows(&[]).unwrap().is_empty());
        round_trip(self.lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
        let error = exchange(&mut self.live, b"after all").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    /// Leaves half of the store; what that is.
    fn truncate_store(&self) -> Vec<u8> {
        let store = self.home.state().join("state.redb");
        let mut bytes = fs::read(&store).unwrap();
        bytes.truncate(bytes.len() / 2);
        fs::write(&store, &bytes).unwrap();
        bytes
    }
}

/// What was kept aside of the stores of a state directory.
fn aside(state: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let kept = entries.filter(|path| path.to_string_lossy().contains("state.damaged-"));
    kept.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn pins_of_another_schema_are_left_to_their_own_version() {
    let left = Left::new();
    let ours = fs::read_dir(left.home.pins()).unwrap().next().unwrap().unwrap().path();
    let other = left.home.pins().join("v1");
    fs::rename(ours, &other).unwrap();
    let path = other.display().to_string();
    let words = [&*path, "another version of privatelink", "start that version again", "--replace"];
    left.assert_refused(&example("overlap.toml"), &words);
}

#[test]
fn another_capacity_needs_another_table() {
    let left = Left::new();
    let config = left.lab.folder().join("capacity.toml");
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    fs::write(&config, text + "\n[flow_table]\ncapacity = 4096\n").unwrap();
    let words = ["FLOWS has 2097152 elements", "asks for 8192", "change it back", "--replace"];
    left.assert_refused(&config, &words);
}

#[test]
fn without_the_state_directory_the_pins_mean_nothing() {
    let left = Left::new();
    fs::remove_dir_all(left.home.state()).unwrap();
    let words = ["belong to another state directory", "--state-dir", "--replace"];
    left.assert_refused(&example("overlap.toml"), &words);
}

#[test]
fn a_truncated_store_is_kept_aside_and_its_pins_are_refused() {
    let left = Left::new();
    let half = left.truncate_store();
    let home = left.home.clone();
    left.assert_refused(&example("overlap.toml"), &["another state directory", "--replace"]);
    assert_eq!(aside(&home.state()), [half]);
}

#[test]
fn a_truncated_store_without_pins_is_kept_aside_and_said_so() {
    let left = Left::new();
    let half = left.truncate_store();
    let Left { home, lab, .. } = &left;
    let mut detach = lab.gateway().command(&binary().unwrap().to_string_lossy());
    assert!(detach.arg("detach").arg("--pin-dir").arg(home.pins()).status().unwrap().success());
    let daemon = Daemon::start_in(home.clone(), lab, &example("overlap.toml"), &[]).unwrap();
    assert_eq!(aside(&home.state()), [half]);
    let log = daemon.log();
    let words = ["state.redb is damaged", "it is kept as", "decisions made at run time are lost"];
    assert!(words.iter().all(|word| log.contains(word)), "{log}");
}
