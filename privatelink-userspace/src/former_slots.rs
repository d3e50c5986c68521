//! Slots that interfaces had before they were deleted and made anew.
//!
//! A flow knows its client by a slot and a MAC address, learnt from the client's last frame. A client that waits for an
//! answer sends none, and would wait for ever: so the slots of an interface that is gone lead to the one that now has its
//! name.

use std::collections::{BTreeMap, VecDeque};

/// Slots that are kept for an interface: so often it may be made anew until all its clients have sent something.
const MOST: usize = 8;

/// The former slots of interfaces by name, the oldest first.
#[derive(Debug, Default)]
pub struct FormerSlots(BTreeMap<String, VecDeque<u32>>);

impl FormerSlots {
    /// Notes that an interface has left a slot.
    pub fn note(&mut self, interface: &str, slot: u32) {
        self.release(slot);
        let slots = self.0.entry(interface.to_owned()).or_default();
        slots.push_back(slot);
        if slots.len() > MOST {
            slots.pop_front();
        }
    }

    /// Those of an interface.
    pub fn of(&self, interface: &str) -> impl Iterator<Item = u32> {
        self.0.get(interface).into_iter().flatten().copied()
    }

    /// Whether any interface has left this one.
    pub fn contains(&self, slot: u32) -> bool {
        self.0.values().any(|slots| slots.contains(&slot))
    }

    /// Gives a slot to somebody else.
    pub fn release(&mut self, slot: u32) {
        self.0.values_mut().for_each(|slots| slots.retain(|&left| left != slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(former: &FormerSlots, interface: &str) -> Vec<u32> {
        former.of(interface).collect()
    }

    #[test]
    fn slots_are_kept_for_a_name_until_somebody_needs_them() {
        let mut former = FormerSlots::default();
        for (interface, slot) in [("a", 1), ("b", 2), ("a", 3), ("b", 1)] {
            former.note(interface, slot);
        }
        assert_eq!([of(&former, "a"), of(&former, "b")], [vec![3], vec![2, 1]]);
        former.release(2);
        assert_eq!([of(&former, "a"), of(&former, "b")], [vec![3], vec![1]]);
        assert!(former.contains(3) && !former.contains(2));
        assert!(of(&former, "c").is_empty());
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut former = FormerSlots::default();
        (0..10).for_each(|slot| former.note("a", slot));
        assert_eq!(of(&former, "a"), (2..10).collect::<Vec<_>>());
    }
}
