//! The kernel's maps, and the engine's view of them. Names are at most 15 characters, the kernel's limit.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, PerCpuArray};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::lease::{Lease, Wanted};
use privatelink_common::engine::open::Opening;
use privatelink_common::engine::unreachable::Refusal;
use privatelink_common::flow_table::life::Pressure;
use privatelink_common::flow_table::record::{Direction, Record};
use privatelink_common::flow_table::{Bucket, Entry, FlowMemory, Found, Insert, Measures, Usage};
use privatelink_common::limits::{
    DEFAULT_FLOWS, INTERFACE_SLOTS, MAX_ADDRESSES, MAX_ENDPOINTS, MAX_LISTENERS,
    MAX_LOAD_BALANCERS, MAX_TARGET_GROUPS, MAX_TARGETS,
};
use privatelink_common::maglev;
use privatelink_common::memory::Shared;
use privatelink_common::records::{
    Address, AddressKey, Clock, Drops, Endpoint, Interface, Listener, ListenerKey, LoadBalancer,
    Settings, Target, TargetKey, Timeouts,
};
use privatelink_common::tables::Tables;
use privatelink_common::ticks::Tick;

use crate::functions;

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
// The flow table's measures are set at loading; the daemon maps all four into its own memory.
#[map]
static FLOWS: Array<Record> = Array::with_max_entries(DEFAULT.records, BPF_F_MMAPABLE);
#[map]
static FLOW_INDEX: Array<Bucket> = Array::with_max_entries(DEFAULT.buckets, BPF_F_MMAPABLE);
#[map]
static FLOW_FREE: Array<Shared> = Array::with_max_entries(DEFAULT.free_words, BPF_F_MMAPABLE);
#[map]
static FLOW_USAGE: Array<Usage> = Array::with_max_entries(MAX_ENDPOINTS as u32, BPF_F_MMAPABLE);
// One bit for each port.
#[map]
static RESERVED_PORTS: Array<u64> = Array::with_max_entries(65_536 / u64::BITS, 0);
#[map]
static ICMP_BUDGETS: Array<Shared> = Array::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static CLOCK: Array<Clock> = Array::with_max_entries(1, 0);

const DEFAULT: Measures = Measures::new(DEFAULT_FLOWS);

/// The maps, as the engine asks for them.
#[derive(Clone, Copy)]
pub(crate) struct KernelTables;

impl KernelTables {
    /// Counts dropped packets on the interface in a slot.
    #[inline(always)]
    pub(crate) fn count(slot: u32, reason: DropReason, packets: u64) {
        // The black box makes LLVM keep the bounds check, though it knows how many reasons there are.
        let reason = core::hint::black_box(reason as u32) as usize;
        if let Some(drops) = DROPS.get_ptr_mut(slot) {
            // SAFETY: the element is this CPU's own; program and tracepoint run one after the other in
            // softirq, so neither interrupts the other's addition.
            if let Some(counter) = unsafe { (*drops).0.get_mut(reason) } {
                *counter += packets;
            }
        }
    }
}

impl FlowMemory for KernelTables {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn record(&self, number: u32) -> Option<&Record> {
        FLOWS.get(number)
    }

    #[inline(always)]
    fn bucket(&self, number: u32) -> Option<&Bucket> {
        FLOW_INDEX.get(number)
    }

    #[inline(always)]
    fn free_word(&self, number: u32) -> Option<&Shared> {
        FLOW_FREE.get(number)
    }

    #[inline(always)]
    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        FLOW_USAGE.get(endpoint)
    }

    #[inline(always)]
    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        ENDPOINTS.get(endpoint).map(|endpoint| &endpoint.timeouts)
    }

    #[inline(always)]
    fn find(&self, [addresses, ports]: [u64; 2]) -> Option<Found<'_>> {
        let found = functions::flow_find(addresses, ports);
        if found == functions::NONE {
            return None;
        }
        let entry = Entry(found);
        Some(Found { record: self.record(entry.number())?, entry })
    }

    #[inline(always)]
    fn insert(&self, [addresses, ports]: [u64; 2], number: u32, direction: Direction) -> Insert {
        Insert::from_number(functions::flow_insert(addresses, ports, number, direction as u32))
    }

    #[inline(always)]
    fn remove(&self, [addresses, ports]: [u64; 2], number: u32, direction: Direction) {
        functions::flow_remove(addresses, ports, number, direction as u32);
    }

    #[inline(always)]
    fn claim(&self, random: u32, now: Tick) -> u32 {
        functions::flow_claim(random, now.0)
    }

    #[inline(always)]
    fn sweep(&self, number: u32, pressure: Pressure, now: Tick) -> bool {
        functions::flow_sweep(number, pressure as u32, now.0) != 0
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
    fn is_reserved(&self, port: u16) -> bool {
        RESERVED_PORTS
            .get(u32::from(port) / u64::BITS)
            .is_some_and(|word| word >> (u32::from(port) % u64::BITS) & 1 != 0)
    }

    #[inline(always)]
    fn now(&self) -> Tick {
        // SAFETY: no arguments, no side effects; kernel 5.5.
        Tick::from_jiffies(unsafe { bpf_jiffies64() })
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

    #[inline(always)]
    fn open(&self, opening: &Opening) -> Result<u32, Refusal> {
        let Opening { key, endpoint, load_balancer, target_group, length } = *opening;
        let [addresses, ports] = key.words();
        let groups = u64::from(load_balancer) << 32 | u64::from(target_group);
        let outcome = functions::flow_open(addresses, ports, endpoint, groups, length);
        match DropReason::from_number((outcome >> functions::REASON) as u32) {
            None => Ok(outcome as u32),
            Some(reason) => Err(Refusal::from_parts(reason, outcome as u16)),
        }
    }

    #[inline(always)]
    fn choose_lease(&self, balancer: u32, target: u32, endpoint: u32, wanted: Wanted) -> Lease {
        Lease(functions::flow_choose_lease(balancer, target, endpoint, wanted as u32))
    }
}
