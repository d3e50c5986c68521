//! Which leases new flows get: ports all over the range, the next one not to be told from the last, and a load balancer's
//! addresses shared evenly among endpoints. Needs root.

#[path = "leases/generator.rs"]
mod generator;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Flood, Flow, Lab, Topology, connect, echo_targets, example, greeting,
};

/// Ports that flows may lease.
const PORTS: u32 = 65_536 - 10_240;
/// Parts of the range that are counted: they divide it.
const PARTS: u32 = 64;
/// A chi-square of 63 degrees of freedom is larger once in a billion times (Wilson and Hilferty's approximation).
const CHI_SQUARE: f64 = 156.0;
/// New flows that are looked at.
const FLOWS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for all of one flood's flows.
const LIMITS: &str = "
[flow_table]
capacity = 131072
[endpoint_limits]
flows = 131072
half_open_flows = 131072
";

fn configuration(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Opens flows by a flood of SYNs and stops the daemon. Returns the flows in the order of their SYNs.
fn flood(lab: &Lab) -> Vec<Flow> {
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    // One target, so that all ports are of one range. Nobody is there: it answers with RSTs, and the flows must stay.
    let long =
        "acceptance_required = false\ntimeouts = { half_open = \"300s\", closing = \"300s\" }";
    let text = text
        .replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")
        .replace("acceptance_required = false", long);
    let config = configuration(lab, "flood.toml", &(text + LIMITS));
    let daemon = Daemon::start(lab, &config, &[]).unwrap();
    let flood = Flood::start(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
    let enough = |rows: &serde_json::Value| rows[0]["flows"].as_u64().is_some_and(|n| n >= FLOWS);
    daemon.wait_cli(PATIENCE, "there are flows", &["status", "-o", "json"], enough).unwrap();
    drop(flood);
    let mut flows = daemon.flows(&[]).unwrap();
    daemon.stop().unwrap();
    // The flood goes through 2^15 hosts with one port, then with the next.
    flows.sort_by_key(|flow| (flow.client.port(), *flow.client.ip()));
    flows
}

/// How far counts of what should be equally likely are from equal.
fn chi_square(values: impl Iterator<Item = u32>) -> f64 {
    let mut counts = [0_u32; PARTS as usize];
    values.for_each(|value| counts[(value % PARTS) as usize] += 1);
    let expected = f64::from(counts.iter().sum::<u32>()) / f64::from(PARTS);
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

#[test]
fn ports_are_spread_and_follow_no_sequence() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let flows = flood(&lab);
    assert!(flows.len() as u64 >= FLOWS);
    let leases: BTreeSet<_> = flows.iter().map(|flow| flow.nat).collect();
    assert_eq!(leases.len(), flows.len(), "a lease of two flows");
    let ports: Vec<u32> = flows.iter().map(|flow| u32::from(flow.nat.port()) - 10_240).collect();
    let clients: Vec<u32> = flows.iter().map(|flow| u32::from(*flow.client.ip())).collect();

    let part = |port: u32| port / (PORTS / PARTS);
    let differences = |lag: usize| {
        let pairs = ports.iter().zip(&ports[lag..]);
        chi_square(pairs.map(|(port, later)| part((later + PORTS - port) % PORTS)))
    };
    let from_client =
        ports.iter().zip(&clients).map(|(port, client)| part((port + client) % PORTS));
    let rows = [
        ("over the range", chi_square(ports.iter().map(|port| part(*port)))),
        ("by their low bits", chi_square(ports.iter().copied())),
        ("after the last", differences(1)),
        ("after the last but one", differences(2)),
        ("after the last but two", differences(3)),
        ("beside their clients' addresses", chi_square(from_client)),
    ];
    for (what, chi_square) in rows {
        println!("{} ports {what}: chi-square {chi_square:.1} of {CHI_SQUARE}", ports.len());
        assert!(chi_square < CHI_SQUARE, "ports {what}: {chi_square}");
    }

    // The same SYNs after a restart: of n flows, n / 55 296 have their old lease by chance.
    let again: HashMap<SocketAddrV4, SocketAddrV4> =
        flood(&lab).into_iter().map(|flow| (flow.client, flow.nat)).collect();
    let same = flows.iter().filter(|flow| again.get(&flow.client) == Some(&flow.nat)).count();
    println!("{same} of {} leases are the same after a restart", flows.len());
    assert!(same < 20, "{same} of {}", flows.len());
}

/// RFC 6056, section 3.3: nobody who sees some ports may tell the next.
#[test]
fn the_next_port_cannot_be_computed_from_the_last() {
    const LEARNT: usize = 9;
    const TOLD: usize = 40;
    /// Random words that a new flow may take; at present four: for both its halves, its port and its stride.
    const WORDS: std::ops::RangeInclusive<usize> = 1..=8;
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let offsets: Vec<u32> =
        flood(&lab).iter().map(|flow| u32::from(flow.nat.port()) - 10_240).collect();
    // The earliest, for later on a port is taken now and then, and a flow gets the second one it tries.
    let offsets = &offsets[..LEARNT + TOLD];
    for words in WORDS {
        let (right, all) = generator::predict(offsets, PORTS, LEARNT, words);
        println!(
            "{words} words for a flow: {right} of {all} bits of the next {TOLD} ports told right"
        );
        // Half of them by chance; three quarters of 150 would be six standard deviations more.
        assert!(all < 150 || right * 4 < all * 3, "{right} of {all} bits told right");
    }
}

#[test]
fn endpoints_share_a_load_balancers_addresses_evenly() {
    const ADDRESSES: usize = 4;
    const ENDPOINTS: usize = 8;
    const CONNECTIONS: usize = 10;
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = echo_targets(&lab).unwrap();
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    let (provider, _) = text.split_once("[[security_group]]").unwrap();
    let addresses: Vec<_> = (0..ADDRESSES)
        .map(|number| {
            format!("{{ zone = \"us-east-1a\", address = \"10.0.0.{}/16\" }}", 10 + number)
        })
        .collect();
    let one = "{ zone = \"us-east-1a\", address = \"10.0.0.10/16\" }";
    let mut text = provider.replace(one, &addresses.join(", "));
    for number in 0..ENDPOINTS {
        write!(
            text,
            r#"
[[endpoint]]
id = "vpce-{number:017x}"
vpc = "vpc-consumer-a"
service = "vpce-svc-0e123abc123198abc"
addresses = [{{ zone = "us-east-1a", address = "10.0.1.{}" }}]
"#,
            100 + number
        )
        .unwrap();
    }
    let _daemon = Daemon::start(&lab, &configuration(&lab, "even.toml", &text), &[]).unwrap();

    let consumer = lab.network("consumer-a").unwrap();
    let mut endpoints_behind: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
    for number in 0..ENDPOINTS {
        let endpoint = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 100 + number as u8), 80);
        let address = |_| {
            let mut stream = connect(consumer, None, endpoint).unwrap();
            *greeting(&mut stream).unwrap().peer.ip()
        };
        let seen: BTreeSet<_> = (0..CONNECTIONS).map(address).collect();
        assert_eq!(
            seen.len(),
            1,
            "an endpoint keeps to one address while there are ports: {seen:?}"
        );
        *endpoints_behind.entry(*seen.first().unwrap()).or_default() += 1;
    }
    let even: BTreeMap<_, _> = (0..ADDRESSES)
        .map(|number| (Ipv4Addr::new(10, 0, 0, 10 + number as u8), ENDPOINTS / ADDRESSES))
        .collect();
    assert_eq!(endpoints_behind, even);
}
