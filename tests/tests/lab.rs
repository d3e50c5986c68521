//! The lab leaves nothing behind, and does what the other tests build on. Needs root.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use privatelink_tests::{
    Daemon, Flow, Home, Lab, Links, Namespace, Topology, down, example, http_get, http_target,
    status, veth, wait_until,
};

fn exists(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

fn processes_of(namespace: &str) -> String {
    let output =
        std::process::Command::new("ip").args(["netns", "pids", namespace]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_namespace_vanishes_when_its_owner_panics() {
    let name = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&name);
    let panicked = std::thread::spawn(move || {
        let namespace = Namespace::new("panic").unwrap();
        namespace.name().clone_into(&mut seen.lock().unwrap());
        assert!(exists(namespace.name()));
        panic!("on purpose");
    })
    .join();
    assert!(panicked.is_err());
    let name = name.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(name.starts_with("pl-panic-"), "{name}");
    assert!(!exists(&name));
}

#[test]
fn waiting_ends_with_the_condition_or_the_deadline() {
    let looks = AtomicUsize::new(0);
    wait_until(Duration::from_secs(5), "the third look", || {
        looks.fetch_add(1, Ordering::Relaxed) == 2
    })
    .unwrap();
    assert_eq!(looks.load(Ordering::Relaxed), 3);
    wait_until(Duration::ZERO, "what holds already", || true).unwrap();
    let error = wait_until(Duration::from_millis(60), "never", || false).unwrap_err();
    assert_eq!(error.to_string(), "waited 0.1 s in vain until never");
}

#[test]
fn work_runs_inside_and_its_panic_comes_out() {
    let namespace = Namespace::new("enter").unwrap();
    let interfaces = namespace.run(&["ip", "-brief", "link"]).unwrap();
    assert_eq!(interfaces.lines().count(), 1, "only loopback: {interfaces}");
    let inside = namespace.enter(|| fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
    assert_ne!(inside, fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert!(std::panic::catch_unwind(|| namespace.enter(|| panic!("on purpose"))).is_err());
    let error = namespace.run(&["ip", "link", "show", "nothing"]).unwrap_err();
    assert!(format!("{error:#}").contains("does not exist"), "{error:#}");
}

#[test]
fn a_failing_target_says_why() {
    let namespace = Namespace::new("target").unwrap();
    let error = http_target(&namespace, "192.0.2.1:80".parse().unwrap(), "web").unwrap_err();
    assert!(format!("{error:#}").contains("Cannot assign requested address"), "{error:#}");
}

#[test]
fn targets_answer_in_their_network_and_nowhere_else() {
    let mut lab = Lab::new(&Topology::overlap()).unwrap();
    let provider = lab.network("provider").unwrap();
    assert_eq!(lab.targets().len(), 2);
    for (url, answer) in [
        ("http://10.0.1.10:8080/", "web-1 10.0.1.10:8080 served 10.0.1.10:"),
        ("http://10.0.1.11:8081/", "web-2 10.0.1.11:8081 served 10.0.1."),
    ] {
        let body = http_get(provider, url).unwrap();
        assert!(body.starts_with(answer), "{body}");
    }
    // The host reaches the provider through its own interface; the other networks reach nothing: the gateway has no
    // address towards them, and nothing forwards.
    http_get(lab.gateway(), "http://10.0.1.10:8080/").unwrap();
    let consumer = lab.network("consumer-a").unwrap();
    let refused = consumer.run(&[
        "curl",
        "-sS",
        "--connect-timeout",
        "1",
        "--noproxy",
        "*",
        "http://10.0.1.10:8080/",
    ]);
    refused.unwrap_err();
    for interface in ["pl-consumer-a", "pl-consumer-b"] {
        let addresses = lab.gateway().run(&["ip", "-brief", "address", "show", interface]).unwrap();
        assert_eq!(
            addresses.split_ascii_whitespace().count(),
            2,
            "name and state, no address: {addresses}"
        );
    }

    fs::write(lab.targets()[0].files().join("big"), vec![b'x'; 100_000]).unwrap();
    assert_eq!(http_get(provider, "http://10.0.1.10:8080/files/big").unwrap().len(), 100_000);
    lab.stop_target("web-1").unwrap();
    http_get(lab.network("provider").unwrap(), "http://10.0.1.10:8080/").unwrap_err();
}

#[test]
fn a_lab_takes_everything_with_it() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let mut names: Vec<String> =
        lab.networks().map(|(_, namespace)| namespace.name().to_owned()).collect();
    names.push(lab.gateway().name().to_owned());
    let folder = lab.folder().to_owned();
    let pid = lab.targets()[0].process().pid();
    assert!(names.iter().all(|name| exists(name)));
    assert!(processes_of(&names[0]).contains(&pid.to_string()));
    drop(lab);
    assert!(!names.iter().any(|name| exists(name)));
    assert!(!folder.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn the_dual_stack_example_serves_both_consumers_from_each_family_to_each() {
    let lab = Lab::new(&Topology::dual_stack()).unwrap();
    let daemon = Daemon::start(&lab, &example("dual-stack.toml"), &[]).unwrap();
    for consumer in ["consumer-a", "consumer-b"] {
        for (url, targets, balancer) in [
            ("http://10.0.1.10/", ["web-1 10.0.1.10:8080", "web-2 10.0.1.11:8081"], "10.0.0.10:"),
            (
                "http://10.0.1.10:81/",
                ["web-3 [fd00::1:10]:8080", "web-4 [fd00::1:11]:8081"],
                "[fd00::10]:",
            ),
            (
                "http://[fd00::1:10]/",
                ["web-1 10.0.1.10:8080", "web-2 10.0.1.11:8081"],
                "10.0.0.10:",
            ),
            (
                "http://[fd00::1:10]:81/",
                ["web-3 [fd00::1:10]:8080", "web-4 [fd00::1:11]:8081"],
                "[fd00::10]:",
            ),
        ] {
            let body = http_get(lab.network(consumer).unwrap(), url).unwrap();
            let (server, client) = body.split_once(" served ").unwrap();
            assert!(targets.contains(&server) && client.starts_with(balancer), "{url}: {body}");
        }
    }
    let flows: Vec<Flow<SocketAddr>> = daemon.flows_of(&[]).unwrap();
    assert_eq!(flows.len(), 8);
    for (client, both) in [("10.0.2.20", 4), ("fd00::2:20", 4)] {
        let of = flows.iter().filter(|flow| flow.client.ip().to_string() == client);
        assert_eq!(of.count(), both, "{client}, of each consumer: {flows:?}");
    }
}

/// Runs as one test, because a host has one lab with fixed names.
#[test]
fn the_fixed_lab_goes_up_once_and_down_whoever_left_it() {
    if status().unwrap().is_up() {
        panic!("a lab is up on this host: run `cargo xtask lab down` first");
    }
    let lab = Lab::fixed(Links::Plain).unwrap();
    assert_eq!(
        Lab::fixed(Links::Plain).unwrap_err().to_string(),
        "lab is already up: cargo xtask lab down"
    );
    let pids: Vec<u32> = lab.targets().iter().map(|target| target.process().pid()).collect();
    lab.keep();

    let up = status().unwrap();
    assert!(up.namespaces.iter().all(|(_, interfaces)| interfaces.is_some()), "{up}");
    let running: Vec<_> =
        up.processes.iter().map(|(name, _, runs)| (name.as_str(), *runs)).collect();
    assert_eq!(running, ["web-1", "web-2", "web-3", "web-4"].map(|name| (name, true)));
    // A stale note must not end the process that has its pid now: here our own.
    fs::write("/run/privatelink-lab/stale.pid", format!("{} 1\n", std::process::id())).unwrap();

    assert!(down().unwrap());
    let gone = || pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists());
    wait_until(Duration::from_secs(5), "the targets are gone", gone).unwrap();
    let left = status().unwrap();
    assert!(!left.is_up(), "{left}");
    assert!(!Path::new("/run/privatelink-lab").exists());
    assert!(!down().unwrap(), "nothing is left to take down");

    drop(Lab::fixed(Links::Plain).unwrap());
    assert!(!status().unwrap().is_up(), "dropping it takes it down as well");
}

#[test]
fn links_are_named_as_asked_and_join_their_ends() {
    let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
    veth(&a, "left", &b, "right").unwrap();
    privatelink_tests::add_address(&a, "left", "10.0.0.1/16").unwrap();
    privatelink_tests::add_address(&b, "right", "10.0.0.2/16").unwrap();
    let server = http_target(&b, "10.0.0.2:80".parse().unwrap(), "b").unwrap();
    assert!(
        http_get(&a, "http://10.0.0.2/").unwrap().starts_with("b 10.0.0.2:80 served 10.0.0.1:")
    );
    server.stop().unwrap();
    let error = veth(&a, "a-name-of-16-bytes", &b, "x").unwrap_err();
    assert!(error.to_string().contains("longer than the 15 bytes"), "{error}");
}

/// A program in place of the daemon: it notes how it was called and fails.
fn failing_daemon(folder: &Path) -> PathBuf {
    let path = folder.join("privatelink");
    let source = folder.join("source");
    fs::write(&source, "#!/bin/sh\necho \"called with $*\"\necho no such interface >&2\nexit 3\n")
        .unwrap();
    // Another program copies it: a child that a parallel test forks meanwhile would hold our descriptor open for writing,
    // and the kernel refuses to run a file that is (ETXTBSY).
    let install = std::process::Command::new("install")
        .args(["-m", "755"])
        .arg(&source)
        .arg(&path)
        .status()
        .unwrap();
    assert!(install.success());
    path
}

#[test]
fn a_daemon_that_ends_early_is_reported_with_its_log() {
    let topology = Topology { networks: Vec::new(), targets: Vec::new() };
    let lab = Lab::new(&topology).unwrap();
    let home = Home::new().unwrap();
    let pins = home.pins().to_owned();
    fs::create_dir(&pins).unwrap();
    let program = failing_daemon(lab.folder());
    let error = Daemon::start_program(
        &program,
        Arc::new(home),
        &lab,
        Path::new("lab.toml"),
        &["--log", "debug"],
    );
    let text = format!("{:#}", error.unwrap_err());
    for part in [
        "exit status: 3",
        "called with run --config lab.toml --socket ",
        "--log debug",
        "no such interface",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!pins.exists(), "the pins go with the home");
}
