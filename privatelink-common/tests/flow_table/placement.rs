//! Where the halves of many flows lie, and that a full table is no different from an empty one.

use std::cell::Cell;

use privatelink_common::flow_table::half::Direction;
use privatelink_common::flow_table::{Entry, FlowMemory, NONE};
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::ticks::Tick;

use super::table::{
    Content, QUARANTINE, check, client, end, entry, lease, open_from, scattered, table,
};

const FLOWS: u32 = 1 << 13;

/// A table with its flows: the clients' numbers and the flows' own.
struct Filled {
    table: MemoryFlowTable,
    flows: Vec<(u32, u32)>,
    clients: u32,
    leases: Cell<u32>,
    random: u32,
    now: Tick,
}

impl Filled {
    fn new(capacity: u32) -> Self {
        Self {
            table: table(capacity),
            flows: Vec::new(),
            clients: 0,
            leases: Cell::new(0),
            random: 1,
            now: Tick(1000),
        }
    }

    fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(1);
        scattered(self.random)
    }

    /// Opens a flow of a new client; false where no half was found.
    fn open(&mut self) -> bool {
        let leased = || {
            self.leases.set(self.leases.get() + 1);
            // All leases of sixteen addresses, in no order.
            lease(self.leases.get().wrapping_mul(0x9_e3b1) & 0xf_ffff)
        };
        let random = scattered(self.random);
        let Some(number) = open_from(&self.table, self.clients, &leased, random, self.now) else {
            self.random();
            return false;
        };
        self.random();
        self.flows.push((self.clients, number));
        self.clients += 1;
        true
    }

    /// Opens flows until there are as many. One try looks at a part of the table.
    fn fill(&mut self, flows: u32) {
        let mut tries = 0;
        while self.flows.len() < flows as usize {
            tries = if self.open() { 0 } else { tries + 1 };
            assert!(tries < 1000, "{} flows fit", self.flows.len());
        }
    }

    /// Ends this many flows, whichever, and lets their halves rest.
    fn end(&mut self, flows: u32) {
        for _ in 0..flows {
            let any = self.random() as usize % self.flows.len();
            let (_, number) = self.flows.swap_remove(any);
            end(&self.table, number, self.now);
        }
        self.now = Tick(self.now.0 + QUARANTINE + 1);
    }

    /// Ends and opens flows until each place has had several.
    fn churn(&mut self) {
        const SHARE: u32 = 64;
        let flows = self.flows.len() as u32;
        for _ in 0..SHARE * 5 {
            self.end(flows / SHARE);
            self.fill(flows);
        }
    }

    /// Each flow is found by its client's key and by its lease; and nothing else is there.
    fn check(&self) -> Content {
        for &(client_number, number) in &self.flows {
            let record = self.table.record(number).expect("a flow");
            let other = record.forward.other();
            assert_eq!(
                [client(client_number), record.reverse.key_words()]
                    .map(|key| entry(&self.table, key)),
                [(number, Direction::Forward), (other, Direction::Reverse)]
                    .map(|(number, direction)| Some(Entry::new(number, direction)))
            );
            assert_eq!(record.reverse.client_key_words(), client(client_number));
        }
        let content = check(&self.table);
        assert_eq!((content.live, content.held), (self.flows.len() as u32, 0));
        content
    }

    fn empties(mut self) {
        self.end(self.flows.len() as u32);
        assert_eq!(check(&self.table), Content::default());
    }
}

#[test]
fn a_half_full_table_has_few_strays() {
    let mut filled = Filled::new(FLOWS);
    filled.fill(FLOWS / 2);
    let [forward, reverse] = filled.check().strays;
    println!(
        "half full: {forward} clients' and {reverse} leases' keys of {} are strays",
        FLOWS / 2
    );
    assert!(forward < FLOWS / 2 / 5, "{forward} clients' keys are strays");
    assert!(reverse < FLOWS / 2 / 500, "{reverse} leases' keys are strays");
    // Flows come and go: those that are there met a half-full table, not an empty one.
    filled.churn();
    let [forward, reverse] = filled.check().strays;
    println!("half full for long: {forward} and {reverse}");
    assert!(forward < FLOWS / 2 * 2 / 5, "{forward} clients' keys are strays");
    assert!(reverse < FLOWS / 2 / 500, "{reverse} leases' keys are strays");
    filled.empties();
}

#[test]
fn a_table_with_few_flows_has_hardly_any() {
    let mut filled = Filled::new(FLOWS);
    filled.fill(FLOWS / 16);
    filled.churn();
    let [forward, reverse] = filled.check().strays;
    assert!(forward < FLOWS / 16 / 50 && reverse == 0, "{forward}, {reverse}");
    filled.empties();
}

#[test]
fn a_table_that_is_nearly_full_all_the_time() {
    let mut filled = Filled::new(FLOWS);
    filled.fill(FLOWS / 100 * 95);
    filled.check();
    filled.churn();
    filled.check();
    filled.empties();
}

/// Every half is taken; then once more, of halves that have all been used.
#[test]
fn a_table_that_is_full_to_the_last_half() {
    let mut filled = Filled::new(FLOWS);
    for _ in 0..2 {
        filled.fill(FLOWS);
        filled.check();
        for random in 0..100 {
            assert!(!filled.open(), "there is no room");
            let key = client(u32::MAX - random);
            assert_eq!(filled.table.claim(key, scattered(random), filled.now), NONE);
            assert_eq!(entry(&filled.table, key), None);
        }
        // What found no room has left nothing.
        filled.check();
        filled.end(FLOWS);
        assert_eq!(check(&filled.table), Content::default());
    }
}

/// One flow fewer makes room for one, wherever its halves were.
#[test]
fn the_last_two_halves_are_found() {
    let mut filled = Filled::new(1024);
    filled.fill(1024);
    for _ in 0..500 {
        filled.end(1);
        // A table so small is looked through as a whole.
        assert!(filled.open() && !filled.open());
    }
    filled.check();
    filled.empties();
}

/// Halves that rest are nobody's: a packet may still have them in its hands.
#[test]
fn halves_that_rest_are_left_alone() {
    let mut filled = Filled::new(1024);
    filled.fill(1024);
    let before = filled.now;
    filled.end(1024);
    for late in [0, 1, QUARANTINE] {
        filled.now = Tick(before.0 + late);
        assert!(!filled.open(), "{late} ticks later");
    }
    filled.now = Tick(before.0 + QUARANTINE + 1);
    filled.fill(1024);
    filled.check();
}
