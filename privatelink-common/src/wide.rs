//! Records of the wide table, which holds the flows that have IPv6 on either side, and of the maps that go with it.
//!
//! An address is wide: IPv6, or IPv4 mapped into it. In the keys of the wide flow table each stands for 32 bits of a hash,
//! its *name*, so that a key there has the shape of every other; the addresses themselves are the [`Ends`] beside a half, and
//! a packet is a flow's only where they are its own.

use core::net::{IpAddr, Ipv6Addr};

use crate::flow_table::FlowMemory;
use crate::flow_table::half::FlowHalf;
use crate::hash::Seeds;
use crate::ip::Family;
use crate::limits::{MAX_LB_ADDRESSES, MAX_RULES};
use crate::memory::Shared;
use crate::records::{LoadBalancer, Rule};

/// Bit of a flow's number outside its table: the flow is in the wide table. So one number names a flow of either.
pub const WIDE: u32 = 1 << 31;

/// An IPv6 address, or an IPv4 address mapped into it (RFC 4291, section 2.5.5.2), as it stands in a header: two words in
/// network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WideAddress(pub [u64; 2]);

/// Bytes 8 to 11 of a mapped address, where bytes 0 to 7 are zeros.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

impl WideAddress {
    /// The mapped address of an IPv4 address (network order).
    #[inline(always)]
    pub const fn of_ipv4(address: u32) -> Self {
        Self([0, MAPPED as u64 | (address as u64) << 32])
    }

    /// From its sixteen bytes in transmission order.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let [first, second] = [bytes.first_chunk::<8>(), bytes.last_chunk::<8>()];
        match (first, second) {
            (Some(first), Some(second)) => {
                Self([u64::from_ne_bytes(*first), u64::from_ne_bytes(*second)])
            }
            _ => Self([0; 2]),
        }
    }

    /// Its sixteen bytes in transmission order.
    pub fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (to, byte) in bytes.iter_mut().zip(self.0.iter().flat_map(|word| word.to_ne_bytes())) {
            *to = byte;
        }
        bytes
    }

    /// The IPv4 address (network order) that is mapped, if one is.
    #[inline(always)]
    pub const fn ipv4(self) -> Option<u32> {
        // One comparison, since the verifier follows both sides of each.
        let [first, second] = self.0;
        if first | (second as u32 ^ MAPPED) as u64 == 0 { Some(self.last()) } else { None }
    }

    /// Its last four bytes (network order): the IPv4 address, if one is mapped.
    #[inline(always)]
    pub const fn last(self) -> u32 {
        (self.0[1] >> 32) as u32
    }

    /// Whether it is an IPv4 address mapped.
    #[inline(always)]
    pub const fn is_ipv4(self) -> bool {
        self.ipv4().is_some()
    }

    /// What it is called in keys of the wide flow table: an IPv4 address by itself, an IPv6 address by a hash.
    #[inline(always)]
    pub const fn name(self, seeds: &Seeds) -> u32 {
        if self.is_ipv4() { self.last() } else { self.hashed(seeds) }
    }

    /// As [`Self::name`], of what is known to be an IPv6 address.
    #[inline(always)]
    pub const fn hashed(self, seeds: &Seeds) -> u32 {
        let [first, second] = self.0;
        seeds.name(first, second)
    }
}

impl From<IpAddr> for WideAddress {
    fn from(address: IpAddr) -> Self {
        let wide = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Self::from_bytes(wide.octets())
    }
}

impl From<WideAddress> for IpAddr {
    fn from(address: WideAddress) -> Self {
        Self::V6(Ipv6Addr::from(address.bytes())).to_canonical()
    }
}

/// Key of an IPv6 address of an endpoint or load balancer, map `WIDE_ADDRESSES`; its value is an
/// [`Address`](crate::records::Address).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WideAddressKey {
    /// The address; never one mapped.
    pub address: WideAddress,
    /// Number of the vpc.
    pub vpc: u16,
    padding: [u16; 3],
}

impl WideAddressKey {
    /// The key of `address` in `vpc`.
    #[inline(always)]
    pub const fn new(vpc: u16, address: WideAddress) -> Self {
        Self { address, vpc, padding: [0; 3] }
    }
}

/// Key of published ports of an IPv6 endpoint address, trie `WIDE_LISTENERS`; otherwise as
/// [`ListenerKey`](crate::records::ListenerKey), and with the same values.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WideListenerKey {
    /// How many bits of the rest count.
    pub bits: u32,
    /// Address; vpc and protocol, a word of zeros, port: as in [`ListenerKey`](crate::records::ListenerKey).
    pub of: [u32; 7],
}

