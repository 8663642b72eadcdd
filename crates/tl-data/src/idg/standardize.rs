//! What is done to every image, changed at random or not, and the statistics that some of it needs.
//!
//! The one decision: ZCA needs the singular values and vectors of the data, and these are the eigenvalues and
//! vectors of a matrix of pixels by pixels that can be added up a few images at a time, in 64 bits; so the
//! data are never held twice. Its eigenvectors come from `nalgebra` without its default features: pure Rust,
//! maintained, Apache-2.0, and most of what it depends on is here already through `ndarray`. `faer` is several
//! times as fast, but brings some forty crates for what is one call in an option that few use.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayView4, Axis};
use serde::{Deserialize, Serialize};

use super::ImageDataGenerator;
use super::error::IdgError;
use super::layout::{dimensions, from_hwc, hwc};
use super::options::{Compat, Preprocessing};
use crate::Key;

/// The most values in an image that can be whitened: the matrix has the square of it, here 1 GiB.
pub const MOST_WHITENED: usize = 1 << 14;

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
    pub fn set_statistics(&mut self, statistics: Statistics) {
        self.statistics = statistics;
    }

    /// Finds the statistics that the featurewise options need, from sample images.
    ///
    /// `x` is `[N, H, W, C]`, or `[N, C, H, W]` with `channels_first`. The statistics are those of the images
    /// as they reach the featurewise steps, after everything that comes before; [`Compat::Keras3`] applies
    /// `rescale` alone, and before the random changes.
    ///
    /// # Errors
    /// No images, images that `preprocessing_function` does not take, or more than [`MOST_WHITENED`] values in
    /// an image that is to be whitened.
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
        let centre = self.options.featurewise_center;
        let deviation = self.options.featurewise_std_normalization;
        let mut found = Statistics::default();
        if centre || deviation {
            let (mean, std) = self.moments(x, fit, channels)?;
            found.mean = centre.then_some(mean);
            found.std = deviation.then_some(std);
        }
        if self.options.zca_whitening {
            let gram = self.gram(x, fit, found.mean.as_deref(), size)?;
            found.zca = Some(zca(gram, Self::fitted_count(x, fit), self.options.zca_epsilon));
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

    /// The products of all pairs of values, added up over the centred images.
    fn gram(
        &self,
        x: &ArrayView4<f32>,
        fit: &FitOptions,
        mean: Option<&[f32]>,
        size: usize,
    ) -> Result<Array2<f64>, IdgError> {
        let count = Self::fitted_count(x, fit);
        let mut gram = Array2::<f64>::zeros((size, size));
        for start in (0..count).step_by(CHUNK) {
            let images = start..count.min(start + CHUNK);
            let mut rows = Array2::<f64>::zeros((images.len(), size));
            for (i, mut row) in images.zip(rows.rows_mut()) {
                let mut image = self.fitted(x, fit, i)?;
                if let Some(mean) = mean {
                    by_channel(&mut image, mean, |value, mean| value - mean)?;
                }
                row.iter_mut().zip(&image).for_each(|(to, &from)| *to = f64::from(from));
            }
            general_mat_mul(1.0, &rows.t(), &rows, 1.0, &mut gram);
        }
        Ok(gram)
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
    let matrix = ArrayView2::from_shape((size, size), matrix).map_err(|_| fail())?;
    let flat = image.into_shape_with_order(size).map_err(|_| fail())?;
    flat.dot(&matrix).into_shape_with_order(shape).map_err(|_| fail())
}

/// `U diag(sqrt(n) / (s + epsilon)) U^T` for the singular values `s` and left vectors `U` of the data.
fn zca(gram: Array2<f64>, images: usize, epsilon: f64) -> Vec<f32> {
    let size = gram.nrows();
    let eigen = SymmetricEigen::new(DMatrix::from_row_slice(size, size, &gram.into_raw_vec_and_offset().0));
    let singular: Vec<f64> = eigen.eigenvalues.iter().map(|value| value.max(0.0).sqrt()).collect();
    let largest = singular.iter().copied().fold(0.0, f64::max);
    // The columns of `U`, each multiplied by the root of its factor: the matrix times its own transpose.
    let mut half = Array2::<f64>::zeros((size, size));
    for (i, &s) in singular.iter().enumerate().filter(|(_, s)| **s > largest * RANK) {
        let factor = ((images as f64).sqrt() / (s + epsilon)).sqrt();
        let vector = eigen.eigenvectors.column(i);
        half.row_mut(i).iter_mut().zip(vector.iter()).for_each(|(to, from)| *to = from * factor);
    }
    half.t().dot(&half).iter().map(|&value| value as f32).collect()
}
