//! A gateway and targets behind it, without daemon and XDP, and the checks that run there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use privatelink_tests::{Namespace, add_address, veth};
use privatelink_userspace::health::{Check, Checker, Event, Reason, State, Status, Via};
use privatelink_userspace::model::{HealthCheck, HealthProtocol, HttpCheck, Matcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The load balancer's address, which no kernel has.
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
/// The host with the targets, the same in every network.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The load balancer's address and the host's by IPv6.
pub(crate) const BALANCER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0x100);
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2);
/// How long anything may take: far longer than it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with networks around it that all have the same addresses.
pub(crate) struct Site {
    pub(crate) gateway: Namespace,
    /// Namespaces, each behind the gateway's interface `p<number>`.
    pub(crate) networks: Vec<Namespace>,
}

impl Site {
    pub(crate) fn new(networks: usize) -> Self {
        let gateway = Namespace::new("hc-gw").unwrap();
        for (key, value) in [("ip_forward", "0"), ("conf/all/rp_filter", "1")] {
            gateway.sysctl(&format!("ipv4/{key}"), value).unwrap();
        }
        let namespace = |number| Namespace::new(&format!("hc-{number}")).unwrap();
        let site = Self { gateway, networks: (0..networks).map(namespace).collect() };
        for network in 0..networks {
            site.cable(network);
        }
        site
    }

    /// Joins a network to the gateway.
    pub(crate) fn cable(&self, network: usize) {
        let far = &self.networks[network];
        veth(&self.gateway, &format!("p{network}"), far, "eth0").unwrap();
        add_address(far, "eth0", &format!("{HOST}/24")).unwrap();
        let host6 = format!("{HOST6}/64");
        far.run(&["ip", "address", "add", &host6, "dev", "eth0", "nodad"]).unwrap();
        self.introduce(network);
    }

    /// Tells the network where the load balancer's addresses are. Where XDP runs, that answers for them.
    pub(crate) fn introduce(&self, network: usize) {
        let mac = address(&self.gateway, &format!("p{network}"));
        for balancer in [BALANCER.to_string(), BALANCER6.to_string()] {
            let words = ["ip", "neigh", "replace", &balancer, "lladdr", &mac, "dev", "eth0"];
            self.networks[network].run(&words).unwrap();
        }
    }

    /// The way into a network, as it is now.
    pub(crate) fn via(&self, network: usize) -> Via {
        via(&self.gateway, &format!("p{network}"), &self.networks[network])
    }

    /// A check of a port of the host in the first network.
    pub(crate) fn check(&self, protocol: HealthProtocol, port: u16) -> Check {
        self.check_from(BALANCER.into(), (HOST, port).into(), protocol)
    }

    /// The same by IPv6.
    pub(crate) fn check6(&self, protocol: HealthProtocol, port: u16) -> Check {
        self.check_from(BALANCER6.into(), (HOST6, port).into(), protocol)
    }

    fn check_from(&self, source: IpAddr, target: SocketAddr, protocol: HealthProtocol) -> Check {
        Check { settings: settings(protocol), target, source, via: Some(self.via(0)) }
    }
}

/// The way from a gateway's interface to the host behind it.
pub(crate) fn via(gateway: &Namespace, interface: &str, far: &Namespace) -> Via {
    let shown = gateway.run(&["ip", "-o", "link", "show", interface]).unwrap();
    let ifindex = shown.split(':').next().unwrap().parse().unwrap();
    let mac = address(far, "eth0");
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    Via { ifindex, next_hop: bytes.try_into().unwrap(), mtu: 1500 }
}

fn address(namespace: &Namespace, interface: &str) -> String {
    let shown = namespace.run(&["ip", "-o", "link", "show", interface]).unwrap();
    shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
}

/// Settings with which a target's state is soon known.
pub(crate) fn settings(protocol: HealthProtocol) -> HealthCheck {
    HealthCheck {
        protocol,
        port: None,
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(5),
        healthy_threshold: 2,
        unhealthy_threshold: 2,
    }
}

/// A request for a path whose answer must have a status of 200 to 399.
pub(crate) fn get(path: &'static str) -> HttpCheck {
    HttpCheck { path: PathAndQuery::from_static(path), host: None, matcher: Matcher::default() }
}

/// Names of targets.
pub(crate) type Key = &'static str;

/// A checker at work, and its events.
pub(crate) struct Work {
    pub(crate) checker: Checker<Key>,
    events: mpsc::Receiver<Event<Key>>,
}

impl Work {
    /// Runs `test` beside a checker inside a gateway.
    pub(crate) fn inside<T: Send>(
        gateway: &Namespace,
        test: impl AsyncFnOnce(Self) -> T + Send,
    ) -> T {
        let work = || {
            let (sender, events) = mpsc::channel(64);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(test(Self { checker: Checker::new(sender), events }))
        };
        gateway.enter(work).unwrap()
    }

    /// Sets the only check.
    pub(crate) fn set(&mut self, check: &Check) {
        self.check_all(BTreeMap::from([("target", check.clone())]));
    }

    /// Sets the checks, of targets of which nothing is known.
    pub(crate) fn check_all(&mut self, checks: BTreeMap<Key, Check>) {
        self.checker.set_checks(checks, |_| None);
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) -> (Key, Status) {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await;
            match event.expect("an event in time").expect("the checker is there") {
                Event::Changed { key, status } => return (key, status),
                Event::Unanswered { .. } => {}
            }
        }
    }

    /// Waits for the next state of the only target, past a first check that says nothing yet.
    pub(crate) async fn state(&mut self) -> (State, Option<Reason>, Option<String>) {
        loop {
            let Status { health, last_error, .. } = self.changed().await.1;
            if health.state != State::Initial {
                return (health.state, health.reason, last_error);
            }
        }
    }
}
