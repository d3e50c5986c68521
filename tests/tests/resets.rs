//! Both ends of a flow that is cut hear of it at once, without saying a word. Needs root.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Server, Topology, connect, example, exchange, greeting,
};

const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = "vpce-svc-0e123abc123198abc";
const ENDPOINT_A: &str = "vpce-0a11111111111111a";

/// Echo targets that tell how each connection ended.
fn targets(lab: &Lab, ends: &Sender<ErrorKind>) -> [Server; 2] {
    ["10.0.1.10:8080", "10.0.1.11:8081"].map(|address| {
        let ends = ends.clone();
        let serve = move |mut stream: TcpStream, peer| -> io::Result<()> {
            if !privatelink_tests::is_leased(&peer) {
                return Ok(());
            }
            writeln!(stream, "{address} {peer}")?;
            let mut chunk = [0; 4096];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => return Ok(()),
                    Ok(length) => stream.write_all(&chunk[..length])?,
                    Err(error) => {
                        let _ = ends.send(error.kind());
                        return Ok(());
                    }
                }
            }
        };
        Server::start(lab.network("provider").unwrap(), address.parse().unwrap(), serve).unwrap()
    })
}

/// A site with three live connections of the first consumer and one of the second; what ends its targets' connections.
fn site() -> (Lab, [Server; 2], Receiver<ErrorKind>, Daemon, Vec<TcpStream>, TcpStream) {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let (sender, ends) = mpsc::channel();
    let targets = targets(&lab, &sender);
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let live = |consumer: &str| {
        let mut stream = connect(lab.network(consumer).unwrap(), None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        exchange(&mut stream, b"live").unwrap();
        stream
    };
    let streams = (0..3).map(|_| live("consumer-a")).collect();
    let other = live("consumer-b");
    (lab, targets, ends, daemon, streams, other)
}

fn expect_resets(mut streams: Vec<TcpStream>, ends: &Receiver<ErrorKind>) {
    for stream in &mut streams {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_rejected_endpoint() {
    let (_lab, _targets, ends, daemon, streams, mut other) = site();
    let said = daemon.cli_text(&["connection", "reject", SERVICE, ENDPOINT_A, "--reconcile"]);
    assert!(said.unwrap().contains("3 ended"));
    expect_resets(streams, &ends);
    assert_eq!(exchange(&mut other, b"not mine").unwrap(), b"not mine");
    assert!(ends.try_recv().is_err());
}

#[test]
fn an_endpoint_that_leaves_the_file() {
    let (lab, _targets, ends, daemon, streams, mut other) = site();
    let home = daemon.home();
    daemon.stop().unwrap();
    let text = std::fs::read_to_string(example("overlap.toml")).unwrap();
    let config = lab.folder().join("resets.toml");
    std::fs::write(&config, &text).unwrap();
    let daemon = Daemon::start_in(home, &lab, &config, &[]).unwrap();
    let (before, rest) = text.split_once("[[endpoint]]").unwrap();
    let (_, after) = rest.split_once("[[endpoint]]").unwrap();
    std::fs::write(&config, format!("{before}[[endpoint]]{after}")).unwrap();
    let said = daemon.cli_text(&["reload"]).unwrap();
    assert!(said.contains("3 flows ended"), "{said}");
    expect_resets(streams, &ends);
    assert_eq!(exchange(&mut other, b"not mine").unwrap(), b"not mine");
}
