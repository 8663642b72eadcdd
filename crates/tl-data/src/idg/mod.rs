//! Keras's `ImageDataGenerator`, in full and without Python.
//!
//! ```text
//! arguments  ->  ImageDataGenerator  ->  sample(key)  ->  apply  ->  standardize
//! (JSON)         [fit]                   parameters       changed     normalised
//!                   '->  flow, flow_from_directory, flow_from_dataframe  ->  batches
//! ```
//!
//! The one decision: [`Compat`]. Many people's pipelines are written against this class; its documentation
//! says one thing, and the code of Keras 3 in places does another (shifts along the other axis, a centre
//! beside the centre, black images). The default is what the documentation says; `keras3` is what the code
//! does, checked against it; and [`ImageDataGenerator::explain`] and [`Flow::explain`] say where that matters.
//!
//! What is not Keras's in either: numbers and weights that are not finite, folders that are reached twice and
//! directions in which the data do not vary are not passed over in silence; random numbers are a function of a key rather than of a global state, and a
//! shuffle is one of (seed, epoch); warnings are returned; saved images get names that are known beforehand
//! and never overwrite. Source of all facts: Keras 3.15, `keras/src/legacy/preprocessing/image.py`.
//!
//! ```
//! use tl_data::Key;
//! use tl_data::idg::{IdgOptions, ImageDataGenerator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options: IdgOptions = serde_json::from_str(
//!     r#"{"rotation_range": 20, "width_shift_range": 0.2, "zoom_range": 0.1, "horizontal_flip": true,
//!         "rescale": 0.00392156862745098}"#,
//! )?;
//! let generator = ImageDataGenerator::new(options)?;
//! let image = ndarray::Array3::from_elem((32, 48, 3), 128.0_f32);
//! let changed = generator.random_transform(&image.view(), Key { seed: 0, epoch: 0, sample_id: 7 });
//! let ready = generator.standardize(&changed.view())?;
//! assert_eq!(ready.dim(), (32, 48, 3));
//! # Ok(())
//! # }
//! ```

mod affine;
mod args;
mod color;
mod error;
mod explain;
mod flow;
mod layout;
mod load;
mod options;
mod params;
mod pillow;
mod spline;
mod standardize;

use std::fmt;
use std::sync::Arc;

use ndarray::Array3;

pub use args::{Arg, Args, args_from_json};
pub use error::{DecodeErrors, IdgError, IdgProblem, IdgProblems};
pub use flow::{
    ArrayData, ArrayOptions, Batching, ClassMode, Column, DirectoryOptions, Epoch, FileOptions, Flow,
    FlowBatch, Frame, FrameOptions, Labels, SaveTo, Subset, TargetColumns, Targets, Values,
};
pub use load::{ColorMode, ResizeFilter};
pub use options::{Compat, DataFormat, Dtype, FillMode, IdgOptions, Preprocessing, ShiftRange};
pub use params::TransformParams;
pub use standardize::{FitOptions, MOST_WHITENED, Statistics};

/// How names of image files end that Keras takes; neither GIF nor WebP.
pub const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff"];

/// Random changes and normalisation of images, and batches of them.
///
/// Two are equal if they do the same: the options and the statistics count, and a function of
/// [`ImageDataGenerator::with_preprocessing`] equals itself alone.
#[derive(Debug, Clone)]
pub struct ImageDataGenerator {
    options: IdgOptions,
    warnings: Vec<String>,
    statistics: Statistics,
    function: Option<Function>,
}

/// A function that changes an image `[H, W, C]` in place.
pub type PreprocessingFunction = dyn Fn(&mut Array3<f32>) + Send + Sync;

/// A `preprocessing_function` of the caller's.
#[derive(Clone)]
struct Function(Arc<PreprocessingFunction>);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for ImageDataGenerator {
    fn eq(&self, other: &Self) -> bool {
        let Self { options, statistics, function, warnings: _ } = self;
        (options, statistics, function) == (&other.options, &other.statistics, &other.function)
    }
}

