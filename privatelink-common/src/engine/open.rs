//! A new flow: who may open it, where it goes, and the lease it gets.

use super::route::Route;
use super::{Refusal, admit, lease};
use crate::drop_reason::DropReason;
use crate::flow_table::record::{Direction, NewFlow};
use crate::flow_table::{Insert, free, life};
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

/// A SYN that may open a flow.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// What the client sends.
    pub key: FlowKey,
    /// Number of the endpoint.
    pub endpoint: u32,
    /// Number of the listener's load balancer.
    pub load_balancer: u32,
    /// Number of its target group.
    pub target_group: u32,
    /// Length of the IP packet, bytes.
    pub length: u16,
}

/// Opens a flow: chooses a target, leases a port and puts both directions into the index. Returns the number
/// of the flow's record.
///
/// Two CPUs may open the same flow at once (a duplicated SYN). Both lease a port by inserting their
/// reverse directions; then one's forward insert succeeds, and the other finds it there, gives record and
/// lease back and uses the winner's flow. A reply cannot arrive on the loser's lease: nothing was sent
/// from it.
#[inline(always)]
pub fn open<T: Tables + ?Sized>(tables: &T, opening: &Opening) -> Result<u32, Refusal> {
    let Opening { key, endpoint: number, load_balancer, target_group, length } = *opening;
    let settings = tables.settings().ok_or(DropReason::FlowTableFull)?;
    let endpoint = tables.endpoint(number).ok_or(DropReason::EndpointNotAvailable)?;
    let target_index = choose_target(tables, settings, &key, number, target_group)?;
    let target = tables.target(target_index).ok_or(DropReason::NoTarget)?;
    Route::to_target(tables, target)?.carries(length)?;
    let now = tables.now();
    let claimed = admit::admit(tables, settings, number, &endpoint.limits, now)?;
    let record = tables.record(claimed).ok_or(DropReason::FlowTableFull)?;
    let mut flow = NewFlow { forward: key, reverse: key, endpoint: number, target: target_index };
    if let Err(reason) =
        lease::lease(tables, load_balancer, target, &mut flow, claimed, record, now)
    {
        free::release(tables, claimed);
        return Err(reason.into());
    }
    match tables.insert(key.words(), claimed, Direction::Forward) {
        Insert::Done => {
            life::begin(tables, record);
            Ok(claimed)
        }
        refused => {
            life::withdraw(tables, record, claimed, now);
            if refused == Insert::Full {
                return Err(DropReason::FlowTableFull.into());
            }
            tables
                .find(key.words())
                .map(|winner| winner.entry.number())
                .ok_or(DropReason::FlowTableBusy.into())
        }
    }
}

#[inline(always)]
fn choose_target<T: Tables + ?Sized>(
    tables: &T,
    settings: &Settings,
    key: &FlowKey,
    endpoint: u32,
    target_group: u32,
) -> Result<u32, DropReason> {
    let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
    let hash =
        hash(settings.hash_seed, u64::from(key.source) << 32 | ports, u64::from(endpoint)) as u32;
    let target = tables.maglev(target_group).map_or(NO_TARGET, |table| table.target(hash));
    if target == NO_TARGET { Err(DropReason::NoTarget) } else { Ok(u32::from(target)) }
}
