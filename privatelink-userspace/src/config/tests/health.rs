//! Health checks.

use hyper::http::uri::{Authority, PathAndQuery};
use rustls::pki_types::DnsName;

use super::{Row, check_rows, model};
use crate::model::{HealthProtocol, HttpCheck, Matcher, TlsCheck};

const HTTP: &str = r#"protocol = "http" "#;

#[test]
fn health() {
    check_rows(ROWS);
}

#[test]
fn every_key_of_https() {
    let keys = r#"protocol = "https"
port = 8443
host = "www.example.com:443"
matcher = "200,204"
server_name = "web.example.com"
verify_certificate = true # "#;
    let check = model((HTTP, keys)).target_groups.remove(0).health_check;
    assert_eq!(check.port, Some(8443));
    let http = HttpCheck {
        path: PathAndQuery::from_static("/"),
        host: Some(Authority::from_static("www.example.com:443")),
        matcher: Matcher::parse("200,204").expect("a matcher"),
    };
    let server_name = DnsName::try_from("web.example.com").expect("a name");
    let tls = TlsCheck { server_name: Some(server_name), verify_certificate: true };
    assert_eq!(check.protocol, HealthProtocol::Https(http, tls));
}

const ROWS: &[Row] = &[
    (
        "protocol udp",
        (r#"protocol = "http" "#, r#"protocol = "udp" "#),
        &[
            r#"overlap.toml:33:12: "udp": health check protocol not supported; write "tcp", "http" or "https""#,
        ],
    ),
    (
        "path of a tcp check",
        (r#"protocol = "http" "#, r#"protocol = "tcp" "#),
        &[
            r#"overlap.toml:34:8: "/": a tcp health check has no path; remove it, or write protocol = "http""#,
        ],
    ),
    (
        "path without a slash",
        (r#"path = "/""#, r#"path = "health""#),
        &[
            r#"overlap.toml:34:8: "health": not a valid path; begin it with '/', at most 1024 characters, and write what no URL may hold as %20"#,
        ],
    ),
    (
        "path with a space",
        (r#"path = "/""#, r#"path = "/a b""#),
        &[
            r#"overlap.toml:34:8: "/a b": not a valid path; begin it with '/', at most 1024 characters, and write what no URL may hold as %20"#,
        ],
    ),
    (
        "path with a line break",
        (r#"path = "/""#, r#"path = "/\r\nHost: x""#),
        &[
            r#"overlap.toml:34:8: "/\r\nHost: x": not a valid path; begin it with '/', at most 1024 characters, and write what no URL may hold as %20"#,
        ],
    ),
    (
        "empty path",
        (r#"path = "/""#, r#"path = """#),
        &[
            r#"overlap.toml:34:8: "": not a valid path; begin it with '/', at most 1024 characters, and write what no URL may hold as %20"#,
        ],
    ),
    (
        "path with a fragment",
        (r#"path = "/""#, r#"path = "/a#b""#),
        &[
            r#"overlap.toml:34:8: "/a#b": not a valid path; begin it with '/', at most 1024 characters, and write what no URL may hold as %20"#,
        ],
    ),
    (
        "path beyond ASCII",
        (r#"path = "/""#, r#"path = "/ä""#),
        &[
            r#"overlap.toml:34:8: "/ä": not a valid path; begin it with '/', at most 1024 characters, and write what no URL may hold as %20"#,
        ],
    ),
    (
        "keys of http at tcp",
        (
            "protocol = \"http\"                             # tcp | http\npath = \"/\"",
            "host = \"a\"\nmatcher = \"200\"\nserver_name = \"a\"\nverify_certificate = true",
        ),
        &[
            r#"overlap.toml:33:8: "a": a tcp health check has no host; remove it, or write protocol = "http""#,
            r#"overlap.toml:34:11: "200": a tcp health check has no matcher; remove it, or write protocol = "http""#,
            r#"overlap.toml:35:15: "a": a tcp health check has no server_name; remove it, or write protocol = "https""#,
            r#"overlap.toml:36:22: "true": a tcp health check has no verify_certificate; remove it, or write protocol = "https""#,
        ],
    ),
    (
        "keys of https at http",
        (r#"path = "/""#, "server_name = \"a\"\nverify_certificate = false"),
        &[
            r#"overlap.toml:34:15: "a": an http health check has no server_name; remove it, or write protocol = "https""#,
            r#"overlap.toml:35:22: "false": an http health check has no verify_certificate; remove it, or write protocol = "https""#,
        ],
    ),
    (
        "empty host",
        (r#"path = "/""#, r#"host = """#),
        &[
            r#"overlap.toml:34:8: "": not a host; write a name or an address, and a port if it is not the usual one"#,
        ],
    ),
    (
        "host with a line break",
        (r#"path = "/""#, r#"host = "a\r\nX: y""#),
        &[
            r#"overlap.toml:34:8: "a\r\nX: y": not a host; write a name or an address, and a port if it is not the usual one"#,
        ],
    ),
    (
        "host with a user",
        (r#"path = "/""#, r#"host = "me@example.com""#),
        &[
            r#"overlap.toml:34:8: "me@example.com": not a host; write a name or an address, and a port if it is not the usual one"#,
        ],
    ),
    (
        "host with a path",
        (r#"path = "/""#, r#"host = "example.com/a""#),
        &[
            r#"overlap.toml:34:8: "example.com/a": not a host; write a name or an address, and a port if it is not the usual one"#,
        ],
    ),
    (
        "matcher below 200",
        (r#"path = "/""#, r#"matcher = "100-299""#),
        &[
            r#"overlap.toml:34:11: "100-299": not a matcher; write status codes from 200 to 599, e.g. "200-399" or "200,204""#,
        ],
    ),
    (
        "matcher as a number",
        (r#"path = "/""#, "matcher = 200"),
        &[
            r#"overlap.toml:34:11: "200": wrong type, a string is wanted but this is an integer; write matcher = "200-399""#,
        ],
    ),
    (
        "port 0",
        (r#"path = "/""#, "port = 0"),
        &[
            r#"overlap.toml:34:8: "0": not a port of a health check; write "traffic-port" or a number from 1 to 65535"#,
        ],
    ),
    (
        "port 65536",
        (r#"path = "/""#, "port = 65536"),
        &[
            r#"overlap.toml:34:8: "65536": not a port of a health check; write "traffic-port" or a number from 1 to 65535"#,
        ],
    ),
    (
        "port of another name",
        (r#"path = "/""#, r#"port = "8080""#),
        &[
            r#"overlap.toml:34:8: "8080": not a port of a health check; write "traffic-port" or a number from 1 to 65535"#,
        ],
    ),
    (
        "server name that is an address",
        (
            HTTP,
            r#"protocol = "https"
server_name = "10.0.1.10" # "#,
        ),
        &[r#"overlap.toml:34:15: "10.0.1.10": not a DNS name; write one, e.g. "www.example.com""#],
    ),
    (
        "verify_certificate as a string",
        (
            HTTP,
            r#"protocol = "https"
verify_certificate = "yes" # "#,
        ),
        &[
            r#"overlap.toml:34:22: "yes": wrong type, a boolean is wanted but this is a string; write verify_certificate = false"#,
        ],
    ),
    (
        "interval no longer than the default timeout of https",
        (
            "protocol = \"http\"                             # tcp | http\npath = \"/\"\ninterval = \"5s\"\ntimeout = \"2s\"",
            "protocol = \"https\"\ninterval = \"10s\"",
        ),
        &[
            r#"overlap.toml:34:12: "10s": interval not longer than the default timeout, 10s; lengthen it, or add a shorter timeout"#,
        ],
    ),
    (
        "interval of 4 s",
        (r#"interval = "5s""#, r#"interval = "4s""#),
        &[r#"overlap.toml:35:12: "4s": interval too short; write "5s" to "300s""#],
    ),
    (
        "interval of 301 s",
        (r#"interval = "5s""#, r#"interval = "301s""#),
        &[r#"overlap.toml:35:12: "301s": interval too long; write "5s" to "300s""#],
    ),
    (
        "interval without unit",
        (r#"interval = "5s""#, r#"interval = "5""#),
        &[r#"overlap.toml:35:12: "5": not a duration; write "5s" to "300s""#],
    ),
    (
        "interval as a number",
        (r#"interval = "5s""#, "interval = 5"),
        &[
            r#"overlap.toml:35:12: "5": wrong type, a string is wanted but this is an integer; write interval = "30s""#,
        ],
    ),
    (
        "timeout of 1 s",
        (r#"timeout = "2s""#, r#"timeout = "1s""#),
        &[r#"overlap.toml:36:11: "1s": timeout too short; write "2s" to "120s""#],
    ),
    (
        "timeout of 121 s",
        (r#"timeout = "2s""#, r#"timeout = "121s""#),
        &[r#"overlap.toml:36:11: "121s": timeout too long; write "2s" to "120s""#],
    ),
    (
        "timeout equal to the interval",
        (r#"timeout = "2s""#, r#"timeout = "5s""#),
        &[
            r#"overlap.toml:36:11: "5s": timeout not shorter than the interval, 5s; shorten it, or lengthen the interval"#,
        ],
    ),
    (
        "timeout greater than the interval",
        (r#"timeout = "2s""#, r#"timeout = "1m""#),
        &[
            r#"overlap.toml:36:11: "1m": timeout not shorter than the interval, 5s; shorten it, or lengthen the interval"#,
        ],
    ),
    (
        "interval no longer than the default timeout",
        (
            r#"timeout = "2s"
"#,
            "",
        ),
        &[
            r#"overlap.toml:35:12: "5s": interval not longer than the default timeout, 6s; lengthen it, or add a shorter timeout"#,
        ],
    ),
    (
        "healthy threshold 1",
        ("\nhealthy_threshold = 2", "\nhealthy_threshold = 1"),
        &[r#"overlap.toml:37:21: "1": not a threshold; write a number from 2 to 10"#],
    ),
    (
        "healthy threshold 11",
        ("\nhealthy_threshold = 2", "\nhealthy_threshold = 11"),
        &[r#"overlap.toml:37:21: "11": not a threshold; write a number from 2 to 10"#],
    ),
    (
        "unhealthy threshold 0",
        ("unhealthy_threshold = 2", "unhealthy_threshold = 0"),
        &[r#"overlap.toml:38:23: "0": not a threshold; write a number from 2 to 10"#],
    ),
];
