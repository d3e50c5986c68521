//! Metrics against what others count: the client's kernel, the program that connects, the listings. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use privatelink_tests::{
    Daemon, DualStack, ENDPOINT, Family, Lab, MIXES, Namespace, Server, Topology, connect,
    echo_targets, example, exchange, greeting, kernel_counters, probe, round_trip, wait_until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const LISTEN: &str = "127.0.0.1:9480";
const A: &str = "vpc_endpoint_id=\"vpce-0a11111111111111a\"";
const B: &str = "vpc_endpoint_id=\"vpce-0b22222222222222b\"";
const SERVICE: &str = "service_id=\"vpce-svc-0e123abc123198abc\"";

struct Site {
    daemon: Daemon,
    _targets: [Server; 2],
    lab: Lab,
}

/// Samples by name, each with its labels and value.
struct Page(BTreeMap<String, Vec<(String, f64)>>);

impl Page {
    fn read(text: &str) -> Self {
        let mut samples: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = key.split_once('{').unwrap_or((key, ""));
            samples.entry(name.into()).or_default().push((labels.into(), value.parse().unwrap()));
        }
        Self(samples)
    }

    /// What a daemon's control socket answers.
    fn of(daemon: &Daemon) -> Self {
        let mut curl = Command::new("curl");
        let curl = curl.args(["-sS", "--unix-socket"]).arg(daemon.home().socket());
        let output = curl.arg("http://localhost/metrics").output().unwrap();
        Self::read(&String::from_utf8(output.stdout).unwrap())
    }

    /// The sum of all samples of a name whose labels have this among them.
    fn sum(&self, name: &str, label: &str) -> u64 {
        let samples = self.0.get(&format!("privatelink_{name}"));
        let samples = samples.unwrap_or_else(|| panic!("no {name}")).iter();
        samples.filter(|(labels, _)| labels.contains(label)).map(|(_, value)| *value as u64).sum()
    }
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let config = lab.folder().join("metrics.toml");
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        fs::write(&config, format!("{text}\n[metrics]\nlisten = \"{LISTEN}\"\n")).unwrap();
        let daemon = Daemon::start(&lab, &config, &[]).unwrap();
        Self { daemon, _targets: targets, lab }
    }

    fn consumer(&self, name: &str) -> &Namespace {
        self.lab.network(name).unwrap()
    }

    /// What a reader of the TCP address gets.
    fn text(&self) -> String {
        let url = format!("http://{LISTEN}/metrics");
        self.lab.gateway().run(&["curl", "-sS", "--fail-with-body", &url]).unwrap()
    }

    fn page(&self) -> Page {
        Page::read(&self.text())
    }
}

/// Bytes of IP packets that the namespace's kernel has received and sent.
fn octets(namespace: &Namespace) -> [u64; 2] {
    let all = kernel_counters(namespace, "netstat", "IpExt").unwrap();
    ["InOctets", "OutOctets"].map(|name| all[name])
}

#[test]
fn flows_that_a_group_without_a_healthy_target_gets() {
    const CONNECTIONS: u64 = 5;
    let site = Site::new();
    // The targets speak no HTTP.
    wait_until(PATIENCE, "both targets are unhealthy", || {
        site.page().sum("target_group_unhealthy_hosts", "") == 2
    })
    .unwrap();
    let flows = || site.page().sum("target_unhealthy_routing_flows_total", "");
    assert_eq!(flows(), 0);
    for _ in 0..CONNECTIONS {
        round_trip(site.consumer("consumer-a"), ENDPOINT).unwrap();
    }
    assert_eq!(flows(), CONNECTIONS);
}

