//! Listings as a table for people, or as CSV for programs. Their JSON is the daemon's.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) header: &'static str,
    pub(super) alignment: CellAlignment,
}

/// A column of words.
pub(super) const fn text(header: &'static str) -> Column {
    Column { header, alignment: CellAlignment::Left }
}

/// A column of numbers.
pub(super) const fn number(header: &'static str) -> Column {
    Column { header, alignment: CellAlignment::Right }
}

/// A row of a listing.
pub(super) trait Row: Serialize {
    /// Header of the CSV form: the names of the fields in the order they are serialised.
    const FIELDS: &'static [&'static str];

    /// Columns of the table form.
    const COLUMNS: &'static [Column];

    /// One text per column of the table; empty where there is nothing to say.
    fn cells(&self) -> Vec<String>;
}

/// A table of rows.
pub(super) fn write_table<R: Row>(out: &mut impl Write, rows: &[R]) -> io::Result<()> {
    write_columns(out, R::COLUMNS, rows.iter().map(Row::cells))
}

/// An aligned table with a header and two spaces between its columns; nothing is ever cut off.
pub(super) fn write_columns(
    out: &mut impl Write,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.header));
    for (column, described) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(described.alignment);
    }
    for cells in rows {
        table.add_row(cells.into_iter().map(|cell| {
            // A hole would look like a value that slipped into the next column.
            if cell.is_empty() { "-".to_owned() } else { cell }
        }));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// RFC 4180, but with lines that end as Unix lines do.
pub(super) fn write_csv<T: Serialize>(
    out: &mut impl Write,
    fields: &[&str],
    rows: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(fields).map_err(csv_error)?;
    for row in rows {
        writer.serialize(row).map_err(csv_error)?;
    }
    writer.flush()
}

/// Unlike the conversion of the csv crate, keeps the kind, by which a closed pipe is known.
fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Milliseconds as people read them: `350ms`, `12s`, `1m 23s`, `2h 5m`, `3d 4h`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{minutes}m {}s", seconds % 60),
        3_600_000..86_400_000 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (59_999, "59s"),
            (60_000, "1m 0s"),
            (83_000, "1m 23s"),
            (3_599_999, "59m 59s"),
            (3_600_000, "1h 0m"),
            (7_512_000, "2h 5m"),
            (86_400_000, "1d 0h"),
            (273_600_000, "3d 4h"),
            (u64::MAX, "213503982334d 14h"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
    }

    /// Takes nothing, as a pipe whose reader is gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_form_tells_a_closed_pipe() {
        let rows = vec![crate::api::DropRow {
            interface: "eth0".into(),
            vpc: "vpc-a".into(),
            code: 1,
            reason: "a".into(),
            packets: 2,
            meaning: "b".into(),
        }];
        for result in [
            write_table(&mut Closed, &rows),
            crate::api::write_listing(&mut Closed, &rows),
            write_csv(&mut Closed, crate::api::DropRow::FIELDS, &rows),
        ] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
