//! Capacities that both sides are built with.

/// Slots of the interface table; an interface's slot is also its key in the device map.
pub const INTERFACE_SLOTS: u32 = 1024;
/// Slots tried from an interface index's home slot on; see [`crate::records::interface_slots`].
pub const INTERFACE_PROBES: u32 = 4;
/// Most interfaces a gateway may attach: half the slots, so that a few probes always suffice.
pub const MAX_INTERFACES: usize = 512;
/// Most vpcs; a vpc's number is a 16-bit part of every key, and 0 is no vpc.
pub const MAX_VPCS: usize = 65_535;
/// Most endpoints.
pub const MAX_ENDPOINTS: usize = 16_384;
/// Most ingress rules on one endpoint, over all its security groups.
pub const MAX_RULES: usize = 64;
/// Most entries for published ports: one for each endpoint address and port, several for a range.
pub const MAX_LISTENERS: usize = 262_144;
/// Most endpoint and load balancer addresses.
pub const MAX_ADDRESSES: usize = 65_536;
/// Most load balancers, those with addresses in several zones counted once more for each zone.
pub const MAX_LOAD_BALANCERS: usize = 8192;
/// Most NAT source addresses of one load balancer.
pub const MAX_LB_ADDRESSES: usize = 8;
/// Most pools of targets: one for each target group, and one for each zone of those that are balanced by zone.
pub const MAX_POOLS: usize = 8192;
/// Most targets over all groups; target numbers are 16 bits wide and 65 535 is "none".
pub const MAX_TARGETS: usize = 65_535;
/// Most datagrams in fragments whose first one is remembered; beyond that those of longest ago are forgotten.
pub const MAX_FRAGMENTED: u32 = 16_384;
/// Counters that identifications of datagrams in fragments are taken from, a power of two.
pub const IDENTIFICATION_COUNTERS: u32 = 4096;
/// Fewest flows a flow table holds.
pub const MIN_FLOWS: u32 = 1024;
/// Most flows a flow table holds: a half's number has 25 bits.
pub const MAX_FLOWS: u32 = 1 << 24;
/// Flows a flow table holds unless told otherwise.
pub const DEFAULT_FLOWS: u32 = 1 << 20;
