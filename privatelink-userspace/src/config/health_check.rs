//! `[target_group.health_check]`.

use std::ops::Range;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;
use hyper::http::uri::{Authority, PathAndQuery};
use rustls::pki_types::DnsName;
use toml::Spanned;

use super::document::{Text, TextOrNumber};
use super::error::Report;
use super::file;
use super::values::{duration, number};
use crate::model::{HealthCheck, HealthProtocol, HttpCheck, Matcher, TlsCheck};

/// AWS's default interval between two health checks.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// AWS's default timeout of a TCP or HTTPS health check.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// AWS's default timeout of an HTTP health check.
const DEFAULT_HTTP_TIMEOUT: Duration = Duration::from_secs(6);
/// AWS's default number of successes that make a target healthy.
const DEFAULT_HEALTHY: u8 = 5;
/// AWS's default number of failures that make a target unhealthy.
const DEFAULT_UNHEALTHY: u8 = 2;
/// Longest path of an HTTP health check that AWS takes, in characters.
const MAX_PATH: usize = 1024;

/// The protocols by name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Http,
    Https,
}

impl Kind {
    /// The kind that is asked for; `None` if it is not known.
    fn read(protocol: Option<&Text<'_>>, report: &mut Report<'_>) -> Option<Self> {
        let Some(protocol) = protocol else { return Some(Self::Tcp) };
        match *protocol.get_ref() {
            "tcp" => Some(Self::Tcp),
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => {
                let remedy = "write \"tcp\", \"http\" or \"https\"";
                report.add(protocol.span(), "health check protocol not supported", remedy);
                None
            }
        }
    }

    const fn default_timeout(self) -> Duration {
        match self {
            Self::Tcp | Self::Https => DEFAULT_TIMEOUT,
            Self::Http => DEFAULT_HTTP_TIMEOUT,
        }
    }
}

/// The health check of a target group; AWS's defaults for what is not written.
pub(super) fn health_check(
    written: Option<&file::HealthCheck<'_>>,
    report: &mut Report<'_>,
) -> HealthCheck {
    let absent = file::HealthCheck::default();
    let written = written.unwrap_or(&absent);
    let kind = Kind::read(written.protocol.as_ref(), report);
    if let Some(kind) = kind {
        refuse_keys_of_others(kind, written, report);
    }
    let kind = kind.unwrap_or(Kind::Tcp);
    let (http, tls) = (http(written, report), tls(written, report));
    let protocol = match kind {
        Kind::Tcp => HealthProtocol::Tcp,
        Kind::Http => HealthProtocol::Http(http),
        Kind::Https => HealthProtocol::Https(http, tls),
    };
    let (interval, timeout) = timing(kind, written, report);
    let threshold = |written: &Option<Spanned<i64>>, default, report: &mut Report<'_>| {
        let written = written.as_ref();
        written.and_then(|value| number(value, 2..=10, "threshold", report)).unwrap_or(default)
    };
    HealthCheck {
        protocol,
        port: written.port.as_ref().and_then(|port| checked_port(port, report)),
        interval,
        timeout,
        healthy_threshold: threshold(&written.healthy_threshold, DEFAULT_HEALTHY, report),
        unhealthy_threshold: threshold(&written.unhealthy_threshold, DEFAULT_UNHEALTHY, report),
    }
}

/// Reports the keys that say something only of another protocol.
fn refuse_keys_of_others(kind: Kind, written: &file::HealthCheck<'_>, report: &mut Report<'_>) {
    let span = |text: &Option<Text<'_>>| text.as_ref().map(Spanned::span);
    let of_http = [
        ("path", span(&written.path)),
        ("host", span(&written.host)),
        ("matcher", span(&written.matcher)),
    ];
    let of_https = [
        ("server_name", span(&written.server_name)),
        ("verify_certificate", written.verify_certificate.as_ref().map(Spanned::span)),
    ];
    let mut refuse = |whose: &str, keys: &[(&str, Option<Range<usize>>)], other: &str| {
        for (key, span) in keys {
            if let Some(span) = span {
                let cause = format!("{whose} health check has no {key}");
                let remedy = format!("remove it, or write protocol = \"{other}\"");
                report.add(span.clone(), cause, remedy);
            }
        }
    };
    match kind {
        Kind::Tcp => {
            refuse("a tcp", &of_http, "http");
            refuse("a tcp", &of_https, "https");
        }
        Kind::Http => refuse("an http", &of_https, "https"),
        Kind::Https => {}
    }
}

