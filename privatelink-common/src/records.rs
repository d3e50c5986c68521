//! The records in the maps: their layout is the contract between the daemon and the kernel.
//!
//! Every record is `repr(C, align(8))` with its padding spelled out, for two reasons that cost others
//! days: padding in a hash key holds stack garbage, so lookups miss at random; and LLVM stores eight
//! bytes at once into a key that the verifier thinks only four-aligned. Build keys by their `new`.

use crate::drop_reason::DROP_COUNTERS;
use crate::hash::Seeds;
use crate::limits::{INTERFACE_PROBES, INTERFACE_SLOTS, MAX_LB_ADDRESSES, MAX_RULES};
use crate::memory::Shared;

/// Version of the layout of all records and maps; part of the pin path.
pub const SCHEMA: u32 = 12;

/// An attached interface, in the slot table `INTERFACES`. `ifindex` 0 marks a free slot.
///
/// Written by the daemon; read on every packet.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Kernel index.
    pub ifindex: u32,
    /// Largest IP packet it takes, bytes.
    pub mtu: u32,
    /// MAC address.
    pub mac: Mac,
    /// Number of the vpc it belongs to, from 1.
    pub vpc: u16,
    /// [`Interface::STACK`], or 0.
    pub flags: u32,
    /// Zero.
    pub padding: u32,
}

impl Interface {
    /// XDP's redirect does not reach it: what must leave by it is left to the classifier of the interface that it came in by.
    pub const STACK: u32 = 1;
}

/// The slots an interface index may be found in, most likely first.
///
/// Kernel indexes are handed out one after the other, so the home slot nearly always is free.
pub fn interface_slots(ifindex: u32) -> impl Iterator<Item = u32> {
    (0..INTERFACE_PROBES).map(move |probe| ifindex.wrapping_add(probe) % INTERFACE_SLOTS)
}

/// A MAC address as three words in network order: word moves, where `[u8; 6]` would be byte moves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u16; 3]);

impl Mac {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xffff; 3]);

    /// From the six bytes in transmission order.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])])
    }

    /// The six bytes in transmission order.
    pub const fn bytes(self) -> [u8; 6] {
        let [[a, b], [c, d], [e, f]] =
            [self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes(), self.0[2].to_ne_bytes()];
        [a, b, c, d, e, f]
    }
}

/// Where the next frame goes: a MAC address and the slot of the interface it is behind, in one word so
/// that it changes at once under the data path's eyes. The all-zero word is "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop(u64);

impl NextHop {
    /// No next hop known.
    pub const UNKNOWN: Self = Self(0);

    /// A known one.
    #[inline(always)]
    pub const fn new(mac: Mac, slot: u16) -> Self {
        let [a, b, c] = mac.0;
        Self(a as u64 | (b as u64) << 16 | (c as u64) << 32 | (slot as u64) << 48)
    }

    /// From the word as stored.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The MAC address.
    #[inline(always)]
    pub const fn mac(self) -> Mac {
        Mac([self.0 as u16, (self.0 >> 16) as u16, (self.0 >> 32) as u16])
    }

    /// The interface's slot.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        (self.0 >> 48) as u32
    }

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_unknown(self) -> bool {
        self.0 == 0
    }
}

/// Key of an endpoint or load balancer address, map `ADDRESSES`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressKey {
    /// IPv4 address, network order.
    pub address: u32,
    /// Number of the vpc.
    pub vpc: u16,
    padding: u16,
}

impl AddressKey {
    /// The key of `address` (network order) in `vpc`.
    #[inline(always)]
    pub const fn new(vpc: u16, address: u32) -> Self {
        Self { address, vpc, padding: 0 }
    }
}

/// Key of an address of an endpoint, map `ADDRESS_TOTALS`: several endpoints may share an address.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointAddressKey {
    /// IPv4 address, network order.
    pub address: u32,
    /// Number of the vpc.
    pub vpc: u16,
    /// Number of the endpoint.
    pub endpoint: u16,
}

impl EndpointAddressKey {
    /// The one by which a flow of an endpoint was opened; `client` is the key of what its client sends.
    #[inline(always)]
    pub const fn of_flow(endpoint: u32, [addresses, ports]: [u64; 2]) -> Self {
        Self {
            address: (addresses >> 32) as u32,
            vpc: (ports >> 32) as u16,
            endpoint: endpoint as u16,
        }
    }
}

/// What an address of ours is, map `ADDRESSES`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// One of [`Address::ENDPOINT`] and [`Address::LOAD_BALANCER`].
    pub kind: u16,
    /// [`Address::WIDE`].
    pub flags: u16,
    /// Number of the load balancer; of the endpoint, or where several share the address, of the one that says whether
    /// echo requests are answered.
    pub index: u32,
}

