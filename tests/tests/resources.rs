//! A service that is made, changed and taken down by the control API alone, with real TCP. Needs root.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{
    Daemon, Lab, Namespace, Server, Topology, connect, echo_targets, example, exchange, greeting,
    round_trip, wait_until,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// The example's vpcs, and targets that nothing publishes yet.
struct Site {
    lab: Lab,
    targets: [Server; 2],
    config: PathBuf,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let config = lab.folder().join("vpcs.toml");
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        let vpcs = text.split("# ---- provider side").next().unwrap();
        fs::write(&config, vpcs).unwrap();
        Self { lab, targets, config }
    }

    fn start(&self) -> Daemon {
        Daemon::start(&self.lab, &self.config, &[]).unwrap()
    }

    fn consumer(&self) -> &Namespace {
        self.lab.network("consumer-a").unwrap()
    }
}

/// The only row of what the command line answers.
fn told(daemon: &Daemon, words: &[&str]) -> Value {
    let rows = daemon.cli(&[words, &["-o", "json"]].concat());
    rows.unwrap_or_else(|error| panic!("{words:?}: {error:#}"))[0].clone()
}

fn make(daemon: &Daemon, kind: &str, settings: &Value) -> Value {
    told(daemon, &[kind, "create", &settings.to_string()])
}

/// Every service with its state.
fn service_states(daemon: &Daemon) -> Vec<(String, String)> {
    let rows = daemon.cli(&["services", "-o", "json"]).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| (text(row, "service"), text(row, "state"))).collect()
}

fn refusal(daemon: &Daemon, words: &[&str]) -> String {
    format!("{:#}", daemon.cli_text(words).unwrap_err())
}

/// The code of the error that a request is answered with.
fn code(daemon: &Daemon, method: &str, route: &str, body: &str) -> String {
    let socket = daemon.home().socket();
    let socket = socket.display().to_string();
    let url = format!("http://localhost/v1/{route}");
    let arguments = ["-s", "--unix-socket", &socket, "-X", method, "-d", body, &url];
    let output = std::process::Command::new("curl").args(arguments).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["code"].as_str().unwrap_or_else(|| panic!("{method} {route}: {answer}")).to_owned()
}

fn target_group() -> Value {
    json!({
        "name": "web", "vpc": "vpc-provider", "protocol": "tcp", "port": 8080,
        "targets": [{ "address": "10.0.1.10" }],
        "attributes": { "deregistration_delay.timeout_seconds": 10 },
    })
}

fn load_balancer() -> Value {
    json!({
        "name": "web-nlb", "vpc": "vpc-provider",
        "addresses": [{ "zone": "us-east-1a", "address": "10.0.0.10/16" }],
        "listener": [{ "protocol": "tcp", "port": 80, "target_group": "web" }],
    })
}

fn service() -> Value {
    json!({
        "load_balancers": ["web-nlb"], "acceptance_required": false,
        "allowed_principals": ["arn:aws:iam::222222222222:root"],
    })
}

fn endpoint(service: &str) -> Value {
    json!({
        "vpc": "vpc-consumer-a", "service": service,
        "addresses": [{ "zone": "us-east-1a", "address": "10.0.1.10" }],
        "security_groups": ["sg-a"],
    })
}

fn security_group() -> Value {
    let rule = json!({ "protocol": "tcp", "from_port": 80, "to_port": 81, "cidr": "10.0.0.0/16" });
    json!({ "id": "sg-a", "vpc": "vpc-consumer-a", "ingress": [rule] })
}

const AT_80: &str = "10.0.1.10:80";
const AT_81: &str = "10.0.1.10:81";

fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

/// Publishes the first target; the ids of service and endpoint.
fn publish(daemon: &Daemon) -> (String, String) {
    make(daemon, "target-group", &target_group());
    make(daemon, "load-balancer", &load_balancer());
    let service = make(daemon, "service", &service())["id"].as_str().unwrap().to_owned();
    make(daemon, "security-group", &security_group());
    let endpoint = make(daemon, "endpoint", &endpoint(&service));
    assert_eq!((&endpoint["origin"], &endpoint["state"]), (&json!("api"), &json!("available")));
    (service, endpoint["id"].as_str().unwrap().to_owned())
}

