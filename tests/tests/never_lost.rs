//! No connection is lost whatever becomes of the daemon, its file and the networks, as long as nothing is removed that
//! the connection uses. Needs root.
//!
//! Each scenario has 200 long TCP streams of both consumers, whose every byte is checked at both ends, and beside them
//! connections that come and go. `--nocapture` shows the counts; with `PRIVATELINK_NEVER_LOST_FULL=1` it takes longer.

#[path = "object/altered.rs"]
mod altered;
#[path = "never_lost/client.rs"]
mod client;
#[path = "never_lost/content.rs"]
mod content;
#[path = "never_lost/crowd.rs"]
mod crowd;
#[path = "wall_clock/moved.rs"]
mod moved;
#[path = "never_lost/report.rs"]
mod report;
#[path = "never_lost/site.rs"]
mod site;
#[path = "never_lost/target.rs"]
mod target;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use privatelink_tests::{Daemon, add_address, attached, binary, mac, prepare_for_xdp, veth};

use crowd::{Crowd, STREAMS};
use moved::{DAY, daemon_with_a_clock};
use report::Report;
use site::{Site, TARGETS, config, install, replaced};
use target::Target;

/// Set for daemons to come and go twenty times, and for reloads to go on for a minute.
const FULL: &str = "PRIVATELINK_NEVER_LOST_FULL";
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND_TARGET: &str = "  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n";

/// How often something is done that is to be done `full` times, or a few times only.
fn times(full: u32, few: u32) -> u32 {
    if std::env::var_os(FULL).is_some() { full } else { few }
}

/// Ends the crowd; every byte must have been right at both ends.
fn finish(scenario: &str, site: &Site, crowd: Crowd) {
    crowd.wait_progress();
    report(site, crowd).assert_whole(scenario);
}

fn report(site: &Site, crowd: Crowd) -> Report {
    let mut report = crowd.finish();
    report.complaints = site.targets.iter().flatten().flat_map(Target::complaints).collect();
    report
}

/// Live flows are there as before, all of the crowd's among them.
fn assert_flows(site: &Site) {
    let flows = site.daemon().flows(&[]).unwrap().len() as u64;
    assert!(flows >= STREAMS, "{flows} flows");
}

#[test]
fn the_daemon_restarts() {
    let times = times(20, 3);
    let mut site = Site::new();
    let crowd = Crowd::start(&site.lab);
    let mut before = site.lab.programs().unwrap();
    for _ in 0..times {
        site.daemon.take().unwrap().stop().unwrap();
        crowd.wait_progress();
        site.start();
        let now = site.lab.programs().unwrap();
        assert!(now.len() == 3 && now.iter().all(|(name, id)| before[name] != *id), "{now:?}");
        before = now;
        assert_flows(&site);
    }
    finish(&format!("restart {times} times"), &site, crowd);
}

#[test]
fn the_daemon_is_killed() {
    let times = times(20, 4);
    let mut site = Site::silent();
    let began = Instant::now();
    site.start();
    let takes = began.elapsed();
    let crowd = Crowd::start(&site.lab);
    site.daemon.take().unwrap().kill().unwrap();
    for time in 1..times {
        let (home, config) = (Arc::clone(&site.home), site.path());
        let starting = Daemon::begin(&site.program, home, &site.lab, &config, &[]).unwrap();
        // At a random moment of its start, or of its life.
        if time % 2 == 0 {
            thread::sleep(takes.mul_f64(rand::random()));
            starting.kill().unwrap();
        } else {
            let daemon = starting.ready().unwrap();
            thread::sleep(Duration::from_millis(500).mul_f64(rand::random()));
            daemon.kill().unwrap();
        }
        crowd.wait_progress();
    }
    site.start();
    assert_flows(&site);
    finish(&format!("kill -9 {times} times, every other one while it starts"), &site, crowd);
}

/// The kernel's name for what a program does.
fn tag(site: &Site) -> String {
    let shown = site.lab.gateway().run(&["ip", "-j", "-d", "link", "show", "pl-provider"]).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    shown[0]["xdp"]["prog"]["tag"].as_str().unwrap().to_owned()
}