impl WideListenerKey {
    const ALL_BITS: u32 = u32::BITS * 7;

    /// The key of one port (network order) of `address` in `vpc`.
    #[inline(always)]
    pub const fn new(vpc: u16, address: WideAddress, protocol: u8, port: u16) -> Self {
        let [first, second] = address.0;
        let place = vpc as u32 | (protocol as u32) << 16;
        let port = (u16::from_be(port) as u32).to_be();
        let [a, b] = [first as u32, (first >> 32) as u32];
        let [c, d] = [second as u32, (second >> 32) as u32];
        Self { bits: Self::ALL_BITS, of: [a, b, c, d, place, 0, port] }
    }

    /// The key of the block of 2^`bits` ports that the port is in; with 16 bits, that of all ports.
    pub const fn block(self, bits: u32) -> Self {
        let [a, b, c, d, place, zero, port] = self.of;
        let first = u32::from_be(port) >> bits << bits;
        Self { bits: Self::ALL_BITS - bits, of: [a, b, c, d, place, zero, first.to_be()] }
    }
}

/// Rules of an endpoint for IPv6 clients, array `WIDE_RULES`; those for IPv4 clients are the
/// [`Endpoint`](crate::records::Endpoint)'s own.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideRules {
    /// How many of `rules` are in force.
    pub count: u32,
    /// Explicit padding.
    pub padding: u32,
    /// What may open flows.
    pub rules: [WideRule; MAX_RULES],
}

impl Default for WideRules {
    fn default() -> Self {
        Self { count: 0, padding: 0, rules: [WideRule::default(); MAX_RULES] }
    }
}

/// One ingress rule for IPv6 clients.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WideRule {
    /// Client network, host bits zero.
    pub network: WideAddress,
    /// First port, host order.
    pub from_port: u16,
    /// Last port, host order.
    pub to_port: u16,
    /// IP protocol number, or [`Rule::ANY_PROTOCOL`].
    pub protocol: u16,
    /// Length of the network's prefix, bits.
    pub prefix: u16,
}

impl WideRules {
    /// Whether any rule allows a flow from `client` to `port` (network order).
    #[inline(always)]
    pub fn allows(&self, protocol: u8, client: WideAddress, port: u16) -> bool {
        let port = u16::from_be(port);
        self.rules.iter().zip(0..self.count).any(|(rule, _)| {
            rule.has(client)
                && (rule.protocol == Rule::ANY_PROTOCOL || rule.protocol == u16::from(protocol))
                && port >= rule.from_port
                && port <= rule.to_port
        })
    }
}

impl WideRule {
    #[inline(always)]
    fn has(&self, client: WideAddress) -> bool {
        let prefix = u32::from(self.prefix);
        let ([a, b], [c, d]) = (client.0, self.network.0);
        let differs = |one: u64, other: u64, bits: u32| {
            (u64::from_be(one) ^ u64::from_be(other)) & !(u64::MAX.checked_shr(bits).unwrap_or(0))
                != 0
        };
        !differs(a, c, prefix.min(64)) && !differs(b, d, prefix.saturating_sub(64))
    }
}

/// Addresses of one family of a load balancer, or of it in one zone, array `WIDE_BALANCERS`: those that flows of the wide table
/// to targets of that family lease ports of. Twice the load balancer's number is the element of its IPv4 addresses, and the
/// next one that of its IPv6 addresses.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WideLoadBalancer {
    /// How many there are, and their names.
    pub names: LoadBalancer,
    /// NAT source addresses, as many.
    pub addresses: [WideAddress; MAX_LB_ADDRESSES],
}

impl WideLoadBalancer {
    /// The addresses, 8 at most, named by these seeds.
    pub fn new(addresses: &[WideAddress], seeds: &Seeds) -> Self {
        let mut balancer = Self::default();
        for (at, &address) in addresses.iter().take(MAX_LB_ADDRESSES).enumerate() {
            balancer.addresses[at] = address;
            balancer.names.addresses[at] = address.name(seeds);
            balancer.names.count += 1;
        }
        balancer
    }

    /// Number of the element that has a load balancer's addresses of the family of a target's address.
    #[inline(always)]
    pub const fn number(load_balancer: u32, target: WideAddress) -> u32 {
        load_balancer * 2 + !target.is_ipv4() as u32
    }

    /// The address that a name is of.
    #[inline(always)]
    fn named(&self, name: u32) -> Option<WideAddress> {
        let mut names = self.names.addresses.iter().zip(&self.addresses);
        names.find(|(of, _)| **of == name).map(|(_, &address)| address)
    }
}

