//! The maps in ordinary memory: what the engine runs against in tests.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use crate::drop_reason::DropReason;
use crate::engine::lease;
use crate::engine::open::Opening;
use crate::engine::unreachable::Refusal;
use crate::flow_event::{ENDED, Ended, FlowEvent, REFUSED, Refused, What, WideKey};
use crate::flow_table::bucket::Bucket;
use crate::flow_table::half::FlowHalf;
use crate::flow_table::note::Notes;
use crate::flow_table::record::{NewFlow, Place, Record};
use crate::flow_table::totals::{AddressTotals, Totals};
use crate::flow_table::{
    self, Entry, FlowMemory, Insert, Measures, NONE, Usage, free, index, life,
};
use crate::fragment::{FragmentKey, Tracked};
use crate::limits::{IDENTIFICATION_COUNTERS, INTERFACE_SLOTS};
use crate::maglev;
use crate::memory::Shared;
use crate::records::{
    Address, AddressKey, Endpoint, EndpointAddressKey, Interface, Listener, ListenerKey,
    LoadBalancer, Settings, Target, TargetKey, Timeouts, interface_slots,
};
use crate::tables::{Tables, WideTables};
use crate::ticks::Tick;
use crate::wide::{
    self, Ends, WideAddress, WideAddressKey, WideEndpointAddressKey, WideListenerKey,
    WideLoadBalancer, WideRules, WideTargetKey,
};

/// A model of the maps. Time and chance are what the test sets them to.
#[derive(Default)]
pub struct MemoryTables {
    /// Slot table.
    pub interfaces: HashMap<u32, Interface>,
    /// Addresses of ours.
    pub addresses: HashMap<AddressKey, Address>,
    /// Endpoints by number.
    pub endpoints: HashMap<u32, Endpoint>,
    /// Published ports, in blocks.
    pub listeners: HashMap<ListenerKey, Listener>,
    /// Load balancers by number.
    pub load_balancers: HashMap<u32, LoadBalancer>,
    /// Maglev tables by pool.
    pub maglev: HashMap<u32, Box<maglev::Table>>,
    /// Targets by number.
    pub targets: HashMap<u32, Target>,
    /// Numbers of targets by address.
    pub target_keys: HashMap<TargetKey, u32>,
    /// The flow table.
    pub flows: MemoryFlowTable,
    /// What the wide table has besides.
    pub wide: WideMaps,
    /// Ports the host uses itself, host order.
    pub reserved_ports: HashSet<u16>,
    /// The time.
    pub now: Cell<Tick>,
    /// The time, nanoseconds.
    pub nanoseconds: Cell<u64>,
    icmp_budgets: IcmpBudgets,
    fragments: RefCell<HashMap<FragmentKey, Tracked>>,
    identifications: Identifications,
    random: Cell<u64>,
    drops: RefCell<HashMap<(u32, DropReason), u64>>,
    events: RefCell<Vec<FlowEvent>>,
    refusal: Cell<Option<Refusal>>,
    shows_wide: Cell<bool>,
}

/// The wide flow table and the maps that go with it.
#[derive(Default)]
pub struct WideMaps {
    /// IPv6 addresses of ours.
    pub addresses: HashMap<WideAddressKey, Address>,
    /// Ports published at IPv6 addresses, in blocks.
    pub listeners: HashMap<WideListenerKey, Listener>,
    /// Rules for IPv6 clients by endpoint.
    pub rules: HashMap<u32, WideRules>,
    /// Addresses of targets by number.
    pub targets: HashMap<u32, WideAddress>,
    /// Addresses of load balancers by family: see [`WideLoadBalancer`].
    pub load_balancers: HashMap<u32, WideLoadBalancer>,
    /// Numbers of IPv6 targets by address.
    pub target_keys: HashMap<WideTargetKey, u32>,
    /// Totals of addresses of endpoints.
    pub totals: HashMap<WideEndpointAddressKey, AddressTotals>,
    /// The flow table; endpoints, targets and their totals are those of the narrow one.
    pub flows: MemoryFlowTable,
}

/// The ICMP budgets by slot.
struct IcmpBudgets(Vec<Shared>);

impl Default for IcmpBudgets {
    fn default() -> Self {
        Self((0..INTERFACE_SLOTS).map(|_| Shared::default()).collect())
    }
}

