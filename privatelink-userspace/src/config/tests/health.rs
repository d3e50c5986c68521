//! Health checks.

use super::{Row, check_rows};

#[test]
fn health() {
    check_rows(ROWS);
}

const ROWS: &[Row] = &[
    (
        "protocol https",
        (r#"protocol = "http" "#, r#"protocol = "https" "#),
        &[
            r#"overlap.toml:33:12: "https": health check protocol not supported; write "tcp" or "http""#,
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
            r#"overlap.toml:34:8: "health": not a valid path; begin it with '/', at most 1024 printable ASCII characters without spaces"#,
        ],
    ),
    (
        "path with a space",
        (r#"path = "/""#, r#"path = "/a b""#),
        &[
            r#"overlap.toml:34:8: "/a b": not a valid path; begin it with '/', at most 1024 printable ASCII characters without spaces"#,
        ],
    ),
    (
        "path with a line break",
        (r#"path = "/""#, r#"path = "/\r\nHost: x""#),
        &[
            r#"overlap.toml:34:8: "/\r\nHost: x": not a valid path; begin it with '/', at most 1024 printable ASCII characters without spaces"#,
        ],
    ),
    (
        "empty path",
        (r#"path = "/""#, r#"path = """#),
        &[
            r#"overlap.toml:34:8: "": not a valid path; begin it with '/', at most 1024 printable ASCII characters without spaces"#,
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
