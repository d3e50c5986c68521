//! What was refused in an interval.

use std::collections::HashMap;
use std::mem;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_event::Refused;
use privatelink_common::flow_table::PacketKey;

/// Most that is told apart in an interval: a scan of all ports makes one of each.
const MOST: usize = 65_536;

/// Packets with the same key that were refused for the same reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Packets.
    pub(super) packets: u64,
    /// Bytes of the IP packets.
    pub(super) bytes: u64,
    /// TCP flags, or-ed.
    pub(super) flags: u8,
    /// The first and the last one, milliseconds since 1970.
    pub(super) time: [u64; 2],
}

/// What was refused so far in this interval.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_key: HashMap<(PacketKey, u32), Refusal>,
    untold: u64,
}

impl Refusals {
    /// Takes a packet, at a moment in milliseconds since 1970.
    pub(super) fn add(&mut self, refused: &Refused<PacketKey>, now: u64) {
        let Some(reason) = refused.what.reason() else {
            return;
        };
        let key = (refused.key, reason as u32);
        if self.by_key.len() >= MOST && !self.by_key.contains_key(&key) {
            self.untold += 1;
            return;
        }
        let of = self.by_key.entry(key).or_insert(Refusal { time: [now; 2], ..Refusal::default() });
        of.packets += 1;
        of.bytes += u64::from(refused.what.length());
        of.flags |= refused.what.flags();
        of.time[1] = of.time[1].max(now);
    }

    /// What it was, and how many packets more that could not be told apart; begins anew.
    pub(super) fn take(&mut self) -> (Vec<(PacketKey, DropReason, Refusal)>, u64) {
        let mut all: Vec<_> = mem::take(&mut self.by_key)
            .into_iter()
            .filter_map(|((key, reason), refusal)| {
                Some((key, DropReason::from_number(reason)?, refusal))
            })
            .collect();
        all.sort_by_key(|(key, reason, refusal)| (refusal.time[0], *key, *reason as u32));
        (all, mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use privatelink_common::flow_event::What;
    use privatelink_common::tcp::{ACK, SYN};
    use privatelink_common::ticks::Tick;

    use super::*;

    fn refused(port: u16, reason: DropReason, flags: u8) -> Refused<PacketKey> {
        let what = What::new(1, reason, 60, flags);
        Refused { at: Tick(0), key: PacketKey::narrow([1, port.into()]), what }
    }

    #[test]
    fn what_is_alike_is_counted_together() {
        let mut refusals = Refusals::default();
        refusals.add(&refused(1, DropReason::NoListener, SYN), 1000);
        refusals.add(&refused(1, DropReason::SecurityGroup, SYN), 1001);
        refusals.add(&refused(1, DropReason::NoListener, ACK), 3000);
        let (all, untold) = refusals.take();
        let told: Vec<_> = all
            .iter()
            .map(|(_, reason, of)| (*reason, of.packets, of.bytes, of.flags, of.time))
            .collect();
        assert_eq!(
            told,
            [
                (DropReason::NoListener, 2, 120, SYN | ACK, [1000, 3000]),
                (DropReason::SecurityGroup, 1, 60, SYN, [1001; 2]),
            ]
        );
        assert_eq!((untold, refusals.take().0.len()), (0, 0));
    }

    #[test]
    fn a_flood_of_different_ones_is_bounded() {
        let mut refusals = Refusals::default();
        for at in 0..=u16::MAX {
            refusals.add(&refused(at, DropReason::NoListener, SYN), 1);
        }
        let other =
            Refused { key: PacketKey::narrow([2, 0]), ..refused(0, DropReason::NoListener, SYN) };
        refusals.add(&other, 1);
        refusals.add(&refused(7, DropReason::NoListener, SYN), 2);
        let (all, untold) = refusals.take();
        assert_eq!((all.len(), untold), (MOST, 1));
        assert_eq!(all.iter().map(|(.., of)| of.packets).sum::<u64>(), MOST as u64 + 1);
    }
}