impl ImageDataGenerator {
    /// Checks the arguments and sets those that others imply.
    ///
    /// # Errors
    /// The arguments out of range, together.
    pub fn new(options: IdgOptions) -> Result<Self, IdgError> {
        options.check()?;
        let (warnings, statistics) = (Vec::new(), Statistics::default());
        let mut generator = Self { options, warnings, statistics, function: None };
        generator.imply();
        Ok(generator)
    }

    /// With a function of one's own for `preprocessing_function`, in the place of any named one. It gets each
    /// image as `[H, W, C]`, whatever `data_format` says, and must leave it in its shape. It is not among the
    /// [`ImageDataGenerator::options`] and is not saved with them.
    #[must_use]
    pub fn with_preprocessing(mut self, function: Arc<PreprocessingFunction>) -> Self {
        self.options.preprocessing_function = None;
        self.function = Some(Function(function));
        self
    }

    /// Keras's rules for options that go together.
    fn imply(&mut self) {
        let Self { options: o, warnings, .. } = self;
        let mut set = |option: &mut bool, value: bool, name: &str, because: &str| {
            if *option != value {
                *option = value;
                let (verb, state) = if value { ("needs", "on") } else { ("takes the place of", "off") };
                warnings.push(format!("`{because}` {verb} `{name}`, which is now {state}"));
            }
        };
        let std = o.featurewise_std_normalization;
        if o.zca_whitening {
            set(&mut o.featurewise_center, true, "featurewise_center", "zca_whitening");
            set(
                &mut o.featurewise_std_normalization,
                false,
                "featurewise_std_normalization",
                "zca_whitening",
            );
        } else if std {
            set(&mut o.featurewise_center, true, "featurewise_center", "featurewise_std_normalization");
        }
        if o.samplewise_std_normalization {
            set(&mut o.samplewise_center, true, "samplewise_center", "samplewise_std_normalization");
        }
        if o.dtype != Dtype::Float32 {
            warnings.push("`dtype` is not `float32`; all numbers here are".to_owned());
        }
    }

    /// The arguments, with what they imply.
    pub fn options(&self) -> &IdgOptions {
        &self.options
    }

    /// What a person should know, one line each: options that were set because of others, and those that do
    /// nothing or fail until `fit` is called.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = self.warnings.clone();
        let (o, s) = (&self.options, &self.statistics);
        let needs = [
            (o.featurewise_center, s.mean.is_some(), "featurewise_center"),
            (o.featurewise_std_normalization, s.std.is_some(), "featurewise_std_normalization"),
            (o.zca_whitening, s.zca.is_some(), "zca_whitening"),
        ];
        for (_, _, name) in needs.iter().filter(|(on, there, _)| *on && !there) {
            lines.push(format!("`{name}` needs statistics of the data; call `fit` first"));
        }
        lines
    }

    /// Where the documentation of Keras and the code of Keras 3 are known to differ for the options in use, one
    /// line each, and which of the two is done; empty if no difference is known. What depends on files, labels
    /// and weights is in [`Flow::explain`].
    pub fn explain(&self) -> Vec<String> {
        explain::explain(self, &[])
    }

    /// Whether a `preprocessing_function` is in use, named or not.
    fn preprocesses(&self) -> bool {
        self.options.preprocessing_function.is_some() || self.function.is_some()
    }

    /// The same generator without random changes, for validation images: Keras changes them as well.
    #[must_use]
    pub fn without_augmentation(&self) -> Self {
        let off = IdgOptions::default();
        let options = IdgOptions {
            rotation_range: off.rotation_range,
            width_shift_range: off.width_shift_range,
            height_shift_range: off.height_shift_range,
            brightness_range: off.brightness_range,
            shear_range: off.shear_range,
            zoom_range: off.zoom_range,
            channel_shift_range: off.channel_shift_range,
            horizontal_flip: off.horizontal_flip,
            vertical_flip: off.vertical_flip,
            ..self.options.clone()
        };
        Self { options, ..self.clone() }
    }

    /// Whether images are changed at random at all.
    pub fn augments(&self) -> bool {
        explain::changes_images(&self.options)
    }
}
