//! Rates of flows: what they have carried since their counters were read before.

use std::iter::Peekable;
use std::slice::Iter;
use std::time::{Duration, Instant};

use privatelink_common::flow_table::Flow;

/// Bits of a half's count of packets, and of bytes.
const PACKETS: u64 = (1 << 40) - 1;
const BYTES: u64 = (1 << 48) - 1;

/// Counters of flows at some moment, 56 bytes for each flow.
#[derive(Debug)]
pub struct Readings {
    began: Instant,
    readings: Vec<Reading>,
}

#[derive(Debug)]
struct Reading {
    flow: Identity,
    /// Nanoseconds since the readings began: those of a million flows take a while.
    at: u64,
    counters: Traffic,
}

const _: () = assert!(size_of::<Reading>() == 56);

/// Tells a flow from one that has its number later: a number rests for longer than `opened` counts in before it is another
/// flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    number: u32,
    opened: u32,
    endpoint: u32,
    target: u32,
}

impl Identity {
    const fn of(flow: &Flow) -> Self {
        let Flow { number, opened, endpoint, target, .. } = *flow;
        Self { number, opened, endpoint, target }
    }
}

/// What a flow has carried, or carries in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets from client to target.
    pub packets_to_target: u64,
    /// Bytes of their IP packets.
    pub bytes_to_target: u64,
    /// Packets from target to client.
    pub packets_to_client: u64,
    /// Bytes of their IP packets.
    pub bytes_to_client: u64,
}

impl Traffic {
    const fn of(flow: &Flow) -> Self {
        Self {
            packets_to_target: flow.forward.packets,
            bytes_to_target: flow.forward.bytes,
            packets_to_client: flow.reverse.packets,
            bytes_to_client: flow.reverse.bytes,
        }
    }

    /// What came after `before`, in a second of this time, rounded; counters come round.
    fn per_second(self, before: Self, time: Duration) -> Self {
        // Exact up to the rounding: a float has 53 bits.
        let rate = |now: u64, before: u64, range: u64| {
            ((now.wrapping_sub(before) & range) as f64 / time.as_secs_f64()).round() as u64
        };
        let packets = |now, before| rate(now, before, PACKETS);
        let bytes = |now, before| rate(now, before, BYTES);
        Self {
            packets_to_target: packets(self.packets_to_target, before.packets_to_target),
            bytes_to_target: bytes(self.bytes_to_target, before.bytes_to_target),
            packets_to_client: packets(self.packets_to_client, before.packets_to_client),
            bytes_to_client: bytes(self.bytes_to_client, before.bytes_to_client),
        }
    }
}

impl Readings {
    /// None yet, but begun at this moment.
    pub const fn begin(began: Instant) -> Self {
        Self { began, readings: Vec::new() }
    }

    /// Adds a flow as it is at this moment. Flows come by rising number, as the flow table lists them.
    pub fn add(&mut self, flow: &Flow, now: Instant) {
        let at = (now - self.began).as_nanos() as u64;
        self.readings.push(Reading { flow: Identity::of(flow), at, counters: Traffic::of(flow) });
    }

    /// To be asked for the rates of flows since.
    pub fn since(&self) -> Since<'_> {
        Since { began: self.began, left: self.readings.iter().peekable() }
    }
}

/// Readings, as far as they are not behind the last flow asked for.
#[derive(Debug)]
pub struct Since<'r> {
    began: Instant,
    left: Peekable<Iter<'r, Reading>>,
}

impl Since<'_> {
    /// What the flow, as it is at this moment, has carried in a second since it was read; since the readings began, if it
    /// was opened later. Flows come by rising number.
    pub fn rates(&mut self, flow: &Flow, now: Instant) -> Traffic {
        let identity = Identity::of(flow);
        while self.left.next_if(|reading| reading.flow.number < identity.number).is_some() {}
        let before = self.left.peek().filter(|reading| reading.flow == identity);
        let (at, counters) =
            before.map_or_else(Default::default, |reading| (reading.at, reading.counters));
        Traffic::of(flow).per_second(counters, now - self.began - Duration::from_nanos(at))
    }
}

