//! What the engine asks of the maps, of the clock and of chance.

use crate::drop_reason::DropReason;
use crate::maglev;
use crate::memory::Shared;
use crate::records::{
    Address, AddressKey, Endpoint, FlowHalf, FlowKey, Interface, Listener, ListenerKey,
    LoadBalancer, Settings, Target, TargetKey,
};

/// Outcome of inserting a flow entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// It is in.
    Done,
    /// The key was there already; nothing changed.
    Exists,
    /// The table is full; nothing changed.
    Full,
}

/// The maps. In the kernel each method is one map operation; on the host a model stands in.
pub trait Tables {
    /// The interface in a slot; a free slot has `ifindex` 0.
    fn interface(&self, slot: u32) -> Option<&Interface>;
    /// What an address is to us.
    fn address(&self, key: &AddressKey) -> Option<&Address>;
    /// An endpoint.
    fn endpoint(&self, index: u32) -> Option<&Endpoint>;
    /// What serves a published port.
    fn listener(&self, key: &ListenerKey) -> Option<&Listener>;
    /// A load balancer.
    fn load_balancer(&self, index: u32) -> Option<&LoadBalancer>;
    /// A target group's table.
    fn maglev(&self, target_group: u32) -> Option<&maglev::Table>;
    /// A target.
    fn target(&self, index: u32) -> Option<&Target>;
    /// Whether this is a target.
    fn is_target(&self, key: &TargetKey) -> bool;
    /// One direction of a flow.
    fn flow(&self, key: &FlowKey) -> Option<&FlowHalf>;
    /// Inserts one direction of a flow unless its key is there: in one step, against all other CPUs.
    fn insert_flow(&self, key: &FlowKey, half: &FlowHalf) -> Insert;
    /// Removes one direction of a flow.
    fn remove_flow(&self, key: &FlowKey);
    /// The settings.
    fn settings(&self) -> Option<&Settings>;
    /// The time in jiffies.
    fn now(&self) -> u64;
    /// The time in nanoseconds since the machine started. Dearer than `now`: not for every packet.
    fn nanoseconds(&self) -> u64;
    /// What ICMP errors the interface in a slot may send: [`crate::engine`]'s own word.
    fn icmp_budget(&self, slot: u32) -> Option<&Shared>;
    /// A random word.
    fn random(&self) -> u32;
    /// Counts a dropped packet on the interface in a slot.
    fn count_drop(&self, slot: u32, reason: DropReason);
}
