//! Flow logs and access logs, read by Miller, against what others count: the client's kernel, the servers, the metrics, the
//! listings. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{
    Answer, Daemon, DualStack, ENDPOINT, Family, Lab, MIXES, Namespace, Server, Topology, connect,
    echo_targets, example, exchange, greeting, kernel_counters, probe, round_trip, wait_until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const FIELDS: &str = "${version} ${account-id} ${interface-id} ${vpc-id} ${az-id} ${region} \
    ${flow-direction} ${srcaddr} ${srcport} ${dstaddr} ${dstport} ${protocol} ${pkt-srcaddr} \
    ${pkt-srcport} ${pkt-dstaddr} ${pkt-dstport} ${packets} ${bytes} ${start} ${end} ${tcp-flags} \
    ${action} ${reject-reason} ${log-status} ${endpoint-id} ${service-id} ${load-balancer} \
    ${target-group} ${target} ${nat} ${consumer-rtt-us} ${provider-rtt-us} ${retransmissions}";
const A: &str = "vpce-0a11111111111111a";
const B: &str = "vpce-0b22222222222222b";
const SERVICE: &str = "vpce-svc-0e123abc123198abc";

struct Site {
    // Stopped first.
    daemon: Option<Daemon>,
    targets: [Server; 2],
    config: PathBuf,
    lab: Lab,
}

impl Site {
    /// The lab of two consumers with these tables in the configuration; `FOLDER` stands for the lab's.
    fn new(tables: &str) -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let config = lab.folder().join("logs.toml");
        let site = Self { daemon: None, targets, config, lab };
        site.write(tables);
        let daemon = Daemon::start(&site.lab, &site.config, &[]).unwrap();
        Self { daemon: Some(daemon), ..site }
    }

    fn write(&self, tables: &str) {
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        // What both sides have closed is over soon.
        let service = "acceptance_required = false\n";
        let text =
            text.replacen(service, &format!("{service}timeouts = {{ closing = \"1s\" }}\n"), 1);
        let tables = tables.replace("FOLDER", &self.lab.folder().display().to_string());
        fs::write(&self.config, format!("{text}\n{tables}")).unwrap();
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn stop(&mut self) {
        self.daemon.take().unwrap().stop().unwrap();
    }

    fn consumer(&self, name: &str) -> &Namespace {
        self.lab.network(name).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.folder().join(name)
    }

    fn metric(&self, name: &str, label: &str) -> u64 {
        let socket = self.daemon().home().socket();
        let mut curl = Command::new("curl");
        let curl = curl.args(["-sS", "--unix-socket"]).arg(socket).arg("http://localhost/metrics");
        let text = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }
}

/// The records of a file whose first line names the fields.
fn read(file: &Path) -> Vec<Value> {
    mlr(&["--icsv", "--ifs", "space", "--ojson", "cat"], file)
}

/// The lines of a file without such a line; fields are called 1, 2 and so on.
fn read_lines(file: &Path) -> Vec<Value> {
    mlr(&["--inidx", "--ifs", "space", "--ojson", "cat"], file)
}

fn mlr(arguments: &[&str], file: &Path) -> Vec<Value> {
    let output = Command::new("mlr").args(arguments).arg(file).output().expect("mlr runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("mlr writes JSON")
}

fn text<'v>(record: &'v Value, field: &str) -> &'v str {
    record[field].as_str().unwrap_or_else(|| panic!("{field} of {record}"))
}

fn number(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or_else(|| panic!("{field} of {record}"))
}

/// The sum of a field over the records that have these values.
fn sum(records: &[Value], field: &str, having: &[(&str, &str)]) -> u64 {
    let has = |record: &&Value| having.iter().all(|(field, value)| record[*field] == *value);
    records.iter().filter(has).map(|record| number(record, field)).sum()
}

/// Bytes of IP packets that the namespace's kernel has received and sent.
fn octets(namespace: &Namespace) -> [u64; 2] {
    let all = kernel_counters(namespace, "netstat", "IpExt").unwrap();
    ["InOctets", "OutOctets"].map(|name| all[name])
}

fn talk(stream: &mut TcpStream, times: u8) {
    for turn in 0..times {
        let words = [turn; 1000];
        assert_eq!(exchange(stream, &words).unwrap(), words);
    }
}

