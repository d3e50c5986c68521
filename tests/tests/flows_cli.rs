//! The flow listing as people and scripts read it: fields, filters, order, CSV, and the socket itself. Needs root.

use std::net::TcpStream;
use std::process::Command;

use privatelink_tests::{
    Daemon, ENDPOINT, Flow, Lab, Server, Topology, connect, echo_targets, example, exchange,
    greeting,
};

/// The contract, in the order of the CSV's columns.
const FIELDS: [&str; 15] = [
    "protocol",
    "state",
    "vpc",
    "endpoint",
    "service",
    "client",
    "endpoint_address",
    "nat",
    "target",
    "packets_to_target",
    "bytes_to_target",
    "packets_to_client",
    "bytes_to_client",
    "age_ms",
    "idle_ms",
];
const ENDPOINT_A: &str = "vpce-0a11111111111111a";
const ENDPOINT_B: &str = "vpce-0b22222222222222b";
const SERVICE: &str = "vpce-svc-0e123abc123198abc";

struct Bench {
    /// Two connections of consumer-a, then one of consumer-b; the second has carried the most by far.
    streams: Vec<TcpStream>,
    daemon: Daemon,
    _targets: [Server; 2],
    _lab: Lab,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
        let open = |(consumer, bytes): (&str, usize)| {
            let mut stream = connect(lab.network(consumer).unwrap(), None, ENDPOINT).unwrap();
            greeting(&mut stream).unwrap();
            exchange(&mut stream, &vec![b'x'; bytes]).unwrap();
            stream
        };
        let streams = [("consumer-a", 10), ("consumer-a", 100_000), ("consumer-b", 1_000)];
        let streams = streams.map(open).into();
        Self { streams, daemon, _targets: targets, _lab: lab }
    }

    /// Which of our connections these flows are.
    fn which(&self, flows: &[Flow]) -> Vec<usize> {
        let position = |flow: &Flow| {
            let ours = |stream: &TcpStream| stream.local_addr().unwrap() == flow.client.into();
            // Clients of both consumers may have the same port by chance.
            let mut ours = self.streams.iter().enumerate().filter(|(_, stream)| ours(stream));
            ours.find(|(index, _)| (*index == 2) == (flow.endpoint == ENDPOINT_B)).unwrap().0
        };
        flows.iter().map(position).collect()
    }

    fn listed(&self, arguments: &[&str]) -> Vec<usize> {
        self.which(&self.daemon.flows(arguments).unwrap())
    }
}

fn sorted(mut listed: Vec<usize>) -> Vec<usize> {
    listed.sort_unstable();
    listed
}

#[test]
fn a_flow_has_the_fields_of_the_contract() {
    let bench = Bench::new();
    let rows = bench.daemon.cli(&["flows", "-o", "json"]).unwrap();
    for row in rows.as_array().unwrap() {
        let mut names: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = FIELDS;
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }
    for flow in bench.daemon.flows(&[]).unwrap() {
        let consumer =
            if flow.endpoint == ENDPOINT_A { "vpc-consumer-a" } else { "vpc-consumer-b" };
        assert_eq!((flow.protocol.as_str(), flow.vpc.as_str()), ("tcp", consumer));
        assert_eq!((flow.state.as_str(), flow.service.as_str()), ("established", SERVICE));
        // SYN, ACK and data out; SYN ACK and data back: each at least a header of 40 bytes.
        assert!(flow.packets_to_target >= 3 && flow.packets_to_client >= 2, "{flow:?}");
        assert!(flow.bytes_to_target >= 40 * flow.packets_to_target, "{flow:?}");
        assert!(flow.bytes_to_client >= 40 * flow.packets_to_client, "{flow:?}");
        assert!(flow.age_ms >= flow.idle_ms, "{flow:?}");
    }
}