/// Key of an IPv6 target, map `WIDE_TARGET_KEYS`; otherwise as [`TargetKey`](crate::records::TargetKey).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WideTargetKey {
    /// The address; never one mapped.
    pub address: WideAddress,
    /// Port, network order.
    pub port: u16,
    /// Number of its vpc.
    pub vpc: u16,
    padding: u32,
}

impl WideTargetKey {
    /// The key of `address` and `port` (network order) in `vpc`.
    #[inline(always)]
    pub const fn new(vpc: u16, address: WideAddress, port: u16) -> Self {
        Self { address, port, vpc, padding: 0 }
    }
}

/// Key of an IPv6 address of an endpoint, map `WIDE_TOTALS`; otherwise as
/// [`EndpointAddressKey`](crate::records::EndpointAddressKey).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WideEndpointAddressKey {
    /// The address; never one mapped.
    pub address: WideAddress,
    /// Number of the vpc.
    pub vpc: u16,
    /// Number of the endpoint.
    pub endpoint: u16,
    padding: u32,
}

impl WideEndpointAddressKey {
    /// The key of `address` in `vpc`, of `endpoint`.
    #[inline(always)]
    pub const fn new(vpc: u16, address: WideAddress, endpoint: u16) -> Self {
        Self { address, vpc, endpoint, padding: 0 }
    }
}

/// The addresses of one direction of a flow: those that its packets have when they arrive, and those that they get.
///
/// Written by whoever opens the flow, before the half has its key or, where it has taken over a lease, its client is known: never by a
/// packet on its way.
#[repr(C, align(64))]
#[derive(Clone, Debug, Default)]
pub struct Ends {
    source: [Shared; 2],
    destination: [Shared; 2],
    new_source: [Shared; 2],
    new_destination: [Shared; 2],
}

/// A half of the wide table: two lines beside each other, which come from memory together.
#[repr(C, align(128))]
#[derive(Clone, Debug, Default)]
pub struct WideHalf {
    /// The half, its key in names.
    pub half: FlowHalf,
    /// Its addresses.
    pub ends: Ends,
}

#[inline(always)]
fn read([first, second]: &[Shared; 2]) -> WideAddress {
    WideAddress([first.get(), second.get()])
}

#[inline(always)]
fn write([first, second]: &[Shared; 2], WideAddress([a, b]): WideAddress) {
    first.set(a);
    second.set(b);
}

impl Ends {
    /// How many words they have.
    pub const WORDS: usize = size_of::<Self>() / size_of::<Shared>();

    /// Their words, in their order in memory.
    #[inline(always)]
    pub(crate) const fn words(&self) -> [&Shared; Self::WORDS] {
        let Self { source: [a, b], destination: [c, d], .. } = self;
        let Self { new_source: [e, f], new_destination: [g, h], .. } = self;
        [a, b, c, d, e, f, g, h]
    }

    /// Ends of these words.
    pub(crate) fn from_words(words: [u64; Self::WORDS]) -> Self {
        let ends = Self::default();
        ends.words().into_iter().zip(words).for_each(|(to, word)| to.set(word));
        ends
    }

    /// Reads a word, that the processor may have the line at hand.
    #[inline(always)]
    pub(crate) fn touch(&self) {
        let [first, _] = &self.source;
        first.get();
    }

    /// Whether packets with these addresses are of this direction.
    #[inline(always)]
    pub fn are(&self, source: WideAddress, destination: WideAddress) -> bool {
        let [a, b] = [read(&self.source).0, read(&self.destination).0];
        let ([c, d], [e, f]) = (source.0, destination.0);
        (a[0] ^ c) | (a[1] ^ d) | (b[0] ^ e) | (b[1] ^ f) == 0
    }

    /// Source and destination of the packets as they arrive.
    #[inline(always)]
    pub fn arriving(&self) -> [WideAddress; 2] {
        [read(&self.source), read(&self.destination)]
    }

    /// Source and destination of the packets as they leave.
    #[inline(always)]
    pub fn leaving(&self) -> [WideAddress; 2] {
        [read(&self.new_source), read(&self.new_destination)]
    }

    /// The family that the packets leave as.
    #[inline(always)]
    pub fn leaves_as(&self) -> Family {
        Family::of(read(&self.new_source))
    }

    /// Replaces source and destination as they arrive.
    #[inline(always)]
    pub fn set_arriving(&self, [source, destination]: [WideAddress; 2]) {
        write(&self.source, source);
        write(&self.destination, destination);
    }

