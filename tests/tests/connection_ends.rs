//! How connections of real TCPs end through the gateway: one side after the other, one port again and again, and too long
//! a silence. Needs root.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Namespace, Server, Topology, connect, example, greeting,
    kernel_counters, wait_until,
};

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 20), 40_000);
/// The daemon sweeps every second.
const PATIENCE: Duration = Duration::from_secs(30);

/// `examples/overlap.toml` with these time-outs and one target, at 10.0.1.10:8080.
fn start(lab: &Lab, timeouts: &str) -> Daemon {
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let with_timeouts = format!("acceptance_required = false\ntimeouts = {{ {timeouts} }}");
    let text = text
        .replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")
        .replace("acceptance_required = false", &with_timeouts);
    let config = lab.folder().join("timeouts.toml");
    fs::write(&config, text).unwrap();
    Daemon::start(lab, &config, &[]).unwrap()
}

fn target(
    lab: &Lab,
    serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Server {
    let provider = lab.network("provider").unwrap();
    Server::start(provider, "10.0.1.10:8080".parse().unwrap(), move |mut stream, peer| {
        writeln!(stream, "target {peer}")?;
        serve(stream)
    })
    .unwrap()
}

fn opened(consumer: &Namespace) -> (TcpStream, SocketAddrV4) {
    let mut stream = connect(consumer, None, ENDPOINT).unwrap();
    let lease = greeting(&mut stream).unwrap().peer;
    (stream, lease)
}

/// Opens a connection from a port that the one before has just left: the client's kernel has it until the target has
/// acknowledged its FIN.
fn opened_again(consumer: &Namespace) -> (TcpStream, SocketAddrV4) {
    let mut again = None;
    wait_until(PATIENCE, "the client's port is free", || {
        again = Some(connect(consumer, Some(CLIENT), ENDPOINT));
        !matches!(&again, Some(Err(error)) if error.kind() == ErrorKind::AddrNotAvailable)
    })
    .unwrap();
    let mut stream = again.unwrap().unwrap();
    let lease = greeting(&mut stream).unwrap().peer;
    (stream, lease)
}

/// Waits until the flow that leased `nat` is gone from the list.
fn wait_gone(daemon: &Daemon, nat: SocketAddrV4) {
    let nat = nat.to_string();
    let is_gone = |rows: &serde_json::Value| {
        rows.as_array().is_some_and(|rows| rows.iter().all(|row| row["nat"] != nat))
    };
    daemon.wait_cli(PATIENCE, "its flow is gone", &["flows", "-o", "json"], is_gone).unwrap();
}

/// A door that somebody else opens.
type Door = Arc<(Mutex<bool>, Condvar)>;

fn wait_open(door: &Door) {
    let shut = door.0.lock().unwrap();
    drop(door.1.wait_timeout_while(shut, PATIENCE, |open| !*open).unwrap());
}

fn open(door: &Door) {
    *door.0.lock().unwrap() = true;
    door.1.notify_all();
}

#[test]
fn a_target_streams_on_long_after_the_client_has_closed() {
    const BLOCK: usize = 100_000;
    const BLOCKS: usize = 10;
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let door = Door::default();
    let waiting = Arc::clone(&door);
    let _target = target(&lab, move |mut stream| {
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        if said == b"stream" {
            wait_open(&waiting);
            (0..BLOCKS).try_for_each(|_| stream.write_all(&[b'x'; BLOCK]))?;
        }
        Ok(())
    });
    let daemon = start(&lab, "closing = \"1s\"");
    let consumer = lab.network("consumer-a").unwrap();

    let (mut half, lease) = opened(consumer);
    half.write_all(b"stream").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let in_fin_wait = |rows: &serde_json::Value| rows[0]["state"] == "fin_wait";
    daemon.wait_cli(PATIENCE, "it is half closed", &["flows", "-o", "json"], in_fin_wait).unwrap();
    // Both sides of this one close, later: once it is gone, the other has been silent for longer than closing flows may.
    let (whole, other) = opened(consumer);
    whole.shutdown(Shutdown::Write).unwrap();
    wait_gone(&daemon, other);

    assert_eq!(daemon.flows(&[]).unwrap()[0].nat, lease);
    open(&door);
    let mut got = Vec::new();
    half.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), BLOCKS * BLOCK);
    assert!(got.iter().all(|byte| *byte == b'x'));
}

/// The target, which closes first, keeps each of its connections in TIME_WAIT, and lets in the SYN of the next one: none is sent
/// twice, neither by the lease of a connection that has been silent for a while nor by another.
#[test]
fn a_client_may_use_its_port_again_at_once() {
    const TIMES: usize = 30;
    const AFTER_A_WHILE: usize = 4;
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let target = target(&lab, |stream| stream.shutdown(Shutdown::Both));
    let daemon = start(&lab, "closing = \"300s\"");
    let consumer = lab.network("consumer-a").unwrap();
    let is_silent = |rows: &serde_json::Value| rows[0]["idle_ms"].as_u64() > Some(1_200);
    let mut leases = Vec::new();
    for turn in 0..TIMES {
        if (1..AFTER_A_WHILE).contains(&turn) {
            daemon.wait_cli(PATIENCE, "it is silent", &["flows", "-o", "json"], is_silent).unwrap();
        }
        let (mut stream, lease) = opened_again(consumer);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the target has closed");
        drop(stream);
        leases.push(lease);
    }
    assert_eq!(leases[..AFTER_A_WHILE], [leases[0]; AFTER_A_WHILE]);
    assert_eq!(kernel_counters(consumer, "snmp", "Tcp").unwrap()["RetransSegs"], 0);
    assert_eq!(target.clients().len(), TIMES);
    let flows = daemon.flows(&[]).unwrap();
    assert_eq!(flows.len(), 1, "the last one: {flows:?}");
}

#[test]
fn whoever_speaks_after_the_idle_time_is_reset() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let door = Door::default();
    let outcome: Arc<Mutex<Option<io::Result<usize>>>> = Arc::default();
    let (waiting, noted) = (Arc::clone(&door), Arc::clone(&outcome));
    let _target = target(&lab, move |mut stream| {
        let mut command = [0];
        stream.read_exact(&mut command)?;
        if command == *b"t" {
            wait_open(&waiting);
            stream.write_all(b"too late")?;
            *noted.lock().unwrap() = Some(stream.read(&mut command));
        }
        Ok(())
    });
    let daemon = start(&lab, "idle = \"3s\"");
    let consumer = lab.network("consumer-a").unwrap();
    let ((mut by_client, first), (mut by_target, second)) = (opened(consumer), opened(consumer));
    by_target.write_all(b"t").unwrap();
    wait_gone(&daemon, first);
    wait_gone(&daemon, second);

    by_client.write_all(b"c").unwrap();
    assert_eq!(by_client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(daemon.wait_drops("pl-consumer-a", "NoFlow", 1, PATIENCE).unwrap(), 1);

    open(&door);
    assert_eq!(daemon.wait_drops("pl-provider", "NoFlow", 1, PATIENCE).unwrap(), 1);
    wait_until(PATIENCE, "the target is told", || outcome.lock().unwrap().is_some()).unwrap();
    let told = outcome.lock().unwrap().take().unwrap();
    assert_eq!(told.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