#[test]
fn filters_order_and_limit_choose_among_live_flows() {
    let mut bench = Bench::new();
    assert_eq!(sorted(bench.listed(&[])), [0, 1, 2]);
    assert_eq!(sorted(bench.listed(&["--endpoint", ENDPOINT_A])), [0, 1]);
    assert_eq!(bench.listed(&["--endpoint", ENDPOINT_B]), [2]);
    assert!(bench.listed(&["--endpoint", "vpce-0c33333333333333c"]).is_empty());
    assert_eq!(sorted(bench.listed(&["--service", SERVICE])), [0, 1, 2]);
    assert!(bench.listed(&["--service", "vpce-svc-0"]).is_empty());
    assert_eq!(sorted(bench.listed(&["--state", "established"])), [0, 1, 2]);
    assert!(bench.listed(&["--state", "syn_sent"]).is_empty());
    assert_eq!(bench.listed(&["--sort", "bytes"]), [1, 2, 0]);
    assert_eq!(bench.listed(&["--sort", "bytes", "--limit", "1"]), [1]);
    assert!(bench.listed(&["--limit", "0"]).is_empty());
    assert_eq!(bench.listed(&["--limit", "2"]).len(), 2);
    for (order, measure) in [
        ("packets", (|flow| flow.packets_to_target + flow.packets_to_client) as fn(&Flow) -> u64),
        ("age", |flow| flow.age_ms),
        ("idle", |flow| flow.idle_ms),
    ] {
        let flows = bench.daemon.flows(&["--sort", order]).unwrap();
        assert!(flows.is_sorted_by(|a, b| measure(a) >= measure(b)), "{order}: {flows:?}");
    }

    let closed = bench.streams.remove(0);
    let client = closed.local_addr().unwrap();
    drop(closed);
    let deadline = std::time::Duration::from_secs(9);
    let arguments = ["flows", "-o", "json", "--state", "time_wait"];
    let rows =
        bench.daemon.wait_cli(deadline, "the closed one is in time_wait", &arguments, |rows| {
            rows.as_array().is_some_and(|rows| rows.len() == 1)
        });
    assert_eq!(rows.unwrap()[0]["client"], client.to_string());
}

#[test]
fn csv_has_a_header_and_a_line_for_each_flow() {
    let bench = Bench::new();
    let text = bench.daemon.cli_text(&["flows", "-o", "csv", "--sort", "bytes"]).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), FIELDS.join(","));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == FIELDS.len()), "{text}");
    let clients: Vec<_> = rows.iter().map(|row| row[5].to_owned()).collect();
    let of = |index: usize| bench.streams[index].local_addr().unwrap().to_string();
    assert_eq!(clients, [of(1), of(2), of(0)]);

    let none = ["flows", "-o", "csv", "--endpoint", "vpce-0c33333333333333c"];
    assert_eq!(bench.daemon.cli_text(&none).unwrap().trim(), FIELDS.join(","));
}

/// Asks the control socket by curl; returns the HTTP status and the body.
fn curl(bench: &Bench, path: &str) -> (String, serde_json::Value) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "5", "--write-out", "\n%{http_code}"]);
    command.arg("--unix-socket").arg(bench.daemon.home().socket());
    let output = command.arg(format!("http://localhost{path}")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(body).unwrap())
}

#[test]
fn curl_gets_the_same_from_the_socket() {
    let bench = Bench::new();
    let (status, rows) = curl(&bench, "/v1/flows?sort=bytes&limit=2");
    assert_eq!(status, "200");
    let flows: Vec<Flow> = serde_json::from_value(rows).unwrap();
    assert_eq!(bench.which(&flows), [1, 2]);

    let (status, body) = curl(&bench, "/v1/flows?sort=colour");
    assert_eq!(status, "400");
    assert!(body["error"].as_str().unwrap().contains("colour"), "{body}");
    let (status, body) = curl(&bench, "/v1/nothing");
    assert_eq!(status, "404");
    assert!(body["error"].as_str().unwrap().contains("/v1/flows"), "{body}");
}