#[test]
fn what_clients_servers_metrics_and_listings_count() {
    const CONNECTIONS: usize = 12;
    let tables = format!(
        "[flow_logs]\ndestination = \"FOLDER/flow.log\"\nlog_format = \"{FIELDS}\"\n\
         [access_log]\ndestination = \"FOLDER/access.log\"\n"
    );
    let mut site = Site::new(&tables);
    let [a, b] = ["consumer-a", "consumer-b"].map(|name| site.consumer(name));
    let before = octets(a);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(a, None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        talk(&mut stream, 3);
        clients.push(stream.local_addr().unwrap());
    }
    round_trip(b, ENDPOINT).unwrap();
    let mut live = connect(a, None, ENDPOINT).unwrap();
    greeting(&mut live).unwrap();
    talk(&mut live, 5);

    let ended = format!("{CONNECTIONS} connections of A and one of B have ended");
    wait_until(PATIENCE, &ended, || {
        let lines = fs::read_to_string(site.file("access.log")).unwrap_or_default();
        lines.lines().count() == CONNECTIONS + 1
    })
    .unwrap();
    // The last acknowledgements have passed: the three that count agree.
    let bytes = |way: &str| {
        let label = format!("\"Interface\",direction=\"{way}\"");
        let name = "privatelink_endpoint_bytes_processed_total{vpc_endpoint_id=\"vpce-0a";
        site.metric(name, &label)
    };
    wait_until(PATIENCE, "the metrics count what the client's kernel counts", || {
        let [received, sent] = octets(a);
        [bytes("to_client"), bytes("to_target")] == [received - before[0], sent - before[1]]
    })
    .unwrap();
    let [received, sent] = [bytes("to_client"), bytes("to_target")];
    let listed = site.daemon().cli(&["flows", "-o", "json"]).unwrap();
    let peers: usize = site.targets.iter().map(|target| target.clients().len()).sum();
    assert_eq!(peers, CONNECTIONS + 2);

    // Refused: a port that nobody publishes, a datagram, and a host that may not.
    let client = live.local_addr().unwrap().ip().to_string();
    let from = SocketAddrV4::new(client.parse().unwrap(), 5555);
    let closed = SocketAddrV4::new(*ENDPOINT.ip(), 81);
    assert_eq!(probe(a, from, &[closed]), [Answer::Silence]);
    a.enter(|| {
        let socket = UdpSocket::bind(SocketAddrV4::new(*from.ip(), 5556)).unwrap();
        for _ in 0..3 {
            socket.send_to(b"knock", ENDPOINT).unwrap();
        }
    })
    .unwrap();
    wait_until(PATIENCE, "the segment and the datagrams are dropped", || {
        site.metric("privatelink_packets_dropped_total", "reason=\"NoListener\"") == 4
    })
    .unwrap();
    site.stop();

    let records = read(&site.file("flow.log"));
    let of_a = |way| [("endpoint-id", A), ("flow-direction", way), ("action", "ACCEPT")];
    assert_eq!(
        [sum(&records, "bytes", &of_a("egress")), sum(&records, "bytes", &of_a("ingress"))],
        [received, sent],
        "the flow log counts what the metrics and the client's kernel count"
    );
    let opened = records
        .iter()
        .filter(|record| record["flow-direction"] == "ingress" && record["action"] == "ACCEPT");
    assert_eq!(opened.count(), peers, "a record for each connection that the servers saw");

    // The one that still lives, as the listing shows it.
    let row = &listed.as_array().unwrap()[0];
    let port = live.local_addr().unwrap().port();
    let record = records.iter().find(|of| of["srcport"] == port).unwrap();
    assert_eq!(number(record, "bytes"), row["bytes_to_target"].as_u64().unwrap());
    assert_eq!(number(record, "packets"), row["packets_to_target"].as_u64().unwrap());
    for (field, listed) in [("target", "target"), ("nat", "nat"), ("endpoint-id", "endpoint")] {
        assert_eq!(record[field], row[listed], "{field}");
    }
    assert_eq!(number(record, "consumer-rtt-us"), row["consumer_rtt_us"].as_u64().unwrap());
    assert_eq!(
        format!("{}:{}", text(record, "pkt-dstaddr"), number(record, "pkt-dstport")),
        text(record, "target"),
        "client, NAT and target in one record"
    );
    let said = [
        ("account-id", "222222222222"),
        ("vpc-id", "vpc-consumer-a"),
        ("az-id", "us-east-1a"),
        ("region", "us-east-1"),
        ("service-id", SERVICE),
        ("load-balancer", "web-nlb"),
        ("target-group", "web"),
        ("log-status", "OK"),
        ("reject-reason", "-"),
    ];
    for (field, value) in said {
        assert_eq!(record[field].to_string().trim_matches('"'), value, "{field}");
    }
    assert_eq!(number(record, "tcp-flags"), 2, "a SYN, and no FIN yet");
    assert_eq!(number(record, "version"), 8, "of the newest field");

    let refused: BTreeMap<_, _> = records
        .iter()
        .filter(|record| record["action"] == "REJECT" && record["srcaddr"] == *client)
        .map(|of| {
            (
                number(of, "srcport"),
                (text(of, "reject-reason"), number(of, "protocol"), number(of, "packets")),
            )
        })
        .collect();
    let expected = [(5555, ("NoListener", 6, 1)), (5556, ("NoListener", 17, 3))];
    assert_eq!(refused, expected.into());
    let datagrams = records.iter().filter(|of| number(of, "protocol") == 17);
    let bytes: u64 = datagrams.map(|of| number(of, "bytes")).sum();
    assert_eq!(bytes, 3 * (20 + 8 + 5));

    let lines = read_lines(&site.file("access.log"));
    let of_a: Vec<&Value> = lines.iter().filter(|line| line["23"] == A).collect();
    assert_eq!((of_a.len(), lines.len()), (CONNECTIONS, CONNECTIONS + 1));
    assert_eq!(lines.iter().filter(|line| line["23"] == B).count(), 1);
    for client in &clients {
        let line = of_a.iter().find(|line| line["6"] == client.to_string()).expect("its line");
        assert_eq!((text(line, "1"), text(line, "7")), ("tcp", &*ENDPOINT.to_string()));
        let logged =
            records.iter().filter(|of| of["srcport"] == client.port() && of["endpoint-id"] == A);
        let logged: u64 = logged.map(|of| number(of, "bytes")).sum();
        assert_eq!(number(line, "10"), logged, "received bytes in both logs");
    }
}