/// The counters of identifications.
struct Identifications(Vec<Shared>);

impl Default for Identifications {
    fn default() -> Self {
        Self((0..IDENTIFICATION_COUNTERS).map(|_| Shared::default()).collect())
    }
}

impl MemoryTables {
    /// Shows these tables with the wide flow table in the place of the narrow one.
    pub fn with_wide<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        self.shows_wide.set(true);
        let result = work(self);
        self.shows_wide.set(false);
        result
    }

    fn flow_table(&self) -> &MemoryFlowTable {
        if self.shows_wide.get() { &self.wide.flows } else { &self.flows }
    }

    const fn other_flow_table(&self) -> &MemoryFlowTable {
        if self.shows_wide.get() { &self.flows } else { &self.wide.flows }
    }

    /// Puts an interface into the first free one of its slots; returns the slot.
    pub fn attach(&mut self, interface: Interface) -> Option<u32> {
        let slot =
            interface_slots(interface.ifindex).find(|slot| !self.interfaces.contains_key(slot))?;
        self.interfaces.insert(slot, interface);
        Some(slot)
    }

    /// What was told since the last time, if it was asked for.
    pub fn events(&self) -> Vec<FlowEvent> {
        self.events.take()
    }

    fn tell<const WORDS: usize>(&self, kind: u32, write: impl FnOnce(&[Shared; WORDS])) {
        if self.flows.settings.events & kind != 0 {
            let words = [const { Shared::new(0) }; WORDS];
            write(&words);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.get().to_ne_bytes()).collect();
            self.events.borrow_mut().extend(FlowEvent::read(&bytes));
        }
    }

    /// Packets dropped on a slot for a reason.
    pub fn drops(&self, slot: u32, reason: DropReason) -> u64 {
        self.drops.borrow().get(&(slot, reason)).copied().unwrap_or(0)
    }
}

/// A flow table in ordinary memory.
#[derive(Default)]
pub struct MemoryFlowTable {
    /// Settings, the table's measures among them.
    pub settings: Settings,
    /// Time-outs by endpoint.
    pub timeouts: HashMap<u32, Timeouts>,
    /// Totals of addresses of endpoints.
    pub addresses: HashMap<EndpointAddressKey, AddressTotals>,
    halves: Vec<FlowHalf>,
    buckets: Vec<Bucket>,
    free: Vec<Shared>,
    strays: Vec<Shared>,
    notes: Vec<Notes>,
    usage: Vec<Usage>,
    targets: Vec<Totals>,
    ends: Vec<Ends>,
}

impl MemoryFlowTable {
    /// An empty table of the measures in `settings`, for this many endpoints and as many targets.
    pub fn new(settings: Settings, endpoints: usize) -> Self {
        let measures = Measures::new(settings.halves / 2);
        let table = Self {
            settings,
            timeouts: HashMap::new(),
            addresses: HashMap::new(),
            halves: (0..measures.halves).map(|_| FlowHalf::default()).collect(),
            buckets: (0..measures.buckets).map(|_| Bucket::default()).collect(),
            free: (0..measures.free_words).map(|_| Shared::default()).collect(),
            strays: (0..measures.stray_words).map(|_| Shared::default()).collect(),
            notes: (0..Notes::count(measures.halves)).map(|_| Notes::default()).collect(),
            usage: (0..endpoints).map(|_| Usage::default()).collect(),
            targets: (0..endpoints).map(|_| Totals::default()).collect(),
            ends: Vec::new(),
        };
        flow_table::clear(&table, measures);
        table
    }
}

/// Puts a flow in that no packet has opened; false where the table is full. `random` is where to look for room.
///
/// # Panics
/// Where one of its keys is there already.
pub fn occupy(table: &(impl FlowMemory + ?Sized), flow: &NewFlow, random: u32, now: Tick) -> bool {
    let number = table.claim(flow.forward, random, now);
    if number == NONE {
        return false;
    }
    let other = table.claim(flow.reverse, random.rotate_left(16), now);
    if other == NONE {
        free::release(table, number);
        return false;
    }
    let (Some(forward), Some(reverse)) = (table.half(number), table.half(other)) else {
        return false;
    };
    reverse.fill_reverse(flow, number, now);
    assert_eq!(table.insert(flow.reverse, other), Insert::Done, "{flow:?}");
    forward.fill_forward(flow, other, now);
    assert_eq!(table.insert(flow.forward, number), Insert::Done, "{flow:?}");
    life::begin(table, &Record { number, forward, reverse });
    true
}

