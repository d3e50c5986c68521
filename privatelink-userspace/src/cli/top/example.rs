//! What a daemon might say, for tests.

use super::lines::Sample;
use crate::api::{
    CountsBody, DropTotals, EndpointTotals, FlowRow, ServiceTotals, TableTotals, TargetTotals,
    Totals,
};

/// What has happened after so many seconds at so many new flows per second, each of them with ten packets of 100 bytes to the
/// target and of 1000 to the client.
fn counts(seconds: u64, flows: u64) -> CountsBody {
    let new_flows = seconds * flows;
    CountsBody {
        new_flows,
        packets_to_target: 10 * new_flows,
        bytes_to_target: 1000 * new_flows,
        packets_to_client: 10 * new_flows,
        bytes_to_client: 10_000 * new_flows,
        ..CountsBody::default()
    }
}

fn endpoint(id: &str, vpc: &str, service: &str, flows: u64, counts: CountsBody) -> EndpointTotals {
    EndpointTotals {
        endpoint: id.into(),
        vpc: vpc.into(),
        service: service.into(),
        flows,
        half_open: 1,
        counts,
    }
}

/// A flow that sends a packet of 100 bytes each second, and is sent `packets` of them.
fn flow(client: &str, endpoint: &'static str, seconds: u64, packets: u64) -> FlowRow<'static> {
    FlowRow {
        protocol: "tcp".into(),
        state: "established".into(),
        vpc: "vpc-a".into(),
        endpoint: endpoint.into(),
        service: "vpce-svc-0e123abc123198abc".into(),
        client: client.parse().unwrap(),
        endpoint_address: "10.0.1.10:80".parse().unwrap(),
        nat: "10.0.0.10:10240".parse().unwrap(),
        target: if packets > 10 { "10.0.1.11:8081" } else { "10.0.1.10:8080" }.parse().unwrap(),
        packets_to_target: seconds,
        bytes_to_target: 100 * seconds,
        packets_to_client: packets * seconds,
        bytes_to_client: 100 * packets * seconds,
        retransmissions_to_target: 0,
        retransmissions_to_client: 0,
        consumer_rtt_us: None,
        provider_rtt_us: None,
        age_ms: 1000 * seconds,
        idle_ms: 0,
        packets_to_target_per_s: None,
        bytes_to_target_per_s: None,
        packets_to_client_per_s: None,
        bytes_to_client_per_s: None,
    }
}

/// The answer that many seconds after the start.
pub(super) fn sample(seconds: u64) -> Sample {
    let (web, api) = ("vpce-svc-0e123abc123198abc", "vpce-svc-0f00000000000000f");
    let [a, b, c] = [100, 7, 0].map(|flows| counts(seconds, flows));
    let service = |id: &str, endpoints, flows, counts| ServiceTotals {
        service: id.into(),
        load_balancers: "web-nlb".into(),
        endpoints,
        flows,
        counts,
    };
    let target = |target: &str, healthy, flows, counts| TargetTotals {
        target_group: "web".into(),
        target: target.into(),
        healthy,
        flows,
        counts,
    };
    let dropped = |reason: &str, packets| DropTotals {
        interface: "pl-consumer-a".into(),
        vpc: "vpc-a".into(),
        reason: reason.into(),
        packets,
    };
    Sample {
        totals: Totals {
            version: "0.1.0".into(),
            pid: 4711,
            uptime_ms: 1000 * seconds,
            flow_table: TableTotals {
                capacity: 1_048_576,
                held: 262_144,
                flows: 262_144,
                half_open: 12,
                ..TableTotals::default()
            },
            endpoints: vec![
                endpoint("vpce-0a11111111111111a", "vpc-a", web, 200, a),
                endpoint("vpce-0b22222222222222b", "vpc-b", web, 900, b),
                endpoint("vpce-0c33333333333333c", "vpc-c", api, 0, c),
            ],
            services: vec![service(web, 2, 1100, counts(seconds, 107)), service(api, 1, 0, c)],
            targets: vec![
                target("10.0.1.10:8080", true, 600, a),
                target("10.0.1.11:8081", false, 500, b),
            ],
            drops: vec![dropped("NoListener", 40 * seconds), dropped("SecurityGroup", 7)],
        },
        flows: vec![
            flow("10.0.7.7:40000", "vpce-0a11111111111111a", seconds, 5),
            flow("10.0.7.8:40001", "vpce-0b22222222222222b", seconds, 50),
        ],
    }
}
