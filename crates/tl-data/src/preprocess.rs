//! What a pretrained net expects of its input: size, resampling, mean and deviation.
//!
//! The one decision: [`Preprocess`] is the validation transform and nothing else. It holds no probabilities and
//! takes no key, so what is measured on validation images cannot be augmented by mistake.
//!
//! Resampling is the antialiased filter of Pillow (which torchvision uses), to within 1 of 255 levels. The
//! centre crop is taken out of the resampling rather than after it: only the pixels that are kept are made.

use std::error::Error;
use std::ops::Range;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// The largest `input` and `resize` allowed, in pixels.
const MAX_INPUT: u32 = 8_192;

/// How many source pixels a cubic filter reaches to each side when it does not shrink.
const CUBIC_RADIUS: f64 = 2.0;

/// How pixels are resampled. `Bilinear` and `Bicubic` are antialiased when they shrink an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// A triangle filter.
    Bilinear,
    /// A cubic filter with a = -0.5 (Catmull-Rom), as in Pillow.
    Bicubic,
}

/// The input of a net: resize the short side, crop the centre, divide by 255, normalise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Height and width of the input, in pixels.
    pub input: u32,
    /// Length of the short side before the centre crop, in pixels.
    pub resize: u32,
    /// The resampling filter.
    pub interpolation: Interpolation,
    /// Mean of each channel, in 0..=1 after dividing by 255.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, on the same scale.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The usual preset of ImageNet nets: bilinear, short side `input * 256 / 224`, the ImageNet mean and deviation.
    pub fn imagenet(input: u32) -> Self {
        Self {
            input: 224,
            resize: 256,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
        .scaled_to(input)
    }

    /// The same preset for another input size, with the ratio of `resize` to `input` kept.
    pub fn scaled_to(&self, input: u32) -> Self {
        let ratio = f64::from(self.resize) / f64::from(self.input.max(1));
        Self { input, resize: (ratio * f64::from(input)).round() as u32, ..*self }
    }

    /// Checks that sizes and deviations are usable.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), DataError> {
        let fail = |option, got: String, expected: &str| {
            Err(DataError::Option { option, got, expected: expected.to_owned() })
        };
        if !(1..=MAX_INPUT).contains(&self.input) {
            return fail("input", self.input.to_string(), "1 to 8192 pixels");
        }
        if !(1..=MAX_INPUT).contains(&self.resize) {
            return fail("resize", self.resize.to_string(), "1 to 8192 pixels");
        }
        if self.mean.iter().any(|mean| !mean.is_finite()) {
            return fail("mean", format!("{:?}", self.mean), "finite numbers");
        }
        if self.std.iter().any(|std| !std.is_finite() || *std <= 0.0) {
            return fail("std", format!("{:?}", self.std), "numbers above 0");
        }
        Ok(())
    }

    /// The validation transform: short side to `resize`, then the centre `input` x `input`.
    ///
    /// Sizes and rounding are those of torchvision's `Resize(resize)` and `CenterCrop(input)`; where the resized
    /// image is smaller than the crop it is surrounded by black.
    ///
    /// # Errors
    /// The image has no pixels.
    pub fn eval_transform(&self, image: &RgbImage) -> Result<RgbImage, DataError> {
        let (width, height) = image.dimensions();
        let short = u64::from(width.min(height).max(1));
        let resized = |side: u32| u64::from(side) * u64::from(self.resize) / short;
        let x = Axis::new(width, resized(width), self.input);
        let y = Axis::new(height, resized(height), self.input);

        let kept = self.resample(&view(image)?, &x, &y).map_err(|error| resize_error(image, &error))?;
        if (x.kept, y.kept) == (self.input, self.input) {
            return Ok(kept);
        }
        let mut canvas = RgbImage::new(self.input, self.input);
        image::imageops::replace(&mut canvas, &kept, i64::from(x.at), i64::from(y.at));
        Ok(canvas)
    }

    /// Cuts out a window of whole pixels and resizes it to `input` x `input`, as torchvision's `resized_crop`:
    /// nothing outside of the window counts.
    ///
    /// # Errors
    /// The window is empty or not inside the image.
    pub(crate) fn resize_window(
        &self,
        image: &RgbImage,
        (x, y, width, height): (u32, u32, u32, u32),
    ) -> Result<RgbImage, DataError> {
        let source = view(image)?;
        let window = CroppedImage::new(&source, x, y, width, height);
        let window = window.map_err(|error| resize_error(image, &error))?;
        let (x, y) = (Axis::whole(width, self.input), Axis::whole(height, self.input));
        self.resample(&window, &x, &y).map_err(|error| resize_error(image, &error))
    }

    /// Makes the part of the resized image that `x` and `y` keep.
    fn resample(&self, source: &impl IntoImageView, x: &Axis, y: &Axis) -> Result<RgbImage, Box<dyn Error>> {
        let algorithm = match self.interpolation {
            Interpolation::Nearest => ResizeAlg::Nearest,
            Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        };
        let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
        let mut resizer = Resizer::new();
        let mut target = RgbImage::new(x.kept, y.kept);
        let mut output = Image::from_slice_u8(x.kept, y.kept, &mut target, PixelType::U8x3)?;
        if self.interpolation == Interpolation::Bicubic {
            // A cubic filter overshoots and is cut off at 0 and 255 after each pass, so the order of the passes
            // shows at hard edges. Pillow goes along the rows first; the resizer would not.
            let rows = y.source_rows(CUBIC_RADIUS, source.height());
            let along = options.crop(x.from, f64::from(rows.start), x.length, rows.len() as f64);
            let mut narrow = Image::new(x.kept, rows.len() as u32, PixelType::U8x3);
            resizer.resize(source, &mut narrow, &along)?;
            let top = y.from - f64::from(rows.start);
            let down = options.crop(0.0, top, f64::from(x.kept), y.length.min(rows.len() as f64 - top));
            resizer.resize(&narrow, &mut output, &down)?;
        } else {
            resizer.resize(source, &mut output, &options.crop(x.from, y.from, x.length, y.length))?;
        }
        Ok(target)
    }

    /// The table that turns pixels into the numbers a net takes.
    pub fn normaliser(&self) -> Normaliser {
        let mut table = [[0.0; 256]; 3];
        for ((row, mean), std) in table.iter_mut().zip(self.mean).zip(self.std) {
            for (level, value) in (0_u8..=255).zip(row.iter_mut()) {
                *value = (f32::from(level) / 255.0 - mean) / std;
            }
        }
        Normaliser { table }
    }
}

