//! What is done to every image, changed at random or not, and the statistics that some of it needs.
//!
//! The one decision: ZCA needs the singular values and vectors of the data, and these are the eigenvalues and
//! vectors of a matrix of pixels by pixels that can be added up a few images at a time, in 64 bits, or of the
//! matrix of images by images where that is smaller. Its eigenvectors come from `nalgebra` without its default features: pure Rust,
//! maintained, Apache-2.0, and most of what it depends on is here already through `ndarray`. `faer` is several
//! times as fast, but brings some forty crates for what is one call in an option that few use.

use std::ops::Range;

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayView4, Axis};
use serde::{Deserialize, Serialize};

use super::args::fail_if_any;
use super::error::{IdgError, IdgProblem};
use super::layout::{dimensions, from_hwc, hwc};
use super::options::{Compat, Preprocessing};
use super::{Function, ImageDataGenerator};
use crate::Key;

/// The most values in an image that can be whitened. The matrix has the square of it, here 256 MiB; to find it
/// takes twice the square in 64 bits, here 1 GiB, or less with fewer images than values.
pub const MOST_WHITENED: usize = 1 << 13;

/// Added to a deviation before dividing by it, as Keras does.
const EPSILON: f32 = 1e-6;

/// Singular values below this part of the largest are noise: their directions are left out of ZCA. Keras
/// divides by them, which blows the noise up.
const RANK: f64 = 1e-6;

/// How many images are added up at a time.
const CHUNK: usize = 64;

/// What [`ImageDataGenerator::fit`] found out about the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Statistics {
    /// The mean of each channel.
    pub mean: Option<Vec<f32>>,
    /// The standard deviation of each channel.
    pub std: Option<Vec<f32>>,
    /// The ZCA matrix, row by row: as many rows and columns as an image `[H, W, C]` has values, in its order.
    pub zca: Option<Vec<f32>>,
}

impl Statistics {
    fn problems(&self) -> Vec<IdgProblem> {
        let mut found = Vec::new();
        let mut refuse = |name, got, expected: &str| {
            found.push(IdgProblem::Value { name, got, expected: expected.to_owned() });
        };
        let all = [("mean", &self.mean), ("std", &self.std), ("zca", &self.zca)];
        for (name, values) in all {
            let Some(values) = values else { continue };
            if values.is_empty() {
                refuse(name, "empty".to_owned(), "a number for each channel, or for each pair of values");
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                refuse(name, format!("{value:?} in places"), "finite numbers");
            } else if name == "std" && values.iter().any(|&value| value < 0.0) {
                refuse(name, "below 0 in places".to_owned(), "numbers from 0");
            }
        }
        if let (Some(mean), Some(std)) = (&self.mean, &self.std)
            && mean.len() != std.len()
        {
            refuse("std", format!("of {} channels", std.len()), &format!("{}, as `mean`", mean.len()));
        }
        if let Some(zca) = &self.zca {
            let side = zca.len().isqrt();
            if side * side != zca.len() || side > MOST_WHITENED {
                let expected = format!("the square of at most {MOST_WHITENED}");
                refuse("zca", format!("of {} values", zca.len()), &expected);
            }
        }
        found
    }
}

/// How to fit; `fit`'s further arguments in Keras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Whether to change the images at random first.
    pub augment: bool,
    /// With `augment`, how often each image is taken.
    pub rounds: u32,
    /// The seed of the random changes.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { augment: false, rounds: 1, seed: 0 }
    }
}

impl Preprocessing {
    fn apply(self, image: &mut Array3<f32>) -> Result<(), IdgError> {
        if self != Self::Tf && image.dim().2 != 3 {
            let (what, expected) = ("image", "3 channels for `preprocessing_function`".to_owned());
            return Err(IdgError::Shape { what, got: image.shape().to_vec(), expected });
        }
        match self {
            Self::Tf => image.mapv_inplace(|value| value / 127.5 - 1.0),
            Self::Torch => {
                let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
                for mut pixel in image.rows_mut() {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        *value = (*value / 255.0 - mean[channel]) / std[channel];
                    }
                }
            }
            Self::Caffe => {
                for mut pixel in image.rows_mut() {
                    let [r, g, b] = [pixel[0], pixel[1], pixel[2]];
                    pixel[0] = b - 103.939;
                    pixel[1] = g - 116.779;
                    pixel[2] = r - 123.68;
                }
            }
        }
        Ok(())
    }
}

