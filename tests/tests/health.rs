//! Health checks from an address that no kernel has, past XDP and the host's IP. Needs root.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use hyper::http::uri::Authority;
use privatelink_tests::{
    Daemon, LOAD_BALANCER, Lab, Namespace, Server, Topology, add_address, example, http_target,
    veth, wait_until,
};
use privatelink_userspace::health::{Check, Health, Reason, State};
use privatelink_userspace::model::{HealthProtocol, HttpCheck, Matcher, TlsCheck};
use rustls::pki_types::DnsName;

#[path = "health/ipv6.rs"]
mod ipv6;
#[path = "health/nginx.rs"]
mod nginx;
#[path = "health/site.rs"]
mod site;

use nginx::{HTTP, HTTPS, Nginx};
use site::{BALANCER, HOST, Site, Work, get, settings, via};

const PATIENCE: Duration = Duration::from_secs(20);

fn http(path: &'static str) -> HealthProtocol {
    HealthProtocol::Http(get(path))
}

fn https(path: &'static str, name: Option<&'static str>, verify: bool) -> HealthProtocol {
    let server_name = name.map(|name| DnsName::try_from(name).unwrap());
    HealthProtocol::Https(get(path), TlsCheck { server_name, verify_certificate: verify })
}

/// A check that must soon fail for want of an answer.
fn hurried(mut check: Check) -> Check {
    check.settings.timeout = Duration::from_millis(300);
    check
}

/// What this thread has taken of a processor.
fn processor_time() -> Duration {
    let shown = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(shown.split(' ').next().unwrap().parse().unwrap())
}

/// Reads a request, as far as it comes at once.
fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0; 1024]).map(drop)
}

