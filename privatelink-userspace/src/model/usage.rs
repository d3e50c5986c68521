//! What is kept of usage, and what it costs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Days for which usage is kept where the configuration does not say: a year, and a month to make out the bill.
pub const DEFAULT_USAGE_DAYS: u32 = 400;

/// What is kept of usage, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageTerms {
    /// Days for which it is kept.
    pub days: u32,
    /// Prices, if there are any.
    pub prices: Option<Prices>,
}

impl Default for UsageTerms {
    fn default() -> Self {
        Self { days: DEFAULT_USAGE_DAYS, prices: None }
    }
}

/// What usage costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Three letters of ISO 4217.
    pub currency: String,
    /// Where a zone has no rates of its own.
    pub rates: Rates,
    /// Rates of zones.
    pub zones: BTreeMap<String, Rates>,
}

impl Prices {
    /// What holds in a zone.
    pub fn of(&self, zone: &str) -> Rates {
        self.zones.get(zone).copied().unwrap_or(self.rates)
    }
}

/// What endpoint-hours and bytes cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// For an endpoint, in a zone, in an hour or any part of it.
    pub endpoint_hour: Price,
    /// For 10^9 bytes, either direction.
    pub gigabyte: Price,
}

impl Rates {
    /// What some endpoint-hours cost.
    pub const fn of_hours(&self, hours: u64) -> Cost {
        Cost((hours as u128).saturating_mul(self.endpoint_hour.0 as u128 * BILLION))
    }

    /// What some bytes cost.
    pub const fn of_bytes(&self, bytes: u128) -> Cost {
        Cost(bytes.saturating_mul(self.gigabyte.0 as u128))
    }
}

const BILLION: u128 = 1_000_000_000;

/// A price, in thousand-millionths of its currency: at most 999 999 999.999999999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price(u64);

/// What is written is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a price")]
pub struct NotAPrice;

impl FromStr for Price {
    type Err = NotAPrice;

    /// Digits, and after a point nine more at most.
    fn from_str(text: &str) -> Result<Self, NotAPrice> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || whole.len() > 9 || part.len() > 9 {
            return Err(NotAPrice);
        }
        format!("{whole}{part:0<9}").parse().map(Self).map_err(|_| NotAPrice)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0.into(), 9)
    }
}

/// An amount of money, exact: in 10^-18 of its currency, which is what a byte costs at the smallest price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost(u128);

impl Cost {
    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, 18)
    }
}

/// A number of `places` decimal places, without zeros at its end beyond the second.
fn decimal(f: &mut fmt::Formatter<'_>, number: u128, places: usize) -> fmt::Result {
    let digits = format!("{number:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    write!(f, "{whole}.{:0<2}", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_plain_decimal_numbers() {
        for (text, expected) in [
            ("0.01", Some("0.01")),
            ("0", Some("0.00")),
            ("7", Some("7.00")),
            ("007.5", Some("7.50")),
            ("0.000000001", Some("0.000000001")),
            ("999999999.999999999", Some("999999999.999999999")),
            ("0.0000000001", None),
            ("1000000000", None),
            ("-1", None),
            ("+1", None),
            ("1e-3", None),
            ("1,5", None),
            (".5", None),
            ("5.", None),
            ("1.2.3", None),
            ("", None),
            ("nan", None),
        ] {
            let price = text.parse::<Price>().ok().map(|price| price.to_string());
            assert_eq!(price.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn costs_are_exact() {
        let rates = |hour: &str, gigabyte: &str| Rates {
            endpoint_hour: hour.parse().unwrap(),
            gigabyte: gigabyte.parse().unwrap(),
        };
        let us = rates("0.01", "0.01");
        // A hundred cents of a tenth of a cent: what floats do not add up to.
        assert_eq!(us.of_hours(720).to_string(), "7.20");
        assert_eq!(us.of_bytes(1_000_000_000).to_string(), "0.01");
        assert_eq!(us.of_bytes(1).to_string(), "0.00000000001");
        assert_eq!(us.of_bytes(1_234_567_890_123).to_string(), "12.34567890123");
        assert_eq!(
            rates("0.000000001", "0.000000001").of_bytes(1).to_string(),
            "0.000000000000000001"
        );
        let sum = us.of_hours(1).plus(us.of_bytes(999_999_999));
        assert_eq!(sum.to_string(), "0.01999999999");
        let dearest = rates("999999999.999999999", "999999999.999999999");
        assert_eq!(dearest.of_bytes(u128::MAX), Cost(u128::MAX), "and does not begin anew");
    }
}
