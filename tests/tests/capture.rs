//! What is captured is what tcpdump sees on either side; nothing stays behind, however a capture ends. Needs root.

#[path = "capture/families.rs"]
mod families;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aya::programs::loaded_programs;
use nix::sys::signal::Signal;
use privatelink_tests::{
    Daemon, ENDPOINT, Flood, Lab, Process, Server, Topology, binary, echo_targets, example, probe,
    round_trip, wait_until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const A: &str = "vpce-0a11111111111111a";

/// The example's networks with echo targets, and the daemon.
struct Site {
    daemon: Daemon,
    _targets: [Server; 2],
    lab: Lab,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
        Self { daemon, _targets: targets, lab }
    }

    fn round_trip(&self, consumer: &str) {
        round_trip(self.lab.network(consumer).unwrap(), ENDPOINT).unwrap();
    }

    /// Begins a capture, and waits until it takes packets.
    fn capture(&self, arguments: &[&str]) -> Capture {
        let file = self.lab.folder().join(format!("{:08x}.pcapng", rand::random::<u32>()));
        let mut command = command(&self.daemon, "capture");
        command.arg("-w").arg(&file).args(arguments);
        let process = Process::spawn("capture", &mut command, &file.with_extension("log")).unwrap();
        let begun = || fs::metadata(&file).is_ok_and(|file| file.len() > 0);
        wait_until(PATIENCE, "the capture begins", begun)
            .unwrap_or_else(|error| panic!("{error}: {}", process.log()));
        Capture { process, file }
    }
}

/// Names of the programs on the interfaces of the gateway, whichever kind they are of; none of one that has just been swapped out.
fn programs(lab: &Lab) -> Vec<String> {
    let attached = lab.programs().unwrap();
    let names: BTreeMap<u64, String> = loaded_programs()
        .filter_map(Result::ok)
        .map(|program| (program.id().into(), program.name_as_str().unwrap().to_owned()))
        .collect();
    let name = |id| names.get(id).map_or("", |name| name.trim_start_matches("tcx_")).to_owned();
    attached.values().map(name).collect()
}

fn wait_programs(lab: &Lab, name: &str) {
    let all = || programs(lab).iter().all(|program| program == name);
    wait_until(PATIENCE, name, all).unwrap_or_else(|error| panic!("{error}: {:?}", programs(lab)));
}

fn command(daemon: &Daemon, name: &str) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.arg(name).arg("--socket").arg(daemon.home().socket());
    command
}

/// Runs a command that is refused: its exit code, and what it said.
fn refused(daemon: &Daemon, name: &str, arguments: &[&str]) -> (i32, String) {
    let output = command(daemon, name).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Waits for its end: what it came to, in words, and its frames.
    fn ended(mut self) -> (String, Vec<Frame>) {
        let status = self.process.wait(PATIENCE).unwrap();
        let log = self.process.log();
        assert!(status.success(), "{log}");
        (log.trim_end().to_owned(), frames(&self.file))
    }

    fn end(self, signal: Signal) -> (String, Vec<Frame>) {
        self.process.signal(signal);
        self.ended()
    }
}

/// A frame as tshark reads it.
#[derive(Debug, PartialEq)]
struct Frame {
    interface: String,
    comment: String,
    source: String,
    destination: String,
    flags: String,
    sequence: String,
    captured: usize,
}

fn frames(file: &Path) -> Vec<Frame> {
    const FIELDS: [&str; 9] = [
        "frame.interface_name",
        "frame.comment",
        "ip.src",
        "tcp.srcport",
        "ip.dst",
        "tcp.dstport",
        "tcp.flags",
        "tcp.seq_raw",
        "frame.cap_len",
    ];
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-r"]).arg(file);
    tshark.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let frame = |line: &str| {
        let field: Vec<&str> = line.split('\t').collect();
        Frame {
            interface: field[0].into(),
            comment: field[1].into(),
            source: format!("{}:{}", field[2], field[3]),
            destination: format!("{}:{}", field[4], field[5]),
            flags: field[6].into(),
            sequence: field[7].into(),
            captured: field[8].parse().unwrap(),
        }
    };
    text.lines().map(frame).collect()
}

