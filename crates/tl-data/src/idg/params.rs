//! What to do to one image: drawing it, and doing it.
//!
//! The one decision: drawing and doing are apart, as in Keras (`get_random_transform`, `apply_transform`), and
//! the parameters have Keras's names, so that either half can be held against Keras alone.

use ndarray::{Array3, ArrayView3, CowArray, Ix3};
use serde::{Deserialize, Deserializer, Serialize};

use super::ImageDataGenerator;
use super::affine::{self, Affine, Border};
use super::color;
use super::error::IdgError;
use super::layout::{from_hwc, hwc};
use super::options::{Compat, FillMode, ShiftRange};
use crate::Key;
use crate::RgbImage;
use crate::draw::{Operation, Stream};

/// The random changes to one image, with Keras's names. What Keras's `get_random_transform` returns can be
/// read as it is; names that are left out change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformParams {
    /// Rotation about the centre, in degrees; the content turns counter-clockwise.
    pub theta: f64,
    /// Shift along the rows, in pixels; the content moves left. Keras 3 draws it from `height_shift_range`.
    pub tx: f64,
    /// Shift down the columns, in pixels; the content moves up. Keras 3 draws it from `width_shift_range`.
    pub ty: f64,
    /// Shear, in degrees; vertical lines turn counter-clockwise.
    pub shear: f64,
    /// Zoom along the rows; above 1 the content shrinks.
    pub zx: f64,
    /// Zoom down the columns; above 1 the content shrinks.
    pub zy: f64,
    /// Mirror left and right.
    #[serde(deserialize_with = "flag")]
    pub flip_horizontal: bool,
    /// Mirror up and down.
    #[serde(deserialize_with = "flag")]
    pub flip_vertical: bool,
    /// Added to all channels, then cut off at the least and the largest value of the image.
    pub channel_shift_intensity: Option<f64>,
    /// All values are multiplied by this, but alpha is not.
    pub brightness: Option<f64>,
}

impl Default for TransformParams {
    fn default() -> Self {
        Self {
            theta: 0.0,
            tx: 0.0,
            ty: 0.0,
            shear: 0.0,
            zx: 1.0,
            zy: 1.0,
            flip_horizontal: false,
            flip_vertical: false,
            channel_shift_intensity: None,
            brightness: None,
        }
    }
}

/// Keras multiplies truth values, which makes them 0 and 1.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "true, false, 0 or 1")]
    enum Flag {
        Bool(bool),
        Number(u8),
    }
    Ok(match Flag::deserialize(deserializer)? {
        Flag::Bool(value) => value,
        Flag::Number(value) => value != 0,
    })
}

impl ShiftRange {
    /// A shift in pixels of a side.
    fn sample(&self, stream: &mut Stream, side: usize, compat: Compat) -> f64 {
        let documented = compat == Compat::Documented;
        let side = side as f64;
        let sign = |stream: &mut Stream| if stream.below(2) == 0 { -1.0 } else { 1.0 };
        match self {
            Self::Float(x) => {
                let shift = stream.uniform(-x, *x);
                if *x < 1.0 { shift * side } else { shift }
            }
            // Keras takes a number below 0 as a float.
            Self::Int(n) if *n < 0 => stream.uniform(-(*n as f64), *n as f64) * side,
            Self::Int(n) => {
                let n = u32::try_from(*n).unwrap_or(u32::MAX / 2).min(u32::MAX / 2);
                if documented {
                    let most = n.saturating_sub(1);
                    f64::from(stream.below(2 * most + 1)) - f64::from(most)
                } else {
                    f64::from(stream.below(n)) * sign(stream)
                }
            }
            Self::List(values) => {
                let at = stream.below(u32::try_from(values.len()).unwrap_or(u32::MAX));
                let Some(value) = values.get(at as usize) else { return 0.0 };
                let largest = |of: fn(f64) -> f64| values.iter().copied().map(of).fold(f64::MIN, f64::max);
                let (value, largest) = if documented {
                    (*value, largest(f64::abs))
                } else {
                    (*value * sign(stream), largest(|value| value))
                };
                if largest < 1.0 { value * side } else { value }
            }
        }
    }
}

