//! What happens is told: to the log, to who follows, and to a webhook that may be slow. Needs root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use privatelink_tests::{
    Daemon, ENDPOINT, Flood, Lab, Process, Server, Topology, echo_targets, example, http_get,
    round_trip, wait_until,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[path = "events/receiver.rs"]
mod receiver;

use receiver::Receiver;

const PATIENCE: Duration = Duration::from_secs(60);
const SERVICE: &str = "vpce-svc-0e123abc123198abc";
const A: &str = "vpce-0a11111111111111a";
/// Where receivers listen, in the gateway's own network.
const HOOK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8443);
const OTHER_HOOK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8444);

/// The example's networks, without its targets.
fn lab() -> Lab {
    Lab::new(&Topology::overlap().without_targets()).unwrap()
}

fn write(lab: &Lab, text: &str) -> PathBuf {
    let path = lab.folder().join("events.toml");
    fs::write(&path, text).unwrap();
    path
}

fn overlap() -> String {
    fs::read_to_string(example("overlap.toml")).unwrap()
}

/// The example's vpcs alone.
fn vpcs() -> String {
    overlap().split("# ---- provider side").next().unwrap().to_owned()
}

fn webhook(to: SocketAddrV4, more: &str) -> String {
    format!("\n[events]\nwebhook = \"http://{to}/privatelink\"\n{more}\n")
}

fn make(daemon: &Daemon, kind: &str, settings: &Value) {
    daemon.cli_text(&[kind, "create", &settings.to_string()]).unwrap();
}

/// What the daemon has kept.
fn kept(daemon: &Daemon) -> Vec<Value> {
    events(&daemon.cli_text(&["events", "-o", "json"]).unwrap())
}

fn of_kind(daemon: &Daemon, kind: &str) -> Vec<Value> {
    events(&daemon.cli_text(&["events", "-o", "json", "--kind", kind]).unwrap())
}

fn events(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The data of a stream as it was sent.
fn streamed(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Follows the daemon's events, as anybody would.
fn curl(daemon: &Daemon, lab: &Lab) -> Process {
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--unix-socket"]).arg(daemon.home().socket());
    curl.arg("http://localhost/v1/events");
    Process::spawn("curl", &mut curl, &lab.folder().join("stream")).unwrap()
}

/// Kind, and from which state to which.
fn steps(events: &[Value]) -> Vec<String> {
    let step = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}>{}", text("kind"), text("before"), text("state"))
    };
    events.iter().map(step).collect()
}

fn target_group() -> Value {
    json!({
        "name": "web", "vpc": "vpc-provider", "protocol": "tcp", "port": 8080,
        "targets": [{ "address": "10.0.1.10" }],
        "health_check": {
            "protocol": "tcp", "interval": "5s", "timeout": "2s",
            "healthy_threshold": 2, "unhealthy_threshold": 2,
        },
    })
}

fn load_balancer() -> Value {
    json!({
        "name": "web-nlb", "vpc": "vpc-provider",
        "addresses": [{ "zone": "us-east-1a", "address": "10.0.0.10/16" }],
        "listener": [{ "protocol": "tcp", "port": 80, "target_group": "web" }],
    })
}

