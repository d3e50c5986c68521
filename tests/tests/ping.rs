//! What `ping`, `traceroute` and `tracepath` show of an endpoint, with a router in front of the client and of the target. Needs root.

use std::net::IpAddr;

use privatelink_tests::{DualStack, Family, MIXES, Namespace, Server, move_behind_router};

/// MTU of every link.
const MTU: u32 = 1500;
/// The client's router, as the client sees it.
const ROUTERS: [&str; 2] = ["10.254.0.1", "fd00:fe::1"];
const SILENT: &str = "*";
const ANSWERS_ECHO: (&str, &str) =
    ("id = \"vpce-0a11111111111111a\"", "id = \"vpce-0a11111111111111a\"\nicmp_echo = true");

struct Site {
    dual: DualStack,
    client: Namespace,
    _target: Namespace,
    _servers: [Server; 2],
}

impl Site {
    fn new(changes: &[(&str, &str)]) -> Self {
        let lab = DualStack::lab().unwrap();
        let behind = |network: &str, own, host: fn(Family) -> IpAddr| {
            let host = [Family::Four, Family::Six].map(host);
            move_behind_router(lab.network(network).unwrap(), own, host, MTU).unwrap()
        };
        let client = behind("consumer-a", ["10.0.2.1/16", "fd00:b::2:1/64"], Family::client);
        let target =
            behind("provider", ["10.0.1.1/16", "fd00:a::1:1/64"], |family| family.target().ip());
        let servers = [Family::Four, Family::Six]
            .map(|family| Server::echo(&target, family.target(), "target").unwrap());
        let health = DualStack::health(&target).unwrap();
        let dual = DualStack::start(lab, health, changes).unwrap();
        Self { dual, client, _target: target, _servers: servers }
    }

    /// What a program prints that may report failure.
    fn prints(&self, words: &[&str]) -> String {
        let output = self.client.command(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.stderr.is_empty(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The hops that `traceroute` shows of the way to an endpoint.
    fn traceroute(&self, family: Family, how: &[&str]) -> Vec<String> {
        let to = family.endpoint(family).ip().to_string();
        let words = [&["traceroute", "-n", "-q", "1", "-w", "1", "-m", "4"], how, &[&*to]];
        let printed = self.prints(&words.concat());
        let hops = printed.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap());
        hops.map(str::to_owned).collect()
    }

    fn drops(&self, reason: &str) -> u64 {
        self.dual.daemon.drops("pl-consumer-a", reason).unwrap()
    }
}

fn router(family: Family) -> &'static str {
    ROUTERS[usize::from(family == Family::Six)]
}

fn ping(site: &Site, family: Family, bytes: &str) -> String {
    let to = family.endpoint(family).ip().to_string();
    site.prints(&["ping", "-n", "-c", "1", "-W", "1", "-s", bytes, &to])
}

#[test]
fn an_endpoint_that_does_not_answer_echo_is_silent() {
    let site = Site::new(&[]);
    for family in [Family::Four, Family::Six] {
        let before = site.drops("IcmpEcho");
        let printed = ping(&site, family, "56");
        assert!(
            printed.contains("1 packets transmitted, 0 received, 100% packet loss"),
            "{printed}"
        );
        assert!(!printed.contains("From"), "{printed}");
        assert_eq!(site.drops("IcmpEcho"), before + 1);
        assert_eq!(site.traceroute(family, &["-I"])[..2], [router(family), SILENT]);
    }
}

#[test]
fn an_endpoint_that_answers_echo_is_the_next_hop() {
    let site = Site::new(&[ANSWERS_ECHO]);
    for family in [Family::Four, Family::Six] {
        let endpoint = family.endpoint(family).ip().to_string();
        for bytes in ["56", "1400"] {
            let printed = ping(&site, family, bytes);
            // The gateway says 64, and there is one router.
            let answered = format!("bytes from {endpoint}: icmp_seq=1 ttl=63");
            assert!(printed.contains(&answered), "{printed}");
        }
        assert_eq!(site.traceroute(family, &["-I"]), [router(family), &*endpoint]);
    }
    assert_eq!(site.dual.dropped().unwrap(), Vec::<String>::new());
}

/// The gateway forwards and says nothing where a packet's time ends with it; routers behind it and the target all speak
/// as the endpoint, so that nothing of the provider's network is seen.
#[test]
fn the_way_to_a_listener_ends_at_the_endpoint() {
    let site = Site::new(&[]);
    for (count, (client, target)) in (1_u64..).zip(MIXES) {
        let port = client.endpoint(target).port().to_string();
        let endpoint = client.endpoint(target).ip().to_string();
        let expected = [router(client), SILENT, &*endpoint, &*endpoint];
        for by in ["-T", "-U"] {
            assert_eq!(site.traceroute(client, &[by, "-p", &port]), expected, "{by} {port}");
        }
        assert_eq!(site.drops("TtlExpired"), 2 * count);
    }
    assert_eq!(site.dual.dropped().unwrap(), ["TtlExpired"]);
}

#[test]
fn ports_without_a_listener_end_at_the_last_router() {
    let site = Site::new(&[]);
    for family in [Family::Four, Family::Six] {
        assert_eq!(site.traceroute(family, &[]), [router(family), SILENT, SILENT, SILENT]);
        let to = family.endpoint(family).ip().to_string();
        let printed = site.prints(&["tracepath", "-n", "-m", "2", &to]);
        assert!(printed.contains(&format!("1:  {} ", router(family))), "{printed}");
        assert!(printed.contains("2:  no reply"), "{printed}");
        assert!(!printed.contains("reached"), "{printed}");
    }
    assert_eq!(site.dual.dropped().unwrap(), ["TtlExpired", "NoListener"]);
}
