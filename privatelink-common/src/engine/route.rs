//! Where a flow's packets go next.

use super::Refusal;
use crate::drop_reason::DropReason;
use crate::ethernet::Tags;
use crate::records::{FlowHalf, Interface, NextHop, Target};
use crate::tables::Tables;

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
    pub(super) fn of(tables: &'t impl Tables, half: &FlowHalf) -> Result<Self, DropReason> {
        if half.direction == FlowHalf::FORWARD {
            let target = tables.target(half.target).ok_or(DropReason::NoTarget)?;
            Self::to_target(tables, target, half.peer_vpc)
        } else {
            let tags = Tags::from_word(half.client_tags.get());
            Self::by(tables, NextHop::from_word(half.client.get()), tags, half.peer_vpc)
        }
    }

    /// The way to a target in `vpc`.
    #[inline(always)]
    pub(super) fn to_target(
        tables: &'t impl Tables,
        target: &Target,
        vpc: u16,
    ) -> Result<Self, DropReason> {
        Self::by(tables, NextHop::from_word(target.next_hop.get()), Tags::default(), vpc)
    }

    #[inline(always)]
    fn by(tables: &'t impl Tables, hop: NextHop, tags: Tags, vpc: u16) -> Result<Self, DropReason> {
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

    /// Whether an IP packet of `length` bytes fits.
    #[inline(always)]
    pub(super) fn carries(&self, length: u16) -> Result<(), Refusal> {
        let mtu = self.egress.mtu;
        if u32::from(length) > mtu {
            // Fits: it is less than a length of 16 bits.
            return Err(Refusal::TooBig { mtu: mtu as u16 });
        }
        Ok(())
    }
}