impl MemoryFlowTable {
    /// As [`Self::new`], the wide one.
    pub fn wide(settings: Settings) -> Self {
        let ends = (0..settings.halves).map(|_| Ends::default()).collect();
        Self { ends, ..Self::new(settings, 0) }
    }
}

impl FlowMemory for MemoryFlowTable {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn half(&self, number: u32) -> Option<&FlowHalf> {
        self.halves.get(number as usize)
    }

    fn bucket(&self, number: u32) -> Option<&Bucket> {
        self.buckets.get(number as usize)
    }

    fn free_word(&self, number: u32) -> Option<&Shared> {
        self.free.get(number as usize)
    }

    fn strays(&self, number: u32) -> Option<&Shared> {
        self.strays.get(number as usize)
    }

    fn notes(&self, number: u32) -> Option<&Notes> {
        self.notes.get(number as usize)
    }

    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        self.usage.get(endpoint as usize)
    }

    fn target_totals(&self, target: u32) -> Option<&Totals> {
        self.targets.get(target as usize)
    }

    fn address_totals(&self, key: &EndpointAddressKey) -> Option<&AddressTotals> {
        self.addresses.get(key)
    }

    fn ends(&self, number: u32) -> Option<&Ends> {
        self.ends.get(number as usize)
    }

    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        self.timeouts.get(&endpoint)
    }
}

impl FlowMemory for MemoryTables {
    fn settings(&self) -> Option<&Settings> {
        self.flow_table().settings()
    }

    fn half(&self, number: u32) -> Option<&FlowHalf> {
        self.flow_table().half(number)
    }

    fn bucket(&self, number: u32) -> Option<&Bucket> {
        self.flow_table().bucket(number)
    }

    fn free_word(&self, number: u32) -> Option<&Shared> {
        self.flow_table().free_word(number)
    }

    fn strays(&self, number: u32) -> Option<&Shared> {
        self.flow_table().strays(number)
    }

    fn notes(&self, number: u32) -> Option<&Notes> {
        self.flow_table().notes(number)
    }

    fn usage(&self, endpoint: u32) -> Option<&Usage> {
        self.flows.usage(endpoint)
    }

    fn target_totals(&self, target: u32) -> Option<&Totals> {
        self.flows.target_totals(target)
    }

    fn address_totals(&self, key: &EndpointAddressKey) -> Option<&AddressTotals> {
        self.flows.address_totals(key)
    }

    fn totals_by_address(&self, record: &Record<'_>) -> Option<&AddressTotals> {
        let (endpoint, client) = (record.place().endpoint(), record.forward.key_words());
        let key = EndpointAddressKey::of_flow(endpoint, client);
        let Some(ends) = self.ends(record.number) else {
            return self.address_totals(&key);
        };
        let [_, address] = ends.arriving();
        match address.ipv4() {
            Some(address) => self.address_totals(&EndpointAddressKey { address, ..key }),
            None => {
                let key = WideEndpointAddressKey::new(key.vpc, address, key.endpoint);
                self.wide.totals.get(&key)
            }
        }
    }

    fn ends(&self, number: u32) -> Option<&Ends> {
        if self.shows_wide.get() { self.wide.flows.ends(number) } else { None }
    }

    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts> {
        self.endpoints.get(&endpoint).map(|endpoint| &endpoint.timeouts)
    }

    fn tell_ended(&self, number: u32, place: Place, last: u32, now: Tick) {
        if let Some(record) = self.record(number) {
            self.tell(ENDED, |to| Ended::write(to, self, &record, place, [last, now.0]));
        }
    }
}

impl Tables for MemoryTables {
    fn interface(&self, slot: u32) -> Option<&Interface> {
        const FREE: &Interface = &Interface {
            ifindex: 0,
            mtu: 0,
            mac: crate::records::Mac([0; 3]),
            vpc: 0,
            flags: 0,
            padding: 0,
        };
        Some(self.interfaces.get(&slot).unwrap_or(FREE))
    }