/// One side of "resize, then crop the centre": which part of the source is kept, and where it goes.
struct Axis {
    /// Start and length of the part kept, in source pixels.
    from: f64,
    length: f64,
    /// Its length and its place in the output, in output pixels.
    kept: u32,
    at: u32,
}

impl Axis {
    /// The middle `crop` of `resized` pixels.
    fn new(source: u32, resized: u64, crop: u32) -> Self {
        let whole = f64::from(source);
        if resized < u64::from(crop) {
            let resized = resized as u32;
            return Self { from: 0.0, length: whole, kept: resized, at: (crop - resized) / 2 };
        }
        let scale = whole / resized as f64;
        // Python's `round` sends a half to the even neighbour.
        let offset = ((resized - u64::from(crop)) as f64 / 2.0).round_ties_even();
        let from = offset * scale;
        Self { from, length: (f64::from(crop) * scale).min(whole - from), kept: crop, at: 0 }
    }

    /// Nothing cut off.
    fn whole(source: u32, resized: u32) -> Self {
        Self { from: 0.0, length: f64::from(source), kept: resized, at: 0 }
    }

    /// The source pixels that a filter of this radius reaches from the part kept.
    fn source_rows(&self, radius: f64, source: u32) -> Range<u32> {
        let reach = radius * (self.length / f64::from(self.kept)).max(1.0) + 1.0;
        let end = (self.from + self.length + reach).ceil().min(f64::from(source));
        (self.from - reach).floor().max(0.0) as u32..end as u32
    }
}

fn view(image: &RgbImage) -> Result<ImageRef<'_>, DataError> {
    if image.width() == 0 || image.height() == 0 {
        return Err(resize_error(image, &"it has no pixels"));
    }
    ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .map_err(|error| resize_error(image, &error))
}

fn resize_error(image: &RgbImage, detail: &dyn std::fmt::Display) -> DataError {
    DataError::Resize { width: image.width(), height: image.height(), detail: detail.to_string() }
}

