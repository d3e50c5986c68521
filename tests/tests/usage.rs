//! Usage by zone against what the client's kernel counts, over restarts, a kill and a full disk. Needs root.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use privatelink_common::lease::is_check_port;
use privatelink_tests::{
    Daemon, ENDPOINT, Home, Lab, Namespace, Server, Topology, add_address, connect, echo_targets,
    example, exchange, greeting, kernel_counters, round_trip, wait_until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
/// The address of endpoint A in its second zone.
const SECOND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 11), 80);
/// Its IPv6 address there.
const SIX: SocketAddrV6 =
    SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 1, 0x11), 80, 0, 0);
const PRICES: &str = "
[usage]
currency = \"USD\"
endpoint_hour = 0.01
gigabyte = 0.01
";

/// What gives endpoint A a second zone, with an address of each family there, in the text of the example.
const CHANGES: [(&str, &str); 4] = [
    (
        r#"address = "10.0.1.10" }]      #"#,
        r#"address = "10.0.1.10" }, { zone = "us-east-1b", address = "10.0.1.11" }, { zone = "us-east-1b", address = "fd00:b::1:11" }] #"#,
    ),
    (
        "cidrs = [\"10.0.0.0/16\"]\ninterfaces = [{ name = \"pl-consumer-a\"",
        "cidrs = [\"10.0.0.0/16\", \"fd00:b::/64\"]\ninterfaces = [{ name = \"pl-consumer-a\"",
    ),
    ("allowed_principals", "supported_ip_address_types = [\"ipv4\", \"ipv6\"]\nallowed_principals"),
    ("security_groups = [\"sg-a\"]\n\n", "\n"),
];

struct Site {
    daemon: Option<Daemon>,
    home: Arc<Home>,
    config: PathBuf,
    _targets: [Server; 2],
    lab: Lab,
}

/// Flows and bytes each way, of one zone.
type Used = [u64; 3];

impl Site {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let targets = echo_targets(&lab).unwrap();
        add_ipv6_client(&lab);
        let config = lab.folder().join("usage.toml");
        let text = fs::read_to_string(example("overlap.toml")).unwrap();
        let text = CHANGES.into_iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        fs::write(&config, text + PRICES).unwrap();
        let home = Arc::new(Home::of(&lab).unwrap());
        prepare(&home.state());
        let mut site = Self { daemon: None, home, config, _targets: targets, lab };
        site.start();
        site
    }

    fn start(&mut self) {
        let daemon = Daemon::start_in(self.home.clone(), &self.lab, &self.config, &[]);
        self.daemon = Some(daemon.unwrap());
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn client(&self) -> &Namespace {
        self.lab.network("consumer-a").unwrap()
    }

    /// All that is listed, over all hours.
    fn rows(&self, more: &[&str]) -> Vec<Value> {
        let all = ["usage", "--from", "2020-01-01", "--by", "total", "-o", "json"];
        let rows = self.daemon().cli(&[&all, more].concat()).unwrap();
        rows.as_array().unwrap().clone()
    }

    /// What endpoint A has used in each of its zones.
    fn used(&self) -> [Used; 2] {
        let rows = self.rows(&["--account", "222222222222"]);
        ["us-east-1a", "us-east-1b"].map(|zone| {
            let row = rows.iter().find(|row| row["zone"] == zone).unwrap();
            ["new_flows", "bytes_to_target", "bytes_to_client"]
                .map(|field| row[field].as_u64().unwrap())
        })
    }

    /// Waits until nothing is on its way or still to be acknowledged, and all is in usage that the client's kernel has counted since
    /// `octets_before`, when nothing was used; what is used then.
    #[track_caller]
    fn settled(&self, octets_before: [u64; 2]) -> [Used; 2] {
        let ends = [self.client(), self.lab.network("provider").unwrap()];
        wait_until(PATIENCE, "all is acknowledged", || ends.into_iter().all(is_quiet)).unwrap();
        let mut used = [[0; 3]; 2];
        wait_until(PATIENCE, "usage is what the client's kernel counts", || {
            let [received, sent] = octets(self.client());
            used = self.used();
            let sum = |at: usize| used[0][at] + used[1][at];
            [sum(2), sum(1)] == [received - octets_before[0], sent - octets_before[1]]
        })
        .unwrap_or_else(|error| panic!("{error}: {used:?}"));
        used
    }
}

