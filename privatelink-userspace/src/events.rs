//! What happens on the gateway: told once, logged, kept for a while, and read by whoever follows, each at its own pace.
//!
//! Telling never waits for a reader. Whoever is too slow loses the oldest events, and is told how many.

mod fill;
mod health;
mod line;
mod ring;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

pub use self::fill::fill;
pub use self::health::health_change;
use self::ring::{Next, Ring};
use crate::api::{Event, EventKinds, What};

/// Events that are kept: what a reader may be behind.
pub const KEPT: usize = 10_000;

/// The events of this daemon.
#[derive(Debug)]
pub struct Events {
    ring: watch::Sender<Ring>,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest event that is kept.
    Oldest,
    /// With the one after that with this id.
    After(u64),
    /// With the next that happens.
    Next,
}

impl Default for Events {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Events {
    /// None yet; so many will be kept.
    pub fn keeping(most: usize) -> Self {
        // Larger than an earlier daemon's, which told fewer than one each millisecond.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { ring: watch::Sender::new(Ring::new(now.as_millis() as u64, most)) }
    }

    /// Tells, and logs, what has happened.
    pub fn tell(&self, what: What) {
        log::log!(line::level(&what), "{what}");
        self.ring.send_modify(|ring| ring.push(what));
    }

    /// A reader of the events of these kinds.
    pub fn follow(&self, begin: Begin, kinds: EventKinds) -> Follower {
        let ring = self.ring.subscribe();
        let read = ring.borrow().before(begin);
        Follower { ring, read, kinds }
    }

    /// Ends it for all who follow, once they have read what there is.
    pub fn close(&self) {
        self.ring.send_modify(Ring::close);
    }
}

/// Reads events in their order.
#[derive(Debug)]
pub struct Follower {
    ring: watch::Receiver<Ring>,
    /// Id of the last one read, or passed over.
    read: u64,
    kinds: EventKinds,
}

impl Follower {
    /// The next event; waits until there is one. `None` once there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            match self.look() {
                Next::Event(event) => return Some(event),
                Next::Nothing => self.ring.changed().await.ok()?,
                Next::End => return None,
            }
        }
    }

    /// The next event, if it has happened already.
    pub fn kept(&mut self) -> Option<Arc<Event>> {
        match self.look() {
            Next::Event(event) => Some(event),
            Next::Nothing | Next::End => None,
        }
    }

    /// Reads events of these kinds only from now on.
    pub fn only(&mut self, kinds: EventKinds) {
        self.kinds = kinds;
    }

    fn look(&mut self) -> Next {
        let ring = self.ring.borrow_and_update();
        let next = ring.after(self.read, &self.kinds);
        self.read = match &next {
            Next::Event(event) => event.id,
            Next::Nothing | Next::End => ring.last(),
        };
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EventKind, Fill, FillChange};

    fn happened(number: u64) -> What {
        What::Lost { events: number }
    }

    #[tokio::test]
    async fn who_waits_hears_of_it_and_of_the_end() {
        let events = Events::keeping(10);
        events.tell(happened(1));
        let mut all = events.follow(Begin::Oldest, EventKinds::default());
        let mut later = events.follow(Begin::Next, EventKinds::default());
        assert_eq!(all.next().await.unwrap().what, happened(1));
        assert_eq!(later.kept(), None);
        let telling = async {
            tokio::task::yield_now().await;
            events.tell(happened(2));
            events.tell(happened(3));
            events.close();
        };
        let following = async {
            let mut heard = Vec::new();
            while let Some(event) = later.next().await {
                heard.push(event.what.clone());
            }
            heard
        };
        let ((), heard) = tokio::join!(telling, following);
        assert_eq!(heard, [happened(2), happened(3)]);
        assert_eq!(all.next().await.unwrap().what, happened(2));
    }

    #[test]
    fn who_keeps_looking_loses_nothing_to_kinds_it_does_not_want() {
        let events = Events::keeping(2);
        let mut follower = events.follow(Begin::Oldest, EventKinds(vec![EventKind::Accept]));
        let (before, state) = (Fill::Normal, Fill::High);
        for flows_held in 0..5 {
            let change = FillChange { before, state, flows_held, flows_max: 10 };
            events.tell(What::TablePressure(change));
            assert_eq!(follower.kept(), None, "{flows_held}");
        }
    }

    #[tokio::test]
    async fn it_ends_with_its_source() {
        let events = Events::keeping(10);
        let mut follower = events.follow(Begin::Oldest, EventKinds(vec![EventKind::Accept]));
        drop(events);
        assert_eq!(follower.next().await, None);
    }
}
