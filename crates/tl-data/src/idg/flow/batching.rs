//! The arguments that the kinds of flows share: how samples are put together, and how files become images.
//!
//! The one decision: how much memory an image and a batch take is checked before anything is opened, as a
//! size with a digit too many would otherwise end the process.

use crate::decode::{MAX_BYTES, MAX_SIDE};
use crate::idg::ImageDataGenerator;
use crate::idg::args::{Choice, Reader, choice};
use crate::idg::error::IdgProblem;
use crate::idg::load::{ColorMode, Loading, ResizeFilter};
use crate::idg::options::Compat;

use super::SaveTo;

/// The most bytes that the images of a batch may take.
const MAX_BATCH_BYTES: u64 = 8 * MAX_BYTES;

/// Which part of the data a flow takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// What is left without the validation part.
    Training,
    /// The first `validation_split` of the data.
    Validation,
}

choice!(Subset: Training = "training", Validation = "validation");

/// What the targets of a flow are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassMode {
    /// One-hot rows; several ones where a row of a table has several labels.
    Categorical,
    /// 0 or 1.
    Binary,
    /// The number of the class.
    Sparse,
    /// The images themselves.
    Input,
    /// The numbers or texts of a table's columns, as they are. Keras's older name is `other`.
    Raw,
    /// One target for each of several columns.
    MultiOutput,
}

choice!(ClassMode: Categorical = "categorical", Binary = "binary", Sparse = "sparse", Input = "input", Raw = "raw",
    MultiOutput = "multi_output");

impl ClassMode {
    /// Whether the targets are made of classes.
    pub(super) fn has_classes(mode: Option<Self>) -> bool {
        matches!(mode, Some(Self::Categorical | Self::Binary | Self::Sparse))
    }
}

/// How samples are put together, in every kind of flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Batching {
    /// Images in a batch; the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// Whether every epoch has an order of its own.
    pub shuffle: bool,
    /// The seed of the order and of the random changes.
    pub seed: u64,
    /// Which part of the data to take; all of it with `None`.
    pub subset: Option<Subset>,
    /// Where to save the images of each batch.
    pub save_to: Option<SaveTo>,
}

impl Default for Batching {
    fn default() -> Self {
        Self { batch_size: 32, shuffle: true, seed: 0, subset: None, save_to: None }
    }
}

impl Batching {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            batch_size: r.whole("batch_size", 32) as usize,
            shuffle: r.flag("shuffle", true),
            seed: r.whole("seed", 0),
            subset: r.optional_choice("subset", None),
            save_to: SaveTo::read(r),
        }
    }

    pub(super) fn problems(&self, generator: &ImageDataGenerator) -> Vec<IdgProblem> {
        let mut found = Vec::new();
        if self.batch_size == 0 {
            let expected = "at least 1".to_owned();
            found.push(IdgProblem::Value { name: "batch_size", got: "0".to_owned(), expected });
        }
        let o = generator.options();
        if self.subset.is_some() && o.validation_split == 0.0 && o.compat == Compat::Documented {
            found.push(IdgProblem::NoSplit);
        }
        found.extend(self.save_to.as_ref().and_then(SaveTo::problem));
        found
    }

    /// The places of the subset among `n` in a row.
    pub(super) fn part(&self, n: usize, split: f64) -> std::ops::Range<usize> {
        // Keras cuts off: 0.29 of 100 files are 28.
        let first = (split * n as f64) as usize;
        match self.subset {
            None => 0..n,
            Some(Subset::Validation) => 0..first.min(n),
            Some(Subset::Training) => first.min(n)..n,
        }
    }

    /// What the subset is called.
    pub(super) fn part_name(&self) -> &'static str {
        self.subset.map_or("whole", Choice::name)
    }

    /// The problem of a subset without samples.
    pub(super) fn empty_part(&self, of: usize, split: f64) -> IdgProblem {
        IdgProblem::EmptyPart { subset: self.part_name(), of, split }
    }
}

/// How files become images, in the flows of files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileOptions {
    /// Height and width of the images, in pixels.
    pub target_size: (u32, u32),
    /// Their channels.
    pub color_mode: ColorMode,
    /// How they are resized. Keras's default is the nearest pixel.
    pub interpolation: ResizeFilter,
    /// Cut the middle out in the target's shape, rather than change the shape.
    pub keep_aspect_ratio: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            target_size: (256, 256),
            color_mode: ColorMode::Rgb,
            interpolation: ResizeFilter::Nearest,
            keep_aspect_ratio: false,
        }
    }
}

impl FileOptions {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            target_size: r.size("target_size", (256, 256)),
            color_mode: r.choice("color_mode", ColorMode::Rgb),
            interpolation: r.choice("interpolation", ResizeFilter::Nearest),
            keep_aspect_ratio: r.flag("keep_aspect_ratio", false),
        }
    }

    pub(super) fn problems(&self, generator: &ImageDataGenerator) -> Vec<IdgProblem> {
        let mut found = Vec::new();
        let (height, width) = self.target_size;
        let sides = 1..=MAX_SIDE;
        let shown = format!("[{height}, {width}]");
        let mut refuse = |got, expected| found.push(IdgProblem::Value { name: "target_size", got, expected });
        if !sides.contains(&height) || !sides.contains(&width) {
            refuse(shown, format!("1 to {MAX_SIDE} pixels"));
        } else if self.bytes() > MAX_BYTES {
            let got = format!("{shown}, {} MiB for an image", self.bytes() >> 20);
            refuse(got, format!("at most {} MiB", MAX_BYTES >> 20));
        }
        if self.color_mode != ColorMode::Rgb && generator.needs_rgb() {
            let (got, expected) = ("not `rgb`".to_owned(), "`rgb`, for `preprocessing_function`".to_owned());
            found.push(IdgProblem::Value { name: "color_mode", got, expected });
        }
        found
    }

    /// What an image takes, in bytes.
    fn bytes(&self) -> u64 {
        let (height, width) = self.target_size;
        u64::from(height) * u64::from(width) * self.color_mode.channels() as u64 * 4
    }

    /// The problem of batches that are too large, of so many samples.
    pub(super) fn too_many(&self, batching: &Batching, samples: usize) -> Option<IdgProblem> {
        let images = batching.batch_size.min(samples) as u64;
        // An image that is too large has been refused already.
        let bytes = images.saturating_mul(self.bytes());
        (self.bytes() <= MAX_BYTES && bytes > MAX_BATCH_BYTES).then(|| IdgProblem::Value {
            name: "batch_size",
            got: format!("{}, {} GiB for {images} images", batching.batch_size, bytes >> 30),
            expected: format!("at most {} GiB in a batch", MAX_BATCH_BYTES >> 30),
        })
    }

    pub(super) fn loading(&self, compat: Compat) -> Loading {
        let Self { target_size, color_mode, interpolation: filter, keep_aspect_ratio } = *self;
        Loading { target_size, color_mode, filter, keep_aspect_ratio, compat }
    }
}