#[test]
fn what_targets_do_and_what_is_said_of_them() {
    const SILENT: u16 = 7001;
    const NONSENSE: u16 = 7002;
    const HANGS_UP: u16 = 7003;
    const RESETS: u16 = 7004;
    const ENDLESS: u16 = 7005;
    let site = Site::new(1);
    let host = &site.networks[0];
    let _nginx = Nginx::start(host);
    let serve = |port, serve: fn(TcpStream) -> std::io::Result<()>| {
        Server::start(host, (HOST, port).into(), move |stream, _| serve(stream)).unwrap()
    };
    let _servers = [
        serve(SILENT, |mut stream| std::io::copy(&mut stream, &mut std::io::sink()).map(drop)),
        serve(NONSENSE, |mut stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")),
        serve(HANGS_UP, |mut stream| read_request(&mut stream)),
        // Closing with unread bytes sends a RST.
        serve(RESETS, |stream| stream.peek(&mut [0]).map(drop)),
        serve(ENDLESS, |mut stream| {
            loop {
                stream.write_all(b"HTTP/1.1 200 OK\r\nEndless: yes\r\nX: ")?;
                stream.write_all(&[b'x'; 4096])?;
            }
        }),
    ];

    let named = |host| HttpCheck { host: Some(Authority::from_static(host)), ..get("/host") };
    let only = |matcher| HttpCheck { matcher: Matcher::parse(matcher).unwrap(), ..get("/") };
    let elsewhere = Check {
        target: SocketAddr::from(([10, 9, 0, 3], HTTP)),
        ..site.check(HealthProtocol::Tcp, HTTP)
    };
    let mut other_port = site.check(http("/"), 9);
    other_port.settings.port = Some(HTTP);
    let lost = Check { via: None, ..site.check(HealthProtocol::Tcp, HTTP) };
    let (tcp, check) = (HealthProtocol::Tcp, |protocol, port| site.check(protocol, port));

    let healthy = [
        ("tcp", check(tcp.clone(), HTTP)),
        ("tcp, never closed", check(tcp.clone(), SILENT)),
        ("http", check(http("/"), HTTP)),
        ("http, redirection", check(http("/status/302"), HTTP)),
        ("http, User-Agent", check(http("/agent"), HTTP)),
        ("http, Connection", check(http("/close"), HTTP)),
        ("http, Host", check(http("/address"), HTTP)),
        ("http, Host given", check(HealthProtocol::Http(named("www.example.com")), HTTP)),
        ("http, matcher", check(HealthProtocol::Http(only("200,204")), HTTP)),
        ("http, port of its own", other_port),
        ("https", check(https("/no-sni", None, false), HTTPS)),
        ("https, SNI", check(https("/sni", Some("web.example.com"), false), HTTPS)),
        ("https, other name", check(https("/", Some("other.example.com"), false), HTTPS)),
    ];
    let not_wanted = "HTTP status 503, wanted 200-399";
    let unhealthy = [
        ("refused", check(tcp.clone(), 9), Reason::FailedHealthChecks, "connection refused"),
        ("dropped", hurried(elsewhere), Reason::Timeout, "no answer to the SYN within 0.3 s"),
        (
            "silent",
            hurried(check(http("/"), SILENT)),
            Reason::Timeout,
            "no HTTP answer within 0.3 s",
        ),
        (
            "silent TLS",
            hurried(check(https("/", None, false), SILENT)),
            Reason::Timeout,
            "no TLS handshake within 0.3 s",
        ),
        ("503", check(http("/status/503"), HTTP), Reason::ResponseCodeMismatch, not_wanted),
        (
            "503 by TLS",
            check(https("/status/503", None, false), HTTPS),
            Reason::ResponseCodeMismatch,
            not_wanted,
        ),
        (
            "matcher",
            check(HealthProtocol::Http(only("201-399,204")), HTTP),
            Reason::ResponseCodeMismatch,
            "HTTP status 200, wanted 201-399,204",
        ),
        (
            "no HTTP",
            check(http("/"), NONSENSE),
            Reason::FailedHealthChecks,
            "no HTTP answer: invalid HTTP version parsed",
        ),
        (
            "endless",
            check(http("/"), ENDLESS),
            Reason::FailedHealthChecks,
            "no HTTP answer: message head is too large",
        ),
        (
            "hangs up",
            check(http("/"), HANGS_UP),
            Reason::FailedHealthChecks,
            "connection closed before the answer",
        ),
        ("resets", check(http("/"), RESETS), Reason::FailedHealthChecks, "connection reset"),
        (
            "no TLS",
            check(https("/", None, false), NONSENSE),
            Reason::FailedHealthChecks,
            "TLS: received corrupt message of type InvalidContentType",
        ),
        (
            "certificate",
            check(https("/", Some("web.example.com"), true), HTTPS),
            Reason::FailedHealthChecks,
            "certificate: no root certificate of this host vouches for it",
        ),
        ("no next hop", lost, Reason::FailedHealthChecks, "no next hop is known for 10.9.0.2"),
    ];

    let checks: BTreeMap<_, _> = healthy
        .iter()
        .cloned()
        .chain(unhealthy.iter().map(|(name, check, ..)| (*name, check.clone())))
        .collect();
    let found = Work::inside(&site.gateway, async |mut work| {
        work.check_all(checks.clone());
        let mut known = BTreeMap::new();
        while known.len() < checks.len() {
            let (key, status) = work.changed().await;
            if status.health.state != State::Initial {
                known.insert(key, status);
            }
        }
        for (key, status) in work.checker.statuses() {
            assert_eq!(status.health, known[key].health, "{key}");
        }
        known
    });
    for (name, _) in &healthy {
        let status = &found[name];
        assert_eq!((status.health.state, &status.last_error), (State::Healthy, &None), "{name}");
        assert!(status.latency.is_some(), "{name}");
    }
    for (name, _, reason, words) in &unhealthy {
        let status = &found[name];
        let expected = Health { state: State::Unhealthy, reason: Some(*reason) };
        assert_eq!(
            (status.health, status.last_error.as_deref()),
            (expected, Some(*words)),
            "{name}"
        );
        assert_eq!(status.latency, None, "{name}");
    }
}

#[test]
fn checks_come_from_the_load_balancer_and_leave_nothing() {
    let site = Site::new(1);
    let host = &site.networks[0];
    let at = |port| SocketAddrV4::new(HOST, port);
    let closes =
        Server::start(host, at(7001).into(), |mut stream, _| read_request(&mut stream)).unwrap();
    // Hears of nothing until it writes, long after.
    let (hold, held) = std::sync::mpsc::channel::<TcpStream>();
    let keeps = Server::start(host, at(7002).into(), move |stream, _| {
        hold.send(stream).map_err(std::io::Error::other)
    })
    .unwrap();
    Work::inside(&site.gateway, async |mut work| {
        let check = |port| site.check(HealthProtocol::Tcp, port);
        work.check_all(BTreeMap::from([("closes", check(7001)), ("keeps", check(7002))]));
        while closes.peers().len() < 5 || keeps.peers().len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(work.checker.statuses().all(|(_, status)| status.health.state == State::Healthy));
        while work.changed().await.1.health.state != State::Healthy {}
    });
    for peer in closes.peers().iter().chain(&keeps.peers()) {
        assert_eq!(peer.ip(), BALANCER);
        assert!((1024..10_240).contains(&peer.port()), "{peer}");
    }
    let nothing_left = || {
        let words = ["ss", "-Htn", "state", "connected", "exclude", "time-wait"];
        let shown = host.run(&words).unwrap();
        !shown.contains(&BALANCER.to_string())
    };
    wait_until(PATIENCE, "the target has forgotten the checks", nothing_left).unwrap();
    assert!(held.try_iter().count() >= 3, "what was forgotten was still open for the server");
}

#[test]
fn a_change_on_the_way_is_followed_and_resets_nothing() {
    let site = Site::new(1);
    let host = &site.networks[0];
    let _server = Server::echo(host, (HOST, 7001).into(), "target").unwrap();
    Work::inside(&site.gateway, async |mut work| {
        let check = hurried(site.check(HealthProtocol::Tcp, 7001));
        let now = || Check { via: Some(site.via(0)), ..check.clone() };
        work.set(&check);
        assert_eq!(work.state().await.0, State::Healthy);

        host.run(&["ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"]).unwrap();
        site.introduce(0);
        let silence = "no answer to the SYN within 0.3 s".to_owned();
        let unhealthy = (State::Unhealthy, Some(Reason::Timeout), Some(silence));
        assert_eq!(work.state().await, unhealthy);
        work.set(&now());
        assert_eq!(work.state().await, (State::Healthy, None, None));

        site.gateway.run(&["ip", "link", "set", "p0", "down"]).unwrap();
        let (state, reason, words) = work.state().await;
        assert_eq!((state, reason), (State::Unhealthy, Some(Reason::InternalError)));
        assert_eq!(words.as_deref(), Some("the interface is down"));
        site.gateway.run(&["ip", "link", "set", "p0", "up"]).unwrap();
        assert_eq!(work.state().await, (State::Healthy, None, None));

        site.gateway.run(&["ip", "link", "delete", "p0"]).unwrap();
        let (state, reason, words) = work.state().await;
        assert_eq!((state, reason), (State::Unhealthy, Some(Reason::InternalError)));
        assert!(
            words.as_deref().is_some_and(|words| words.starts_with("the interface is ")),
            "{words:?}"
        );
        site.cable(0);
        work.set(&now());
        loop {
            // The reasons may change while the interface goes.
            match work.state().await {
                (State::Healthy, reason, words) => break assert_eq!((reason, words), (None, None)),
                (state, ..) => assert_eq!(state, State::Unhealthy),
            }
        }
    });
}

#[test]
fn a_target_behind_a_router() {
    let site = Site::new(1);
    let (router, far) = (&site.networks[0], Namespace::new("hc-far").unwrap());
    veth(router, "eth1", &far, "eth0").unwrap();
    add_address(router, "eth1", "10.8.0.1/24").unwrap();
    add_address(&far, "eth0", "10.8.0.2/24").unwrap();
    far.run(&["ip", "route", "add", "default", "via", "10.8.0.1"]).unwrap();
    router.sysctl("ipv4/ip_forward", "1").unwrap();
    let target = SocketAddrV4::new(Ipv4Addr::new(10, 8, 0, 2), 7001);
    let server = Server::echo(&far, target.into(), "far").unwrap();
    Work::inside(&site.gateway, async |mut work| {
        work.set(&Check { target: target.into(), ..site.check(HealthProtocol::Tcp, 7001) });
        assert_eq!(work.state().await, (State::Healthy, None, None));
    });
    assert_eq!(server.peers()[0].ip(), BALANCER);
}

/// Also says what a check costs: `cargo test -p privatelink-tests --test health thousand -- --nocapture`.
#[test]
fn a_thousand_targets() {
    const TARGETS: usize = 1000;
    let site = Site::new(1);
    let _nginx = Nginx::start(&site.networks[0]);
    Work::inside(&site.gateway, async |mut work| {
        let names = (0..TARGETS).map(|number| &*Box::leak(number.to_string().into_boxed_str()));
        let mut check = site.check(http("/"), HTTP);
        check.settings.interval = Duration::from_secs(2);
        work.check_all(names.map(|name| (name, check.clone())).collect());
        let (mut healthy, before) = (0, processor_time());
        while healthy < TARGETS {
            let (key, status) = work.changed().await;
            assert_ne!(status.health.state, State::Unhealthy, "{key}: {:?}", status.last_error);
            healthy += usize::from(status.health.state == State::Healthy);
        }
        let each = (processor_time() - before) / TARGETS as u32;
        println!("a check over HTTP takes {each:?} of processor time");
    });
}

#[test]
fn another_target_begins_anew_and_a_removed_one_is_silent() {
    let site = Site::new(1);
    let server = Server::echo(&site.networks[0], (HOST, 7001).into(), "target").unwrap();
    Work::inside(&site.gateway, async |mut work| {
        work.set(&site.check(HealthProtocol::Tcp, 7001));
        assert_eq!(work.state().await.0, State::Healthy);
        work.set(&site.check(HealthProtocol::Tcp, 7002));
        let (_, status) = work.checker.statuses().next().unwrap();
        assert_eq!(status.health, Health::NEW);
        assert_eq!(work.state().await.0, State::Unhealthy);
        work.check_all(BTreeMap::new());
        assert_eq!(work.checker.statuses().count(), 0);
    });
    assert!(!server.peers().is_empty());
}

#[test]
fn the_same_address_in_two_networks_is_two_targets() {
    let site = Site::new(2);
    let _one = http_target(&site.networks[0], SocketAddr::from((HOST, HTTP)), "one").unwrap();
    Work::inside(&site.gateway, async |mut work| {
        let one = site.check(http("/"), HTTP);
        let other = Check { via: Some(site.via(1)), ..one.clone() };
        work.check_all(BTreeMap::from([("one", one), ("other", other)]));
        let mut known = BTreeMap::new();
        while known.len() < 2 {
            let (key, status) = work.changed().await;
            if status.health.state != State::Initial {
                known.insert(key, (status.health.state, status.last_error));
            }
        }
        let refused = (State::Unhealthy, Some("connection refused".to_owned()));
        assert_eq!(known, BTreeMap::from([("one", (State::Healthy, None)), ("other", refused)]));
    });
}

/// Where the program lets the answers pass, while both consumers have the targets' addresses.
#[test]
fn beside_the_daemon() {
    let lab = Lab::new(&Topology::overlap()).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let provider = lab.network("provider").unwrap();
    Work::inside(lab.gateway(), async |mut work| {
        let check = |protocol, port| Check {
            settings: settings(protocol),
            target: SocketAddr::from(([10, 0, 1, 10], port)),
            source: LOAD_BALANCER.into(),
            via: Some(via(lab.gateway(), "pl-provider", provider)),
        };
        work.check_all(BTreeMap::from([
            ("web", check(http("/"), 8080)),
            ("refused", check(HealthProtocol::Tcp, 8089)),
        ]));
        let mut known = BTreeMap::new();
        while known.len() < 2 {
            let (key, status) = work.changed().await;
            if status.health.state != State::Initial {
                known.insert(key, (status.health.state, status.last_error));
            }
        }
        let refused = (State::Unhealthy, Some("connection refused".to_owned()));
        assert_eq!(known, BTreeMap::from([("refused", refused), ("web", (State::Healthy, None))]));
    });
    assert_eq!(daemon.drops("pl-provider", "Unsolicited").unwrap(), 0);
    daemon.stop().unwrap();
}