#[test]
fn another_program_takes_over() {
    let mut site = Site::silent();
    // The program that is altered.
    site.configure(&attached(&config(), "xdp"));
    let [altered, other] = ["altered", "privatelink"].map(|name| site.lab.folder().join(name));
    altered::alter(&binary().unwrap(), &altered).unwrap();
    install(&altered, &other);
    site.start();
    let crowd = Crowd::start(&site.lab);
    let mut tags = vec![tag(&site)];
    // There and back.
    for program in [other, binary().unwrap()] {
        site.daemon.take().unwrap().stop().unwrap();
        site.program = program;
        site.start();
        tags.push(tag(&site));
        assert_flows(&site);
        crowd.wait_progress();
    }
    assert!(tags[0] != tags[1] && tags[0] == tags[2], "{tags:?}");
    finish("upgrade to another program and back", &site, crowd);
}

/// Other weights, another rule and another endpoint, or none.
fn harmless(number: usize) -> String {
    let weight = format!("weight = {}", number % 7 + 1);
    let mut text = replaced(&config(), "weight = 2", &weight);
    let rule = "to_port = 80, cidr = \"10.0.0.0/16\" }";
    let more = format!(
        "{rule}, {{ protocol = \"tcp\", from_port = {0}, to_port = {0}, cidr = \"10.0.0.0/16\" }}",
        1000 + number % 1000
    );
    text = replaced(&text, rule, &more);
    if number % 2 == 1 {
        text.push_str(
            r#"
            [[endpoint]]
            id = "vpce-0c33333333333333c"
            vpc = "vpc-consumer-a"
            service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc"
            addresses = [{ zone = "us-east-1a", address = "10.0.1.77" }]
            "#,
        );
    }
    text
}

#[test]
fn the_file_is_reloaded_without_pause_for_a_minute() {
    let lasts = Duration::from_secs(times(60, 0).into());
    let mut site = Site::new();
    let crowd = Crowd::start(&site.lab);
    let began = Instant::now();
    let mut number = 0;
    while number < 20 || began.elapsed() < lasts {
        let said = site.reload(&harmless(number));
        assert!(said.contains("is in force") && !said.contains("ended"), "{said}");
        number += 1;
    }
    let took = began.elapsed();
    for wrong in [replaced(&config(), "weight = 2", "weight = 2000"), "nonsense".to_owned()] {
        let said = site.reload(&wrong);
        assert!(said.contains("is not in force, nothing has changed"), "{said}");
    }
    let name = format!("reload {number} times within {took:.1?}, and of two wrong files");
    finish(&name, &site, crowd);
}

#[test]
fn a_target_is_added() {
    let mut site = Site::silent();
    site.configure(&replaced(&config(), SECOND_TARGET, ""));
    site.start();
    let crowd = Crowd::start(&site.lab);
    let said = site.reload(&config());
    assert!(said.contains("is in force") && !said.contains("ended"), "{said}");
    let addresses = || -> BTreeSet<String> {
        site.daemon().flows(&[]).unwrap().iter().map(|flow| flow.target.to_string()).collect()
    };
    privatelink_tests::wait_until(PATIENCE, "the new target has flows", || addresses().len() == 2)
        .unwrap();
    finish("target added", &site, crowd);
}

#[test]
fn a_target_is_removed() {
    let mut site = Site::new();
    let crowd = Crowd::start(&site.lab);
    let said = site.reload(&replaced(&config(), SECOND_TARGET, ""));
    assert!(said.contains("is in force") && !said.contains("ended"), "{said}");
    let (_, address) = TARGETS[1];
    site.wait_target(address, "the target drains", |row| row["health"] == "draining");
    // It keeps the streams it has.
    finish("target removed", &site, crowd);
}

