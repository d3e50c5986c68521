//! The names that go with the addresses and numbers of flows.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use privatelink_common::flow_table::PacketKey;
use ring::digest::{SHA256, digest};

use crate::model::Ports;
use crate::snapshot::Snapshot;

/// An address of an endpoint or load balancer, as flow logs call it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `eni-…`.
    pub id: String,
    /// Account of its vpc's owner.
    pub account: String,
    /// Id of its vpc.
    pub vpc: String,
    /// Zone of the address.
    pub zone: String,
    /// Id of the endpoint, if it is one's.
    pub endpoint: Option<String>,
    /// Id of the endpoint's service.
    pub service: Option<String>,
    /// Name of the load balancer, if it is one's.
    pub load_balancer: Option<String>,
    number: u32,
    ports: Vec<Ports>,
}

/// The names of a model.
#[derive(Debug, Default)]
pub struct Names {
    /// Region of the configuration.
    pub region: String,
    interfaces: HashMap<(u16, IpAddr), Vec<Interface>>,
    target_groups: HashMap<u32, String>,
}

impl Names {
    /// Those of a model.
    pub fn of(snapshot: &Snapshot) -> Self {
        let (model, numbering) = (&snapshot.model, &snapshot.numbering);
        let mut interfaces: HashMap<_, Vec<Interface>> = HashMap::new();
        for (endpoint, &number) in model.endpoints.iter().zip(&numbering.endpoints) {
            let (vpc, service) = (&model.vpcs[endpoint.vpc], &model.services[endpoint.service]);
            let balancers = service.load_balancers.iter().map(|&at| &model.load_balancers[at]);
            let ports = balancers.flat_map(|of| of.listeners.iter().map(|of| of.ports));
            let ports: Vec<Ports> = ports.collect();
            for address in &endpoint.addresses {
                let interface = Interface {
                    id: interface_id(&endpoint.id, &address.zone),
                    account: vpc.account.clone(),
                    vpc: vpc.id.clone(),
                    zone: address.zone.clone(),
                    endpoint: Some(endpoint.id.clone()),
                    service: Some(service.id.clone()),
                    number,
                    ports: ports.clone(),
                    ..Interface::default()
                };
                let key = (numbering.vpcs[endpoint.vpc], address.address);
                interfaces.entry(key).or_default().push(interface);
            }
        }
        for balancer in &model.load_balancers {
            let vpc = &model.vpcs[balancer.vpc];
            for address in &balancer.addresses {
                let interface = Interface {
                    id: interface_id(&balancer.name, &address.address.addr().to_string()),
                    account: vpc.account.clone(),
                    vpc: vpc.id.clone(),
                    zone: address.zone.clone(),
                    load_balancer: Some(balancer.name.clone()),
                    ..Interface::default()
                };
                let key = (numbering.vpcs[balancer.vpc], address.address.addr());
                interfaces.entry(key).or_default().push(interface);
            }
        }
        let target_groups = numbering
            .targets(model)
            .map(|(number, group, _)| (number, model.target_groups[group].name.clone()));
        Self { region: model.region.clone(), target_groups: target_groups.collect(), interfaces }
    }

    /// The interface of an endpoint by its number that a client's packets go to.
    pub fn of_endpoint(&self, key: &PacketKey, endpoint: u32) -> Option<&Interface> {
        self.at(key).iter().find(|of| of.endpoint.is_some() && of.number == endpoint)
    }

    /// The interface that a packet went to, which no flow tells: of endpoints that share the address, the one that
    /// publishes the port.
    pub fn of_packet(&self, key: &PacketKey) -> Option<&Interface> {
        let (all, port) = (self.at(key), key.destination_port);
        let publishes = |of: &&Interface| of.ports.iter().any(|ports| ports.contains(port));
        all.iter().find(publishes).or(all.first())
    }

    /// Name of the load balancer whose address the target's packets go to.
    pub fn load_balancer(&self, reverse: &PacketKey) -> Option<&str> {
        self.at(reverse).iter().find_map(|of| of.load_balancer.as_deref())
    }

    /// Name of the group of the target with this number.
    pub fn target_group(&self, number: u32) -> Option<&str> {
        self.target_groups.get(&number).map(String::as_str)
    }

    fn at(&self, key: &PacketKey) -> &[Interface] {
        self.interfaces.get(&(key.vpc, key.destination)).map_or(&[], Vec::as_slice)
    }
}

/// The id of an interface: the same for the same owner and place, on any gateway.
fn interface_id(owner: &str, place: &str) -> String {
    let digest = digest(&SHA256, format!("{owner}/{place}").as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("eni-{}", &hex[..17])
}

/// Sender and receiver of packets with this key.
pub(super) const fn ends(key: &PacketKey) -> [SocketAddr; 2] {
    [key.sender(), key.receiver()]
}