/// Pixels to normalised numbers: a table of 256 values for each channel.
///
/// Each value is `(level / 255 - mean) / std` in f32, the same bits as torchvision's `ToTensor` and `Normalize`.
#[derive(Debug, Clone)]
pub struct Normaliser {
    table: [[f32; 256]; 3],
}

impl Normaliser {
    /// Writes an image as planes: `[H, W, 3]` u8 to `[3, H, W]` f32.
    ///
    /// # Errors
    /// `out` does not have `3 * H * W` values.
    pub fn normalise(&self, image: &RgbImage, out: &mut [f32]) -> Result<(), DataError> {
        let expected = image.as_raw().len();
        if out.len() != expected {
            return Err(DataError::Length { expected, got: out.len() });
        }
        let (red, rest) = out.split_at_mut(expected / 3);
        let (green, blue) = rest.split_at_mut(expected / 3);
        let planes = red.iter_mut().zip(green).zip(blue);
        for (((r, g), b), pixel) in planes.zip(image.as_raw().chunks_exact(3)) {
            *r = self.table[0][usize::from(pixel[0])];
            *g = self.table[1][usize::from(pixel[1])];
            *b = self.table[2][usize::from(pixel[2])];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn scaling_keeps_the_ratio() {
        let preset = Preprocess::imagenet(224);
        assert_eq!((preset.input, preset.resize), (224, 256));
        assert_eq!(preset.scaled_to(112).resize, 128);
        assert_eq!(preset.scaled_to(299).resize, 342);
        assert_eq!(preset.scaled_to(64).scaled_to(224), preset);
    }

    #[test]
    fn serde_round_trip() {
        let preset = Preprocess { interpolation: Interpolation::Bicubic, ..Preprocess::imagenet(224) };
        let text = serde_json::to_string(&preset).unwrap();
        assert!(text.contains(r#""interpolation":"bicubic""#), "{text}");
        assert_eq!(serde_json::from_str::<Preprocess>(&text).unwrap(), preset);
        assert!(serde_json::from_str::<Preprocess>(&text.replace("resize", "resise")).is_err());
    }

    #[test]
    fn normalised_values() {
        let preset =
            Preprocess { mean: [127.0 / 255.0; 3], std: [128.0 / 255.0; 3], ..Preprocess::imagenet(2) };
        let image =
            RgbImage::from_fn(2, 1, |x, _| if x == 0 { Rgb([0, 127, 255]) } else { Rgb([255, 0, 127]) });
        let mut out = [9.0; 6];
        preset.normaliser().normalise(&image, &mut out).unwrap();
        let expected = [-127.0 / 128.0, 1.0, 0.0, -127.0 / 128.0, 1.0, 0.0];
        assert!(out.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{out:?}");
        let error = preset.normaliser().normalise(&image, &mut out[..5]).unwrap_err();
        assert_eq!(error.to_string(), "the output holds 5 values (expected 6)");
    }

    #[test]
    fn extreme_shapes_cost_no_memory_and_do_not_fail() {
        let preset = Preprocess::imagenet(224);
        for size in [(1, 1), (1, 30_000), (30_000, 1), (2, 1), (223, 225), (224, 224), (256, 256)] {
            let image = RgbImage::from_pixel(size.0, size.1, Rgb([9, 80, 200]));
            let out = preset.eval_transform(&image).unwrap();
            assert_eq!(out.dimensions(), (224, 224));
            assert!(out.pixels().all(|pixel| *pixel == Rgb([9, 80, 200])), "{size:?}");
        }
        assert!(preset.eval_transform(&RgbImage::new(0, 5)).is_err());
    }

    #[test]
    fn ranges_are_checked() {
        let good = Preprocess::imagenet(224);
        good.check().unwrap();
        assert!(Preprocess { input: 0, ..good }.check().is_err());
        assert!(Preprocess { resize: 0, ..good }.check().is_err());
        assert!(Preprocess { mean: [f32::NAN, 0.0, 0.0], ..good }.check().is_err());
        let error = Preprocess { std: [0.2, 0.0, 0.2], ..good }.check().unwrap_err();
        assert_eq!(error.to_string(), "option `std` is [0.2, 0.0, 0.2] (expected numbers above 0)");
    }
}
