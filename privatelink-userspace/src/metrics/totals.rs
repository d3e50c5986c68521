//! The metrics as the control API answers them.

use privatelink_common::flow_table::totals::Counts;

use super::Facts;
use crate::api::{
    CountsBody, DropTotals, EndpointTotals, ServiceTotals, TableTotals, TargetTotals, Totals,
};

/// The answer of the daemon `pid`.
pub fn totals(facts: &Facts, pid: u32) -> Totals {
    let Facts { table, endpoints, services, targets, drops, .. } = facts;
    let endpoints = endpoints.iter().map(|of| EndpointTotals {
        endpoint: of.id.clone(),
        vpc: of.vpc.clone(),
        service: of.service.clone(),
        flows: of.flows,
        half_open: of.half_open,
        counts: of.counts.into(),
    });
    let services = services.iter().map(|of| ServiceTotals {
        service: of.id.clone(),
        load_balancers: of.load_balancers.clone(),
        endpoints: of.endpoints,
        flows: of.flows,
        counts: of.counts.into(),
    });
    let targets = targets.iter().map(|of| TargetTotals {
        target_group: of.group.clone(),
        target: of.target.clone(),
        healthy: of.healthy,
        flows: of.flows,
        counts: of.counts.into(),
    });
    let drops = drops.iter().map(|of| DropTotals {
        interface: of.interface.clone(),
        vpc: of.vpc.clone(),
        reason: of.reason.into(),
        packets: of.packets,
    });
    Totals {
        version: facts.version.clone(),
        pid,
        uptime_ms: facts.up.as_millis() as u64,
        flow_table: TableTotals {
            capacity: table.capacity,
            held: table.held,
            ipv6_capacity: table.ipv6_capacity,
            ipv6_held: table.ipv6_held,
            flows: table.flows,
            half_open: table.half_open,
        },
        endpoints: endpoints.collect(),
        services: services.collect(),
        targets: targets.collect(),
        drops: drops.collect(),
    }
}

impl From<Counts> for CountsBody {
    fn from(counts: Counts) -> Self {
        Self {
            new_flows: counts.opened,
            packets_to_target: counts.packets_to_target,
            bytes_to_target: counts.bytes_to_target,
            packets_to_client: counts.packets_to_client,
            bytes_to_client: counts.bytes_to_client,
            client_resets: counts.client_resets,
            target_resets: counts.target_resets,
            port_allocation_errors: counts.lease_exhausted,
            packets_dropped: counts.dropped,
            elb_resets: counts.resets_sent,
        }
    }
}
