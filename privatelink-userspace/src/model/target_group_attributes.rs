//! What a target group does with targets that come, fail and go.

use std::time::Duration;

use super::Protocols;

/// Attributes of a target group; the defaults are AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroupAttributes {
    /// `deregistration_delay.timeout_seconds`: how long a target that was removed is draining.
    pub deregistration_delay: Duration,
    /// `deregistration_delay.connection_termination.enabled`: whether its flows end with the delay. By default those of
    /// UDP do, which may have no end of their own.
    pub deregistration_ends_flows: bool,
    /// `target_health_state.unhealthy.connection_termination.enabled`: whether the flows of a target end once it is
    /// unhealthy. Only groups of TCP alone have it; in others flows stay.
    pub unhealthy_ends_flows: bool,
    /// `target_health_state.unhealthy.draining_interval_seconds`: where they do not, how long they are given; zero is
    /// for ever.
    pub unhealthy_draining: Duration,
    /// `target_group_health.unhealthy_state_routing.minimum_healthy_targets`: with fewer, flows go to all targets.
    pub routing_minimum: MinimumHealthy,
    /// `target_group_health.dns_failover.minimum_healthy_targets`: with fewer in a zone, its flows go to other zones.
    pub failover_minimum: MinimumHealthy,
    /// `slow_start.duration_seconds`: over which a target that has become healthy gets its share; zero is at once.
    pub slow_start: Duration,
    /// `stickiness.enabled`: all flows of a client go to one target.
    pub sticky: bool,
    /// `load_balancing.cross_zone.enabled`; `None` is the load balancer's.
    pub cross_zone: Option<bool>,
    /// `tcp.idle_timeout.seconds`, if it is set.
    pub idle_timeout: Option<Duration>,
}

impl TargetGroupAttributes {
    /// The defaults for a group of these protocols.
    pub fn of(protocol: Protocols) -> Self {
        let is_tcp = protocol == Protocols::Tcp;
        Self {
            deregistration_delay: Duration::from_secs(300),
            deregistration_ends_flows: !is_tcp,
            unhealthy_ends_flows: is_tcp,
            unhealthy_draining: Duration::ZERO,
            routing_minimum: MinimumHealthy::ONE,
            failover_minimum: MinimumHealthy::ONE,
            slow_start: Duration::ZERO,
            sticky: false,
            cross_zone: None,
            idle_timeout: None,
        }
    }
}

/// How many targets must be healthy: this count and this share of them. The default is any number, also none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinimumHealthy {
    /// `count`; 0 is `off`.
    pub count: u32,
    /// `percentage`; 0 is `off`.
    pub percentage: u8,
}

impl MinimumHealthy {
    const ONE: Self = Self { count: 1, percentage: 0 };

    /// Whether `healthy` of `all` targets are enough.
    pub fn is_met(self, healthy: usize, all: usize) -> bool {
        healthy >= self.count as usize && healthy * 100 >= all * usize::from(self.percentage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_by_count_and_by_percentage() {
        for (count, percentage, healthy, all, enough) in [
            (1, 0, 0, 4, false),
            (1, 0, 1, 4, true),
            (0, 0, 0, 4, true),
            (0, 50, 1, 4, false),
            (0, 50, 2, 4, true),
            (0, 34, 1, 3, false),
            (0, 33, 1, 3, true),
            (3, 50, 2, 4, false),
            (1, 100, 3, 4, false),
            (1, 100, 4, 4, true),
        ] {
            let minimum = MinimumHealthy { count, percentage };
            assert_eq!(minimum.is_met(healthy, all), enough, "{minimum:?}: {healthy} of {all}");
        }
    }
}
