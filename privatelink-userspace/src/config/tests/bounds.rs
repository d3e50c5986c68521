//! What a file may make the reader spend, and what it may make a terminal show.

use super::{OVERLAP, edited, parse, reported};

/// Every endpoint quotes the region in its remedy; each vpc name is compared with others.
#[test]
fn long_names_and_many_mistakes() {
    let region = "x".repeat(1 << 20);
    let vpcs: String = (0..2000).map(|i| format!("[[vpc]]\nid = \"v{i}\"\nkey = {i}\n")).collect();
    let endpoints: String =
        (0..2000).map(|i| format!("[[endpoint]]\nvpc = \"w{i}\"\nservice = \"{i}\"\n")).collect();
    let errors =
        parse("FILE", &format!("region = \"{region}\"\n{vpcs}{endpoints}")).expect_err("mistakes");
    assert_eq!(errors.as_slice().len(), 2000 * 8);
    let kept = errors.as_slice().iter().map(|error| error.cause.len() + error.remedy.len()).max();
    assert!(kept < Some(1000), "{kept:?}");
}

/// As a program may write it: every target on the one line, and every one of them wrong.
#[test]
fn a_long_line_of_mistakes() {
    let target = r#"{ address = "10.1.0.1", port = 0 }"#;
    let targets = [target; 30_000].join(", ");
    let text = OVERLAP.replacen(r#"{ address = "10.0.1.10" }"#, &targets, 1);
    let errors = parse("overlap.toml", &text).expect_err("mistakes");
    let columns = errors.as_slice().iter().filter_map(|error| Some(error.place.as_ref()?.column));
    let expected =
        (0..30_000).map(|i| 3 + i * (target.len() + 2)).flat_map(|start| [start + 12, start + 31]);
    assert!(columns.eq(expected));
}

#[test]
fn nesting_of_any_depth() {
    let deep = 100_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
    ] {
        assert!(parse("FILE", &text).is_err());
    }
}

#[test]
fn characters_that_reorder_a_line() {
    assert_eq!(
        reported(&edited((r#"id = "sg-a""#, "id = \"sg-\u{202e}a\""))),
        r#"overlap.toml:61:6: "sg-\u{202e}a": not a valid security group id; write sg- and lower-case letters, digits or '-', at most 128"#
    );
}
