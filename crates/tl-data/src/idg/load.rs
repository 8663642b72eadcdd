//! An image file as Keras's `load_img` and `img_to_array` make it: colours, size, `[H, W, C]` of 0..=255.
//!
//! The one decision: files go through the decoder of the rest of this crate, with its limits and its messages;
//! what is Keras's comes after. Upright is the documented meaning of a photo; Keras 3 ignores the EXIF
//! orientation, so for it the turn is taken back.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use ndarray::Array3;

use super::args::choice;
use super::options::Compat;
pub use super::pillow::ResizeFilter;
use super::pillow::{Pixels, Window};
use crate::decode::{decode_bytes, read};
use crate::error::DecodeError;

/// The channels of images from files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorMode {
    /// One channel: `0.299 R + 0.587 G + 0.114 B`.
    Grayscale,
    /// Three channels.
    #[default]
    Rgb,
    /// Four channels; alpha is 255 where a file has none.
    Rgba,
}

choice!(ColorMode: Grayscale = "grayscale", Rgb = "rgb", Rgba = "rgba");

impl ColorMode {
    /// How many channels there are.
    pub fn channels(self) -> usize {
        match self {
            Self::Grayscale => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// How to load files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loading {
    /// Height and width, in pixels; at least 1.
    pub(super) target_size: (u32, u32),
    pub(super) color_mode: ColorMode,
    pub(super) filter: ResizeFilter,
    pub(super) keep_aspect_ratio: bool,
    pub(super) compat: Compat,
}

impl Loading {
    /// Loads one file as `[H, W, C]`.
    pub(super) fn load(&self, path: &Path) -> Result<Array3<f32>, DecodeError> {
        let image = read(path).and_then(|bytes| {
            let rgb = decode_bytes(&bytes)?;
            Ok(self.coloured(rgb, &bytes))
        });
        let image = image.map_err(|reason| DecodeError { path: path.to_owned(), reason })?;
        let image = self.sized(image);
        let shape = (image.height, image.width, image.channels);
        let values = image.values.into_iter().map(f32::from).collect();
        Ok(Array3::from_shape_vec(shape, values).unwrap_or_else(|_| Array3::zeros(shape)))
    }

    fn coloured(&self, rgb: RgbImage, bytes: &[u8]) -> Pixels {
        let orientation = orientation(bytes);
        let stored = if self.compat == Compat::Keras3 { turned_back(rgb, orientation) } else { rgb };
        let (width, height) = (stored.width() as usize, stored.height() as usize);
        let values = match self.color_mode {
            ColorMode::Rgb => stored.into_raw(),
            ColorMode::Grayscale => stored.pixels().map(|pixel| grey(pixel.0)).collect(),
            ColorMode::Rgba => {
                let turn =
                    if self.compat == Compat::Keras3 { Orientation::NoTransforms } else { orientation };
                let alpha = alpha(bytes, turn).filter(|alpha| alpha.len() == width * height);
                let alpha = alpha.unwrap_or_else(|| vec![255; width * height]);
                stored
                    .pixels()
                    .zip(alpha)
                    .flat_map(|(pixel, alpha)| [pixel[0], pixel[1], pixel[2], alpha])
                    .collect()
            }
        };
        Pixels { values, width, height, channels: self.color_mode.channels() }
    }

    fn sized(&self, image: Pixels) -> Pixels {
        let (height, width) = (self.target_size.0 as usize, self.target_size.1 as usize);
        if (image.width, image.height) == (width, height) {
            return image;
        }
        let window = if self.keep_aspect_ratio { centre(&image, width, height) } else { image.window() };
        image.resize(width, height, window, self.filter)
    }
}

/// The largest window in the middle with the shape of the target.
fn centre(image: &Pixels, width: usize, height: usize) -> Window {
    let kept = |side: usize, other: usize, of: usize, by: usize| (other * of / by).min(side).max(1);
    let high = kept(image.height, image.width, height, width);
    let wide = kept(image.width, image.height, width, height);
    let (left, top) = ((image.width - wide) / 2, (image.height - high) / 2);
    Window { x: (left, left + wide), y: (top, top + high) }
}

/// Pillow's conversion to grey, with its rounding.
fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// The EXIF orientation; none where there is none or it cannot be read.
fn orientation(bytes: &[u8]) -> Orientation {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok();
    let decoder = reader.and_then(|reader| reader.into_decoder().ok());
    decoder.and_then(|mut decoder| decoder.orientation().ok()).unwrap_or(Orientation::NoTransforms)
}

/// An upright image as it lies in its file.
fn turned_back(image: RgbImage, orientation: Orientation) -> RgbImage {
    let back = match orientation {
        Orientation::NoTransforms => return image,
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        // The others are their own opposites.
        other => other,
    };
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(back);
    image.into_rgb8()
}

/// The alpha of a file that has some.
fn alpha(bytes: &[u8], orientation: Orientation) -> Option<Vec<u8>> {
    let mut image = image::load_from_memory(bytes).ok()?;
    if !image.color().has_alpha() {
        return None;
    }
    image.apply_orientation(orientation);
    Some(image.into_rgba8().pixels().map(|pixel| pixel[3]).collect())
}
