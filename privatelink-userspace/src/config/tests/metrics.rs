//! Where metrics are read.

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
