//! Resizing as Pillow does it, and only the pixels that are kept.
//!
//! The one decision: "resize, then crop" is one step. The crop chooses which output pixels are made, so a
//! long thin image costs no more than a square one, in time or in memory.
//!
//! Against Pillow the nearest pixel is exact, bilinear is within 1 of 255 levels, and bicubic within 2 where
//! edges are hard and within 1 elsewhere: the arithmetic here has 16 bits where Pillow has 32.

use std::error::Error;
use std::ops::Range;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};
use image::RgbImage;

use crate::augment::Crop;
use crate::error::DataError;
use crate::preprocess::Interpolation;
use crate::scratch::Scratch;

/// How many source pixels a cubic filter reaches to each side when it does not shrink.
const CUBIC_RADIUS: f64 = 2.0;

/// One side of "resize, then crop": how long the resized image is, and which part of it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    source: u32,
    resized: u64,
    /// The first pixel made, of the resized image.
    first: u64,
    /// How many pixels are made.
    pub(crate) kept: u32,
}

impl Axis {
    /// `source` pixels become `resized`, all of which are made.
    pub(crate) fn whole(source: u32, resized: u32) -> Self {
        Self { source, resized: u64::from(resized), first: 0, kept: resized }
    }

    /// `source` pixels become `resized`, of which the middle `crop` are made; all, if there are fewer.
    pub(crate) fn centre(source: u32, resized: u64, crop: u32) -> Self {
        if resized <= u64::from(crop) {
            return Self::whole(source, resized as u32);
        }
        // torchvision rounds with Python's `round`, which sends a half to the even neighbour.
        let first = ((resized - u64::from(crop)) as f64 / 2.0).round_ties_even() as u64;
        Self { source, resized, first, kept: crop }
    }

    /// `source` pixels become `by` times fewer, but at least one, all of which are made.
    pub(crate) fn shrunk(source: u32, by: u32) -> Self {
        Self::whole(source, (source / by.max(1)).max(1))
    }

    /// Start and length of `length` pixels of the canvas, in source pixels: what is kept lies in the middle of it.
    pub(crate) fn canvas(&self, length: u32) -> (f64, f64) {
        let beside = f64::from(length.saturating_sub(self.kept) / 2);
        ((self.first as f64 - beside) * self.scale(), f64::from(length) * self.scale())
    }

    /// Source pixels for each resized pixel.
    fn scale(&self) -> f64 {
        f64::from(self.source) / self.resized as f64
    }

    /// Start and length of the part kept, in source pixels.
    fn span(&self) -> (f64, f64) {
        let from = self.first as f64 * self.scale();
        (from, (f64::from(self.kept) * self.scale()).min(f64::from(self.source) - from))
    }

    /// The source pixels that a filter of this radius reaches from the part kept.
    fn reach(&self, radius: f64) -> Range<u32> {
        let (from, length) = self.span();
        let reach = radius * self.scale().max(1.0) + 1.0;
        let end = (from + length + reach).ceil().min(f64::from(self.source));
        (from - reach).floor().max(0.0) as u32..end as u32
    }

    /// The nearest source pixel of each pixel kept. Pillow adds up the steps, with their rounding; so must
    /// this.
    fn nearest(&self) -> Vec<u32> {
        let mut at = self.scale() * 0.5;
        let mut pixels = Vec::with_capacity(self.kept as usize);
        for i in 0..self.first + u64::from(self.kept) {
            if i >= self.first {
                pixels.push((at as u32).min(self.source - 1));
            }
            at += self.scale();
        }
        pixels
    }
}

/// Checks that the window has pixels and lies inside of the image.
///
/// # Errors
/// It does not.
pub(crate) fn check_window(image: &RgbImage, window: Crop) -> Result<(), DataError> {
    let (width, height) = image.dimensions();
    let inside = |from: u32, length: u32, side: u32| {
        length > 0 && from.checked_add(length).is_some_and(|end| end <= side)
    };
    if inside(window.x, window.width, width) && inside(window.y, window.height, height) {
        return Ok(());
    }
    Err(DataError::Resize { width, height, detail: format!("{window:?} is not inside of it") })
}

/// Resizes the pixels inside of `window`, as if there were no others: `x.kept` x `y.kept` pixels.
///
/// # Errors
/// The image has no pixels, or the window is empty or not inside of it.
pub(crate) fn resample(
    image: &RgbImage,
    window: Crop,
    x: Axis,
    y: Axis,
    interpolation: Interpolation,
    scratch: &mut Scratch,
) -> Result<RgbImage, DataError> {
    check_window(image, window)?;
    let mut target = scratch.image(x.kept, y.kept);
    let done = match interpolation {
        Interpolation::Nearest => {
            nearest(image, window, (x, y), &mut target);
            Ok(())
        }
        Interpolation::Bilinear => {
            filtered(image, window, (x, y), FilterType::Bilinear, &mut target, scratch)
        }
        Interpolation::Bicubic => {
            filtered(image, window, (x, y), FilterType::CatmullRom, &mut target, scratch)
        }
    };
    let (width, height) = image.dimensions();
    done.map_err(|error| DataError::Resize { width, height, detail: error.to_string() })?;
    Ok(target)
}

fn nearest(image: &RgbImage, window: Crop, (x, y): (Axis, Axis), target: &mut RgbImage) {
    let (columns, rows) = (x.nearest(), y.nearest());
    for (i, j, pixel) in target.enumerate_pixels_mut() {
        *pixel = *image.get_pixel(window.x + columns[i as usize], window.y + rows[j as usize]);
    }
}

fn filtered(
    image: &RgbImage,
    window: Crop,
    (x, y): (Axis, Axis),
    filter: FilterType,
    target: &mut RgbImage,
    scratch: &mut Scratch,
) -> Result<(), Box<dyn Error>> {
    // Typed images: the resizer is then compiled for this one kind of pixel, which halves the build of this crate.
    let whole = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())?;
    let source = TypedCroppedImage::from_ref(&whole, window.x, window.y, window.width, window.height)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    let mut output = TypedImage::<U8x3>::from_buffer(x.kept, y.kept, target)?;
    let ((left, width), (top, height)) = (x.span(), y.span());
    if filter == FilterType::CatmullRom && rows_first(x, y) {
        // The resizer itself goes down the columns first; so the two passes are made one by one.
        let rows = y.reach(CUBIC_RADIUS);
        let along = options.crop(left, f64::from(rows.start), width, rows.len() as f64);
        let mut between = scratch.image(x.kept, rows.len() as u32);
        let mut narrow = TypedImage::<U8x3>::from_buffer(x.kept, rows.len() as u32, &mut between)?;
        scratch.resizer.resize_typed(&source, &mut narrow, &along)?;
        let top = top - f64::from(rows.start);
        let down = options.crop(0.0, top, f64::from(x.kept), height.min(rows.len() as f64 - top));
        scratch.resizer.resize_typed(&narrow, &mut output, &down)?;
        scratch.recycle(between);
    } else {
        scratch.resizer.resize_typed(&source, &mut output, &options.crop(left, top, width, height))?;
    }
    Ok(())
}

/// Whether Pillow resizes along the rows before it does down the columns: always, but for tall images that
/// shrink.
///
/// It matters for the cubic filter alone: that overshoots at hard edges and is cut off at 0 and 255 after
/// each pass.
fn rows_first(x: Axis, y: Axis) -> bool {
    u64::from(y.source) <= 2 * u64::from(x.source) || y.resized >= u64::from(y.source)
}