#[test]
fn what_is_refused_of_either_family() {
    const PORT: u16 = 9;
    const REGION: &str = "region = \"us-east-1\"\n";
    let site = DualStack::new(&[]).unwrap();
    let file = site.lab.folder().join("flow.log");
    let fields = "${srcaddr} ${dstaddr} ${dstport} ${protocol} ${packets} ${bytes} ${action} ${reject-reason}";
    let table = format!(
        "{REGION}[flow_logs]\ndestination = \"{}\"\nlog_format = \"{fields}\"\n",
        file.display()
    );
    site.reload(&[(REGION, &table)]).unwrap();
    let mut expected = Vec::new();
    for family in [Family::Four, Family::Six] {
        let to = SocketAddr::new(family.endpoint(Family::Four).ip(), PORT);
        let send = || {
            let socket = UdpSocket::bind((family.client(), 0)).unwrap();
            assert_eq!(socket.send_to(b"hello", to).unwrap(), 5);
        };
        (0..3).for_each(|_| site.consumer().enter(send).unwrap());
        let header = if to.is_ipv4() { 20 } else { 40 };
        expected.push((family.client().to_string(), to.ip().to_string(), header + 8 + 5));
    }
    wait_until(PATIENCE, "all six are counted", || {
        site.dropped().unwrap().iter().any(|line| line.contains("NoListener"))
    })
    .unwrap();
    let DualStack { daemon, .. } = site;
    daemon.stop().unwrap();
    for (from, to, bytes) in expected {
        let of: Vec<Value> = read(&file)
            .into_iter()
            .filter(|record| record["srcaddr"] == *from && record["dstaddr"] == *to)
            .collect();
        assert_eq!(sum(&of, "packets", &[("reject-reason", "NoListener")]), 3, "{of:?}");
        assert_eq!(sum(&of, "bytes", &[("action", "REJECT")]), 3 * bytes, "{of:?}");
        assert!(of.iter().all(|of| number(of, "protocol") == 17 && number(of, "dstport") == 9));
    }
}

