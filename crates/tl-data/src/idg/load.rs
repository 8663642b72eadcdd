//! An image file as Keras's `load_img` and `img_to_array` make it: colours, size, `[H, W, C]` of 0..=255.
//!
//! The one decision: files go through the decoder of the rest of this crate, with its limits and its messages;
//! what is Keras's comes after. Upright is the documented meaning of a photo and 0..=255 that of its values;
//! Keras 3 does what Pillow does: no EXIF orientation but that of a TIFF, 16-bit grey as it is or cut off at
//! 255, other 16-bit pictures without their lower byte.

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat, RgbaImage};
use ndarray::Array3;

use super::args::choice;
use super::options::Compat;
pub use super::pillow::ResizeFilter;
use super::pillow::{Pixels, Sample, Window};
use crate::decode::{Stored, decode_stored, read};
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
        let loaded = read(path).and_then(|bytes| Ok((decode_stored(&bytes)?, bytes.starts_with(b"MM"))));
        let (stored, big_endian) = loaded.map_err(|reason| DecodeError { path: path.to_owned(), reason })?;
        let Stored { mut image, orientation, format } = stored;
        let tiff = format == ImageFormat::Tiff;
        if (self.compat == Compat::Documented || tiff) && orientation != Orientation::NoTransforms {
            image.apply_orientation(orientation);
        }
        if self.compat == Compat::Documented {
            return Ok(self.sized(self.coloured(image)));
        }
        // Pillow has another mode for grey of a big-endian TIFF, which Keras converts.
        let kept = self.color_mode == ColorMode::Grayscale && !(tiff && big_endian);
        Ok(match image {
            DynamicImage::ImageLuma16(grey) if kept => {
                let (width, height) = (grey.width() as usize, grey.height() as usize);
                self.sized(Pixels { values: grey.into_raw(), width, height, channels: 1 })
            }
            other => self.sized(self.coloured(as_pillow(other))),
        })
    }

    /// Decodes one file and makes nothing of it.
    pub(super) fn verify(path: &Path) -> Result<(), DecodeError> {
        let decoded = read(path).and_then(|bytes| decode_stored(&bytes));
        decoded.map(drop).map_err(|reason| DecodeError { path: path.to_owned(), reason })
    }

    fn coloured(&self, image: DynamicImage) -> Pixels<u8> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let values = match self.color_mode {
            ColorMode::Rgb => image.into_rgb8().into_raw(),
            ColorMode::Rgba => image.into_rgba8().into_raw(),
            ColorMode::Grayscale => image.into_rgb8().pixels().map(|pixel| grey(pixel.0)).collect(),
        };
        Pixels { values, width, height, channels: self.color_mode.channels() }
    }

    fn sized<T: Sample>(&self, image: Pixels<T>) -> Array3<f32> {
        let (height, width) = (self.target_size.0 as usize, self.target_size.1 as usize);
        let image = if (image.width, image.height) == (width, height) {
            image
        } else {
            let window = if self.keep_aspect_ratio { centre(&image, width, height) } else { image.window() };
            image.resize(width, height, window, self.filter)
        };
        let shape = (image.height, image.width, image.channels);
        let values = image.values.into_iter().map(Into::into).collect();
        Array3::from_shape_vec(shape, values).unwrap_or_else(|_| Array3::zeros(shape))
    }
}

/// The largest window in the middle with the shape of the target.
fn centre<T>(image: &Pixels<T>, width: usize, height: usize) -> Window {
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

/// 8 bits as Pillow makes them of 16: grey is cut off, anything else loses its lower byte.
fn as_pillow(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma16(grey) => {
            let (width, height) = grey.dimensions();
            let raw = grey.into_raw().into_iter().map(|value| value.min(255) as u8).collect();
            GrayImage::from_raw(width, height, raw).unwrap_or_default().into()
        }
        DynamicImage::ImageLumaA16(_) | DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgba16(_) => {
            let image = image.into_rgba16();
            let (width, height) = image.dimensions();
            let raw = image.into_raw().into_iter().map(|value| (value >> 8) as u8).collect();
            RgbaImage::from_raw(width, height, raw).unwrap_or_default().into()
        }
        other => other,
    }
}
