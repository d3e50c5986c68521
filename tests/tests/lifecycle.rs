//! A daemon that stops leaves the host as it was; one that is killed leaves the traffic flowing. Needs root.

#[path = "lifecycle/objects.rs"]
mod objects;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use privatelink_tests::{
    Answer, Daemon, ENDPOINT, Home, Lab, Server, Topology, binary, connect, echo_targets, example,
    exchange, greeting, probe, round_trip, wait_until,
};
use serde_json::Value;

use objects::Objects;

/// What the daemon could change on the gateway, by what it is.
fn host(lab: &Lab, home: &Home) -> BTreeMap<String, String> {
    let gateway = lab.gateway();
    let run = |words: &str| gateway.run(&words.split(' ').collect::<Vec<_>>()).unwrap();
    let mut host = BTreeMap::new();
    for words in ["ip -d link", "ip -brief address", "ip route show table all", "ip rule"] {
        host.insert(words.to_owned(), run(words));
    }
    // Entries that the kernel learnt by itself come and go; those that somebody made do not.
    let neighbours = run("ip -d neigh show");
    let made =
        |line: &&str| ["PERMANENT", "managed", "proto"].iter().any(|word| line.contains(word));
    let made: Vec<_> = neighbours.lines().filter(made).collect();
    host.insert("neighbours".to_owned(), made.join("\n"));
    gateway
        .enter(|| {
            read_all(Path::new("/proc/sys/net/ipv4/conf"), &mut host);
            read_all(Path::new("/proc/sys/net/ipv4/neigh"), &mut host);
            read_all(Path::new("/proc/sys/net/ipv4/ip_forward"), &mut host);
        })
        .unwrap();
    for path in [home.pins(), &home.socket()] {
        host.insert(path.display().to_string(), format!("exists: {}", path.exists()));
    }
    host
}

fn read_all(path: &Path, into: &mut BTreeMap<String, String>) {
    if let Ok(entries) = fs::read_dir(path) {
        entries.for_each(|entry| read_all(&entry.unwrap().path(), into));
    } else if let Ok(text) = fs::read_to_string(path) {
        into.insert(path.display().to_string(), text);
    }
}

fn assert_same(after: &BTreeMap<String, String>, before: &BTreeMap<String, String>) {
    for (what, before) in before {
        assert_eq!(after.get(what), Some(before), "{what} is not as it was");
    }
    assert_eq!(after.len(), before.len());
}

fn lab() -> (Lab, [Server; 2]) {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let targets = echo_targets(&lab).unwrap();
    (lab, targets)
}

/// Whether a new connection of a consumer works.
fn works(lab: &Lab, consumer: &str) {
    round_trip(lab.network(consumer).unwrap(), ENDPOINT).unwrap();
}

fn detach(lab: &Lab, home: &Home) -> Output {
    let mut command = lab.gateway().command(&binary().unwrap().to_string_lossy());
    command.arg("detach").arg("--pin-dir").arg(home.pins()).output().unwrap()
}

#[test]
fn a_daemon_that_detaches_on_stop_leaves_the_host_as_it_was() {
    let (lab, _targets) = lab();
    // The operator decreed one of the targets' addresses, and the kernel has learnt the other's by itself.
    let provider = lab.network("provider").unwrap();
    let link: Value =
        serde_json::from_str(&provider.run(&["ip", "-j", "link", "show", "eth0"]).unwrap())
            .unwrap();
    let mac = link[0]["address"].as_str().unwrap();
    let decree = ["ip", "neigh", "replace", "10.0.1.11", "lladdr", mac, "dev", "pl-provider"];
    lab.gateway().run(&decree).unwrap();
    connect(lab.gateway(), None, ([10, 0, 1, 10], 8080)).unwrap();

    let home = std::sync::Arc::new(Home::of(&lab).unwrap());
    let before = host(&lab, &home);
    // XDP is seen among the links.
    let config = lab.example_attached("overlap.toml", "xdp").unwrap();
    let daemon = Daemon::start_in(home.clone(), &lab, &config, &["--detach-on-stop"]).unwrap();
    works(&lab, "consumer-a");
    works(&lab, "consumer-b");
    let during = host(&lab, &home);
    let changed: Vec<_> =
        during.iter().filter(|(what, now)| before.get(*what) != Some(now)).collect();
    assert_eq!(changed.len(), 4, "links, neighbours, pins and socket: {changed:?}");
    assert_eq!(lab.programs().unwrap().len(), 3);

    daemon.stop().unwrap();
    assert_same(&host(&lab, &home), &before);
    assert!(lab.programs().unwrap().is_empty());
}

