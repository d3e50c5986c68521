//! Where metrics are read, and where the web page is served.

use super::{Row, check_rows, model};

#[test]
fn addresses_of_this_host_with_a_port() {
    let listen = |text: &str| model(("", text)).metrics.map(|address| address.to_string());
    assert_eq!(listen(""), None);
    for address in ["127.0.0.1:9480", "0.0.0.0:1", "[::1]:65535"] {
        let found = listen(&format!("[metrics]\nlisten = \"{address}\""));
        assert_eq!(found.as_deref(), Some(address));
    }
    check_rows(ROWS);
}

#[test]
fn the_web_page_is_opt_in_and_on_loopback_unless_told_otherwise() {
    let listen = |text: &str| model(("", text)).web.map(|address| address.to_string());
    assert_eq!(listen(""), None);
    assert_eq!(listen("[web]").as_deref(), Some("127.0.0.1:9481"));
    for address in ["127.0.0.1:80", "0.0.0.0:9481", "[::1]:9481"] {
        let found = listen(&format!("[web]\nlisten = \"{address}\""));
        assert_eq!(found.as_deref(), Some(address));
    }
    check_rows(WEB_ROWS);
}

const ROWS: &[Row] = &[
    (
        "no port",
        ("", "[metrics]\nlisten = \"127.0.0.1\""),
        &[
            r#"overlap.toml:79:10: "127.0.0.1": not an address with a port; write it as in "127.0.0.1:9480" or "[::1]:9480""#,
        ],
    ),
    (
        "port 0",
        ("", "[metrics]\nlisten = \"127.0.0.1:0\""),
        &[
            r#"overlap.toml:79:10: "127.0.0.1:0": not an address with a port; write it as in "127.0.0.1:9480" or "[::1]:9480""#,
        ],
    ),
    (
        "a name",
        ("", "[metrics]\nlisten = \"localhost:9480\""),
        &[
            r#"overlap.toml:79:10: "localhost:9480": not an address with a port; write it as in "127.0.0.1:9480" or "[::1]:9480""#,
        ],
    ),
    (
        "no address",
        ("", "[metrics]\n"),
        &[
            r#"overlap.toml:78:1: "[metrics]": the key listen is missing; add listen = "127.0.0.1:9480""#,
        ],
    ),
];

const WEB_ROWS: &[Row] = &[
    (
        "no port",
        ("", "[web]\nlisten = \"127.0.0.1\""),
        &[
            r#"overlap.toml:79:10: "127.0.0.1": not an address with a port; write it as in "127.0.0.1:9481" or "[::1]:9481""#,
        ],
    ),
    (
        "port 0",
        ("", "[web]\nlisten = \"[::1]:0\""),
        &[
            r#"overlap.toml:79:10: "[::1]:0": not an address with a port; write it as in "127.0.0.1:9481" or "[::1]:9481""#,
        ],
    ),
    (
        "a port too large",
        ("", "[web]\nlisten = \"127.0.0.1:94810\""),
        &[
            r#"overlap.toml:79:10: "127.0.0.1:94810": not an address with a port; write it as in "127.0.0.1:9481" or "[::1]:9481""#,
        ],
    ),
    (
        "a key that is not there",
        ("", "[web]\nport = 9481"),
        &[r#"overlap.toml:79:1: "port": unknown key; remove it; known here: listen"#],
    ),
    (
        "the address of metrics",
        ("", "[web]\n[metrics]\nlisten = \"127.0.0.1:9481\""),
        &[
            r#"overlap.toml:80:10: "127.0.0.1:9481": 127.0.0.1:9481 is where the web page is served; give [metrics] or [web] another port"#,
        ],
    ),
];
