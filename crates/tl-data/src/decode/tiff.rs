//! Kinds of TIFF that the general decoder refuses: palettes, grey with alpha, grey of 2 and 4 bits.
//!
//! The one decision: the samples are still unpacked by the `tiff` crate, which has the compressions. It is
//! shown the file as plain grey, by changing one number in a copy of the header, and what the samples mean is
//! done here.
//!
//! Tags and their values are those of TIFF 6.0, sections 3 to 5 and 18.

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::{TiffError, tags::Tag};

use super::{MAX_BYTES, check_size, one_line, too_large};
use crate::error::DecodeReason;
use crate::inspect::header::tiff::{BITS_PER_SAMPLE, Directory, ORIENTATION, PHOTOMETRIC, SAMPLES_PER_PIXEL};
use crate::inspect::header::{Format, Source};

const FORMAT: &str = "TIFF";

/// How the samples are compressed; 6 and 7 are JPEG, which makes of two samples what it likes.
const COMPRESSION: u16 = 259;

/// Whether the samples of a pixel lie together.
const PLANAR_CONFIGURATION: u16 = 284;

/// What the samples of such a file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Places in a table of colours.
    Palette,
    Grey,
    /// Zero is white.
    Inverted,
}

/// A TIFF of an uncommon kind.
#[derive(Debug)]
pub(crate) struct Uncommon {
    meaning: Meaning,
    /// Bits of a sample: 1, 2, 4, 8 or 16.
    bits: u16,
    /// Samples of a pixel: 1, or 2 with alpha.
    samples: u16,
    orientation: Orientation,
    /// Where the photometric interpretation is written.
    photometric_at: usize,
    big_endian: bool,
}