    fn address(&self, key: &AddressKey) -> Option<&Address> {
        self.addresses.get(key)
    }

    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        self.endpoints.get(&index)
    }

    fn listener(&self, vpc: u16, address: u32, protocol: u8, port: u16) -> Option<&Listener> {
        let key = ListenerKey::new(vpc, address, protocol, port);
        (0..=u16::BITS).find_map(|bits| self.listeners.get(&key.block(bits)))
    }

    fn face(&self, load_balancer: u32, target: u32) -> u32 {
        if !self.shows_wide.get() {
            return load_balancer;
        }
        let target = self.wide_target(target);
        target.map_or(u32::MAX, |&target| WideLoadBalancer::number(load_balancer, target))
    }

    fn is_leased_elsewhere(&self, key: [u64; 2]) -> bool {
        index::find(self.other_flow_table(), key) != Entry::NONE
    }

    fn suits(&self, key: [u64; 2], picky: bool) -> bool {
        lease::suits(self.flow_table(), self.other_flow_table(), key, picky)
    }

    fn load_balancer(&self, face: u32) -> Option<&LoadBalancer> {
        if !self.shows_wide.get() {
            return self.load_balancers.get(&face);
        }
        self.wide.load_balancers.get(&face).map(|balancer| &balancer.names)
    }

    fn leased(&self, opening: &Opening, reverse: u32) {
        if self.shows_wide.get()
            && let Some(&target) = self.wide_target(opening.target.number())
            && let Some(balancer) = self.wide.load_balancers.get(&opening.load_balancer)
        {
            wide::leased(self, [opening.forward, reverse], balancer, target);
        }
    }

    fn maglev(&self, pool: u32) -> Option<&maglev::Table> {
        self.maglev.get(&pool).map(Box::as_ref)
    }

    fn target(&self, index: u32) -> Option<&Target> {
        self.targets.get(&index)
    }

    fn is_target(&self, key: &TargetKey) -> bool {
        self.target_keys.contains_key(key)
    }

    fn is_reserved(&self, port: u16) -> bool {
        self.reserved_ports.contains(&port)
    }

    fn now(&self) -> Tick {
        self.now.get()
    }

    fn nanoseconds(&self) -> u64 {
        self.nanoseconds.get()
    }

    fn icmp_budget(&self, slot: u32) -> Option<&Shared> {
        self.icmp_budgets.0.get(slot as usize)
    }

    fn random(&self) -> u32 {
        let next = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(next);
        crate::hash::mix(next) as u32
    }

    fn keep_refusal(&self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
    }

    fn kept_refusal(&self) -> Refusal {
        self.refusal.take().expect("a refusal was kept")
    }

    fn tracked(&self, key: &FragmentKey) -> Option<Tracked> {
        self.fragments.borrow().get(key).copied()
    }

    fn track(&self, key: &FragmentKey, tracked: Tracked) {
        self.fragments.borrow_mut().insert(*key, tracked);
    }

    fn identifications(&self, counter: u32) -> Option<&Shared> {
        self.identifications.0.get(counter as usize)
    }

    fn count_drop(&self, slot: u32, reason: DropReason) {
        *self.drops.borrow_mut().entry((slot, reason)).or_default() += 1;
    }

    fn tell_refused(&self, key: [u64; 2], what: What) {
        let refused = Refused { at: self.now(), key, what };
        self.tell(REFUSED, |to| refused.write(to));
    }

    fn tell_wide_refused(&self, key: WideKey, what: What) {
        let refused = Refused { at: self.now(), key, what };
        self.tell(REFUSED, |to| refused.write_wide(to));
    }
}

impl WideTables for MemoryTables {
    fn wide_address(&self, key: &WideAddressKey) -> Option<&Address> {
        self.wide.addresses.get(key)
    }

    fn wide_listener(
        &self,
        vpc: u16,
        address: WideAddress,
        protocol: u8,
        port: u16,
    ) -> Option<&Listener> {
        let key = WideListenerKey::new(vpc, address, protocol, port);
        (0..=u16::BITS).find_map(|bits| self.wide.listeners.get(&key.block(bits)))
    }

    fn wide_rules(&self, endpoint: u32) -> Option<&WideRules> {
        self.wide.rules.get(&endpoint)
    }

    fn wide_target(&self, index: u32) -> Option<&WideAddress> {
        self.wide.targets.get(&index)
    }

    fn is_wide_target(&self, key: &WideTargetKey) -> bool {
        self.wide.target_keys.contains_key(key)
    }
}
