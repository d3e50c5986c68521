//! Flows that were opened to targets that were not healthy: a group without enough healthy ones fails open.

use std::collections::HashMap;

/// What was opened to each target while it was not healthy, by the target's number, since the daemon was started.
#[derive(Debug, Default)]
pub struct UnhealthyRouting(HashMap<u32, Routed>);

/// Of one target.
#[derive(Clone, Copy, Debug, Default)]
struct Routed {
    flows: u64,
    /// Flows opened to it when it became unhealthy, if it is.
    unhealthy_from: Option<u64>,
}

impl Routed {
    fn by(self, opened: u64) -> u64 {
        self.flows + self.unhealthy_from.map_or(0, |from| opened.saturating_sub(from))
    }
}

impl UnhealthyRouting {
    /// Notes that a target is healthy, or not; `opened` are all flows ever opened to it.
    pub fn note(&mut self, target: u32, is_healthy: bool, opened: u64) {
        let routed = self.0.entry(target).or_default();
        if routed.unhealthy_from.is_some() == is_healthy {
            let flows = routed.by(opened);
            *routed = Routed { flows, unhealthy_from: (!is_healthy).then_some(opened) };
        }
    }

    /// How many flows it were; `opened` as above.
    pub fn flows(&self, target: u32, opened: u64) -> u64 {
        self.0.get(&target).map_or(0, |routed| routed.by(opened))
    }

    /// Forgets a target whose number is given back.
    pub fn forget(&mut self, target: u32) {
        self.0.remove(&target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_while_a_target_is_unhealthy() {
        let mut routing = UnhealthyRouting::default();
        assert_eq!(routing.flows(1, 10), 0, "never heard of");
        routing.note(1, true, 10);
        assert_eq!(routing.flows(1, 30), 0);
        routing.note(1, false, 30);
        routing.note(1, false, 32);
        assert_eq!(routing.flows(1, 35), 5);
        routing.note(1, true, 36);
        assert_eq!(routing.flows(1, 50), 6);
        routing.note(1, false, 50);
        assert_eq!((routing.flows(1, 51), routing.flows(2, 51)), (7, 0));
        routing.forget(1);
        assert_eq!(routing.flows(1, 60), 0);
    }
}
