//! Many short connections: none fails, they spread by weight, and nothing of them is left. Needs root.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Shutdown, SocketAddrV4};
use std::thread;
use std::time::Duration;

use privatelink_tests::{
    ACK, Daemon, ENDPOINT, LOAD_BALANCER, Lab, Namespace, Topology, connect, echo_targets, example,
    exchange, greeting, send_segment,
};

const CONNECTIONS: usize = 2_000;
const AT_ONCE: usize = 8;

/// A connection as the target saw it.
type Seen = (SocketAddrV4, SocketAddrV4);

/// Opens a connection, says something, closes it. Returns the target, which names itself by its address, and the lease.
fn one(consumer: &Namespace, number: usize) -> anyhow::Result<Seen> {
    let mut stream = connect(consumer, None, ENDPOINT)?;
    let greeting = greeting(&mut stream)?;
    let message = format!("connection {number}");
    let answer = exchange(&mut stream, message.as_bytes())?;
    anyhow::ensure!(answer == message.as_bytes(), "answered {answer:?}");
    stream.shutdown(Shutdown::Write)?;
    anyhow::ensure!(stream.read(&mut [0])? == 0, "more arrives than was sent");
    Ok((greeting.name.parse()?, greeting.peer))
}

fn all(consumer: &Namespace) -> Vec<Seen> {
    let work = |worker: usize| -> Vec<anyhow::Result<Seen>> {
        (worker..CONNECTIONS).step_by(AT_ONCE).map(|number| one(consumer, number)).collect()
    };
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..AT_ONCE).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} connections failed, the first by {:#}", failed.len(), failed[0]);
    results.into_iter().map(Result::unwrap).collect()
}

/// A lease that is still held would carry a segment of its target on to the client; one that is back is answered with a
/// RST, and counted.
fn assert_leases_are_back(lab: &Lab, daemon: &Daemon, leases: &BTreeSet<Seen>) {
    const AT_ONCE: usize = 64;
    let provider = lab.network("provider").unwrap();
    let mut answered = daemon.drops("pl-provider", "NoFlow").unwrap();
    let leases: Vec<_> = leases.iter().collect();
    for some in leases.chunks(AT_ONCE) {
        for (target, nat) in some {
            send_segment(provider, *target, *nat, ACK, b"").unwrap();
        }
        answered += some.len() as u64;
        let counted =
            daemon.wait_drops("pl-provider", "NoFlow", answered, Duration::from_secs(10)).unwrap();
        assert_eq!(counted, answered);
    }
}

#[test]
fn thousands_of_short_connections_spread_by_weight_and_leave_nothing() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let servers = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();

    let seen = all(lab.network("consumer-a").unwrap());

    let counts = servers.each_ref().map(|server| server.clients().len());
    assert_eq!(counts.iter().sum::<usize>(), CONNECTIONS, "as the targets count them: {counts:?}");
    assert!(seen.iter().all(|(_, nat)| *nat.ip() == LOAD_BALANCER && nat.port() >= 10_240));
    // Their weights are 1 and 2: a third goes to the first, each by the hash of its client's port: a binomial distribution. Six standard
    // deviations are missed once in 500 million runs.
    let (count, share) = (CONNECTIONS as f64, 1.0 / 3.0);
    let deviation = (count * share * (1.0 - share)).sqrt();
    assert!((counts[0] as f64 - count * share).abs() < 6.0 * deviation, "{counts:?}");

    // Both sides have closed: the last flow goes after 10 s of silence.
    let empty = |rows: &serde_json::Value| rows.as_array().is_some_and(Vec::is_empty);
    daemon
        .wait_cli(Duration::from_secs(60), "no flow is left", &["flows", "-o", "json"], empty)
        .unwrap();
    assert_eq!(daemon.cli(&["status", "-o", "json"]).unwrap()[0]["flows"], 0);
    assert_leases_are_back(&lab, &daemon, &seen.into_iter().collect());
}
