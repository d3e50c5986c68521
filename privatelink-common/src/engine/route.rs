//! Where a flow's packets go next.

use super::{Ingress, Refusal};
use crate::drop_reason::DropReason;
use crate::ethernet::{Ethernet, Tags};
use crate::flow_table::Found;
use crate::flow_table::half::Direction;
use crate::flow_table::record;
use crate::ipv4;
use crate::memory::Parts;
use crate::records::{Interface, NextHop, Target};
use crate::tables::Tables;

/// Learns from a packet that a client has sent where the client is ([`record::learn_client`]).
#[inline(always)]
pub(super) fn learn_client(
    tables: &impl Tables,
    found: &Found<'_>,
    ethernet: &Ethernet,
    ingress: Ingress<'_>,
    again: bool,
) {
    if found.direction() == Direction::Forward {
        let hop = NextHop::new(ethernet.source, ingress.slot as u16);
        record::learn_client(tables, found.half, hop, ethernet.tags, again);
    }
}

/// The way to a flow's target, or back to its client.
#[derive(Clone, Copy)]
pub(super) struct Route<'t> {
    pub(super) hop: NextHop,
    pub(super) tags: Tags,
    pub(super) slot: u32,
    pub(super) egress: &'t Interface,
}

impl<'t> Route<'t> {
    /// Where a direction of a flow leads.
    #[inline(always)]
    pub(super) fn of(tables: &'t impl Tables, found: &Found<'_>) -> Result<Self, DropReason> {
        let half = found.half;
        match found.direction() {
            Direction::Forward => {
                let target = tables.target(half.place().target()).ok_or(DropReason::NoTarget)?;
                Self::to_target(tables, target)
            }
            Direction::Reverse => {
                let (hop, tags) = half.client();
                Self::by(tables, hop, tags, half.client_vpc())
            }
        }
    }

    /// The way to a target.
    #[inline(always)]
    pub(super) fn to_target<T: Tables + ?Sized>(
        tables: &'t T,
        target: &Target,
    ) -> Result<Self, DropReason> {
        let hop = NextHop::from_word(target.next_hop.get());
        Self::by(tables, hop, Tags::default(), target.vpc)
    }

    #[inline(always)]
    fn by<T: Tables + ?Sized>(
        tables: &'t T,
        hop: NextHop,
        tags: Tags,
        vpc: u16,
    ) -> Result<Self, DropReason> {
        if hop.is_unknown() {
            return Err(DropReason::NextHopUnresolved);
        }
        let slot = hop.slot();
        // A free slot has vpc 0. A slot that went to another vpc's interface since the hop was learnt
        // must not lead there.
        let egress = tables
            .interface(slot)
            .filter(|egress| egress.vpc == vpc)
            .ok_or(DropReason::InterfaceGone)?;
        Ok(Self { hop, tags, slot, egress })
    }

    /// Whether IPv4 packets fit that carry these parts.
    #[inline(always)]
    pub(super) fn carries(&self, parts: Parts) -> Result<(), Refusal> {
        let mtu = self.egress.mtu;
        if ipv4::HEADER as u32 + u32::from(parts.longest) > mtu {
            // Fits: it is less than a length of 16 bits.
            return Err(Refusal::TooBig { mtu: mtu as u16 });
        }
        Ok(())
    }
}
