//! What is asked of the flows, and what it means: filter, sort, limit.

use serde::{Deserialize, Serialize};

use super::FlowRow;
use super::filter::{Clients, FlowState, Targets};
use super::interval::Interval;
use crate::model::Protocol;

/// Which flows to list and how, the query of `GET /v1/flows`. All filters must let a flow pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowQuery {
    /// Only this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only clients in this vpc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Only this protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Only this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowState>,
    /// Only these clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Clients>,
    /// Only these targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Targets>,
    /// Only flows that have carried at least so many bytes, both directions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<u64>,
    /// Also what each flow carries in a second, measured over so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_ms: Option<Interval>,
    /// Largest first by this measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<FlowSort>,
    /// Smallest first by that measure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reverse: bool,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Measure by which flows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FlowSort {
    /// Bytes of both directions.
    Bytes,
    /// Packets of both directions.
    Packets,
    /// Time since the flow was opened.
    Age,
    /// Time since the last packet.
    Idle,
    /// Bytes of both directions in a second.
    Rate,
}

impl FlowQuery {
    /// Over which time rates are measured, if they are wanted at all: who sorts by them wants them, over a second unless
    /// told otherwise.
    pub fn interval(&self) -> Option<Interval> {
        self.rate_ms.or((self.sort == Some(FlowSort::Rate)).then_some(Interval::SECOND))
    }

    /// Of the filters, those that a flow either passes for all its life or never.
    pub fn lasting(&self) -> Self {
        Self { state: None, min_bytes: None, ..self.clone() }
    }

    /// Whether the filters let `row` pass.
    pub fn matches(&self, row: &FlowRow<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.endpoint, &row.endpoint)
            && is(&self.service, &row.service)
            && is(&self.vpc, &row.vpc)
            && self.protocol.is_none_or(|wanted| wanted.name() == row.protocol)
            && self.state.is_none_or(|wanted| wanted.name() == row.state)
            && self.client.is_none_or(|wanted| wanted.contain(row.client))
            && self.target.is_none_or(|wanted| wanted.contain(row.target))
            && self.min_bytes.is_none_or(|least| row.bytes() >= least)
    }

    /// The rows the query asks for: filtered, then sorted, then limited.
    ///
    /// The largest come first, or the smallest if reversed; rows that measure the same, and all rows if the query
    /// names no measure, keep the order they came in. Only sorting keeps rows, and of a limited query never more
    /// than twice the limit.
    pub fn select<'q, 'r: 'q>(
        &'q self,
        rows: impl Iterator<Item = FlowRow<'r>> + 'q,
    ) -> Box<dyn Iterator<Item = FlowRow<'r>> + 'q> {
        let rows = rows.filter(|row| self.matches(row));
        let limit = self.limit.unwrap_or(usize::MAX);
        match self.sort {
            Some(sort) => {
                let rank = |row: &FlowRow<'_>| {
                    let measure = measure(row, sort);
                    if self.reverse { measure } else { !measure }
                };
                Box::new(first(rows, rank, limit).into_iter())
            }
            None => Box::new(rows.take(limit)),
        }
    }
}

impl FlowRow<'_> {
    /// Bytes of both directions.
    const fn bytes(&self) -> u64 {
        self.bytes_to_target.saturating_add(self.bytes_to_client)
    }
}

/// The rows of lowest rank.
fn first<'a>(
    rows: impl Iterator<Item = FlowRow<'a>>,
    rank: impl Fn(&FlowRow<'_>) -> u64,
    limit: usize,
) -> Vec<FlowRow<'a>> {
    let settle = |kept: &mut Vec<FlowRow<'a>>| {
        kept.sort_by_key(|row| rank(row));
        kept.truncate(limit);
    };
    let mut kept = Vec::new();
    for row in rows {
        kept.push(row);
        if kept.len() / 2 >= limit {
            settle(&mut kept);
        }
    }
    settle(&mut kept);
    kept
}

