//! What a [`FlowQuery`] means: filter, sort, limit.

use std::cmp::Reverse;

use super::{FlowQuery, FlowRow, FlowSort};

impl FlowQuery {
    /// Whether the filters let `row` pass.
    pub fn matches(&self, row: &FlowRow<'_>) -> bool {
        let passes = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        passes(&self.endpoint, &row.endpoint)
            && passes(&self.service, &row.service)
            && passes(&self.state, &row.state)
    }

    /// The rows the query asks for: filtered, then sorted, then limited.
    ///
    /// The largest come first; rows that measure the same, and all rows if the query names no measure,
    /// keep the order they came in. Only sorting keeps rows, and of a limited query never more than
    /// twice the limit.
    pub fn select<'q, 'r: 'q>(
        &'q self,
        rows: impl Iterator<Item = FlowRow<'r>> + 'q,
    ) -> Box<dyn Iterator<Item = FlowRow<'r>> + 'q> {
        let rows = rows.filter(|row| self.matches(row));
        let limit = self.limit.unwrap_or(usize::MAX);
        match self.sort {
            Some(sort) => Box::new(largest(rows, sort, limit).into_iter()),
            None => Box::new(rows.take(limit)),
        }
    }
}

fn largest<'a>(
    rows: impl Iterator<Item = FlowRow<'a>>,
    sort: FlowSort,
    limit: usize,
) -> Vec<FlowRow<'a>> {
    let settle = |kept: &mut Vec<FlowRow<'a>>| {
        kept.sort_by_key(|row| Reverse(measure(row, sort)));
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
        FlowSort::Bytes => row.bytes_to_target.saturating_add(row.bytes_to_client),
        FlowSort::Packets => row.packets_to_target.saturating_add(row.packets_to_client),
        FlowSort::Age => row.age_ms,
        FlowSort::Idle => row.idle_ms,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    /// A row named by its client, with the measures that matter here.
    fn row(
        name: char,
        bytes: (u64, u64),
        packets: (u64, u64),
        age: u64,
        idle: u64,
    ) -> FlowRow<'static> {
        let address = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
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
            age_ms: age,
            idle_ms: idle,
        }
    }

    fn rows() -> Vec<FlowRow<'static>> {
        vec![
            FlowRow { endpoint: "vpce-2".into(), ..row('a', (1, 9), (1, 1), 500, 7) },
            FlowRow { state: "half_open".into(), ..row('b', (5, 5), (4, 1), 900, 0) },
            FlowRow { service: "vpce-svc-2".into(), ..row('c', (0, 11), (0, 3), 100, 99) },
            row('d', (10, 0), (2, 0), 900, 7),
        ]
    }

    fn clients(query: &FlowQuery) -> String {
        let name = |row: FlowRow<'_>| char::from(row.client.port() as u8);
        query.select(rows().into_iter()).map(name).collect()
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
    fn a_limit_makes_no_difference_to_the_order() {
        let rows = |count: u64| (0..count).map(|n| row('x', (n * 7 % 13, n), (n, 0), n % 5, n));
        for sort in [FlowSort::Bytes, FlowSort::Packets, FlowSort::Age, FlowSort::Idle] {
            let all = FlowQuery { sort: Some(sort), ..FlowQuery::default() };
            let sorted: Vec<_> = all.select(rows(50)).collect();
            for limit in 0..60 {
                let limited = FlowQuery { limit: Some(limit), ..all.clone() };
                let found: Vec<_> = limited.select(rows(50)).collect();
                assert_eq!(found, sorted[..limit.min(50)], "{sort:?} {limit}");
            }
        }
    }

    #[test]
    fn counters_near_their_end_do_not_overflow() {
        let huge = row('h', (u64::MAX, u64::MAX), (u64::MAX, u64::MAX), 0, 0);
        let rows = vec![row('s', (1, 1), (1, 1), 0, 0), huge.clone()];
        for sort in [FlowSort::Bytes, FlowSort::Packets] {
            let query = FlowQuery { sort: Some(sort), ..FlowQuery::default() };
            assert_eq!(query.select(rows.clone().into_iter()).next(), Some(huge.clone()));
        }
    }
}