impl ImageDataGenerator {
    /// Normalises one image, as Keras's `standardize`: `preprocessing_function`, `rescale`, the samplewise
    /// steps, the featurewise steps, ZCA.
    ///
    /// `image` is `[H, W, C]`, or `[C, H, W]` with `channels_first`, and so is the result.
    ///
    /// # Errors
    /// A featurewise option without `fit` (Keras 3, and so [`Compat::Keras3`], leaves the step out), or an
    /// image whose shape does not go with the statistics or with `preprocessing_function`.
    pub fn standardize(&self, image: &ArrayView3<f32>) -> Result<Array3<f32>, IdgError> {
        let format = self.options.data_format;
        Ok(from_hwc(self.standardize_hwc(hwc(image, format).into_owned())?, format))
    }

    /// [`ImageDataGenerator::standardize`] for `[H, W, C]`.
    pub(super) fn standardize_hwc(&self, mut image: Array3<f32>) -> Result<Array3<f32>, IdgError> {
        let o = &self.options;
        self.preprocess(&mut image)?;
        if o.samplewise_center || o.samplewise_std_normalization {
            samplewise(&mut image, o.samplewise_center, o.samplewise_std_normalization);
        }
        let stats = &self.statistics;
        if let Some(mean) = self.needed(o.featurewise_center, "featurewise_center", &stats.mean)? {
            by_channel(&mut image, mean, |value, mean| value - mean)?;
        }
        let std = (o.featurewise_std_normalization, "featurewise_std_normalization");
        if let Some(std) = self.needed(std.0, std.1, &stats.std)? {
            by_channel(&mut image, std, |value, std| value / (std + EPSILON))?;
        }
        if let Some(matrix) = self.needed(o.zca_whitening, "zca_whitening", &stats.zca)? {
            image = whiten(image, matrix)?;
        }
        Ok(image)
    }

    /// `preprocessing_function` and `rescale`.
    fn preprocess(&self, image: &mut Array3<f32>) -> Result<(), IdgError> {
        if let Some(mode) = self.options.preprocessing_function {
            mode.apply(image)?;
        }
        if let Some(Function(change)) = &self.function {
            let shape = image.dim();
            change(image);
            if image.dim() != shape {
                let expected = format!("{shape:?}, as before `preprocessing_function`");
                return Err(IdgError::Shape { what: "image", got: image.shape().to_vec(), expected });
            }
        }
        self.rescale(image);
        Ok(())
    }

    fn rescale(&self, image: &mut Array3<f32>) {
        if let Some(factor) = self.options.rescale.filter(|&factor| factor != 0.0) {
            image.mapv_inplace(|value| value * factor as f32);
        }
    }

    /// Whether only images of three channels can be normalised.
    pub(super) fn needs_rgb(&self) -> bool {
        matches!(self.options.preprocessing_function, Some(Preprocessing::Caffe | Preprocessing::Torch))
    }