#[test]
fn a_service_lives_by_the_api_alone() {
    let site = Site::new();
    let mut daemon = site.start();
    let (service, endpoint) = publish(&daemon);
    assert!(
        service.starts_with("vpce-svc-") && service.len() == "vpce-svc-".len() + 17,
        "{service}"
    );
    let mut stream = connect(site.consumer(), None, address(AT_80)).unwrap();
    assert_eq!(greeting(&mut stream).unwrap().name, "10.0.1.10:8080");

    // A target comes, and the other goes: it drains.
    let both = told(&daemon, &["target", "register", "web", "10.0.1.11:8081", "--weight", "2"]);
    assert_eq!(both["targets"], json!(["10.0.1.10:8080", "10.0.1.11:8081"]));
    let one = told(&daemon, &["target", "deregister", "web", "10.0.1.10"]);
    assert_eq!(one["targets"], json!(["10.0.1.11:8081"]));
    assert_eq!(round_trip(site.consumer(), address(AT_80)).unwrap().name, "10.0.1.11:8081");
    assert_eq!(exchange(&mut stream, b"drains").unwrap(), b"drains");

    // Another port is published.
    let listeners = json!({ "listener": [
        { "protocol": "tcp", "port": 80, "target_group": "web" },
        { "protocol": "tcp", "port": 81, "target_group": "web" },
    ]});
    told(&daemon, &["load-balancer", "modify", "web-nlb", &listeners.to_string()]);
    round_trip(site.consumer(), address(AT_81)).unwrap();

    // All of it outlives the daemon.
    let home = daemon.home();
    daemon.kill().unwrap();
    daemon = Daemon::start_in(home, &site.lab, &site.config, &[]).unwrap();
    assert_eq!(exchange(&mut stream, b"restarted").unwrap(), b"restarted");
    assert_eq!(round_trip(site.consumer(), address(AT_81)).unwrap().name, "10.0.1.11:8081");
    assert_eq!(told(&daemon, &["endpoint", "describe", &endpoint])["state"], "available");

    // And goes.
    let said = refusal(&daemon, &["service", "delete", &service]);
    assert!(said.contains(&format!("{service} is used by endpoint {endpoint}")), "{said}");
    let planned = told(&daemon, &["service", "delete", &service, "--cascade", "--dry-run"]);
    let flows = daemon.flows(&[]).unwrap().len();
    assert_eq!((&planned["flows_cut"], &planned["dry_run"]), (&json!(flows), &json!(true)));
    assert_eq!(exchange(&mut stream, b"still there").unwrap(), b"still there");
    let deleted = told(&daemon, &["service", "delete", &service, "--cascade"]);
    let gone = json!([format!("endpoint service {service}"), format!("endpoint {endpoint}")]);
    assert_eq!(deleted["deleted"], gone);
    assert_eq!(service_states(&daemon), [(service, "Deleting".to_owned())]);
    assert!(deleted["flows_cut"].as_u64().unwrap() >= 1, "{deleted}");
    wait_until(PATIENCE, "the service is forgotten", || service_states(&daemon).is_empty())
        .unwrap();
    assert!(daemon.flows(&[]).unwrap().is_empty());
    told(&daemon, &["load-balancer", "delete", "web-nlb"]);
    told(&daemon, &["target-group", "delete", "web"]);
    assert_eq!(daemon.cli(&["targets", "-o", "json"]).unwrap(), json!([]));
    assert_eq!(site.targets[0].clients().len(), 1);
}

#[test]
fn the_same_request_with_the_same_token_makes_it_once() {
    let site = Site::new();
    let daemon = site.start();
    make(&daemon, "target-group", &target_group());
    make(&daemon, "load-balancer", &load_balancer());
    let body = service().to_string();
    let words = ["service", "create", &body, "--client-token", "once"];
    let first = told(&daemon, &words);
    assert_eq!(told(&daemon, &words), first);
    let rows = daemon.cli(&["services", "-o", "json"]).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let other = r#"{"load_balancers":["web-nlb"],"client_token":"once"}"#;
    assert_eq!(code(&daemon, "POST", "services", other), "IdempotentParameterMismatch");
    assert_ne!(make(&daemon, "service", &service())["id"], first["id"]);
}

