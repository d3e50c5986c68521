//! The addresses of endpoints and load balancers: whose each is, and to which flows of the wide table may come.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use privatelink_common::records::{Address, AddressKey};
use privatelink_common::wide::WideAddressKey;

use super::zones::{Part, faces};
use super::{Contents, ipv4_address, ipv4_word, network_order};
use crate::model::{self, Endpoint, Family, Model};
use crate::numbers::Numbering;

/// An address in the vpc with a number.
pub type VpcAddress = (u16, IpAddr);

/// What `ADDRESSES` and `WIDE_ADDRESSES` hold.
#[derive(Default)]
pub(super) struct Addresses {
    pub(super) narrow: HashMap<AddressKey, Address>,
    pub(super) wide: HashMap<WideAddressKey, Address>,
}

impl Addresses {
    /// Those of a model; `marked` says which IPv4 addresses are marked [`Address::WIDE`] already.
    pub(super) fn new(
        model: &Model,
        numbering: &Numbering,
        marked: &dyn Fn(AddressKey) -> bool,
    ) -> Self {
        let marks = Marks::new(model, numbering, marked);
        let mut addresses = Self::default();
        let balancers = faces(model).into_iter().zip(&numbering.faces);
        for (face, &index) in balancers.filter(|(face, _)| face.part == Part::All) {
            let balancer = &model.load_balancers[face.load_balancer];
            let vpc = numbering.vpcs[balancer.vpc];
            // Also those that are draining: answers arrive there.
            for address in &balancer.addresses {
                let place = (vpc, address.address.addr());
                let is_marked = marks.balancers.contains(&face.load_balancer);
                addresses.add(
                    place,
                    (Address::LOAD_BALANCER, index),
                    is_marked || is(marked, place),
                );
            }
        }
        for (place, index) in endpoint_addresses(model, numbering) {
            addresses.add(place, (Address::ENDPOINT, index), marks.endpoints.contains(&place));
        }
        addresses
    }

    fn add(&mut self, (vpc, address): VpcAddress, (kind, index): (u16, u32), is_marked: bool) {
        match address {
            IpAddr::V4(address) => {
                let flags = if is_marked { Address::WIDE } else { 0 };
                let key = AddressKey::new(vpc, network_order(address));
                self.narrow.insert(key, Address { kind, flags, index });
            }
            IpAddr::V6(_) => {
                let key = WideAddressKey::new(vpc, address.into());
                self.wide.insert(key, Address { kind, flags: 0, index });
            }
        }
    }
}

fn is(marked: &dyn Fn(AddressKey) -> bool, (vpc, address): VpcAddress) -> bool {
    ipv4_word(address).is_some_and(|word| marked(AddressKey::new(vpc, word)))
}

/// To which addresses flows of the wide table come. One that is marked stays so for as long as it is there: flows that were
/// opened meanwhile are in the wide table.
struct Marks {
    /// Endpoint addresses whose flows are opened there: those of services that lead to IPv6 targets.
    endpoints: HashSet<VpcAddress>,
    /// Indexes of the load balancers that answers of such flows come to.
    balancers: HashSet<usize>,
}

impl Marks {
    fn new(model: &Model, numbering: &Numbering, marked: &dyn Fn(AddressKey) -> bool) -> Self {
        let is_ipv6 = |group: usize| model.target_groups[group].family == Family::Ipv6;
        let leads_to_ipv6 = |endpoint: &Endpoint| {
            let balancers = model.services[endpoint.service].load_balancers.iter();
            let mut listeners = balancers.flat_map(|&index| &model.load_balancers[index].listeners);
            listeners.any(|listener| is_ipv6(listener.target_group))
        };
        let places = |endpoint: &Endpoint| -> Vec<VpcAddress> {
            let vpc = numbering.vpcs[endpoint.vpc];
            endpoint.addresses.iter().map(|of| (vpc, of.address)).collect()
        };
        let mut endpoints = HashSet::new();
        for endpoint in &model.endpoints {
            let to_ipv6 = leads_to_ipv6(endpoint);
            endpoints.extend(places(endpoint).into_iter().filter(|&at| to_ipv6 || is(marked, at)));
        }
        // Where an address is shared, also the flows of an endpoint that leads to no IPv6 target.
        let is_wide = |place: &VpcAddress| place.1.is_ipv6() || endpoints.contains(place);
        let wide = model.endpoints.iter().filter(|endpoint| places(endpoint).iter().any(is_wide));
        let balancers =
            wide.flat_map(|of| model.services[of.service].load_balancers.iter().copied());
        Self { balancers: balancers.collect(), endpoints }
    }
}

/// The endpoint addresses with what they are; where several endpoints share one, the first that answers echo requests,
/// or else the first.
fn endpoint_addresses(model: &Model, numbering: &Numbering) -> HashMap<VpcAddress, u32> {
    let mut first: HashMap<VpcAddress, u32> = HashMap::new();
    for answers in [true, false] {
        let endpoints = model.endpoints.iter().zip(&numbering.endpoints);
        for (endpoint, &index) in endpoints.filter(|(endpoint, _)| endpoint.icmp_echo == answers) {
            let vpc = numbering.vpcs[endpoint.vpc];
            for address in &endpoint.addresses {
                first.entry((vpc, address.address)).or_insert(index);
            }
        }
    }
    first
}

impl Contents {
    /// The addresses of either family, and what they are.
    pub fn all_addresses(&self) -> impl Iterator<Item = (VpcAddress, &Address)> {
        let narrow = self
            .addresses
            .iter()
            .map(|(key, of)| ((key.vpc, IpAddr::V4(ipv4_address(key.address))), of));
        let wide = self.wide_addresses.iter().map(|(key, of)| ((key.vpc, key.address.into()), of));
        narrow.chain(wide)
    }

    /// Whether flows of the wide table may come to any address.
    pub fn is_wide(&self) -> bool {
        are_wide(&self.addresses, &self.wide_addresses)
    }

    /// Whether an IPv4 address is marked [`Address::WIDE`].
    pub fn is_marked(&self, key: AddressKey) -> bool {
        self.addresses.get(&key).is_some_and(|of| of.flags & Address::WIDE != 0)
    }
}

/// Whether flows of the wide table may come to any of these.
pub(super) fn are_wide(
    narrow: &HashMap<AddressKey, Address>,
    wide: &HashMap<WideAddressKey, Address>,
) -> bool {
    !wide.is_empty() || narrow.values().any(|of| of.flags & Address::WIDE != 0)
}

/// An address of an endpoint, by which its flows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountedAddress {
    /// The address.
    pub address: IpAddr,
    /// Number of its vpc.
    pub vpc: u16,
    /// Number of the endpoint.
    pub endpoint: u16,
}

/// The addresses of all endpoints, each with its endpoint: what is counted by.
pub fn counted_addresses<'m>(
    model: &'m Model,
    numbering: &'m Numbering,
) -> impl Iterator<Item = (CountedAddress, &'m Endpoint, &'m model::EndpointAddress)> {
    let endpoints = model.endpoints.iter().zip(&numbering.endpoints);
    endpoints.flat_map(move |(endpoint, &number)| {
        endpoint.addresses.iter().map(move |at| {
            let vpc = numbering.vpcs[endpoint.vpc];
            // Fits: there are MAX_ENDPOINTS.
            let key = CountedAddress { address: at.address, vpc, endpoint: number as u16 };
            (key, endpoint, at)
        })
    })
}