#[cfg(test)]
mod tests {
    use privatelink_common::ethernet::Tags;
    use privatelink_common::flow_table::note::Note;
    use privatelink_common::flow_table::record::Phase;
    use privatelink_common::flow_table::{Half, PacketKey};
    use privatelink_common::records::NextHop;
    use privatelink_common::state::State;

    use super::*;

    /// A flow to this target, opened then, that has carried this much to its target and this much back.
    fn flow(number: u32, target: u32, opened: u32, there: (u64, u64), back: (u64, u64)) -> Flow {
        let half = |(packets, bytes)| Half {
            key: PacketKey::narrow([0; 2]),
            packets,
            bytes,
            flags: 0,
            stamp: 0,
            next: 0,
            note: Note::NONE,
        };
        Flow {
            number,
            phase: Phase::Established,
            state: State::Established,
            endpoint: 0,
            target,
            opened,
            client: NextHop::UNKNOWN,
            client_tags: Tags::default(),
            forward: half(there),
            reverse: half(back),
        }
    }

    fn traffic(there: (u64, u64), back: (u64, u64)) -> Traffic {
        Traffic {
            packets_to_target: there.0,
            bytes_to_target: there.1,
            packets_to_client: back.0,
            bytes_to_client: back.1,
        }
    }

    fn after(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_came_since_by_the_time_it_took() {
        let began = Instant::now();
        for (before, now, ms, expected) in [
            (((5, 500), (7, 700)), ((5, 500), (7, 700)), 1000, ((0, 0), (0, 0))),
            (((5, 500), (7, 700)), ((8, 900), (9, 1700)), 1000, ((3, 400), (2, 1000))),
            (((0, 0), (0, 0)), ((3, 300), (1, 100)), 200, ((15, 1500), (5, 500))),
            (((0, 0), (0, 0)), ((3, 300), (1, 100)), 2000, ((2, 150), (1, 50))),
            (((0, 0), (0, 0)), ((1, 100), (0, 0)), 60_000, ((0, 2), (0, 0))),
            (
                ((PACKETS, BYTES), (PACKETS, BYTES - 1)),
                ((1, 99), (0, 8)),
                1000,
                ((2, 100), (1, 10)),
            ),
        ] {
            let mut readings = Readings::begin(began);
            readings.add(&flow(4, 1, 1, before.0, before.1), began + after(50));
            let now = flow(4, 1, 1, now.0, now.1);
            let found = readings.since().rates(&now, began + after(50 + ms));
            assert_eq!(found, traffic(expected.0, expected.1), "{before:?} {now:?} {ms}");
        }
    }

    #[test]
    fn each_flow_has_its_own_time() {
        let began = Instant::now();
        let mut readings = Readings::begin(began);
        let idle = (0, 0);
        for (number, at) in [(0, 0), (2, 300), (6, 900)] {
            readings.add(&flow(number, 1, 1, idle, idle), began + after(at));
        }
        let mut since = readings.since();
        for (number, at, expected) in [(0, 1000, 1200), (2, 1800, 800), (6, 3300, 500)] {
            let now = flow(number, 1, 1, (0, 1200), idle);
            let rates = since.rates(&now, began + after(at));
            assert_eq!(rates, traffic((0, expected), idle), "{number}");
        }
    }

    #[test]
    fn another_flow_in_the_same_place_begins_at_nothing() {
        let began = Instant::now();
        let mut readings = Readings::begin(began);
        let (there, back) = ((10, 1000), (20, 2000));
        // Of these, the second and fourth end; flows open before the first, in their places, and behind the last.
        for number in [3, 5, 7, 8] {
            readings.add(&flow(number, 1, 1, there, back), began);
        }
        let (new, stays) = (traffic((5, 500), (10, 1000)), Traffic::default());
        let mut since = readings.since();
        for (number, target, opened, expected) in [
            (1, 1, 1, new),
            (3, 1, 1, stays),
            (4, 1, 1, new),
            (5, 1, 2, new),
            (7, 1, 1, stays),
            (8, 2, 1, new),
            (9, 1, 1, new),
        ] {
            let now = flow(number, target, opened, there, back);
            assert_eq!(since.rates(&now, began + after(2000)), expected, "{number}");
        }
    }
}
