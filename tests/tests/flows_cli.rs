//! The flow listing as people and scripts read it: fields, filters, order, CSV, and the socket itself. Needs root.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use privatelink_tests::{
    Daemon, DualStack, ENDPOINT, Family, Flow, LONG_ENDPOINT, LONG_NETWORK, Lab, Process, Server,
    Topology, binary, connect, echo_targets, example, exchange, greeting,
};

/// The contract, in the order of the CSV's columns.
const FIELDS: [&str; 19] = [
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
    "retransmissions_to_target",
    "retransmissions_to_client",
    "consumer_rtt_us",
    "provider_rtt_us",
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
    assert_eq!(sorted(bench.listed(&["--vpc", "vpc-consumer-a"])), [0, 1]);
    assert!(bench.listed(&["--vpc", "vpc-provider"]).is_empty());
    // Clients of both consumers have the same address.
    assert_eq!(sorted(bench.listed(&["--client", "10.0.2.20"])), [0, 1, 2]);
    assert_eq!(bench.listed(&["--client", "10.0.2.20", "--vpc", "vpc-consumer-b"]), [2]);
    assert!(bench.listed(&["--client", "10.0.2.21"]).is_empty());
    assert_eq!(sorted(bench.listed(&["--client", "10.0.2.0/24"])), [0, 1, 2]);
    assert!(bench.listed(&["--client", "10.0.3.0/24"]).is_empty());
    let all = bench.daemon.flows(&[]).unwrap();
    for target in ["10.0.1.10:8080", "10.0.1.11:8081", "10.0.1.10:8081"] {
        let target: SocketAddrV4 = target.parse().unwrap();
        let to_it: Vec<_> = all.iter().filter(|flow| flow.target == target).cloned().collect();
        let listed = bench.listed(&["--target", &target.to_string()]);
        assert_eq!(sorted(listed), sorted(bench.which(&to_it)), "{target}");
        let at_it: Vec<_> =
            all.iter().filter(|flow| flow.target.ip() == target.ip()).cloned().collect();
        let listed = bench.listed(&["--target", &target.ip().to_string()]);
        assert_eq!(sorted(listed), sorted(bench.which(&at_it)), "{target}");
    }
    assert_eq!(bench.listed(&["--min-bytes", "200k"]), [1]);
    assert_eq!(sorted(bench.listed(&["--min-bytes", "2k"])), [1, 2]);
    assert_eq!(bench.listed(&["--sort", "bytes"]), [1, 2, 0]);
    assert_eq!(bench.listed(&["--sort", "bytes", "--reverse"]), [0, 2, 1]);
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
    let deadline = Duration::from_secs(9);
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

/// The cells below a header that is not the first, each of which begins where the header does.
fn column<'t>(table: &'t str, header: &str) -> Vec<&'t str> {
    let mut lines = table.lines();
    let at = lines.next().unwrap().find(&format!("  {header} ")).unwrap() + 2;
    // Headers of numbers have a second line.
    let rows = lines.filter(|line| !line.starts_with(' '));
    let cells = rows.map(|row| {
        assert!(row[..at].ends_with("  "), "{table}");
        row[at..].split("  ").next().unwrap()
    });
    cells.collect()
}

#[test]
fn both_families_are_listed_and_found() {
    let site = DualStack::with_long_addresses(&[]).unwrap();
    let _targets = site.echoes().unwrap();
    let of_four = [Family::Four, Family::Six].map(|target| Family::Four.endpoint(target));
    let of_six = of_four.map(|of| SocketAddr::new(LONG_ENDPOINT.into(), of.port()));
    let carried = of_four.into_iter().chain(of_six).zip(1..);
    let clients: Vec<SocketAddr> =
        carried.map(|(to, count)| site.echoed(to, count, 1000).unwrap()).collect();

    // Largest first: IPv6 to IPv6, IPv6 to IPv4, IPv4 to IPv6, IPv4 to IPv4.
    let listed: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&["--sort", "bytes"]).unwrap();
    assert!(listed.iter().map(|flow| &flow.client).eq(clients.iter().rev()), "{listed:?}");
    let table = site.daemon.cli_text(&["flows", "--sort", "bytes"]).unwrap();
    for (header, of) in [
        ("client", (|flow| flow.client) as fn(&Flow<SocketAddr>) -> SocketAddr),
        ("endpoint_address", |flow| flow.endpoint_address),
        ("nat", |flow| flow.nat),
        ("target", |flow| flow.target),
    ] {
        let expected: Vec<String> = listed.iter().map(|flow| of(flow).to_string()).collect();
        assert_eq!(column(&table, header), expected, "{table}");
    }

    for (index, flow) in listed.iter().enumerate() {
        let to_it = |of: &&Flow<SocketAddr>| of.target == flow.target;
        let both: Vec<_> = listed.iter().filter(to_it).map(|of| of.client).collect();
        let from_it = |of: &&Flow<SocketAddr>| of.client.ip() == flow.client.ip();
        let of_client: Vec<_> = listed.iter().filter(from_it).map(|of| of.client).collect();
        for (filter, value, expected) in [
            ("--client", flow.client.to_string(), vec![flow.client]),
            ("--client", flow.client.ip().to_string(), of_client.clone()),
            ("--client", if index < 2 { LONG_NETWORK } else { "10.0.0.0/16" }.into(), of_client),
            ("--target", flow.target.to_string(), both.clone()),
            ("--target", flow.target.ip().to_string(), both),
        ] {
            let found: Vec<Flow<SocketAddr>> =
                site.daemon.flows_of(&["--sort", "bytes", filter, &value]).unwrap();
            let found: Vec<_> = found.into_iter().map(|flow| flow.client).collect();
            assert_eq!(found, expected, "{filter} {value}");
        }
    }

    let targets = [Family::Four, Family::Six].map(|of| of.target().to_string());
    for (listing, header, expected) in [
        ("targets", "target", &targets[..]),
        ("endpoints", "addresses", &[format!("10.0.1.10,{LONG_ENDPOINT}")]),
        ("services", "listeners", &["tcp_udp/80,tcp_udp/81".to_owned()]),
    ] {
        let table = site.daemon.cli_text(&[listing]).unwrap();
        assert_eq!(column(&table, header), expected, "{table}");
    }
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

    let (status, rows) = curl(&bench, "/v1/flows?client=10.0.2.0/24&vpc=vpc-consumer-b");
    assert_eq!(status, "200");
    let flows: Vec<Flow> = serde_json::from_value(rows).unwrap();
    assert_eq!(bench.which(&flows), [2]);

    let (status, body) = curl(&bench, "/v1/flows?sort=colour");
    assert_eq!(status, "400");
    assert!(body["error"].as_str().unwrap().contains("colour"), "{body}");
    let (status, body) = curl(&bench, "/v1/nothing");
    assert_eq!(status, "404");
    assert!(body["error"].as_str().unwrap().contains("/v1/flows"), "{body}");
}

