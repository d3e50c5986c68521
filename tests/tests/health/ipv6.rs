//! Checks from a load balancer's IPv6 address.

use std::net::{Ipv6Addr, TcpListener};

use super::site::{BALANCER6, HOST6};
use super::*;

/// What has become of a target: its state, why, and in words.
type Found = (State, Option<Reason>, Option<String>);

/// Waits until the state of every target of these checks is known.
async fn known(work: &mut Work, checks: &BTreeMap<site::Key, Check>) -> BTreeMap<site::Key, Found> {
    let mut known = BTreeMap::new();
    while known.len() < checks.len() {
        let (key, status) = work.changed().await;
        let Health { state, reason } = status.health;
        if state != State::Initial {
            known.insert(key, (state, reason, status.last_error));
        }
    }
    known
}

#[test]
fn what_targets_do_and_what_is_said_of_them() {
    let site = Site::new(1);
    let _nginx = Nginx::start(&site.networks[0]);
    let (tcp, check) = (HealthProtocol::Tcp, |protocol, port| site.check6(protocol, port));
    let nobody = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 3);
    let dropped = Check { target: (nobody, HTTP).into(), ..check(tcp.clone(), HTTP) };
    let lost = Check { via: None, ..check(tcp.clone(), HTTP) };
    let other_family = Check { source: BALANCER.into(), ..check(tcp.clone(), HTTP) };
    let failed = |reason, words: &str| (State::Unhealthy, Some(reason), Some(words.to_owned()));
    let healthy = || (State::Healthy, None, None);
    let rows = [
        ("tcp", check(tcp.clone(), HTTP), healthy()),
        ("http", check(http("/"), HTTP), healthy()),
        ("http, Host", check(http("/address6"), HTTP), healthy()),
        ("http, from", check(http("/source6"), HTTP), healthy()),
        ("https", check(https("/no-sni", None, false), HTTPS), healthy()),
        ("https, SNI", check(https("/sni", Some("web.example.com"), false), HTTPS), healthy()),
        ("IPv4 beside it", site.check(http("/address"), HTTP), healthy()),
        (
            "503",
            check(http("/status/503"), HTTP),
            failed(Reason::ResponseCodeMismatch, "HTTP status 503, wanted 200-399"),
        ),
        (
            "refused",
            check(tcp.clone(), 9),
            failed(Reason::FailedHealthChecks, "connection refused"),
        ),
        ("dropped", hurried(dropped), failed(Reason::Timeout, "no answer to the SYN within 0.3 s")),
        (
            "no next hop",
            lost,
            failed(Reason::FailedHealthChecks, "no next hop is known for 2001:db8:9::2"),
        ),
        (
            "other family",
            other_family,
            failed(
                Reason::InternalError,
                "cannot connect to [2001:db8:9::2]:8080: unaddressable destination",
            ),
        ),
    ];
    let checks: BTreeMap<_, _> =
        rows.iter().map(|(name, check, _)| (*name, check.clone())).collect();
    let found = Work::inside(&site.gateway, async |mut work| {
        work.check_all(checks.clone());
        known(&mut work, &checks).await
    });
    for (name, _, expected) in rows {
        assert_eq!(found[name], expected, "{name}");
    }
}

#[test]
fn segments_fit_the_least_mtu() {
    let site = Site::new(1);
    let host = &site.networks[0];
    let listener = host.enter(|| TcpListener::bind((HOST6, 7001))).unwrap().unwrap();
    let mut check = site.check6(HealthProtocol::Tcp, 7001);
    // Of no route that carries IPv6.
    check.via.as_mut().unwrap().mtu = 576;
    Work::inside(&site.gateway, async |mut work| {
        work.set(&check);
        assert_eq!(work.state().await, (State::Healthy, None, None));
    });
    let (accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), BALANCER6);
    assert!((1024..10_240).contains(&peer.port()), "{peer}");
    assert_eq!(
        nix::sys::socket::getsockopt(&accepted, nix::sys::socket::sockopt::TcpMaxSeg),
        Ok(1220)
    );
}

/// A gateway that has a route to the target but none to the load balancer's address sends the target ICMPv6 errors about
/// what comes back.
#[test]
fn an_unreachable_of_the_hosts_own_ip_does_no_harm() {
    let site = Site::new(1);
    let _nginx = Nginx::start(&site.networks[0]);
    let route = ["ip", "route", "add", &HOST6.to_string(), "dev", "p0"];
    site.gateway.run(&route).unwrap();
    let complaints = || -> u64 {
        let shown = site.gateway.run(&["cat", "/proc/net/snmp6"]).unwrap();
        let line = shown.lines().find(|line| line.starts_with("Icmp6OutDestUnreachs"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).expect("a counter")
    };
    Work::inside(&site.gateway, async |mut work| {
        work.set(&site.check6(http("/"), HTTP));
        assert_eq!(work.state().await, (State::Healthy, None, None));
        while complaints() < 3 {
            let _ = tokio::time::timeout(Duration::from_millis(50), work.changed()).await;
        }
        let (_, status) = work.checker.statuses().next().unwrap();
        assert_eq!(status.health.state, State::Healthy);
    });
}
