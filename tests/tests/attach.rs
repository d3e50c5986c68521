//! How the data path is attached: as the daemon chooses, as it is told, and otherwise after a reload. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{
    Daemon, ENDPOINT, Home, Lab, Links, Server, Topology, attached, binary, binary_with, connect,
    echo_targets, example, exchange, greeting, round_trip,
};

#[path = "refusals/refused.rs"]
mod refused;

use refused::{Paths, assert_line, refused_at};

const PATIENCE: Duration = Duration::from_secs(20);
const INTERFACES: [&str; 3] = ["pl-provider", "pl-consumer-a", "pl-consumer-b"];

fn lab(links: Links) -> (Lab, [Server; 2]) {
    let lab = Lab::with_links(&Topology::overlap().without_targets(), links).unwrap();
    let targets = echo_targets(&lab).unwrap();
    (lab, targets)
}

/// A new connection of each consumer works.
fn works(lab: &Lab) {
    for consumer in ["consumer-a", "consumer-b"] {
        round_trip(lab.network(consumer).unwrap(), ENDPOINT).unwrap();
    }
}

/// Mode and reason of each interface, by its name.
fn modes(daemon: &Daemon) -> BTreeMap<String, (String, String)> {
    let status = daemon.cli(&["status", "-o", "json"]).unwrap();
    let rows = status[0]["interfaces"].as_array().unwrap().clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let row = |row: &serde_json::Value| {
        (text(&row["interface"]), (text(&row["mode"]), text(&row["reason"])))
    };
    rows.iter().map(row).collect()
}

