//! A small table in memory: the place of a pandas data frame.
//!
//! The one decision: a column has one kind of content and no holes, so that what a flow needs can be checked
//! before anything is read; reading tables from files is for [`Table`].

use ndarray::{Array1, Array2, Axis};

use super::Values;
use crate::idg::args::fail_if_any;
use crate::idg::error::{IdgError, IdgProblem};
use crate::table::{Table, Target, Task};

/// The content of a column, one entry for each row.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Texts, such as names of files and classes.
    Texts(Vec<String>),
    /// Numbers.
    Numbers(Vec<f64>),
    /// Any number of texts in a row, such as several classes.
    Lists(Vec<Vec<String>>),
    /// The same number of numbers in each row, `[N, K]`, such as the corners of a box.
    Vectors(Array2<f64>),
}

impl Column {
    /// A column of texts.
    pub fn texts<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::Texts(texts.into_iter().map(Into::into).collect())
    }

    /// A column of lists of texts.
    pub fn lists<S: Into<String>, L: IntoIterator<Item = S>>(lists: impl IntoIterator<Item = L>) -> Self {
        Self::Lists(lists.into_iter().map(|list| list.into_iter().map(Into::into).collect()).collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(rows) => rows.len(),
            Self::Numbers(rows) => rows.len(),
            Self::Lists(rows) => rows.len(),
            Self::Vectors(rows) => rows.nrows(),
        }
    }

    /// Whether each row holds finite numbers only; texts do.
    pub(super) fn finite(&self, rows: &[usize]) -> Vec<bool> {
        // Weights are handed on in 32 bits.
        let finite = |value: &f64| (*value as f32).is_finite();
        rows.iter()
            .map(|&row| match self {
                Self::Numbers(numbers) => finite(&numbers[row]),
                Self::Vectors(vectors) => vectors.row(row).iter().all(finite),
                Self::Texts(_) | Self::Lists(_) => true,
            })
            .collect()
    }

    /// Some of the rows as targets; lists are none.
    pub(super) fn values(&self, rows: &[usize]) -> Option<Values> {
        match self {
            Self::Texts(texts) => Some(Values::Texts(rows.iter().map(|&row| texts[row].clone()).collect())),
            Self::Numbers(numbers) => {
                let picked: Array1<f64> = rows.iter().map(|&row| numbers[row]).collect();
                Some(Values::Numbers(picked.into_dyn()))
            }
            Self::Vectors(vectors) => Some(Values::Numbers(vectors.select(Axis(0), rows).into_dyn())),
            Self::Lists(_) => None,
        }
    }
}

/// A table of named columns of the same length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Frame {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

impl Frame {
    /// A table of these columns.
    ///
    /// # Errors
    /// Columns of different lengths, or two of one name.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Column)>) -> Result<Self, IdgError> {
        let mut frame = Self::default();
        let mut problems = Vec::new();
        for (name, column) in columns {
            let (name, rows) = (name.into(), column.len());
            if frame.columns.is_empty() {
                frame.rows = rows;
            }
            if rows != frame.rows {
                let why = format!("has {rows} rows, but `{}` has {}", frame.names[0], frame.rows);
                problems.push(IdgProblem::Column { column: name.clone(), why });
            }
            if frame.names.contains(&name) {
                problems.push(IdgProblem::Column { column: name.clone(), why: "is there twice".to_owned() });
            }
            frame.names.push(name);
            frame.columns.push(column);
        }
        fail_if_any("Frame", problems).map(|()| frame)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.names.iter().position(|other| other == name).map(|at| &self.columns[at])
    }
}

/// The rows of a table: `filename` below [`Table::root`], which goes into
/// [`FrameOptions::directory`](super::FrameOptions::directory); `class` with the name of the class, or with the
/// list of labels; or a column for each number; and `weight`.
impl From<&Table> for Frame {
    fn from(table: &Table) -> Self {
        let rows = table.records.len();
        let mut frame = Self { names: Vec::new(), columns: Vec::new(), rows };
        let mut add = |name: &str, column| {
            frame.names.push(name.to_owned());
            frame.columns.push(column);
        };
        let name = |label: &u32| table.names.get(*label as usize).cloned().unwrap_or_default();
        add("filename", Column::Texts(table.records.iter().map(|record| record.rel.clone()).collect()));
        let targets = table.records.iter().map(|record| &record.target);
        match table.task {
            Task::Class => {
                let class = |target: &Target| match target {
                    Target::Class(class) => name(class),
                    _ => String::new(),
                };
                add("class", Column::Texts(targets.map(class).collect()));
            }
            Task::MultiLabel => {
                let labels = |target: &Target| match target {
                    Target::Labels(labels) => labels.iter().map(name).collect(),
                    _ => Vec::new(),
                };
                add("class", Column::Lists(targets.map(labels).collect()));
            }
            Task::Number => {
                for (at, name) in table.names.iter().enumerate() {
                    let number = |target: &Target| match target {
                        Target::Numbers(numbers) => numbers.get(at).map_or(f64::NAN, |&value| value.into()),
                        _ => f64::NAN,
                    };
                    add(name, Column::Numbers(targets.clone().map(number).collect()));
                }
            }
            Task::Nothing => {}
        }
        // A column of numbers may have any name.
        if !table.names.iter().any(|name| name == "weight") || table.task != Task::Number {
            let weights = table.records.iter().map(|record| record.weight.into()).collect();
            add("weight", Column::Numbers(weights));
        }
        frame
    }
}