impl Address {
    /// `kind` of an endpoint address.
    pub const ENDPOINT: u16 = 1;
    /// `kind` of a load balancer address.
    pub const LOAD_BALANCER: u16 = 2;
    /// Flag of an IPv4 address whose flows may have IPv6 on their other side: new ones are opened in the [wide](crate::wide)
    /// table, and what belongs to none of the narrow one is looked for there.
    pub const WIDE: u16 = 1;
}

/// An endpoint, array `ENDPOINTS`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Non-zero while flows may be opened.
    pub available: u32,
    /// How many of `rules` are in force.
    pub rule_count: u32,
    /// Largest MSS let through on a SYN, bytes; or [`Endpoint::MSS_AUTO`] or [`Endpoint::MSS_OFF`].
    pub mss_clamp: u32,
    /// Non-zero where ICMP echo requests to the endpoint's addresses are answered.
    pub icmp_echo: u32,
    /// How long its flows may be silent.
    pub timeouts: Timeouts,
    /// How many flows it may have.
    pub limits: FlowLimits,
    /// What may open flows.
    pub rules: [Rule; MAX_RULES],
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            available: 0,
            rule_count: 0,
            mss_clamp: Self::MSS_AUTO,
            icmp_echo: 0,
            timeouts: Timeouts::default(),
            limits: FlowLimits::default(),
            rules: [Rule::default(); MAX_RULES],
        }
    }
}

impl Endpoint {
    /// `mss_clamp`: whatever the MTUs of the two interfaces let through.
    pub const MSS_AUTO: u32 = 0;
    /// `mss_clamp`: the option is left alone.
    pub const MSS_OFF: u32 = u32::MAX;

    /// Whether any rule allows a flow from `client` (network order) to `port` (network order).
    #[inline(always)]
    pub fn allows(&self, protocol: u8, client: u32, port: u16) -> bool {
        let port = u16::from_be(port);
        self.rules.iter().zip(0..self.rule_count).any(|(rule, _)| {
            client & rule.mask == rule.network
                && (rule.protocol == Rule::ANY_PROTOCOL || rule.protocol == u16::from(protocol))
                && port >= rule.from_port
                && port <= rule.to_port
        })
    }
}

/// One ingress rule.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Client network, network order, host bits zero.
    pub network: u32,
    /// Its mask, network order.
    pub mask: u32,
    /// First port, host order.
    pub from_port: u16,
    /// Last port, host order.
    pub to_port: u16,
    /// IP protocol number, or [`Rule::ANY_PROTOCOL`].
    pub protocol: u16,
    /// Explicit padding.
    pub padding: u16,
}

impl Rule {
    /// `protocol` of a rule for every protocol.
    pub const ANY_PROTOCOL: u16 = u16::MAX;
}

/// Key of published ports, trie `LISTENERS`: a port of an endpoint address, or a block of ports that have their
/// first bits in common. Of several that hold a port, the trie finds the smallest.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// How many bits of the rest count.
    pub bits: u32,
    /// Address, network order; vpc and protocol; port, a word in network order: last, so that its low bits need not
    /// count.
    pub of: [u32; 3],
}

impl ListenerKey {
    const ALL_BITS: u32 = u32::BITS * 3;

    /// The key of one port (network order) of `address` (network order) in `vpc`.
    #[inline(always)]
    pub const fn new(vpc: u16, address: u32, protocol: u8, port: u16) -> Self {
        let port = (u16::from_be(port) as u32).to_be();
        Self { bits: Self::ALL_BITS, of: [address, vpc as u32 | (protocol as u32) << 16, port] }
    }

    /// The key of the block of 2^`bits` ports that the port is in; with 16 bits, that of all ports.
    pub const fn block(self, bits: u32) -> Self {
        let [address, place, port] = self.of;
        let first = u32::from_be(port) >> bits << bits;
        Self { bits: Self::ALL_BITS - bits, of: [address, place, first.to_be()] }
    }
}

/// What serves a published port, trie `LISTENERS`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Number of the endpoint.
    pub endpoint: u32,
    /// Number of the endpoint service.
    pub service: u32,
    /// Number of the load balancer.
    pub load_balancer: u32,
    /// Number of the pool of targets.
    pub pool: u32,
    /// [`Listener::STICKY`], [`Listener::KEEP_PORT`].
    pub flags: u32,
    /// Explicit padding.
    pub padding: u32,
}

impl Listener {
    /// All flows of a client go to one target.
    pub const STICKY: u32 = 1;
    /// Flows go to the port that the client asked for, not to the target's own.
    pub const KEEP_PORT: u32 = 2;

    /// Whether one of the flags is set.
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// A load balancer, or its addresses in one zone, array `BALANCERS`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancer {
    /// NAT source addresses, network order; the first `count` are in force.
    pub addresses: [u32; MAX_LB_ADDRESSES],
    /// How many addresses there are.
    pub count: u32,
    /// Explicit padding.
    pub padding: u32,
}

