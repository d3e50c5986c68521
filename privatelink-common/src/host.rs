//! The maps in ordinary memory: what the engine runs against in tests.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::drop_reason::DropReason;
use crate::limits::INTERFACE_SLOTS;
use crate::maglev;
use crate::memory::Shared;
use crate::records::{
    Address, AddressKey, Endpoint, FlowHalf, FlowKey, Interface, Listener, ListenerKey,
    LoadBalancer, Settings, Target, TargetKey, interface_slots,
};
use crate::tables::{Insert, Tables};

/// A model of the maps. Time and chance are what the test sets them to.
#[derive(Default)]
pub struct MemoryTables {
    /// Slot table.
    pub interfaces: HashMap<u32, Interface>,
    /// Addresses of ours.
    pub addresses: HashMap<AddressKey, Address>,
    /// Endpoints by number.
    pub endpoints: HashMap<u32, Endpoint>,
    /// Published ports.
    pub listeners: HashMap<ListenerKey, Listener>,
    /// Load balancers by number.
    pub load_balancers: HashMap<u32, LoadBalancer>,
    /// Maglev tables by target group.
    pub maglev: HashMap<u32, Box<maglev::Table>>,
    /// Targets by number.
    pub targets: HashMap<u32, Target>,
    /// Numbers of targets by address.
    pub target_keys: HashMap<TargetKey, u32>,
    /// Settings.
    pub settings: Settings,
    /// Most flow entries held.
    pub capacity: usize,
    /// The time, jiffies.
    pub now: Cell<u64>,
    /// The time, nanoseconds.
    pub nanoseconds: Cell<u64>,
    icmp_budgets: IcmpBudgets,
    random: Cell<u64>,
    // Entries are leaked: like the kernel's, they outlive their removal while a packet looks at them,
    // and a model lives no longer than its test.
    flows: RefCell<HashMap<FlowKey, &'static FlowHalf>>,
    drops: RefCell<HashMap<(u32, DropReason), u64>>,
}

/// The ICMP budgets by slot.
struct IcmpBudgets(Vec<Shared>);

impl Default for IcmpBudgets {
    fn default() -> Self {
        Self((0..INTERFACE_SLOTS).map(|_| Shared::default()).collect())
    }
}

impl MemoryTables {
    /// Puts an interface into the first free one of its slots; returns the slot.
    pub fn attach(&mut self, interface: Interface) -> Option<u32> {
        let slot =
            interface_slots(interface.ifindex).find(|slot| !self.interfaces.contains_key(slot))?;
        self.interfaces.insert(slot, interface);
        Some(slot)
    }

    /// Packets dropped on a slot for a reason.
    pub fn drops(&self, slot: u32, reason: DropReason) -> u64 {
        self.drops.borrow().get(&(slot, reason)).copied().unwrap_or(0)
    }

    /// All flow entries.
    pub fn flows(&self) -> Vec<(FlowKey, FlowHalf)> {
        self.flows.borrow().iter().map(|(key, half)| (*key, (*half).clone())).collect()
    }
}

impl Tables for MemoryTables {
    fn interface(&self, slot: u32) -> Option<&Interface> {
        const FREE: &Interface =
            &Interface { ifindex: 0, mtu: 0, mac: crate::records::Mac([0; 3]), vpc: 0 };
        Some(self.interfaces.get(&slot).unwrap_or(FREE))
    }

    fn address(&self, key: &AddressKey) -> Option<&Address> {
        self.addresses.get(key)
    }

    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        self.endpoints.get(&index)
    }

    fn listener(&self, key: &ListenerKey) -> Option<&Listener> {
        self.listeners.get(key)
    }

    fn load_balancer(&self, index: u32) -> Option<&LoadBalancer> {
        self.load_balancers.get(&index)
    }

    fn maglev(&self, target_group: u32) -> Option<&maglev::Table> {
        self.maglev.get(&target_group).map(Box::as_ref)
    }

    fn target(&self, index: u32) -> Option<&Target> {
        self.targets.get(&index)
    }

    fn is_target(&self, key: &TargetKey) -> bool {
        self.target_keys.contains_key(key)
    }

    fn flow(&self, key: &FlowKey) -> Option<&FlowHalf> {
        self.flows.borrow().get(key).copied()
    }

    fn insert_flow(&self, key: &FlowKey, half: &FlowHalf) -> Insert {
        let mut flows = self.flows.borrow_mut();
        if flows.contains_key(key) {
            Insert::Exists
        } else if flows.len() >= self.capacity {
            Insert::Full
        } else {
            flows.insert(*key, Box::leak(Box::new(half.clone())));
            Insert::Done
        }
    }

    fn remove_flow(&self, key: &FlowKey) {
        self.flows.borrow_mut().remove(key);
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn now(&self) -> u64 {
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

    fn count_drop(&self, slot: u32, reason: DropReason) {
        *self.drops.borrow_mut().entry((slot, reason)).or_default() += 1;
    }
}