#[test]
fn a_connections_life_and_a_targets_health_are_told_everywhere_once_and_in_order() {
    let lab = lab();
    let receiver = Receiver::start(lab.gateway(), HOOK, &[500, 500]);
    let config = write(&lab, &(vpcs() + &webhook(HOOK, "")));
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    let mut stream = curl(&daemon, &lab);

    let provider = lab.network("provider").unwrap();
    let target = || Server::echo(provider, "10.0.1.10:8080".parse().unwrap(), "web").unwrap();
    let health = |state: &str| {
        let is_told =
            || of_kind(&daemon, "target_health").last().is_some_and(|of| of["state"] == state);
        wait_until(PATIENCE, &format!("the target is {state}"), is_told).unwrap();
    };
    let answers = target();
    make(&daemon, "target-group", &target_group());
    make(&daemon, "load-balancer", &load_balancer());
    health("healthy");

    let root = "arn:aws:iam::222222222222:root";
    make(
        &daemon,
        "service",
        &json!({ "id": SERVICE, "load_balancers": ["web-nlb"], "allowed_principals": [root] }),
    );
    let addresses = json!([{ "zone": "us-east-1a", "address": "10.0.1.10" }]);
    make(
        &daemon,
        "endpoint",
        &json!({
            "id": A, "vpc": "vpc-consumer-a", "service": SERVICE, "addresses": addresses,
            "request_message": "for our invoices",
        }),
    );
    daemon
        .cli(&["connection", "accept", SERVICE, A, "--reason", "contract 7", "-o", "json"])
        .unwrap();
    round_trip(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
    drop(answers);
    health("unhealthy");
    let _answers_again = target();
    health("healthy");
    daemon.cli(&["connection", "reject", SERVICE, A, "--reason", "unpaid", "-o", "json"]).unwrap();
    daemon.cli_text(&["endpoint", "delete", A]).unwrap();

    let all = kept(&daemon);
    let expected = [
        "target_health initial>healthy",
        "connect >pendingAcceptance",
        "accept pendingAcceptance>available",
        "target_health healthy>unhealthy",
        "target_health unhealthy>healthy",
        "reject available>rejected",
        "delete rejected>deleting",
    ];
    assert_eq!(steps(&all), expected);
    let asks = &all[1];
    assert_eq!(
        (&asks["endpoint"], &asks["service"], &asks["principal"], &asks["request_message"]),
        (&json!(A), &json!(SERVICE), &json!(root), &json!("for our invoices"))
    );
    assert_eq!(all[2]["reason"], "contract 7");
    let failed = &all[3];
    assert_eq!(
        (&failed["target_group"], &failed["target"], &failed["reason"], &failed["description"]),
        (
            &json!("web"),
            &json!("10.0.1.10:8080"),
            &json!("Target.FailedHealthChecks"),
            &json!("connection refused")
        )
    );

    // By the stream, and by the webhook, which refused the first one twice.
    let is_told = || streamed(&stream.log()).len() >= all.len();
    wait_until(PATIENCE, "curl has all of it", is_told).unwrap();
    assert_eq!(streamed(&stream.log()), all);
    let is_taken = || receiver.taken().len() >= all.len();
    wait_until(PATIENCE, "the webhook has all of it", is_taken).unwrap();
    assert_eq!(receiver.taken(), all);
    let posted = receiver.posted();
    assert_eq!(posted.len(), all.len() + 2);
    assert!(posted[..3].iter().all(|posted| posted.event() == all[0]), "{posted:?}");
    assert!(posted[0].head.contains(&"content-type: application/json".to_owned()), "{posted:?}");
    assert!(posted[0].head.contains(&"privatelink-event: target_health".to_owned()));

    // A line each, and no other.
    let log = daemon.log();
    for line in [
        format!("endpoint {A} of {root} asks for {SERVICE}: waits for the provider to accept it"),
        format!("endpoint {A} is available: contract 7"),
        format!("endpoint {A} is rejected: unpaid"),
        format!("endpoint {A} is deleting: it is not declared any more"),
        "target 10.0.1.10:8080 of web is unhealthy: connection refused".to_owned(),
    ] {
        assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
    }
    assert_eq!(log.matches("target 10.0.1.10:8080 of web is healthy").count(), 2, "{log}");
    assert_eq!(log.matches("does not take events: HTTP status 500").count(), 1, "{log}");
    assert_eq!(log.matches("takes events again").count(), 1, "{log}");

    // The stream ends with the daemon. What the next one tells comes later.
    let home = daemon.home();
    daemon.stop().unwrap();
    assert!(stream.wait(PATIENCE).unwrap().success(), "{}", stream.log());
    let daemon = Daemon::start_in(home, &lab, &config, &[]).unwrap();
    let last = all.last().unwrap()["id"].as_u64().unwrap().to_string();
    make(
        &daemon,
        "endpoint",
        &json!({ "id": A, "vpc": "vpc-consumer-a", "service": SERVICE, "addresses": addresses }),
    );
    // It may also tell of the target's health, which it knows from the store of a second ago.
    let later = ["events", "-o", "json", "--kind", "connect", "--after", &last];
    let later = events(&daemon.cli_text(&later).unwrap());
    assert_eq!(steps(&later), ["connect >pendingAcceptance"]);
    assert!(later[0]["id"].as_u64() > all.last().unwrap()["id"].as_u64());
}

#[test]
fn a_webhook_that_hangs_delays_nothing_and_may_be_another_after_a_reload() {
    // Its targets stay healthy: there is no other news of them.
    let lab = Lab::new(&Topology::overlap()).unwrap();
    // It takes whatever comes, and never answers.
    let hangs = Server::start(lab.gateway(), HOOK.into(), |mut stream, _| {
        stream.set_read_timeout(None)?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
    })
    .unwrap();
    let slow = webhook(HOOK, "webhook_timeout = \"60s\"");
    let config = write(&lab, &(overlap() + &slow));
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();
    wait_until(PATIENCE, "an event is under way", || !hangs.peers().is_empty()).unwrap();
    let is_healthy = || of_kind(&daemon, "target_health").len() == 2;
    wait_until(PATIENCE, "both targets are healthy", is_healthy).unwrap();

    let a = lab.network("consumer-a").unwrap();
    http_get(a, "http://10.0.1.10/").unwrap();
    let message = overlap().replacen(
        &format!("id = \"{A}\""),
        &format!("id = \"{A}\"\nrequest_message = \"now\""),
        1,
    );
    fs::write(&config, message.clone() + &slow).unwrap();
    daemon.cli(&["reload", "-o", "json"]).unwrap();
    daemon.cli(&["connection", "reject", SERVICE, A, "-o", "json"]).unwrap();
    daemon.cli(&["connection", "accept", SERVICE, A, "-o", "json"]).unwrap();
    http_get(a, "http://10.0.1.10/").unwrap();
    let before = kept(&daemon);
    assert_eq!(steps(&before).last().unwrap(), "accept rejected>available");
    assert_eq!(hangs.peers().len(), 1, "one event at a time");

    // Another webhook: it gets what was under way and all that came since, signed.
    let receiver = Receiver::start(lab.gateway(), OTHER_HOOK, &[]);
    let secret = lab.folder().join("webhook.secret");
    let settings = format!("webhook_secret_file = \"{}\"", secret.display());
    let wrong = message.clone() + &webhook(OTHER_HOOK, &settings);
    fs::write(&config, &wrong).unwrap();
    let refused = format!("{:#}", daemon.cli_text(&["reload"]).unwrap_err());
    assert!(
        refused.contains("no file with a secret on this host; write 1 to 4096 bytes"),
        "{refused}"
    );
    fs::write(&secret, "s3cret\n").unwrap();
    let planned = daemon.cli(&["plan", "-o", "json"]).unwrap();
    let changed: Vec<_> = planned.as_array().unwrap().iter().map(|row| &row["attribute"]).collect();
    assert_eq!(changed, ["events.webhook", "events.webhook_secret_file", "events.webhook_timeout"]);
    daemon.cli(&["reload", "-o", "json"]).unwrap();
    let has_all = || receiver.taken().len() >= before.len();
    wait_until(PATIENCE, "the other webhook has all", has_all).unwrap();
    assert_eq!(receiver.taken(), before);
    for posted in receiver.posted() {
        let signature = format!("privatelink-signature: sha256={}", hmac(b"s3cret", &posted.body));
        assert!(posted.head.contains(&signature), "{signature}: {posted:?}");
    }

    // Of some kinds only, without a pause for the others.
    fs::write(&config, message + &webhook(OTHER_HOOK, "kinds = [\"accept\"]")).unwrap();
    daemon.signal(Signal::SIGHUP);
    let in_force = || daemon.cli(&["plan", "-o", "json"]).is_ok_and(|plan| plan == json!([]));
    wait_until(PATIENCE, "the kinds are in force", in_force).unwrap();
    daemon.cli(&["connection", "reject", SERVICE, A, "-o", "json"]).unwrap();
    daemon.cli(&["connection", "accept", SERVICE, A, "-o", "json"]).unwrap();
    // What was under way at the reload may have come twice.
    let later = || -> Vec<Value> {
        receiver.taken().into_iter().filter(|event| !before.contains(event)).collect()
    };
    wait_until(PATIENCE, "the accept arrives", || !later().is_empty()).unwrap();
    assert_eq!(steps(&later()), ["accept rejected>available"]);
}

/// RFC 2104, for keys of less than 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let pad = |with: u8| {
        let mut pad = [with; 64];
        pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_full_flow_table_is_told_and_that_it_is_not_full_any_more() {
    let lab = lab();
    let _targets = echo_targets(&lab).unwrap();
    let limits = "
[flow_table]
capacity = 1024
[endpoint_limits]
flows = 1024
half_open_flows = 1024
";
    let daemon = Daemon::start(&lab, &write(&lab, &(overlap() + limits)), &[]).unwrap();
    let flood = Flood::start(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
    let of_kind = |kind| of_kind(&daemon, kind);
    let is_full = || of_kind("table_pressure").iter().any(|event| event["state"] == "critical");
    wait_until(PATIENCE, "the table is full", is_full).unwrap();
    wait_until(PATIENCE, "flows are refused", || !of_kind("flows_refused").is_empty()).unwrap();
    drop(flood);
    let is_empty =
        || of_kind("table_pressure").last().is_some_and(|event| event["state"] == "normal");
    wait_until(PATIENCE, "it empties", is_empty).unwrap();

    let pressure = of_kind("table_pressure");
    assert_eq!(pressure[0]["before"], "normal");
    for pair in pressure.windows(2) {
        assert_eq!(pair[0]["state"], pair[1]["before"], "{pressure:?}");
    }
    for event in &pressure {
        let percent =
            event["flows_held"].as_u64().unwrap() * 100 / event["flows_max"].as_u64().unwrap();
        let range = match event["state"].as_str().unwrap() {
            "normal" => 0..75,
            "high" => 75..95,
            _ => 90..101,
        };
        assert!(range.contains(&percent), "{event}");
    }
    let refused = &of_kind("flows_refused")[0];
    assert_eq!(
        (&refused["interface"], &refused["vpc"]),
        (&json!("pl-consumer-a"), &json!("vpc-consumer-a"))
    );
    assert!(
        ["FlowTableFull", "EndpointHalfOpenLimit", "EndpointFlowLimit"]
            .contains(&refused["reason"].as_str().unwrap())
    );
    assert!(refused["packets"].as_u64().unwrap() > 0, "{refused}");
    assert_eq!(of_kind("lease_exhausted"), Vec::<Value>::new());
    let line = format!("dropped as {}", refused["reason"].as_str().unwrap());
    assert_eq!(daemon.log().matches(&line).count(), 1, "{}", daemon.log());
}

#[test]
fn exhausted_leases_are_told() {
    let lab = lab();
    let long =
        "acceptance_required = false\ntimeouts = { half_open = \"300s\", closing = \"300s\" }";
    // One target, so that there are the leases of one only; nobody answers there.
    let text = overlap()
        .replace("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", "")
        .replace("acceptance_required = false", long);
    let limits = "
[flow_table]
capacity = 131072
[endpoint_limits]
flows = 131072
half_open_flows = 131072
";
    let daemon = Daemon::start(&lab, &write(&lab, &(text + limits)), &[]).unwrap();
    let _flood = Flood::start(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
    let mut exhausted = Vec::new();
    wait_until(PATIENCE, "leases are exhausted", || {
        exhausted = of_kind(&daemon, "lease_exhausted");
        !exhausted.is_empty()
    })
    .unwrap();
    let event = &exhausted[0];
    assert_eq!(
        (&event["reason"], &event["vpc"]),
        (&json!("LeaseExhausted"), &json!("vpc-consumer-a"))
    );
    assert!(event["packets"].as_u64().unwrap() > 0, "{event}");
    assert!(event["description"].as_str().unwrap().contains("another address"), "{event}");
}