/// The fields of a record, each as it is written.
fn written(record: &Value, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| record[*field].to_string().trim_matches('"').to_owned()).collect()
}

#[test]
fn what_goes_from_each_family_to_each() {
    const REGION: &str = "region = \"us-east-1\"\n";
    const SOON_OVER: (&str, &str) = (
        "acceptance_required = false",
        "acceptance_required = false\ntimeouts = { udp_idle = \"1s\" }",
    );
    const LENGTH: usize = 100;
    let lab = DualStack::lab().unwrap();
    let [flow_log, access_log] = ["flow.log", "access.log"].map(|name| lab.folder().join(name));
    let tables = format!(
        "{REGION}[flow_logs]\ndestination = \"{}\"\nlog_format = \"{FIELDS} ${{type}}\"\n\
         [access_log]\ndestination = \"{}\"\n",
        flow_log.display(),
        access_log.display()
    );
    let health = DualStack::health(lab.network("provider").unwrap()).unwrap();
    let site = DualStack::start(lab, health, &[SOON_OVER, (REGION, &tables)]).unwrap();
    let targets = site.echoes().unwrap();
    let carried = (3..).zip(MIXES).map(|(count, mix)| {
        let client = site.echoed(mix.0.endpoint(mix.1), count, LENGTH).unwrap();
        let peers = targets[usize::from(mix.1 == Family::Six)].peers();
        (mix, count, client, *peers.last().unwrap())
    });
    let carried: Vec<_> = carried.collect();
    wait_until(PATIENCE, "all four flows have ended", || {
        fs::read_to_string(&access_log).unwrap_or_default().lines().count() == MIXES.len()
    })
    .unwrap();
    site.daemon.stop().unwrap();

    let (records, lines) = (read(&flow_log), read_lines(&access_log));
    let interface = text(&records[0], "interface-id");
    for ((client_family, target_family), count, client, nat) in carried {
        let (endpoint, target) = (client_family.endpoint(target_family), target_family.target());
        // Packets count as they arrive.
        let bytes =
            [client_family, target_family].map(|of| count * (of.header() + 8 + LENGTH as u64));
        let group = if target.is_ipv4() { "four" } else { "six" };
        let kind = if client.is_ipv4() { "IPv4" } else { "IPv6" };
        for (way, [from, to], [beyond_from, beyond_to], bytes) in [
            ("ingress", [client, endpoint], [nat, target], bytes[0]),
            ("egress", [endpoint, client], [target, nat], bytes[1]),
        ] {
            let is_of = |record: &&Value| {
                record["srcport"] == from.port()
                    && record["dstport"] == to.port()
                    && record["srcaddr"] == from.ip().to_string()
            };
            let of: Vec<Value> = records.iter().filter(is_of).cloned().collect();
            let counted = [sum(&of, "packets", &[]), sum(&of, "bytes", &[])];
            assert_eq!(counted, [count, bytes], "{way} of {client} to {target}: {of:?}");
            let fields = ["srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr"];
            let ends = [from, to, beyond_from, beyond_to];
            assert_eq!(written(&of[0], &fields), ends.map(|end| end.ip().to_string()));
            let fields = ["srcport", "dstport", "pkt-srcport", "pkt-dstport"];
            assert_eq!(written(&of[0], &fields), ends.map(|end| end.port().to_string()));
            let fields = ["protocol", "flow-direction", "type", "target-group", "target", "nat"];
            let said = ["17", way, kind, group, &target.to_string(), &nat.to_string()];
            assert_eq!(written(&of[0], &fields), said);
            let fields = ["version", "account-id", "action", "log-status", "interface-id"];
            assert_eq!(written(&of[0], &fields), ["8", "222222222222", "ACCEPT", "OK", interface]);
            let fields = ["endpoint-id", "service-id", "load-balancer", "tcp-flags"];
            assert_eq!(written(&of[0], &fields), [A, SERVICE, "nlb", "0"]);
        }
        let line = lines.iter().find(|line| line["6"] == client.to_string()).unwrap();
        let listener = format!("udp:{}", endpoint.port());
        let said = ["udp", "nlb", &listener, &endpoint.to_string(), &bytes[0].to_string()];
        assert_eq!(written(line, &["1", "4", "5", "7", "10"]), said);
        let said = [&bytes[1].to_string(), A, SERVICE, &nat.to_string(), &target.to_string()];
        assert_eq!(written(line, &["11", "23", "24", "25", "26"]), said);
    }
}