/// Bytes of IP packets that the namespace's kernel has received and sent, and what its neighbours say to all left out. Those of
/// IPv6 it received are counted as the IPv4 packets that the target sent.
fn octets(namespace: &Namespace) -> [u64; 2] {
    const HEADERS: u64 = 40 - 20;
    let all = kernel_counters(namespace, "netstat", "IpExt").unwrap();
    let [received, sent] = ["InOctets", "OutOctets"].map(|name| all[name]);
    let text = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/snmp6")).unwrap();
    let text = text.unwrap();
    let six = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().unwrap().trim().parse::<u64>().unwrap()
    };
    let to_one = |all: &str, to_many: &str| six(all) - six(to_many);
    let packets = to_one("Ip6InReceives ", "Ip6InMcastPkts ");
    [
        received + to_one("Ip6InOctets ", "Ip6InMcastOctets ") - HEADERS * packets,
        sent + to_one("Ip6OutOctets ", "Ip6OutMcastOctets "),
    ]
}

/// Whether all that TCP has sent in a namespace is acknowledged; health checks are nobody's use.
fn is_quiet(namespace: &Namespace) -> bool {
    let is_acknowledged = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, port) = columns[2].rsplit_once(':').unwrap();
        is_check_port(u16::from_str_radix(port, 16).unwrap()) || columns[4].starts_with("00000000:")
    };
    ["tcp", "tcp6"].into_iter().all(|file| {
        let path = format!("/proc/thread-self/net/{file}");
        let text = namespace.enter(|| fs::read_to_string(path)).unwrap().unwrap();
        text.lines().skip(1).all(is_acknowledged)
    })
}

/// Gives the client an IPv6 address. It asks nobody for the endpoint's MAC address: that would be counted, too.
fn add_ipv6_client(lab: &Lab) {
    let client = lab.network("consumer-a").unwrap();
    client.sysctl("ipv6/conf/eth0/disable_ipv6", "0").unwrap();
    add_address(client, "eth0", "fd00:b::2:20/64").unwrap();
    let link = lab.gateway().run(&["ip", "-j", "link", "show", "dev", "pl-consumer-a"]).unwrap();
    let link: Value = serde_json::from_str(&link).unwrap();
    let mac = link[0]["address"].as_str().unwrap();
    let address = SIX.ip().to_string();
    let entry =
        ["ip", "neigh", "replace", &address, "lladdr", mac, "dev", "eth0", "nud", "permanent"];
    client.run(&entry).unwrap();
}

/// One segment each way at a time: what the kernel splits or joins, it counts as one packet.
fn talk(stream: &mut TcpStream) {
    for turn in 0..50 {
        let words = [turn; 1000];
        assert_eq!(exchange(stream, &words).unwrap(), words);
    }
}

fn open(site: &Site, to: SocketAddrV4) -> TcpStream {
    let mut stream = connect(site.client(), None, to).unwrap();
    greeting(&mut stream).unwrap();
    stream
}

#[test]
fn each_byte_is_counted_once_in_its_zone() {
    let mut site = Site::new(|_| {});
    assert_eq!(site.used(), [[0; 3]; 2]);
    let before = octets(site.client());
    let nothing = [0; 3];

    let mut live = open(&site, ENDPOINT);
    talk(&mut live);
    round_trip(site.client(), ENDPOINT).unwrap();
    let [first, second] = site.settled(before);
    assert_eq!((first[0], second), (2, nothing));
    // What is over stays counted.
    drop(live);
    let [first, second] = site.settled(before);
    assert_eq!((first[0], second), (2, nothing));

    for (flows, is_killed) in [(1, true), (2, false)] {
        let mut live = open(&site, SECOND);
        talk(&mut live);
        site.settled(before);
        let daemon = site.daemon.take().unwrap();
        if is_killed {
            daemon.kill().unwrap();
        } else {
            daemon.stop().unwrap();
        }
        // The data path goes on without a daemon.
        talk(&mut live);
        site.start();
        let [unchanged, second] = site.settled(before);
        assert_eq!((unchanged, second[0]), (first, flows));
        assert!(second[1] > 2 * flows * 50_000, "{second:?}");
    }

    // By the IPv6 address of that zone.
    let [_, [flows, ..]] = site.used();
    let mut live = site.client().enter(|| TcpStream::connect(SIX)).unwrap().unwrap();
    live.set_nodelay(true).unwrap();
    greeting(&mut live).unwrap();
    talk(&mut live);
    let [unchanged, second] = site.settled(before);
    assert_eq!((unchanged, second[0]), (first, flows + 1));
    assert!(second[1] > 3 * 50_000, "{second:?}");

    // Of an endpoint that is gone, too.
    let used = site.settled(before);
    let text = fs::read_to_string(&site.config).unwrap();
    let (kept, rest) = text.split_once("[[endpoint]]").unwrap();
    let (_, others) = rest.split_once("[[endpoint]]").unwrap();
    fs::write(&site.config, format!("{kept}[[endpoint]]{others}")).unwrap();
    site.daemon().cli(&["reload", "-o", "json"]).unwrap();
    assert_eq!(site.used(), used);
    site.daemon.take().unwrap().stop().unwrap();
    site.start();
    assert_eq!(site.used(), used);
}

