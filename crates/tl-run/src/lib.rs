//! The run directory: everything that is known about one fine-tuning run, in files a person and a program can read.
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: only this crate writes a run's files, and every file is written whole or not at all
//! (temporary file beside it, fsync, rename), so that a reader never sees half a file and a crash never leaves one.
//! What the files mean is plain data here; nothing in this crate knows a net.

pub mod analysis;
mod atomic;
mod error;
mod events;
mod plot;
mod records;
mod report;
mod run_dir;
mod shelf;

pub use atomic::write_whole;
pub use error::RunError;
pub use plot::{PlotFile, rate_plot};
pub use records::{
    Baseline, Best, DataFacts, EpochRow, Evaluation, LabelResult, Machine, Manifest, PhaseTime, Prediction,
    Skipped, Status, Summary, TargetResult, WeightsFacts, metric_title,
};
pub use report::{CompareReport, EvaluationReport, Look, RunReport, SetReport};
pub use run_dir::{RunDir, remove_run, utc_now};
pub use shelf::{Paired, Run, State, paired};
