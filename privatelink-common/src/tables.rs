//! What the engine asks of the maps, of the clock and of chance.

use crate::drop_reason::DropReason;
use crate::engine::admit;
use crate::engine::lease::{self, Lease, Wanted};
use crate::engine::open::{self, Opening, TargetPort};
use crate::engine::unreachable::Refusal;
use crate::flow_event::{What, WideKey};
use crate::flow_table::note::{self, Told};
use crate::flow_table::{FlowMemory, life};
use crate::fragment::{FragmentKey, Tracked};
use crate::maglev;
use crate::memory::Shared;
use crate::records::{
    Address, AddressKey, Endpoint, Interface, Listener, LoadBalancer, Target, TargetKey,
};
use crate::ticks::Tick;
use crate::wide::{WideAddress, WideAddressKey, WideRules, WideTargetKey};

/// The maps. In the kernel each method is one map operation; on the host a model stands in.
pub trait Tables: FlowMemory {
    /// The interface in a slot; a free slot has `ifindex` 0.
    fn interface(&self, slot: u32) -> Option<&Interface>;
    /// What an address is to us.
    fn address(&self, key: &AddressKey) -> Option<&Address>;
    /// An endpoint.
    fn endpoint(&self, index: u32) -> Option<&Endpoint>;
    /// What serves a port (network order) of an address (network order): the entry of the smallest block that it is in.
    fn listener(&self, vpc: u16, address: u32, protocol: u8, port: u16) -> Option<&Listener>;
    /// The number of the addresses of a load balancer that flows to a target lease ports of.
    fn face(&self, load_balancer: u32, target: u32) -> u32;
    /// Addresses of a load balancer by that number, as they stand in keys.
    fn load_balancer(&self, face: u32) -> Option<&LoadBalancer>;
    /// Whether a flow of the other table has this key, as words. Both lease ports of the same IPv4 addresses towards the same
    /// targets, whose answers look alike.
    fn is_leased_elsewhere(&self, key: [u64; 2]) -> bool;
    /// [`lease::suits`].
    fn suits(&self, key: [u64; 2], picky: bool) -> bool;
    /// A flow that is being opened has its lease: the reverse half with this number.
    #[inline(always)]
    fn leased(&self, opening: &Opening, reverse: u32) {
        let _ = (opening, reverse);
    }
    /// The table in force of a pool of targets.
    fn maglev(&self, pool: u32) -> Option<&maglev::Table>;
    /// A target.
    fn target(&self, index: u32) -> Option<&Target>;
    /// Whether this is a target.
    fn is_target(&self, key: &TargetKey) -> bool;
    /// Whether the host itself uses a port (host order), so that no lease may have it.
    fn is_reserved(&self, port: u16) -> bool;
    /// The time.
    fn now(&self) -> Tick;
    /// The time in nanoseconds since the machine started. Dearer than `now`: not for every packet.
    fn nanoseconds(&self) -> u64;
    /// What ICMP errors the interface in a slot may send: [`crate::engine`]'s own word.
    fn icmp_budget(&self, slot: u32) -> Option<&Shared>;
    /// A random word.
    fn random(&self) -> u32;
    /// Keeps why the packet at hand is refused, for the program that answers it.
    fn keep_refusal(&self, refusal: Refusal);
    /// What was kept.
    fn kept_refusal(&self) -> Refusal;
    /// What the first fragment of a datagram has left.
    fn tracked(&self, key: &FragmentKey) -> Option<Tracked>;
    /// Leaves that for the others.
    fn track(&self, key: &FragmentKey, tracked: Tracked);
    /// How many identifications were taken here ([`crate::limits::IDENTIFICATION_COUNTERS`]).
    fn identifications(&self, counter: u32) -> Option<&Shared>;
    /// Counts a dropped packet on the interface in a slot.
    fn count_drop(&self, slot: u32, reason: DropReason);
    /// Tells that a packet with this key, as words, was refused ([`crate::flow_event::Refused`]).
    fn tell_refused(&self, key: [u64; 2], what: What);
    /// As [`Self::tell_refused`], of a packet with IPv6 addresses.
    fn tell_wide_refused(&self, key: WideKey, what: What);

    // As in `FlowMemory`: one meaning, and in the kernel functions of their own.

    /// [`note::note`], now.
    #[inline(always)]
    fn note_told(&self, number: u32, told: Told) {
        note::note(self, number, told, (self.nanoseconds() / 1000) as u32);
    }

    /// Marks the flow with this number established: its client has confirmed the handshake.
    #[inline(always)]
    fn establish(&self, number: u32) {
        if let Some(record) = self.record(number) {
            life::establish(self, &record);
            self.note_told(number, Told::Ack);
        }
    }

    /// [`open::choose_target`].
    #[inline(always)]
    fn choose_target(&self, key: [u64; 2], listener: &Listener) -> TargetPort {
        open::choose_target(self, key, listener)
    }

    /// [`admit::admit`].
    #[inline(always)]
    fn admit(&self, key: [u64; 2], endpoint: u32) -> Result<u32, DropReason> {
        admit::admit(self, key, endpoint)
    }

    /// [`lease::lease`].
    #[inline(always)]
    fn lease(&self, opening: &Opening) -> Result<u32, DropReason> {
        lease::lease(self, opening, opening.protocol())
    }

    /// [`lease::renew`].
    #[inline(always)]
    fn renew(&self, opening: &Opening) -> u32 {
        lease::renew(self, opening)
    }

    /// [`open::open`].
    #[inline(always)]
    fn open(&self, opening: &Opening, reverse: u32) -> Result<u32, DropReason> {
        open::open(self, opening, reverse)
    }

    /// [`lease::choose`].
    #[inline(always)]
    fn choose_lease(
        &self,
        balancer: u32,
        target: TargetPort,
        endpoint: u32,
        protocol: u8,
        wanted: Wanted,
    ) -> Lease {
        lease::choose(self, balancer, target, endpoint, protocol, wanted)
    }
}

/// The maps, with the wide flow table in the place of the narrow one, and those that have IPv6 addresses.
pub trait WideTables: Tables {
    /// What an IPv6 address is to us.
    fn wide_address(&self, key: &WideAddressKey) -> Option<&Address>;
    /// What serves a port (network order) of an IPv6 address.
    fn wide_listener(
        &self,
        vpc: u16,
        address: WideAddress,
        protocol: u8,
        port: u16,
    ) -> Option<&Listener>;
    /// What an address of either family is to us.
    #[inline(always)]
    fn either_address(&self, vpc: u16, address: WideAddress) -> Option<&Address> {
        match address.ipv4() {
            Some(address) => self.address(&AddressKey::new(vpc, address)),
            None => self.wide_address(&WideAddressKey::new(vpc, address)),
        }
    }

    /// What serves a port (network order) of an address of either family.
    #[inline(always)]
    fn either_listener(
        &self,
        vpc: u16,
        address: WideAddress,
        protocol: u8,
        port: u16,
    ) -> Option<&Listener> {
        match address.ipv4() {
            Some(address) => self.listener(vpc, address, protocol, port),
            None => self.wide_listener(vpc, address, protocol, port),
        }
    }

    /// What lets IPv6 clients open flows to an endpoint.
    fn wide_rules(&self, endpoint: u32) -> Option<&WideRules>;
    /// The address of a target.
    fn wide_target(&self, index: u32) -> Option<&WideAddress>;
    /// Whether this is a target.
    fn is_wide_target(&self, key: &WideTargetKey) -> bool;
}