#[test]
fn a_target_dies() {
    let mut site = Site::new();
    let crowd = Crowd::start(&site.lab);
    let (name, address) = TARGETS[1];
    site.targets[1] = None;
    site.wait_target(address, "the target is unhealthy", |row| row["health"] == "unhealthy");
    // Until then it got new connections, the last of which is over now.
    crowd.wait_progress();
    let failed = crowd.failed();
    crowd.wait_progress();
    let report = report(&site, crowd);
    assert_eq!(report.failed.len(), failed, "the dead target gets new connections");
    report.assert_whole_but("target dead", name);
}

/// Deletes the gateway's interface to a network, and with it the network's; makes both anew once the daemon knows. The
/// network's has its MAC address again, as a host would whose cable was pulled.
fn recreate(site: &Site, network: &str, addresses: &[&str], gateway: Option<&str>) {
    let (lab, interface) = (&site.lab, format!("pl-{network}"));
    let namespace = lab.network(network).unwrap();
    let mac = mac(namespace, "eth0").unwrap();
    lab.gateway().run(&["ip", "link", "del", &interface]).unwrap();
    site.daemon().wait_log(&format!("interface {interface} is gone"), PATIENCE).unwrap();
    veth(lab.gateway(), &interface, namespace, "eth0").unwrap();
    namespace.run(&["ip", "link", "set", "eth0", "address", &mac]).unwrap();
    prepare_for_xdp(lab.gateway(), &interface, false).unwrap();
    prepare_for_xdp(namespace, "eth0", true).unwrap();
    for address in addresses {
        add_address(namespace, "eth0", address).unwrap();
    }
    if let Some(address) = gateway {
        add_address(lab.gateway(), &interface, address).unwrap();
    }
}

#[test]
fn a_consumers_interface_is_deleted_and_made_anew() {
    let site = Site::new();
    let mut crowd = Crowd::start(&site.lab);
    // Its host has no network meanwhile; the other consumer's goes on.
    crowd.pause("consumer-a");
    recreate(&site, "consumer-a", &["10.0.2.20/16"], None);
    crowd.resume("consumer-a");
    crowd.wait_progress();
    finish("consumer's interface deleted and created", &site, crowd);
}

#[test]
fn the_providers_interface_is_deleted_and_made_anew() {
    let site = Site::new();
    let crowd = Crowd::start(&site.lab);
    let addresses = ["10.0.1.10/16", "10.0.1.11/16", "10.0.2.20/16"];
    recreate(&site, "provider", &addresses, Some("10.0.0.1/16"));
    crowd.wait_progress();
    finish("provider's interface deleted and created", &site, crowd);
}

#[test]
fn the_targets_get_another_mac_address() {
    let site = Site::new();
    let crowd = Crowd::start(&site.lab);
    let mac = "02:00:00:00:00:aa";
    let provider = site.lab.network("provider").unwrap();
    provider.run(&["ip", "link", "set", "eth0", "address", mac]).unwrap();
    for (_, address) in TARGETS {
        site.wait_target(address, "its new address is known", |row| row["next_hop"] == mac);
    }
    crowd.wait_progress();
    finish("targets' MAC address changed", &site, crowd);
}

#[test]
fn the_clock_is_set_a_day_forward_and_back() {
    let mut site = Site::silent();
    let offset = site.lab.folder().join("offset");
    let step = |seconds: i64| fs::write(&offset, seconds.to_string()).unwrap();
    step(0);
    site.program = daemon_with_a_clock(site.lab.folder(), &offset);
    site.start();
    let crowd = Crowd::start(&site.lab);
    for seconds in [DAY, 0, -DAY, 0].into_iter().take(times(4, 2) as usize) {
        step(seconds);
        let seen = moved::seen_step(&offset);
        assert!((seen - seconds).abs() < DAY / 2, "the clock is {seen} s ahead, not {seconds}");
        crowd.wait_progress();
        // One that starts by another clock than the one before.
        site.daemon.take().unwrap().stop().unwrap();
        site.start();
        crowd.wait_progress();
        assert_flows(&site);
    }
    finish("clock a day forward and back", &site, crowd);
}
