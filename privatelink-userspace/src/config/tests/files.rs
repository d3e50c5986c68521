//! Files that cannot be read, and interfaces that this host does not have.

use std::fs::File;
use std::path::Path;

use tempfile::TempDir;

use super::{OVERLAP, edited, parse, reported};
use crate::config::{MAX_FILE_BYTES, Needed, load, load_on_host};

/// What is reported of a file with these bytes, which is called `gateway.toml` in it.
fn reported_of(bytes: &[u8], has: impl Fn(Needed<'_>) -> bool) -> String {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, bytes).unwrap();
    shortened(directory.path(), &load_on_host(&path, has).unwrap_err().to_string())
}

fn shortened(directory: &Path, lines: &str) -> String {
    lines.replace(&format!("{}/", directory.display()), "")
}

#[test]
fn a_file_is_read_as_its_text_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, OVERLAP).unwrap();
    assert_eq!(load(&path), parse("overlap.toml", OVERLAP));
}

#[test]
fn no_such_file() {
    let directory = TempDir::new().unwrap();
    let errors = load(&directory.path().join("gateway.toml")).unwrap_err();
    assert_eq!(
        shortened(directory.path(), &errors.to_string()),
        "gateway.toml: cannot be read: No such file or directory (os error 2); \
         give the path of an existing file"
    );
}

#[test]
fn directory() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    let errors = load(&directory.path().join("etc")).unwrap_err();
    assert_eq!(
        shortened(directory.path(), &errors.to_string()),
        "etc: cannot be read: Is a directory (os error 21); \
         give the path of a file, not of a directory"
    );
}

#[test]
fn file_too_large() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    assert_eq!(
        shortened(directory.path(), &load(&path).unwrap_err().to_string()),
        "gateway.toml: cannot be read: file too large; give the path of a configuration file"
    );
}

#[test]
fn a_line_break_in_the_path_is_escaped() {
    let errors = load(Path::new("/nonexistent/a\nb")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        r"/nonexistent/a\nb: cannot be read: No such file or directory (os error 2); give the path of an existing file"
    );
}

#[test]
fn not_utf8() {
    assert_eq!(
        reported_of(b"# \xc3\xa4\nregion = \"\xe4\"\n", |_| true),
        r#"gateway.toml:2:11: "\xe4": not UTF-8 text; save the file as UTF-8"#
    );
}

#[test]
fn a_byte_order_mark_is_no_column() {
    assert_eq!(parse("overlap.toml", &format!("\u{feff}{OVERLAP}")), parse("", OVERLAP));
    assert_eq!(
        reported("\u{feff}regoin = 1\nregion = \"a\"\n"),
        "overlap.toml:1:1: \"regoin\": unknown key; remove it; known here: region, flow_table, endpoint_limits, metrics, web, events, usage, flow_logs, access_log, vpc, \
         target_group, registration, load_balancer, endpoint_service, security_group, endpoint"
    );
}

#[test]
fn carriage_returns_do_not_matter() {
    let text = OVERLAP.replace('\n', "\r\n");
    assert_eq!(parse("overlap.toml", &text), parse("overlap.toml", OVERLAP));
}

#[test]
fn interface_absent_on_host() {
    assert_eq!(
        reported_of(OVERLAP.as_bytes(), |needed| needed != Needed::Interface("pl-consumer-a")),
        "gateway.toml:14:24: \"pl-consumer-a\": no such interface on this host; \
         create it, or write one that \"ip link\" lists"
    );
}

#[test]
fn an_invalid_interface_name_is_not_looked_up() {
    let text = edited((r#""pl-consumer-a", zone"#, r#""../eth1", zone"#));
    assert_eq!(
        reported_of(text.as_bytes(), |needed| {
            assert_ne!(needed, Needed::Interface("../eth1"));
            true
        }),
        "gateway.toml:14:24: \"../eth1\": not a valid interface name; \
         write a name as \"ip link\" lists it, at most 15 characters"
    );
}