#[test]
fn what_is_listed_adds_up_and_costs() {
    let site = Site::new(|_| {});
    round_trip(site.client(), ENDPOINT).unwrap();
    round_trip(site.client(), SECOND).unwrap();
    let by_zone = site.rows(&[]);
    assert_eq!(by_zone.len(), 3, "two zones of A, one of B");
    let [total] = &site.rows(&["--group-by", "service"])[..] else { panic!("one service") };
    for field in ["endpoint_hours", "new_flows"] {
        let sum: u64 = by_zone.iter().map(|row| row[field].as_u64().unwrap()).sum();
        assert_eq!(total[field], sum, "{field}");
    }
    for row in &by_zone {
        let hours = row["endpoint_hours"].as_u64().unwrap();
        // More if an hour has turned meanwhile.
        assert!((1..=2).contains(&hours), "{row}");
        assert_eq!(row["endpoint_cost"], format!("0.0{hours}"));
        assert_eq!(row["currency"], "USD");
    }
    let text = site.daemon().cli_text(&["usage", "-o", "csv", "--by", "month"]).unwrap();
    let header = "from,to,account,endpoint,service,zone,endpoint_hours,endpoint_seconds,new_flows,bytes_to_target,bytes_to_client,endpoint_cost,data_cost,cost,currency";
    assert_eq!(text.lines().next(), Some(header));
    assert_eq!(text.lines().count(), 4, "{text}");

    for (arguments, expected) in [
        (
            &["--from", "yesterday"][..],
            "privatelink: invalid value 'yesterday' for '--from <TIME>': not a time: write a date such as 2026-11-01, or a full hour such as 2026-11-01T13:00:00Z: see `privatelink --help`",
        ),
        (
            &["--to", "2026-11-01T13:30:00Z"],
            "privatelink: invalid value '2026-11-01T13:30:00Z' for '--to <TIME>': not a full hour of UTC, by which usage is kept: write one such as 2026-11-01T13:00:00Z: see `privatelink --help`",
        ),
        (
            &["--from", "2026-11-02", "--to", "2026-11-01"],
            "from is not before to: usage is from the one hour on, up to the other",
        ),
    ] {
        let error = site.daemon().cli_text(&[&["usage"], arguments].concat()).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}

/// A small file system, taken away with this.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        // The daemon is gone by now, or its files are no matter any more.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_loses_nothing_and_doubles_nothing() {
    let mut small = None;
    let site = Site::new(|state| {
        fs::create_dir_all(state).unwrap();
        let size = Some("size=16m");
        mount(Some("tmpfs"), state, Some("tmpfs"), MsFlags::empty(), size).unwrap();
        small = Some(Small(state.to_owned()));
    });
    assert_eq!(site.used(), [[0; 3]; 2]);
    let before = octets(site.client());
    let full = site.home.state().join("full");
    let mut filler = fs::File::create(&full).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let mut stream = open(&site, ENDPOINT);
    let failures = || {
        let socket = site.home.socket();
        let socket = socket.to_str().unwrap();
        let asked = ["curl", "-sS", "--unix-socket", socket, "http://localhost/metrics"];
        let page = site.lab.gateway().run(&asked).unwrap();
        let name = "privatelink_usage_write_failures_total";
        let line = page.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name}: {page}"));
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    wait_until(PATIENCE, "usage cannot be written", || {
        talk(&mut stream);
        let _ = site.daemon().cli(&["usage", "-o", "json"]);
        failures() >= 3
    })
    .unwrap();
    let warning = "usage cannot be written, which is tried again each minute";
    assert_eq!(site.daemon().log().matches(warning).count(), 1);
    drop(filler);
    fs::remove_file(full).unwrap();
    assert_eq!(site.settled(before)[0][0], 1);
    drop(site);
    drop(small);
}
