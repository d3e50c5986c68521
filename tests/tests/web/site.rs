//! A gateway with a web page: two services, one target of them dead, and clients.

use std::fs;
use std::io;
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;

use privatelink_tests::{
    Chromium, Daemon, ENDPOINT, Lab, Server, Topology, add_address, connect, echo_targets, example,
    exchange, greeting, probe,
};
use serde_json::Value;

pub(crate) const LISTEN: &str = "127.0.0.1:9481";
pub(crate) const A: &str = "vpce-0a11111111111111a";
pub(crate) const B: &str = "vpce-0b22222222222222b";
pub(crate) const C: &str = "vpce-0c33333333333333c";
pub(crate) const WEB: &str = "vpce-svc-0e123abc123198abc";
pub(crate) const API: &str = "vpce-svc-0f456def456321def";

/// What comes to the example: a service whose second target nobody serves.
const MORE: &str = r#"
[web]

[[target_group]]
name = "api"
vpc = "vpc-provider"
protocol = "tcp"
port = 9090
targets = [{ address = "10.0.1.10", port = 8080 }, { address = "10.0.1.11" }]
[target_group.health_check]
interval = "5s"
timeout = "2s"
healthy_threshold = 2

[[load_balancer]]
name = "api-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.11/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = 443
target_group = "api"

[[endpoint_service]]
id = "vpce-svc-0f456def456321def"
load_balancers = ["api-nlb"]
acceptance_required = false
allowed_principals = ["*"]

[[endpoint]]
id = "vpce-0c33333333333333c"
vpc = "vpc-consumer-a"
service = "vpce-svc-0f456def456321def"
addresses = [{ zone = "us-east-1a", address = "10.0.1.20" }]
"#;

pub(crate) struct Site {
    pub(crate) daemon: Daemon,
    _targets: Vec<Server>,
    pub(crate) lab: Lab,
}

/// The lab's configuration, with the page.
pub(crate) fn configuration(lab: &Lab, change: impl Fn(String) -> String) -> PathBuf {
    configuration_of("overlap.toml", lab, change)
}

fn configuration_of(name: &str, lab: &Lab, change: impl Fn(String) -> String) -> PathBuf {
    let mut text = fs::read_to_string(example(name)).unwrap();
    // The targets take connections, and do not speak HTTP.
    for (http, tcp) in [
        ("protocol = \"http\"", "protocol = \"tcp\""),
        ("path = \"/\"\n", ""),
        ("path = \"/\", ", ""),
    ] {
        text = text.replace(http, tcp);
    }
    let path = lab.folder().join("web.toml");
    fs::write(&path, change(text + MORE)).unwrap();
    path
}

pub(crate) fn lab() -> Lab {
    Lab::new(&Topology::overlap().without_targets()).unwrap()
}

impl Site {
    pub(crate) fn new() -> Self {
        let lab = lab();
        let targets = echo_targets(&lab).unwrap();
        // A second client of consumer-a.
        add_address(lab.network("consumer-a").unwrap(), "eth0", "10.0.2.21/16").unwrap();
        let daemon = Daemon::start(&lab, &configuration(&lab, |text| text), &[]).unwrap();
        Self { daemon, _targets: targets.into(), lab }
    }

    /// With addresses of both families, and targets that send back what they get and nothing else.
    pub(crate) fn of_both_families() -> Self {
        let lab = Lab::new(&Topology::dual_stack().without_targets()).unwrap();
        let provider = lab.network("provider").unwrap();
        let targets = Topology::dual_stack().targets.into_iter().map(|target| {
            let echo = |mut stream: TcpStream, _| {
                io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
            };
            Server::start(provider, target.address, echo).unwrap()
        });
        let targets = targets.collect();
        let config = configuration_of("dual-stack.toml", &lab, |text| text);
        let daemon = Daemon::start(&lab, &config, &[]).unwrap();
        Self { daemon, _targets: targets, lab }
    }

    pub(crate) fn browser(&self, view: &str) -> Chromium {
        let mut browser = Chromium::start(self.lab.gateway()).unwrap();
        browser.open(&format!("http://{LISTEN}/{view}")).unwrap();
        browser
    }

    /// A connection of consumer-a's client `address` that has carried `bytes` both ways.
    pub(crate) fn client(&self, address: &str, to: SocketAddrV4, bytes: usize) -> TcpStream {
        let from = format!("{address}:0").parse().unwrap();
        let network = self.lab.network("consumer-a").unwrap();
        let mut stream = connect(network, Some(from), to).unwrap();
        greeting(&mut stream).unwrap();
        exchange(&mut stream, &vec![b'x'; bytes]).unwrap();
        stream
    }

    /// So many packets that nobody publishes a port for.
    pub(crate) fn drop_packets(&self, packets: usize) {
        let consumer = self.lab.network("consumer-b").unwrap();
        let closed = SocketAddrV4::new(*ENDPOINT.ip(), 82);
        probe(consumer, "10.0.2.20:0".parse().unwrap(), &vec![closed; packets]);
    }

    /// What the gateway's namespace gets by curl, with its status.
    pub(crate) fn curl(&self, arguments: &[&str]) -> String {
        let command = [&["curl", "-sS", "-w", "%{http_code}"], arguments].concat();
        self.lab.gateway().run(&command).unwrap()
    }

    pub(crate) fn totals(&self) -> Value {
        let socket = self.daemon.home().socket().display().to_string();
        let url = "http://localhost/v1/totals";
        let command = ["curl", "-sS", "--fail-with-body", "--unix-socket", &socket, url];
        serde_json::from_str(&self.lab.gateway().run(&command).unwrap()).unwrap()
    }
}
