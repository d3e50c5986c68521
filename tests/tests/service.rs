//! The daemon as `examples/privatelink.service` runs it: with its capabilities only, and heard by a service manager.
//! Needs root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{Daemon, Home, Lab, Starting, Topology, binary, example, http_get};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the unit says of a key; systemd joins lines of the same key.
fn unit(key: &str) -> Vec<String> {
    let text = fs::read_to_string(example("privatelink.service")).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(name, _)| *name == key).flat_map(|(_, value)| value.split(' '));
    values.map(str::to_owned).collect()
}

/// The capabilities that the unit leaves to the daemon, as setpriv(1) names them.
fn capabilities() -> BTreeSet<String> {
    let names = unit("CapabilityBoundingSet");
    names.iter().map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase()).collect()
}

/// A program that becomes the daemon with these capabilities of root's only, and a watchdog that waits for a second.
fn confined(lab: &Lab, capabilities: &BTreeSet<String>) -> PathBuf {
    let program = lab.folder().join("confined");
    let kept: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let text = format!(
        "#!/bin/sh\nexport WATCHDOG_USEC=1000000\nexec setpriv --no-new-privs --bounding-set=-all{kept} {} \"$@\"\n",
        binary().unwrap().display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn start(lab: &Lab, home: &Arc<Home>, capabilities: &BTreeSet<String>) -> Starting {
    let program = confined(lab, capabilities);
    Daemon::begin(&program, Arc::clone(home), lab, &example("overlap.toml"), &[]).unwrap()
}

/// The effective capabilities of a process, as a mask.
fn effective(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

fn serves(lab: &Lab) {
    let said = http_get(lab.network("consumer-a").unwrap(), "http://10.0.1.10/").unwrap();
    assert!(said.starts_with("web-"), "{said}");
}

#[test]
fn it_runs_with_the_units_capabilities_and_tells_its_service_manager() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let home = Arc::new(Home::of(&lab).unwrap());
    let mut starting = start(&lab, &home, &capabilities());
    starting.hear("READY=1").unwrap();
    let mask = effective(starting.daemon().pid());
    assert_eq!(mask.count_ones() as usize, capabilities().len(), "{mask:#x}");
    serves(&lab);
    let healthy =
        |rows: &Value| rows.as_array().unwrap().iter().all(|row| row["health"] == "healthy");
    let asked = &["targets", "-o", "json"];
    starting.daemon().wait_cli(PATIENCE, "all are healthy", asked, healthy).unwrap();

    for _ in 0..3 {
        starting.hear("WATCHDOG=1").unwrap();
    }
    starting.daemon().signal(Signal::SIGHUP);
    let said = starting.hear("RELOADING=1").unwrap();
    assert!(said.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{said}");
    starting.hear("READY=1").unwrap();
    starting.daemon().signal(Signal::SIGTERM);
    starting.hear("STOPPING=1").unwrap();
    drop(starting);

    // The next one adopts what is pinned, with no more.
    serves(&lab);
    let _next = start(&lab, &home, &capabilities()).ready().unwrap();
    serves(&lab);
}

#[test]
fn it_needs_every_capability_of_the_unit() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    for without in capabilities() {
        let mut kept = capabilities();
        kept.remove(&without);
        let home = Arc::new(Home::of(&lab).unwrap());
        match start(&lab, &home, &kept).ready() {
            // Targets cannot be checked.
            Ok(daemon) => {
                let refused = |rows: &Value| rows.to_string().contains("not permitted");
                let asked = &["targets", "-o", "json"];
                daemon.wait_cli(PATIENCE, "checks are refused", asked, refused).unwrap();
            }
            Err(error) => {
                let error = format!("{error:#}");
                assert!(error.contains("no permission to load BPF"), "without {without}: {error}");
            }
        }
    }
}

#[test]
fn the_unit_is_told_what_the_daemon_tells() {
    assert_eq!(unit("Type"), ["notify"]);
    assert!(unit("WatchdogSec")[0].parse::<u32>().unwrap() >= 10);
    assert_eq!(unit("ExecReload"), ["/bin/kill", "-HUP", "$MAINPID"]);
    assert_eq!(unit("ExecStart")[..2], ["/usr/bin/privatelink", "run"]);
    assert_eq!(
        [unit("StateDirectory"), unit("RuntimeDirectory")],
        [["privatelink"], ["privatelink"]]
    );
}
