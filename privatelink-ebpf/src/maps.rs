//! The kernel's maps, and the engine's view of them. Names are at most 15 characters, the kernel's limit.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::lease::{Lease, Wanted};
use privatelink_common::engine::open::{Opening, TargetPort};
use privatelink_common::engine::unreachable::Refusal;
use privatelink_common::flow_event::{Lost, RING_BYTES, Refused, What, WideKey};
use privatelink_common::flow_table::bucket::Bucket;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::life::Pressure;
use privatelink_common::flow_table::note::{Notes, Told};
use privatelink_common::flow_table::record::{Place, Record};
use privatelink_common::flow_table::totals::{AddressTotals, Totals};
use privatelink_common::flow_table::{Entry, FlowMemory, Found, Insert, Measures, Usage};
use privatelink_common::fragment::{FragmentKey, Tracked};
use privatelink_common::hash::hash;
use privatelink_common::ipv4;
use privatelink_common::limits::{
    DEFAULT_FLOWS, IDENTIFICATION_COUNTERS, INTERFACE_SLOTS, MAX_ADDRESSES, MAX_ENDPOINTS,
    MAX_FRAGMENTED, MAX_LISTENERS, MAX_LOAD_BALANCERS, MAX_POOLS, MAX_TARGETS,
};
use privatelink_common::maglev;
use privatelink_common::memory::{Shared, Shared32};
use privatelink_common::records::{
    Address, AddressKey, Clock, Drops, Endpoint, EndpointAddressKey, Interface, Listener,
    ListenerKey, LoadBalancer, Settings, Target, TargetKey, Timeouts,
};
use privatelink_common::stages::Stage;
use privatelink_common::tables::{Tables, WideTables};
use privatelink_common::ticks::Tick;
use privatelink_common::wide::{
    Ends, WideAddress, WideAddressKey, WideEndpointAddressKey, WideHalf, WideListenerKey,
    WideLoadBalancer, WideRules, WideTargetKey,
};

use crate::{events, functions, watch};

#[map]
static INTERFACES: Array<Interface> = Array::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
pub(crate) static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::PLACES, 0);
// The same of classifiers: a map holds programs of one type.
#[map]
pub(crate) static CLASSIFIERS: ProgramArray = ProgramArray::with_max_entries(Stage::PLACES, 0);
#[map]
static DROPS: PerCpuArray<Drops> = PerCpuArray::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static ADDRESSES: HashMap<AddressKey, Address> = HashMap::with_max_entries(MAX_ADDRESSES as u32, 0);
#[map]
static ENDPOINTS: Array<Endpoint> = Array::with_max_entries(MAX_ENDPOINTS as u32, 0);
#[map]
static LISTENERS: LpmTrie<[u32; 3], Listener> = LpmTrie::with_max_entries(MAX_LISTENERS as u32, 0);
#[map]
static BALANCERS: Array<LoadBalancer> = Array::with_max_entries(MAX_LOAD_BALANCERS as u32, 0);
// The number of each pool's table.
#[map]
static POOLS: Array<Shared32> = Array::with_max_entries(MAX_POOLS as u32, 0);
// As many as loading says.
#[map]
static MAGLEV: Array<maglev::Table> = Array::with_max_entries(1, 0);
#[map]
static TARGETS: Array<Target> = Array::with_max_entries(MAX_TARGETS as u32, 0);
// Each target has a key, or two.
#[map]
static TARGET_KEYS: HashMap<TargetKey, u32> = HashMap::with_max_entries(2 * MAX_TARGETS as u32, 0);
// The flow table's measures are set at loading; the daemon maps all seven into its own memory.
#[map]
static FLOWS: Array<FlowHalf> = Array::with_max_entries(DEFAULT.halves, BPF_F_MMAPABLE);
#[map]
static FLOW_INDEX: Array<Bucket> = Array::with_max_entries(DEFAULT.buckets, BPF_F_MMAPABLE);
#[map]
static FLOW_FREE: Array<Shared> = Array::with_max_entries(DEFAULT.free_words, BPF_F_MMAPABLE);
#[map]
static FLOW_STRAYS: Array<Shared> = Array::with_max_entries(DEFAULT.stray_words, BPF_F_MMAPABLE);
#[map]
static FLOW_NOTES: Array<Notes> =
    Array::with_max_entries(Notes::count(DEFAULT.halves), BPF_F_MMAPABLE);
