//! A service for clients of both families with targets of both: the site of every test of a mix of the two.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::daemon::Daemon;
use crate::lab::{Lab, Links};
use crate::link::add_address;
use crate::namespace::Namespace;
use crate::tcp::Server;
use crate::topology::Topology;
use crate::udp::{UdpServer, udp_socket_of};

/// Its configuration.
const CONFIGURATION: &str = include_str!("families.toml");
/// Where the targets serve, and where their health is asked for.
const SERVING: u16 = 8080;
const HEALTH: u16 = 7;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    Four,
    Six,
}

/// Of a client and of its target.
pub const MIXES: [(Family, Family); 4] = [
    (Family::Four, Family::Four),
    (Family::Six, Family::Six),
    (Family::Four, Family::Six),
    (Family::Six, Family::Four),
];

impl Family {
    /// Bytes of its IP header.
    #[must_use]
    pub const fn header(self) -> u64 {
        match self {
            Self::Four => 20,
            Self::Six => 40,
        }
    }

    /// The address of the client.
    #[must_use]
    pub const fn client(self) -> IpAddr {
        self.pick(Ipv4Addr::new(10, 0, 2, 20), Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 2, 0x20))
    }

    /// The address and port of the endpoint for clients of this family, by which targets of that family are reached.
    #[must_use]
    pub const fn endpoint(self, of: Self) -> SocketAddr {
        let address =
            self.pick(Ipv4Addr::new(10, 0, 1, 10), Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 1, 0x10));
        SocketAddr::new(
            address,
            match of {
                Self::Four => 80,
                Self::Six => 81,
            },
        )
    }

    /// The load balancer's address, from which targets of this family are reached.
    #[must_use]
    pub const fn balancer(self) -> IpAddr {
        self.pick(Ipv4Addr::new(10, 0, 0, 10), Ipv6Addr::new(0xfd00, 0xa, 0, 0, 0, 0, 0, 0x10))
    }

    /// Where the target of this family serves.
    #[must_use]
    pub const fn target(self) -> SocketAddr {
        SocketAddr::new(self.target_address(), SERVING)
    }

    const fn target_address(self) -> IpAddr {
        self.pick(Ipv4Addr::new(10, 0, 1, 10), Ipv6Addr::new(0xfd00, 0xa, 0, 0, 0, 0, 1, 0x10))
    }

    const fn pick(self, four: Ipv4Addr, six: Ipv6Addr) -> IpAddr {
        match self {
            Self::Four => IpAddr::V4(four),
            Self::Six => IpAddr::V6(six),
        }
    }
}

/// A change by which only IPv4 targets are reached, so that the flows of IPv4 clients are those of the narrow table.
pub const FOUR_ONLY: (&str, &str) = (
    "\n[[load_balancer.listener]]\nprotocol = \"tcp_udp\"\nport = 81\ntarget_group = \"six\"\n",
    "\n",
);

/// What takes all of IPv6 out of the configuration.
pub const WITHOUT_SIX: [(&str, &str); 5] = [
    ("  { zone = \"us-east-1a\", address = \"fd00:a::10/64\" },\n", ""),
    ("  { zone = \"us-east-1a\", address = \"fd00:b::1:10\" },\n", ""),
    ("supported_ip_address_types = [\"ipv4\", \"ipv6\"]\n", ""),
    ("targets = [{ address = \"fd00:a::1:10\" }]\n", ""),
    FOUR_ONLY,
];

/// Changes by which the data path is attached at tc ingress, by XDP in the driver, and in the network stack.
pub const BY_TCX: (&str, &str) = ("interfaces = [{ ", "interfaces = [{ attach = \"tcx\", ");
/// See [`BY_TCX`].
pub const BY_XDP: (&str, &str) = ("interfaces = [{ ", "interfaces = [{ attach = \"xdp\", ");
/// See [`BY_TCX`].
pub const BY_GENERIC_XDP: (&str, &str) =
    ("interfaces = [{ ", "interfaces = [{ attach = \"xdp-generic\", ");

/// The consumer's IPv6 range where its addresses are long, and in it the endpoint and a client.
pub const LONG_NETWORK: &str = "fd00:1234:5678:9abc::/64";
/// As long as an address gets.
pub const LONG_ENDPOINT: Ipv6Addr =
    Ipv6Addr::new(0xfd00, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x1234, 0x5678, 0x1111);
/// As long as an address gets.
pub const LONG_CLIENT: Ipv6Addr =
    Ipv6Addr::new(0xfd00, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x1234, 0x5678, 0x9abc);

/// The networks of `examples/overlap.toml`, provider and first consumer with IPv6 beside their IPv4, and one service.
#[derive(Debug)]
pub struct DualStack {
    /// The gateway's daemon.
    pub daemon: Daemon,
    _health: [Server; 2],
    /// The networks.
    pub lab: Lab,
}

impl DualStack {
    /// Brings it up, its configuration with these replacements.
    ///
    /// # Errors
    /// As [`DualStack::lab`] and [`DualStack::start`].
    pub fn new(changes: &[(&str, &str)]) -> Result<Self> {
        Self::on(Links::ForXdp, changes)
    }

    /// Brings it up with links of this kind, its configuration with these replacements.
    ///
    /// # Errors
    /// As [`DualStack::new`].
    pub fn on(links: Links, changes: &[(&str, &str)]) -> Result<Self> {
        let lab = Self::lab_with(links)?;
        let targets = lab.network("provider")?;
        let health = Self::health(targets)?;
        Self::start(lab, health, changes)
    }

