//! What flows have carried since they were last looked at.

use privatelink_common::flow_table::{Flow, Half};
use privatelink_common::wide::WIDE;

/// Flows whose last look lies in one block of memory: those of a table that is nearly empty take little.
const PAGE: usize = 4096;

/// What one direction has carried since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Packets.
    pub(super) packets: u64,
    /// Bytes of the IP packets.
    pub(super) bytes: u64,
    /// TCP flags seen for the first time.
    pub(super) flags: u8,
}

/// What a flow has carried since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// To its target.
    pub(super) forward: Carried,
    /// To its client.
    pub(super) reverse: Carried,
    /// Whether it was never looked at before.
    pub(super) is_new: bool,
}

/// The last looks, by the flows' numbers: 96 bytes for each flow of a full table.
#[derive(Debug, Default)]
pub(super) struct Looks {
    narrow: Pages,
    wide: Pages,
}

/// Those of one table.
type Pages = Vec<Option<Box<[Look; PAGE]>>>;

/// A flow as it was when it was last looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// Which of all flows that had the number: a number rests before it is another flow's.
    flow: u64,
    halves: [Carried; 2],
}

impl Look {
    fn at(flow: &Flow) -> Self {
        let of =
            |half: &Half| Carried { packets: half.packets, bytes: half.bytes, flags: half.flags };
        let identity = u64::from(flow.opened) << 32 | u64::from(flow.endpoint) << 16;
        // Never 0, which says that there was no look.
        let identity = identity | u64::from(flow.target) | 1 << 63;
        Self { flow: identity, halves: [of(&flow.forward), of(&flow.reverse)] }
    }

    fn since(&self, before: &Self) -> Progress {
        let is_new = self.flow != before.flow;
        let of = |half: usize| {
            let (now, then) = (self.halves[half], before.halves[half]);
            let then = if is_new { Carried::default() } else { then };
            Carried {
                packets: now.packets.saturating_sub(then.packets),
                bytes: now.bytes.saturating_sub(then.bytes),
                flags: now.flags & !then.flags,
            }
        };
        Progress { forward: of(0), reverse: of(1), is_new }
    }
}

impl Looks {
    /// Looks at a live flow.
    pub(super) fn look(&mut self, flow: &Flow) -> Progress {
        let now = Look::at(flow);
        let before = self.slot(flow.number);
        let progress = now.since(before);
        *before = now;
        progress
    }

    /// Looks at a flow that has ended, for the last time.
    pub(super) fn last(&mut self, flow: &Flow) -> Progress {
        let (now, before) = (Look::at(flow), self.slot(flow.number));
        let progress = now.since(before);
        // Another flow may have the number by now, where this one's end was told late.
        if !progress.is_new {
            *before = Look::default();
        }
        progress
    }

    fn slot(&mut self, number: u32) -> &mut Look {
        let pages = if number & WIDE == 0 { &mut self.narrow } else { &mut self.wide };
        let number = (number & !WIDE) as usize;
        let (page, at) = (number / PAGE, number % PAGE);
        if pages.len() <= page {
            pages.resize_with(page + 1, || None);
        }
        &mut pages[page].get_or_insert_with(|| Box::new([Look::default(); PAGE]))[at]
    }
}

#[cfg(test)]
mod tests {
    use privatelink_common::ethernet::Tags;
    use privatelink_common::flow_table::PacketKey;
    use privatelink_common::flow_table::note::Note;
    use privatelink_common::flow_table::record::Phase;
    use privatelink_common::records::NextHop;
    use privatelink_common::state::State;
    use privatelink_common::tcp::{ACK, FIN, SYN};

    use super::*;

    fn flow(opened: u32, packets: u64, flags: u8) -> Flow {
        let half = |packets, flags| Half {
            key: PacketKey::narrow([0; 2]),
            packets,
            bytes: packets * 100,
            flags,
            stamp: 0,
            next: 0,
            note: Note::NONE,
        };
        Flow {
            number: 9000,
            phase: Phase::Established,
            state: State::Established,
            endpoint: 3,
            target: 5,
            opened,
            client: NextHop::UNKNOWN,
            client_tags: Tags::default(),
            forward: half(packets, flags),
            reverse: half(packets / 2, flags),
        }
    }

    fn carried(packets: u64, flags: u8) -> Carried {
        Carried { packets, bytes: packets * 100, flags }
    }

    #[test]
    fn what_was_carried_is_told_once() {
        let mut looks = Looks::default();
        let first = looks.look(&flow(7, 4, SYN | ACK));
        assert!(first.is_new);
        assert_eq!([first.forward, first.reverse], [carried(4, SYN | ACK), carried(2, SYN | ACK)]);
        let second = looks.look(&flow(7, 4, SYN | ACK));
        assert_eq!(second, Progress::default());
        let last = looks.last(&flow(7, 10, SYN | ACK | FIN));
        assert!(!last.is_new);
        assert_eq!([last.forward, last.reverse], [carried(6, FIN), carried(3, FIN)]);
    }

    #[test]
    fn another_flow_of_the_same_number_begins_anew() {
        let mut looks = Looks::default();
        looks.look(&flow(7, 4, SYN));
        assert_eq!(looks.look(&flow(8, 2, SYN)).forward, carried(2, SYN));
        assert!(looks.last(&flow(7, 5, SYN)).is_new, "told late: it is told whole");
        assert_eq!(looks.look(&flow(8, 3, SYN)).forward, carried(1, 0), "and the other goes on");
    }

    #[test]
    fn flows_of_two_tables_are_told_apart() {
        let mut looks = Looks::default();
        looks.look(&flow(7, 4, SYN));
        let wide = Flow { number: 9000 | WIDE, ..flow(7, 2, SYN) };
        assert_eq!(looks.look(&wide).forward, carried(2, SYN));
        assert_eq!(looks.look(&flow(7, 5, SYN)).forward, carried(1, 0));
        assert_eq!(looks.look(&wide), Progress::default());
    }

    #[test]
    fn a_flow_that_was_never_looked_at_is_told_whole() {
        assert_eq!(Looks::default().last(&flow(7, 5, SYN)).forward, carried(5, SYN));
    }
}