impl ImageDataGenerator {
    /// Draws what to do to one image of `height` x `width` pixels, as Keras's `get_random_transform`.
    ///
    /// A pure function of the key: each parameter has its own stream of random numbers, so that switching one
    /// option on does not change what the others draw.
    pub fn sample(&self, key: Key, height: usize, width: usize) -> TransformParams {
        let o = &self.options;
        let stream = |operation| Stream::new(key.seed, key.epoch, key.sample_id, operation);
        let evenly =
            |operation, range: f64| if range == 0.0 { 0.0 } else { stream(operation).uniform(-range, range) };
        let shift = |operation, range: &ShiftRange, side| {
            if range.is_none() { 0.0 } else { range.sample(&mut stream(operation), side, o.compat) }
        };
        let coin = |operation, on: bool| on && stream(operation).unit() < 0.5;
        let across = (&o.width_shift_range, width);
        let down = (&o.height_shift_range, height);
        // Keras 3 takes x for the rows here and for the columns when it applies it.
        let (x, y) = if o.compat == Compat::Documented { (across, down) } else { (down, across) };
        let (low, high) = o.zoom_range;
        let mut zoom = stream(Operation::IdgZoom);
        let (zx, zy) = if (low, high) == (1.0, 1.0) {
            (1.0, 1.0)
        } else {
            (zoom.uniform(low, high), zoom.uniform(low, high))
        };
        TransformParams {
            theta: evenly(Operation::IdgRotation, o.rotation_range),
            tx: shift(Operation::IdgShiftX, x.0, x.1),
            ty: shift(Operation::IdgShiftY, y.0, y.1),
            shear: evenly(Operation::IdgShear, o.shear_range),
            zx,
            zy,
            flip_horizontal: coin(Operation::IdgFlipHorizontal, o.horizontal_flip),
            flip_vertical: coin(Operation::IdgFlipVertical, o.vertical_flip),
            channel_shift_intensity: (o.channel_shift_range != 0.0)
                .then(|| evenly(Operation::IdgChannelShift, o.channel_shift_range)),
            brightness: o.brightness_range.map(|(a, b)| stream(Operation::IdgBrightness).uniform(a, b)),
        }
    }

    /// Does it, as Keras's `apply_transform`: one resampling, channel shift, flips, brightness.
    ///
    /// `image` is `[H, W, C]`, or `[C, H, W]` with `channels_first`, and so is the result. Any numbers go in,
    /// also in `params`; none makes it fail.
    pub fn apply(&self, image: &ArrayView3<f32>, params: &TransformParams) -> Array3<f32> {
        let format = self.options.data_format;
        from_hwc(self.apply_hwc(hwc(image, format), params), format)
    }

    /// [`ImageDataGenerator::apply`] for `[H, W, C]` in standard layout.
    pub(super) fn apply_hwc(&self, image: CowArray<'_, f32, Ix3>, params: &TransformParams) -> Array3<f32> {
        let white = params.brightness.map_or(255.0, |_| color::white_of(image.iter().copied()));
        self.apply_white(image, params, white)
    }

    /// The same for an image whose white is known.
    fn apply_white(
        &self,
        image: CowArray<'_, f32, Ix3>,
        params: &TransformParams,
        white: f32,
    ) -> Array3<f32> {
        let shape = image.dim();
        let brightness = params.brightness.map(|factor| factor as f32);
        let affine = Affine::new(params, shape.0, shape.1, self.options.compat);
        let mut pixels = match (affine, image.as_slice()) {
            (Some(affine), Some(source)) => {
                let mut moved = vec![0.0; source.len()];
                let order = self.options.interpolation_order;
                affine::resample(source, &mut moved, shape, &affine, self.border(), order);
                moved
            }
            (None, Some(source)) => source.to_vec(),
            (_, None) => image.iter().copied().collect(),
        };
        if let Some(intensity) = params.channel_shift_intensity {
            color::channel_shift(&mut pixels, intensity as f32);
        }
        color::flip(&mut pixels, shape, params.flip_horizontal, params.flip_vertical);
        if let Some(factor) = brightness {
            match self.options.compat {
                Compat::Documented => color::brightness(&mut pixels, shape.2, factor, white),
                Compat::Keras3 => color::brightness_keras3(&mut pixels, shape.2, factor),
            }
        }
        Array3::from_shape_vec(shape, pixels).unwrap_or_else(|_| Array3::zeros(shape))
    }