impl LoadBalancer {
    /// The address whose turn it is, network order.
    #[inline(always)]
    pub fn at(&self, turn: u32) -> Option<u32> {
        let address = turn.checked_rem(self.count)?;
        // The black box keeps LLVM from comparing something else, from which the verifier learns no bound.
        let address = core::hint::black_box(address) as usize;
        self.addresses.get(address).copied()
    }

    /// Whether an address (network order) is one of them.
    #[inline(always)]
    pub fn has(&self, address: u32) -> bool {
        // Not `zip`: Linux 6.1 follows its count below 0.
        (0..).zip(&self.addresses).any(|(at, &own)| own == address && at < self.count)
    }
}

/// A target, array `TARGETS`.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Address, network order.
    pub address: u32,
    /// Port, network order.
    pub port: u16,
    /// Number of its vpc.
    pub vpc: u16,
    /// [`NextHop`] word. Written by the daemon while the data path reads it: one store, so a packet
    /// takes the old next hop or the new one.
    pub next_hop: Shared,
}

/// Key of a target, map `TARGET_KEYS`, by which the data path knows a target's own segments. A target that flows
/// reach at ports that clients choose has one more, with port 0.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetKey {
    /// Address, network order.
    pub address: u32,
    /// Port, network order.
    pub port: u16,
    /// Number of its vpc.
    pub vpc: u16,
}

/// Key of one direction of a flow: the packet as it arrives.
///
/// A vpc's endpoint, load balancer and target addresses are all different, so one index holds both
/// directions without a mark for which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address, network order.
    pub source: u32,
    /// Destination address, network order.
    pub destination: u32,
    /// Source port, network order.
    pub source_port: u16,
    /// Destination port, network order.
    pub destination_port: u16,
    /// Number of the vpc it arrives from.
    pub vpc: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl FlowKey {
    /// The key as two words: addresses, then ports, vpc and protocol.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 2] {
        [
            self.source as u64 | (self.destination as u64) << 32,
            self.source_port as u64
                | (self.destination_port as u64) << 16
                | (self.vpc as u64) << 32
                | (self.protocol as u64) << 48,
        ]
    }

    /// The key of these words.
    pub const fn from_words([addresses, ports]: [u64; 2]) -> Self {
        Self {
            source: addresses as u32,
            destination: (addresses >> 32) as u32,
            source_port: ports as u16,
            destination_port: (ports >> 16) as u16,
            vpc: (ports >> 32) as u16,
            protocol: (ports >> 48) as u8,
        }
    }

    /// The key of the packets that answer this one's.
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..*self
        }
    }
}

/// Drop counters of one interface on one CPU, per-CPU array `DROPS`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops(pub [u64; DROP_COUNTERS]);

/// Settings, array `SETTINGS` with one element. Written by the daemon before the program is attached; later only what may
/// change under its eyes, the shortest time-out and the events.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Seeds of all hashes, random at each start.
    pub seeds: Seeds,
    /// Halves of the flow table, a multiple of 128.
    pub halves: u32,
    /// Buckets of its index.
    pub buckets: u32,
    /// Bits of a half's number in an index entry.
    pub number_bits: u32,
    /// Ticks in a second, rounded up.
    pub second: u32,
    /// Ticks for which a retired half rests.
    pub quarantine: u32,
    /// Most ticks a half-open flow may be silent while room is wanted.
    pub pressed_half_open: u32,
    /// The shortest of all time-outs, ticks: a flow seen since then is not due.
    pub shortest_timeout: u32,
    /// Tells whose numbers the flows have: those of the store of the same generation.
    pub generation: u32,
    /// What is told as it happens: bits of [`crate::flow_event`].
    pub events: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// How long a flow may be without a packet, in ticks; part of an [`Endpoint`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the handshake is complete.
    pub half_open: u32,
    /// Once established.
    pub idle: u32,
    /// After both sides closed, or one reset.
    pub closing: u32,
    /// For which an ended flow's NAT lease is not given to another.
    pub lease_hold: u32,
    /// UDP: until the target has answered.
    pub udp_unreplied: u32,
    /// UDP: once the target has answered.
    pub udp_idle: u32,
}

impl Timeouts {
    /// No time at all.
    pub const NONE: Self =
        Self { half_open: 0, idle: 0, closing: 0, lease_hold: 0, udp_unreplied: 0, udp_idle: 0 };
}

/// How much of the flow table an endpoint may use; part of an [`Endpoint`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLimits {
    /// Live flows.
    pub flows: u32,
    /// Half-open flows.
    pub half_open: u32,
    /// New flows in a second; 0 is no limit.
    pub new_per_second: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// What `clock` saw, array `CLOCK` with one element.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// `bpf_jiffies64`, the time stamp of all records.
    pub jiffies: u64,
}

