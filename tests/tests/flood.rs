//! A SYN flood at one endpoint: live flows go on, the other endpoint works, and it passes. Needs root.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Flood, Lab, Namespace, Topology, connect, echo_targets, example, exchange,
    greeting, round_trip, wait_until,
};

/// A small table with small quotas, so that a test's flood fills them.
const LIMITS: &str = "
[flow_table]
capacity = 16384
[endpoint_limits]
half_open_flows = 2048
";
const LIVE: usize = 40;
const NEW: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

fn live(consumer: &Namespace) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = connect(consumer, None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        stream
    };
    (0..LIVE).map(open).collect()
}

#[test]
fn a_flood_at_one_endpoint_is_its_own() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = echo_targets(&lab).unwrap();
    let config = lab.folder().join("limits.toml");
    fs::write(&config, fs::read_to_string(example("overlap.toml")).unwrap() + LIMITS).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    let [a, b] = ["consumer-a", "consumer-b"].map(|name| lab.network(name).unwrap());
    let mut streams: Vec<TcpStream> = [a, b].into_iter().flat_map(live).collect();

    let flood = Flood::start(a, ENDPOINT).unwrap();
    daemon.wait_drops("pl-consumer-a", "EndpointHalfOpenLimit", 20_000, PATIENCE).unwrap();
    let opened = (0..NEW).filter(|_| round_trip(b, ENDPOINT).is_ok()).count();
    assert!(opened * 100 >= NEW * 95, "{opened} of {NEW} new connections at the other endpoint");
    for (number, stream) in streams.iter_mut().enumerate() {
        let message = format!("stream {number} lives on");
        let answer = exchange(stream, message.as_bytes());
        assert_eq!(answer.unwrap_or_default(), message.as_bytes(), "stream {number}");
    }
    assert_eq!(daemon.drops("pl-consumer-b", "EndpointHalfOpenLimit").unwrap(), 0);
    daemon.wait_log("dropped as EndpointHalfOpenLimit", PATIENCE).unwrap();
    println!("{} SYNs sent, {opened} of {NEW} connections opened meanwhile", flood.sent());
    drop(flood);

    // It heals by itself: half-open flows of a crowded endpoint have three seconds.
    wait_until(PATIENCE, "the flooded endpoint takes connections again", || {
        round_trip(a, ENDPOINT).is_ok()
    })
    .unwrap();
    for stream in &mut streams {
        assert_eq!(exchange(stream, b"still").unwrap(), b"still");
    }
}
