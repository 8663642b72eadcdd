//! Images listed in a table: CSV, TSV, or a plain list of paths and labels.
//!
//! ```text
//! file,label            file,labels           file,cat,dog       file,age     a/1.jpg 0
//! a/1.jpg,cat           1.jpg,cat|outdoor     1.jpg,1,0          1.jpg,7.5    b/2.jpg 1
//! ```
//!
//! Cells may be quoted as in RFC 4180; line ends may be of any kind, blank lines mean nothing, white space at
//! the ends of a cell is left out, and a byte order mark is passed over. The text is UTF-8.
//!
//! ```no_run
//! use tl_data::{SplitOptions, Table, TableOptions};
//!
//! # fn main() -> Result<(), tl_data::DataError> {
//! let table = Table::open("photos/labels.csv".as_ref(), &TableOptions::default())?;
//! let data = table.into_dataset(&SplitOptions::default())?; // data.train, data.val: lists of `Sample`
//! # Ok(())
//! # }
//! ```
//!
//! The one decision: a table is read whole before anything is made of it, and every bad cell is reported with
//! its line and column, so that it is mended in one go. Only the records are kept in memory, never the text.

mod cells;
mod columns;
mod dataset;
mod files;
mod names;
mod options;
mod problem;
pub(crate) mod reader;
mod rows;
mod source;
pub mod value;
mod whole;

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

pub use columns::ColumnUse;
pub use names::Names;
pub use options::{ColumnChoice, TableFormat, TableOptions, TargetSpec};
pub use problem::{TableFault, TableProblem, TableProblems};
pub use reader::{CsvRows, Row};

use crate::error::DataError;
use crate::folder::Sample;
use crate::split::Part;
use problem::Report;

/// What is to be learned of images.
///
/// As JSON: `"class"`, `"multi-label"`, `"regression"`, `"nothing"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// One class for each image.
    #[default]
    Class,
    /// Any number of labels for each image.
    MultiLabel,
    /// One or several numbers for each image.
    #[serde(rename = "regression")]
    Number,
    /// Nothing: images to predict on.
    Nothing,
}

/// What is to be learned of one image.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The number of its class.
    Class(u32),
    /// The numbers of its labels, in ascending order.
    Labels(Vec<u32>),
    /// Its numbers, as many as the table has names; all finite.
    Numbers(Vec<f32>),
    /// Nothing.
    None,
}

impl Target {
    /// The target as a row of `names` floats: 1 for the class and each label and 0 for others, or the numbers
    /// themselves. Empty for no target.
    pub fn to_row(&self, names: usize) -> Vec<f32> {
        let hot = |labels: &[u32]| {
            let mut row = vec![0.0; names];
            for &label in labels {
                if let Some(value) = row.get_mut(label as usize) {
                    *value = 1.0;
                }
            }
            row
        };
        match self {
            Self::Class(class) => hot(&[*class]),
            Self::Labels(labels) => hot(labels),
            Self::Numbers(numbers) => numbers.clone(),
            Self::None => Vec::new(),
        }
    }

    fn labels(&self) -> &[u32] {
        match self {
            Self::Labels(labels) => labels,
            _ => &[],
        }
    }

    fn numbers(&self) -> &[f32] {
        match self {
            Self::Numbers(numbers) => numbers,
            _ => &[],
        }
    }
}

/// One row: an image and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where the file is.
    pub path: PathBuf,
    /// The path below the folder of the images, `/`-separated.
    pub rel: String,
    /// As [`Sample::id`].
    pub id: u64,
    /// What is to be learned.
    pub target: Target,
    /// How much the image counts, from 0 on; 1 without a column of weights.
    pub weight: f32,
    /// The group it belongs to.
    pub group: Option<String>,
    /// The part of the split it is in.
    pub split: Option<Part>,
    /// The line of the table, from 1.
    pub line: u64,
}

/// A table of images, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The table as it was given.
    pub path: PathBuf,
    /// The folder that paths are relative to.
    pub root: PathBuf,
    /// What is to be learned.
    pub task: Task,
    /// The names of the classes, sorted by their bytes or as given; or of the labels; or of the columns of
    /// numbers.
    pub names: Vec<String>,
    /// The rows, in the order of the table; no image is there twice.
    pub records: Vec<Record>,
    /// The rows that [`Table::leave_out`] took away.
    pub left_out: Vec<Record>,
    /// Which column is used for what.
    pub columns: Vec<ColumnUse>,
    /// How the table was understood, one line each: guesses, and columns that are not used.
    pub notes: Vec<String>,
    /// What a person should look at, one line each.
    pub warnings: Vec<String>,
}

