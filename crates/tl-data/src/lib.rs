//! Image folders to seeded, augmented batches.
//!
#![doc = include_str!("../README.md")]
//!
//! The one decision: every random number is a pure function of (seed, epoch, sample, operation), never of the
//! thread that happens to draw it. So a batch is the same, bit for bit, for one thread and for sixteen, and
//! after a resume.

pub mod augment;
pub mod balance;
pub mod check;
pub mod collected;
pub mod decode;
pub mod doctor;
mod draw;
mod error;
pub mod folder;
pub mod idg;
pub mod inspect;
mod options;
pub mod pipeline;
mod pool;
pub mod preprocess;
mod resample;
mod scratch;
pub mod sheet;
mod shown;
mod small_file;
pub mod split;
pub mod table;
pub mod targets;
mod wide;

pub use augment::{
    AffineParams, Augment, AugmentPreset, ColorJitter, Crop, Erase, EraseFill, ErasingFill, GaussianBlur,
    Key, Length, Mix, Mixing, Op, Params, Policy, Posterize, RandomAffine, RandomErasing, RandomResizedCrop,
    Sharpness, Solarize, UnknownPreset, shuffle,
};
pub use balance::{
    ClassWeighting, balanced_order, class_counts, class_labels, class_weights, mean_one, weighted_order,
};
pub use check::{BadImage, SizeStats, probe, verify};
pub use decode::decode_rgb;
pub use doctor::{DoctorOptions, Quarantine, examine};
pub use error::{DataError, DecodeError, DecodeReason, FolderProblem, FolderProblems};
pub use folder::{Dataset, Ignored, LabelledFolder, Sample, fingerprint, list_images};
pub use inspect::{Contents, Inspection, inspect};
pub use options::{OptionProblem, OptionProblems};
pub use pipeline::{Augmentation, Batch, DecodedCache, Loader, LoaderOptions, Pixels, View};
pub use pool::DataPool;
pub use preprocess::{Interpolation, Normaliser, Preprocess};
pub use sheet::{Cell, Sheet, SheetOptions};
pub use shown::shown;
pub use split::{
    GroupPattern, LeftOut, Part, Split, SplitFile, SplitMode, SplitOptions, SplitSource, Stratified,
};
pub use table::{ColumnChoice, Record, Table, TableFormat, TableOptions, Target, TargetSpec, Task};
pub use targets::{TargetStats, label_counts, pos_weights, target_stats};

/// An 8-bit RGB image, as `decode_rgb` returns it.
pub use image::RgbImage;