#[map]
static FLOW_USAGE: Array<Usage> = Array::with_max_entries(MAX_ENDPOINTS as u32, BPF_F_MMAPABLE);
#[map]
static TARGET_TOTALS: Array<Totals> = Array::with_max_entries(MAX_TARGETS as u32, BPF_F_MMAPABLE);
#[map]
pub(crate) static FLOW_EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
#[map]
pub(crate) static EVENTS_LOST: PerCpuArray<Lost> = PerCpuArray::with_max_entries(1, 0);
// The daemon puts elements in and takes them out; the program adds to those there are.
#[map]
static ADDRESS_TOTALS: HashMap<EndpointAddressKey, AddressTotals> =
    HashMap::with_max_entries(MAX_ADDRESSES as u32, 0);
// One bit for each port.
#[map]
static RESERVED_PORTS: Array<u64> = Array::with_max_entries(65_536 / u64::BITS, 0);
#[map]
static ICMP_BUDGETS: Array<Shared> = Array::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, Tracked> =
    LruHashMap::with_max_entries(MAX_FRAGMENTED, 0);
#[map]
static FRAGMENT_IDS: Array<Shared> = Array::with_max_entries(IDENTIFICATION_COUNTERS, 0);
#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static CLOCK: Array<Clock> = Array::with_max_entries(1, 0);

// The wide flow table, and what it needs beside the maps that both tables share.
#[map]
static WIDE_SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
static WIDE_FLOWS: Array<WideHalf> = Array::with_max_entries(DEFAULT.halves, BPF_F_MMAPABLE);
#[map]
static WIDE_INDEX: Array<Bucket> = Array::with_max_entries(DEFAULT.buckets, BPF_F_MMAPABLE);
#[map]
static WIDE_FREE: Array<Shared> = Array::with_max_entries(DEFAULT.free_words, BPF_F_MMAPABLE);
#[map]
static WIDE_STRAYS: Array<Shared> = Array::with_max_entries(DEFAULT.stray_words, BPF_F_MMAPABLE);
#[map]
static WIDE_NOTES: Array<Notes> =
    Array::with_max_entries(Notes::count(DEFAULT.halves), BPF_F_MMAPABLE);
#[map]
static WIDE_ADDRESSES: HashMap<WideAddressKey, Address> =
    HashMap::with_max_entries(MAX_ADDRESSES as u32, 0);
#[map]
static WIDE_LISTENERS: LpmTrie<[u32; 7], Listener> =
    LpmTrie::with_max_entries(MAX_LISTENERS as u32, 0);
#[map]
static WIDE_RULES: Array<WideRules> = Array::with_max_entries(MAX_ENDPOINTS as u32, 0);
#[map]
static WIDE_TARGETS: Array<WideAddress> = Array::with_max_entries(MAX_TARGETS as u32, 0);
// Each with its IPv4 addresses, and with its IPv6 ones.
#[map]
static WIDE_BALANCERS: Array<WideLoadBalancer> =
    Array::with_max_entries(2 * MAX_LOAD_BALANCERS as u32, 0);
#[map]
static WIDE_TARGET_KEYS: HashMap<WideTargetKey, u32> =
    HashMap::with_max_entries(2 * MAX_TARGETS as u32, 0);
#[map]
static WIDE_TOTALS: HashMap<WideEndpointAddressKey, AddressTotals> =
    HashMap::with_max_entries(MAX_ADDRESSES as u32, 0);
// Why the packet at hand is refused: the reason, above it an MTU.
#[map]
static REFUSAL: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

const DEFAULT: Measures = Measures::new(DEFAULT_FLOWS);

/// A function of [`functions`] for one of the two flow tables.
macro_rules! of_table {
    ($wide:ident, $narrow_one:ident, $wide_one:ident) => {
        if $wide { functions::$wide_one } else { functions::$narrow_one }
    };
}

/// The maps, as the engine asks for them; `WATCHED` as the watched programs do, which are told what is dropped; `WIDE` with the
/// wide flow table.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<const WATCHED: bool, const WIDE: bool>;

pub(crate) type KernelTables = Kernel<false, false>;
#[expect(non_upper_case_globals, reason = "the value of a type without fields has the type's name")]
pub(crate) const KernelTables: KernelTables = Kernel;
pub(crate) type WideKernelTables = Kernel<false, true>;
#[expect(non_upper_case_globals, reason = "as above")]
pub(crate) const WideKernelTables: WideKernelTables = Kernel;

impl<const WATCHED: bool, const WIDE: bool> Kernel<WATCHED, WIDE> {
    /// Counts dropped packets on the interface in a slot.
    #[inline(always)]
    pub(crate) fn count(slot: u32, reason: DropReason, packets: u64) {
        // The black box makes LLVM keep the bounds check, though it knows how many reasons there are.
        let number = core::hint::black_box(reason as u32) as usize;
        if let Some(drops) = DROPS.get_ptr_mut(slot) {
            // SAFETY: the element is this CPU's own; program and tracepoint run one after the other in
            // softirq, so neither interrupts the other's addition.
            if let Some(counter) = unsafe { (*drops).0.get_mut(number) } {
                *counter += packets;
            }
        }
        if WATCHED {
            watch::dropped(reason);
        }
    }
}

