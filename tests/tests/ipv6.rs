//! Real clients and servers with IPv6 on either side of the gateway. Needs root.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aya::programs::loaded_programs;
use serde_json::Value;

use privatelink_tests::{
    Daemon, ENDPOINT, HttpTarget, Lab, Topology, add_address, connect, example, http_get,
    http_target, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the file that is fetched from each family to each.
const LONG: u64 = 256 << 20;

/// The networks of `examples/overlap.toml`, provider and first consumer with IPv6 beside their IPv4; the same load balancer
/// publishes IPv4 targets at port 80 and IPv6 targets at port 81.
struct Site {
    four: HttpTarget,
    six: HttpTarget,
    daemon: Daemon,
    config: PathBuf,
    lab: Lab,
}

const LISTENER: &str = r#"
[[load_balancer.listener]]
protocol = "tcp"
port = 81
target_group = "six"
[load_balancer.attributes]
"#;

const GROUP: &str = r#"
[[target_group]]
name = "six"
vpc = "vpc-provider"
protocol = "tcp"
port = 8080
targets = [{ address = "fd00:a::1:10" }]
"#;

/// What makes the text of the example one of vpcs with IPv6 ranges, and one target.
const RANGES: [(&str, &str); 3] = [
    ("  { address = \"10.0.1.11\", port = 8081, weight = 2 },\n", ""),
    (
        "cidrs = [\"10.0.0.0/16\"]\ninterfaces = [{ name = \"pl-provider\"",
        "cidrs = [\"10.0.0.0/16\", \"fd00:a::/64\"]\ninterfaces = [{ name = \"pl-provider\"",
    ),
    (
        "cidrs = [\"10.0.0.0/16\"]\ninterfaces = [{ name = \"pl-consumer-a\"",
        "cidrs = [\"10.0.0.0/16\", \"fd00:b::/64\"]\ninterfaces = [{ name = \"pl-consumer-a\"",
    ),
];
/// What gives the rest of it IPv6.
const ADDRESSES: [(&str, &str); 6] = [
    (
        "address = \"10.0.0.10/16\" }",
        "address = \"10.0.0.10/16\" }, { zone = \"us-east-1a\", address = \"fd00:a::10/64\" }",
    ),
    ("\n[load_balancer.attributes]\n", LISTENER),
    // Closed ones stay to be seen.
    (
        "acceptance_required = false",
        "acceptance_required = false\ntimeouts = { closing = \"300s\" }",
    ),
    ("allowed_principals", "supported_ip_address_types = [\"ipv4\", \"ipv6\"]\nallowed_principals"),
    ("security_groups = [\"sg-a\"]\n\n", "\n"),
    (
        "address = \"10.0.1.10\" }]      #",
        "address = \"10.0.1.10\" }, { zone = \"us-east-1a\", address = \"fd00:b::1:10\" }] #",
    ),
];

/// The text of the example with these changes.
fn example_with(changes: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(example("overlap.toml")).unwrap();
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

impl Site {
    /// Both families.
    fn new() -> Self {
        Self::with(&example_with(&[&RANGES[..], &ADDRESSES].concat()), GROUP)
    }

    /// What a configuration in two parts says.
    fn with(text: &str, more: &str) -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        // To ask for the targets' MAC addresses.
        lab.gateway().sysctl("ipv6/conf/pl-provider/disable_ipv6", "0").unwrap();
        let (provider, consumer) =
            (lab.network("provider").unwrap(), lab.network("consumer-a").unwrap());
        for (network, address) in [(provider, "fd00:a::1:10/64"), (consumer, "fd00:b::2:20/64")] {
            network.sysctl("ipv6/conf/eth0/disable_ipv6", "0").unwrap();
            network.sysctl("ipv6/conf/eth0/accept_dad", "0").unwrap();
            add_address(network, "eth0", address).unwrap();
        }
        let target = |name: &str, address: &str| {
            http_target(provider, address.parse::<SocketAddr>().unwrap(), name).unwrap()
        };
        let four = target("web-four", "10.0.1.10:8080");
        let six = target("web-six", "[fd00:a::1:10]:8080");
        let config = lab.folder().join("ipv6.toml");
        fs::write(&config, [text, more].concat()).unwrap();
        let daemon = Daemon::start(&lab, &config, &[]).unwrap();
        Self { four, six, daemon, config, lab }
    }

    /// Puts another configuration in force.
    fn reload(&self, text: &str, more: &str) {
        fs::write(&self.config, [text, more].concat()).unwrap();
        self.daemon.cli(&["reload", "-o", "json"]).unwrap();
    }

    /// The names of the daemon's programs for the wide table.
    fn wide_programs(&self) -> Vec<String> {
        let name = |id: u32| {
            let mut programs = loaded_programs().filter_map(Result::ok);
            programs.find(|program| program.id() == id)?.name_as_str().map(str::to_owned)
        };
        let files = fs::read_dir(format!("/proc/{}/fdinfo", self.daemon.pid())).unwrap();
        let told = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        let id = |told: String| {
            told.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
        };
        let mut names: Vec<String> = told.filter_map(id).filter_map(name).collect();
        names.retain(|name| name.contains("wide"));
        names.sort();
        names
    }

    fn get(&self, url: &str) -> String {
        http_get(self.lab.network("consumer-a").unwrap(), url).unwrap()
    }
}

/// From which address of the load balancer a target was reached.
fn reached_from(answer: &str) -> &str {
    let (_, from) = answer.trim().rsplit_once("served ").unwrap();
    from.rsplit_once(':').unwrap().0
}

#[test]
fn from_each_family_to_each() {
    let site = Site::new();
    let mut random = File::open("/dev/urandom").unwrap();
    let long = site.lab.folder().join("long");
    io::copy(&mut io::Read::take(&mut random, LONG), &mut File::create(&long).unwrap()).unwrap();
    for target in [&site.four, &site.six] {
        fs::hard_link(&long, target.files().join("long")).unwrap();
    }
    let sum = |network: &str, command: &str| {
        let network = site.lab.network(network).unwrap();
        let summed = network.run(&["sh", "-c", command]).unwrap();
        summed.split_whitespace().next().unwrap().to_owned()
    };
    let expected = sum("provider", &format!("sha256sum {}", long.display()));
    for (endpoint, port, name, balancer) in [
        ("10.0.1.10", 80, "web-four", "10.0.0.10"),
        ("10.0.1.10", 81, "web-six", "fd00:a::10"),
        ("[fd00:b::1:10]", 80, "web-four", "10.0.0.10"),
        ("[fd00:b::1:10]", 81, "web-six", "fd00:a::10"),
    ] {
        let url = format!("http://{endpoint}:{port}/");
        let answer = site.get(&url);
        assert!(answer.starts_with(name), "{url}: {answer}");
        assert_eq!(reached_from(&answer).trim_matches(['[', ']']), balancer, "{url}");
        let fetch =
            format!("curl --silent --fail --globoff --max-time 120 '{url}files/long' | sha256sum");
        assert_eq!(sum("consumer-a", &fetch), expected, "{url}");
    }
    // Nobody else is there, and the provider reaches nobody.
    assert!(http_get(site.lab.network("consumer-b").unwrap(), "http://[fd00:b::1:10]/").is_err());
    let rows = site.daemon.cli(&["flows", "-o", "json"]).unwrap();
    let flows: Vec<&Value> = rows.as_array().unwrap().iter().collect();
    let of = |field: &str, address: &str| {
        let is = |row: &&&Value| row[field].as_str().unwrap().starts_with(address);
        flows.iter().filter(is).count()
    };
    assert_eq!(
        (flows.len(), of("client", "[fd00:b::2:20]:"), of("client", "10.0.2.20:")),
        (8, 4, 4)
    );
    assert_eq!(
        (of("endpoint_address", "[fd00:b::1:10]:"), of("target", "[fd00:a::1:10]:8080")),
        (4, 4)
    );
    assert_eq!((of("nat", "[fd00:a::10]:"), of("nat", "10.0.0.10:")), (4, 4));
    let drops = site.daemon.cli(&["drops", "-o", "json"]).unwrap();
    assert_eq!(drops.as_array().map(Vec::len), Some(0), "{drops}");
}

#[test]
fn ipv6_is_added_while_the_gateway_runs() {
    let site = Site::with(&example_with(&RANGES), "");
    assert_eq!(site.wide_programs(), Vec::<String>::new(), "nobody needs them");
    let mut stream = connect(site.lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();

    site.reload(&example_with(&[&RANGES[..], &ADDRESSES].concat()), GROUP);
    assert_eq!(site.wide_programs(), ["wide", "wide_fragments", "wide_new", "wide_other"]);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("web-four"), "{answer}");
    let six = || http_get(site.lab.network("consumer-a").unwrap(), "http://[fd00:b::1:10]:81/");
    wait_until(PATIENCE, "the IPv6 target is found", || six().is_ok()).unwrap();
    for (url, name) in [
        ("http://10.0.1.10:80/", "web-four"),
        ("http://10.0.1.10:81/", "web-six"),
        ("http://[fd00:b::1:10]:80/", "web-four"),
        ("http://[fd00:b::1:10]:81/", "web-six"),
    ] {
        assert!(site.get(url).starts_with(name), "{url}");
    }
}
