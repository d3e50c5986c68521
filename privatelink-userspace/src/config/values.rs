//! What a single string or number of the file means: accounts, addresses, ports, durations.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use humantime_serde::re::humantime;
use ipnet::IpNet;

use super::document::{List, Number, Text, TextOrNumber};
use super::error::Report;
use super::names::Form;
use crate::model::{MssClamp, Protocols};
use crate::principal::is_account;
use crate::words;

/// The items of a list; none if it is absent.
pub(super) fn items<T>(list: &Option<List<T>>) -> &[T] {
    list.as_ref().map_or(&[], |list| &list.items)
}

/// As [`items`], reporting a list that is there but holds nothing.
pub(super) fn some_items<'l, T>(
    list: &'l Option<List<T>>,
    remedy: &str,
    report: &mut Report<'_>,
) -> &'l [T] {
    if let Some(list) = list.as_ref().filter(|list| list.written_empty) {
        report.add(list.span.clone(), "empty", remedy);
    }
    items(list)
}

/// A string's own copy; empty where it is missing, which is reported already.
pub(super) fn owned(text: &Option<Text<'_>>) -> String {
    text.as_ref().map(|text| (*text.get_ref()).to_owned()).unwrap_or_default()
}

/// Words for people, in one line; empty if absent.
pub(super) fn words(text: &Option<Text<'_>>, report: &mut Report<'_>) -> String {
    if let Some(text) = text
        && let Some(fault) = words::fault(text.get_ref())
    {
        report.add(text.span(), fault, words::FORM);
    }
    owned(text)
}

/// An availability zone.
pub(super) fn zone(text: &Option<Text<'_>>, report: &mut Report<'_>) -> String {
    if let Some(text) = text {
        Form::Name.check("zone", text, report);
    }
    owned(text)
}

/// Reports the first beyond `most` of the things at `items`.
pub(super) fn at_most(
    most: usize,
    what: &str,
    mut items: impl Iterator<Item = Range<usize>>,
    report: &mut Report<'_>,
) {
    if let Some(beyond) = items.nth(most) {
        report.add(beyond, format!("more than {most} {what}"), format!("keep at most {most}"));
    }
}

/// An account number.
pub(super) fn account<'a>(text: &Text<'a>, report: &mut Report<'_>) -> Option<&'a str> {
    let account = *text.get_ref();
    if is_account(account) {
        return Some(account);
    }
    report.add(text.span(), "not an account number", "write exactly 12 digits");
    None
}

/// An address range, written with its first address.
pub(super) fn cidr(text: &Text<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    let range = with_prefix(text, |most| format!("{most} for a single address"), report)?;
    if range.addr() != range.network() {
        let remedy = format!("write {}", range.trunc());
        report.add(text.span(), "address bits set behind the prefix", remedy);
        return None;
    }
    Some(range)
}

/// An address with the prefix length of the subnet it stands in.
pub(super) fn address_in_subnet(text: &Text<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    with_prefix(text, |_| "that of the subnet it stands in".to_owned(), report)
}

/// Remedies for what is no address without, and with, a prefix length.
const WRITE_ADDRESS: &str =
    "write four numbers from 0 to 255, e.g. 10.0.1.10, or an IPv6 address, e.g. fd00::1:10";
const WRITE_PREFIX: &str = "write an address and a prefix length, e.g. 10.0.1.10/32 or fd00::/64";

/// `which` says which prefix length is to be written, by the greatest there is.
fn with_prefix(
    text: &Text<'_>,
    which: impl Fn(u8) -> String,
    report: &mut Report<'_>,
) -> Option<IpNet> {
    let (address, length) = match text.get_ref().split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (*text.get_ref(), None),
    };
    let address = parsed(address, (text, WRITE_PREFIX), report)?;
    let most = IpNet::from(address).max_prefix_len();
    let Some(length) = length else {
        let remedy = format!("write {address}/ and the length, {}", which(most));
        report.add(text.span(), "the prefix length is missing", remedy);
        return None;
    };
    let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let range = length.parse().ok().filter(|_| plain);
    let range = range.and_then(|length| IpNet::new(address, length).ok());
    if range.is_none() {
        let remedy = format!("write {address}/ and a number from 0 to {most}");
        report.add(text.span(), "not a prefix length", remedy);
    }
    range
}

