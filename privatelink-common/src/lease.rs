//! Which NAT ports a new flow tries to lease.
//!
//! A lease is one (load balancer address, port) towards one target address and port; inserting the
//! reverse flow entry under "must not exist" is the reservation itself, so there is no second book of
//! leases to fall out of step. The first port is random (RFC 6056, section 3.3.1), the following ones
//! are a random stride apart: a stride has no common factor with the range, so no port is met twice.

/// First port leased. Lower ports stay free for health checks.
pub const FIRST_PORT: u16 = 10_240;
/// Last port leased.
pub const LAST_PORT: u16 = 65_535;
/// First port that health checks leave from; the last is the one below [`FIRST_PORT`].
pub const FIRST_CHECK_PORT: u16 = 1024;
/// Ports per load balancer address and target: 55 296, as many as AWS gives (55 000) and a few more.
pub const PORTS: u32 = (LAST_PORT - FIRST_PORT) as u32 + 1;
/// Ports tried for one new flow. With nine tenths of all ports leased, one flow in 700 000 finds none.
pub const TRIES: u64 = 128;
/// Tries on one address before the load balancer's next one has its turn, and after the last the first again: few, since each
/// costs several misses in the cache, and once an address is nearly full every flow pays for all of them.
pub const TRIES_PER_ADDRESS: u64 = 4;

/// Whether health checks leave from this port, host order.
#[inline(always)]
pub const fn is_check_port(port: u16) -> bool {
    FIRST_CHECK_PORT <= port && port < FIRST_PORT
}

/// An endless sequence of ports, all of the range before any repeats.
#[derive(Clone, Debug)]
pub struct Ports {
    offset: u32,
    stride: u32,
}

impl Ports {
    /// The sequence that two random words choose.
    #[inline(always)]
    pub const fn new(start: u32, stride: u32) -> Self {
        // PORTS = 2^11 * 27, so 6k + 1 shares no factor with it.
        const STRIDES: u64 = PORTS as u64 / 6;
        Self {
            offset: ((start as u64 * PORTS as u64) >> 32) as u32,
            stride: ((stride as u64 * STRIDES) >> 32) as u32 * 6 + 1,
        }
    }

    /// The next port, host order.
    #[inline(always)]
    pub const fn next_port(&mut self) -> u16 {
        let port = FIRST_PORT as u32 + self.offset;
        self.offset = (self.offset + self.stride) % PORTS;
        port as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_port_once_and_none_outside(start in any::<u32>(), stride in any::<u32>()) {
            let mut ports = Ports::new(start, stride);
            let mut seen = vec![false; 1 << 16];
            for _ in 0..PORTS {
                let port = ports.next_port();
                prop_assert!(port >= FIRST_PORT);
                prop_assert!(!seen[usize::from(port)]);
                seen[usize::from(port)] = true;
            }
        }
    }

    #[test]
    fn starts_spread_evenly() {
        // 16 equal parts of the range, 65 536 evenly spaced random words: each part gets its share.
        let mut parts = [0_u32; 16];
        for word in 0..65_536_u32 {
            let port = Ports::new(word << 16, 0).next_port();
            parts[(u32::from(port - FIRST_PORT) * 16 / PORTS) as usize] += 1;
        }
        assert!(parts.iter().all(|&count| count.abs_diff(4096) <= 1), "{parts:?}");
    }

    #[test]
    fn extremes_stay_in_range() {
        for start in [0, u32::MAX] {
            for stride in [0, u32::MAX] {
                let mut ports = Ports::new(start, stride);
                assert!((0..3).all(|_| ports.next_port() >= FIRST_PORT));
            }
        }
    }
}
