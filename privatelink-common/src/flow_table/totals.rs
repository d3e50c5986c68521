//! What has happened to the flows of an endpoint, of each of its addresses, and of a target, since it got its number.

use super::half::{Direction, FlowHalf};
use super::record::{Place, Record};
use super::{Flow, FlowMemory};
use crate::memory::Shared;

/// Counts that only grow. Changed by atomic addition by whoever sees it happen; set to zero by the daemon, once a number
/// is nobody's.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Flows opened.
    pub opened: Shared,
    /// What flows that have ended had sent to their targets.
    pub to_target: Carried,
    /// What flows that have ended had sent to their clients.
    pub to_client: Carried,
    /// RSTs from clients that ended their flows.
    pub client_resets: Shared,
    /// RSTs from targets that ended their flows.
    pub target_resets: Shared,
    /// Flows not opened because no lease was free.
    pub lease_exhausted: Shared,
    /// Of an endpoint: packets to it that were dropped.
    pub dropped: Shared,
    /// Of an endpoint: RSTs sent to clients whose segments had no flow.
    pub resets_sent: Shared,
}

/// What ended flows have carried in one direction. Packets that other CPUs carry while a flow ends may be missing.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// Packets.
    pub packets: Shared,
    /// Bytes of the IP packets.
    pub bytes: Shared,
}

/// Of the flows through one address of an endpoint, those that have ended. Changed as [`Totals`] are.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct AddressTotals {
    /// How many they are.
    pub flows: Shared,
    /// What they had sent to their targets.
    pub to_target: Carried,
    /// What they had sent to their clients.
    pub to_client: Carried,
}

impl Carried {
    #[inline(always)]
    fn add(&self, half: &FlowHalf) {
        self.packets.add(half.packets());
        self.bytes.add(half.bytes());
    }
}

impl Totals {
    /// What they say now.
    pub fn read(&self) -> Counts {
        Counts {
            opened: self.opened.get(),
            packets_to_target: self.to_target.packets.get(),
            bytes_to_target: self.to_target.bytes.get(),
            packets_to_client: self.to_client.packets.get(),
            bytes_to_client: self.to_client.bytes.get(),
            client_resets: self.client_resets.get(),
            target_resets: self.target_resets.get(),
            lease_exhausted: self.lease_exhausted.get(),
            dropped: self.dropped.get(),
            resets_sent: self.resets_sent.get(),
        }
    }

    /// Sets all to zero: the number is nobody's now.
    pub fn clear(&self) {
        let Self { opened, to_target, to_client, client_resets, target_resets, .. } = self;
        let Self { lease_exhausted, dropped, resets_sent, .. } = self;
        let carried = [to_target, to_client].into_iter().flat_map(|of| [&of.packets, &of.bytes]);
        let others = [opened, client_resets, target_resets, lease_exhausted, dropped, resets_sent];
        carried.chain(others).for_each(|word| word.set(0));
    }
}

/// Totals of an address as they are at some moment; each as in [`AddressTotals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounts {
    /// Flows.
    pub flows: u64,
    /// Packets to targets.
    pub packets_to_target: u64,
    /// Bytes of the IP packets to targets.
    pub bytes_to_target: u64,
    /// Packets to clients.
    pub packets_to_client: u64,
    /// Bytes of the IP packets to clients.
    pub bytes_to_client: u64,
}

impl AddressTotals {
    /// What they say now.
    pub fn read(&self) -> AddressCounts {
        AddressCounts {
            flows: self.flows.get(),
            packets_to_target: self.to_target.packets.get(),
            bytes_to_target: self.to_target.bytes.get(),
            packets_to_client: self.to_client.packets.get(),
            bytes_to_client: self.to_client.bytes.get(),
        }
    }
}

impl AddressCounts {
    /// Adds a live flow, and what it has carried so far.
    pub fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        self.packets_to_target += flow.forward.packets;
        self.bytes_to_target += flow.forward.bytes;
        self.packets_to_client += flow.reverse.packets;
        self.bytes_to_client += flow.reverse.bytes;
    }
}

