//! `[usage]`.

use std::collections::BTreeMap;

use super::document::{Decimal, Number, Text};
use super::error::Report;
use super::file::{self, File};
use super::values::{items, number, zone};
use crate::model::{DEFAULT_USAGE_DAYS, Price, Prices, Rates, UsageTerms};

/// What is kept of usage, and what it costs.
pub(super) fn terms(file: &File<'_>, report: &mut Report<'_>) -> UsageTerms {
    let Some(written) = file.usage.as_ref() else {
        return UsageTerms::default();
    };
    let days = written.keep.as_ref().and_then(|days| kept(days, report));
    UsageTerms { days: days.unwrap_or(DEFAULT_USAGE_DAYS), prices: prices(written, report) }
}

fn kept(days: &Number, report: &mut Report<'_>) -> Option<u32> {
    number(days, 1..=3660, "number of days", report)
}

fn prices(written: &file::Usage<'_>, report: &mut Report<'_>) -> Option<Prices> {
    let currency = written.currency.as_ref().and_then(|text| currency(text, report));
    let rates = rates(&written.endpoint_hour, &written.gigabyte, Rates::default(), report);
    let zones = zones(written, rates, report);
    if written.currency.is_none() {
        refuse_without_currency(written, report);
    } else if written.endpoint_hour.is_none() && written.gigabyte.is_none() && zones.is_empty() {
        let remedy = "add endpoint_hour = \"0.01\" or gigabyte = \"0.01\", or remove it";
        let span = written.currency.as_ref().map(Text::span).unwrap_or_default();
        report.add(span, "says nothing without a price", remedy);
    }
    Some(Prices { currency: currency?, rates, zones })
}

fn currency(text: &Text<'_>, report: &mut Report<'_>) -> Option<String> {
    let written = *text.get_ref();
    if written.len() == 3 && written.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Some(written.to_owned());
    }
    report.add(text.span(), "not a currency", "write three letters of ISO 4217, such as \"USD\"");
    None
}

/// What is not written is as in `otherwise`.
fn rates(
    endpoint_hour: &Option<Decimal<'_>>,
    gigabyte: &Option<Decimal<'_>>,
    otherwise: Rates,
    report: &mut Report<'_>,
) -> Rates {
    let mut price = |written: &Option<Decimal<'_>>| {
        let Decimal(text) = written.as_ref()?;
        let price: Option<Price> = text.get_ref().parse().ok();
        if price.is_none() {
            let remedy = "write digits with a point, nine before it and nine after it at most, such as \"0.01\"";
            report.add(text.span(), "not a price", remedy);
        }
        price
    };
    Rates {
        endpoint_hour: price(endpoint_hour).unwrap_or(otherwise.endpoint_hour),
        gigabyte: price(gigabyte).unwrap_or(otherwise.gigabyte),
    }
}

fn zones(
    written: &file::Usage<'_>,
    otherwise: Rates,
    report: &mut Report<'_>,
) -> BTreeMap<String, Rates> {
    let mut zones = BTreeMap::new();
    for of in items(&written.zone) {
        let rates = rates(&of.endpoint_hour, &of.gigabyte, otherwise, report);
        let name = zone(&of.name, report);
        if let Some(text) = of.name.as_ref()
            && zones.insert(name, rates).is_some()
        {
            let remedy = "write all its prices into one [[usage.zone]]";
            report.add(text.span(), "this zone has prices already", remedy);
        }
    }
    zones
}

/// Without a currency prices say nothing.
fn refuse_without_currency(written: &file::Usage<'_>, report: &mut Report<'_>) {
    let zones = items(&written.zone).iter();
    let of_zones = zones.flat_map(|zone| [&zone.endpoint_hour, &zone.gigabyte]);
    let all = [&written.endpoint_hour, &written.gigabyte].into_iter().chain(of_zones);
    for Decimal(text) in all.flatten() {
        report.add(text.span(), "a price of no currency", "add currency = \"USD\" under [usage]");
    }
}
