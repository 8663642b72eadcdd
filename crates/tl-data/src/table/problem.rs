//! What can be wrong with a table.
//!
//! The one decision: a problem carries file, line and column apart from what is wrong, so that each message
//! has them in the same place.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::collected::{Problem, Problems, nearest, some_names};
use crate::error::DataError;

/// All that is wrong with a table.
pub type TableProblems = Problems<TableProblem>;

/// One thing wrong with a table, and where.
#[derive(Debug)]
pub struct TableProblem {
    /// The table.
    pub table: PathBuf,
    /// The line, from 1; `None` for the table as a whole.
    pub line: Option<u64>,
    /// The name of the column; `None` for the row as a whole.
    pub column: Option<String>,
    /// What is wrong.
    pub fault: TableFault,
}

impl fmt::Display for TableProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}", self.table.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str("`")?;
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl Problem for TableProblem {
    fn hint(&self) -> Option<String> {
        self.fault.hint()
    }
}

/// What is wrong with a table, a row or a cell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TableFault {
    /// The table, or an image, is a folder, a pipe or a device.
    #[error("{what} is not a regular file")]
    NotAFile {
        /// `it`, or the image in backticks.
        what: String,
    },
    /// The table cannot be read.
    #[error("it cannot be read: {source}")]
    Read {
        /// The cause.
        source: io::Error,
    },
    /// The table is in some other format.
    #[error("it is {found} (expected text in UTF-8)")]
    NotText {
        /// What its first bytes look like.
        found: &'static str,
    },
    /// A header, or nothing at all.
    #[error("there are no rows")]
    NoRows,
    /// A column that was named and is not there.
    #[error("there is no column `{name}` for {role} (the columns are {})", some_names(known.iter().map(String::as_str)))]
    NoColumn {
        /// What it was named for.
        role: &'static str,
        /// The name.
        name: String,
        /// The columns that are there.
        known: Vec<String>,
    },
    /// No column has a well-known name.
    #[error("no column has a known name for {role} (the columns are {})", some_names(known.iter().map(String::as_str)))]
    NoGuess {
        /// What it was looked for.
        role: &'static str,
        /// The names that are known.
        expected: &'static [&'static str],
        /// The columns that are there.
        known: Vec<String>,
        /// Whether the first line looks like a row.
        headless: bool,
    },
    /// A plain list whose first line is a path alone.
    #[error("the line has nothing behind its path that could be {role}")]
    NoLabel {
        /// What was looked for.
        role: &'static str,
    },
    /// Several columns have a well-known name.
    #[error("several columns could be {role}: {}", some_names(names.iter().map(String::as_str)))]
    Ambiguous {
        /// What they could be.
        role: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// The header has a name twice.
    #[error("the column is there twice, as number {first} and {second}")]
    TwoColumns {
        /// The number of the first, from 1.
        first: usize,
        /// The number of the second.
        second: usize,
    },
    /// One column for two things.
    #[error("the column is to be used both for {first} and for {second}")]
    TwoUses {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// No column is left for what was asked.
    #[error("no column is left for {role}")]
    NothingLeft {
        /// What was asked.
        role: &'static str,
    },
    /// Too few or too many cells.
    #[error("the row has {got} cells (expected {expected}){}", upto(*last_line))]
    Ragged {
        /// How many cells it has.
        got: usize,
        /// How many the header, or the first line, has.
        expected: usize,
        /// The line it ends on, if that is another one.
        last_line: Option<u64>,
    },
    /// A line of a plain list that is unlike the first.
    #[error("the line has {got} entries (expected {expected}, as the first line has)")]
    Uneven {
        /// How many it has, the path among them.
        got: usize,
        /// How many the first line has.
        expected: usize,
    },
    /// A quote that is not closed before the table ends.
    #[error("a quote in this row is never closed")]
    Unclosed,
    /// A cell with a line break in it.
    #[error("the cell has a line break in it")]
    LineBreak,
    /// Bytes that are not UTF-8.
    #[error("the cell is not UTF-8 text: `{shown}`")]
    Encoding {
        /// The text, with other bytes as `\xFF`.
        shown: String,
    },
    /// Nothing in a cell.
    #[error("the cell is empty (expected {expected})")]
    Empty {
        /// What should be there.
        expected: &'static str,
    },
    /// A word that programs write where there is no value.
    #[error("the cell is `{text}`, which stands for a missing value (expected {expected})")]
    MissingValue {
        /// The word.
        text: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A class or label that the explicit list does not have.
    #[error("`{class}` is not in the list of classes{}", meant(near.as_deref()))]
    UnknownClass {
        /// The class.
        class: String,
        /// The one that was most likely meant.
        near: Option<String>,
    },
    /// A label twice in one cell.
    #[error("the label `{label}` is there twice")]
    SameLabel {
        /// The label.
        label: String,
    },
    /// An image that lies in no folder, where folders are classes.
    #[error("`{name}` lies in no folder that could be its class")]
    NoFolder {
        /// The image.
        name: String,
    },
    /// A cell that should be 0 or 1.
    #[error("the cell is `{text}` (expected 0 or 1)")]
    NotAFlag {
        /// The cell.
        text: String,
    },
    /// A cell that should be a number.
    #[error("the cell is `{text}` (expected a number)")]
    NotANumber {
        /// The cell.
        text: String,
    },
    /// NaN, infinity, or more than 32-bit floats can hold.
    #[error("the cell is `{text}` (expected a finite number)")]
    NotFinite {
        /// The cell.
        text: String,
    },
    /// A weight that is no number from 0 on.
    #[error("the weight is `{text}` (expected a number from 0 on)")]
    Weight {
        /// The cell.
        text: String,
    },
    /// A word for no part of a split.
    #[error("the cell is `{text}` (expected `train`, `val` or `test`)")]
    Part {
        /// The cell.
        text: String,
    },
    /// An image that is not there.
    #[error("the image `{}` does not exist", path.display())]
    NoImage {
        /// Where it was looked for.
        path: PathBuf,
        /// What would help.
        hint: String,
    },
    /// An image that cannot be looked at, such as a link in a loop.
    #[error("the image `{}` cannot be read: {source}", path.display())]
    ImageRead {
        /// Where it is.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An image that an earlier row has.
    #[error("the image `{rel}` is already in line {first}")]
    Duplicate {
        /// The path below the folder of the images.
        rel: String,
        /// The line that has it.
        first: u64,
    },
    /// An image that an earlier row has by another name.
    #[error("the image `{rel}` is the same file as `{other}` in line {first}")]
    SameFile {
        /// The path below the folder of the images.
        rel: String,
        /// The other path.
        other: String,
        /// The line that has it.
        first: u64,
    },
    /// There is nothing to tell apart.
    #[error("there is only one class, `{class}` (expected at least 2)")]
    OneClass {
        /// The class.
        class: String,
    },
    /// No image has any label.
    #[error("there are no labels in any row")]
    NoLabels,
    /// Weights that leave nothing.
    #[error("all weights are 0")]
    NoWeight,
    /// Weights that leave nothing to train on.
    #[error("all weights of training images are 0")]
    NoTrainWeight,
}

fn upto(last_line: Option<u64>) -> String {
    last_line.map(|line| format!(", and runs to line {line}")).unwrap_or_default()
}

fn meant(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default()
}

impl TableFault {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotText { found: "an Excel or zip file" } => {
                Some("save the sheet as CSV (UTF-8)".to_owned())
            }
            Self::NotText { .. } | Self::Encoding { .. } => Some("save the table as UTF-8".to_owned()),
            Self::NoColumn { name, known, .. } => {
                let near = nearest(name, known.iter().map(String::as_str))?;
                Some(format!("did you mean `{near}`?"))
            }
            Self::NoGuess { headless: true, .. } => {
                Some("the first line seems to be a row; add a header such as `file,label`".to_owned())
            }
            Self::NoGuess { role, expected, .. } => {
                let names = some_names(expected.iter().copied());
                Some(format!("name the column for {role}, or call it one of {names}"))
            }
            Self::NoLabel { .. } => {
                Some("write `path label`, or take the folder of each file for its class".to_owned())
            }
            Self::Ambiguous { role, .. } => Some(format!("name the column for {role}")),
            Self::Ragged { last_line: Some(_), .. } | Self::Unclosed => {
                Some("look for a quote that is not closed, or not doubled inside of a quoted cell".to_owned())
            }
            Self::Ragged { .. } => Some("put cells with the delimiter in them in quotes".to_owned()),
            Self::NotANumber { text } if text.contains(',') => {
                Some("write numbers with a decimal point".to_owned())
            }
            Self::Part { .. } => Some("if the column is not the split, say that it is not used".to_owned()),
            Self::NoImage { hint, .. } => Some(hint.clone()),
            Self::MissingValue { expected: "a group", .. } => {
                Some("fill in the cell, or take the row out".to_owned())
            }
            Self::MissingValue { .. } => Some(
                "fill in the cell, or take the row out; call a class otherwise, as in `no-finding`"
                    .to_owned(),
            ),
            Self::Duplicate { .. } | Self::SameFile { .. } => Some(
                "keep one row for each image; several labels go into one cell, as in `cat|dog`".to_owned(),
            ),
            _ => None,
        }
    }
}

/// Where the problems of one table are collected.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) table: PathBuf,
    pub(super) problems: TableProblems,
}

impl Report {
    pub(super) fn new(table: PathBuf) -> Self {
        Self { table, problems: TableProblems::default() }
    }

    /// A problem of the whole table.
    pub(super) fn whole(&mut self, fault: impl FnOnce() -> TableFault) {
        self.add(None, None, fault);
    }

    /// A problem of a line.
    pub(super) fn line(&mut self, line: u64, fault: impl FnOnce() -> TableFault) {
        self.add(Some(line), None, fault);
    }

    /// A problem of a cell.
    pub(super) fn cell(&mut self, line: u64, column: &str, fault: impl FnOnce() -> TableFault) {
        self.add(Some(line), Some(column), fault);
    }

    fn add(&mut self, line: Option<u64>, column: Option<&str>, fault: impl FnOnce() -> TableFault) {
        let table = &self.table;
        self.problems.push(|| TableProblem {
            table: table.clone(),
            line,
            column: column.map(str::to_owned),
            fault: fault(),
        });
    }

    pub(super) fn into_error(self) -> DataError {
        DataError::Table { path: self.table, problems: self.problems }
    }
}
