//! A lab in which one way of getting from the consumer to the target is set up.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use privatelink_tests::{Daemon, Lab, Links, Namespace, Process, add_address, wait_until};

use crate::cpu::EAGERLY;
use crate::link::Link;
use crate::object::Object;
use crate::report::Report;
use crate::tool::Tool;
use crate::world::{
    BALANCERS, CAPACITY, ECHO, ENDPOINT, GATEWAY, HTTP, Interfaces, balancer, target,
};

/// How packets get from the consumer to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By privatelink, the daemon running.
    Privatelink,
    /// By nftables, DNAT and SNAT.
    Nftables,
    /// By routing, no NAT and no netfilter: the client must know the target's address.
    Routing,
    /// By HAProxy, connection by connection.
    Haproxy,
    /// By a program that does nothing but send frames on: at tc ingress, or, where links are for XDP, by the one that whoever
    /// measures attaches. What nobody can be faster than.
    Bare,
}

impl Way {
    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Privatelink => "privatelink",
            Self::Nftables => "nftables DNAT+SNAT",
            Self::Routing => "plain routing",
            Self::Haproxy => "HAProxy, TCP",
            Self::Bare => "bare redirect",
        }
    }

    /// The program that it needs beside ours.
    pub(crate) const fn tool(self) -> Option<Tool> {
        match self {
            Self::Nftables => Some(Tool::Nft),
            Self::Haproxy => Some(Tool::Haproxy),
            Self::Privatelink | Self::Routing | Self::Bare => None,
        }
    }

    /// Those of `ways` that can be gone here. What a group has to do without is noted in the report.
    pub(crate) fn usable(ways: &[Self], group: &str, report: &mut Report) -> Vec<Self> {
        let mut usable = Vec::new();
        for &way in ways {
            match way.tool().and_then(Tool::missing) {
                Some(reason) => report.skip(format!("{group}, {}: {reason}", way.name())),
                None => usable.push(way),
            }
        }
        usable
    }

    /// Where a client connects to reach the target's port `to`, published as `from`.
    pub(crate) const fn address(self, [from, to]: [u16; 2]) -> SocketAddrV4 {
        match self {
            Self::Routing | Self::Bare => SocketAddrV4::new(target(0), to),
            Self::Privatelink | Self::Nftables | Self::Haproxy => SocketAddrV4::new(ENDPOINT, from),
        }
    }
}

/// The lab. What does the work in it ends before it does.
pub(crate) struct Lane {
    pub(crate) way: Way,
    // Detached before the interfaces go.
    object: Option<Object>,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) haproxy: Option<Process>,
    pub(crate) interfaces: Interfaces,
    pub(crate) lab: Lab,
}

impl Lane {
    /// Brings it up with such links and so many targets. HAProxy, and routing, go to the first one only.
    pub(crate) fn new(way: Way, links: Links, targets: u8) -> Result<Self> {
        let interfaces = Interfaces::new(links);
        let lab = interfaces.lab(way != Way::Privatelink, targets)?;
        let mut lane = Self { way, object: None, daemon: None, haproxy: None, interfaces, lab };
        for namespace in [lane.consumer()?, lane.provider()?, lane.lab.gateway()] {
            namespace.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        }
        lane.set_up(targets).with_context(|| way.name())?;
        Ok(lane)
    }

    /// A lane for each of the ways that can be gone here, with one target.
    pub(crate) fn each(
        ways: &[Way],
        links: Links,
        group: &str,
        report: &mut Report,
    ) -> Result<Vec<Self>> {
        Way::usable(ways, group, report).into_iter().map(|way| Self::new(way, links, 1)).collect()
    }

    fn set_up(&mut self, targets: u8) -> Result<()> {
        match self.way {
            Way::Bare if self.interfaces.links == Links::Plain => self.join(),
            Way::Bare => Ok(()),
            Way::Routing => self.route(),
            Way::Nftables => self.own_addresses().and_then(|()| self.translate(targets)),
            Way::Haproxy => self.own_addresses().and_then(|()| self.proxy()),
            Way::Privatelink => {
                let path = self.config();
                fs::write(&path, self.interfaces.configuration(targets, CAPACITY))?;
                self.daemon = Some(Daemon::start(&self.lab, &path, &[])?);
                Ok(())
            }
        }
    }

