//! Cells to values: text, numbers, labels, weights.
//!
//! The one decision: a cell that cannot be read is reported where it is read, and the other cells of its row
//! are read all the same.

use super::columns::Column;
use super::names::Names;
use super::problem::{Report, TableFault};
use super::reader::Row;
use super::source::shown;
use super::value;
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

/// A cell as a value, which is reported if it is none.
fn read<'r, T>(
    row: &'r Row,
    column: &Column,
    report: &mut Report,
    value: impl FnOnce(&'r str) -> Result<T, TableFault>,
) -> Option<T> {
    let text = text(row, column, report)?;
    value(text).map_err(|fault| report.cell(row.line, &column.name, || fault)).ok()
}

/// The text of a cell that must not be empty.
pub(super) fn filled<'r>(
    row: &'r Row,
    column: &Column,
    expected: &'static str,
    report: &mut Report,
) -> Option<&'r str> {
    read(row, column, report, |text| value::filled(text, expected))
}

/// A group.
pub(super) fn group<'r>(row: &'r Row, column: &Column, report: &mut Report) -> Option<&'r str> {
    read(row, column, report, value::group)
}

/// The number of a class or label.
pub(super) fn class(
    name: &str,
    names: &mut Names,
    (row, column): (&Row, &Column),
    report: &mut Report,
) -> Option<u32> {
    value::class(name, names).map_err(|fault| report.cell(row.line, &column.name, || fault)).ok()
}

/// The labels of a cell, in the order they have there.
pub(super) fn labels(
    row: &Row,
    column: &Column,
    (separator, allow_empty): (char, bool),
    names: &mut Names,
    report: &mut Report,
) -> Option<Vec<u32>> {
    let parts = value::parts(text(row, column, report)?, separator);
    match value::labels(&parts, allow_empty, names) {
        Ok(labels) => Some(labels),
        Err(faults) => {
            faults.into_iter().for_each(|fault| report.cell(row.line, &column.name, || fault));
            None
        }
    }
}

/// Whether a cell says 1 rather than 0.
pub(super) fn flag(row: &Row, column: &Column, report: &mut Report) -> Option<bool> {
    read(row, column, report, value::flag)
}

/// A finite number.
pub(super) fn number(row: &Row, column: &Column, report: &mut Report) -> Option<f32> {
    read(row, column, report, value::number)
}

/// A finite number from 0 on.
pub(super) fn weight(row: &Row, column: &Column, report: &mut Report) -> Option<f32> {
    read(row, column, report, value::weight)
}

/// A part of the split.
pub(super) fn part(row: &Row, column: &Column, report: &mut Report) -> Option<Part> {
    read(row, column, report, value::part)
}