/// Totals as they are at some moment; each as in [`Totals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flows opened.
    pub opened: u64,
    /// Packets to targets.
    pub packets_to_target: u64,
    /// Bytes of the IP packets to targets.
    pub bytes_to_target: u64,
    /// Packets to clients.
    pub packets_to_client: u64,
    /// Bytes of the IP packets to clients.
    pub bytes_to_client: u64,
    /// RSTs from clients.
    pub client_resets: u64,
    /// RSTs from targets.
    pub target_resets: u64,
    /// Flows not opened because no lease was free.
    pub lease_exhausted: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// RSTs sent.
    pub resets_sent: u64,
}

impl Counts {
    /// Adds what a live flow has carried so far.
    pub fn add(&mut self, flow: &Record<'_>) {
        self.packets_to_target += flow.forward.packets();
        self.bytes_to_target += flow.forward.bytes();
        self.packets_to_client += flow.reverse.packets();
        self.bytes_to_client += flow.reverse.bytes();
    }

    /// The sums.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    /// The differences; 0 where there is less.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// The larger ones.
    #[must_use]
    pub fn or_before(&self, before: &Self) -> Self {
        self.with(before, Ord::max)
    }

    fn with(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            opened: of(self.opened, other.opened),
            packets_to_target: of(self.packets_to_target, other.packets_to_target),
            bytes_to_target: of(self.bytes_to_target, other.bytes_to_target),
            packets_to_client: of(self.packets_to_client, other.packets_to_client),
            bytes_to_client: of(self.bytes_to_client, other.bytes_to_client),
            client_resets: of(self.client_resets, other.client_resets),
            target_resets: of(self.target_resets, other.target_resets),
            lease_exhausted: of(self.lease_exhausted, other.lease_exhausted),
            dropped: of(self.dropped, other.dropped),
            resets_sent: of(self.resets_sent, other.resets_sent),
        }
    }
}

/// Counts for the endpoint and for the target of a flow.
#[inline(always)]
fn count<M: FlowMemory + ?Sized>(memory: &M, of: Place, count: impl Fn(&Totals)) {
    if let Some(usage) = memory.usage(of.endpoint()) {
        count(&usage.totals);
    }
    if let Some(totals) = memory.target_totals(of.target()) {
        count(totals);
    }
}

/// Counts a flow that is opened.
#[inline(always)]
pub(super) fn count_opened<M: FlowMemory + ?Sized>(memory: &M, of: Place) {
    count(memory, of, |totals| {
        totals.opened.add(1);
    });
}

/// Counts a flow that ends, and what it has carried. Its forward half still has its key.
#[inline(always)]
pub fn count_ended<M: FlowMemory + ?Sized>(memory: &M, number: u32) {
    let Some(record) = memory.record(number) else {
        return;
    };
    let place = record.place();
    count(memory, place, |totals| {
        totals.to_target.add(record.forward);
        totals.to_client.add(record.reverse);
    });
    if let Some(totals) = memory.totals_by_address(&record) {
        totals.flows.add(1);
        totals.to_target.add(record.forward);
        totals.to_client.add(record.reverse);
    }
}

/// Counts a RST that ends a flow, by the direction it goes in.
#[inline(always)]
pub(crate) fn count_reset<M: FlowMemory + ?Sized>(memory: &M, of: Place, direction: Direction) {
    count(memory, of, |totals| {
        match direction {
            Direction::Forward => totals.client_resets.add(1),
            Direction::Reverse => totals.target_resets.add(1),
        };
    });
}

/// Counts a packet to an endpoint that is dropped.
#[inline(always)]
pub(crate) fn count_dropped<M: FlowMemory + ?Sized>(memory: &M, endpoint: u32) {
    if let Some(usage) = memory.usage(endpoint) {
        usage.totals.dropped.add(1);
    }
}

/// Counts a flow that no lease was free for.
#[inline(always)]
pub(crate) fn count_exhausted<M: FlowMemory + ?Sized>(memory: &M, endpoint: u32, target: u32) {
    if let Some(usage) = memory.usage(endpoint) {
        usage.totals.lease_exhausted.add(1);
    }
    if let Some(totals) = memory.target_totals(target) {
        totals.lease_exhausted.add(1);
    }
}
