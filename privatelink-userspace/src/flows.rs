//! Flows as listings show them.

use std::borrow::Cow;

use privatelink_common::flow_table::{Flow, Half};

use crate::api::FlowRow;
use crate::datapath::Clock;
use crate::model::Protocol;
use crate::snapshot::Snapshot;

mod rates;

pub use rates::{Readings, Since, Traffic};

/// A flow as listings show it, with what it carries in a second if that is known.
pub fn row<'a>(
    flow: &Flow,
    snapshot: &'a Snapshot,
    clock: &Clock,
    rates: Option<Traffic>,
) -> FlowRow<'a> {
    let (client, server) = (flow.forward.key, flow.reverse.key);
    let vpc = snapshot.vpc(client.vpc).map(|vpc| &vpc.id);
    let endpoint = snapshot.endpoint(flow.endpoint);
    let service = endpoint.and_then(|endpoint| snapshot.service(endpoint));
    let since = |half: &Half| clock.tick().since_stamp(half.stamp);
    FlowRow {
        protocol: Protocol::of_flow(&client).name().into(),
        state: flow.state.name().into(),
        vpc: name(vpc),
        endpoint: name(endpoint.map(|endpoint| &endpoint.id)),
        service: name(service.map(|service| &service.id)),
        client: client.sender(),
        endpoint_address: client.receiver(),
        nat: server.receiver(),
        target: server.sender(),
        packets_to_target: flow.forward.packets,
        bytes_to_target: flow.forward.bytes,
        packets_to_client: flow.reverse.packets,
        bytes_to_client: flow.reverse.bytes,
        retransmissions_to_target: flow.forward.note.again(),
        retransmissions_to_client: flow.reverse.note.again(),
        consumer_rtt_us: flow.forward.note.time(),
        provider_rtt_us: flow.reverse.note.time(),
        age_ms: clock.ms(clock.tick().since_coarse(flow.opened)),
        idle_ms: clock.ms(since(&flow.forward).min(since(&flow.reverse))),
        packets_to_target_per_s: rates.map(|rates| rates.packets_to_target),
        bytes_to_target_per_s: rates.map(|rates| rates.bytes_to_target),
        packets_to_client_per_s: rates.map(|rates| rates.packets_to_client),
        bytes_to_client_per_s: rates.map(|rates| rates.bytes_to_client),
    }
}

fn name(id: Option<&String>) -> Cow<'_, str> {
    Cow::Borrowed(id.map_or("", String::as_str))
}