/// What is seen of a frame on the wire.
fn on_the_wire(frames: &[Frame]) -> Vec<[&str; 4]> {
    let mut seen: Vec<_> = frames
        .iter()
        .map(|Frame { source, destination, flags, sequence, .. }| {
            [source.as_str(), destination, flags, sequence]
        })
        .collect();
    seen.sort_unstable();
    seen
}

/// tcpdump on a network's own interface, for segments to and from a port.
fn tcpdump(site: &Site, network: &str, filter: &str) -> (Process, PathBuf) {
    let file = site.lab.folder().join(format!("{network}.pcap"));
    let mut tcpdump = site.lab.network(network).unwrap().command("tcpdump");
    tcpdump
        .args(["-U", "--immediate-mode", "-Z", "root", "-i", "eth0", "-w"])
        .arg(&file)
        .arg(filter);
    let process = Process::spawn("tcpdump", &mut tcpdump, &file.with_extension("log")).unwrap();
    process.wait_log("listening on", PATIENCE).unwrap();
    (process, file)
}

#[test]
fn a_flow_is_captured_as_tcpdump_sees_it_on_either_side() {
    let site = Site::new();
    let filter = "tcp and src portrange 1024-65535";
    let (mut consumer, at_consumer) = tcpdump(&site, "consumer-a", "tcp port 80");
    // Leases only: not the health checks.
    let filter = format!("{filter} and (src portrange 10240-65535 or dst portrange 10240-65535)");
    let (mut provider, at_provider) = tcpdump(&site, "provider", &filter);
    let capture = site.capture(&["--endpoint", A]);
    site.round_trip("consumer-a");
    site.daemon
        .wait_cli(PATIENCE, "the flow is over", &["flows", "-o", "json"], |flows| {
            flows.as_array().is_some_and(|all| all.iter().all(|flow| flow["state"] == "time_wait"))
        })
        .unwrap();
    // The other endpoint's client has the same address.
    site.round_trip("consumer-b");
    consumer.stop(PATIENCE).unwrap();
    let mode = fs::metadata(&capture.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (said, captured) = capture.end(Signal::SIGINT);
    provider.stop(PATIENCE).unwrap();

    let expected = format!(
        "{} packets captured, 0 left out by --sample and --rate, 0 lost",
        captured.len() / 2
    );
    assert_eq!(said, expected);
    let (inside, outside): (Vec<_>, Vec<_>) =
        captured.into_iter().partition(|frame| frame.interface == "pl-consumer-a");
    assert!(outside.iter().all(|frame| frame.interface == "pl-provider"), "{outside:?}");
    assert!(inside.len() >= 8, "{inside:?}");
    assert_eq!(on_the_wire(&inside), on_the_wire(&frames(&at_consumer)));
    // Of the provider's side, what is not of the other endpoint's flow.
    let all = frames(&at_provider);
    let ports: Vec<&str> =
        outside.iter().flat_map(|frame| [&*frame.source, &*frame.destination]).collect();
    let ours: Vec<Frame> = all
        .into_iter()
        .filter(|frame| ports.contains(&&*frame.source) && ports.contains(&&*frame.destination))
        .collect();
    assert_eq!(on_the_wire(&outside), on_the_wire(&ours));
    let syn = inside.iter().find(|frame| frame.flags == "0x0002").unwrap();
    let begin = format!(
        "privatelink: redirected to pl-provider, endpoint {A}, flow {} to 10.0.1.1",
        syn.source
    );
    assert!(syn.comment.starts_with(&begin), "{}", syn.comment);
}

#[test]
fn a_client_is_followed_in_both_directions() {
    let site = Site::new();
    let [of_client, of_other] = ["10.0.2.20", "10.0.2.21"].map(|client| {
        ["trace", "--client", client, "--count", "8", "-o", "json", "--duration", "5s"]
    });
    let mut follow = command(&site.daemon, of_client[0]);
    let log = site.lab.folder().join("trace");
    let mut process = Process::spawn("trace", follow.args(&of_client[1..]), &log).unwrap();
    wait_programs(&site.lab, "watched");
    site.round_trip("consumer-a");
    assert!(process.wait(PATIENCE).unwrap().success());
    let text = process.log();
    let (summary, lines) = (text.lines().last().unwrap(), text.lines().count() - 1);
    assert!(summary.starts_with("8 packets captured"), "{text}");
    let packets: Vec<Value> =
        text.lines().take(lines).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(packets.len(), 8, "{text}");
    let came =
        |interface: &str| packets.iter().filter(|packet| packet["interface"] == interface).count();
    assert!(came("pl-consumer-a") >= 3 && came("pl-provider") >= 3, "{text}");
    for packet in &packets {
        assert_eq!(
            (&packet["endpoint"], &packet["vpc"]),
            (&A.into(), &"vpc-consumer-a".into()),
            "{packet}"
        );
        assert!(packet["client"].as_str().unwrap().starts_with("10.0.2.20:"), "{packet}");
        assert_ne!(packet["before"]["source"], packet["after"]["source"], "{packet}");
    }
    let output = command(&site.daemon, of_other[0])
        .args(&of_other[1..3])
        .args(["--duration", "100ms"])
        .output();
    assert_eq!(output.unwrap().stdout, b"");
    wait_programs(&site.lab, "privatelink");
}

#[test]
fn drops_are_captured_with_their_reason_and_as_many_as_are_counted() {
    let site = Site::new();
    let consumer = site.lab.network("consumer-a").unwrap();
    let capture = site.capture(&["--dropped", "--client", "10.0.2.20/32"]);
    let closed = [81, 82, 83].map(|port| SocketAddrV4::new(*ENDPOINT.ip(), port));
    probe(consumer, "10.0.2.20:0".parse().unwrap(), &closed);
    site.round_trip("consumer-a");
    let counted = site.daemon.drops("pl-consumer-a", "NoListener").unwrap();
    let (_, captured) = capture.end(Signal::SIGTERM);
    assert!(counted >= 3, "{counted}");
    assert_eq!(captured.len() as u64, counted);
    for frame in &captured {
        assert_eq!(frame.interface, "pl-consumer-a");
        let begin = format!("privatelink: dropped: NoListener, endpoint {A}, client 10.0.2.20:");
        assert!(frame.comment.starts_with(&begin), "{frame:?}");
    }
}

#[test]
fn limits_end_a_capture() {
    let site = Site::new();
    let by_count = site.capture(&["--count", "3", "--snaplen", "64", "--port", "80"]);
    site.round_trip("consumer-a");
    let (said, frames) = by_count.ended();
    assert!(said.starts_with("3 packets captured"), "{said}");
    assert_eq!(frames.len(), 6);
    assert!(frames.iter().all(|frame| frame.captured <= 64), "{frames:?}");

    let by_bytes =
        site.capture(&["--bytes", "4k", "--target", "10.0.1.10", "--client", "10.0.2.20"]);
    let file = by_bytes.file.clone();
    let consumer = site.lab.network("consumer-b").unwrap();
    let ended = || {
        round_trip(consumer, ENDPOINT).unwrap();
        fs::metadata(&file).unwrap().len() > 2000
    };
    wait_until(PATIENCE, "bytes", ended).unwrap();
    let (_, frames) = by_bytes.ended();
    assert!(frames.iter().any(|frame| frame.interface == "pl-consumer-b"), "{frames:?}");
    assert!(fs::metadata(&file).unwrap().len() < 5000);

    let (said, frames) = site.capture(&["--duration", "200ms", "--port", "81"]).ended();
    assert_eq!((said.starts_with("0 packets captured"), frames.len()), (true, 0), "{said}");
    wait_programs(&site.lab, "privatelink");
}

#[test]
fn what_is_beyond_the_rate_is_left_out_and_counted() {
    let site = Site::new();
    let consumer = site.lab.network("consumer-a").unwrap();
    let capture = site.capture(&["--rate", "10"]);
    let flood = Flood::start(consumer, ENDPOINT).unwrap();
    wait_until(PATIENCE, "a flood", || flood.sent() > 20_000).unwrap();
    drop(flood);
    let (said, _) = capture.end(Signal::SIGINT);
    let numbers = numbers(&said);
    assert!(numbers[0] > 0 && numbers[1] > 10_000 && numbers[2] == 0, "{said}");
}

/// The numbers in a text.
fn numbers(said: &str) -> Vec<u64> {
    said.split(' ').filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn what_a_stopped_reader_does_not_take_is_lost_and_counted_and_nothing_waits() {
    let site = Site::new();
    let consumer = site.lab.network("consumer-a").unwrap();
    let capture = site.capture(&["--rate", "1000000", "--snaplen", "2048"]);
    capture.process.signal(Signal::SIGSTOP);
    let flood = Flood::start(consumer, ENDPOINT).unwrap();
    wait_until(PATIENCE, "a flood", || flood.sent() > 200_000).unwrap();
    drop(flood);
    site.round_trip("consumer-b");
    capture.process.signal(Signal::SIGCONT);
    let (said, frames) = capture.end(Signal::SIGINT);
    let [packets, left_out, lost] = numbers(&said)[..] else { panic!("{said}") };
    assert!(packets > 1000 && lost > 1000, "{said}");
    assert_eq!(left_out, 0, "{said}");
    assert!(frames.len() as u64 >= packets, "{} of {packets}", frames.len());
}

#[test]
fn a_capture_whose_client_is_killed_leaves_nothing_behind() {
    let site = Site::new();
    let before = site.lab.programs().unwrap();
    let capture = site.capture(&[]);
    assert_eq!(programs(&site.lab), ["watched"; 3]);
    let again = refused(&site.daemon, "trace", &[]);
    let text =
        "privatelink: another capture runs: end it where it runs, or by DELETE /v1/capture\n";
    assert_eq!(again, (1, text.into()));
    capture.process.signal(Signal::SIGKILL);
    wait_until(PATIENCE, "the programs are swapped back", || {
        site.lab.programs().unwrap() == before
    })
    .unwrap();
    site.round_trip("consumer-a");
    let (said, _) = site.capture(&[]).end(Signal::SIGINT);
    assert!(said.ends_with("0 lost"), "{said}");
}

#[test]
fn a_daemon_that_stops_or_is_killed_meanwhile_leaves_the_usual_program_or_is_followed_by_it() {
    let site = Site::new();
    let capture = site.capture(&[]);
    let Site { daemon, _targets, lab } = site;
    let home = daemon.home();
    daemon.stop().unwrap();
    let (said, _) = capture.ended();
    assert!(said.ends_with("0 lost"), "{said}");
    let daemon = Daemon::start_in(home.clone(), &lab, &example("overlap.toml"), &[]).unwrap();
    let site = Site { daemon, _targets, lab };
    assert_eq!(programs(&site.lab), ["privatelink"; 3]);

    let mut capture = site.capture(&[]);
    assert_eq!(programs(&site.lab), ["watched"; 3]);
    let Site { daemon, _targets, lab } = site;
    daemon.kill().unwrap();
    assert!(!capture.process.wait(PATIENCE).unwrap().success());
    assert!(capture.process.log().contains("broke off"), "{}", capture.process.log());
    round_trip(lab.network("consumer-a").unwrap(), ENDPOINT).unwrap();
    let daemon = Daemon::start_in(home, &lab, &example("overlap.toml"), &[]).unwrap();
    let site = Site { daemon, _targets, lab };
    assert_eq!(programs(&site.lab), ["privatelink"; 3]);
    site.round_trip("consumer-a");
}

#[test]
fn what_cannot_be_captured_is_refused_in_a_line() {
    let site = Site::new();
    let there = site.lab.folder().join("there");
    fs::write(&there, "kept").unwrap();
    let there = there.to_str().unwrap();
    for (arguments, code, words) in [
        (&["--endpoint", "vpce-0"][..], 1, "no such endpoint: vpce-0; `privatelink endpoints`"),
        (&["--client", "10.0.2"], 2, "neither an address nor a CIDR"),
        (&["--target", "web-1"], 2, "not an address with or without a port"),
        (&["--port", "0"], 2, "0 is not in 1..=65535"),
        (&["--snaplen", "9000"], 1, "snaplen: 9000 is not from 64 to 2048"),
        (&["--sample", "0"], 1, "sample: 0 is not from 1"),
        (&["--rate", "0"], 1, "rate: 0 is not from 1 to 1000000"),
        (&["--duration", "soon"], 2, "not a time: write e.g. 30s"),
        (&["-w", there], 2, "cannot create"),
    ] {
        let (status, said) = refused(&site.daemon, "capture", arguments);
        assert_eq!(status, code, "{arguments:?}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    assert_eq!(fs::read_to_string(there).unwrap(), "kept");
    wait_programs(&site.lab, "privatelink");
}
