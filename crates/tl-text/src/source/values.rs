//! Cells to values: classes, labels, numbers, weights, parts.
//!
//! The one decision: what a value is, tables of images say ([`tl_data::table::value`]); a cell that cannot be read is
//! reported where it is read, and the other cells of its row are read all the same.

use std::path::Path;

use tl_data::table::{Names, TableFault, value};
use tl_data::{Part, Target};

use super::Report;
use super::columns::{Column, TargetColumns};
use super::rows::Cell;
use crate::error::TextFault;

/// One cell, and where it is.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) file: &'a Path,
    pub(super) line: u64,
    pub(super) column: &'a Column,
    pub(super) cell: &'a Cell,
}

impl<'a> At<'a> {
    pub(super) fn new(file: &'a Path, line: u64, column: &'a Column, cells: &'a [Cell]) -> Self {
        Self { file, line, column, cell: cells.get(column.index).unwrap_or(&Cell::Missing) }
    }

    /// The cells of a row, by column.
    pub(super) fn in_row<'b>(file: &'b Path, line: u64, cells: &'b [Cell]) -> impl Fn(&'b Column) -> At<'b> {
        move |column| At::new(file, line, column, cells)
    }

    fn fault(self, fault: impl Into<TextFault>, report: &mut Report) {
        report.cell(self.file, self.line, &self.column.name, fault);
    }

    /// The cell as a text with its white space; a missing one is an empty text.
    pub(super) fn text(self, report: &mut Report) -> Option<&'a str> {
        match self.cell {
            Cell::Text(text) => Some(text),
            Cell::Missing => Some(""),
            other => {
                self.fault(TextFault::Kind { got: kind(other), expected: "a text" }, report);
                None
            }
        }
    }

    /// The cell as a value, which is reported if it is none.
    fn read<T>(self, report: &mut Report, value: impl FnOnce(&'a str) -> Result<T, TableFault>) -> Option<T> {
        let text = self.text(report)?;
        value(text).map_err(|fault| self.fault(fault, report)).ok()
    }

    /// A group.
    pub(super) fn group(self, report: &mut Report) -> Option<String> {
        self.read(report, value::group).map(str::to_owned)
    }

    /// A finite number from 0 on.
    pub(super) fn weight(self, report: &mut Report) -> Option<f32> {
        self.read(report, value::weight)
    }

    /// A part of the split.
    pub(super) fn part(self, report: &mut Report) -> Option<Part> {
        self.read(report, value::part)
    }

    fn labels(
        self,
        (separator, allow_empty): (char, bool),
        names: &mut Names,
        report: &mut Report,
    ) -> Option<Vec<u32>> {
        let parts = match self.cell {
            Cell::Many(parts) => parts.iter().map(|part| part.trim()).collect(),
            _ => value::parts(self.text(report)?, separator),
        };
        match value::labels(&parts, allow_empty, names) {
            Ok(labels) => Some(labels),
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.fault(fault, report));
                None
            }
        }
    }
}

pub(super) fn kind(cell: &Cell) -> &'static str {
    match cell {
        Cell::Text(_) => "a text",
        Cell::Missing => "missing",
        Cell::Many(_) => "a list",
        Cell::Other => "an object, or a list of lists or objects",
    }
}

/// What is to be learned of one row.
pub(super) fn target(
    (file, line, cells): (&Path, u64, &[Cell]),
    columns: &TargetColumns,
    of_labels: (char, bool),
    names: &mut Names,
    report: &mut Report,
) -> Option<Target> {
    let at = At::in_row(file, line, cells);
    Some(match columns {
        TargetColumns::Nothing => Target::None,
        TargetColumns::Class(column) => {
            let class = |text| value::filled(text, "a class").and_then(|name| value::class(name, names));
            Target::Class(at(column).read(report, class)?)
        }
        TargetColumns::Labels(column) => Target::Labels(at(column).labels(of_labels, names, report)?),
        TargetColumns::Flags(columns) => {
            let flags: Vec<Option<bool>> =
                columns.iter().map(|column| at(column).read(report, value::flag)).collect();
            let flags = flags.into_iter().collect::<Option<Vec<bool>>>()?;
            Target::Labels((0..).zip(flags).filter(|(_, set)| *set).map(|(label, _)| label).collect())
        }
        TargetColumns::Numbers(columns) => {
            let numbers: Vec<Option<f32>> =
                columns.iter().map(|column| at(column).read(report, value::number)).collect();
            Target::Numbers(numbers.into_iter().collect::<Option<Vec<f32>>>()?)
        }
    })
}
