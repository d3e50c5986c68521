//! What is done to the MSS option of a SYN.

use super::{Row, check_rows, model};
use crate::model::MssClamp;

#[test]
fn mss_clamp() {
    check_rows(ROWS);
}

#[test]
fn accepted() {
    let clamp = |value: &str| {
        let found = "acceptance_required = false\n";
        model((found, &format!("{found}{value}"))).services[0].mss_clamp
    };
    assert_eq!(clamp(""), MssClamp::Auto);
    assert_eq!(clamp("mss_clamp = \"auto\"\n"), MssClamp::Auto);
    assert_eq!(clamp("mss_clamp = \"off\"\n"), MssClamp::Off);
    assert_eq!(clamp("mss_clamp = 536\n"), MssClamp::Bytes(536));
    assert_eq!(clamp("mss_clamp = 0x550\n"), MssClamp::Bytes(1360));
    assert_eq!(clamp("mss_clamp = 65_495\n"), MssClamp::Bytes(65_495));
}

const ROWS: &[Row] = &[
    (
        "535 bytes",
        ("acceptance_required = false", "mss_clamp = 535\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "535": not an MSS clamp; write "auto", "off" or a number of bytes from 536 to 65495"#,
        ],
    ),
    (
        "65496 bytes",
        ("acceptance_required = false", "mss_clamp = 65496\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "65496": not an MSS clamp; write "auto", "off" or a number of bytes from 536 to 65495"#,
        ],
    ),
    (
        "what 16 bits would take for 1360 bytes",
        ("acceptance_required = false", "mss_clamp = 66896\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "66896": not an MSS clamp; write "auto", "off" or a number of bytes from 536 to 65495"#,
        ],
    ),
    (
        "negative",
        ("acceptance_required = false", "mss_clamp = -1360\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "-1360": not an MSS clamp; write "auto", "off" or a number of bytes from 536 to 65495"#,
        ],
    ),
    (
        "a number in quotes",
        ("acceptance_required = false", "mss_clamp = \"1360\"\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "1360": not an MSS clamp; write "auto", "off" or a number of bytes from 536 to 65495"#,
        ],
    ),
    (
        "another word",
        ("acceptance_required = false", "mss_clamp = \"on\"\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "on": not an MSS clamp; write "auto", "off" or a number of bytes from 536 to 65495"#,
        ],
    ),
    (
        "a boolean",
        ("acceptance_required = false", "mss_clamp = false\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "false": wrong type, a string or an integer is wanted but this is a boolean; write mss_clamp = "auto""#,
        ],
    ),
    (
        "a float",
        ("acceptance_required = false", "mss_clamp = 1360.0\nacceptance_required = false"),
        &[
            r#"overlap.toml:56:13: "1360.0": wrong type, a string or an integer is wanted but this is a float; write mss_clamp = "auto""#,
        ],
    ),
];
