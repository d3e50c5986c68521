//! A daemon is killed in the middle of what it does. Needs root.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use privatelink_tests::{
    Daemon, ENDPOINT, Flood, Home, Lab, Topology, binary, echo_targets, example, round_trip,
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Half-open flows when a flood has used up the quota of its endpoint.
const CROWD: u64 = 50_000;
const LIMITS: &str = "
[flow_table]
capacity = 262144
[endpoint_limits]
half_open_flows = 50000
";
const CONSUMER_SIDE: &str = "# ---- consumer side";
const TIMEOUTS: &str = "[endpoint_service.timeouts]\nhalf_open = \"3s\"\n";

/// A map that the data path keeps, read from its pin.
struct Pinned<const WORDS: usize>(Array<MapData, [u64; WORDS]>);

impl<const WORDS: usize> Pinned<WORDS> {
    fn open(home: &Home, name: &str) -> Self {
        let schema = fs::read_dir(home.pins()).unwrap().next().unwrap().unwrap().path();
        let map = Map::Array(MapData::from_pin(schema.join(name)).unwrap());
        Self(map.try_into().unwrap())
    }

    fn all(&self, is: impl Fn([u64; WORDS]) -> bool) -> bool {
        self.0.iter().all(|words| is(words.unwrap()))
    }
}

/// Live flows of both endpoints, by their counts.
fn live(usage: &Pinned<16>) -> u64 {
    (0..2).map(|endpoint| usage.0.get(&endpoint, 0).unwrap()[0]).sum()
}

#[test]
fn a_daemon_killed_while_it_ends_flows_leaves_none_half_ended() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = echo_targets(&lab).unwrap();
    let config = lab.folder().join("limits.toml");
    let text = fs::read_to_string(example("overlap.toml")).unwrap() + LIMITS;
    let text = text.replace(CONSUMER_SIDE, &format!("{TIMEOUTS}{CONSUMER_SIDE}"));
    fs::write(&config, text).unwrap();
    let home = Arc::new(Home::of(&lab).unwrap());
    let start = || Daemon::start_in(home.clone(), &lab, &config, &[]).unwrap();
    let mut daemon = start();
    let usage = Pinned::<16>::open(&home, "FLOW_USAGE");
    for _ in 0..3 {
        let flood = Flood::start(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
        wait_until(PATIENCE, "the quota is used up", || live(&usage) >= CROWD).unwrap();
        drop(flood);
        let full = live(&usage);
        // Asked without a pause: a sweep is over soon.
        while live(&usage) + 1000 > full {}
        daemon.kill().unwrap();
        println!("killed with {} of {full} flows ended", full - live(&usage));
        daemon = start();
    }
    wait_until(PATIENCE, "no flow is left", || live(&usage) == 0)
        .unwrap_or_else(|error| panic!("{error}: {}", live(&usage)));
    let free = Pinned::<1>::open(&home, "FLOW_FREE");
    wait_until(PATIENCE, "every half is free", || free.all(|[word]| word == u64::MAX)).unwrap();
    assert!(Pinned::<1>::open(&home, "FLOW_STRAYS").all(|[word]| word == 0));
    round_trip(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
}

#[test]
fn a_daemon_killed_at_its_first_start_is_in_nobodys_way() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = echo_targets(&lab).unwrap();
    let home = Arc::new(Home::of(&lab).unwrap());
    let config = example("overlap.toml");
    let starting = Daemon::begin(&binary().unwrap(), home.clone(), &lab, &config, &[]).unwrap();
    let pins = || -> Vec<PathBuf> {
        let schemas = fs::read_dir(home.pins()).into_iter().flatten();
        let pins = schemas.flat_map(|schema| fs::read_dir(schema.unwrap().path()).unwrap());
        pins.map(|pin| pin.unwrap().path()).collect()
    };
    // All maps: the kernel verifies the program next, for a while, and they hold nothing yet.
    wait_until(PATIENCE, "the maps are pinned", || pins().len() >= 22).unwrap();
    starting.kill().unwrap();
    assert!(lab.programs().unwrap().is_empty());
    let _daemon = Daemon::start_in(home.clone(), &lab, &config, &[]).unwrap();
    round_trip(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
}