    /// The statistics of an option that is on.
    fn needed<'a>(
        &self,
        on: bool,
        option: &'static str,
        statistics: &'a Option<Vec<f32>>,
    ) -> Result<Option<&'a [f32]>, IdgError> {
        match statistics {
            _ if !on => Ok(None),
            Some(values) => Ok(Some(values)),
            None if self.options.compat == Compat::Keras3 => Ok(None),
            None => Err(IdgError::NotFitted { option }),
        }
    }

    /// What was found by [`ImageDataGenerator::fit`] so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Takes over statistics found before, as those of a saved run.
    ///
    /// # Errors
    /// Numbers that are not finite, deviations below 0, a mean and a deviation of different channels, and a
    /// ZCA matrix that is not square or larger than [`MOST_WHITENED`]; all together.
    pub fn set_statistics(&mut self, statistics: Statistics) -> Result<(), IdgError> {
        fail_if_any("set_statistics", statistics.problems())?;
        self.statistics = statistics;
        Ok(())
    }

    /// Finds the statistics that the featurewise options need, from sample images.
    ///
    /// `x` is `[N, H, W, C]`, or `[N, C, H, W]` with `channels_first`. The statistics are those of the images
    /// as they reach the featurewise steps, after everything that comes before; [`Compat::Keras3`] applies
    /// `rescale` alone, and before the random changes.
    ///
    /// # Errors
    /// No images, values that are not finite, images that `preprocessing_function` does not take, or more than
    /// [`MOST_WHITENED`] values in an image that is to be whitened.
    pub fn fit(&mut self, x: &ArrayView4<f32>, fit: &FitOptions) -> Result<(), IdgError> {
        let (n, a, b, c) = x.dim();
        let (height, width, channels) = dimensions([a, b, c], self.options.data_format);
        let size = height * width * channels;
        let shape = |expected: String| IdgError::Shape { what: "x", got: x.shape().to_vec(), expected };
        if n == 0 || size == 0 {
            return Err(shape("at least one image with at least one pixel".to_owned()));
        }
        if self.options.zca_whitening && size > MOST_WHITENED {
            return Err(shape(format!("at most {MOST_WHITENED} values in an image for `zca_whitening`")));
        }
        if let Some(image) = x.outer_iter().position(|image| image.iter().any(|value| !value.is_finite())) {
            return Err(IdgError::NotFinite { what: "x", image });
        }
        let centre = self.options.featurewise_center;
        let deviation = self.options.featurewise_std_normalization;
        let mut found = Statistics::default();
        if centre || deviation {
            let (mean, std) = self.moments(x, fit, channels)?;
            found.mean = centre.then_some(mean);
            found.std = deviation.then_some(std);
        }
        if self.options.zca_whitening {
            found.zca = Some(self.zca(x, fit, found.mean.as_deref(), size)?);
        }
        self.statistics = found;
        Ok(())
    }

    /// The image that counts as number `i` of those to fit.
    fn fitted(&self, x: &ArrayView4<f32>, fit: &FitOptions, i: usize) -> Result<Array3<f32>, IdgError> {
        let (round, i) = (i / x.dim().0, i % x.dim().0);
        let view = x.index_axis(Axis(0), i);
        let mut image = hwc(&view, self.options.data_format).into_owned();
        let keras3 = self.options.compat == Compat::Keras3;
        if keras3 {
            self.rescale(&mut image);
        }
        if fit.augment {
            let key = Key { seed: fit.seed, epoch: round as u64, sample_id: i as u64 };
            let params = self.sample(key, image.dim().0, image.dim().1);
            image = self.apply_hwc(image.into(), &params);
        }
        if !keras3 {
            self.preprocess(&mut image)?;
            let (centre, std) = (self.options.samplewise_center, self.options.samplewise_std_normalization);
            if centre || std {
                samplewise(&mut image, centre, std);
            }
        }
        Ok(image)
    }

    fn fitted_count(x: &ArrayView4<f32>, fit: &FitOptions) -> usize {
        x.dim().0 * if fit.augment { fit.rounds.max(1) as usize } else { 1 }
    }

    /// Mean and standard deviation of each channel.
    fn moments(
        &self,
        x: &ArrayView4<f32>,
        fit: &FitOptions,
        channels: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), IdgError> {
        let mut sums = vec![(0.0_f64, 0.0_f64); channels];
        let mut pixels = 0.0;
        for i in 0..Self::fitted_count(x, fit) {
            let image = self.fitted(x, fit, i)?;
            for pixel in image.rows() {
                pixels += 1.0;
                for ((sum, squares), &value) in sums.iter_mut().zip(pixel) {
                    let value = f64::from(value);
                    *sum += value;
                    *squares += value * value;
                }
            }
        }
        let of = |(sum, squares): (f64, f64)| {
            let mean = sum / pixels;
            (mean as f32, (squares / pixels - mean * mean).max(0.0).sqrt() as f32)
        };
        Ok(sums.into_iter().map(of).unzip())
    }

    /// The ZCA matrix, from whichever is smaller: the products of all pairs of values, or those of all pairs of
    /// images.
    fn zca(
        &self,
        x: &ArrayView4<f32>,
        fit: &FitOptions,
        mean: Option<&[f32]>,
        size: usize,
    ) -> Result<Vec<f32>, IdgError> {
        let (count, epsilon) = (Self::fitted_count(x, fit), self.options.zca_epsilon);
        if count < size {
            let rows = self.centred(x, fit, mean, size, 0..count)?;
            return Ok(zca_of_rows(&rows, epsilon));
        }
        let mut gram = Array2::<f64>::zeros((size, size));
        for start in (0..count).step_by(CHUNK) {
            let rows = self.centred(x, fit, mean, size, start..count.min(start + CHUNK))?;
            general_mat_mul(1.0, &rows.t(), &rows, 1.0, &mut gram);
        }
        Ok(zca_of_gram(gram, count, epsilon))
    }

    /// Some of the images to fit as rows, less the mean.
    fn centred(
        &self,
        x: &ArrayView4<f32>,
        fit: &FitOptions,
        mean: Option<&[f32]>,
        size: usize,
        images: Range<usize>,
    ) -> Result<Array2<f64>, IdgError> {
        let mut rows = Array2::<f64>::zeros((images.len(), size));
        for (i, mut row) in images.zip(rows.rows_mut()) {
            let mut image = self.fitted(x, fit, i)?;
            if let Some(mean) = mean {
                by_channel(&mut image, mean, |value, mean| value - mean)?;
            }
            row.iter_mut().zip(&image).for_each(|(to, &from)| *to = f64::from(from));
        }
        Ok(rows)
    }
}

