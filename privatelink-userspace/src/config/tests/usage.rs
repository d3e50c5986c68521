//! What is kept of usage, and what it costs.

use super::{Row, check_rows, model};
use crate::model::UsageTerms;

#[test]
fn prices_are_read_exactly() {
    let terms = |text: &str| model(("", text)).usage;
    assert_eq!(terms(""), UsageTerms::default());
    assert_eq!(terms("[usage]"), UsageTerms::default());
    assert_eq!(terms("[usage]\nkeep = 30"), UsageTerms { days: 30, prices: None });
    for written in ["\"0.010\"", "0.01", "0.010"] {
        let text = format!("[usage]\ncurrency = \"USD\"\nendpoint_hour = {written}\ngigabyte = 1");
        let prices = terms(&text).prices.unwrap();
        let said = prices.rates;
        assert_eq!(prices.currency, "USD");
        assert_eq!([said.endpoint_hour, said.gigabyte].map(|p| p.to_string()), ["0.01", "1.00"]);
    }
    let zones = "[usage]\ncurrency = \"EUR\"\ngigabyte = 0.004\n[[usage.zone]]\nname = \"b\"\nendpoint_hour = \"0.013\"";
    let prices = terms(zones).prices.unwrap();
    let said =
        [prices.of("a"), prices.of("b")].map(|of| format!("{} {}", of.endpoint_hour, of.gigabyte));
    assert_eq!(said, ["0.00 0.004", "0.013 0.004"]);
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "what is no price",
        ("", "[usage]\nkeep = 0\ncurrency = \"usd\"\nendpoint_hour = \"1,5\"\ngigabyte = 1e-3"),
        &[
            r#"overlap.toml:79:8: "0": not a number of days; write a number from 1 to 3660"#,
            r#"overlap.toml:80:12: "usd": not a currency; write three letters of ISO 4217, such as "USD""#,
            r#"overlap.toml:81:17: "1,5": not a price; write digits with a point, nine before it and nine after it at most, such as "0.01""#,
            r#"overlap.toml:82:12: "1e-3": not a price; write digits with a point, nine before it and nine after it at most, such as "0.01""#,
        ],
    ),
    (
        "negative, and no number",
        ("", "[usage]\ncurrency = \"USD\"\nendpoint_hour = -1\ngigabyte = true"),
        &[
            r#"overlap.toml:80:17: "-1": not a price; write digits with a point, nine before it and nine after it at most, such as "0.01""#,
            r#"overlap.toml:81:12: "true": wrong type, a number is wanted but this is a boolean; write gigabyte = "0.01""#,
        ],
    ),
    (
        "no currency",
        ("", "[usage]\nendpoint_hour = 0.01\n[[usage.zone]]\nname = \"b\"\ngigabyte = 1"),
        &[
            r#"overlap.toml:79:17: "0.01": a price of no currency; add currency = "USD" under [usage]"#,
            r#"overlap.toml:82:12: "1": a price of no currency; add currency = "USD" under [usage]"#,
        ],
    ),
    (
        "no price",
        ("", "[usage]\ncurrency = \"USD\""),
        &[
            r#"overlap.toml:79:12: "USD": says nothing without a price; add endpoint_hour = "0.01" or gigabyte = "0.01", or remove it"#,
        ],
    ),
    (
        "a zone twice, and none",
        (
            "",
            "[usage]\ncurrency = \"USD\"\n[[usage.zone]]\nname = \"b\"\n[[usage.zone]]\nname = \"b\"\n[[usage.zone]]\ngigabyte = 1",
        ),
        &[
            r#"overlap.toml:83:8: "b": this zone has prices already; write all its prices into one [[usage.zone]]"#,
            r#"overlap.toml:84:1: "[[usage.zone]]": the key name is missing; add name = "us-east-1a""#,
        ],
    ),
];
