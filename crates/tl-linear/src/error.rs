//! What can be wrong with numbers to fit.
//!
//! The one decision: everything is checked before the first step, so that a fit that began ends.

use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinearError {
    /// An option outside its range.
    #[error("option `{option}` is {got} (expected {expected})")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// The value given.
        got: String,
        /// The range allowed.
        expected: &'static str,
    },
    /// Two lists that should be as long as each other.
    #[error("there are {got} {what} (expected {expected})")]
    Length {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A sparse matrix whose lists contradict each other.
    #[error("row {row} of the sparse matrix is broken: {detail}")]
    Sparse {
        /// The row, from 0.
        row: usize,
        /// Why.
        detail: &'static str,
    },
    /// Values that are NaN or infinite.
    #[error("{count} {what} are not finite, the first in row {row}")]
    NotFinite {
        /// What they are.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The row of the first, from 0.
        row: usize,
    },
    /// A label that is no class.
    #[error("row {row} has the label {label} (expected less than {classes})")]
    Label {
        /// The row, from 0.
        row: usize,
        /// The label.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A weight that is negative or no number.
    #[error("row {row} has the weight {weight} (expected a finite number from 0 on)")]
    Weight {
        /// The row, from 0.
        row: usize,
        /// The weight.
        weight: String,
    },
    /// Nothing to tell apart.
    #[error("the rows are of {present} classes (expected at least 2)")]
    OneClass {
        /// How many classes have rows of a weight above 0.
        present: usize,
    },
}