/// Bytes that the uploading client sends before it waits for an answer of one byte.
const MESSAGE: usize = 10_000;

/// A server that takes messages, and says of each that it has come.
fn taking(lab: &Lab, address: &str) -> Server {
    let serve = |mut stream: TcpStream, _| {
        let mut message = [0; MESSAGE];
        loop {
            stream.read_exact(&mut message)?;
            stream.write_all(b"!")?;
        }
    };
    Server::start(lab.network("provider").unwrap(), address.parse().unwrap(), serve).unwrap()
}

#[test]
fn rates_are_of_what_clients_send_meanwhile() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = ["10.0.1.10:8080", "10.0.1.11:8081"].map(|address| taking(&lab, address));
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let mut busy = connect(lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
    let mut idle = connect(lab.network("consumer-b").unwrap(), None, ENDPOINT).unwrap();
    let send = |stream: &mut TcpStream| {
        stream.write_all(&[b'x'; MESSAGE]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
    };
    // As much as a rate that was a total would show.
    (0..10).for_each(|_| send(&mut idle));
    // Its last acknowledgement may be delayed.
    let arguments = ["flows", "-o", "json", "--endpoint", ENDPOINT_B];
    daemon
        .wait_cli(Duration::from_secs(9), "the other is silent", &arguments, |rows| {
            rows[0]["idle_ms"].as_u64() >= Some(500)
        })
        .unwrap();

    let (sent, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let of_busy = || daemon.flows(&["--endpoint", ENDPOINT_A]).unwrap().remove(0);
    let (rows, before, after, sent_before) = thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(SeqCst) {
                send(&mut busy);
                sent.fetch_add(MESSAGE as u64, SeqCst);
            }
        });
        let (sent_before, before) = (sent.load(SeqCst), of_busy());
        let rows = daemon.cli(&["flows", "-o", "json", "--rate", "500ms", "--sort", "rate"]);
        let after = of_busy();
        enough.store(true, SeqCst);
        (rows.unwrap(), before, after, sent_before)
    });

    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(
        (&rows[0]["endpoint"], &rows[1]["endpoint"]),
        (&ENDPOINT_A.into(), &ENDPOINT_B.into())
    );
    let rate = |row: usize, what: &str| rows[row][format!("{what}_per_s")].as_u64().unwrap();
    for (what, of) in [
        ("packets_to_target", (|flow| flow.packets_to_target) as fn(&Flow) -> u64),
        ("bytes_to_target", |flow| flow.bytes_to_target),
        ("packets_to_client", |flow| flow.packets_to_client),
        ("bytes_to_client", |flow| flow.bytes_to_client),
    ] {
        assert_eq!(rate(1, what), 0, "{what} of the one that has been silent");
        // What it carried in half a second or more is among what it carried between the other two listings.
        let (in_a_second, between) = (rate(0, what), of(&after) - of(&before));
        assert!(in_a_second > 0 && in_a_second / 2 <= between, "{what}: {in_a_second} {between}");
    }
    assert!(rate(0, "bytes_to_target") > 10 * rate(0, "bytes_to_client"), "{rows}");
    let sent = sent.load(SeqCst);
    let last = of_busy();
    assert!(sent > sent_before && last.bytes_to_target > sent, "{sent} {last:?}");
}

#[test]
fn listings_follow_one_another_until_ctrl_c() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["flows", "--watch", "100ms", "--sort", "bytes", "-o", "csv"]);
    command.args(["--columns", "client,endpoint", "--socket"]).arg(bench.daemon.home().socket());
    let mut watching =
        Process::spawn("privatelink flows", &mut command, &folder.path().join("log")).unwrap();
    let row = |(index, endpoint): (usize, &str)| {
        format!("{},{endpoint}\n", bench.streams[index].local_addr().unwrap())
    };
    let rows = [(1, ENDPOINT_A), (2, ENDPOINT_B), (0, ENDPOINT_A)].map(row);
    let twice = format!("client,endpoint\n{}", rows.concat()).repeat(2);
    let patience = Duration::from_secs(10);
    watching.wait_log(&twice, patience).unwrap();
    watching.signal(Signal::SIGINT);
    let ended = watching.wait(patience).unwrap();
    assert_eq!(ended.code(), Some(0), "{}", watching.log());
    assert!(!watching.log().contains("privatelink:"), "{}", watching.log());
}
