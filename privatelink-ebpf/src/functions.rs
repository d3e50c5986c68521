//! Functions that the verifier checks once, by themselves, whatever their callers know (global functions, Linux
//! 5.6). They take and return plain numbers only.

use privatelink_common::engine::lease::{self, Wanted};
use privatelink_common::engine::open::{self, Opening};
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::record::Direction;
use privatelink_common::flow_table::{free, index};
use privatelink_common::records::FlowKey;
use privatelink_common::ticks::Tick;

use crate::maps::KernelTables;

/// What [`flow_find`] returns for a key that is not there.
pub(crate) const NONE: u64 = u64::MAX;

/// [`index::find`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_find(addresses: u64, ports: u64) -> u64 {
    match index::find(&KernelTables, [addresses, ports]) {
        Some(entry) => entry.0,
        None => NONE,
    }
}

/// [`index::insert`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_insert(addresses: u64, ports: u64, number: u32, of: u32) -> u32 {
    index::insert(&KernelTables, [addresses, ports], number, Direction::from_number(of)) as u32
}

/// [`index::remove`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_remove(addresses: u64, ports: u64, number: u32, of: u32) -> u32 {
    index::remove(&KernelTables, [addresses, ports], number, Direction::from_number(of));
    0
}

/// [`life::sweep`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_sweep(number: u32, pressure: u32, now: u32) -> u32 {
    let pressure = match pressure {
        0 => Pressure::None,
        _ => Pressure::HalfOpen,
    };
    u32::from(life::sweep(&KernelTables, number, pressure, Tick(now)))
}

/// [`free::claim`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_claim(random: u32, now: u32) -> u32 {
    free::claim(&KernelTables, random, Tick(now))
}

/// [`lease::choose`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_choose_lease(
    balancer: u32,
    target: u32,
    endpoint: u32,
    wanted: u32,
) -> u64 {
    let wanted = match wanted {
        0 => Wanted::Free,
        _ => Wanted::Any,
    };
    lease::choose(&KernelTables, balancer, target, endpoint, wanted).0
}

/// Where [`flow_open`] puts the number of a drop reason; below it stands the MTU of what was too big, or, where there
/// is no reason, the number of a record.
pub(crate) const REASON: u32 = 32;

/// [`open::open`]; `groups` is the target group, above it the load balancer.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_open(
    addresses: u64,
    ports: u64,
    endpoint: u32,
    groups: u64,
    length: u16,
) -> u64 {
    let opening = Opening {
        key: FlowKey::from_words([addresses, ports]),
        endpoint,
        load_balancer: (groups >> 32) as u32,
        target_group: groups as u32,
        length,
    };
    match open::open(&KernelTables, &opening) {
        Ok(number) => u64::from(number),
        Err(refusal) => {
            let (reason, mtu) = refusal.parts();
            (reason as u64) << REASON | u64::from(mtu)
        }
    }
}
