//! Image folders to seeded, augmented batches.
//!
//! ```text
//! folder  ->  decode  ->  preprocess (validation) or augment (training)  ->  pipeline
//! files       RGB u8      RGB u8, input x input                             [N, 3, H, W] f32
//! ```
//!
//! The one decision: every random number is a pure function of (seed, epoch, sample, operation), never of the
//! thread that happens to draw it. So a batch is the same, bit for bit, for one thread and for sixteen, and
//! after a resume.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tl_data::{DataPool, ImageFolder, Loader, LoaderOptions, OpenOptions, Preprocess, View};
//!
//! # fn main() -> Result<(), tl_data::DataError> {
//! let folder = ImageFolder::open("photos".as_ref(), &OpenOptions::default())?;
//! let pool = DataPool::new(4)?;
//! let samples: Arc<[_]> = folder.val.into();
//! let options = LoaderOptions::in_order(samples.len(), 32);
//! for batch in Loader::new(samples, View::Eval(Preprocess::imagenet(224)), options, &pool)? {
//!     let batch = batch?; // images [N, 3, 224, 224], labels, indices
//! }
//! # Ok(())
//! # }
//! ```

pub mod augment;
pub mod check;
pub mod decode;
mod draw;
mod error;
pub mod folder;
pub mod pipeline;
mod pool;
pub mod preprocess;
mod resample;

pub use augment::{Augment, Crop, Key, Params, RandomResizedCrop, shuffle};
pub use check::{BadImage, SizeStats, probe, verify};
pub use decode::decode_rgb;
pub use error::{DataError, DecodeError, DecodeReason, FolderProblem, FolderProblems};
pub use folder::{
    Ignored, ImageFolder, LabelledFolder, OpenOptions, Sample, SplitOrigin, fingerprint, list_images,
};
pub use pipeline::{Batch, Loader, LoaderOptions, View};
pub use pool::DataPool;
pub use preprocess::{Interpolation, Normaliser, Preprocess};

/// An 8-bit RGB image, as `decode_rgb` returns it.
pub use image::RgbImage;
