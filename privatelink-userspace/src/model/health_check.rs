//! How a target group's health is checked.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::http::uri::{Authority, PathAndQuery};
use rustls::pki_types::DnsName;

/// How a target group's health is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked of the target.
    pub protocol: HealthProtocol,
    /// Port that is checked, never 0; `None` is the target's own.
    pub port: Option<u16>,
    /// Time between two checks of one target.
    pub interval: Duration,
    /// Time after which a check has failed.
    pub timeout: Duration,
    /// Successes in a row that make an unhealthy target healthy.
    pub healthy_threshold: u8,
    /// Failures in a row that make a target unhealthy.
    pub unhealthy_threshold: u8,
}

/// What a health check asks of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthProtocol {
    /// A connection is enough.
    Tcp,
    /// A request is answered.
    Http(HttpCheck),
    /// A request is answered over TLS.
    Https(HttpCheck, TlsCheck),
}

/// A request, and the answers that are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// What is asked for by GET, e.g. `/`.
    pub path: PathAndQuery,
    /// The header `Host`; `None` is the target's address and port.
    pub host: Option<Authority>,
    /// Status codes of a healthy target.
    pub matcher: Matcher,
}

/// What is asked of a target's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCheck {
    /// The name asked for (SNI) and wanted in the certificate; `None` asks for none and wants the target's
    /// address.
    pub server_name: Option<DnsName<'static>>,
    /// Whether the certificate must be valid. AWS never looks at it.
    pub verify_certificate: bool,
}

/// HTTP status codes, as AWS's `Matcher.HttpCode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Vec<RangeInclusive<u16>>);

impl Default for Matcher {
    /// AWS's of a network load balancer, 200-399.
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl Matcher {
    /// Status codes as written, e.g. `200-399` or `200,204`; `None` if it is anything else than numbers from
    /// 200 to 599 and ranges of them.
    pub fn parse(text: &str) -> Option<Self> {
        let code = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|code| digits && (200..=599).contains(code))
        };
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (code(first)?, code(last)?);
            (first <= last).then_some(first..=last)
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self)
    }

    /// Whether a status code is one of them.
    pub fn matches(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers() {
        for (text, right, wrong) in [
            ("200", &[200][..], &[199, 201][..]),
            ("200-399", &[200, 301, 399], &[199, 400]),
            ("200,204", &[200, 204], &[201, 203, 205]),
            ("200-299,404,500-599", &[204, 404, 500, 599], &[300, 403, 405, 499]),
        ] {
            let matcher = Matcher::parse(text).expect(text);
            assert!(right.iter().all(|&code| matcher.matches(code)), "{text}");
            assert!(!wrong.iter().any(|&code| matcher.matches(code)), "{text}");
            assert_eq!(matcher.to_string(), text);
        }
        for text in
            ["", "199", "600", "200-", "-200", "299-200", "200,", "200, 204", "2xx", "+200", "0200"]
        {
            assert_eq!(Matcher::parse(text), None, "{text}");
        }
    }
}
