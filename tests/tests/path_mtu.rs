//! A way narrower than the ends know, with the MSS left alone: ICMP tells them, and nothing is lost. Needs root.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use privatelink_tests::{Daemon, ENDPOINT, Lab, Server, Topology, connect, example};
use sha2::{Digest, Sha256};

const BYTES: usize = 8 << 20;
/// MTU of the narrow network; its hosts claim to take the segments of a wide one.
const NARROW: &str = "1400";
const CLAIMED_MSS: &str = "1460";

fn payload() -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    bytes.fill_with(rand::random);
    bytes
}

/// Takes all there is and answers with its digest, then sends as much and its digest.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut taken = Vec::new();
    (&mut stream).take(BYTES as u64).read_to_end(&mut taken)?;
    stream.write_all(&Sha256::digest(&taken))?;
    let given = payload();
    stream.write_all(&given)?;
    stream.write_all(&Sha256::digest(&given))
}

/// Sends and fetches over a lab whose `narrow` network has a smaller MTU than it claims.
fn both_ways(narrow: &str) {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let interface = format!("pl-{narrow}");
    lab.gateway().run(&["ip", "link", "set", &interface, "mtu", NARROW]).unwrap();
    let network = lab.network(narrow).unwrap();
    network.run(&["ip", "link", "set", "eth0", "mtu", NARROW]).unwrap();
    let route = network.run(&["ip", "route", "show", "10.0.0.0/16"]).unwrap();
    let mut command = vec!["ip", "route", "replace"];
    command.extend(route.split_whitespace());
    command.extend(["advmss", CLAIMED_MSS]);
    network.run(&command).unwrap();

    let provider = lab.network("provider").unwrap();
    let _target =
        Server::start(provider, "10.0.1.10:8080".parse().unwrap(), |stream, _| serve(stream));
    let config = lab.folder().join("unclamped.toml");
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let text = text
        .replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")
        .replace("acceptance_required = false", "acceptance_required = false\nmss_clamp = \"off\"");
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let mut stream = connect(lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
    let sent = payload();
    stream.write_all(&sent).unwrap();
    let mut digest = [0; 32];
    stream.read_exact(&mut digest).unwrap();
    assert_eq!(digest, Sha256::digest(&sent).as_slice(), "what the target got");
    let mut got = vec![0; BYTES];
    stream.read_exact(&mut got).unwrap();
    stream.read_exact(&mut digest).unwrap();
    assert_eq!(digest, Sha256::digest(&got).as_slice(), "what the client got");
    stream.shutdown(Shutdown::Both).unwrap();

    // Somebody had to be told, by the interface the large segments came in by.
    let from = if narrow == "provider" { "pl-consumer-a" } else { "pl-provider" };
    let told = daemon.drops(from, "TooBig").unwrap();
    assert!((1..1000).contains(&told), "{told} segments were too big");
}

#[test]
fn a_client_learns_of_a_narrow_provider() {
    both_ways("provider");
}

#[test]
fn a_target_learns_of_a_narrow_consumer() {
    both_ways("consumer-a");
}
