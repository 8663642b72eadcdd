//! Cells to values: text, numbers, labels, weights.
//!
//! The one decision: a cell that cannot be read is reported where it is read, and the other cells of its row
//! are read all the same. What programs write for a missing value is no class and no group.

use super::columns::Column;
use super::names::Names;
use super::problem::{Report, TableFault};
use super::reader::Row;
use super::source::shown;
use crate::split::Part;

/// The text of a cell without white space at its ends; `None`, and a problem, where it is no single line of
/// UTF-8.
pub(super) fn text<'r>(row: &'r Row, column: &Column, report: &mut Report) -> Option<&'r str> {
    let cell = row.cells.get(column.index)?;
    let Ok(text) = std::str::from_utf8(cell) else {
        report.cell(row.line, &column.name, || TableFault::Encoding { shown: shown(cell) });
        return None;
    };
    let text = text.trim();
    if text.contains('\n') {
        report.cell(row.line, &column.name, || TableFault::LineBreak);
        return None;
    }
    Some(text)
}

/// The text of a cell that must not be empty.
pub(super) fn filled<'r>(
    row: &'r Row,
    column: &Column,
    expected: &'static str,
    report: &mut Report,
) -> Option<&'r str> {
    let text = text(row, column, report)?;
    if text.is_empty() {
        report.cell(row.line, &column.name, || TableFault::Empty { expected });
        return None;
    }
    Some(text)
}

/// What pandas, R, SQL and people write where there is no value.
fn is_missing(text: &str) -> bool {
    const MISSING: [&str; 6] = ["nan", "null", "none", "n/a", "na", "<na>"];
    MISSING.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A group.
pub(super) fn group<'r>(row: &'r Row, column: &Column, report: &mut Report) -> Option<&'r str> {
    let expected = "a group";
    let text = filled(row, column, expected, report)?;
    if is_missing(text) {
        report.cell(row.line, &column.name, || TableFault::MissingValue { text: text.to_owned(), expected });
        return None;
    }
    Some(text)
}

/// The number of a class or label. A list of classes may have any word in it.
pub(super) fn class(
    name: &str,
    names: &mut Names,
    (row, column): (&Row, &Column),
    report: &mut Report,
) -> Option<u32> {
    if !names.is_list() && is_missing(name) {
        let expected = "a class";
        report.cell(row.line, &column.name, || TableFault::MissingValue { text: name.to_owned(), expected });
        return None;
    }
    let number = names.number(name);
    if number.is_none() {
        report.cell(row.line, &column.name, || TableFault::UnknownClass {
            class: name.to_owned(),
            near: names.nearest(name),
        });
    }
    number
}

/// The labels of a cell, in the order they have there.
pub(super) fn labels(
    row: &Row,
    column: &Column,
    (separator, allow_empty): (char, bool),
    names: &mut Names,
    report: &mut Report,
) -> Option<Vec<u32>> {
    let text = if allow_empty {
        text(row, column, report)?
    } else {
        filled(row, column, "at least one label", report)?
    };
    let parts: Vec<&str> = if separator == ' ' {
        text.split_whitespace().collect()
    } else if text.is_empty() {
        Vec::new()
    } else {
        text.split(separator).map(str::trim).collect()
    };
    let (mut labels, mut good) = (Vec::with_capacity(parts.len()), true);
    for name in parts {
        if name.is_empty() {
            report.cell(row.line, &column.name, || TableFault::Empty {
                expected: "a label on each side of a separator",
            });
            good = false;
            continue;
        }
        match class(name, names, (row, column), report) {
            Some(label) if labels.contains(&label) => {
                report.cell(row.line, &column.name, || TableFault::SameLabel { label: name.to_owned() });
                good = false;
            }
            Some(label) => labels.push(label),
            None => good = false,
        }
    }
    good.then_some(labels)
}

/// Whether a cell says 1 (or `1.0`, or `true`) rather than 0.
pub(super) fn flag(row: &Row, column: &Column, report: &mut Report) -> Option<bool> {
    let text = filled(row, column, "0 or 1", report)?;
    match text {
        "1" | "1.0" => Some(true),
        "0" | "0.0" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => {
            report.cell(row.line, &column.name, || TableFault::NotAFlag { text: text.to_owned() });
            None
        }
    }
}

/// A finite number.
pub(super) fn number(row: &Row, column: &Column, report: &mut Report) -> Option<f32> {
    let text = filled(row, column, "a number", report)?;
    match text.parse::<f64>() {
        Ok(number) if (number as f32).is_finite() => Some(number as f32),
        Ok(_) => {
            report.cell(row.line, &column.name, || TableFault::NotFinite { text: text.to_owned() });
            None
        }
        Err(_) => {
            report.cell(row.line, &column.name, || TableFault::NotANumber { text: text.to_owned() });
            None
        }
    }
}

/// A finite number from 0 on.
pub(super) fn weight(row: &Row, column: &Column, report: &mut Report) -> Option<f32> {
    let text = filled(row, column, "a weight", report)?;
    let weight = text.parse::<f64>().map(|weight| weight as f32);
    match weight {
        // Not `-0`, which would print as a negative weight.
        Ok(weight) if weight.is_finite() && weight >= 0.0 => Some(weight.abs()),
        _ => {
            report.cell(row.line, &column.name, || TableFault::Weight { text: text.to_owned() });
            None
        }
    }
}

/// A part of the split.
pub(super) fn part(row: &Row, column: &Column, report: &mut Report) -> Option<Part> {
    let text = filled(row, column, "`train`, `val` or `test`", report)?;
    let part = Part::from_name(text);
    if part.is_none() {
        report.cell(row.line, &column.name, || TableFault::Part { text: text.to_owned() });
    }
    part
}