impl Table {
    /// Reads a table; no image is opened.
    ///
    /// # Errors
    /// An option is out of range; or the table is missing, no UTF-8 text or has no rows; a column is not there,
    /// there twice, or could be one of several; a row has too few or too many cells; a cell is empty, stands
    /// for a missing value (such as `NaN`, where a class or group should be), is no number,
    /// not finite, a negative weight, or names a class or part that is not known; an image is missing, cannot
    /// be looked at, or is there twice, be it by two names; there is a single class. All that is wrong is reported together, the
    /// first [`LISTED`](crate::collected::LISTED) problems in full.
    pub fn open(path: &Path, options: &TableOptions) -> Result<Self, DataError> {
        check(path, options)?;
        let mut report = Report::new(path.to_owned());
        match rows::read(path, options, &mut report) {
            Some(table) if report.problems.is_empty() => Ok(table),
            _ => Err(report.into_error()),
        }
    }

    /// Whether a table has a column of exactly this name; only its header is read. For what may be a column or
    /// something else, such as a pattern. A plain list has no names.
    ///
    /// # Errors
    /// An option is out of range; or the table is missing, no UTF-8 text, or empty.
    pub fn has_column(path: &Path, options: &TableOptions, name: &str) -> Result<bool, DataError> {
        check(path, options)?;
        let mut report = Report::new(path.to_owned());
        match source::Source::open(path, options, &mut report) {
            Some(source) if report.problems.is_empty() => {
                Ok(!source.is_list() && source.header.iter().any(|column| column == name))
            }
            _ => Err(report.into_error()),
        }
    }

    /// Where a table has several labels for each image, as far as its header tells.
    ///
    /// With a `separator`, or in a plain list, in one cell: of the one of `columns`, or of one with a well-known name;
    /// without it `|` separates, or white space in a list. Else in columns of 0 and 1: `columns`, if there are several; or
    /// those called as `labels`, if they all are there; or, if no column has a well-known name for a cell of labels, all
    /// that are not used for anything else. A cell may be empty.
    ///
    /// # Errors
    /// An option is out of range; several columns with a separator; or the table is missing, no UTF-8 text, or empty.
    pub fn multi_label_target(
        path: &Path,
        options: &TableOptions,
        columns: &[String],
        separator: Option<char>,
        labels: Option<&[String]>,
    ) -> Result<TargetSpec, DataError> {
        check(path, options)?;
        if let ([_, _, ..], Some(separator)) = (columns, separator) {
            let (got, expected) = (format!("`{separator}`"), "none, as there are several columns".to_owned());
            return Err(DataError::Option { option: "separator", got, expected });
        }
        let mut report = Report::new(path.to_owned());
        // What can be in a line of a list depends on what is looked for.
        let several = TargetSpec::Labels { column: None, separator: ' ', allow_empty: true };
        let options = TableOptions { target: several, ..options.clone() };
        let source = source::Source::open(path, &options, &mut report);
        let Some(source) = source.filter(|_| report.problems.is_empty()) else {
            return Err(report.into_error());
        };
        let in_cell =
            |separator| TargetSpec::Labels { column: columns.first().cloned(), separator, allow_empty: true };
        let has = |name: &String| source.header.contains(name);
        Ok(match (separator, columns) {
            (Some(separator), _) => in_cell(separator),
            (None, _) if source.is_list() => in_cell(' '),
            (None, [_, _, ..]) => TargetSpec::Flags { columns: Some(columns.to_vec()) },
            (None, [_]) => in_cell('|'),
            (None, []) => match labels {
                Some(labels) if labels.iter().all(has) => {
                    TargetSpec::Flags { columns: Some(labels.to_vec()) }
                }
                _ if columns::has_cell_of_labels(&source.header) => in_cell('|'),
                _ => TargetSpec::Flags { columns: labels.map(<[String]>::to_vec) },
            },
        })
    }

    /// How many rows have each class or label; empty for other tasks.
    pub fn counts(&self) -> Vec<u64> {
        if !matches!(self.task, Task::Class | Task::MultiLabel) {
            return Vec::new();
        }
        let mut counts = vec![0; self.names.len()];
        for record in &self.records {
            match &record.target {
                Target::Class(class) => counts[*class as usize] += 1,
                Target::Labels(labels) => labels.iter().for_each(|&label| counts[label as usize] += 1),
                _ => {}
            }
        }
        counts
    }
}

fn check(path: &Path, options: &TableOptions) -> Result<(), DataError> {
    options.check()?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataError::NoTable { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

impl Record {
    /// The record as one of a dataset whose classes, labels or numbers have `names` names.
    pub fn into_sample(self, names: usize) -> Sample {
        let Self { path, rel, id, target, .. } = self;
        let (label, target) = match target {
            Target::Class(class) => (class, None),
            Target::None => (0, None),
            rows => (0, Some(rows.to_row(names).into())),
        };
        Sample { path, label, target, id, rel }
    }

    fn new(path: PathBuf, rel: String, line: u64) -> Self {
        let Sample { path, id, rel, .. } = Sample::new(path, 0, rel);
        Self { path, rel, id, target: Target::None, weight: 1.0, group: None, split: None, line }
    }
}
