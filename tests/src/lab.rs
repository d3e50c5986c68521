//! A whole lab: gateway, networks and targets, up and down as one.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use tempfile::TempDir;

use crate::http::HttpTarget;
use crate::kept;
use crate::link::{add_address, prepare_for_xdp, veth};
use crate::namespace::Namespace;
use crate::topology::{Network, TargetHost, Topology, attached, example};

/// A gateway namespace, a namespace for every network around it, and the HTTP targets; dropping it removes them all.
///
/// Frames cross it as they would cross a real gateway: no forwarding is enabled anywhere, and without the daemon no
/// network reaches another one.
#[derive(Debug)]
pub struct Lab {
    targets: Vec<HttpTarget>,
    networks: Vec<(Network, Namespace)>,
    gateway: Namespace,
    links: Links,
    place: Place,
}

/// How the links of a lab are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// As the kernel makes them, with all offloads.
    Plain,
    /// So that XDP works on them: see [`prepare_for_xdp`].
    ForXdp,
}

/// Where the lab keeps its files, which also decides its namespaces' names.
#[derive(Debug)]
enum Place {
    /// A lab of a test: random names.
    Temporary(TempDir),
    /// The one lab of this host that `cargo xtask` brings up: fixed names, processes noted in files.
    Fixed(kept::Folder),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Fixed(folder) => folder.path(),
        }
    }

    fn namespace(&self, name: &str) -> Result<Namespace> {
        match self {
            Self::Temporary(_) => Namespace::new(name),
            Self::Fixed(_) => Namespace::named(&format!("pl-{name}")),
        }
    }
}

impl Lab {
    /// Brings up a lab of its own, its links for XDP: any number of them can be up at the same time.
    ///
    /// # Errors
    /// When a tool is missing or the topology contradicts itself; what was up already is removed then.
    pub fn new(topology: &Topology) -> Result<Self> {
        Self::with_links(topology, Links::ForXdp)
    }

