//! A small table in memory: the place of a pandas data frame.
//!
//! The one decision: a column has one kind of content and no holes, so that what a flow needs can be checked
//! before anything is read; reading tables from files is for others.

use ndarray::{Array1, Array2, Axis};

use super::Values;
use crate::idg::args::fail_if_any;
use crate::idg::error::{IdgError, IdgProblem};

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