    /// Brings it up with IPv6 addresses of the consumer that are as long as any: [`LONG_ENDPOINT`], and [`LONG_CLIENT`].
    ///
    /// # Errors
    /// As [`DualStack::new`].
    pub fn with_long_addresses(changes: &[(&str, &str)]) -> Result<Self> {
        let endpoint = LONG_ENDPOINT.to_string();
        let longer = [("fd00:b::/64", LONG_NETWORK), ("fd00:b::1:10", &endpoint)];
        let site = Self::new(&[&longer, changes].concat())?;
        add_address(site.consumer(), "eth0", &format!("{LONG_CLIENT}/64"))?;
        Ok(site)
    }

    /// The networks, with nobody in them.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn lab() -> Result<Lab> {
        Self::lab_with(Links::ForXdp)
    }

    /// The same, with links of this kind.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn lab_with(links: Links) -> Result<Lab> {
        let mut topology = Topology::overlap().without_targets();
        for network in &mut topology.networks {
            let own = match &*network.name {
                "provider" => "fd00:a::1:10/64",
                "consumer-a" => "fd00:b::2:20/64",
                _ => continue,
            };
            network.addresses.push(own.to_owned());
        }
        Lab::with_links(&topology, links)
    }

    /// What health checks connect to, in the namespace that has the targets' addresses.
    ///
    /// # Errors
    /// When it has not.
    pub fn health(targets: &Namespace) -> Result<[Server; 2]> {
        let answer = |family: Family| {
            let address = SocketAddr::new(family.target_address(), HEALTH);
            Server::start(targets, address, |_, _| Ok(()))
        };
        Ok([answer(Family::Four)?, answer(Family::Six)?])
    }

    /// Starts the daemon in the networks, its configuration with these replacements.
    ///
    /// # Errors
    /// When one of them replaces nothing, and as [`Daemon::start`].
    pub fn start(lab: Lab, health: [Server; 2], changes: &[(&str, &str)]) -> Result<Self> {
        let config = Self::configure(&lab, changes)?;
        let daemon = Daemon::start(&lab, &config, &[])?;
        Ok(Self { daemon, _health: health, lab })
    }

    /// Has the daemon read its configuration with these replacements.
    ///
    /// # Errors
    /// When one of them replaces nothing, or it refuses.
    pub fn reload(&self, changes: &[(&str, &str)]) -> Result<()> {
        Self::configure(&self.lab, changes)?;
        self.daemon.cli(&["reload", "-o", "json"])?;
        Ok(())
    }

    fn configure(lab: &Lab, changes: &[(&str, &str)]) -> Result<PathBuf> {
        let mut text = CONFIGURATION.to_owned();
        for (from, to) in changes {
            ensure!(text.contains(from), "the configuration has no {from:?}");
            text = text.replace(from, to);
        }
        let config = lab.folder().join("families.toml");
        fs::write(&config, text)?;
        Ok(config)
    }

    /// For what reasons packets were dropped, but for those that a veth's queue had no room for: who sent them does so again.
    ///
    /// # Errors
    /// When the daemon does not tell.
    pub fn dropped(&self) -> Result<Vec<String>> {
        let rows = self.daemon.cli(&["drops", "-o", "json"])?;
        let rows = rows.as_array().context("the drops are no array")?;
        let reasons = rows.iter().filter_map(|row| row["reason"].as_str());
        Ok(reasons.filter(|reason| *reason != "RedirectFailed").map(str::to_owned).collect())
    }

    /// What sends datagrams back, where the targets of both families serve.
    ///
    /// # Errors
    /// As [`UdpServer::start`].
    pub fn echoes(&self) -> Result<[UdpServer; 2]> {
        let echo = |family: Family| UdpServer::echo(self.provider(), family.target());
        Ok([echo(Family::Four)?, echo(Family::Six)?])
    }

    /// Has the target behind a port of the endpoint send back so many datagrams of as many bytes, all of one flow. Returns the
    /// client's address.
    ///
    /// # Errors
    /// When one does not come back.
    pub fn echoed(&self, endpoint: SocketAddr, count: u64, length: usize) -> Result<SocketAddr> {
        let family = if endpoint.is_ipv4() { Family::Four } else { Family::Six };
        let socket = udp_socket_of(self.consumer(), family)?;
        self.consumer().enter(|| socket.connect(endpoint))??;
        let (sent, mut got) = (vec![b'x'; length], vec![0; length + 1]);
        for _ in 0..count {
            socket.send(&sent)?;
            let received = socket.recv(&mut got)?;
            ensure!(got[..received] == sent, "{received} bytes came back");
        }
        Ok(socket.local_addr()?)
    }

    /// Has client and target send no IP packet longer than so many bytes, e.g. so that fragments are short enough in the other
    /// family too.
    ///
    /// # Errors
    /// When routes cannot be read or changed.
    pub fn send_no_longer(&self, bytes: &str) -> Result<()> {
        for namespace in [self.consumer(), self.provider()] {
            for (family, network) in
                [("-4", "10.0.0.0/16"), ("-6", "fd00:a::/64"), ("-6", "fd00:b::/64")]
            {
                let route = namespace.run(&["ip", family, "route", "show", network])?;
                if route.trim().is_empty() {
                    continue;
                }
                let words = ["ip", family, "route", "change"].into_iter();
                let words = words.chain(route.split_whitespace()).chain(["mtu", bytes]);
                namespace.run(&words.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Where the clients are.
    ///
    /// # Panics
    /// Never: the lab has it.
    #[must_use]
    pub fn consumer(&self) -> &Namespace {
        self.lab.network("consumer-a").expect("the lab has it")
    }

    /// Where the targets are.
    ///
    /// # Panics
    /// Never: the lab has it.
    #[must_use]
    pub fn provider(&self) -> &Namespace {
        self.lab.network("provider").expect("the lab has it")
    }
}