impl Uncommon {
    /// Whether this file is of such a kind.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut source = Source::new(Cursor::new(bytes), Format::Tiff);
        let directory = Directory::first(&mut source).ok()?;
        let (photometric, photometric_at) = directory.number(PHOTOMETRIC, &mut source).ok()??;
        let mut value = |tag, otherwise| {
            let found = directory.number(tag, &mut source).ok().flatten();
            found.map_or(otherwise, |(value, _)| value)
        };
        let (bits, samples) = (value(BITS_PER_SAMPLE, 1), value(SAMPLES_PER_PIXEL, 1));
        let meaning = match photometric {
            0 => Meaning::Inverted,
            1 => Meaning::Grey,
            3 => Meaning::Palette,
            _ => return None,
        };
        if matches!(value(COMPRESSION, 1), 6 | 7) {
            return None;
        }
        let uncommon = match (meaning, samples) {
            (Meaning::Palette, 1) => matches!(bits, 1 | 2 | 4 | 8),
            (Meaning::Palette, _) => false,
            (_, 1) => matches!(bits, 2 | 4),
            (_, 2) => matches!(bits, 8 | 16) && value(PLANAR_CONFIGURATION, 1) == 1,
            _ => false,
        };
        let turned = u8::try_from(value(ORIENTATION, 1)).ok().and_then(Orientation::from_exif);
        uncommon.then_some(Self {
            meaning,
            bits: bits as u16,
            samples: samples as u16,
            orientation: turned.unwrap_or(Orientation::NoTransforms),
            photometric_at: photometric_at as usize,
            big_endian: directory.big_endian,
        })
    }

    /// Decodes it, not yet upright.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<(DynamicImage, Orientation), DecodeReason> {
        let mut as_grey = bytes.to_vec();
        let grey = if self.big_endian { 1_u16.to_be_bytes() } else { 1_u16.to_le_bytes() };
        let place = as_grey.get_mut(self.photometric_at..self.photometric_at + 2);
        place.ok_or(DecodeReason::Truncated { format: FORMAT })?.copy_from_slice(&grey);
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_BYTES as usize;
        limits.intermediate_buffer_size = MAX_BYTES as usize;
        limits.ifd_value_size = MAX_BYTES as usize;
        let mut decoder = Decoder::new(Cursor::new(as_grey)).map_err(reason_of)?.with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(reason_of)?;
        check_size(width, height, u64::from(self.samples) * u64::from(self.bits.div_ceil(8)), FORMAT)?;
        let colours = self.colours(&mut decoder)?;
        let pixels = match decoder.read_image().map_err(reason_of)? {
            DecodingResult::U8(samples) => self.unpack(&samples, width),
            // Rounded as every other 16-bit picture is.
            DecodingResult::U16(samples) => {
                samples.into_iter().map(|v| ((u32::from(v) + 128) / 257) as u8).collect()
            }
            _ => return Err(unsupported("samples that are no whole numbers")),
        };
        let wanted = width as usize * height as usize * usize::from(self.samples);
        let Some(pixels) = pixels.get(..wanted) else {
            return Err(DecodeReason::Truncated { format: FORMAT });
        };
        let colour = |pixel: u8| colours[usize::from(pixel)];
        let image = match (self.meaning, self.samples) {
            (Meaning::Palette, _) => {
                let raw = pixels.iter().flat_map(|&pixel| colour(pixel)).collect();
                RgbImage::from_raw(width, height, raw).map(DynamicImage::from)
            }
            (_, 2) => {
                let raw = pixels.chunks_exact(2).flat_map(|pixel| [colour(pixel[0])[0], pixel[1]]).collect();
                GrayAlphaImage::from_raw(width, height, raw).map(DynamicImage::from)
            }
            _ => {
                let raw = pixels.iter().map(|&pixel| colour(pixel)[0]).collect();
                GrayImage::from_raw(width, height, raw).map(DynamicImage::from)
            }
        };
        Ok((image.ok_or(DecodeReason::Truncated { format: FORMAT })?, self.orientation))
    }

    /// Samples of fewer than 8 bits, one to a byte; each row begins with a new byte.
    fn unpack(&self, packed: &[u8], width: u32) -> Vec<u8> {
        let (bits, width) = (usize::from(self.bits), width as usize);
        if bits >= 8 {
            return packed.to_vec();
        }
        let mut samples = Vec::with_capacity(packed.len() * (8 / bits));
        for row in packed.chunks_exact((width * bits).div_ceil(8)) {
            let sample = |i: usize| row[i * bits / 8] >> (8 - bits - i * bits % 8) & ((1 << bits) - 1);
            samples.extend((0..width).map(sample));
        }
        samples
    }

    /// The colour of each value that a sample can have; those beyond are black.
    fn colours(&self, decoder: &mut Decoder<Cursor<Vec<u8>>>) -> Result<[[u8; 3]; 256], DecodeReason> {
        let mut colours = [[0; 3]; 256];
        let levels = 1_usize << self.bits.min(8);
        if self.meaning != Meaning::Palette {
            for (i, colour) in colours.iter_mut().enumerate().take(levels) {
                let level = (i * 255 / (levels - 1)) as u8;
                *colour = [if self.meaning == Meaning::Inverted { 255 - level } else { level }; 3];
            }
            return Ok(colours);
        }
        let table = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(reason_of)?;
        if table.len() < 3 * levels {
            let detail = format!("a palette of {} values (expected {})", table.len(), 3 * levels);
            return Err(DecodeReason::Corrupt { format: FORMAT, detail });
        }
        // Old writers put 8-bit values where 16-bit values belong; libtiff looks for that, too.
        let shift = if table.iter().any(|&value| value > 255) { 8 } else { 0 };
        for (i, colour) in colours.iter_mut().enumerate().take(levels) {
            *colour = [0, 1, 2].map(|channel| (table[channel * levels + i] >> shift) as u8);
        }
        Ok(colours)
    }
}

fn unsupported(detail: &str) -> DecodeReason {
    DecodeReason::Unsupported { format: FORMAT, detail: detail.to_owned() }
}

fn reason_of(error: TiffError) -> DecodeReason {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeReason::Truncated { format: FORMAT }
        }
        TiffError::UnsupportedError(error) => unsupported(&one_line(&error.to_string())),
        TiffError::LimitsExceeded => too_large("memory beyond the limit".to_owned()),
        error => DecodeReason::Corrupt { format: FORMAT, detail: one_line(&error.to_string()) },
    }
}
