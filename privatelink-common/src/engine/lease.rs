//! The NAT lease of a new flow: a load balancer address and port that no other flow has towards the target.
//!
//! Putting the reverse direction's key into the flow table *is* the reservation: there is no second book of
//! leases to fall out of step. The other flow table leases ports of the same IPv4 addresses: whoever has put a key into his own
//! looks into the other then, and takes it out again where that has it. Of two CPUs that do so at once, one in each table, one
//! sees the other's, or both do, and try again: between a key's writing and the other search stands the exchange that unlocks
//! the key's home, which is ordered both ways.

use super::open::{Opening, TargetPort};
use crate::drop_reason::DropReason;
use crate::flow_table::life::Pressure;
use crate::flow_table::record::NewFlow;
use crate::flow_table::{FlowMemory, Insert, NONE, free, index, life};
use crate::ipv4;
use crate::lease::{Ports, TRIES, TRIES_PER_ADDRESS};
use crate::records::{FlowKey, Target};
use crate::tables::Tables;
use crate::ticks::Tick;

/// How often a lease is chosen that then goes to another CPU.
const ATTEMPTS: u32 = 3;
/// Leases tried for one whose place in the flow table is free, before any free one will do.
const PICKY: u64 = 8;
/// Leases looked at for one that is due, when none is free.
const RECLAIMS: u64 = 8;

/// A load balancer address, as it stands in keys, and a port in network order, in one word; or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(pub u64);

impl Lease {
    /// No lease: port 0 is none.
    pub const NONE: Self = Self(0);

    /// The lease of an address and a port (host order).
    const fn new(address: u32, port: u16) -> Self {
        Self(address as u64 | (port.to_be() as u64) << 32)
    }
}

/// Leases a port of a flow's protocol towards its target, and puts its reverse half in. Returns the number of that;
/// without a lease, the half claimed for the forward direction is free again.
#[inline(always)]
pub fn lease<T: Tables + ?Sized>(
    tables: &T,
    opening: &Opening,
    protocol: u8,
) -> Result<u32, DropReason> {
    let renewed = if protocol == ipv4::TCP { tables.renew(opening) } else { NONE };
    if renewed != NONE {
        return Ok(renewed);
    }
    let outcome = try_to_lease(tables, opening, protocol);
    if outcome.is_err() {
        free::release(tables, opening.forward);
    }
    outcome
}

#[inline(always)]
fn try_to_lease<T: Tables + ?Sized>(
    tables: &T,
    opening: &Opening,
    protocol: u8,
) -> Result<u32, DropReason> {
    let Opening { key: client, endpoint, load_balancer, target: to, forward, .. } = *opening;
    let target = tables.target(to.number()).ok_or(DropReason::NoTarget)?;
    let now = tables.now();
    let mut outcome = Insert::Exists;
    for _ in 0..ATTEMPTS {
        let mut lease = tables.choose_lease(load_balancer, to, endpoint, protocol, Wanted::Free);
        if lease == Lease::NONE {
            lease = reclaim(tables, opening, protocol, target, now);
        }
        if lease == Lease::NONE {
            return Err(DropReason::LeaseExhausted);
        }
        let reverse = key(target, to, protocol, lease);
        let number = tables.claim(reverse, tables.random(), now);
        let half = tables.half(number).ok_or(DropReason::FlowTableFull)?;
        let flow = NewFlow { forward: client, reverse, endpoint, target: to.number() };
        half.fill_reverse(&flow, forward, now);
        outcome = tables.insert(reverse, number);
        if outcome == Insert::Done {
            if !tables.is_leased_elsewhere(reverse) {
                return Ok(number);
            }
            tables.remove(number);
            outcome = Insert::Exists;
        }
        // Its stamp is of now: a packet that has found it is long over before another flow gets it.
        free::release(tables, number);
    }
    Err(match outcome {
        Insert::Full => DropReason::FlowTableFull,
        _ => DropReason::FlowTableBusy,
    })
}

