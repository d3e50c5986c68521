//! How a listing is laid out in JSON: one array, one row per line.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a listing: row by row, as they come.
///
/// # Errors
/// Those of `out`, at once.
pub fn write_listing<T: Serialize>(
    out: &mut impl Write,
    rows: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let mut before: &[u8] = b"[\n";
    for row in rows {
        out.write_all(before)?;
        serde_json::to_writer(&mut *out, &row)?;
        before = b",\n";
    }
    out.write_all(if before == b"[\n" { b"[]\n" } else { b"\n]\n" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_per_line() {
        for (rows, expected) in
            [(&[][..], "[]\n"), (&[1], "[\n1\n]\n"), (&[1, 2, 3], "[\n1,\n2,\n3\n]\n")]
        {
            let mut out = Vec::new();
            write_listing(&mut out, rows).unwrap();
            assert_eq!(out, expected.as_bytes());
        }
    }
}
