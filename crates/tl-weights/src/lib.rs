//! Where weights come from, and how they are read.
//!
#![doc = include_str!("../README.md")]
//!
//! [`Cache`] brings a [`Source`] (a Python package, the Hugging Face hub, an address, a file) onto this machine;
//! [`WeightFile`] reads it, be it safetensors or either form of PyTorch's `.pth`; [`match_names`] says how its names
//! fit a net. The decision behind all of it: a file from elsewhere is hostile until proven otherwise, so a pickle is
//! interpreted here, by a machine that knows tensors and nothing else, and no length in a file is believed before it
//! is checked.
//!
//! The way back: [`write_safetensors`] for what is in memory, [`TensorWriter`] for what is not.
//!
//! Nothing here knows libtorch: tensors are bytes, an element type and a shape.

mod cache;
mod detect;
mod dtype;
mod error;
mod file;
mod hub;
#[cfg(test)]
mod loopback;
mod matching;
mod pickle;
mod pth;
mod safetensors;
mod shards;
mod source;
mod whole;
mod writer;

pub use cache::Cache;
pub use dtype::DType;
pub use error::WeightsError;
pub use file::{Format, TensorInfo, WeightFile};
pub use matching::{Collision, Expected, Matched, Misshapen, Missing, Rename, match_names};
pub use safetensors::write_safetensors;
pub use shards::fetch_shards;
pub use source::{Located, Source};
pub use tl_fetch::{Observer, Progress, quiet};
pub use whole::Written;
pub use writer::TensorWriter;