fn http(written: &file::HealthCheck<'_>, report: &mut Report<'_>) -> HttpCheck {
    HttpCheck {
        path: path(written.path.as_ref(), report),
        host: written.host.as_ref().and_then(|host| self::host(host, report)),
        matcher: written
            .matcher
            .as_ref()
            .and_then(|text| matcher(text, report))
            .unwrap_or_default(),
    }
}

fn path(written: Option<&Text<'_>>, report: &mut Report<'_>) -> PathAndQuery {
    let root = PathAndQuery::from_static("/");
    let Some(text) = written else { return root };
    let path = *text.get_ref();
    // A parser of URLs leaves out a fragment, for one.
    let parsed: Option<PathAndQuery> = path.parse().ok().filter(|parsed| parsed == path);
    let right = path.starts_with('/') && path.len() <= MAX_PATH && path.is_ascii();
    parsed.filter(|_| right).unwrap_or_else(|| {
        let remedy = format!(
            "begin it with '/', at most {MAX_PATH} characters, and write what no URL may hold as %20"
        );
        report.add(text.span(), "not a valid path", remedy);
        root
    })
}

fn host(text: &Text<'_>, report: &mut Report<'_>) -> Option<Authority> {
    let host: Option<Authority> = text.get_ref().parse().ok();
    // A user's name is no part of the header (RFC 9110, section 7.2).
    let host = host.filter(|host| !host.as_str().contains('@') && !host.host().is_empty());
    if host.is_none() {
        let remedy = "write a name or an address, and a port if it is not the usual one";
        report.add(text.span(), "not a host", remedy);
    }
    host
}

fn matcher(text: &Text<'_>, report: &mut Report<'_>) -> Option<Matcher> {
    let matcher = Matcher::parse(text.get_ref());
    if matcher.is_none() {
        let remedy = "write status codes from 200 to 599, e.g. \"200-399\" or \"200,204\"";
        report.add(text.span(), "not a matcher", remedy);
    }
    matcher
}

fn tls(written: &file::HealthCheck<'_>, report: &mut Report<'_>) -> TlsCheck {
    TlsCheck {
        server_name: written.server_name.as_ref().and_then(|name| server_name(name, report)),
        verify_certificate: written.verify_certificate.as_ref().is_some_and(|is| *is.get_ref()),
    }
}

fn server_name(text: &Text<'_>, report: &mut Report<'_>) -> Option<DnsName<'static>> {
    let name = DnsName::try_from(*text.get_ref()).ok().map(|name| name.to_owned());
    if name.is_none() {
        report.add(text.span(), "not a DNS name", "write one, e.g. \"www.example.com\"");
    }
    name
}

/// The port that is checked; `None` is the target's own.
fn checked_port(written: &TextOrNumber<'_>, report: &mut Report<'_>) -> Option<u16> {
    let (span, port) = match written {
        TextOrNumber::Text(text) if *text.get_ref() == "traffic-port" => return None,
        TextOrNumber::Text(text) => (text.span(), None),
        TextOrNumber::Number(number) => {
            let port = u16::try_from(*number.get_ref()).ok().filter(|&port| port != 0);
            (number.span(), port)
        }
    };
    if port.is_none() {
        let remedy = "write \"traffic-port\" or a number from 1 to 65535";
        report.add(span, "not a port of a health check", remedy);
    }
    port
}

fn timing(
    kind: Kind,
    written: &file::HealthCheck<'_>,
    report: &mut Report<'_>,
) -> (Duration, Duration) {
    let default = kind.default_timeout();
    let interval = match &written.interval {
        Some(text) => duration(text, 5..=300, "interval", report),
        None => Some(DEFAULT_INTERVAL),
    };
    let timeout = match &written.timeout {
        Some(text) => duration(text, 2..=120, "timeout", report),
        None => Some(default),
    };
    let (Some(interval), Some(timeout)) = (interval, timeout) else {
        return (DEFAULT_INTERVAL, default);
    };
    if timeout >= interval {
        let (short, long) = (format_duration(timeout), format_duration(interval));
        match (&written.timeout, &written.interval) {
            (Some(text), _) => {
                let cause = format!("timeout not shorter than the interval, {long}");
                report.add(text.span(), cause, "shorten it, or lengthen the interval");
            }
            (None, Some(text)) => {
                let cause = format!("interval not longer than the default timeout, {short}");
                report.add(text.span(), cause, "lengthen it, or add a shorter timeout");
            }
            // The defaults fit each other.
            (None, None) => {}
        }
    }
    (interval, timeout)
}
