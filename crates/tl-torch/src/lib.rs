//! The seam to libtorch: parameters by name, memory layout, and what `tch` does not expose.
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: nets here do not use `tch::nn`. Its `VarStore` renames duplicates, ignores unused keys and
//! takes the file's dtype, and its layers carry one `train` flag for the whole net. [`ParamStore`] is the small
//! replacement: an ordered list of named tensors, each with the role it plays, so that weights load strictly, stages
//! freeze separately, and norms and biases can be kept out of weight decay.
//! This is the only crate that may hold `unsafe` code or C++.

mod adam;
mod allocator;
mod cuda;
mod error;
mod frozen;
mod layout;
mod leave;
mod packed;
mod params;
mod random;
mod recording;
mod seam;
mod side_by_side;
mod traced;

pub use adam::{Adam, adam};
pub use allocator::keep_pages;
pub use cuda::{Gpu, gpus, load_cuda, upload};
pub use error::{TorchError, short};
pub use frozen::{Autocast, Frozen, How};
pub use layout::{channels_last, image_batch};
pub use leave::leave_at_once;
pub use packed::{Activation, PackedLinear};
pub use params::{Fill, Init, Param, ParamStore, Role, Scope};
pub use random::{Draw, drop_rows, drop_values, dropout, uniform};
pub use side_by_side::{add_gradients, alone, side_by_side, threads_side_by_side};
pub use traced::{Constant, Graph, GraphNode, Traced};

/// The version of libtorch that this is built for; `tch` refuses any other at build time.
pub const LIBTORCH: &str = "2.11.0";
