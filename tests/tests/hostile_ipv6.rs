//! The attacks of THC's IPv6 toolkit on an endpoint: nothing passes but packets of its listeners' flows. Needs root.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use privatelink_tests::{
    BY_XDP, DualStack, Family, Flow, MIXES, Namespace, Process, Server, UdpServer, connect,
    exchange, udp_socket_of, wait_until,
};

/// What a program may take: it waits some seconds for answers, and there are many at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// Packets of a flood, with which it is under way.
const FLOODED: u64 = 100_000;

/// The toolkit looks whether its victim is alive.
const ANSWERS_ECHO: (&str, &str) =
    ("id = \"vpce-0a11111111111111a\"", "id = \"vpce-0a11111111111111a\"\nicmp_echo = true");

/// Packets as the flows of the service have them: without extension headers, from a lease to the target's port.
const OF_FLOWS: &str = "(ip6[6] == 6 or ip6[6] == 17) and ip6[40:2] >= 10240 and ip6[42:2] == 8080";
/// Fragments of datagrams, the first ones likewise; those that follow have no ports.
const OF_DATAGRAMS: &str = "ip6[6] == 44 and ip6[40] == 17 \
     and (ip6[42:2] & 0xfff8 != 0 or (ip6[48:2] >= 10240 and ip6[50:2] == 8080))";
/// Errors about what the target has sent to a lease.
const ABOUT_FLOWS: &str = "ip6[6] == 58 and ip6[40] >= 1 and ip6[40] <= 4 \
     and (ip6[54] == 6 or ip6[54] == 17) and ip6[88:2] == 8080 and ip6[90:2] >= 10240";
/// From the load balancer to the targets; those of IPv4 get what this file sends itself.
const FROM_THE_BALANCER: &str = "ip6 src fd00:a::10 and dst fd00:a::1:10";
const OF_IPV4: &str =
    "src 10.0.0.10 and dst 10.0.1.10 and dst port 8080 and src portrange 10240-65535";
/// What the gateway sends of its own: questions for MAC addresses, and health checks.
const OF_THE_GATEWAY: &str =
    "arp or (ip6[6] == 58 and ip6[40] >= 133 and ip6[40] <= 136) or tcp port 7";

/// To the endpoint, and the gateway's to drop: all but neighbour discovery.
const PASSED: &str =
    "ip6 dst fd00:b::1:10 and not (ip6[6] == 58 and ip6[40] >= 133 and ip6[40] <= 137)";

struct Site {
    live: TcpStream,
    witnesses: [Witness; 2],
    _tcp: [Server; 2],
    _udp: [UdpServer; 2],
    dual: DualStack,
}

impl Site {
    fn new() -> Self {
        // What XDP drops, no witness on the gateway sees.
        let dual = DualStack::new(&[ANSWERS_ECHO, BY_XDP]).unwrap();
        // Longer silent than a server has patience for.
        let echo = |mut stream: TcpStream| -> io::Result<()> {
            stream.set_read_timeout(None)?;
            io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
        };
        let targets = [Family::Four, Family::Six].map(Family::target);
        let serve = |target| Server::start(dual.provider(), target, move |stream, _| echo(stream));
        let tcp = targets.map(|target| serve(target).unwrap());
        let udp = targets.map(|target| UdpServer::echo(dual.provider(), target).unwrap());
        let live = connect(dual.consumer(), None, Family::Six.endpoint(Family::Six)).unwrap();

        let witnesses = [
            Witness::new(&dual, dual.provider(), "eth0"),
            Witness::new(&dual, dual.lab.gateway(), "pl-consumer-a"),
        ];
        Self { live, witnesses, _tcp: tcp, _udp: udp, dual }
    }

    /// Starts a program of the toolkit in the consumer's network, against the endpoint's IPv6 address.
    fn attack(&self, program: &str, options: &[&str], after: &[&str]) -> Process {
        let endpoint = Family::Six.endpoint(Family::Six).ip().to_string();
        let arguments = [options, &["eth0", &endpoint], after].concat();
        let name = format!("{program} {}", arguments.join(" "));
        let log = self.dual.lab.folder().join(name.replace(' ', "_"));
        let mut command = self.dual.consumer().command(program);
        Process::spawn(&name, command.args(arguments), &log).unwrap()
    }

    /// What the gateway has dropped of the consumer's.
    fn dropped(&self) -> u64 {
        let rows = self.dual.daemon.cli(&["drops", "-o", "json"]).unwrap();
        let of = rows.as_array().unwrap().iter().filter(|row| row["interface"] == "pl-consumer-a");
        of.map(|row| row["packets"].as_u64().unwrap()).sum()
    }

