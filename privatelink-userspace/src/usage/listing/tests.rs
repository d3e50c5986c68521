//! Rows as they are asked for, with their costs.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::Rates;
use crate::usage::{Batch, Ledger, Rows};

/// What a query lists of two months, a row each: its time, its parties, endpoint-hours, bytes and cost.
fn listed(query: &str, prices: Option<Prices>) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    let mut rows = Rows::new();
    for (time, account, endpoint, zone, bytes) in [
        ("2026-10-31T23:00:00Z", "1", "e", "a", 1_000_000_000),
        ("2026-11-01T00:00:00Z", "1", "e", "a", 1),
        ("2026-11-01T00:00:00Z", "1", "e", "b", 500_000_000),
        ("2026-11-01T01:00:00Z", "1", "e", "a", 0),
        ("2026-11-01T01:00:00Z", "2", "f", "a", 123_456_789_012_345),
        ("2026-11-02T00:00:00Z", "2", "f", "a", 7),
    ] {
        let [account, endpoint, zone] = [account, endpoint, zone].map(str::to_owned);
        let subject = Subject { account, endpoint, service: "s".into(), zone };
        let amounts = Amounts { seconds: 10, flows: 1, to_target: bytes, to_client: 0 };
        rows.insert((time.parse::<Hour>().unwrap().0, Arc::new(subject)), amounts);
    }
    let batch = Batch { rows, since_boot: Duration::ZERO, ..Batch::default() };
    ledger.write(batch, 400).unwrap();
    let query: serde_json::Value = serde_json::from_str(query).unwrap();
    let query: UsageQuery = serde_json::from_value(query).unwrap();
    let wanted = Wanted::new(&query, "2026-11-02T00:00:00Z".parse().unwrap());
    let reading = ledger.rows(wanted.from.0, wanted.to.0).unwrap();
    let rows = Listing::new(reading, wanted, prices).map(Result::unwrap);
    let words = rows.map(|row| {
        let UsageRow { account, endpoint, zone, endpoint_hours, bytes_to_target, cost, .. } = row;
        let parties = [account, endpoint, zone].into_iter().flatten().collect::<Vec<_>>().join("/");
        let cost = cost.unwrap_or_default();
        let time = [row.from, row.to].map(|time| time.replace(":00:00Z", "h")).join(" ");
        format!("{time} {parties} {endpoint_hours} {bytes_to_target} {cost}").trim_end().to_owned()
    });
    words.collect()
}

#[test]
fn by_time_and_party() {
    assert_eq!(
        listed("{}", None),
        [
            "2026-11-01T00h 2026-11-01T01h 1/e/a 1 1",
            "2026-11-01T00h 2026-11-01T01h 1/e/b 1 500000000",
            "2026-11-01T01h 2026-11-01T02h 1/e/a 1 0",
            "2026-11-01T01h 2026-11-01T02h 2/f/a 1 123456789012345",
            "2026-11-02T00h 2026-11-02T01h 2/f/a 1 7",
        ]
    );
    assert_eq!(
        listed(r#"{"from":"2026-10-01","by":"month","group_by":"account"}"#, None),
        [
            "2026-10-01T00h 2026-11-01T00h 1 1 1000000000",
            "2026-11-01T00h 2026-11-02T01h 1 3 500000001",
            "2026-11-01T00h 2026-11-02T01h 2 2 123456789012352",
        ]
    );
    assert_eq!(
        listed(
            r#"{"from":"2026-10-31T12:00:00Z","to":"2026-11-02","by":"day","group_by":"zone"}"#,
            None
        ),
        [
            "2026-10-31T12h 2026-11-01T00h a 1 1000000000",
            "2026-11-01T00h 2026-11-02T00h a 3 123456789012346",
            "2026-11-01T00h 2026-11-02T00h b 1 500000000",
        ]
    );
    let total = r#"{"from":"2026-10-01","to":"2026-12-01","by":"total","group_by":"service"}"#;
    assert_eq!(listed(total, None), ["2026-10-01T00h 2026-12-01T00h  6 123458289012353"]);
    assert_eq!(
        listed(r#"{"by":"total","account":"1","zone":"a","endpoint":"e","service":"s"}"#, None),
        ["2026-11-01T00h 2026-11-02T01h 1/e/a 2 1"]
    );
    assert!(listed(r#"{"account":"3"}"#, None).is_empty());
    assert!(listed(r#"{"from":"2027-01-01","to":"2027-02-01"}"#, None).is_empty());
}

#[test]
fn costs_are_exact_and_add_up() {
    let rates = |hour: &str, gigabyte: &str| Rates {
        endpoint_hour: hour.parse().unwrap(),
        gigabyte: gigabyte.parse().unwrap(),
    };
    let prices = Prices {
        currency: "USD".into(),
        rates: rates("0.01", "0.01"),
        zones: [("b".to_owned(), rates("0.02", "0.1"))].into(),
    };
    let listed = |query: &str| listed(query, Some(prices.clone()));
    assert_eq!(
        listed(r#"{"to":"2026-11-01T02:00:00Z"}"#),
        [
            "2026-11-01T00h 2026-11-01T01h 1/e/a 1 1 0.01000000001",
            "2026-11-01T00h 2026-11-01T01h 1/e/b 1 500000000 0.07",
            "2026-11-01T01h 2026-11-01T02h 1/e/a 1 0 0.01",
            "2026-11-01T01h 2026-11-01T02h 2/f/a 1 123456789012345 1234.57789012345",
        ]
    );
    // The sum of the four above.
    assert_eq!(
        listed(r#"{"to":"2026-11-01T02:00:00Z","by":"total","group_by":"service"}"#),
        ["2026-11-01T00h 2026-11-01T02h  4 123457289012346 1234.66789012346"]
    );
}