impl<const WATCHED: bool, const WIDE: bool> FlowMemory for Kernel<WATCHED, WIDE> {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        if WIDE { WIDE_SETTINGS.get(0) } else { SETTINGS.get(0) }
    }

    #[inline(always)]
    fn half(&self, number: u32) -> Option<&FlowHalf> {
        if WIDE { WIDE_FLOWS.get(number).map(|wide| &wide.half) } else { FLOWS.get(number) }
    }

    #[inline(always)]
    fn bucket(&self, number: u32) -> Option<&Bucket> {
        if WIDE { WIDE_INDEX.get(number) } else { FLOW_INDEX.get(number) }
    }

    #[inline(always)]
    fn free_word(&self, number: u32) -> Option<&Shared> {
        if WIDE { WIDE_FREE.get(number) } else { FLOW_FREE.get(number) }
    }

    #[inline(always)]
    fn strays(&self, number: u32) -> Option<&Shared> {
        if WIDE { WIDE_STRAYS.get(number) } else { FLOW_STRAYS.get(number) }
    }

    #[inline(always)]
    fn notes(&self, number: u32) -> Option<&Notes> {
        if WIDE { WIDE_NOTES.get(number) } else { FLOW_NOTES.get(number) }
    }

    #[inline(always)]
    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        FLOW_USAGE.get(endpoint)
    }

    #[inline(always)]
    fn target_totals(&self, target: u32) -> Option<&Totals> {
        TARGET_TOTALS.get(target)
    }

    #[inline(always)]
    fn address_totals(&self, key: &EndpointAddressKey) -> Option<&AddressTotals> {
        // SAFETY: the element consists of shared words; the daemon takes out only those of no flow.
        unsafe { ADDRESS_TOTALS.get(key) }
    }

    #[inline(always)]
    fn totals_by_address(&self, record: &Record<'_>) -> Option<&AddressTotals> {
        let endpoint = record.place().endpoint();
        let client = record.forward.key_words();
        if !WIDE {
            return self.address_totals(&EndpointAddressKey::of_flow(endpoint, client));
        }
        let [_, address] = self.ends(record.number)?.arriving();
        match address.ipv4() {
            Some(address) => self.address_totals(&EndpointAddressKey {
                address,
                ..EndpointAddressKey::of_flow(endpoint, client)
            }),
            None => {
                let vpc = (client[1] >> 32) as u16;
                let key = WideEndpointAddressKey::new(vpc, address, endpoint as u16);
                // SAFETY: as in `address_totals`.
                unsafe { WIDE_TOTALS.get(key) }
            }
        }
    }

    #[inline(always)]
    fn ends(&self, number: u32) -> Option<&Ends> {
        if WIDE { WIDE_FLOWS.get(number).map(|wide| &wide.ends) } else { None }
    }

    #[inline(always)]
    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        ENDPOINTS.get(endpoint).map(|endpoint| &endpoint.timeouts)
    }

    #[inline(always)]
    fn tell_ended(&self, number: u32, place: Place, last: u32, now: Tick) {
        of_table!(WIDE, tell_ended, tell_wide_ended)(number, place.0, last, now.0);
    }

    #[inline(always)]
    fn find(&self, [addresses, ports]: [u64; 2]) -> Option<Found<'_>> {
        Found::of(self, Entry(of_table!(WIDE, flow_find, wide_find)(addresses, ports)))
    }

    #[inline(always)]
    fn owner(&self, number: u32) -> u32 {
        of_table!(WIDE, flow_owner, wide_owner)(number)
    }

    #[inline(always)]
    fn insert(&self, [addresses, ports]: [u64; 2], number: u32) -> Insert {
        Insert::from_number(of_table!(WIDE, flow_insert, wide_insert)(addresses, ports, number))
    }

    #[inline(always)]
    fn remove(&self, number: u32) {
        of_table!(WIDE, flow_remove, wide_remove)(number);
    }

    #[inline(always)]
    fn count_ended(&self, number: u32) {
        of_table!(WIDE, flow_count_ended, wide_count_ended)(number);
    }

    #[inline(always)]
    fn claim(&self, [addresses, ports]: [u64; 2], random: u32, now: Tick) -> u32 {
        of_table!(WIDE, flow_claim, wide_claim)(addresses, ports, random, now.0)
    }

    #[inline(always)]
    fn sweep(&self, number: u32, pressure: Pressure, now: Tick) -> bool {
        of_table!(WIDE, flow_sweep, wide_sweep)(number, pressure as u32, now.0) != 0
    }

    #[inline(always)]
    fn cut(&self, number: u32, place: Place, now: Tick) -> bool {
        of_table!(WIDE, flow_cut, wide_cut)(number, place.0, now.0) != 0
    }
}

