//! Cells to values: classes, labels, numbers, weights, parts.
//!
//! The one decision: as for images, a cell that cannot be read is reported where it is read, and the other cells of its
//! row are read all the same. What programs write for a missing value is no class and no group.

use std::path::Path;

use tl_data::table::{Names, TableFault};
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

    /// A text that must not be empty, without white space at its ends.
    fn filled(self, expected: &'static str, report: &mut Report) -> Option<&'a str> {
        let text = self.text(report)?.trim();
        if text.is_empty() {
            self.fault(TableFault::Empty { expected }, report);
            return None;
        }
        Some(text)
    }

    /// A group.
    pub(super) fn group(self, report: &mut Report) -> Option<String> {
        let expected = "a group";
        let text = self.filled(expected, report)?;
        if is_missing(text) {
            self.fault(TableFault::MissingValue { text: text.to_owned(), expected }, report);
            return None;
        }
        Some(text.to_owned())
    }

    /// A finite number from 0 on.
    pub(super) fn weight(self, report: &mut Report) -> Option<f32> {
        let text = self.filled("a weight", report)?;
        match text.parse::<f64>().map(|weight| weight as f32) {
            // Not `-0`, which would print as a negative weight.
            Ok(weight) if weight.is_finite() && weight >= 0.0 => Some(weight.abs()),
            _ => {
                self.fault(TableFault::Weight { text: text.to_owned() }, report);
                None
            }
        }
    }

    /// A part of the split.
    pub(super) fn part(self, report: &mut Report) -> Option<Part> {
        let text = self.filled("`train`, `val` or `test`", report)?;
        let part = Part::from_name(text);
        if part.is_none() {
            self.fault(TableFault::Part { text: text.to_owned() }, report);
        }
        part
    }

    /// The number of a class or label. A list of classes may have any word in it.
    fn class(self, name: &str, names: &mut Names, report: &mut Report) -> Option<u32> {
        if !names.is_list() && is_missing(name) {
            let expected = "a class";
            self.fault(TableFault::MissingValue { text: name.to_owned(), expected }, report);
            return None;
        }
        let number = names.number(name);
        if number.is_none() {
            let near = names.nearest(name);
            self.fault(TableFault::UnknownClass { class: name.to_owned(), near }, report);
        }
        number
    }

    fn labels(
        self,
        (separator, allow_empty): (char, bool),
        names: &mut Names,
        report: &mut Report,
    ) -> Option<Vec<u32>> {
        let parts: Vec<&str> = match self.cell {
            Cell::Many(parts) => parts.iter().map(|part| part.trim()).collect(),
            _ => {
                let text = self.text(report)?.trim();
                match separator {
                    _ if text.is_empty() => Vec::new(),
                    ' ' => text.split_whitespace().collect(),
                    _ => text.split(separator).map(str::trim).collect(),
                }
            }
        };
        if parts.is_empty() && !allow_empty {
            self.fault(TableFault::Empty { expected: "at least one label" }, report);
            return None;
        }
        let (mut labels, mut good) = (Vec::with_capacity(parts.len()), true);
        for name in parts {
            if name.is_empty() {
                self.fault(TableFault::Empty { expected: "a label on each side of a separator" }, report);
                good = false;
                continue;
            }
            match self.class(name, names, report) {
                Some(label) if labels.contains(&label) => {
                    self.fault(TableFault::SameLabel { label: name.to_owned() }, report);
                    good = false;
                }
                Some(label) => labels.push(label),
                None => good = false,
            }
        }
        good.then_some(labels)
    }

    /// Whether a cell says 1 (or `1.0`, or `true`) rather than 0.
    fn flag(self, report: &mut Report) -> Option<bool> {
        let text = self.filled("0 or 1", report)?;
        match text.to_ascii_lowercase().as_str() {
            "1" | "1.0" | "true" => Some(true),
            "0" | "0.0" | "false" => Some(false),
            _ => {
                self.fault(TableFault::NotAFlag { text: text.to_owned() }, report);
                None
            }
        }
    }

    fn number(self, report: &mut Report) -> Option<f32> {
        let text = self.filled("a number", report)?;
        match text.parse::<f64>() {
            Ok(number) if (number as f32).is_finite() => Some(number as f32),
            Ok(_) => {
                self.fault(TableFault::NotFinite { text: text.to_owned() }, report);
                None
            }
            Err(_) => {
                self.fault(TableFault::NotANumber { text: text.to_owned() }, report);
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

/// What pandas, R, SQL and people write where there is no value.
fn is_missing(text: &str) -> bool {
    const MISSING: [&str; 6] = ["nan", "null", "none", "n/a", "na", "<na>"];
    MISSING.iter().any(|word| word.eq_ignore_ascii_case(text))
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
            let at = at(column);
            let name = at.filled("a class", report)?;
            Target::Class(at.class(name, names, report)?)
        }
        TargetColumns::Labels(column) => Target::Labels(at(column).labels(of_labels, names, report)?),
        TargetColumns::Flags(columns) => {
            let flags: Vec<Option<bool>> = columns.iter().map(|column| at(column).flag(report)).collect();
            let flags = flags.into_iter().collect::<Option<Vec<bool>>>()?;
            Target::Labels((0..).zip(flags).filter(|(_, set)| *set).map(|(label, _)| label).collect())
        }
        TargetColumns::Numbers(columns) => {
            let numbers: Vec<Option<f32>> = columns.iter().map(|column| at(column).number(report)).collect();
            Target::Numbers(numbers.into_iter().collect::<Option<Vec<f32>>>()?)
        }
    })
}
