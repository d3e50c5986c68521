//! What a lab looks like: networks around a gateway, and the targets in them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A gateway with several networks around it, each in a namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The networks, in the order in which they are created.
    pub networks: Vec<Network>,
    /// HTTP servers in the networks.
    pub targets: Vec<TargetHost>,
}

/// One network: a namespace joined to the gateway by a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// How the tests call it, e.g. "consumer-a". Its namespace is `pl-<name>`, with a random suffix in tests.
    pub name: String,
    /// The gateway's interface towards it, as the daemon's configuration names it; the other end is always `eth0`.
    pub interface: String,
    /// The gateway's own kernel address on that interface, where it has one.
    pub gateway_address: Option<String>,
    /// The network's addresses with their prefix lengths, all on `eth0`; the first is the one it sends from.
    pub addresses: Vec<String>,
}

/// An HTTP server that answers with its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHost {
    /// The network that it runs in.
    pub network: String,
    /// What it calls itself.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The path of one of the repository's examples, e.g. "overlap.toml".
#[must_use]
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// A configuration like the examples, with every interface attached as `attach` says, e.g. "xdp".
#[must_use]
pub fn attached(configuration: &str, attach: &str) -> String {
    let written = "interfaces = [{ ";
    configuration.replace(written, &format!("{written}attach = \"{attach}\", "))
}

impl Topology {
    /// The networks and targets of `examples/overlap.toml`: a provider and two consumers, all of them 10.0.0.0/16.
    ///
    /// Both consumers' clients have the address 10.0.2.20, and a host of the provider has it as well. The endpoints'
    /// address 10.0.1.10 is also a target's. Towards the consumers the gateway has no address at all.
    #[must_use]
    pub fn overlap() -> Self {
        let network = |name: &str, gateway_address: Option<&str>, addresses: &[&str]| Network {
            name: name.to_owned(),
            interface: format!("pl-{name}"),
            gateway_address: gateway_address.map(str::to_owned),
            addresses: addresses.iter().copied().map(str::to_owned).collect(),
        };
        let target = |name: &str, address: [u8; 4], port: u16| TargetHost {
            network: "provider".to_owned(),
            name: name.to_owned(),
            address: SocketAddr::from((address, port)),
        };
        Self {
            networks: vec![
                network(
                    "provider",
                    Some("10.0.0.1/16"),
                    &["10.0.1.10/16", "10.0.1.11/16", "10.0.2.20/16"],
                ),
                network("consumer-a", None, &["10.0.2.20/16"]),
                network("consumer-b", None, &["10.0.2.20/16"]),
            ],
            targets: vec![
                target("web-1", [10, 0, 1, 10], 8080),
                target("web-2", [10, 0, 1, 11], 8081),
            ],
        }
    }

    /// The networks and targets of `examples/dual-stack.toml`: those of `examples/overlap.toml`, all of them fd00::/64 besides.
    ///
    /// What is said there of addresses goes for both families: the clients are fd00::2:20, and so is a host of the provider; the
    /// endpoints' address fd00::1:10 is also a target's.
    #[must_use]
    pub fn dual_stack() -> Self {
        let mut topology = Self::overlap();
        for network in &mut topology.networks {
            let own: &[&str] = match &*network.name {
                "provider" => &["fd00::1:10/64", "fd00::1:11/64", "fd00::2:20/64"],
                _ => &["fd00::2:20/64"],
            };
            network.addresses.extend(own.iter().copied().map(str::to_owned));
        }
        let target = |name: &str, last: u16, port: u16| TargetHost {
            network: "provider".to_owned(),
            name: name.to_owned(),
            address: SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 1, last], port)),
        };
        topology.targets.extend([target("web-3", 0x10, 8080), target("web-4", 0x11, 8081)]);
        topology
    }

    /// The same networks without the HTTP servers, for tests that bring their own.
    #[must_use]
    pub fn without_targets(self) -> Self {
        Self { targets: Vec::new(), ..self }
    }
}
