//! What an image file says of itself: format, size, kind of colour, orientation.
//!
//! The one decision: no pixel is decoded and little more than the header is read, so a hundred thousand files
//! take seconds. What is reported is what is stored, before anything is converted to RGB.

mod jpeg;
mod raster;
mod source;
pub(crate) mod tiff;

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use image::ImageFormat;
use serde::{Deserialize, Serialize};

use crate::decode::{looks_like, open};
use crate::error::DecodeReason;
pub(crate) use source::Source;

/// A format that is decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Format {
    #[serde(rename = "JPEG")]
    Jpeg,
    #[serde(rename = "PNG")]
    Png,
    #[serde(rename = "BMP")]
    Bmp,
    #[serde(rename = "GIF")]
    Gif,
    #[serde(rename = "TIFF")]
    Tiff,
    #[serde(rename = "WebP")]
    WebP,
    #[serde(rename = "PNM")]
    Pnm,
}

impl Format {
    /// The usual name, such as `JPEG`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
            Self::Pnm => "PNM",
        }
    }

    /// The extensions that fit, in lower case; the first is the usual one.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Self::Png => &["png", "apng"],
            Self::Bmp => &["bmp", "dib"],
            Self::Gif => &["gif"],
            Self::Tiff => &["tif", "tiff"],
            Self::WebP => &["webp"],
            Self::Pnm => &["pnm", "pbm", "pgm", "ppm", "pam"],
        }
    }

    /// The format of a file by its first bytes; 64 are enough.
    pub fn of(start: &[u8]) -> Option<Self> {
        Some(match image::guess_format(start).ok()? {
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::Png => Self::Png,
            ImageFormat::Bmp => Self::Bmp,
            ImageFormat::Gif => Self::Gif,
            ImageFormat::Tiff => Self::Tiff,
            ImageFormat::WebP => Self::WebP,
            ImageFormat::Pnm => Self::Pnm,
            _ => return None,
        })
    }
}

/// How the colour of a pixel is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// One sample.
    Grey,
    /// Grey and alpha.
    GreyAlpha,
    /// Red, green and blue, or luma and two differences.
    Rgb,
    /// The same and alpha.
    Rgba,
    /// Places in a table of colours.
    Palette,
    /// Cyan, magenta, yellow and black, or luma, two differences and black.
    Cmyk,
    /// Something else, such as CIELAB.
    Other,
}

impl Colour {
    /// A word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grey => "grey",
            Self::GreyAlpha => "grey+alpha",
            Self::Rgb => "RGB",
            Self::Rgba => "RGB+alpha",
            Self::Palette => "palette",
            Self::Cmyk => "CMYK",
            Self::Other => "other",
        }
    }
}

/// What the header of an image file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format, by content.
    pub format: Format,
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// The kind of colour.
    pub colour: Colour,
    /// Bits of a sample: 1 to 64.
    pub bits: u16,
    /// The EXIF orientation, 1 to 8; 1 is upright.
    pub orientation: u8,
    /// Whether there are several frames that play; only the first is used.
    pub animated: bool,
    /// Whether a TIFF has further pages; only the first is used. Smaller copies of the picture do not count.
    pub pages: bool,
}

impl Header {
    fn new(format: Format, size: (u32, u32), colour: Colour, bits: u16) -> Self {
        let (width, height) = size;
        Self { format, width, height, colour, bits, orientation: 1, animated: false, pages: false }
    }

    /// Colour and bits in words, such as `grey, 16 bits`.
    pub fn kind(&self) -> String {
        let unit = if self.bits == 1 { "bit" } else { "bits" };
        format!("{}, {} {unit}", self.colour.name(), self.bits)
    }

    /// Width and height in pixels of the picture when it is upright.
    pub fn upright(&self) -> (u32, u32) {
        if self.orientation >= 5 { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// Reads the header of a file.
///
/// # Errors
/// The file cannot be read, is no regular file, is larger than [`crate::decode::MAX_BYTES`], is of no known
/// format, or its header is damaged.
pub fn read_header(path: &Path) -> Result<Header, DecodeReason> {
    parse_header(BufReader::new(open(path)?))
}

/// Reads the header of the content of a file, from its beginning.
///
/// # Errors
/// The content is of no known format, or its header is damaged.
pub fn parse_header(mut reader: impl Read + Seek) -> Result<Header, DecodeReason> {
    let mut start = Vec::new();
    let read = reader.by_ref().take(64).read_to_end(&mut start);
    read.map_err(|source| DecodeReason::Read { source })?;
    if start.is_empty() {
        return Err(DecodeReason::Empty);
    }
    let Some(format) = Format::of(&start) else {
        return Err(DecodeReason::Format { found: looks_like(&start) });
    };
    let mut source = Source::new(reader, format);
    let header = match format {
        Format::Jpeg => jpeg::header(&mut source),
        Format::Png => raster::png(&mut source),
        Format::Bmp => raster::bmp(&mut source),
        Format::Gif => raster::gif(&mut source),
        Format::Tiff => tiff::header(&mut source),
        Format::WebP => raster::webp(&mut source),
        Format::Pnm => raster::pnm(&mut source),
    }?;
    if header.width == 0 || header.height == 0 {
        return Err(source.corrupt(&format!("a size of {}x{}", header.width, header.height)));
    }
    if !(1..=64).contains(&header.bits) {
        return Err(source.corrupt(&format!("samples of {} bits", header.bits)));
    }
    Ok(header)
}

/// The orientation in an EXIF block; nonsense counts as upright.
fn orientation_of(exif: &[u8]) -> u8 {
    image::metadata::Orientation::from_exif_chunk(exif).map_or(1, |orientation| orientation.to_exif())
}