    /// Replaces source and destination as they leave.
    #[inline(always)]
    pub fn set_leaving(&self, [source, destination]: [WideAddress; 2]) {
        write(&self.new_source, source);
        write(&self.new_destination, destination);
    }
}

/// Writes the addresses of both halves of a flow that is being opened and has its lease. Those by which the client's packets
/// arrive stand in the forward half. The reverse one has its key already; but it carries nothing before the client is known.
#[inline(always)]
pub fn leased(
    memory: &impl FlowMemory,
    [forward, reverse]: [u32; 2],
    balancer: &WideLoadBalancer,
    target: WideAddress,
) {
    let half = memory.half(reverse);
    let (Some(half), Some(forward), Some(reverse)) =
        (half, memory.ends(forward), memory.ends(reverse))
    else {
        return;
    };
    let [addresses, _] = half.key_words();
    let Some(leased) = balancer.named((addresses >> 32) as u32) else {
        return;
    };
    let [client, endpoint] = forward.arriving();
    forward.set_leaving([leased, target]);
    reverse.set_arriving([target, leased]);
    reverse.set_leaving([endpoint, client]);
}

/// Sizes that a rebuild must not change unnoticed: a change here needs a new [`SCHEMA`](crate::records::SCHEMA).
const _: () = {
    assert!(size_of::<WideAddressKey>() == 24 && size_of::<WideListenerKey>() == 32);
    assert!(size_of::<WideRules>() == 8 + MAX_RULES * 24);
    assert!(size_of::<WideLoadBalancer>() == 40 + MAX_LB_ADDRESSES * 16);
    assert!(size_of::<WideTargetKey>() == 24 && size_of::<WideEndpointAddressKey>() == 24);
    assert!(size_of::<WideHalf>() == 128);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> WideAddress {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn either_family_in_one_form() {
        let four = wide("10.1.2.3");
        assert_eq!(four.ipv4(), Some(u32::from_ne_bytes([10, 1, 2, 3])));
        assert_eq!(four, WideAddress::of_ipv4(u32::from_ne_bytes([10, 1, 2, 3])));
        let six = wide("fd00::1:2");
        assert_eq!((six.ipv4(), six.is_ipv4()), (None, false));
        for text in ["10.1.2.3", "fd00::1:2", "::", "::1", "255.255.255.255", "::fffe:1.2.3.4"] {
            assert_eq!(IpAddr::from(wide(text)), text.parse::<IpAddr>().expect("an address"));
        }
        let [one, two] = [1, 2].map(Seeds::of);
        assert_ne!(six.name(&one), six.name(&two), "a name depends on the seeds");
    }

    #[test]
    fn a_rule_has_the_addresses_of_its_prefix() {
        let allows = |network: &str, prefix, client: &str| {
            let mut rules = WideRules { count: 1, ..WideRules::default() };
            let ports = (80, 443);
            rules.rules[0] = WideRule {
                network: wide(network),
                prefix,
                protocol: 6,
                from_port: ports.0,
                to_port: ports.1,
            };
            assert!(!rules.allows(6, wide(client), 79_u16.to_be()), "ports are inclusive");
            assert!(!rules.allows(17, wide(client), 80_u16.to_be()), "another protocol");
            rules.allows(6, wide(client), 443_u16.to_be())
        };
        assert!(allows("::", 0, "fd00::1") && allows("::", 0, "ffff::"));
        assert!(allows("fd00::", 8, "fdff::1") && !allows("fd00::", 8, "fe00::1"));
        assert!(
            allows("fd00:1::", 33, "fd00:1:7fff::1") && !allows("fd00:1::", 33, "fd00:1:8000::")
        );
        assert!(allows("fd00::", 64, "fd00::ffff:0:0:1") && !allows("fd00::", 64, "fd00:0:0:1::"));
        assert!(allows("fd00::8", 125, "fd00::f") && !allows("fd00::8", 125, "fd00::10"));
        assert!(allows("fd00::8", 128, "fd00::8") && !allows("fd00::8", 128, "fd00::9"));
    }

    #[test]
    fn a_block_of_ports_is_a_prefix() {
        let key = |port: u16| WideListenerKey::new(2, wide("fd00::a"), 6, port.to_be());
        assert_eq!((key(9003).bits, key(9003).of[6].to_ne_bytes()), (224, [0, 0, 0x23, 0x2b]));
        assert_eq!(key(9003).block(2), key(9000).block(2));
        assert_ne!(key(9003).block(2), key(9004).block(2));
        assert_eq!(key(9003).block(16), key(80).block(16));
    }
}
