//! The last events, by their ids.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use humantime_serde::re::humantime::format_rfc3339_millis;

use super::Begin;
use crate::api::{Event, EventKinds, What};

/// The last events. Their ids follow each other without a gap.
#[derive(Debug)]
pub(super) struct Ring {
    kept: VecDeque<Arc<Event>>,
    most: usize,
    /// Id of the first event of all.
    first: u64,
    /// Id of the event to come.
    next: u64,
    closed: bool,
}

/// What comes next for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Event(Arc<Event>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

impl Ring {
    pub(super) fn new(first: u64, most: usize) -> Self {
        // Before the first there is an id, for those who have read nothing.
        let first = first.max(1);
        Self { kept: VecDeque::new(), most, first, next: first, closed: false }
    }

    pub(super) fn push(&mut self, what: What) {
        if self.kept.len() == self.most {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::new(Event { id: self.next, time: now(), what }));
        self.next += 1;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Id of the last event.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Id of the event before the one that a reader begins with.
    pub(super) fn before(&self, begin: Begin) -> u64 {
        match begin {
            Begin::Oldest => self.oldest() - 1,
            Begin::Next => self.last(),
            Begin::After(id) if (self.first..self.next).contains(&id) => id,
            // Of an earlier daemon: all of this one's are later.
            Begin::After(_) => self.first - 1,
        }
    }

    /// What a reader gets that has read up to an id.
    pub(super) fn after(&self, read: u64, kinds: &EventKinds) -> Next {
        let oldest = self.oldest();
        if read + 1 < oldest {
            let what = What::Lost { events: oldest - 1 - read };
            return Next::Event(Arc::new(Event { id: oldest - 1, time: now(), what }));
        }
        let unread = self.kept.iter().skip((read + 1 - oldest) as usize);
        match unread.into_iter().find(|event| kinds.include(&event.what)) {
            Some(event) => Next::Event(Arc::clone(event)),
            None if self.closed => Next::End,
            None => Next::Nothing,
        }
    }

    fn oldest(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

fn now() -> String {
    format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EventKind, Fill, FillChange, Refused};

    const FIRST: u64 = 100;

    /// A `table_pressure`, to be told from `lease_exhausted`.
    fn fuller() -> What {
        let (before, state) = (Fill::Normal, Fill::High);
        What::TablePressure(FillChange { before, state, flows_held: 8, flows_max: 10 })
    }

    fn exhausted() -> What {
        What::LeaseExhausted(Refused {
            interface: "eth0".into(),
            vpc: "vpc-a".into(),
            reason: "LeaseExhausted".into(),
            packets: 1,
            description: String::new(),
        })
    }

    /// All that a reader gets now, as ids; those of lost events with their number.
    fn read(ring: &Ring, begin: Begin, kinds: &[EventKind]) -> String {
        let (mut read, mut found) = (ring.before(begin), Vec::new());
        let kinds = EventKinds(kinds.to_vec());
        while let Next::Event(event) = ring.after(read, &kinds) {
            read = event.id;
            found.push(match event.what {
                What::Lost { events } => format!("{read}:{events} lost"),
                _ => read.to_string(),
            });
        }
        found.join(" ")
    }

    #[test]
    fn where_a_reader_begins_and_what_it_gets() {
        use Begin::{After, Next, Oldest};
        use EventKind::{Accept, LeaseExhausted, TablePressure};
        for (told, begin, kinds, expected) in [
            (0, Oldest, &[][..], ""),
            (0, After(FIRST), &[], ""),
            (0, Next, &[], ""),
            (3, Oldest, &[], "100 101 102"),
            (3, Next, &[], ""),
            // It goes on where it was.
            (3, After(100), &[], "101 102"),
            (3, After(102), &[], ""),
            (4, Oldest, &[], "100 101 102 103"),
            // Four are kept.
            (6, Oldest, &[], "102 103 104 105"),
            (6, After(101), &[], "102 103 104 105"),
            (6, After(100), &[], "101:1 lost 102 103 104 105"),
            (9, After(100), &[], "104:4 lost 105 106 107 108"),
            // Ids of another daemon: before this one, or by a clock that was set back.
            (3, After(0), &[], "100 101 102"),
            (3, After(99), &[], "100 101 102"),
            (3, After(103), &[], "100 101 102"),
            (3, After(u64::MAX), &[], "100 101 102"),
            (6, After(7), &[], "101:2 lost 102 103 104 105"),
            // Every other one is of either kind; that some are lost is told to all.
            (4, Oldest, &[LeaseExhausted], "101 103"),
            (4, Oldest, &[TablePressure, Accept], "100 102"),
            (4, Oldest, &[TablePressure, LeaseExhausted], "100 101 102 103"),
            (4, Oldest, &[Accept], ""),
            (6, After(100), &[LeaseExhausted], "101:1 lost 103 105"),
        ] {
            let mut ring = Ring::new(FIRST, 4);
            for number in 0..told {
                ring.push(if number % 2 == 0 { fuller() } else { exhausted() });
            }
            let found = read(&ring, begin, kinds);
            assert_eq!(found, expected, "{told} told, {begin:?}, {kinds:?}");
        }
    }

    #[test]
    fn the_end_comes_after_the_last() {
        let (mut ring, all) = (Ring::new(0, 4), EventKinds::default());
        assert_eq!(ring.after(0, &all), Next::Nothing);
        ring.push(fuller());
        ring.close();
        assert!(matches!(ring.after(0, &all), Next::Event(event) if event.id == 1));
        assert_eq!(ring.after(1, &all), Next::End);
    }
}