    /// As [`Lab::new`], with links of this kind.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn with_links(topology: &Topology, links: Links) -> Result<Self> {
        let folder = TempDir::new().context("cannot create a temporary folder")?;
        Self::up(topology, links, Place::Temporary(folder))
    }

    /// Brings up [`Topology::dual_stack`], in which both examples run, with the fixed names `pl-gateway`, `pl-provider`, `pl-consumer-a` and `pl-consumer-b`.
    ///
    /// # Errors
    /// When it is up already, and as [`Lab::new`].
    pub fn fixed(links: Links) -> Result<Self> {
        Self::up(&Topology::dual_stack(), links, Place::Fixed(kept::Folder::create()?))
    }

    fn up(topology: &Topology, links: Links, place: Place) -> Result<Self> {
        let gateway = place.namespace("gateway")?;
        let mut lab = Self { targets: Vec::new(), networks: Vec::new(), gateway, links, place };
        // The gateway must be silent by itself; before its interfaces exist, so that none ever speaks.
        for key in ["all", "default"] {
            lab.gateway.sysctl(&format!("ipv6/conf/{key}/disable_ipv6"), "1")?;
        }
        // Its own addresses are the business of the networks they belong to (see OPERATIONS.md).
        for key in ["arp_ignore", "rp_filter"] {
            lab.gateway.sysctl(&format!("ipv4/conf/all/{key}"), "1")?;
        }
        // A new namespace has the host's setting, and a host with containers forwards.
        lab.gateway.sysctl("ipv4/ip_forward", "0")?;
        for network in &topology.networks {
            lab.add_network(network.clone())?;
        }
        for target in &topology.targets {
            lab.add_target(target)?;
        }
        Ok(lab)
    }

    /// Adds a network to the running lab.
    ///
    /// # Errors
    /// When the interface exists already or an address is malformed.
    pub fn add_network(&mut self, network: Network) -> Result<()> {
        let namespace = self.place.namespace(&network.name)?;
        veth(&self.gateway, &network.interface, &namespace, "eth0")?;
        if self.links == Links::ForXdp {
            prepare_for_xdp(&self.gateway, &network.interface, false)?;
            prepare_for_xdp(&namespace, "eth0", true)?;
        }
        if let Some(address) = &network.gateway_address {
            add_address(&self.gateway, &network.interface, address)?;
        }
        if network.addresses.iter().any(|address| address.contains(':')) {
            self.enable_ipv6(&network, &namespace)?;
        }
        for address in &network.addresses {
            add_address(&namespace, "eth0", address)?;
        }
        self.networks.push((network, namespace));
        Ok(())
    }

    fn enable_ipv6(&self, network: &Network, namespace: &Namespace) -> Result<()> {
        namespace.sysctl("ipv6/conf/eth0/disable_ipv6", "0")?;
        if network.gateway_address.is_some() {
            // To ask for the targets' MAC addresses.
            let key = format!("ipv6/conf/{}/disable_ipv6", network.interface);
            self.gateway.sysctl(&key, "0")?;
        }
        Ok(())
    }

    /// Starts an HTTP target in one of the networks.
    ///
    /// # Errors
    /// When the network does not exist or the server does not start.
    pub fn add_target(&mut self, target: &TargetHost) -> Result<()> {
        let folder = self.place.path().join(&target.name);
        let mut server = HttpTarget::start(
            self.network(&target.network)?,
            target.address,
            &target.name,
            &folder,
        )?;
        if let Place::Fixed(records) = &self.place {
            server.process_mut().record(records.path())?;
        }
        self.targets.push(server);
        Ok(())
    }

    /// Ends the target called `name`, as if its server had died; its address goes on answering, with resets.
    ///
    /// # Errors
    /// When there is none, or it does not end.
    pub fn stop_target(&mut self, name: &str) -> Result<()> {
        let position = self.targets.iter().position(|target| target.name() == name);
        self.targets
            .remove(position.with_context(|| format!("the lab has no target {name}"))?)
            .stop()
    }

    /// The running targets.
    #[must_use]
    pub fn targets(&self) -> &[HttpTarget] {
        &self.targets
    }

    /// The namespace where the daemon runs.
    #[must_use]
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// The namespace of the network called `name`, e.g. "consumer-a".
    ///
    /// # Errors
    /// When the lab has none.
    pub fn network(&self, name: &str) -> Result<&Namespace> {
        let found = self.networks.iter().find(|(network, _)| network.name == name);
        found
            .map(|(_, namespace)| namespace)
            .with_context(|| format!("the lab has no network {name}"))
    }

    /// Makes a network's host send to `address` by the gateway from now on, whatever ARP says, and not ask again.
    ///
    /// # Errors
    /// When the network does not exist or `ip` refuses.
    pub fn send_by_gateway(&self, network: &str, address: Ipv4Addr) -> Result<()> {
        let found = self.networks.iter().find(|(known, _)| known.name == network);
        let (network, namespace) =
            found.with_context(|| format!("the lab has no network {network}"))?;
        let link = self.gateway.run(&["ip", "-j", "link", "show", &network.interface])?;
        let link: serde_json::Value = serde_json::from_str(&link).context("ip prints no JSON")?;
        let mac = link[0]["address"].as_str().context("ip prints no address")?;
        let address = address.to_string();
        let words = ["ip", "neigh", "replace", &address, "lladdr", mac, "dev", "eth0"];
        namespace.run(&words).map(drop)
    }

    /// The ids of the programs on the gateway's interfaces, by interface: of XDP, or else of the first at tc ingress.
    ///
    /// # Errors
    /// When `ip` fails or prints something else than JSON.
    pub fn programs(&self) -> Result<BTreeMap<String, u64>> {
        let links = self.gateway.run(&["ip", "-j", "link"])?;
        let links: Vec<serde_json::Value> =
            serde_json::from_str(&links).context("ip prints no JSON")?;
        let program = |link: &serde_json::Value| {
            let name = link["ifname"].as_str()?;
            let id = link["xdp"]["prog"]["id"].as_u64().or_else(|| classifier(name))?;
            Some((name.to_owned(), id))
        };
        self.gateway.enter(|| links.iter().filter_map(program).collect())
    }

    /// A copy of an example in the lab's folder, with every interface attached as `attach` says.
    ///
    /// # Errors
    /// When the example cannot be read or the copy not be written.
    pub fn example_attached(&self, name: &str, attach: &str) -> Result<PathBuf> {
        let from = example(name);
        let text =
            fs::read_to_string(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let to = self.folder().join(format!("{attach}-{name}"));
        fs::write(&to, attached(&text, attach))
            .with_context(|| format!("cannot write {}", to.display()))?;
        Ok(to)
    }

    /// All networks with their namespaces.
    pub fn networks(&self) -> impl Iterator<Item = (&Network, &Namespace)> {
        self.networks.iter().map(|(network, namespace)| (network, namespace))
    }

    /// The folder with the lab's files, which goes with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.place.path()
    }

    /// Whether this is the lab with fixed names.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.place, Place::Fixed(_))
    }

    /// Leaves a lab with fixed names up, to be taken down by [`down`](crate::down) later.
    pub fn keep(mut self) {
        if let Place::Fixed(folder) = &mut self.place {
            folder.keep();
            self.targets.iter_mut().for_each(|target| target.process_mut().keep());
            self.networks.iter_mut().for_each(|(_, namespace)| namespace.keep());
            self.gateway.keep();
        }
    }
}

/// The id of the first program at an interface's tc ingress.
fn classifier(interface: &str) -> Option<u64> {
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress).ok()?;
    programs.first().map(|program| program.id().into())
}

impl Drop for Lab {
    fn drop(&mut self) {
        // In the reverse order of `up`; the gateway and the folder follow as fields.
        while self.targets.pop().is_some() {}
        while self.networks.pop().is_some() {}
    }
}