#[test]
fn what_clients_and_their_kernels_count() {
    const CONNECTIONS: u64 = 20;
    let site = Site::new();
    let [a, b] = ["consumer-a", "consumer-b"].map(|name| site.consumer(name));
    let before = octets(a);
    for _ in 0..CONNECTIONS {
        round_trip(a, ENDPOINT).unwrap();
    }
    let mut live = connect(a, None, ENDPOINT).unwrap();
    greeting(&mut live).unwrap();
    // One segment each: what the kernel splits or joins, it counts as one packet.
    for turn in 0..50 {
        let words = [turn; 1000];
        assert_eq!(exchange(&mut live, &words).unwrap(), words);
    }
    round_trip(b, ENDPOINT).unwrap();

    // The last acknowledgements may be under way.
    let carried = |way: &str| {
        let page = site.page();
        let samples = page.0["privatelink_endpoint_bytes_processed_total"].iter();
        let mut of_a = samples.filter(|(labels, _)| labels.contains(A) && labels.contains(way));
        of_a.next().unwrap().1 as u64
    };
    wait_until(PATIENCE, "the bytes are those that the client's kernel counts", || {
        let [received, sent] = octets(a);
        [carried("to_client"), carried("to_target")] == [received - before[0], sent - before[1]]
    })
    .unwrap();

    let page = site.page();
    assert_eq!(page.sum("endpoint_new_connections_total", A), CONNECTIONS + 1);
    assert_eq!(page.sum("endpoint_new_connections_total", B), 1);
    assert_eq!(page.sum("service_new_connections_total", SERVICE), CONNECTIONS + 2);
    assert_eq!(page.sum("target_new_connections_total", ""), CONNECTIONS + 2);
    assert_eq!(page.sum("service_endpoints", SERVICE), 2);
    let bytes = |of: &str| page.sum(&format!("{of}_bytes_processed_total"), "");
    assert_eq!((bytes("service"), bytes("target")), (bytes("endpoint"), bytes("endpoint")));
    let balancer = "load_balancer=\"web-nlb\"";
    assert_eq!(page.sum("load_balancer_bytes_processed_total", balancer), bytes("endpoint"));
    assert_eq!(page.sum("load_balancer_new_connections_total", balancer), CONNECTIONS + 2);
    let packets = |of: &str| page.sum(&format!("{of}_packets_processed_total"), "");
    assert_eq!(packets("target"), packets("endpoint"));
    // The listing says the same of what lives.
    let flows = site.daemon.flows(&[]).unwrap();
    assert_eq!(page.sum("flow_table_flows", ""), flows.len() as u64);
    assert_eq!(page.sum("target_active_connections", ""), flows.len() as u64);
    assert!(page.sum("leases", "web-nlb") >= flows.len() as u64);
    drop(live);
}

#[test]
fn flows_from_each_family_to_each() {
    const LENGTH: u64 = 100;
    let site = DualStack::new(&[]).unwrap();
    let _targets = site.echoes().unwrap();
    let carried: Vec<_> = MIXES.into_iter().zip(1..).collect();
    for &((client, target), count) in &carried {
        site.echoed(client.endpoint(target), count, LENGTH as usize).unwrap();
    }
    let page = Page::of(&site.daemon);

    // Packets count as they arrive: with the client's header to the target, with the target's to the client.
    let bytes = |count: u64, family: Family| count * (family.header() + 8 + LENGTH);
    let expected = |of: fn(Family) -> bool| {
        let here = carried.iter().filter(|((_, target), _)| of(*target));
        here.fold([0; 4], |[flows, packets, to_target, to_client], &((client, target), count)| {
            [
                flows + 1,
                packets + count,
                to_target + bytes(count, client),
                to_client + bytes(count, target),
            ]
        })
    };
    let found = |of: &str, label: &str| {
        let way = |name: &str, way: &str| {
            page.sum(&format!("{of}_{name}_total"), &format!("{label},direction=\"{way}\""))
        };
        let packets = ["to_target", "to_client"].map(|to| way("packets_processed", to));
        assert_eq!(packets[0], packets[1], "each is answered");
        let flows = page.sum(&format!("{of}_new_connections_total"), label);
        assert_eq!(page.sum(&format!("{of}_active_connections"), label), flows);
        let bytes = ["to_target", "to_client"].map(|to| way("bytes_processed", to));
        [flows, packets[0], bytes[0], bytes[1]]
    };
    assert_eq!(found("endpoint", "endpoint_type=\"Interface\""), expected(|_| true));
    assert_eq!(found("load_balancer", "load_balancer=\"nlb\""), expected(|_| true));
    let [four, six] = [Family::Four, Family::Six].map(|family| {
        let (target, address) = (family.target(), family.balancer());
        let leases = format!("address=\"{address}\",target=\"{target}\"");
        assert_eq!(page.sum("leases", &leases), 2, "{leases}");
        found("target", &format!("target=\"{target}\""))
    });
    assert_eq!([four, six], [expected(|of| of == Family::Four), expected(|of| of == Family::Six)]);

    let table = |name: &str| page.sum(&format!("flow_table_{name}"), "");
    // All of them are of the table with IPv6, since the endpoint leads to IPv6 targets.
    assert_eq!((table("flows"), table("ipv6_held_flows"), table("held_flows")), (4, 4, 0));
    assert_eq!(table("ipv6_capacity"), table("capacity"));
}

#[test]
fn drops_by_reason_and_by_endpoint() {
    let site = Site::new();
    let a = site.consumer("consumer-a");
    let closed = "10.0.1.10:81".parse().unwrap();
    probe(a, "10.0.2.20:0".parse().unwrap(), &[closed]);
    let reason = "reason=\"NoListener\"";
    let dropped = site.page().sum("packets_dropped_total", reason);
    assert_eq!(dropped, site.daemon.drops("pl-consumer-a", "NoListener").unwrap());
    assert!(dropped >= 1);
    // No endpoint publishes that port.
    assert_eq!(site.page().sum("endpoint_packets_dropped_total", ""), 0);
}

