//! A new flow: who may open it, where it goes, and the lease it gets.

use super::Refusal;
use super::route::Route;
use crate::drop_reason::DropReason;
use crate::flow_table::record::{NewFlow, Record};
use crate::flow_table::{Insert, life};
use crate::hash::hash;
use crate::ipv4::{self, Segment};
use crate::maglev::NO_TARGET;
use crate::records::{FlowKey, Listener, ListenerKey, Settings};
use crate::tables::Tables;

/// The endpoint a segment is for and the listener, if the endpoint lets its sender reach it.
#[inline(always)]
pub(super) fn permitted<'t>(
    tables: &'t impl Tables,
    endpoint_index: u32,
    segment: &Segment,
) -> Result<&'t Listener, DropReason> {
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
    tables.listener(&key).ok_or(DropReason::NoListener)
}

/// Whether an address (network order) can be a single host's on a network: not 0/8, 127/8, nor 224/3.
#[inline(always)]
pub(super) const fn may_be_client(address: u32) -> bool {
    let first = u32::from_be(address) >> 24;
    first != 0 && first != 127 && first < 224
}

/// The target of a target group for a new flow, if an IP packet of `length` bytes reaches it.
#[inline(always)]
pub(super) fn target_of<T: Tables + ?Sized>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    endpoint: u32,
    target_group: u32,
    length: u16,
) -> Result<u32, Refusal> {
    let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
    let hash =
        hash(settings.hash_seed, u64::from(key.source) << 32 | ports, u64::from(endpoint)) as u32;
    let number = tables.maglev(target_group).map_or(NO_TARGET, |table| table.target(hash));
    if number == NO_TARGET {
        return Err(DropReason::NoTarget.into());
    }
    let number = u32::from(number);
    let target = tables.target(number).ok_or(DropReason::NoTarget)?;
    Route::to_target(tables, target)?.carries(length)?;
    Ok(number)
}

/// A flow to be opened, once there is room for it.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The key of what the client sends, as words.
    pub key: [u64; 2],
    /// Number of the endpoint.
    pub endpoint: u32,
    /// Number of the listener's load balancer.
    pub load_balancer: u32,
    /// Number of the target.
    pub target: u32,
    /// Number of the half claimed for what the client sends.
    pub forward: u32,
}

/// Opens a flow that has a lease: `reverse` is the number of the half that is. Puts the forward half in; its number,
/// whoever opened the flow.
///
/// Two CPUs may open the same flow at once (a duplicated SYN). Both lease a port by inserting their
/// reverse halves; then one's forward insert succeeds, and the other finds it there, gives both halves and so
/// the lease back and uses the winner's flow. A reply cannot arrive on the loser's lease: nothing was sent
/// from it.
#[inline(always)]
pub fn open<T: Tables + ?Sized>(
    tables: &T,
    opening: &Opening,
    reverse: u32,
) -> Result<u32, DropReason> {
    let Opening { key, endpoint, target, forward: number, .. } = *opening;
    let halves = (tables.half(number), tables.half(reverse));
    let (Some(forward), Some(reverse_half)) = halves else {
        return Err(DropReason::FlowTableFull);
    };
    let now = tables.now();
    let flow = NewFlow { forward: key, reverse: reverse_half.key_words(), endpoint, target };
    forward.fill_forward(&flow, reverse, now);
    let inserted = tables.insert(key, number);
    let record = Record { number, forward, reverse: reverse_half };
    if inserted == Insert::Done {
        life::begin(tables, &record);
        return Ok(number);
    }
    life::withdraw(tables, &record, now);
    if inserted == Insert::Full {
        return Err(DropReason::FlowTableFull);
    }
    tables.find(key).map(|winner| winner.number()).ok_or(DropReason::FlowTableBusy)
}