#[test]
fn a_reload_ends_an_interval_and_nothing_is_told_twice() {
    let tables = |keep: u8| {
        format!(
            "[flow_logs]\ndestination = \"FOLDER/flow.json\"\nform = \"json\"\nkeep = {keep}\nlog_format = \"{FIELDS}\"\n"
        )
    };
    let mut site = Site::new(&tables(1));
    let a = site.consumer("consumer-a");
    let mut stream = connect(a, None, ENDPOINT).unwrap();
    greeting(&mut stream).unwrap();
    talk(&mut stream, 5);
    site.write(&tables(2));
    site.daemon().signal(Signal::SIGHUP);
    let log = site.file("flow.json");
    let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    wait_until(PATIENCE, "both directions are written, and that another log begins", || {
        lines() >= 3
    })
    .unwrap();
    talk(&mut stream, 2);
    let row = site.daemon().cli(&["flows", "-o", "json"]).unwrap()[0].clone();
    drop(stream);
    site.stop();
    let records = mlr(&["--ijsonl", "--ojson", "cat"], &log);
    let skipped = records.iter().filter(|record| record["log-status"] == "SKIPDATA");
    assert_eq!(skipped.count(), 1, "the new log does not know what was before");
    let bytes = sum(&records, "bytes", &[("flow-direction", "ingress")]);
    let listed = row["bytes_to_target"].as_u64().unwrap();
    assert!(bytes >= listed && bytes < listed + 500, "{bytes} of {listed}, and perhaps a FIN");
}

#[test]
fn a_file_that_is_none_is_refused_at_once() {
    let site = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let config = site.folder().join("full.toml");
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    fs::write(&config, format!("{text}\n[flow_logs]\ndestination = \"/dev/full\"\n")).unwrap();
    let refused = Daemon::start(&site, &config, &[]).expect_err("/dev/full is no file");
    let refused = format!("{refused:#}");
    assert!(refused.contains("no file that can be written on this host"), "{refused}");
}

/// A file system that is soon full.
struct Small(PathBuf);

impl Small {
    fn new(at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=8k", "none"]).arg(&at);
        assert!(mount.status().unwrap().success());
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_counted_and_said_and_all_else_goes_on() {
    let mut site = Site::new("");
    let small = Small::new(site.file("small"));
    site.write(
        "[flow_logs]\ndestination = \"FOLDER/small/flow.log\"\n\
         [access_log]\ndestination = \"FOLDER/access.log\"\n",
    );
    site.daemon().signal(Signal::SIGHUP);
    let a = site.consumer("consumer-a");
    wait_until(PATIENCE, "the flow log is begun", || {
        round_trip(a, ENDPOINT).unwrap();
        site.file("small/flow.log").exists()
    })
    .unwrap();
    wait_until(PATIENCE, "the disk is full", || {
        for _ in 0..50 {
            round_trip(a, ENDPOINT).unwrap();
        }
        let lost = "privatelink_log_lines_lost_total";
        site.metric(lost, "log=\"flow\",cause=\"failed\"") > 0
    })
    .unwrap();
    site.daemon().wait_log("No space left on device", PATIENCE).unwrap();
    let opened = site.metric("privatelink_endpoint_new_connections_total", A) as usize;
    wait_until(PATIENCE, "the other log has all", || {
        site.metric("privatelink_log_lines_total", "log=\"access\"") as usize == opened
    })
    .unwrap();
    site.stop();
    let lines = fs::read_to_string(site.file("access.log")).unwrap().lines().count();
    assert_eq!(lines, opened);
    // Nothing but whole lines.
    let flow = site.file("small/flow.log");
    assert!(fs::read_to_string(&flow).unwrap().ends_with('\n'));
    read(&flow);
    drop(small);
}
