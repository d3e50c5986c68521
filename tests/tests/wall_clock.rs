//! The wall clock jumps by a day, forward and back: no flow ends of it, and none lives longer. Needs root.
//!
//! Not the machine's clock, for others use it: the daemon gets another one, by a preloaded library. In the kernel nothing
//! can look at the wall clock, and that is tested too.

#[path = "object/embedded.rs"]
mod embedded;
#[path = "wall_clock/moved.rs"]
mod moved;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Home, Lab, Topology, binary, connect, echo_targets, example, exchange,
    greeting,
};

use moved::{DAY, daemon_with_a_clock, seen_step};

const LIVE: usize = 10;
/// The daemon sweeps every second.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn flows_live_and_end_as_if_nothing_had_happened() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = echo_targets(&lab).unwrap();
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let short = "acceptance_required = false\ntimeouts = { closing = \"1s\", lease_hold = \"1s\" }";
    let config = lab.folder().join("short.toml");
    fs::write(&config, text.replace("acceptance_required = false", short)).unwrap();
    let offset = lab.folder().join("offset");
    let step = |seconds: i64| fs::write(&offset, seconds.to_string()).unwrap();
    step(0);
    let program = daemon_with_a_clock(lab.folder(), &offset);
    let home = Arc::new(Home::of(&lab).unwrap());
    let daemon = Daemon::start_program(&program, home, &lab, &config, &[]).unwrap();

    let libraries = fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).unwrap();
    assert!(libraries.contains(env!("WALL_CLOCK_LIBRARY")), "the daemon has the moved clock");

    let consumer = lab.network("consumer-a").unwrap();
    let open = || {
        let mut stream = connect(consumer, None, ENDPOINT).unwrap();
        let lease = greeting(&mut stream).unwrap().peer;
        (stream, lease)
    };
    let mut live: Vec<_> = (0..LIVE).map(|_| open()).collect();
    for seconds in [0, DAY, 0, -DAY, 0] {
        step(seconds);
        let seen = seen_step(&offset);
        assert!((seen - seconds).abs() < DAY / 2, "the clock is {seen} s ahead, not {seconds}");

        // It goes when the daemon has swept since, and by a clock that neither jumped nor stood still.
        let (mut closed, gone) = open();
        closed.shutdown(Shutdown::Write).unwrap();
        assert_eq!(closed.read(&mut [0]).unwrap(), 0);
        let gone = gone.to_string();
        let is_gone = |rows: &serde_json::Value| {
            rows.as_array().is_some_and(|rows| rows.iter().all(|row| row["nat"] != gone))
        };
        daemon
            .wait_cli(PATIENCE, "the closed flow is gone", &["flows", "-o", "json"], is_gone)
            .unwrap();

        let flows = daemon.flows(&[]).unwrap();
        let leases: BTreeSet<_> = flows.iter().map(|flow| flow.nat).collect();
        assert_eq!(leases, live.iter().map(|(_, lease)| *lease).collect(), "by {seconds} s");
        for flow in flows {
            let day = DAY.unsigned_abs() * 1000;
            assert!(flow.age_ms < day / 2 && flow.idle_ms < day / 2, "by {seconds} s: {flow:?}");
        }
        for (stream, _) in &mut live {
            assert_eq!(exchange(stream, b"as ever").unwrap(), b"as ever");
        }
    }
    daemon.stop().unwrap();
}

/// A clock that goes on while the machine sleeps would end all flows when it wakes, one that is set would at any time.
#[test]
fn the_programs_ask_no_clock_that_jumps() {
    // enum bpf_func_id, by what they read.
    let clocks = [
        (5, "monotonic"),
        (118, "jiffies"),
        (125, "boottime"),
        (160, "monotonic, coarse"),
        (208, "TAI"),
    ];
    let functions = embedded::functions(&binary().unwrap()).unwrap();
    let asked: BTreeSet<u32> =
        functions.values().flat_map(|function| function.helpers.iter().copied()).collect();
    let asked: Vec<_> = clocks.iter().filter(|(helper, _)| asked.contains(helper)).collect();
    // Flows live by jiffies; the budget of ICMP errors is of nanoseconds.
    assert_eq!(asked, [&(5, "monotonic"), &(118, "jiffies")]);
}
