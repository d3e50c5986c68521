//! What is told to the daemon as it happens.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use privatelink_common::flow_event::{ENDED, Ended, Lost, REFUSED, Refused, WideKey};
use privatelink_common::flow_table::FlowMemory;
use privatelink_common::flow_table::record::Place;
use privatelink_common::memory::Shared;

use crate::maps::{EVENTS_LOST, FLOW_EVENTS, KernelTables};

/// Tells of a flow that has ended, if that is asked for.
#[inline(always)]
pub(crate) fn ended(memory: &impl FlowMemory, number: u32, place: Place, moments: [u32; 2]) {
    if is_asked(ENDED)
        && let Some(record) = memory.record(number)
    {
        match memory.ends(record.forward.other()) {
            None => {
                let write = |to: &_| Ended::write(to, memory, &record, place, moments);
                tell(write, |lost| &mut lost.ended);
            }
            Some(ends) => {
                let write = |to: &_| Ended::write_wide(to, memory, &record, ends, place, moments);
                tell(write, |lost| &mut lost.ended);
            }
        }
    }
}

/// Tells of a refused packet, if that is asked for.
#[inline(always)]
pub(crate) fn refused(refused: Refused) {
    if is_asked(REFUSED) {
        tell(|to| refused.write(to), |lost| &mut lost.refused);
    }
}

/// As [`refused`], of one with IPv6 addresses.
#[inline(always)]
pub(crate) fn wide_refused(refused: Refused<WideKey>) {
    if is_asked(REFUSED) {
        tell(|to| refused.write_wide(to), |lost| &mut lost.refused);
    }
}

#[inline(always)]
fn is_asked(kind: u32) -> bool {
    KernelTables.settings().is_some_and(|settings| settings.events & kind != 0)
}

/// The daemon looks into the ring by itself: nobody is woken.
#[inline(always)]
fn tell<const WORDS: usize>(
    write: impl FnOnce(&[Shared; WORDS]),
    lost: impl FnOnce(&mut Lost) -> &mut u64,
) {
    let Some(mut entry) = FLOW_EVENTS.reserve::<[u64; WORDS]>(0) else {
        if let Some(counts) = EVENTS_LOST.get_ptr_mut(0) {
            // SAFETY: the element is this CPU's own, and programs run one after the other in softirq. One that the daemon runs
            // may be interrupted by these (before Linux 6.11): then one of the two counts is lost.
            *lost(unsafe { &mut *counts }) += 1;
        }
        return;
    };
    // SAFETY: that many words, aligned, and nobody else's until they are submitted; a cell of an integer is one.
    write(unsafe { &*entry.as_mut_ptr().cast::<[Shared; WORDS]>() });
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}