#[test]
fn a_killed_daemon_leaves_traffic_flowing_and_the_next_takes_over() {
    let (lab, _targets) = lab();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let home = daemon.home();
    let mut streams = ["consumer-a", "consumer-b"].map(|consumer| {
        let mut stream = connect(lab.network(consumer).unwrap(), None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        stream
    });
    let first = lab.programs().unwrap();

    daemon.kill().unwrap();
    assert_eq!(lab.programs().unwrap(), first, "the links are pinned");
    for stream in &mut streams {
        assert_eq!(exchange(stream, b"after the kill").unwrap(), b"after the kill");
    }
    works(&lab, "consumer-a");

    let next = Daemon::start_in(home.clone(), &lab, &example("overlap.toml"), &[]).unwrap();
    let second = lab.programs().unwrap();
    assert_eq!(second.len(), 3);
    assert!(
        second.iter().all(|(interface, program)| first[interface] != *program),
        "{first:?} -> {second:?}"
    );
    for stream in &mut streams {
        assert_eq!(exchange(stream, b"after the swap").unwrap(), b"after the swap");
    }
    assert_eq!(next.flows(&[]).unwrap().len(), 3, "two streams, and one connection from between");
    works(&lab, "consumer-a");
    works(&lab, "consumer-b");

    next.stop().unwrap();
    assert_eq!(lab.programs().unwrap(), second, "a daemon that stops leaves it as well");
    for stream in &mut streams {
        assert_eq!(exchange(stream, b"after the stop").unwrap(), b"after the stop");
    }
    detach(&lab, &home);
    assert!(lab.programs().unwrap().is_empty());
    assert!(!home.pins().exists() && !home.socket().exists());
}

#[test]
fn detach_takes_off_what_a_killed_daemon_left_and_nothing_of_a_running_one() {
    let (lab, _targets) = lab();
    let home = std::sync::Arc::new(Home::of(&lab).unwrap());
    let mut before = host(&lab, &home);
    let daemon = Daemon::start_in(home.clone(), &lab, &example("overlap.toml"), &[]).unwrap();
    let attached = lab.programs().unwrap();

    let refused = detach(&lab, &home);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("another privatelink daemon holds it"), "{said}");
    assert_eq!(lab.programs().unwrap(), attached);
    works(&lab, "consumer-a");

    let objects = Objects::of(daemon.pid());
    assert_eq!(objects, objects.left());
    assert!(objects.programs.len() >= 4 && objects.links.len() >= 3, "{objects:?}");

    daemon.kill().unwrap();
    let done = detach(&lab, &home);
    assert!(done.status.success(), "{done:?}");
    // The kernel frees them a grace period after the last reference has gone.
    let gone = || objects.left() == Objects::default();
    wait_until(Duration::from_secs(20), "nothing of it is in the kernel", gone)
        .unwrap_or_else(|error| panic!("{error}: {:?}", objects.left()));
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "detached from 3 interfaces\n");
    let from = "10.0.2.20:0".parse().unwrap();
    let answers = probe(lab.network("consumer-a").unwrap(), from, &[ENDPOINT]);
    assert_eq!(answers, [Answer::Silence]);
    // The killed daemon's socket stays until the next one replaces it.
    before.insert(home.socket().display().to_string(), "exists: true".to_owned());
    assert_same(&host(&lab, &home), &before);

    let again = detach(&lab, &home);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "detached from 0 interfaces\n");
}
