//! A new flow: who may open it, where it goes, and the lease it gets.

use super::Refusal;
use super::route::Route;
use crate::checksum::Delta;
use crate::drop_reason::DropReason;
use crate::hash::hash;
use crate::ipv4::{self, Segment};
use crate::lease::{Ports, TRIES, TRIES_PER_ADDRESS};
use crate::maglev::NO_TARGET;
use crate::memory::Shared;
use crate::records::{FlowHalf, FlowKey, Listener, ListenerKey, LoadBalancer, NextHop, Target};
use crate::tables::{Insert, Tables};

/// The listener a segment is for, if the endpoint lets its sender reach it.
#[inline(always)]
pub(super) fn permitted(
    tables: &impl Tables,
    endpoint_index: u32,
    segment: &Segment,
) -> Result<Listener, DropReason> {
    let source = segment.addresses.source;
    if !may_be_client(source) || source == segment.addresses.destination {
        return Err(DropReason::SourceAddress);
    }
    let endpoint = tables.endpoint(endpoint_index).ok_or(DropReason::EndpointNotAvailable)?;
    if !endpoint.allows(ipv4::TCP, source, segment.destination_port) {
        return Err(DropReason::SecurityGroup);
    }
    if endpoint.available == 0 {
        return Err(DropReason::EndpointNotAvailable);
    }
    let key = ListenerKey::new(endpoint_index, ipv4::TCP, segment.destination_port);
    tables.listener(&key).copied().ok_or(DropReason::NoListener)
}

/// Whether an address (network order) can be a single host's on a network: not 0/8, 127/8, nor 224/3.
#[inline(always)]
pub(super) const fn may_be_client(address: u32) -> bool {
    let first = u32::from_be(address) >> 24;
    first != 0 && first != 127 && first < 224
}

/// Opens the flow of `key`: chooses a target, leases a port and inserts both directions.
///
/// Two CPUs may open the same flow at once (a duplicated SYN). Both lease a port by inserting their
/// reverse halves; then one's forward insert succeeds, and the other finds it there, gives its lease
/// back and uses the winner's flow. A reply cannot arrive on the loser's lease: nothing was sent from it.
#[inline(always)]
pub(super) fn open(
    tables: &impl Tables,
    key: &FlowKey,
    endpoint: u32,
    listener: &Listener,
    segment: &Segment,
) -> Result<(), Refusal> {
    let target_index = choose_target(tables, key, endpoint, listener)?;
    let target = tables.target(target_index).ok_or(DropReason::NoTarget)?;
    Route::to_target(tables, target, target.vpc)?.carries(segment.total_length)?;
    let balancer =
        tables.load_balancer(listener.load_balancer).ok_or(DropReason::LeaseExhausted)?;
    let now = tables.now();
    let mut half = FlowHalf {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        ip_delta: 0,
        tcp_delta: 0,
        target: target_index,
        endpoint,
        service: listener.service,
        peer_vpc: key.vpc,
        direction: FlowHalf::REVERSE,
        created: Shared::new(now),
        client: Shared::new(NextHop::UNKNOWN.word()),
        client_tags: Shared::new(0),
        packets: Shared::new(0),
        bytes: Shared::new(0),
        last_seen: Shared::new(now),
        flags: Shared::new(0),
    };
    let reverse = lease(tables, endpoint, balancer, target, &mut half)?;

    half.source = reverse.destination;
    half.destination = reverse.source;
    half.source_port = reverse.destination_port;
    half.destination_port = reverse.source_port;
    half.peer_vpc = reverse.vpc;
    half.direction = FlowHalf::FORWARD;
    set_deltas(key, &mut half);
    match tables.insert_flow(key, &half) {
        Insert::Done => Ok(()),
        Insert::Exists => {
            tables.remove_flow(&reverse);
            Ok(())
        }
        Insert::Full => {
            tables.remove_flow(&reverse);
            Err(DropReason::FlowTableFull.into())
        }
    }
}

#[inline(always)]
fn choose_target(
    tables: &impl Tables,
    key: &FlowKey,
    endpoint: u32,
    listener: &Listener,
) -> Result<u32, DropReason> {
    let seed = tables.settings().map_or(0, |settings| settings.hash_seed);
    let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
    let hash = hash(seed, u64::from(key.source) << 32 | ports, u64::from(endpoint)) as u32;
    let target = tables.maglev(listener.target_group).map_or(NO_TARGET, |table| table.target(hash));
    if target == NO_TARGET { Err(DropReason::NoTarget) } else { Ok(u32::from(target)) }
}

/// 2^32 over the golden ratio: multiples of it spread evenly (Knuth, TAOCP 6.4).
const GOLDEN_RATIO: u32 = 0x9e37_79b1;

/// Scales a word to `0..count`. Unlike the bound of a remainder, the verifier can follow this one's.
#[inline(always)]
const fn scale(word: u32, count: u32) -> u32 {
    ((word as u64 * count as u64) >> 32) as u32
}

/// Leases a port towards the target by inserting `half` as its reverse direction; returns its key.
///
/// An endpoint's flows prefer one of the load balancer's addresses, so that a provider sees one
/// consumer behind one address (RFC 4787, REQ-2) while there are ports.
#[inline(always)]
fn lease(
    tables: &impl Tables,
    endpoint: u32,
    balancer: &LoadBalancer,
    target: &Target,
    half: &mut FlowHalf,
) -> Result<FlowKey, DropReason> {
    if balancer.count == 0 {
        return Err(DropReason::LeaseExhausted);
    }
    let mut ports = Ports::new(tables.random(), tables.random());
    // Free of branches: each one would double the paths the verifier walks, 128 times over.
    let preferred = endpoint.wrapping_mul(GOLDEN_RATIO);
    let next = u32::MAX / balancer.count;
    let mut key = FlowKey {
        source: target.address,
        destination: 0,
        source_port: target.port,
        destination_port: 0,
        vpc: target.vpc,
        protocol: ipv4::TCP,
        padding: 0,
    };
    for attempt in 0..TRIES {
        let address = scale(
            preferred.wrapping_add((attempt / TRIES_PER_ADDRESS).wrapping_mul(next)),
            balancer.count,
        );
        key.destination =
            *balancer.addresses.get(address as usize).ok_or(DropReason::LeaseExhausted)?;
        key.destination_port = ports.next_port().to_be();
        set_deltas(&key, half);
        match tables.insert_flow(&key, half) {
            Insert::Done => return Ok(key),
            Insert::Exists => {}
            Insert::Full => return Err(DropReason::FlowTableFull),
        }
    }
    Err(DropReason::LeaseExhausted)
}

/// Sets how the checksums change from a packet with `key` to what `half` makes of it.
#[inline(always)]
fn set_deltas(key: &FlowKey, half: &mut FlowHalf) {
    let addresses = Delta::default()
        .replace32(key.source, half.source)
        .replace32(key.destination, half.destination);
    half.ip_delta = addresses.fold();
    half.tcp_delta = addresses
        .replace16(key.source_port, half.source_port)
        .replace16(key.destination_port, half.destination_port)
        .fold();
}
