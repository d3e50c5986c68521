//! The kernel's maps, and the engine's view of them. Names are at most 15 characters, the kernel's limit.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, PerCpuArray};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::limits::{
    FLOW_ENTRIES, INTERFACE_SLOTS, MAX_ADDRESSES, MAX_ENDPOINTS, MAX_LISTENERS, MAX_LOAD_BALANCERS,
    MAX_TARGET_GROUPS, MAX_TARGETS,
};
use privatelink_common::maglev;
use privatelink_common::memory::Shared;
use privatelink_common::records::{
    Address, AddressKey, Clock, Drops, Endpoint, FlowHalf, FlowKey, Interface, Listener,
    ListenerKey, LoadBalancer, Settings, Target, TargetKey,
};
use privatelink_common::tables::{Insert, Tables};

#[map]
static INTERFACES: Array<Interface> = Array::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static DROPS: PerCpuArray<Drops> = PerCpuArray::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static ADDRESSES: HashMap<AddressKey, Address> = HashMap::with_max_entries(MAX_ADDRESSES as u32, 0);
#[map]
static ENDPOINTS: Array<Endpoint> = Array::with_max_entries(MAX_ENDPOINTS as u32, 0);
#[map]
static LISTENERS: HashMap<ListenerKey, Listener> =
    HashMap::with_max_entries(MAX_LISTENERS as u32, 0);
#[map]
static BALANCERS: Array<LoadBalancer> = Array::with_max_entries(MAX_LOAD_BALANCERS as u32, 0);
#[map]
static MAGLEV: Array<maglev::Table> = Array::with_max_entries(MAX_TARGET_GROUPS as u32, 0);
#[map]
static TARGETS: Array<Target> = Array::with_max_entries(MAX_TARGETS as u32, 0);
#[map]
static TARGET_KEYS: HashMap<TargetKey, u32> = HashMap::with_max_entries(MAX_TARGETS as u32, 0);
// Plain hash, never LRU: an LRU would evict live flows, or one half of one, under a SYN flood.
#[map]
static FLOWS: HashMap<FlowKey, FlowHalf> = HashMap::with_max_entries(FLOW_ENTRIES, 0);
#[map]
static ICMP_BUDGETS: Array<Shared> = Array::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static CLOCK: Array<Clock> = Array::with_max_entries(1, 0);

const EEXIST: i64 = -17;

/// The maps, as the engine asks for them.
pub(crate) struct KernelTables;

impl KernelTables {
    /// Counts dropped packets on the interface in a slot.
    #[inline(always)]
    pub(crate) fn count(slot: u32, reason: DropReason, packets: u64) {
        if let Some(drops) = DROPS.get_ptr_mut(slot) {
            // SAFETY: the element is this CPU's own; program and tracepoint run one after the other in
            // softirq, so neither interrupts the other's addition.
            if let Some(counter) = unsafe { (*drops).0.get_mut(reason as usize) } {
                *counter += packets;
            }
        }
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn interface(&self, slot: u32) -> Option<&Interface> {
        INTERFACES.get(slot)
    }

    #[inline(always)]
    fn address(&self, key: &AddressKey) -> Option<&Address> {
        // SAFETY: the daemon replaces whole elements; a stale one is still a valid Address.
        unsafe { ADDRESSES.get(key) }
    }

    #[inline(always)]
    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        ENDPOINTS.get(index)
    }

    #[inline(always)]
    fn listener(&self, key: &ListenerKey) -> Option<&Listener> {
        // SAFETY: as in `address`.
        unsafe { LISTENERS.get(key) }
    }

    #[inline(always)]
    fn load_balancer(&self, index: u32) -> Option<&LoadBalancer> {
        BALANCERS.get(index)
    }

    #[inline(always)]
    fn maglev(&self, target_group: u32) -> Option<&maglev::Table> {
        MAGLEV.get(target_group)
    }

    #[inline(always)]
    fn target(&self, index: u32) -> Option<&Target> {
        TARGETS.get(index)
    }

    #[inline(always)]
    fn is_target(&self, key: &TargetKey) -> bool {
        TARGET_KEYS.get_ptr(key).is_some()
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<&FlowHalf> {
        // SAFETY: words that change are `Shared`. The kernel may give a removed element to another
        // flow while we still look at it; the daemon removes only flows that were silent for
        // seconds, so at worst one late packet in that instant is rewritten as the other flow's.
        unsafe { FLOWS.get(key) }
    }

    #[inline(always)]
    fn insert_flow(&self, key: &FlowKey, half: &FlowHalf) -> Insert {
        match FLOWS.insert(key, half, u64::from(BPF_NOEXIST)) {
            Ok(()) => Insert::Done,
            Err(error) if i64::from(error) == EEXIST => Insert::Exists,
            Err(_) => Insert::Full,
        }
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) {
        // It is there: this CPU put it in just now.
        let _ = FLOWS.remove(key);
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: no arguments, no side effects; kernel 5.5.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn nanoseconds(&self) -> u64 {
        // SAFETY: no arguments, no side effects.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn icmp_budget(&self, slot: u32) -> Option<&Shared> {
        ICMP_BUDGETS.get(slot)
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: no arguments, no side effects.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn count_drop(&self, slot: u32, reason: DropReason) {
        Self::count(slot, reason, 1);
    }
}