/// What is pinned for interfaces, without their indexes: how many of each kind.
fn hooks(home: &Home) -> BTreeMap<String, usize> {
    let mut hooks = BTreeMap::new();
    for schema in fs::read_dir(home.pins()).into_iter().flatten() {
        for pin in fs::read_dir(schema.unwrap().path()).unwrap() {
            let name = pin.unwrap().file_name().into_string().unwrap();
            if let Some((kind @ ("xdp" | "tcx" | "tc"), _)) = name.split_once('-') {
                *hooks.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
    hooks
}

fn counted(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect()
}

#[test]
fn a_veth_is_attached_at_tc_ingress_unless_told_otherwise() {
    let (lab, _targets) = lab(Links::Plain);
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    works(&lab);
    let expected = ("tcx".to_owned(), "veth: XDP would take its offloads".to_owned());
    let expected = INTERFACES.map(|name| (name.to_owned(), expected.clone()));
    assert_eq!(modes(&daemon), expected.into());
    assert_eq!(hooks(&daemon.home()), counted(&[("tcx", 3)]));
    assert_eq!(daemon.drops("pl-consumer-a", "ChecksumUnfinished").unwrap(), 0);
    daemon.stop().unwrap();
}

#[test]
fn behind_xdp_there_is_the_classifier_where_another_interface_has_no_xdp() {
    let (lab, _targets) = lab(Links::ForXdp);
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let text = attached(&text, "xdp").replacen(
        "\"xdp\", name = \"pl-consumer-b\"",
        "\"tcx\", name = \"pl-consumer-b\"",
        1,
    );
    let config = lab.folder().join("mixed.toml");
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    works(&lab);
    assert_eq!(hooks(&daemon.home()), counted(&[("tcx", 3), ("xdp", 2)]));
    let told = modes(&daemon);
    assert_eq!(INTERFACES.map(|name| told[name].0.as_str()), ["xdp", "xdp", "tcx"]);
}

#[test]
fn a_reload_changes_how_interfaces_are_attached_and_ends_nothing() {
    let (lab, _targets) = lab(Links::ForXdp);
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let config = lab.folder().join("changing.toml");
    fs::write(&config, attached(&text, "xdp")).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    let mut stream = connect(lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
    greeting(&mut stream).unwrap();

    for (mode, expected) in [
        ("tcx", [("tcx", 3)]),
        ("xdp", [("xdp", 3)]),
        ("xdp-generic", [("xdp", 3)]),
        ("tcx", [("tcx", 3)]),
        ("xdp-generic", [("xdp", 3)]),
        ("xdp", [("xdp", 3)]),
    ] {
        fs::write(&config, attached(&text, mode)).unwrap();
        daemon.signal(Signal::SIGHUP);
        let told = |status: &serde_json::Value| {
            let mut rows = status[0]["interfaces"].as_array().unwrap().iter();
            rows.all(|row| row["mode"] == mode && row["reason"] == "as configured")
        };
        daemon.wait_cli(PATIENCE, mode, &["status", "-o", "json"], told).unwrap();
        let narrowed = || hooks(&daemon.home()) == counted(&expected);
        privatelink_tests::wait_until(PATIENCE, "the others are off", narrowed).unwrap();
        assert_eq!(exchange(&mut stream, mode.as_bytes()).unwrap(), mode.as_bytes());
        works(&lab);
    }
}

#[test]
fn a_second_daemon_finds_the_classifier_and_attaches_nothing() {
    let (lab, _targets) = lab(Links::Plain);
    let config = lab.example_attached("overlap.toml", "tcx").unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    let other = Home::new().unwrap();
    let said = refused_at(&lab, &config, &Paths::of(&other));
    assert_line(&said, &["interface pl-provider already has a classifier of privatelink (id "]);
    assert_eq!(hooks(&daemon.home()), counted(&[("tcx", 3)]));
    assert!(!other.pins().exists() && !other.socket().exists(), "nothing of it is left");
    works(&lab);
}

/// The filters at an interface's tc ingress, as `tc` shows them.
fn filters(lab: &Lab, interface: &str) -> Vec<serde_json::Value> {
    let shown = lab.gateway().run(&["tc", "-j", "filter", "show", "dev", interface, "ingress"]);
    let shown = shown.unwrap_or_default();
    let all: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap_or_default();
    all.into_iter().filter(|filter| !filter["options"].is_null()).collect()
}

#[test]
fn without_tcx_a_filter_is_attached_adopted_and_taken_off() {
    let (lab, _targets) = lab(Links::Plain);
    let config = lab.example_attached("overlap.toml", "tcx").unwrap();
    let library = [("LD_PRELOAD", env!("NO_TCX_LIBRARY"))];
    let program = binary_with(lab.folder(), &library).unwrap();
    let home = Arc::new(Home::of(&lab).unwrap());
    let start = || Daemon::start_program(&program, home.clone(), &lab, &config, &[]).unwrap();
    let daemon = start();
    works(&lab);
    assert_eq!(daemon.log().matches("this kernel has no tcx").count(), 1, "{}", daemon.log());
    assert_eq!(hooks(&home), counted(&[("tc", 3)]));
    let of = |interface: &str| {
        let filters = filters(&lab, interface);
        assert_eq!(filters.len(), 1, "{filters:?}");
        assert_eq!(filters[0]["pref"], 3, "{filters:?}");
        assert_eq!(filters[0]["options"]["handle"], "0x706c0001", "{filters:?}");
        filters[0]["options"]["prog"]["id"].as_u64().unwrap()
    };
    let first = INTERFACES.map(of);
    let mut stream = connect(lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
    greeting(&mut stream).unwrap();

    daemon.kill().unwrap();
    assert_eq!(exchange(&mut stream, b"after the kill").unwrap(), b"after the kill");
    let daemon = start();
    let second = INTERFACES.map(of);
    assert!(first.iter().zip(&second).all(|(a, b)| a != b), "{first:?} -> {second:?}");
    assert_eq!(exchange(&mut stream, b"after the swap").unwrap(), b"after the swap");
    works(&lab);

    daemon.stop().unwrap();
    assert_eq!(INTERFACES.map(of), second, "a daemon that stops leaves it");
    let mut detach = lab.gateway().command(&binary().unwrap().to_string_lossy());
    let done = detach.arg("detach").arg("--pin-dir").arg(home.pins()).output().unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "detached from 3 interfaces\n");
    assert_eq!(INTERFACES.map(|interface| filters(&lab, interface).len()), [0; 3]);
    assert!(!home.pins().exists());
}