/// An address without prefix length.
pub(super) fn address(text: &Text<'_>, report: &mut Report<'_>) -> Option<IpAddr> {
    match text.get_ref().split_once('/') {
        None => parsed(text.get_ref(), (text, WRITE_ADDRESS), report),
        Some((address, _)) => {
            let address = parsed(address, (text, WRITE_ADDRESS), report)?;
            let cause = "a prefix length has no meaning here";
            report.add(text.span(), cause, format!("write {address}"));
            None
        }
    }
}

fn parsed(
    address: &str,
    (text, remedy): (&Text<'_>, &str),
    report: &mut Report<'_>,
) -> Option<IpAddr> {
    let parsed = address.parse().ok();
    if parsed.is_none() {
        report.add(text.span(), "not an IP address", remedy);
    }
    parsed
}

/// A number within `range`.
pub(super) fn number<T: TryFrom<i64>>(
    number: &Number,
    range: RangeInclusive<i64>,
    what: &str,
    report: &mut Report<'_>,
) -> Option<T> {
    let (low, high) = (range.start(), range.end());
    let value = Some(*number.get_ref()).filter(|value| range.contains(value));
    let value = value.and_then(|value| T::try_from(value).ok());
    if value.is_none() {
        let remedy = format!("write a number from {low} to {high}");
        report.add(number.span(), format!("not a {what}"), remedy);
    }
    value
}

/// A port that can be listened on.
pub(super) fn port(port: &Number, report: &mut Report<'_>) -> Option<u16> {
    number(port, 1..=65535, "port", report)
}

/// A duration within `range` of seconds.
pub(super) fn duration(
    text: &Text<'_>,
    range: RangeInclusive<u64>,
    what: &str,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let (low, high) = (*range.start(), *range.end());
    let remedy = format!("write \"{low}s\" to \"{high}s\"");
    let cause = match humantime::parse_duration(text.get_ref()) {
        Ok(time) if time < Duration::from_secs(low) => format!("{what} too short"),
        Ok(time) if time > Duration::from_secs(high) => format!("{what} too long"),
        Ok(time) => return Some(time),
        Err(_) => "not a duration".to_owned(),
    };
    report.add(text.span(), cause, remedy);
    None
}

/// What is done to the MSS option of a SYN.
///
/// 536 bytes is what a host takes to be the MSS where the option is missing (RFC 9293, 3.7.1); 65 495
/// is what fits into the largest IPv4 packet.
pub(super) fn mss_clamp(written: &TextOrNumber<'_>, report: &mut Report<'_>) -> Option<MssClamp> {
    let (span, clamp) = match written {
        TextOrNumber::Text(text) => {
            let clamp = match *text.get_ref() {
                "auto" => Some(MssClamp::Auto),
                "off" => Some(MssClamp::Off),
                _ => None,
            };
            (text.span(), clamp)
        }
        TextOrNumber::Number(number) => {
            let bytes = u16::try_from(*number.get_ref()).ok();
            let bytes = bytes.filter(|bytes| (536..=65495).contains(bytes));
            (number.span(), bytes.map(MssClamp::Bytes))
        }
    };
    if clamp.is_none() {
        let remedy = "write \"auto\", \"off\" or a number of bytes from 536 to 65495";
        report.add(span, "not an MSS clamp", remedy);
    }
    clamp
}

/// The protocols of a listener or target group.
pub(super) fn protocols(text: &Option<Text<'_>>, report: &mut Report<'_>) -> Option<Protocols> {
    let text = text.as_ref()?;
    let found = Protocols::ALL.into_iter().find(|protocols| protocols.name() == *text.get_ref());
    if found.is_none() {
        let remedy = "write \"tcp\", \"udp\" or \"tcp_udp\"";
        report.add(text.span(), "protocol not supported", remedy);
    }
    found
}
