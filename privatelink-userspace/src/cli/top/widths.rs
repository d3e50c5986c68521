//! Which columns there is room for, how wide they are, and how what is too long for them is written.

use std::borrow::Cow;

use super::lines::{Column, Line};

/// Width of a screen from which on there are extra columns.
const WIDE: usize = 116;

/// Between two columns.
const SPACE: usize = 1;

/// The columns to show of a page, by their places, each with its width: names in full where they can be, addresses of IPv6
/// among them, and an extra column only beside these.
pub(super) fn fitting(all: &[Column], lines: &[Line], room: usize) -> Vec<(usize, usize)> {
    let needs: Vec<usize> = (0..all.len()).map(|at| need(all, lines, at)).collect();
    let taken = |at: usize| if all[at].is_extra { 0 } else { needs[at] + SPACE };
    let mut left = (room + SPACE).saturating_sub((0..all.len()).map(taken).sum());
    let mut shown: Vec<(usize, usize)> = Vec::new();
    for (at, column) in all.iter().enumerate() {
        if column.is_extra {
            let Some(rest) = left.checked_sub(needs[at] + SPACE) else { continue };
            if room < WIDE {
                continue;
            }
            left = rest;
        }
        shown.push((at, needs[at]));
    }
    share(all, &mut shown, room);
    shown
}

/// What a column needs to have all in full. Numbers and what is extra have widths of their own.
fn need(all: &[Column], lines: &[Line], at: usize) -> usize {
    let column = &all[at];
    if !is_name(column) {
        return column.width.into();
    }
    let cells = lines.iter().filter_map(|line| line.cells.get(at));
    let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
    longest.max(column.width.into()).max(column.header.len())
}

const fn is_name(column: &Column) -> bool {
    !column.is_number && !column.is_extra
}

/// Gives names what the others leave: who needs less than an equal share has that, and the first has what is over.
fn share(all: &[Column], shown: &mut [(usize, usize)], room: usize) {
    let of_others = |&&(at, _): &&(usize, usize)| !is_name(&all[at]);
    let spaces = SPACE * shown.len().saturating_sub(1);
    let others: usize = shown.iter().filter(of_others).map(|&(_, width)| width).sum();
    let mut rest = room.saturating_sub(others + spaces);
    let mut names: Vec<&mut (usize, usize)> =
        shown.iter_mut().filter(|(at, _)| is_name(&all[*at])).collect();
    names.sort_by_key(|(_, need)| *need);
    let mut waiting = names.len();
    for (_, width) in names {
        *width = (*width).min(rest / waiting);
        rest -= *width;
        waiting -= 1;
    }
    if let Some((_, width)) = shown.first_mut() {
        *width += rest;
    }
}

/// A text, or where it is too long its ends: those of a network have the same beginning.
pub(super) fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= width {
        return text.into();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept / 3, kept - kept / 3);
    let head = text.chars().take(head);
    head.chain(['…']).chain(text.chars().skip(length - tail)).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines::columns;
    use super::super::page::View;
    use super::*;

    /// The widths that columns of flows have, by their headers.
    fn of_flows(client: usize, target: usize, room: usize) -> Vec<(&'static str, usize)> {
        let cells = [client, target].map(|length| "f".repeat(length)).to_vec();
        let line = Line { cells, ..Line::default() };
        let all = columns(View::Flows);
        let fitting = fitting(all, &[line], room).into_iter();
        fitting.map(|(at, width)| (all[at].header, width)).collect()
    }

    #[test]
    fn names_have_what_they_need_or_an_equal_share() {
        for (client, target, room, expected) in [
            (14, 15, 80, [24, 21]),
            (20, 47, 80, [20, 25]),
            (47, 15, 80, [24, 21]),
            (47, 47, 80, [22, 23]),
            (47, 47, 115, [40, 40]),
            (47, 47, 130, [48, 47]),
        ] {
            let widths = of_flows(client, target, room);
            assert_eq!([widths[0].1, widths[1].1], expected, "{client} {target} {room}");
            let used: usize = widths.iter().map(|(_, width)| width + SPACE).sum();
            assert_eq!(used, room + SPACE, "all of it is used");
        }
    }

    #[test]
    fn extra_columns_stand_beside_names_in_full() {
        for (longest, room, expected) in [
            (15, 115, &[][..]),
            (15, 116, &["endpoint", "state", "age"]),
            (47, 116, &[]),
            (47, 138, &["age"]),
            (47, 152, &["endpoint"]),
            (47, 173, &["endpoint", "state", "age"]),
        ] {
            let widths = of_flows(longest, longest, room);
            let extra = ["endpoint", "state", "age"];
            let shown: Vec<_> =
                extra.into_iter().filter(|name| widths.iter().any(|of| of.0 == *name)).collect();
            assert_eq!(shown, expected, "{longest} {room}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_keeps_its_ends() {
        let address = "[fd00:1234:5678:9abc:def0:1234:5678:9abc]:40000";
        for (width, expected) in [
            (47, address),
            (46, "[fd00:1234:5678…abc:def0:1234:5678:9abc]:40000"),
            (22, "[fd00:1…78:9abc]:40000"),
            (2, "…0"),
            (1, "…"),
            (0, ""),
        ] {
            assert_eq!(shortened(address, width), expected, "{width}");
        }
    }
}
