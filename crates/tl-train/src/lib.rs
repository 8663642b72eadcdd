//! Runs a plan on a model: features at the frontier, training, evaluation, the model on disk.
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: the loop is plain code that reads as `for phase { for epoch { train; evaluate; record } }`.
//! Whoever wants to see what happens passes an [`Observer`]; nothing here prints or knows a run directory.
//! Every step's randomness is a function of (seed, epoch, step), so a run is the same run for any number of data
//! threads.

mod adapter;
mod answers;
mod compute;
mod engine;
mod error;
mod evaluate;
mod explain;
mod feed;
mod frontier;
mod loss;
pub mod metrics;
mod model;
mod optimizer;
mod saved;
mod words;

pub use adapter::{SavedAdapter, write_adapter};
pub use answers::Answers;
pub use compute::{Choice, Compute, Precision, Runner, bf16_pays, choose};
pub use engine::{
    BestEpoch, CHECKPOINT, Checkpoint, Checkpointing, Ended, EpochResult, Observer, Options, Outcome,
    PhasePrice, Progress, RateRange, Repeat, Seen, Tick, Training, Tried, check, lr_find, price, steepest,
    train,
};
pub use error::TrainError;
pub use evaluate::{
    EVAL_BATCH, Looks, Scored, batch_tensor, embed_texts, evaluate, mean_rows, predict, predict_texts,
};
pub use explain::{Heat, Place, grad_cam};
pub use feed::{Feed, Images, Inputs, SetInputs, TextInput, Texts, text_batches, text_tensor};
pub use frontier::{FeatureStore, cache_bytes};
pub use metrics::{Confusion, OneClass, Scores, default_metric, measured, wilson};
pub use model::{Model, NewHead, Reads, features, net_info, pool};
pub use optimizer::{Optimizer, StateError, Target};
pub use saved::{Pretrained, SavedModel, SavedText};
pub use words::likeliest_tags;