fn measure(row: &FlowRow<'_>, sort: FlowSort) -> u64 {
    match sort {
        FlowSort::Bytes => row.bytes(),
        FlowSort::Packets => row.packets_to_target.saturating_add(row.packets_to_client),
        FlowSort::Age => row.age_ms,
        FlowSort::Idle => row.idle_ms,
        FlowSort::Rate => {
            let rates = [row.bytes_to_target_per_s, row.bytes_to_client_per_s];
            rates.into_iter().flatten().fold(0, u64::saturating_add)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use clap::ValueEnum;
    use serde_json::{Value, json};

    use super::*;

    /// A row named by its client, with the measures that matter here.
    fn row(
        name: char,
        bytes: (u64, u64),
        packets: (u64, u64),
        age: u64,
        idle: u64,
    ) -> FlowRow<'static> {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        FlowRow {
            protocol: "tcp".into(),
            state: "established".into(),
            vpc: "vpc-a".into(),
            endpoint: "vpce-1".into(),
            service: "vpce-svc-1".into(),
            client: address(name as u16),
            endpoint_address: address(80),
            nat: address(10_240),
            target: address(8080),
            packets_to_target: packets.0,
            bytes_to_target: bytes.0,
            packets_to_client: packets.1,
            bytes_to_client: bytes.1,
            retransmissions_to_target: 0,
            retransmissions_to_client: 0,
            consumer_rtt_us: None,
            provider_rtt_us: None,
            age_ms: age,
            idle_ms: idle,
            packets_to_target_per_s: None,
            bytes_to_target_per_s: None,
            packets_to_client_per_s: None,
            bytes_to_client_per_s: None,
        }
    }

    /// With rates of bytes: those of packets are the other way round, so that one cannot stand for the other.
    fn rated(rates: (u64, u64), row: FlowRow<'static>) -> FlowRow<'static> {
        FlowRow {
            packets_to_target_per_s: Some(1000 - rates.0),
            bytes_to_target_per_s: Some(rates.0),
            packets_to_client_per_s: Some(1000 - rates.1),
            bytes_to_client_per_s: Some(rates.1),
            ..row
        }
    }

    fn rows() -> Vec<FlowRow<'static>> {
        let a = FlowRow { endpoint: "vpce-2".into(), ..row('a', (1, 9), (1, 1), 500, 7) };
        let b = FlowRow {
            state: "syn_sent".into(),
            vpc: "vpc-b".into(),
            ..row('b', (5, 5), (4, 1), 900, 0)
        };
        let c = FlowRow { service: "vpce-svc-2".into(), ..row('c', (0, 11), (0, 3), 100, 99) };
        let d = FlowRow {
            client: "127.0.0.9:100".parse().unwrap(),
            target: "127.0.0.1:8081".parse().unwrap(),
            ..row('d', (10, 0), (2, 0), 900, 7)
        };
        vec![rated((30, 0), a), rated((0, 10), b), rated((20, 5), c), d]
    }

    fn clients(query: &FlowQuery) -> String {
        let name = |row: FlowRow<'_>| char::from(row.client.port() as u8);
        query.select(rows().into_iter()).map(name).collect()
    }

    /// A query as it stands behind the question mark, by the names and forms that the API has.
    fn query(fields: Value) -> FlowQuery {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn filters_must_all_match_exactly() {
        for (fields, expected) in [
            (json!({}), "abcd"),
            (json!({"endpoint": "vpce-2"}), "a"),
            (json!({"endpoint": "vpce"}), ""),
            (json!({"service": "vpce-svc-1"}), "abd"),
            (json!({"vpc": "vpc-b"}), "b"),
            (json!({"vpc": "vpc"}), ""),
            (json!({"protocol": "tcp"}), "abcd"),
            (json!({"protocol": "udp"}), ""),
            (json!({"state": "syn_sent"}), "b"),
            (json!({"state": "closed"}), ""),
            (json!({"client": "127.0.0.1"}), "abc"),
            (json!({"client": "127.0.0.8/31"}), "d"),
            (json!({"client": "127.0.0.0/24"}), "abcd"),
            (json!({"target": "127.0.0.1"}), "abcd"),
            (json!({"target": "127.0.0.1:8081"}), "d"),
            (json!({"target": "127.0.0.2"}), ""),
            (json!({"min_bytes": 0}), "abcd"),
            (json!({"min_bytes": 10}), "abcd"),
            (json!({"min_bytes": 11}), "c"),
            (json!({"min_bytes": u64::MAX}), ""),
            (json!({"endpoint": "vpce-1", "state": "established"}), "cd"),
            (json!({"endpoint": "vpce-1", "state": "established", "min_bytes": 11}), "c"),
            (json!({"endpoint": "vpce-2", "min_bytes": 11}), ""),
        ] {
            assert_eq!(clients(&query(fields.clone())), expected, "{fields}");
        }
    }

    #[test]
    fn largest_or_smallest_first_and_ties_keep_their_order() {
        for (sort, largest, smallest) in [
            (FlowSort::Bytes, "cabd", "abdc"),
            (FlowSort::Packets, "bcad", "adcb"),
            (FlowSort::Age, "bdac", "cabd"),
            (FlowSort::Idle, "cadb", "badc"),
            (FlowSort::Rate, "acbd", "dbca"),
        ] {
            for (reverse, expected) in [(false, largest), (true, smallest)] {
                let query = FlowQuery { sort: Some(sort), reverse, ..FlowQuery::default() };
                assert_eq!(clients(&query), expected, "{sort:?} {reverse}");
            }
        }
        let unsorted = FlowQuery { reverse: true, ..FlowQuery::default() };
        assert_eq!(clients(&unsorted), "abcd");
    }

    #[test]
    fn rates_are_measured_where_they_are_wanted() {
        let second = Some(Interval::SECOND);
        for (fields, expected) in [
            (json!({}), None),
            (json!({"sort": "bytes"}), None),
            (json!({"sort": "rate"}), second),
            (json!({"rate_ms": 1000}), second),
            (json!({"rate_ms": 250, "sort": "rate"}), Interval::try_from(250).ok()),
        ] {
            assert_eq!(query(fields.clone()).interval(), expected, "{fields}");
        }
    }

    #[test]
    fn a_flow_passes_lasting_filters_for_all_its_life() {
        let filters = json!({
            "endpoint": "vpce-1", "service": "vpce-svc-1", "vpc": "vpc-a", "state": "closed",
            "client": "127.0.0.0/8", "target": "127.0.0.1", "min_bytes": 1_000,
        });
        let passing = query(filters).lasting();
        assert_eq!(clients(&passing), "d");
    }

    #[test]
    fn limit_applies_after_filter_and_sort() {
        let limit = |limit| FlowQuery { limit: Some(limit), ..FlowQuery::default() };
        assert_eq!(clients(&limit(0)), "");
        assert_eq!(clients(&limit(2)), "ab");
        assert_eq!(clients(&limit(9)), "abcd");
        assert_eq!(clients(&FlowQuery { sort: Some(FlowSort::Bytes), ..limit(1) }), "c");
        let established = FlowQuery { state: Some(FlowState::Established), ..limit(2) };
        assert_eq!(clients(&established), "ac");
    }

    #[test]
    fn a_limit_makes_no_difference_to_the_order() {
        let row = |n: u64| rated((n % 3, n), row('x', (n * 7 % 13, n), (n, 0), n % 5, n));
        let rows = |count: u64| (0..count).map(row);
        let sorts = FlowSort::value_variants().iter();
        for (&sort, reverse) in sorts.flat_map(|sort| [(sort, false), (sort, true)]) {
            let all = FlowQuery { sort: Some(sort), reverse, ..FlowQuery::default() };
            let sorted: Vec<_> = all.select(rows(50)).collect();
            for limit in 0..60 {
                let limited = FlowQuery { limit: Some(limit), ..all.clone() };
                let found: Vec<_> = limited.select(rows(50)).collect();
                assert_eq!(found, sorted[..limit.min(50)], "{sort:?} {reverse} {limit}");
            }
        }
    }

    #[test]
    fn counters_near_their_end_do_not_overflow() {
        let huge = FlowRow {
            bytes_to_target_per_s: Some(u64::MAX),
            bytes_to_client_per_s: Some(u64::MAX),
            ..row('h', (u64::MAX, u64::MAX), (u64::MAX, u64::MAX), 0, 0)
        };
        let rows = vec![row('s', (1, 1), (1, 1), 0, 0), huge.clone()];
        for sort in [FlowSort::Bytes, FlowSort::Packets, FlowSort::Rate] {
            let query = FlowQuery { sort: Some(sort), ..FlowQuery::default() };
            assert_eq!(query.select(rows.clone().into_iter()).next(), Some(huge.clone()));
        }
    }
}