    /// privatelink's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.lab.folder().join("bench.toml")
    }

    /// The client's namespace.
    pub(crate) fn consumer(&self) -> Result<&Namespace> {
        self.lab.network("consumer")
    }

    /// The target's namespace.
    pub(crate) fn provider(&self) -> Result<&Namespace> {
        self.lab.network("provider")
    }

    /// What the others need addresses for, privatelink answers for by itself.
    fn own_addresses(&self) -> Result<()> {
        let gateway = self.lab.gateway();
        add_address(gateway, &self.interfaces.consumer, &format!("{ENDPOINT}/16"))?;
        (0..BALANCERS).try_for_each(|number| {
            let address = format!("{}/16", balancer(number));
            add_address(gateway, &self.interfaces.provider, &address)
        })
    }

    fn forward(&self) -> Result<()> {
        let gateway = self.lab.gateway();
        gateway.sysctl("ipv4/ip_forward", "1")?;
        gateway.sysctl("ipv4/conf/all/rp_filter", "0")
    }

    /// Has the gateway hand over frames, which each side addresses to the other.
    fn join(&mut self) -> Result<()> {
        self.add_default_routes()?;
        let ends = [self.consumer()?, self.provider()?];
        for (side, gateway) in GATEWAY.map(|address| address.to_string()).iter().enumerate() {
            let mac = Link::of(ends[1 - side], "eth0")?.mac.bytes();
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let neighbour = ["ip", "neigh", "replace", gateway, "lladdr", &mac, "dev", "eth0"];
            ends[side].run(&neighbour)?;
        }
        let gateway = self.lab.gateway();
        let names = [self.interfaces.consumer.as_str(), self.interfaces.provider.as_str()];
        let [one, other] = names.map(|name| Link::of(gateway, name));
        let interfaces = [(names[0], one?.ifindex), (names[1], other?.ifindex)];
        let mut object = Object::load(1, 1)?;
        gateway.enter(|| object.join(interfaces))??;
        self.object = Some(object);
        Ok(())
    }

    fn route(&self) -> Result<()> {
        self.forward()?;
        self.add_default_routes()
    }

    /// Has both sides send by the gateway what is for the other.
    fn add_default_routes(&self) -> Result<()> {
        for (namespace, gateway) in [self.consumer()?, self.provider()?].into_iter().zip(GATEWAY) {
            let gateway = gateway.to_string();
            namespace.run(&["ip", "route", "add", "default", "via", &gateway])?;
        }
        Ok(())
    }

    fn translate(&self, targets: u8) -> Result<()> {
        self.forward()?;
        let (targets, [published, port]) = (format!("{}-{}", target(0), target(targets - 1)), HTTP);
        let (first, last) = (balancer(0), balancer(BALANCERS - 1));
        let rules = format!(
            "table ip nat {{
    chain before {{
        type nat hook prerouting priority -100;
        ip daddr {ENDPOINT} tcp dport {published} dnat to {targets}:{port}
        ip daddr {ENDPOINT} tcp dport {ECHO} dnat to {targets}:{ECHO}
    }}
    chain after {{
        type nat hook postrouting priority 100;
        ip daddr {targets} snat to {first}-{last}
    }}
}}
"
        );
        let path = self.lab.folder().join("rules.nft");
        fs::write(&path, rules)?;
        self.lab.gateway().run(&["nft", "-f", &path.to_string_lossy()]).map(drop)
    }

    fn proxy(&mut self) -> Result<()> {
        let mut text = "global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"
        .to_owned();
        let target = target(0);
        for (from, to) in [HTTP, [ECHO; 2]].map(|[from, to]| (from, to)) {
            writeln!(text, "listen port-{from}\n    bind {ENDPOINT}:{from}")?;
            for number in 0..BALANCERS {
                let source = balancer(number);
                writeln!(text, "    server s{number} {target}:{to} source {source}")?;
            }
        }
        let folder = self.lab.folder();
        let path = folder.join("haproxy.cfg");
        fs::write(&path, text)?;
        let mut command = self.lab.gateway().command(EAGERLY[0]);
        command.args(&EAGERLY[1..]).arg("haproxy");
        command.arg("-db").arg("-f").arg(&path);
        let haproxy = Process::spawn("haproxy", &mut command, &folder.join("haproxy.log"))?;
        wait_for_server(self.consumer()?, SocketAddrV4::new(ENDPOINT, HTTP[0]))
            .with_context(|| haproxy.log())?;
        self.haproxy = Some(haproxy);
        Ok(())
    }
}

/// Waits until a client in the namespace can connect.
pub(crate) fn wait_for_server(client: &Namespace, address: SocketAddrV4) -> Result<()> {
    let connects = || TcpStream::connect_timeout(&address.into(), Duration::from_secs(1)).is_ok();
    wait_until(Duration::from_secs(10), &format!("{address} accepts connections"), || {
        client.enter(connects).unwrap_or(false)
    })
}