/// A function of its own, so that its key does not stand on the program's stack while a lease is chosen.
#[inline(never)]
fn listener(vpc: u16, address: u32, protocol: u8, port: u16) -> Option<&'static Listener> {
    let key = ListenerKey::new(vpc, address, protocol, port);
    // SAFETY: the same fields in the same order, and the trie's own key needs no alignment.
    LISTENERS.get(unsafe { &*core::ptr::from_ref(&key).cast::<Key<[u32; 3]>>() })
}

impl<const WATCHED: bool, const WIDE: bool> Tables for Kernel<WATCHED, WIDE> {
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
    fn listener(&self, vpc: u16, address: u32, protocol: u8, port: u16) -> Option<&Listener> {
        listener(vpc, address, protocol, port)
    }

    #[inline(always)]
    fn face(&self, load_balancer: u32, target: u32) -> u32 {
        if !WIDE {
            return load_balancer;
        }
        let target = WIDE_TARGETS.get(target);
        target.map_or(u32::MAX, |&target| WideLoadBalancer::number(load_balancer, target))
    }

    #[inline(always)]
    fn load_balancer(&self, face: u32) -> Option<&LoadBalancer> {
        if !WIDE {
            return BALANCERS.get(face);
        }
        WIDE_BALANCERS.get(face).map(|balancer| &balancer.names)
    }

    #[inline(always)]
    fn is_leased_elsewhere(&self, [addresses, ports]: [u64; 2]) -> bool {
        of_table!(WIDE, wide_find, flow_find)(addresses, ports) != Entry::NONE.0
    }

    #[inline(always)]
    fn suits(&self, [addresses, ports]: [u64; 2], picky: bool) -> bool {
        of_table!(WIDE, flow_suits, wide_suits)(addresses, ports, u32::from(picky)) != 0
    }

    #[inline(always)]
    fn leased(&self, opening: &Opening, reverse: u32) {
        let Opening { load_balancer, target, forward, .. } = *opening;
        if WIDE {
            functions::wide_leased(load_balancer, target.number(), forward, reverse);
        }
    }

    #[inline(always)]
    fn maglev(&self, pool: u32) -> Option<&maglev::Table> {
        MAGLEV.get(POOLS.get(pool)?.get())
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
        let word = unsafe { bpf_get_prandom_u32() };
        // The kernel's generator is linear: who sees a few of its words computes all that follow.
        self.settings()
            .map_or(word, |settings| hash(settings.seeds.hash, u64::from(word), 0) as u32)
    }

    #[inline(always)]
    fn keep_refusal(&self, refusal: Refusal) {
        let (reason, mtu) = refusal.parts();
        if let Some(kept) = REFUSAL.get_ptr_mut(0) {
            // SAFETY: the element is this CPU's own, and XDP is not interrupted by XDP.
            unsafe { *kept = u64::from(reason as u32) | u64::from(mtu) << 32 };
        }
    }

    #[inline(always)]
    fn kept_refusal(&self) -> Refusal {
        // SAFETY: as in `keep_refusal`.
        let kept = REFUSAL.get_ptr(0).map_or(0, |kept| unsafe { *kept });
        let reason = DropReason::from_number(kept as u32).unwrap_or(DropReason::TooBig);
        Refusal::from_parts(reason, (kept >> 32) as u16)
    }

    #[inline(always)]
    fn tracked(&self, key: &FragmentKey) -> Option<Tracked> {
        // SAFETY: two words, aligned, which any bits may be; each is read once, whoever writes the element anew meanwhile.
        FRAGMENTS.get_ptr(key).map(|tracked| unsafe { tracked.read_volatile() })
    }

    #[inline(always)]
    fn track(&self, key: &FragmentKey, tracked: Tracked) {
        // Without an element, the others find nothing.
        let _ = FRAGMENTS.insert(key, tracked, 0);
    }

    #[inline(always)]
    fn identifications(&self, counter: u32) -> Option<&Shared> {
        FRAGMENT_IDS.get(counter)
    }

    #[inline(always)]
    fn count_drop(&self, slot: u32, reason: DropReason) {
        Self::count(slot, reason, 1);
    }