#[test]
fn what_is_wrong_is_refused_by_aws_code_and_changes_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let (service, endpoint_id) = publish(&daemon);
    let all = || {
        let listings = ["load-balancer", "target-group", "security-group"];
        let mut all: Vec<Value> = listings
            .iter()
            .map(|kind| daemon.cli(&[kind, "list", "-o", "json"]).unwrap())
            .collect();
        for (kind, id) in [("service", &service), ("endpoint", &endpoint_id)] {
            all.push(daemon.cli(&[kind, "describe", id, "-o", "json"]).unwrap());
        }
        all
    };
    let before = all();
    let with = |settings: Value, key: &str, value: Value| {
        let mut settings = settings;
        settings[key] = value;
        settings.to_string()
    };
    let an_endpoint = || endpoint(&service);
    let one = |kind: &str, id: &str| format!("{kind}/{id}");
    let (group, service_route) = (one("target-groups", "web"), one("services", &service));
    let endpoint_route = one("endpoints", &endpoint_id);
    let elsewhere = json!([{ "zone": "us-east-1a", "address": "10.9.0.1" }]);
    let twice = json!([{ "zone": "us-east-1a", "address": "10.0.1.10" }]);
    let huge = format!(r#"{{"name":"{}"}}"#, "a".repeat(70_000));
    let rows: Vec<(&str, &str, String, &str)> = vec![
        (
            "POST",
            "endpoints",
            with(an_endpoint(), "service", json!("vpce-svc-none")),
            "InvalidVpcEndpointServiceId.NotFound",
        ),
        (
            "POST",
            "endpoints",
            with(an_endpoint(), "vpc", json!("vpc-none")),
            "InvalidVpcID.NotFound",
        ),
        (
            "POST",
            "endpoints",
            with(an_endpoint(), "security_groups", json!(["sg-none"])),
            "InvalidGroup.NotFound",
        ),
        ("POST", "endpoints", with(an_endpoint(), "addresses", elsewhere), "InvalidParameter"),
        ("POST", "endpoints", with(an_endpoint(), "addresses", twice), "InvalidParameter"),
        ("POST", "endpoints", with(an_endpoint(), "colour", json!("red")), "InvalidParameter"),
        ("POST", "endpoints", with(an_endpoint(), "icmp_echo", json!(null)), "InvalidParameter"),
        (
            "POST",
            "endpoints",
            with(an_endpoint(), "limits", json!({ "flows": u64::MAX })),
            "InvalidParameter",
        ),
        (
            "POST",
            "endpoints",
            with(an_endpoint(), "limits", json!({ "flows": 1.5 })),
            "InvalidParameter",
        ),
        ("POST", "endpoints", with(an_endpoint(), "icmp_echo", json!(1)), "InvalidParameter"),
        ("POST", "endpoints", with(an_endpoint(), "id", json!(7)), "InvalidParameter"),
        ("POST", "endpoints", with(an_endpoint(), "id", json!("Vpce X")), "InvalidParameter"),
        (
            "POST",
            "endpoints",
            with(an_endpoint(), "id", json!(endpoint_id)),
            "ResourceAlreadyExists",
        ),
        ("POST", "endpoints", with(an_endpoint(), "client_token", json!("")), "InvalidParameter"),
        ("POST", "endpoints", "[]".into(), "MalformedBody"),
        ("POST", "endpoints", "{".into(), "MalformedBody"),
        ("POST", "target-groups", huge, "BodyTooLarge"),
        ("POST", "target-groups", "{}".into(), "MissingParameter"),
        ("POST", "target-groups", target_group().to_string(), "DuplicateTargetGroupName"),
        ("POST", "load-balancers", load_balancer().to_string(), "DuplicateLoadBalancerName"),
        ("POST", "security-groups", security_group().to_string(), "InvalidGroup.Duplicate"),
        ("POST", "services", r#"{"load_balancers":["none"]}"#.into(), "LoadBalancerNotFound"),
        (
            "POST",
            "load-balancers",
            with(load_balancer(), "listener", json!([{ "target_group": "none" }]))
                .replace("web-nlb", "b"),
            "TargetGroupNotFound",
        ),
        ("PATCH", &group, r#"{"name":"other"}"#.into(), "InvalidParameter"),
        ("PATCH", &group, r#"{"port":0}"#.into(), "InvalidParameter"),
        ("PATCH", &group, r#"{"port":null}"#.into(), "InvalidParameter"),
        ("PATCH", "target-groups/none", r#"{"port":1}"#.into(), "TargetGroupNotFound"),
        ("DELETE", &group, String::new(), "ResourceInUse"),
        ("DELETE", "load-balancers/web-nlb", String::new(), "ResourceInUse"),
        ("DELETE", "security-groups/sg-a", String::new(), "DependencyViolation"),
        ("DELETE", &service_route, String::new(), "ExistingVpcEndpointConnections"),
        ("DELETE", "endpoints/vpce-none", String::new(), "InvalidVpcEndpointId.NotFound"),
        ("DELETE", &endpoint_route, "{}".into(), "MalformedBody"),
        (
            "POST",
            "target-groups/web/deregister",
            r#"{"targets":[{"address":"10.0.1.99"}]}"#.into(),
            "InvalidTarget",
        ),
        (
            "POST",
            "target-groups/web/register",
            r#"{"targets":[{"address":"ten"}]}"#.into(),
            "InvalidParameter",
        ),
        (
            "POST",
            "target-groups/web/register",
            r#"{"targets":[{"address":"10.0.0.10"}]}"#.into(),
            "InvalidParameter",
        ),
        ("POST", "target-groups/web/register", r#"{"targets":[]}"#.into(), "MissingParameter"),
        (
            "POST",
            "target-groups/none/register",
            r#"{"targets":[{"address":"10.0.1.9"}]}"#.into(),
            "TargetGroupNotFound",
        ),
    ];
    for (method, route, body, expected) in rows {
        assert_eq!(code(&daemon, method, route, &body), expected, "{method} {route} {body:.200}");
        assert_eq!(all(), before, "{method} {route} {body:.200}");
    }
    round_trip(site.consumer(), address(AT_80)).unwrap();
}

#[test]
fn the_file_goes_first_and_what_it_declares_is_changed_there() {
    let site = Site::new();
    let (vpcs, whole) = (
        fs::read_to_string(&site.config).unwrap(),
        fs::read_to_string(example("overlap.toml")).unwrap(),
    );
    fs::write(&site.config, &whole).unwrap();
    let daemon = site.start();
    let refused = |method, route, body| code(&daemon, method, route, body);
    assert_eq!(refused("DELETE", "load-balancers/web-nlb", ""), "DeclaredInFile");
    assert_eq!(refused("PATCH", "endpoints/vpce-0a11111111111111a", "{}"), "DeclaredInFile");
    // Its targets are run-time state.
    told(&daemon, &["target", "deregister", "web", "10.0.1.11:8081"]);
    assert_eq!(round_trip(site.consumer(), address(AT_80)).unwrap().name, "10.0.1.10:8080");

    let extra = json!({
        "id": "vpce-extra", "vpc": "vpc-consumer-a", "service": "vpce-svc-0e123abc123198abc",
        "addresses": [{ "zone": "us-east-1a", "address": "10.0.1.12" }],
    });
    make(&daemon, "endpoint", &extra);
    make(&daemon, "service", &json!({ "id": "vpce-svc-extra", "load_balancers": ["web-nlb"] }));
    let mut stream = connect(site.consumer(), None, address("10.0.1.12:80")).unwrap();
    greeting(&mut stream).unwrap();
    let reload = |text: &str| {
        fs::write(&site.config, text).unwrap();
        let before = daemon.log().matches("in force").count();
        daemon.signal(Signal::SIGHUP);
        let done = || {
            daemon.log().matches("is in force").count() > 0
                && daemon.log().matches("in force").count() > before
        };
        wait_until(PATIENCE, "the file is in force", done).unwrap();
    };
    reload(&whole.replace("# no security_groups", "# none"));
    assert_eq!(exchange(&mut stream, b"untouched").unwrap(), b"untouched");

    reload(&vpcs);
    let extra = told(&daemon, &["endpoint", "describe", "vpce-extra"]);
    assert_eq!(extra["state"], "failed");
    assert!(extra["reason"].as_str().unwrap().contains("unknown endpoint service"), "{extra}");
    let states = [("vpce-svc-0e123abc123198abc", "Deleting"), ("vpce-svc-extra", "Failed")];
    assert_eq!(service_states(&daemon), states.map(|(id, state)| (id.into(), state.into())));
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let error = exchange(&mut stream, b"gone").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset), "{error}");

    reload(&whole);
    assert_eq!(told(&daemon, &["endpoint", "describe", "vpce-extra"])["state"], "available");
    round_trip(site.consumer(), address("10.0.1.12:80")).unwrap();
    assert_eq!(round_trip(site.consumer(), address(AT_80)).unwrap().name, "10.0.1.10:8080");
}

#[test]
fn there_is_room_for_more_target_groups_after_a_restart() {
    let site = Site::new();
    let mut daemon = site.start();
    let (_, _) = publish(&daemon);
    let mut stream = connect(site.consumer(), None, address(AT_80)).unwrap();
    greeting(&mut stream).unwrap();
    let make_group = |daemon: &Daemon, number: usize| {
        let mut group = target_group();
        group["name"] = json!(format!("group-{number}"));
        daemon.cli(&["target-group", "create", &group.to_string(), "-o", "json"])
    };
    // There was none at the start, and one is there.
    let refused = (1..100).find_map(|number| Some((number, make_group(&daemon, number).err()?)));
    let (number, error) = refused.unwrap();
    assert_eq!(number, 64);
    let error = format!("{error:#}");
    assert!(error.contains("there is room for 64 target groups and zones of theirs"), "{error}");
    round_trip(site.consumer(), address(AT_80)).unwrap();

    let home = daemon.home();
    daemon.stop().unwrap();
    daemon = Daemon::start_in(home, &site.lab, &site.config, &[]).unwrap();
    make_group(&daemon, number).unwrap();
    assert_eq!(exchange(&mut stream, b"not lost").unwrap(), b"not lost");
    round_trip(site.consumer(), address(AT_80)).unwrap();
}
