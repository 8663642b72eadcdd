//! Logistic regression, nearest neighbours and linear probes on sparse or dense rows.
//!
#![doc = include_str!("../README.md")]
//!
//! The one decision: every sum runs over rows or columns in a fixed order, so a fit has the same bits for any
//! number of threads.

mod error;
mod fit;
mod folds;
mod knn;
mod lbfgs;
mod logistic;
mod matrix;
mod probe;
mod scaler;

pub use error::LinearError;
pub use folds::stratified_folds;
pub use knn::{Distance, Knn, KnnOptions, Vote};
pub use logistic::{ClassWeights, LogisticOptions, LogisticRegression};
pub use matrix::{Csr, Dense, Matrix};
pub use probe::{Probe, ProbeOptions, ProbePoint, probe};
pub use scaler::Scaler;