/// Centre and scale one image by its own mean and deviation, over all channels.
fn samplewise(image: &mut Array3<f32>, centre: bool, std: bool) {
    let n = image.len().max(1) as f64;
    if centre {
        let mean = image.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        image.mapv_inplace(|value| value - mean as f32);
    }
    if std {
        let mean = image.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        let squares = image.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        let std = (squares / n).sqrt() as f32;
        image.mapv_inplace(|value| value / (std + EPSILON));
    }
}

fn by_channel(
    image: &mut Array3<f32>,
    values: &[f32],
    change: impl Fn(f32, f32) -> f32,
) -> Result<(), IdgError> {
    if image.dim().2 != values.len() {
        let expected = format!("{} channels, as the images of `fit`", values.len());
        return Err(IdgError::Shape { what: "image", got: image.shape().to_vec(), expected });
    }
    for mut pixel in image.rows_mut() {
        for (value, &other) in pixel.iter_mut().zip(values) {
            *value = change(*value, other);
        }
    }
    Ok(())
}

/// Multiplies the values of an image, as one row, by the ZCA matrix.
fn whiten(image: Array3<f32>, matrix: &[f32]) -> Result<Array3<f32>, IdgError> {
    let (shape, size) = (image.dim(), image.len());
    let fail = || IdgError::Shape {
        what: "image",
        got: vec![shape.0, shape.1, shape.2],
        expected: format!("{} values, as the images of `fit`", matrix.len().isqrt()),
    };
    // A longer slice would do for the view.
    if size.checked_mul(size) != Some(matrix.len()) {
        return Err(fail());
    }
    let matrix = ArrayView2::from_shape((size, size), matrix).map_err(|_| fail())?;
    let flat = image.into_shape_with_order(size).map_err(|_| fail())?;
    flat.dot(&matrix).into_shape_with_order(shape).map_err(|_| fail())
}

/// The eigenvectors of a symmetric matrix as rows, and its eigenvalues' roots: singular values of the data.
/// Vectors of noise are left out by a factor of 0.
fn singular(symmetric: Array2<f64>) -> (Array2<f64>, Vec<f64>) {
    let size = symmetric.nrows();
    // Symmetric, so that rows may go in as columns; no copy is made.
    let eigen = SymmetricEigen::new(DMatrix::from_vec(size, size, symmetric.into_raw_vec_and_offset().0));
    let mut values: Vec<f64> = eigen.eigenvalues.iter().map(|value| value.max(0.0).sqrt()).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    values.iter_mut().filter(|value| **value <= largest * RANK).for_each(|value| *value = 0.0);
    let columns: Vec<f64> = eigen.eigenvectors.data.into();
    (Array2::from_shape_vec((size, size), columns).unwrap_or_else(|_| Array2::zeros((size, size))), values)
}

/// `U diag(sqrt(n) / (s + epsilon)) U^T` for the singular values `s` and left vectors `U` of the data, from
/// `U diag(s^2) U^T`.
fn zca_of_gram(gram: Array2<f64>, images: usize, epsilon: f64) -> Vec<f32> {
    let (mut vectors, values) = singular(gram);
    // Each multiplied by the root of its factor: the matrix times its own transpose.
    for (mut vector, s) in vectors.rows_mut().into_iter().zip(values) {
        let factor = if s > 0.0 { ((images as f64).sqrt() / (s + epsilon)).sqrt() } else { 0.0 };
        vector.mapv_inplace(|value| value * factor);
    }
    squared(&vectors)
}

/// The same from the data, one image in each row: their vectors are the rows' mixtures, divided by `s`.
fn zca_of_rows(rows: &Array2<f64>, epsilon: f64) -> Vec<f32> {
    let (mut vectors, values) = singular(rows.dot(&rows.t()));
    let images = rows.nrows() as f64;
    for (mut vector, s) in vectors.rows_mut().into_iter().zip(values) {
        let factor = if s > 0.0 { (images.sqrt() / (s + epsilon)).sqrt() / s } else { 0.0 };
        vector.mapv_inplace(|value| value * factor);
    }
    squared(&vectors.dot(rows))
}

/// The transpose of a matrix times the matrix.
fn squared(half: &Array2<f64>) -> Vec<f32> {
    half.t().dot(half).iter().map(|&value| value as f32).collect()
}