    /// [`ImageDataGenerator::apply`] for 8-bit RGB, without a detour through numbers four times as large where
    /// there is a way around it.
    ///
    /// Levels are rounded after each step, so that the two agree to a level or two, times the factor of
    /// brightness. What needs more than 8 bits between the steps is done by [`ImageDataGenerator::apply`], and
    /// its result rounded and cut off at 0 and 255: splines of order 2 and above, which overshoot, a `cval`
    /// beyond the levels, and the brightness of [`Compat::Keras3`], which cuts off fractions.
    pub fn apply_rgb8(&self, image: &RgbImage, params: &TransformParams) -> RgbImage {
        let o = &self.options;
        let (width, height) = image.dimensions();
        let shape = (height as usize, width as usize, 3);
        let affine = Affine::new(params, shape.0, shape.1, o.compat);
        let beyond = o.fill_mode == FillMode::Constant && !(0.0..=255.0).contains(&o.cval);
        let exact = o.compat == Compat::Keras3 && params.brightness.is_some();
        if exact || (affine.is_some() && (o.interpolation_order >= 2 || beyond)) {
            return rounded(&self.apply_white(pixels_of(image).into(), params, 255.0));
        }
        let mut out = match affine {
            Some(affine) => {
                let mut moved = RgbImage::new(width, height);
                affine::resample(image, &mut moved, shape, &affine, self.border(), o.interpolation_order);
                moved
            }
            None => image.clone(),
        };
        if let Some(intensity) = params.channel_shift_intensity {
            color::channel_shift_u8(&mut out, intensity as f32);
        }
        color::flip(&mut out, shape, params.flip_horizontal, params.flip_vertical);
        if let Some(factor) = params.brightness {
            color::look_up(&mut out, |level| (level * factor as f32 + 0.5) as u8);
        }
        out
    }

    /// Draws and applies, as Keras's `random_transform`; the key takes the place of Keras's seed.
    pub fn random_transform(&self, image: &ArrayView3<f32>, key: Key) -> Array3<f32> {
        let image = hwc(image, self.options.data_format);
        let params = self.sample(key, image.dim().0, image.dim().1);
        from_hwc(self.apply_hwc(image, &params), self.options.data_format)
    }

    /// An 8-bit image to what a net takes: changed at random if there is a key, then normalised.
    ///
    /// `[H, W, 3]`, or `[3, H, W]` with `channels_first`; the image should have the size of the net's input.
    ///
    /// # Errors
    /// As [`ImageDataGenerator::standardize`].
    pub fn prepare(&self, image: &RgbImage, key: Option<Key>) -> Result<Array3<f32>, IdgError> {
        let mut pixels = pixels_of(image);
        if let Some(key) = key {
            let params = self.sample(key, pixels.dim().0, pixels.dim().1);
            pixels = self.apply_hwc(pixels.into(), &params);
        }
        Ok(from_hwc(self.standardize_hwc(pixels)?, self.options.data_format))
    }

    fn border(&self) -> Border {
        match (self.options.fill_mode, self.options.compat) {
            (FillMode::Constant, _) => Border::Constant(self.options.cval as f32),
            (FillMode::Nearest, _) => Border::Nearest,
            (FillMode::Reflect, _) => Border::Reflect,
            (FillMode::Wrap, Compat::Documented) => Border::Tile,
            (FillMode::Wrap, Compat::Keras3) => Border::Wrap,
        }
    }
}

/// An 8-bit image as `[H, W, 3]`.
fn pixels_of(image: &RgbImage) -> Array3<f32> {
    let shape = (image.height() as usize, image.width() as usize, 3);
    let values = image.as_raw().iter().map(|&level| f32::from(level)).collect();
    Array3::from_shape_vec(shape, values).unwrap_or_else(|_| Array3::zeros(shape))
}

/// `[H, W, 3]` as an 8-bit image.
fn rounded(pixels: &Array3<f32>) -> RgbImage {
    let (height, width) = (pixels.dim().0 as u32, pixels.dim().1 as u32);
    let levels = pixels.iter().map(|value| (value + 0.5) as u8).collect();
    RgbImage::from_raw(width, height, levels).unwrap_or_else(|| RgbImage::new(width, height))
}
