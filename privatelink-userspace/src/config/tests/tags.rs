//! Tags.

use super::{OVERLAP, Row, check_rows, model, reported};

#[test]
fn tags() {
    check_rows(ROWS);
}

#[test]
fn every_resource_may_have_tags() {
    for (header, table) in [
        ("[[load_balancer]]", "target_group"),
        ("[[endpoint_service]]", "load_balancer"),
        ("# ---- consumer side", "endpoint_service"),
        ("[[endpoint]]", "security_group"),
        ("", "endpoint"),
    ] {
        let tags = format!("[{table}.tags]\nName = \"web\"\n\"cost centre\" = \"\"\n{header}");
        model((header, &tags));
    }
}

#[test]
fn at_most_50() {
    let tags = |count: usize| {
        let tags: String = (0..count).map(|number| format!("tag-{number} = \"\"\n")).collect();
        reported(&format!("{OVERLAP}[endpoint.tags]\n{tags}"))
    };
    assert_eq!(tags(50), "");
    let error = "overlap.toml:129:1: \"tag-50\": more than 50 tags of one resource; remove this and what follows";
    assert_eq!(tags(51), error);
}

const ROWS: &[Row] = &[
    (
        "keys of AWS's own, and none",
        ("", "[endpoint.tags]\n\"aws:x\" = \"\"\n\"\" = \"\""),
        &[
            r#"overlap.toml:79:1: "aws:x": not a key of a tag; write 1 to 128 characters that do not begin with aws:"#,
            r#"overlap.toml:80:1: "": not a key of a tag; write 1 to 128 characters that do not begin with aws:"#,
        ],
    ),
    (
        "values that are no strings",
        ("", "[endpoint.tags]\nName = 7"),
        &[
            r#"overlap.toml:79:8: "7": not a value of a tag; write a string of at most 256 characters"#,
        ],
    ),
];