    /// Nothing but the service's packets has passed, and all goes on as it did.
    fn assert_unharmed(mut self) {
        assert_eq!(exchange(&mut self.live, b"still here").unwrap(), b"still here");
        for (client, target) in MIXES {
            let endpoint = client.endpoint(target);
            let mut stream = connect(self.dual.consumer(), None, endpoint).unwrap();
            assert_eq!(exchange(&mut stream, b"hello").unwrap(), b"hello");
            let socket = udp_socket_of(self.dual.consumer(), client).unwrap();
            socket.send_to(b"hello", endpoint).unwrap();
            let mut answer = [0; 16];
            let (length, from) = socket.recv_from(&mut answer).unwrap();
            assert_eq!((&answer[..length], from), (&b"hello"[..], endpoint));
        }
        let [provider, host] = &mut self.witnesses;
        assert_eq!(host.packets(PASSED), Vec::<String>::new(), "passed to the gateway's kernel");
        let six = format!("({OF_FLOWS}) or ({OF_DATAGRAMS}) or ({ABOUT_FLOWS})");
        let ours = format!("({FROM_THE_BALANCER} and ({six})) or ({OF_IPV4})");
        let others = format!("not ({ours} or {OF_THE_GATEWAY})");
        assert_eq!(provider.packets(&others), Vec::<String>::new());
        assert!(!provider.packets(&ours).is_empty());
        let flows: Vec<Flow<SocketAddr>> = self.dual.daemon.flows_of(&[]).unwrap();
        for flow in &flows {
            let is = |(client, target): &(Family, Family)| {
                flow.endpoint_address == client.endpoint(*target) && flow.target == target.target()
            };
            assert!(MIXES.iter().any(is), "{flow:?}");
        }
    }
}

/// Writes all that the kernel gets by an interface to a file.
struct Witness {
    tcpdump: Process,
    file: PathBuf,
}

impl Witness {
    fn new(dual: &DualStack, namespace: &Namespace, interface: &str) -> Self {
        let file = dual.lab.folder().join(format!("{interface}.pcap"));
        let mut tcpdump = namespace.command("tcpdump");
        tcpdump.args(["-U", "--immediate-mode", "-Z", "root", "-Q", "in", "-i", interface, "-w"]);
        let tcpdump =
            Process::spawn("tcpdump", tcpdump.arg(&file), &file.with_extension("log")).unwrap();
        tcpdump.wait_log("listening on", PATIENCE).unwrap();
        Self { tcpdump, file }
    }

    /// The packets that a filter admits, a line each; there come no more.
    fn packets(&mut self, filter: &str) -> Vec<String> {
        self.tcpdump.stop(PATIENCE).unwrap();
        let mut tcpdump = Command::new("tcpdump");
        let read = tcpdump.args(["-n", "-r"]).arg(&self.file).arg(filter).output().unwrap();
        assert!(read.status.success(), "{read:?}");
        String::from_utf8(read.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Waits until all of them have ended by themselves.
fn end(attacks: Vec<Process>) {
    for mut attack in attacks {
        let status = attack.wait(PATIENCE).unwrap();
        // That nobody answers is a failure to them.
        assert!(matches!(status.code(), Some(0 | 1)), "{status}: {}", attack.log());
    }
}

/// TCP and UDP with every kind of extension header and fragment that hides a port from a filter.
#[test]
fn ways_around_a_filter() {
    const CASES: u32 = 39;
    let site = Site::new();
    let start = |case: u32| {
        let case = case.to_string();
        [&[][..], &["-u"]].map(|mode| site.attack("atk6-firewall6", mode, &["81", &case]))
    };
    end((1..=CASES).flat_map(start).collect());
    site.assert_unharmed();
}

/// Fragments that overlap, contradict each other, come twice, never or by the dozen.
#[test]
fn fragments_of_every_kind() {
    const CASES: u32 = 36;
    let site = Site::new();
    let start =
        |case: u32| site.attack("atk6-fragmentation6", &["-p", "-n", "1"], &[&case.to_string()]);
    end((1..=CASES).map(start).collect());
    site.assert_unharmed();
}

/// The same without a pause, until it is stopped.
#[test]
fn a_flood_of_fragments() {
    let mut site = Site::new();
    let mut flood = site.attack("atk6-fragmentation6", &["-f", "-p", "-n", "1"], &["13"]);
    wait_until(PATIENCE, "the flood is under way", || site.dropped() > FLOODED).unwrap();
    for _ in 0..100 {
        assert_eq!(exchange(&mut site.live, b"meanwhile").unwrap(), b"meanwhile");
    }
    assert!(flood.try_wait().unwrap().is_none());
    flood.stop(PATIENCE).unwrap();
    site.assert_unharmed();
}

/// What implementations of IPv6 got wrong, messages of ICMP with every code, and packets of which every byte takes every value.
#[test]
fn what_implementations_got_wrong() {
    const CASES: u32 = 57;
    let site = Site::new();
    let mut attacks = vec![site.attack("atk6-exploit6", &[], &[])];
    let implementation =
        |case: u32| site.attack("atk6-implementation6", &["-p"], &[&case.to_string()]);
    attacks.extend((1..=CASES).map(implementation));
    // Errors, echo and neighbour discovery.
    let types = (1..=4).chain(128..=137);
    attacks.extend(types.map(|kind: u32| site.attack("atk6-randicmp6", &[], &[&kind.to_string()])));
    for options in
        [&["-1"][..], &["-1", "-F"], &["-1", "-S"], &["-1", "-D"], &["-1", "-H"], &["-s", "81"]]
    {
        attacks.push(site.attack("atk6-fuzz_ip6", &[&["-x", "-I"], options].concat(), &[]));
    }
    end(attacks);
    site.assert_unharmed();
}
