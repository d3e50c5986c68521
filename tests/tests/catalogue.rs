//! `tests/CATALOGUE.md` and `docs/families.md` name no test that is not there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The macro that makes tests of a scenario, and the file that has them.
const MIXES: (&str, &str) = ("\nmixes!(", include_str!("packets.rs"));

/// The file of a test that the catalogue calls `file::name`.
fn path(file: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = match file.split_once('/') {
        Some(("common", file)) => here.join("../privatelink-common").join(file),
        Some(("userspace", file)) => here.join("../privatelink-userspace").join(file),
        _ => here.join("tests").join(file),
    };
    path.with_extension("rs")
}

#[test]
fn every_test_that_is_named_exists() {
    let mut texts: HashMap<&str, String> = HashMap::new();
    let mut named = 0;
    let named_in = [include_str!("../CATALOGUE.md"), include_str!("../../docs/families.md")];
    for word in named_in.iter().flat_map(|text| text.split('`')) {
        let Some((file, name)) = word.split_once("::") else { continue };
        let text = texts.entry(file).or_insert_with(|| {
            let text =
                fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{word}: {error}"));
            let (mixes, made) = MIXES;
            if text.contains(mixes) { text + made } else { text }
        });
        assert!(text.contains(&format!("fn {name}(")), "{word} is in no file");
        named += 1;
    }
    assert!(named > 100, "{named}");
}
