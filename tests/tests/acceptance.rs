//! The life of a connection between a provider and its consumers, with real TCP. Needs root.

use std::fs;
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use privatelink_tests::{
    Answer, Daemon, ENDPOINT, Home, Lab, Namespace, Topology, connect, echo_targets, example,
    exchange, greeting, probe,
};
use serde_json::{Value, json};

const SERVICE: &str = "vpce-svc-0e123abc123198abc";
const A: &str = "vpce-0a11111111111111a";
const B: &str = "vpce-0b22222222222222b";
const ROOT_A: &str = "arn:aws:iam::222222222222:root";
const ROOT_B: &str = "arn:aws:iam::333333333333:root";

/// Any port of a client.
const CLIENT: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 2, 20), 0);

/// A place for the first example, with acceptance required and a message from the second consumer.
struct Scene {
    lab: Lab,
    config: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let config = lab.folder().join("acceptance.toml");
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        let open = "acceptance_required = false";
        assert!(text.contains(open), "{text}");
        let text = text.replace(open, "acceptance_required = true");
        let id = format!("id = \"{B}\"");
        let text = text.replace(&id, &format!("{id}\nrequest_message = \"for our invoices\""));
        fs::write(&config, text).unwrap();
        Self { lab, config }
    }

    fn rewrite(&self, change: impl Fn(&str) -> String) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, change(&text)).unwrap();
    }

    fn consumer(&self, name: &str) -> &Namespace {
        self.lab.network(&format!("consumer-{name}")).unwrap()
    }

    /// A live connection of a consumer.
    fn live(&self, consumer: &str) -> TcpStream {
        let mut stream = connect(self.consumer(consumer), None, ENDPOINT).unwrap();
        greeting(&mut stream).unwrap();
        stream
    }

    /// What a consumer's SYN comes to.
    fn knock(&self, consumer: &str) -> Answer {
        probe(self.consumer(consumer), CLIENT, &[ENDPOINT])[0]
    }
}

/// One object that the command line prints.
fn told(daemon: &Daemon, arguments: &[&str]) -> Value {
    daemon.cli(&[arguments, &["-o", "json"]].concat()).unwrap()[0].clone()
}

/// State and reason of every endpoint.
fn states(daemon: &Daemon) -> Vec<(String, String)> {
    let rows = daemon.cli(&["connection", "list", "-o", "json"]).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(row, "state"), text(row, "reason"))).collect()
}