#[test]
fn health_as_the_listing_has_it() {
    let site = Site::new();
    let listed = |health: &str| {
        let rows = site.daemon.cli(&["targets", "-o", "json"]).unwrap();
        rows.as_array().unwrap().iter().filter(|row| row["health"] == health).count() as u64
    };
    // The targets take connections, and do not speak the HTTP of the checks.
    wait_until(PATIENCE, "both targets are unhealthy", || listed("unhealthy") == 2).unwrap();
    let page = site.page();
    let web = "target_group=\"web\",load_balancer=\"web-nlb\"";
    assert_eq!(page.sum("target_group_unhealthy_hosts", web), 2);
    assert_eq!(page.sum("target_group_healthy_hosts", web), 0);

    let config = site.lab.folder().join("metrics.toml");
    let text = fs::read_to_string(&config).unwrap();
    let plain =
        text.replace("protocol = \"http\"", "protocol = \"tcp\"").replace("path = \"/\"\n", "");
    fs::write(&config, plain).unwrap();
    site.daemon.cli_text(&["reload"]).unwrap();
    wait_until(PATIENCE, "both targets are healthy", || listed("healthy") == 2).unwrap();
    let page = site.page();
    assert_eq!(page.sum("target_group_healthy_hosts", web), 2);
    assert_eq!(page.sum("target_healthy", ""), 2);
    assert_eq!(page.0["privatelink_target_health_check_duration_seconds"].len(), 2);
}

#[test]
fn counters_go_on_over_a_restart() {
    let mut site = Site::new();
    for _ in 0..5 {
        round_trip(site.consumer("consumer-a"), ENDPOINT).unwrap();
    }
    let before = site.page();
    let home = site.daemon.home();
    let config = site.lab.folder().join("metrics.toml");
    site.daemon.kill().unwrap();
    site.daemon = Daemon::start_in(home, &site.lab, &config, &[]).unwrap();
    let after = site.page();
    for name in ["new_connections_total", "bytes_processed_total", "packets_processed_total"] {
        let name = format!("endpoint_{name}");
        assert_eq!(after.sum(&name, A), before.sum(&name, A), "{name}");
    }
    assert!(after.sum("start_time_seconds", "") >= before.sum("start_time_seconds", ""));
}

/// Has promtool judge what stands in files, or is given to it.
fn promtool(arguments: &[&str], given: &str) {
    let folder = example("overlap.toml").with_file_name("monitoring");
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|of| String::from_utf8_lossy(&of).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}

#[test]
fn the_examples_are_right_and_ask_for_what_there_is() {
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
    let site = Site::new();
    let page = site.page();
    let described: Vec<String> = site
        .text()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    let is_there = |name: &str| page.0.contains_key(name) || described.iter().any(|of| of == name);
    for file in ["alerts.yml", "grafana-dashboard.json"] {
        let path = example("overlap.toml").with_file_name("monitoring").join(file);
        let text = fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<&str> = words.filter(|word| word.starts_with("privatelink_")).collect();
        assert!(names.len() > 10, "{file}: {names:?}");
        let unknown: Vec<_> = names.into_iter().filter(|name| !is_there(name)).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
        if file.ends_with("json") {
            serde_json::from_str::<Value>(&text).unwrap();
        }
    }
}

#[test]
fn both_ways_to_read_them_and_what_promtool_says() {
    let site = Site::new();
    round_trip(site.consumer("consumer-a"), ENDPOINT).unwrap();
    let socket = site.daemon.home().socket().display().to_string();
    let by_socket = Command::new("curl")
        .args(["-sS", "--unix-socket", &socket, "-H", "Accept: application/openmetrics-text"])
        .arg("http://localhost/metrics")
        .output()
        .unwrap();
    let (text, by_socket) = (site.text(), String::from_utf8(by_socket.stdout).unwrap());
    let names = |text: &str| Page::read(text).0.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&by_socket), names(&text));
    assert!(by_socket.ends_with("# EOF\n"), "{by_socket}");

    promtool(&["check", "metrics"], &text);

    // Nothing else is served there.
    let url = format!("http://{LISTEN}/v1/flows");
    let code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", &url];
    assert_eq!(site.lab.gateway().run(&code).unwrap(), "404");
}

