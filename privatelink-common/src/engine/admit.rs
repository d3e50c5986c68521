//! Whether there is room for a new flow: in the table, and in what its endpoint may use of it.

use crate::drop_reason::DropReason;
use crate::flow_table::life::Pressure;
use crate::flow_table::{NONE, Usage, free, scale};
use crate::records::{FlowLimits, Settings};
use crate::tables::Tables;
use crate::ticks::Tick;

/// Halves looked at for a flow that is due, by a SYN that finds no room.
const SWEPT: u32 = 32;

/// Takes a free half for a new flow of an endpoint: for the client's key. Returns its number.
///
/// Several CPUs may pass a limit at once: it is exceeded by less than their number.
#[inline(always)]
pub fn admit<T: Tables + ?Sized>(
    tables: &T,
    key: [u64; 2],
    endpoint: u32,
) -> Result<u32, DropReason> {
    let settings = tables.settings().ok_or(DropReason::FlowTableFull)?;
    let usage = tables.usage(endpoint).ok_or(DropReason::EndpointNotAvailable)?;
    let limits = &tables.endpoint(endpoint).ok_or(DropReason::EndpointNotAvailable)?.limits;
    let now = tables.now();
    if usage.flows.get() >= u64::from(limits.flows) {
        return Err(DropReason::EndpointFlowLimit);
    }
    let crowded = || usage.half_open.get() >= u64::from(limits.half_open);
    let number = tables.claim(key, tables.random(), now);
    if number == NONE || crowded() {
        make_room(tables, settings, now);
    }
    if number == NONE {
        return Err(DropReason::FlowTableFull);
    }
    let refused = if crowded() {
        DropReason::EndpointHalfOpenLimit
    } else if !is_in_rate(usage, limits, settings, now) {
        DropReason::EndpointRateLimit
    } else {
        return Ok(number);
    };
    free::release(tables, number);
    Err(refused)
}

/// Ends what is due among a few halves. The daemon sweeps them all; this keeps the table usable without it,
/// and under a flood of SYNs. What it frees serves the SYNs that come after the quarantine.
#[inline(always)]
fn make_room<T: Tables + ?Sized>(tables: &T, settings: &Settings, now: Tick) {
    let first = scale(tables.random(), settings.halves.saturating_sub(SWEPT) + 1);
    for offset in 0..SWEPT {
        // The black box keeps LLVM from counting from `first` on: an unknown bound, the verifier says.
        let number = first + core::hint::black_box(offset);
        tables.sweep(number, Pressure::HalfOpen, now);
    }
}

/// Counts a new flow of the current second, unless there have been too many.
///
/// When a second begins, one CPU's exchange starts the count anew; others that saw the old second go on
/// uncounted in that moment.
#[inline(always)]
fn is_in_rate(usage: &Usage, limits: &FlowLimits, settings: &Settings, now: Tick) -> bool {
    if limits.new_per_second == 0 {
        return true;
    }
    let second = u64::from(now.0 / settings.second.max(1));
    let word = usage.rate.get();
    if word >> 32 != second {
        usage.rate.exchange(word, second << 32 | 1);
        return true;
    }
    if word as u32 >= limits.new_per_second {
        return false;
    }
    usage.rate.add(1);
    true
}