fn refusal(result: Result<String>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn from_request_to_revocation() {
    let scene = Scene::new();
    let _targets = echo_targets(&scene.lab).unwrap();
    let daemon = Daemon::start(&scene.lab, &scene.config, &[]).unwrap();

    // Pending: a client hears nothing, the provider reads the request.
    let waiting = "waits for the provider to accept it";
    let pending = || ("pendingAcceptance".to_owned(), waiting.to_owned());
    assert_eq!(states(&daemon), [pending(), pending()]);
    let requests = daemon.cli(&["connection", "list", "--service", SERVICE, "-o", "json"]).unwrap();
    assert_eq!(requests[1]["request_message"], "for our invoices");
    assert_eq!(requests[1]["principal"], ROOT_B);
    assert_eq!(scene.knock("a"), Answer::Silence);

    // Accepted: one, not the other.
    let accepted = told(&daemon, &["connection", "accept", SERVICE, A, "--reason", "contract 7"]);
    assert_eq!(
        accepted,
        json!({
            "service": SERVICE, "allowed_principals": [ROOT_A, ROOT_B], "flows_cut": 0, "dry_run": false,
            "endpoints": [{"endpoint": A, "principal": ROOT_A, "before": "pendingAcceptance", "state": "available", "flows": 0}],
        })
    );
    assert_eq!(states(&daemon), [("available".into(), "contract 7".into()), pending()]);
    let mut first = scene.live("a");
    assert_eq!(scene.knock("b"), Answer::Silence);

    // Rejected without reconcile: the live stream goes on, nothing new opens.
    let rejected = told(&daemon, &["connection", "reject", SERVICE, A]);
    assert_eq!(
        (&rejected["flows_cut"], &rejected["endpoints"][0]["flows"]),
        (&0.into(), &1.into())
    );
    assert_eq!(exchange(&mut first, b"goes on").unwrap(), b"goes on");
    assert_eq!(scene.knock("a"), Answer::Silence);

    // Accepted again, by principal.
    told(&daemon, &["connection", "accept", SERVICE, "--principal", ROOT_A]);
    let mut second = scene.live("a");

    // A dry run says how many, and changes nothing.
    let reject = ["connection", "reject", SERVICE, A, "--reconcile", "--reason", "unpaid"];
    let dry = told(&daemon, &[&reject[..], &["--dry-run"]].concat());
    assert_eq!((&dry["flows_cut"], &dry["dry_run"]), (&2.into(), &true.into()));
    assert_eq!(dry["endpoints"][0]["state"], "rejected");
    assert_eq!(exchange(&mut second, b"untouched").unwrap(), b"untouched");
    assert_eq!(states(&daemon)[0].0, "available");

    // Rejected with reconcile: both streams are reset.
    let cut = told(&daemon, &reject);
    assert_eq!((&cut["flows_cut"], &cut["dry_run"]), (&2.into(), &false.into()));
    for stream in [&mut first, &mut second] {
        let error = exchange(stream, b"is anybody there?").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(scene.knock("a"), Answer::Silence);

    // Revoked: refused from now on; once more with reconcile, and the live stream ends.
    told(&daemon, &["connection", "accept", SERVICE, "--principal", "*"]);
    let (mut kept, mut revoked) = (scene.live("a"), scene.live("b"));
    let revoke = ["service", "revoke", SERVICE, ROOT_B];
    let listed = told(&daemon, &revoke);
    assert_eq!(listed["allowed_principals"], json!([ROOT_A]));
    assert_eq!(listed["endpoints"][0]["state"], "rejected");
    assert_eq!(exchange(&mut revoked, b"goes on").unwrap(), b"goes on");
    assert_eq!(scene.knock("b"), Answer::Silence);
    assert_eq!(daemon.cli(&["services", "--as", ROOT_B, "-o", "json"]).unwrap(), json!([]));
    assert_eq!(told(&daemon, &["services", "--as", ROOT_A])["service"], SERVICE);
    let refused = refusal(daemon.cli_text(&["connection", "accept", SERVICE, B]));
    assert!(refused.contains("does not admit account 333333333333; allow it first"), "{refused}");
    assert_eq!(told(&daemon, &[&revoke[..], &["--reconcile"]].concat())["flows_cut"], 1);
    assert!(exchange(&mut revoked, b"is anybody there?").is_err());

    // A restart and a reload keep all of it.
    let (before, home) = (states(&daemon), daemon.home());
    assert_eq!(before[1], ("rejected".into(), "the provider has revoked its principal".into()));
    daemon.stop().unwrap();
    let daemon = Daemon::start_in(home, &scene.lab, &scene.config, &[]).unwrap();
    assert_eq!(states(&daemon), before);
    told(&daemon, &["reload"]);
    assert_eq!(states(&daemon), before);
    assert_eq!(daemon.cli(&["services", "--as", ROOT_B, "-o", "json"]).unwrap(), json!([]));
    assert_eq!(exchange(&mut kept, b"as before").unwrap(), b"as before");
    assert_eq!(scene.knock("b"), Answer::Silence);
    scene.live("a");

    assert_record(&daemon.home());
}

/// Expects a line for each change above, in order, and nothing else.
fn assert_record(home: &Home) {
    let log = fs::read_to_string(home.state().join("audit.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |line: &Value| {
        let verb = line["request"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (verb, line["result"].as_str().unwrap().to_owned(), line["flows_cut"].as_u64().unwrap())
    };
    let expected = [
        ("accept", "done", 0),
        ("reject", "done", 0),
        ("accept", "done", 0),
        ("reject", "dry run", 2),
        ("reject", "done", 2),
        ("accept", "done", 0),
        ("revoke", "done", 0),
        ("accept", "refused", 0),
        ("revoke", "done", 1),
        ("reload", "done", 0),
    ];
    let expected = expected.map(|(verb, result, cut)| (verb.to_owned(), result.to_owned(), cut));
    assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(lines.iter().all(|line| line["uid"] == 0 && line["pid"].as_i64().unwrap() > 1));
    assert_eq!(lines[4]["body"]["reason"], "unpaid");
    assert_eq!(lines[7]["code"], "InvalidState");
}

#[test]
fn a_plan_says_what_the_reload_then_does() {
    let scene = Scene::new();
    let _targets = echo_targets(&scene.lab).unwrap();
    let daemon = Daemon::start(&scene.lab, &scene.config, &[]).unwrap();
    told(&daemon, &["connection", "accept", SERVICE, "--principal", "*"]);
    let (mut kept, mut cut) = (scene.live("a"), scene.live("b"));
    assert_eq!(daemon.cli(&["plan", "-o", "json"]).unwrap(), json!([]));

    let last = |text: &str| text.rfind("[[endpoint]]").unwrap();
    scene.rewrite(|text| text[..last(text)].to_owned());
    let removed = json!([{
        "change": "remove", "kind": "endpoint", "id": B, "attribute": "", "before": "", "after": "", "flows_cut": 1
    }]);
    assert_eq!(daemon.cli(&["plan", "-o", "json"]).unwrap(), removed);
    assert_eq!(exchange(&mut cut, b"untouched").unwrap(), b"untouched");
    assert_eq!(told(&daemon, &["reload"])["flows_cut"], 1);
    let deleting = ("deleting".to_owned(), "it is not declared any more".to_owned());
    assert_eq!(states(&daemon)[1], deleting);
    let gone = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() == 1);
    let list = ["connection", "list", "-o", "json"];
    daemon.wait_cli(Duration::from_secs(10), "it is forgotten", &list, gone).unwrap();

    scene.rewrite(|text| text.replace("region = ", "regoin = "));
    for command in ["plan", "reload"] {
        let refused = refusal(daemon.cli_text(&[command]));
        assert!(refused.contains("acceptance.toml:2:1: \"regoin\": unknown key"), "{refused}");
    }
    assert_eq!(exchange(&mut kept, b"as before").unwrap(), b"as before");
}

#[test]
fn a_group_may_use_the_api_and_the_record_may_be_elsewhere() {
    let scene = Scene::new();
    let record = scene.lab.folder().join("changes.log");
    let record = record.to_str().unwrap();
    let arguments = ["--socket-group", "daemon", "--audit-log", record];
    let daemon = Daemon::start(&scene.lab, &scene.config, &arguments).unwrap();
    let socket = fs::metadata(daemon.home().socket()).unwrap();
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
    assert_eq!((socket.gid(), socket.mode() & 0o777), (group.gid.as_raw(), 0o660));

    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.wait_log("\"request\":\"SIGHUP\"", Duration::from_secs(10)).unwrap();
    let lines = fs::read_to_string(record).unwrap();
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&line["request"], &line["result"]), (&"SIGHUP".into(), &"done".into()));
    assert_eq!(fs::metadata(record).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!daemon.home().state().join("audit.log").exists());
}
