//! Where events are posted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Row, check_rows, edited, model};
use crate::api::{EventKind, EventKinds};
use crate::config::{Needed, Source};
use crate::model::Webhook;

#[test]
fn events() {
    check_rows(ROWS);
}

#[test]
fn only_the_url_must_be_written() {
    assert_eq!(model(("", "")).webhook, None);
    assert_eq!(model(("", "[events]")).webhook, None);
    let url = "https://hooks.example.com/T0/privatelink?a=b";
    let webhook =
        |more: &str| model(("", &format!("[events]\nwebhook = \"{url}\"\n{more}"))).webhook;
    let plain = Webhook {
        url: url.parse().unwrap(),
        secret_file: None,
        kinds: EventKinds::default(),
        timeout: Duration::from_secs(5),
    };
    assert_eq!(webhook(""), Some(plain.clone()));
    assert_eq!(
        webhook(
            "webhook_secret_file = \"/etc/secret\"\nwebhook_timeout = \"1m\"\nkinds = [\"target_health\", \"connect\"]"
        ),
        Some(Webhook {
            secret_file: Some(PathBuf::from("/etc/secret")),
            kinds: EventKinds(vec![EventKind::TargetHealth, EventKind::Connect]),
            timeout: Duration::from_secs(60),
            ..plain
        })
    );
}

#[test]
fn the_secret_must_be_there_when_the_host_is_asked() {
    let text = edited((
        "",
        "[events]\nwebhook = \"http://[::1]:8080\"\nwebhook_secret_file = \"/etc/secret\"",
    ));
    let source = Source::new("overlap.toml", &text);
    let has = |needed: Needed<'_>| needed != Needed::Secret(Path::new("/etc/secret"));
    let expected = r#"overlap.toml:80:23: "/etc/secret": no file with a secret on this host; write 1 to 4096 bytes into it, e.g. by "openssl rand -hex 32", and make it readable"#;
    assert_eq!(source.check(&[], has).unwrap_err().to_string(), expected);
    assert!(source.check(&[], |_| true).is_ok());
}

const ROWS: &[Row] = &[
    (
        "not a URL",
        ("", "[events]\nwebhook = \"hooks example\""),
        &[
            r#"overlap.toml:79:11: "hooks example": not a URL; write one such as "https://hooks.example.com/privatelink""#,
        ],
    ),
    (
        "a path",
        ("", "[events]\nwebhook = \"/privatelink\""),
        &[
            r#"overlap.toml:79:11: "/privatelink": not a URL; write one such as "https://hooks.example.com/privatelink""#,
        ],
    ),
    (
        "a host alone",
        ("", "[events]\nwebhook = \"hooks.example.com\""),
        &[
            r#"overlap.toml:79:11: "hooks.example.com": not a URL; write one such as "https://hooks.example.com/privatelink""#,
        ],
    ),
    (
        "another scheme",
        ("", "[events]\nwebhook = \"ftp://hooks.example.com/\""),
        &[
            r#"overlap.toml:79:11: "ftp://hooks.example.com/": neither http nor https; write one such as "https://hooks.example.com/privatelink""#,
        ],
    ),
    (
        "no host",
        ("", "[events]\nwebhook = \"https://:443/\""),
        &[
            r#"overlap.toml:79:11: "https://:443/": not a URL; write one such as "https://hooks.example.com/privatelink""#,
        ],
    ),
    (
        "a password",
        ("", "[events]\nwebhook = \"https://me:secret@hooks.example.com/\""),
        &[
            r#"overlap.toml:79:11: "https://me:secret@hooks.example.com/": a URL with a user name; leave it out, and name a webhook_secret_file"#,
        ],
    ),
    (
        "a relative path",
        ("", "[events]\nwebhook = \"http://a/\"\nwebhook_secret_file = \"webhook.secret\""),
        &[
            r#"overlap.toml:80:23: "webhook.secret": not an absolute path; write one from /, such as "/etc/privatelink/webhook.secret""#,
        ],
    ),
    (
        "time-outs",
        ("", "[events]\nwebhook = \"http://a/\"\nwebhook_timeout = \"61s\""),
        &[r#"overlap.toml:80:19: "61s": timeout too long; write "1s" to "60s""#],
    ),
    (
        "unknown kinds",
        ("", "[events]\nwebhook = \"http://a/\"\nkinds = [\"conect\", \"everything\", \"lost\"]"),
        &[
            r#"overlap.toml:80:10: "conect": unknown kind of events; did you mean connect? The kinds are connect, accept, reject, delete, expire, fail, target_health, lease_exhausted, flows_refused, table_pressure"#,
            r#"overlap.toml:80:20: "everything": unknown kind of events; write any of connect, accept, reject, delete, expire, fail, target_health, lease_exhausted, flows_refused, table_pressure"#,
            r#"overlap.toml:80:34: "lost": unknown kind of events; write any of connect, accept, reject, delete, expire, fail, target_health, lease_exhausted, flows_refused, table_pressure"#,
        ],
    ),
    (
        "no kinds",
        ("", "[events]\nwebhook = \"http://a/\"\nkinds = []"),
        &[r#"overlap.toml:80:9: "[]": empty; leave it out to have all kinds"#],
    ),
    (
        "no webhook",
        ("", "[events]\nwebhook_timeout = \"5s\"\nkinds = [\"connect\"]"),
        &[
            r#"overlap.toml:79:19: "5s": says nothing without a webhook; add webhook = "https://hooks.example.com/privatelink", or remove it"#,
            r#"overlap.toml:80:9: "["connect"]": says nothing without a webhook; add webhook = "https://hooks.example.com/privatelink", or remove it"#,
        ],
    ),
    (
        "wrong types",
        (
            "",
            "[events]\nwebhook = 1\nwebhook_secret_file = true\nwebhook_timeout = 5\nkinds = \"connect\"",
        ),
        &[
            r#"overlap.toml:79:11: "1": wrong type, a string is wanted but this is an integer; write webhook = "https://hooks.example.com/privatelink""#,
            r#"overlap.toml:80:23: "true": wrong type, a string is wanted but this is a boolean; write webhook_secret_file = "/etc/privatelink/webhook.secret""#,
            r#"overlap.toml:81:19: "5": wrong type, a string is wanted but this is an integer; write webhook_timeout = "5s""#,
            r#"overlap.toml:82:9: "connect": wrong type, an array is wanted but this is a string; write kinds = ["connect", "target_health"]"#,
        ],
    ),
    (
        "an unknown key",
        ("", "[events]\nwebhok = \"http://a/\""),
        &[
            r#"overlap.toml:79:1: "webhok": unknown key; did you mean webhook? Known here: webhook, webhook_secret_file, webhook_timeout, kinds"#,
        ],
    ),
];
