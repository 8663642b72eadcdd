//! Labelled texts, from files to batches of token ids, and the baseline that a larger model has to beat.
//!
#![doc = include_str!("../README.md")]
//!
//! The one decision: all that is random is a function of (seed, epoch, text), and all sums run in a fixed order, so
//! results depend neither on the number of threads nor on the order of rows.

pub mod baseline;
mod dataset;
pub mod doctor;
pub mod entities;
mod error;
mod model;
pub mod source;
pub mod tfidf;
pub mod tokens;

pub use baseline::{BaselineOptions, BaselineReport, baseline};
pub use dataset::{TextDataset, TextSample};
pub use error::{TextError, TextFault, TextProblem, TextProblems};
pub use model::TextModel;
pub use source::{Record, Tagging, TextFormat, TextOptions, Texts};
pub use tfidf::{Tfidf, TfidfOptions};
pub use tokens::{TokenOptions, Tokenizer};