    #[inline(always)]
    fn tell_refused(&self, key: [u64; 2], what: What) {
        events::refused(Refused { at: self.now(), key, what });
    }

    #[inline(always)]
    fn tell_wide_refused(&self, key: WideKey, what: What) {
        events::wide_refused(Refused { at: self.now(), key, what });
    }

    #[inline(always)]
    fn note_told(&self, number: u32, told: Told) {
        of_table!(WIDE, flow_note, wide_note)(number, told as u32);
    }

    #[inline(always)]
    fn establish(&self, number: u32) {
        of_table!(WIDE, flow_establish, wide_establish)(number);
    }

    #[inline(always)]
    fn choose_target(&self, [addresses, ports]: [u64; 2], listener: &Listener) -> TargetPort {
        let Listener { service, pool, flags, .. } = *listener;
        let asked = u64::from(service) << 32 | u64::from(pool);
        TargetPort(of_table!(WIDE, flow_choose_target, wide_choose_target)(
            addresses, ports, asked, flags,
        ))
    }

    #[inline(always)]
    fn admit(&self, [addresses, ports]: [u64; 2], endpoint: u32) -> Result<u32, DropReason> {
        functions::outcome(of_table!(WIDE, flow_admit, wide_admit)(addresses, ports, endpoint))
    }

    #[inline(always)]
    fn lease(&self, opening: &Opening) -> Result<u32, DropReason> {
        let ([addresses, ports], [whose, way]) = (opening.key, functions::words(opening));
        // Calls, not a choice of whom to call: LLVM would make a pointer of it.
        functions::outcome(match opening.protocol() {
            ipv4::UDP => of_table!(WIDE, udp_lease, wide_udp_lease)(addresses, ports, whose, way),
            _ => of_table!(WIDE, flow_lease, wide_lease)(
                addresses,
                ports,
                whose,
                way,
                opening.sequence,
            ),
        })
    }

    #[inline(always)]
    fn renew(&self, opening: &Opening) -> u32 {
        let ([addresses, ports], [whose, way]) = (opening.key, functions::words(opening));
        of_table!(WIDE, flow_renew, wide_renew)(addresses, ports, whose, way, opening.sequence)
    }

    #[inline(always)]
    fn open(&self, opening: &Opening, reverse: u32) -> Result<u32, DropReason> {
        let ([addresses, ports], [whose, way]) = (opening.key, functions::words(opening));
        functions::outcome(of_table!(WIDE, flow_open, wide_open)(
            addresses, ports, whose, way, reverse,
        ))
    }

    #[inline(always)]
    fn choose_lease(
        &self,
        balancer: u32,
        target: TargetPort,
        endpoint: u32,
        protocol: u8,
        wanted: Wanted,
    ) -> Lease {
        let wanted = wanted as u32 | u32::from(protocol) << 8;
        Lease(of_table!(WIDE, flow_choose_lease, wide_choose_lease)(
            balancer, target.0, endpoint, wanted,
        ))
    }
}

/// A load balancer's addresses of one family.
#[inline(always)]
pub(crate) fn wide_balancer(face: u32) -> Option<&'static WideLoadBalancer> {
    WIDE_BALANCERS.get(face)
}

/// As [`listener`].
#[inline(never)]
fn wide_listener(
    vpc: u16,
    address: WideAddress,
    protocol: u8,
    port: u16,
) -> Option<&'static Listener> {
    let key = WideListenerKey::new(vpc, address, protocol, port);
    // SAFETY: as in `listener`.
    WIDE_LISTENERS.get(unsafe { &*core::ptr::from_ref(&key).cast::<Key<[u32; 7]>>() })
}

impl<const WATCHED: bool> WideTables for Kernel<WATCHED, true> {
    #[inline(always)]
    fn wide_address(&self, key: &WideAddressKey) -> Option<&Address> {
        // SAFETY: as in `address`.
        unsafe { WIDE_ADDRESSES.get(key) }
    }

    #[inline(always)]
    fn wide_listener(
        &self,
        vpc: u16,
        address: WideAddress,
        protocol: u8,
        port: u16,
    ) -> Option<&Listener> {
        wide_listener(vpc, address, protocol, port)
    }

    #[inline(always)]
    fn wide_rules(&self, endpoint: u32) -> Option<&WideRules> {
        WIDE_RULES.get(endpoint)
    }

    #[inline(always)]
    fn wide_target(&self, index: u32) -> Option<&WideAddress> {
        WIDE_TARGETS.get(index)
    }

    #[inline(always)]
    fn is_wide_target(&self, key: &WideTargetKey) -> bool {
        WIDE_TARGET_KEYS.get_ptr(key).is_some()
    }
}