/// Takes over the lease of the client's last connection from the same port, where that is still held: however often a client uses
/// its ports, they need one lease each. The number of its reverse half, or [`NONE`].
///
/// It must lead to the same target, and the target's TIME_WAIT of the last connection let the SYN in, since its number is beyond
/// all that the client has sent (RFC 9293, section 3.6.1); a host behind a consumer's own NAT whose timestamps are behind the last
/// one's has to send it twice. A last connection whose forward half is a stray is not found.
#[inline(always)]
pub fn renew<T: Tables + ?Sized>(tables: &T, opening: &Opening) -> u32 {
    let Opening { key: client, sequence, load_balancer, target: to, forward, .. } = *opening;
    let (Some(places), Some(balancer), Some(target)) = (
        index::places(tables, client),
        tables.load_balancer(load_balancer),
        tables.target(to.number()),
    ) else {
        return NONE;
    };
    for number in places {
        let Some(held) = tables.record(number) else {
            continue;
        };
        let (place, reverse) = (held.place(), held.reverse.key_words());
        let FlowKey { destination, destination_port, .. } = FlowKey::from_words(reverse);
        let lease = Lease::new(destination, u16::from_be(destination_port));
        let [next, _] = held.forward.sequence();
        if held.reverse.client_key_words() == client
            && key(target, to, ipv4::TCP, lease) == reverse
            && balancer.has(destination)
            && !tables.is_reserved(u16::from_be(destination_port))
            && sequence.wrapping_sub(next) as i32 > 0
            && life::take_over(tables, &held, place, forward, tables.now())
        {
            return held.forward.other();
        }
    }
    NONE
}

/// The key of what the target answers to a lease, as words.
#[inline(always)]
const fn key(target: &Target, to: TargetPort, protocol: u8, lease: Lease) -> [u64; 2] {
    let key = FlowKey {
        source: target.address,
        destination: lease.0 as u32,
        source_port: to.port(),
        destination_port: (lease.0 >> 32) as u16,
        vpc: target.vpc,
        protocol,
    };
    key.words()
}

/// What [`choose`] is to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Wanted {
    /// A lease that nobody has.
    Free = 0,
    /// Any lease.
    Any = 1,
}

/// Chooses a lease towards a target for a flow of an endpoint: one that seems to be free, or any.
///
/// An endpoint's flows prefer one of the load balancer's addresses, so that a provider sees one
/// consumer behind one address (RFC 4787, REQ-2) while there are ports. Within an address the order is
/// random (RFC 6056, section 3.3.1). The first few are passed over if the flow table has no room where their packets
/// would look.
#[inline(always)]
pub fn choose<T: Tables + ?Sized>(
    tables: &T,
    balancer: u32,
    to: TargetPort,
    endpoint: u32,
    protocol: u8,
    wanted: Wanted,
) -> Lease {
    let (Some(balancer), Some(target)) =
        (tables.load_balancer(balancer), tables.target(to.number()))
    else {
        return Lease::NONE;
    };
    let mut ports = Ports::new(tables.random(), tables.random());
    for attempt in 0..TRIES {
        let port = ports.next_port();
        let turn = (attempt / TRIES_PER_ADDRESS) as u32;
        let Some(address) = balancer.at(endpoint.wrapping_add(turn)) else {
            return Lease::NONE;
        };
        let lease = Lease::new(address, port);
        if tables.is_reserved(port) {
            continue;
        }
        if wanted == Wanted::Any {
            return lease;
        }
        if tables.suits(key(target, to, protocol, lease), attempt < PICKY) {
            return lease;
        }
    }
    Lease::NONE
}

/// Whether the lease with this key seems to be free; to who is `picky`, also whether its half would be the one that its key says.
/// `other` is the other flow table.
#[inline(always)]
pub fn suits<T, U>(tables: &T, other: &U, key: [u64; 2], picky: bool) -> bool
where
    T: FlowMemory + ?Sized,
    U: FlowMemory + ?Sized,
{
    (!picky || index::is_home_free(tables, key))
        && !index::contains(tables, key)
        && !index::contains(other, key)
}

/// Frees a lease whose time is over though nobody has swept, if a few tries meet one.
#[inline(always)]
fn reclaim<T: Tables + ?Sized>(
    tables: &T,
    opening: &Opening,
    protocol: u8,
    target: &Target,
    now: Tick,
) -> Lease {
    let Opening { load_balancer, target: to, endpoint, .. } = *opening;
    for _ in 0..RECLAIMS {
        let lease = tables.choose_lease(load_balancer, to, endpoint, protocol, Wanted::Any);
        if let Some(found) = tables.find(key(target, to, protocol, lease))
            && let Some(owner) = tables.record(tables.owner(found.number()))
            && tables.sweep(owner.number, Pressure::None, now)
            && !owner.place().phase().holds_lease()
        {
            return lease;
        }
    }
    Lease::NONE
}
