//! What a [`FlowQuery`] means: filter, sort, limit.

use std::cmp::Reverse;

use super::{FlowQuery, FlowRow, FlowSort};

impl FlowQuery {
    /// Whether the filters let `row` pass.
    pub fn matches(&self, row: &FlowRow) -> bool {
        let passes = |wanted: &Option<String>, found: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        passes(&self.endpoint, &row.endpoint)
            && passes(&self.service, &row.service)
            && passes(&self.state, &row.state)
    }
}

/// The rows `query` asks for: filtered, then sorted, then limited.
///
/// The largest come first; rows that measure the same, and all rows if the query names no measure,
/// keep the order they came in.
pub fn flows_query(mut rows: Vec<FlowRow>, query: &FlowQuery) -> Vec<FlowRow> {
    rows.retain(|row| query.matches(row));
    if let Some(sort) = query.sort {
        rows.sort_by_key(|row| Reverse(measure(row, sort)));
    }
    rows.truncate(query.limit.unwrap_or(usize::MAX));
    rows
}

fn measure(row: &FlowRow, sort: FlowSort) -> u64 {
    match sort {
        FlowSort::Bytes => row.bytes_to_target.saturating_add(row.bytes_to_client),
        FlowSort::Packets => row.packets_to_target.saturating_add(row.packets_to_client),
        FlowSort::Age => row.age_ms,
        FlowSort::Idle => row.idle_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row named by its client, with the measures that matter here.
    fn row(client: &str, bytes: (u64, u64), packets: (u64, u64), age: u64, idle: u64) -> FlowRow {
        FlowRow {
            protocol: "tcp".into(),
            state: "established".into(),
            vpc: "vpc-a".into(),
            endpoint: "vpce-1".into(),
            service: "vpce-svc-1".into(),
            client: client.into(),
            endpoint_address: "10.0.1.10:80".into(),
            nat: "10.0.0.10:10240".into(),
            target: "10.0.1.11:8080".into(),
            packets_to_target: packets.0,
            bytes_to_target: bytes.0,
            packets_to_client: packets.1,
            bytes_to_client: bytes.1,
            age_ms: age,
            idle_ms: idle,
        }
    }

    fn rows() -> Vec<FlowRow> {
        vec![
            FlowRow { endpoint: "vpce-2".into(), ..row("a", (1, 9), (1, 1), 500, 7) },
            FlowRow { state: "half_open".into(), ..row("b", (5, 5), (4, 1), 900, 0) },
            FlowRow { service: "vpce-svc-2".into(), ..row("c", (0, 11), (0, 3), 100, 99) },
            row("d", (10, 0), (2, 0), 900, 7),
        ]
    }

    fn clients(query: &FlowQuery) -> String {
        flows_query(rows(), query).iter().map(|row| row.client.as_str()).collect()
    }

    #[test]
    fn filters_must_all_match_exactly() {
        let all = FlowQuery::default();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(clients(&all), "abcd");
        assert_eq!(clients(&FlowQuery { endpoint: some("vpce-2"), ..all.clone() }), "a");
        assert_eq!(clients(&FlowQuery { service: some("vpce-svc-1"), ..all.clone() }), "abd");
        assert_eq!(clients(&FlowQuery { state: some("half_open"), ..all.clone() }), "b");
        assert_eq!(clients(&FlowQuery { endpoint: some("vpce"), ..all.clone() }), "");
        let both =
            FlowQuery { endpoint: some("vpce-1"), state: some("established"), ..all.clone() };
        assert_eq!(clients(&both), "cd");
        assert_eq!(clients(&FlowQuery { service: some("vpce-svc-2"), ..both }), "c");
    }

    #[test]
    fn largest_first_and_ties_keep_their_order() {
        for (sort, expected) in [
            (FlowSort::Bytes, "cabd"),
            (FlowSort::Packets, "bcad"),
            (FlowSort::Age, "bdac"),
            (FlowSort::Idle, "cadb"),
        ] {
            let query = FlowQuery { sort: Some(sort), ..FlowQuery::default() };
            assert_eq!(clients(&query), expected, "{sort:?}");
        }
    }

    #[test]
    fn limit_applies_after_filter_and_sort() {
        let limit = |limit| FlowQuery { limit: Some(limit), ..FlowQuery::default() };
        assert_eq!(clients(&limit(0)), "");
        assert_eq!(clients(&limit(2)), "ab");
        assert_eq!(clients(&limit(9)), "abcd");
        assert_eq!(clients(&FlowQuery { sort: Some(FlowSort::Bytes), ..limit(1) }), "c");
        let established = FlowQuery { state: Some("established".into()), ..limit(2) };
        assert_eq!(clients(&established), "ac");
    }

    #[test]
    fn counters_near_their_end_do_not_overflow() {
        let rows = vec![
            row("small", (1, 1), (1, 1), 0, 0),
            row("huge", (u64::MAX, u64::MAX), (u64::MAX, u64::MAX), 0, 0),
        ];
        for sort in [FlowSort::Bytes, FlowSort::Packets] {
            let query = FlowQuery { sort: Some(sort), ..FlowQuery::default() };
            assert_eq!(flows_query(rows.clone(), &query)[0].client, "huge");
        }
    }
}