/// Sizes that a rebuild must not change unnoticed: a change here needs a new [`SCHEMA`].
const _: () = {
    assert!(size_of::<Interface>() == 24);
    assert!(size_of::<AddressKey>() == 8 && size_of::<Address>() == 8);
    assert!(size_of::<EndpointAddressKey>() == 8);
    assert!(size_of::<Endpoint>() == 56 + MAX_RULES * 16 && size_of::<Rule>() == 16);
    assert!(size_of::<ListenerKey>() == 16 && size_of::<Listener>() == 24);
    assert!(size_of::<LoadBalancer>() == 40);
    assert!(size_of::<Target>() == 16 && size_of::<TargetKey>() == 8);
    assert!(size_of::<Settings>() == 80);
    assert!(size_of::<Drops>() == 512);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_load_balancer() {
        let mut balancer =
            LoadBalancer { addresses: [1, 2, 3, 0, 0, 0, 0, 0], ..LoadBalancer::default() };
        for count in 0..=3 {
            balancer.count = count;
            let own: Vec<u32> = (0..9).filter(|&address| balancer.has(address)).collect();
            assert_eq!(own, (1..=count).collect::<Vec<_>>());
            let turns = (0..count).map(|turn| balancer.at(turn + 5 * count));
            assert_eq!(turns.collect::<Vec<_>>(), own.into_iter().map(Some).collect::<Vec<_>>());
        }
        assert_eq!(LoadBalancer::default().at(7), None);
    }

    #[test]
    fn a_next_hop_keeps_its_parts() {
        let mac = Mac::from_bytes([2, 0, 0, 0xaa, 0xbb, 0xcc]);
        let hop = NextHop::new(mac, 1023);
        assert_eq!((hop.mac().bytes(), hop.slot()), ([2, 0, 0, 0xaa, 0xbb, 0xcc], 1023));
        assert_eq!(NextHop::from_word(hop.word()), hop);
        assert!(!hop.is_unknown() && NextHop::UNKNOWN.is_unknown());
    }

    #[test]
    fn a_block_of_ports_is_a_prefix() {
        let key = |port: u16| ListenerKey::new(2, 0x0a01_000a, 6, port.to_be());
        let ListenerKey { bits, of } = key(9003);
        assert_eq!((bits, of[2].to_ne_bytes()), (96, [0, 0, 0x23, 0x2b]), "its last bytes");
        assert_eq!(key(9003).block(0), key(9003));
        assert_eq!(key(9003).block(2), key(9000).block(2));
        assert_ne!(key(9003).block(2), key(9004).block(2));
        assert_eq!(key(9003).block(16), key(80).block(16));
    }

    #[test]
    fn rules() {
        let address =
            |text: &str| u32::from_ne_bytes(text.parse::<std::net::Ipv4Addr>().unwrap().octets());
        let rule = |network, mask, from_port, to_port, protocol| Rule {
            network: address(network),
            mask: address(mask),
            from_port,
            to_port,
            protocol,
            padding: 0,
        };
        let mut endpoint = Endpoint { rule_count: 2, ..Endpoint::default() };
        endpoint.rules[0] = rule("10.0.0.0", "255.255.0.0", 80, 443, 6);
        endpoint.rules[1] = rule("192.168.7.7", "255.255.255.255", 0, 65535, Rule::ANY_PROTOCOL);
        endpoint.rules[2] = rule("0.0.0.0", "0.0.0.0", 0, 65535, Rule::ANY_PROTOCOL);
        let allows =
            |protocol, client, port: u16| endpoint.allows(protocol, address(client), port.to_be());
        assert!(
            allows(6, "10.0.255.1", 80) && allows(6, "10.0.0.0", 443) && allows(6, "10.0.9.9", 256)
        );
        assert!(!allows(6, "10.0.0.1", 79) && !allows(6, "10.0.0.1", 444), "ports are inclusive");
        assert!(!allows(6, "10.1.0.0", 80), "outside the network");
        assert!(!allows(17, "10.0.0.1", 80), "another protocol");
        assert!(allows(17, "192.168.7.7", 0) && allows(6, "192.168.7.7", 65535));
        assert!(!allows(6, "192.168.7.8", 1), "the third rule is not in force");
        endpoint.rule_count = 0;
        assert!(!endpoint.allows(6, address("10.0.0.1"), 80_u16.to_be()));
    }

    #[test]
    fn slots_of_neighbouring_interfaces_differ() {
        assert_eq!(interface_slots(1023).collect::<Vec<_>>(), [1023, 0, 1, 2]);
        assert_eq!(interface_slots(u32::MAX).collect::<Vec<_>>(), [1023, 0, 1, 2]);
    }
}
