//! What a pretrained net expects of its input: size, resampling, mean and deviation.
//!
//! The one decision: [`Preprocess`] is the validation transform and nothing else. It holds no probabilities
//! and takes no key, so what is measured on validation images cannot be augmented by mistake.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::augment::Crop;
use crate::error::DataError;
use crate::options::Checks;
use crate::resample::{Axis, resample};
use crate::scratch::Scratch;

/// The largest `input` and `resize` allowed, in pixels.
const MAX_INPUT: u32 = 8_192;

/// How pixels are resampled, as by Pillow. `Bilinear` and `Bicubic` are antialiased when they shrink an
/// image.
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
    /// The usual preset of ImageNet nets: bilinear, short side `input * 256 / 224`, the ImageNet mean and
    /// deviation.
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
    /// All fields that are out of range.
    pub fn check(&self) -> Result<(), DataError> {
        let mut checks = Checks::default();
        self.note(&mut checks);
        checks.finish()
    }

    pub(crate) fn note(&self, checks: &mut Checks) {
        let sizes = 1..=MAX_INPUT;
        checks.require(sizes.contains(&self.input), "input", &self.input, "1 to 8192 pixels");
        checks.require(sizes.contains(&self.resize), "resize", &self.resize, "1 to 8192 pixels");
        let finite = self.mean.iter().all(|mean| mean.is_finite());
        checks.require(finite, "mean", &self.mean, "finite numbers");
        let positive = self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        checks.require(positive, "std", &self.std, "numbers above 0");
    }

    /// The validation transform: short side to `resize`, then the centre `input` x `input`.
    ///
    /// Sizes and rounding are those of torchvision's `Resize(resize)` and `CenterCrop(input)`; where the
    /// resized image is smaller than the crop it is surrounded by black.
    ///
    /// # Errors
    /// The image has no pixels.
    pub fn eval_transform(&self, image: &RgbImage) -> Result<RgbImage, DataError> {
        Scratch::with(|scratch| self.eval_with(image, scratch))
    }

    /// [`Preprocess::eval_transform`] with buffers to use again.
    pub(crate) fn eval_with(&self, image: &RgbImage, scratch: &mut Scratch) -> Result<RgbImage, DataError> {
        let (width, height) = image.dimensions();
        let (x, y) = self.eval_axes(width, height);
        let whole = Crop { x: 0, y: 0, width, height };
        let kept = resample(image, whole, x, y, self.interpolation, scratch)?;
        if (x.kept, y.kept) == (self.input, self.input) {
            return Ok(kept);
        }
        let mut canvas = scratch.image(self.input, self.input);
        canvas.fill(0);
        let beside = |kept: u32| i64::from((self.input - kept) / 2);
        image::imageops::replace(&mut canvas, &kept, beside(x.kept), beside(y.kept));
        scratch.recycle(kept);
        Ok(canvas)
    }

    /// What the validation transform makes of each side of an image.
    fn eval_axes(&self, width: u32, height: u32) -> (Axis, Axis) {
        let short = u64::from(width.min(height).max(1));
        let resized = |side: u32| u64::from(side) * u64::from(self.resize) / short;
        let axis = |side: u32| Axis::centre(side, resized(side), self.input);
        (axis(width), axis(height))
    }

    /// The window that the validation transform shows: left and upper edge, width and height in pixels of the image. It
    /// may reach beyond the image.
    pub(crate) fn eval_window(&self, width: u32, height: u32) -> (f64, f64, f64, f64) {
        let (x, y) = self.eval_axes(width, height);
        let ((left, width), (top, height)) = (x.canvas(self.input), y.canvas(self.input));
        (left, top, width, height)
    }

    /// Cuts out a window of whole pixels and resizes it to `input` x `input`, as torchvision's
    /// `resized_crop`: nothing outside of the window counts.
    ///
    /// # Errors
    /// The window is empty or not inside the image.
    pub(crate) fn resize_window(
        &self,
        image: &RgbImage,
        window: Crop,
        scratch: &mut Scratch,
    ) -> Result<RgbImage, DataError> {
        let (x, y) = (Axis::whole(window.width, self.input), Axis::whole(window.height, self.input));
        resample(image, window, x, y, self.interpolation, scratch)
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

/// Pixels to normalised numbers: a table of 256 values for each channel.
///
/// Each value is `(level / 255 - mean) / std` in f32, the same bits as torchvision's `ToTensor` and
/// `Normalize`.
#[derive(Debug, Clone)]
pub struct Normaliser {
    table: [[f32; 256]; 3],
}

impl Normaliser {
    /// Writes an image as it lies: `[H, W, 3]` u8 to `[H, W, 3]` f32, the order that libtorch calls channels last.
    ///
    /// # Errors
    /// `out` does not have `3 * H * W` values.
    pub fn normalise_hwc(&self, image: &RgbImage, out: &mut [f32]) -> Result<(), DataError> {
        check_length(image, out)?;
        let [red, green, blue] = &self.table;
        for (values, [r, g, b]) in out.as_chunks_mut().0.iter_mut().zip(image.as_chunks::<3>().0) {
            *values = [red[usize::from(*r)], green[usize::from(*g)], blue[usize::from(*b)]];
        }
        Ok(())
    }

    /// Writes an image as planes: `[H, W, 3]` u8 to `[3, H, W]` f32.
    ///
    /// # Errors
    /// `out` does not have `3 * H * W` values.
    pub fn normalise(&self, image: &RgbImage, out: &mut [f32]) -> Result<(), DataError> {
        check_length(image, out)?;
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let planes = red.iter_mut().zip(green).zip(blue);
        for (((r, g), b), pixel) in planes.zip(image.as_raw().chunks_exact(3)) {
            *r = self.table[0][usize::from(pixel[0])];
            *g = self.table[1][usize::from(pixel[1])];
            *b = self.table[2][usize::from(pixel[2])];
        }
        Ok(())
    }
}

fn check_length(image: &RgbImage, out: &[f32]) -> Result<(), DataError> {
    let (expected, got) = (image.as_raw().len(), out.len());
    if got == expected { Ok(()) } else { Err(DataError::Length { expected, got }) }
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
        let mut interleaved = [9.0; 6];
        preset.normaliser().normalise_hwc(&image, &mut interleaved).unwrap();
        assert_eq!(interleaved, [out[0], out[2], out[4], out[1], out[3], out[5]]);
        assert!(preset.normaliser().normalise_hwc(&image, &mut interleaved[1..]).is_err());
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