#[test]
fn totals_say_the_same_as_one_object() {
    let site = Site::new();
    let a = site.consumer("consumer-a");
    for _ in 0..3 {
        round_trip(a, ENDPOINT).unwrap();
    }
    probe(a, "10.0.2.20:0".parse().unwrap(), &["10.0.1.10:81".parse().unwrap()]);
    let socket = site.daemon.home().socket().display().to_string();
    let totals = || -> Value {
        let url = "http://localhost/v1/totals";
        let arguments = ["curl", "-sS", "--fail-with-body", "--unix-socket", &socket, url];
        serde_json::from_str(&site.lab.gateway().run(&arguments).unwrap()).unwrap()
    };
    // The last acknowledgements may be under way.
    let mut seen = (Value::Null, Page(BTreeMap::new()));
    wait_until(PATIENCE, "nothing moves any more", || {
        let before = totals()["endpoints"].clone();
        seen = (totals(), site.page());
        seen.0["endpoints"] == before && totals()["endpoints"] == before
    })
    .unwrap();
    let (totals, page) = seen;

    assert_eq!(totals["flow_table"]["flows"], page.sum("flow_table_flows", ""));
    assert_eq!(totals["drops"][0]["packets"], page.sum("packets_dropped_total", ""));
    let of_a =
        totals["endpoints"].as_array().unwrap().iter().find(|of| A.contains(id(of))).unwrap();
    assert_eq!(of_a["counts"]["new_flows"], 3);
    for (counter, name) in [
        ("new_flows", "new_connections_total"),
        ("packets_dropped", "packets_dropped_total"),
        ("client_resets", "client_resets_total"),
        ("target_resets", "rst_packets_received_total"),
        ("elb_resets", "elb_resets_total"),
        ("port_allocation_errors", "port_allocation_errors_total"),
    ] {
        assert_eq!(of_a["counts"][counter], page.sum(&format!("endpoint_{name}"), A), "{name}");
    }
    for kind in ["endpoint", "service", "target"] {
        let sum = |counter: &str| -> u64 {
            let all = totals[format!("{kind}s")].as_array().unwrap().iter();
            all.map(|of| of["counts"][counter].as_u64().unwrap()).sum()
        };
        for way in ["to_target", "to_client"] {
            let bytes = page.sum(&format!("{kind}_bytes_processed_total"), way);
            assert!(bytes > 0, "{kind} {way}");
            assert_eq!(sum(&format!("bytes_{way}")), bytes, "{kind} {way}");
        }
        assert_eq!(sum("new_flows"), 3, "{kind}");
    }
}

fn id(endpoint: &Value) -> &str {
    endpoint["endpoint"].as_str().unwrap()
}

#[test]
fn idle_connections_are_bounded() {
    let site = Site::new();
    let gateway = site.lab.gateway();
    let connect = || gateway.enter(|| TcpStream::connect(LISTEN)).unwrap().unwrap();
    let idle: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    let fault = |stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        (&*stream).read(&mut [0]).map_err(|error| error.kind())
    };
    let closed = |stream: &&TcpStream| !matches!(fault(stream), Err(ErrorKind::WouldBlock));
    wait_until(PATIENCE, "all but sixteen are closed", || idle.iter().filter(closed).count() == 84)
        .unwrap();
    // The data path and the control socket do not mind.
    round_trip(site.consumer("consumer-a"), ENDPOINT).unwrap();
    site.daemon.cli_text(&["status"]).unwrap();
    drop(idle);
    wait_until(PATIENCE, "there is room again", || {
        let url = format!("http://{LISTEN}/metrics");
        gateway.run(&["curl", "-sS", "--fail", &url]).is_ok()
    })
    .unwrap();
}

#[test]
fn a_reload_moves_them() {
    let site = Site::new();
    let config = site.lab.folder().join("metrics.toml");
    let text = fs::read_to_string(&config).unwrap();
    let elsewhere = "127.0.0.1:9481";
    fs::write(&config, text.replace(LISTEN, elsewhere)).unwrap();
    site.daemon.cli_text(&["reload"]).unwrap();
    site.daemon.wait_log(&format!("metrics are at http://{elsewhere}/metrics"), PATIENCE).unwrap();
    let url = format!("http://{elsewhere}/metrics");
    site.lab.gateway().run(&["curl", "-sS", "--fail", &url]).unwrap();
    wait_until(PATIENCE, "nobody answers where they were", || {
        let url = format!("http://{LISTEN}/metrics");
        site.lab.gateway().run(&["curl", "-sS", &url]).is_err()
    })
    .unwrap();
    let taken = site.lab.gateway().enter(|| std::net::TcpListener::bind(LISTEN)).unwrap().unwrap();
    fs::write(&config, text).unwrap();
    site.daemon.cli_text(&["reload"]).unwrap();
    site.daemon.wait_log("choose another `listen` of [metrics]", PATIENCE).unwrap();
    site.lab.gateway().run(&["curl", "-sS", "--fail", &url]).unwrap();
    drop(taken);
}
