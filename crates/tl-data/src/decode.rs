//! Image files to 8-bit RGB.
//!
//! The one decision: the content decides, not the name, and a file is either decoded whole or refused with a
//! reason. Nothing in a file may crash the program or fill its memory. A file that was cut off is refused; one whose
//! gap is closed by an end marker decodes with grey in the gap, and only [`decode_checked`], which counts the blocks,
//! tells it from a whole one. The one exception is a window (`decode_window`): damage behind it is not met there, and every
//! file is looked at whole before a run.
//!
//! Colours follow Pillow's `convert("RGB")`: grey is repeated, palettes are looked up, alpha is dropped (not
//! composited), CMYK is taken as inverted, as Adobe writes it. 16 bits are scaled to 8. The EXIF orientation
//! is applied. Only the first frame of a GIF or of an animated WebP is used.
//!
//! JPEGs of the usual kind are decoded by `sequential`, which can keep to a window, and all others go to zune-jpeg directly:
//! one decoder gives size, orientation and pixels, where `image` makes three. Decoding them at a fraction of their size was
//! tried with the crate jpeg-decoder and left: of a detailed photo of 12 million pixels an eighth takes 44 ms, and zune-jpeg
//! 49 to 74 ms for all of it, for most of the time goes into the Huffman codes.
//!
//! A JPEG without its end marker is refused by Pillow. Here it is refused if it is progressive, for a scan that
//! is missing leaves no trace, or if any block is missing; a sequential one that has all its blocks is whole.

mod gif;
mod jpeg;
mod sequential;
mod tiff;

use std::any::Any;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, imageops};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use self::jpeg::{Blocks, Frame};
use self::sequential::Sequential;
use self::tiff::Uncommon;
use crate::augment::Crop;
use crate::error::{DecodeError, DecodeReason};
use crate::inspect::header::read_header;
use crate::scratch::Scratch;

/// The longest side allowed, in pixels.
pub const MAX_SIDE: u32 = 30_000;

/// The largest file and the largest decoded image allowed, in bytes.
pub const MAX_BYTES: u64 = 1 << 30;

const JPEG: &str = "JPEG";

/// Files above this size, in bytes, are judged by their header before they are read.
const READ_AT_ONCE: u64 = 8 << 20;

/// An image, and what is odd about its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The image, upright.
    pub image: RgbImage,
    /// What is odd; mostly nothing.
    pub warnings: Vec<DecodeWarning>,
}

/// Something odd about a file that decodes nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum DecodeWarning {
    /// A JPEG that has all its pixels but not its end marker.
    #[error("the JPEG data has no end marker, but no pixels are missing")]
    NoEndMarker,
    /// A JPEG with an end marker whose data ends before the picture does, or is damaged; the decoder fills
    /// the gap with grey.
    #[error("{missing} of {blocks} blocks of the JPEG data are missing or damaged")]
    MissingBlocks {
        /// Blocks of 8x8 coefficients that cannot be read.
        missing: u64,
        /// Blocks that the picture consists of, all components together.
        blocks: u64,
    },
}

/// Decodes one file to RGB, upright.
///
/// Blank or wrong extensions do not matter. A panic inside a decoder is caught and becomes an error (the
/// process's panic hook still sees it).
///
/// # Errors
/// The file cannot be read, is in no known format or an unusual variant of one (such as TIFF of 32-bit
/// numbers), is larger than [`MAX_SIDE`] or [`MAX_BYTES`], ends early, or is damaged; the error names the file.
pub fn decode_rgb(path: &Path) -> Result<RgbImage, DecodeError> {
    let decoded = read(path).and_then(|bytes| decode_bytes(&bytes));
    decoded.map_err(|reason| DecodeError { path: path.to_owned(), reason })
}

/// [`decode_rgb`] with buffers that are used again: that of the file goes back at once, that of the image is
/// for the caller to give back.
pub(crate) fn decode_with(path: &Path, scratch: &mut Scratch) -> Result<RgbImage, DecodeError> {
    decode_file(path, scratch, |bytes, scratch| decode(bytes, scratch).map(|decoded| decoded.image))
}

fn decode_file(
    path: &Path,
    scratch: &mut Scratch,
    decode: impl FnOnce(&[u8], &mut Scratch) -> Result<RgbImage, DecodeReason>,
) -> Result<RgbImage, DecodeError> {
    let mut bytes = scratch.bytes();
    bytes.clear();
    let decoded = read_into(path, &mut bytes).and_then(|()| caught(|| decode(&bytes, scratch)));
    scratch.recycle_bytes(bytes);
    decoded.map_err(|reason| DecodeError { path: path.to_owned(), reason })
}

/// [`decode_with`], but perhaps with pixels of other images beside a window: `window` gets width and height of the image and
/// says which part it needs. Where a file has to be decoded whole, it is not asked.
pub(crate) fn decode_window(
    path: &Path,
    scratch: &mut Scratch,
    window: impl FnOnce(u32, u32) -> Crop,
) -> Result<RgbImage, DecodeError> {
    decode_file(path, scratch, |bytes, scratch| {
        let part =
            Sequential::of(bytes).and_then(|file| file.decode(window(file.width, file.height), scratch));
        part.map_or_else(|| decode(bytes, scratch).map(|decoded| decoded.image), Ok)
    })
}

/// Decodes the content of a file to RGB, upright: [`decode_rgb`] without the file.
///
/// # Errors
/// As [`decode_rgb`].
pub fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, DecodeReason> {
    caught(|| decode(bytes, &mut Scratch::default())).map(|decoded| decoded.image)
}

/// An image with all that its file says: alpha, and 16 bits where it has them.
pub(crate) struct Stored {
    /// As it lies in the file, not yet upright.
    pub(crate) image: DynamicImage,
    /// What makes it upright.
    pub(crate) orientation: Orientation,
    pub(crate) format: ImageFormat,
}

/// [`decode_bytes`] before the conversion to RGB, within the same limits.
pub(crate) fn decode_stored(bytes: &[u8]) -> Result<Stored, DecodeReason> {
    caught(|| decode_raw(bytes))
}

/// Decodes the content of a file and looks harder than [`decode_bytes`]: where blocks of a sequential JPEG could be missing,
/// they are counted.
///
/// # Errors
/// As [`decode_rgb`].
pub fn decode_checked(bytes: &[u8]) -> Result<Decoded, DecodeReason> {
    let mut scratch = Scratch::default();
    if let Some(image) = Sequential::of(bytes).and_then(|file| file.decode_whole(&mut scratch)) {
        // It read every block.
        return Ok(Decoded { image, warnings: Vec::new() });
    }
    let mut decoded = caught(|| decode(bytes, &mut scratch))?;
    if decoded.warnings.is_empty() && image::guess_format(bytes).is_ok_and(|f| f == ImageFormat::Jpeg) {
        let missing = Blocks::count(bytes).filter(|count| !count.is_whole());
        decoded.warnings.extend(missing.map(|count| DecodeWarning::MissingBlocks {
            missing: count.expected - count.found,
            blocks: count.expected,
        }));
    }
    Ok(decoded)
}

/// Width and height in pixels from the header alone, before the EXIF orientation is applied.
///
/// # Errors
/// The file cannot be read, or its header is damaged or of no known format.
pub fn dimensions(path: &Path) -> Result<(u32, u32), DecodeError> {
    let header = caught(|| read_header(path));
    let header = header.map_err(|reason| DecodeError { path: path.to_owned(), reason })?;
    Ok((header.width, header.height))
}

/// The same of the content of a file. None where the header does not say; decoding it then says why.
#[must_use]
pub fn dimensions_of(bytes: &[u8]) -> Option<(u32, u32)> {
    let size = caught(|| {
        let Known { format, bytes, .. } = known(bytes)?;
        Ok(image::ImageReader::with_format(std::io::Cursor::new(&bytes[..]), format).into_dimensions().ok())
    });
    size.ok().flatten()
}

/// Runs a decoder; a panic becomes an error.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, DecodeReason>) -> Result<T, DecodeReason> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(DecodeReason::Panicked { detail: panic_text(&*panic) }))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

pub(crate) fn open(path: &Path) -> Result<File, DecodeReason> {
    // Before opening: to open a pipe waits for ever.
    let metadata = path.metadata().map_err(|source| DecodeReason::Read { source })?;
    if !metadata.is_file() {
        return Err(DecodeReason::NotAFile);
    }
    if metadata.len() > MAX_BYTES {
        return Err(too_large(format!("{} bytes", metadata.len())));
    }
    File::open(path).map_err(|source| DecodeReason::Read { source })
}

/// The whole file, if by its header it is worth reading.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DecodeReason> {
    let mut bytes = Vec::new();
    read_into(path, &mut bytes).map(|()| bytes)
}

fn read_into(path: &Path, bytes: &mut Vec<u8>) -> Result<(), DecodeReason> {
    let mut file = open(path)?;
    if file.metadata().is_ok_and(|metadata| metadata.len() > READ_AT_ONCE) {
        // What is wrong with the header is for the decoder to say; here only the size counts.
        if let Ok(header) = read_header(path) {
            check_size(header.width, header.height, 3, header.format.name())?;
        }
    }
    file.read_to_end(bytes).map(drop).map_err(|source| DecodeReason::Read { source })
}

/// A file that is worth decoding: what it is, and what is odd about it.
struct Known<'a> {
    format: ImageFormat,
    name: &'static str,
    /// With an end marker, where only that was missing.
    bytes: Cow<'a, [u8]>,
    warnings: Vec<DecodeWarning>,
}

fn known(bytes: &[u8]) -> Result<Known<'_>, DecodeReason> {
    if bytes.is_empty() {
        return Err(DecodeReason::Empty);
    }
    let named = format_of(bytes).and_then(|format| Some((format, name_of(format)?)));
    let Some((format, name)) = named else {
        return Err(DecodeReason::Format { found: looks_like(bytes) });
    };
    let mut known = Known { format, name, bytes: Cow::Borrowed(bytes), warnings: Vec::new() };
    if format == ImageFormat::Jpeg {
        check_jpeg(bytes)?;
        // The decoder fills what is missing with grey, as browsers do.
        if !jpeg::has_end_marker(bytes) {
            if !Blocks::count(bytes).is_some_and(|count| count.is_whole()) {
                return Err(DecodeReason::Truncated { format: name });
            }
            known.bytes.to_mut().extend([0xFF, 0xD9]);
            known.warnings.push(DecodeWarning::NoEndMarker);
        }
    }
    Ok(known)
}

fn decode(bytes: &[u8], scratch: &mut Scratch) -> Result<Decoded, DecodeReason> {
    let Known { format, name, bytes, warnings } = known(bytes)?;
    let uncommon = if format == ImageFormat::Tiff { Uncommon::of(&bytes) } else { None };
    let (mut rgb, orientation) = match (uncommon, format) {
        (Some(kind), _) => kind.decode(&bytes).map(|(image, turned)| (image.into_rgb8(), turned))?,
        (None, ImageFormat::Jpeg) => decode_jpeg(&bytes, scratch)?,
        (None, _) => decode_as(&bytes, format, name, scratch)?,
    };
    if format == ImageFormat::Gif {
        gif::paint_around(&bytes, &mut rgb);
    }
    Ok(Decoded { image: upright(rgb, orientation, scratch), warnings })
}

fn decode_raw(bytes: &[u8]) -> Result<Stored, DecodeReason> {
    let Known { format, name, bytes, .. } = known(bytes)?;
    let uncommon = if format == ImageFormat::Tiff { Uncommon::of(&bytes) } else { None };
    let (image, orientation) = match uncommon {
        Some(kind) => kind.decode(&bytes)?,
        None => {
            let (decoder, orientation) = decoder(&bytes, format, name)?;
            let image = DynamicImage::from_decoder(decoder).map_err(|error| reason_of(error, name))?;
            (image, orientation)
        }
    };
    Ok(Stored { image, orientation, format })
}

/// The format by the content; `image` does not know TIFFs with 64-bit offsets by theirs.
fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
        return Some(ImageFormat::Tiff);
    }
    image::guess_format(bytes).ok()
}

fn upright(mut image: RgbImage, orientation: Orientation, scratch: &mut Scratch) -> RgbImage {
    let mut quarter = |image: RgbImage, clockwise: bool| {
        let mut turned = scratch.image(image.height(), image.width());
        // These fail only where the sizes do not match.
        let _ = match clockwise {
            true => imageops::rotate90_in(&image, &mut turned),
            false => imageops::rotate270_in(&image, &mut turned),
        };
        scratch.recycle(image);
        turned
    };
    match orientation {
        Orientation::NoTransforms => {}
        Orientation::FlipHorizontal => imageops::flip_horizontal_in_place(&mut image),
        Orientation::FlipVertical => imageops::flip_vertical_in_place(&mut image),
        Orientation::Rotate180 => imageops::rotate180_in_place(&mut image),
        Orientation::Rotate90 => image = quarter(image, true),
        Orientation::Rotate270 => image = quarter(image, false),
        Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            image = quarter(image, orientation == Orientation::Rotate90FlipH);
            imageops::flip_horizontal_in_place(&mut image);
        }
    }
    image
}

/// Decodes a JPEG, not yet upright.
fn decode_jpeg(bytes: &[u8], scratch: &mut Scratch) -> Result<(RgbImage, Orientation), DecodeReason> {
    if let Some(image) = Sequential::of(bytes).and_then(|file| file.decode_whole(scratch)) {
        return Ok((image, Orientation::NoTransforms));
    }
    decode_any_jpeg(bytes, scratch)
}

/// The general decoder.
fn decode_any_jpeg(bytes: &[u8], scratch: &mut Scratch) -> Result<(RgbImage, Orientation), DecodeReason> {
    let side = MAX_SIDE as usize;
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(jpeg_reason)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    check_size(width, height, 3, JPEG)?;
    // A damaged EXIF block is no reason to refuse the picture.
    let turned = decoder.exif().and_then(|chunk| Orientation::from_exif_chunk(chunk));
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(colours));
    // Zeros, as the decoder may end without an error and before the last pixel, which must not show another image.
    let mut pixels = scratch.zeros(colours.num_components() * width as usize * height as usize);
    let done = decoder.decode_into(&mut pixels).map_err(jpeg_reason);
    let image = done.map(|()| rgb_of(pixels, colours.num_components(), (width, height), scratch))?;
    Ok((image, turned.unwrap_or(Orientation::NoTransforms)))
}

/// Pixels of 1 to 4 channels as RGB: grey is repeated, and alpha dropped.
fn rgb_of(pixels: Vec<u8>, channels: usize, (width, height): (u32, u32), scratch: &mut Scratch) -> RgbImage {
    if channels == 3 {
        return RgbImage::from_raw(width, height, pixels).unwrap_or_else(|| RgbImage::new(width, height));
    }
    let mut image = scratch.image(width, height);
    for (rgb, pixel) in image.as_chunks_mut::<3>().0.iter_mut().zip(pixels.chunks_exact(channels.max(1))) {
        *rgb = match *pixel {
            [r, g, b, _] => [r, g, b],
            _ => [pixel[0]; 3],
        };
    }
    scratch.recycle_bytes(pixels);
    image
}

/// A decoder of a file of a known format, within the limits, and what makes its image upright.
fn decoder<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    name: &'static str,
) -> Result<(impl ImageDecoder + 'a, Orientation), DecodeReason> {
    let fail = |error| reason_of(error, name);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, u64::from(decoder.color_type().bytes_per_pixel()), name)?;
    // A damaged EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

/// Decodes a file of a known format, not yet upright.
fn decode_as(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    scratch: &mut Scratch,
) -> Result<(RgbImage, Orientation), DecodeReason> {
    let fail = |error| reason_of(error, name);
    let (decoder, orientation) = decoder(bytes, format, name)?;
    let (width, height) = decoder.dimensions();
    if matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8) {
        let channels = usize::from(decoder.color_type().channel_count());
        // A decoder that stops early must not leave what another image left there.
        let mut pixels = scratch.zeros(channels * width as usize * height as usize);
        decoder.read_image(&mut pixels).map_err(fail)?;
        return Ok((rgb_of(pixels, channels, (width, height), scratch), orientation));
    }
    Ok((DynamicImage::from_decoder(decoder).map_err(fail)?.into_rgb8(), orientation))
}

/// Refuses pictures that are too large, or empty; `bytes` is what a decoder needs for a pixel.
fn check_size(width: u32, height: u32, bytes: u64, format: &'static str) -> Result<(), DecodeReason> {
    let size = format!("{width}x{height} pixels");
    if width == 0 || height == 0 {
        return Err(DecodeReason::Corrupt { format, detail: format!("a size of {width}x{height}") });
    }
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > MAX_SIDE || pixels * bytes.max(3) > MAX_BYTES {
        return Err(too_large(size));
    }
    Ok(())
}

/// Refuses, by the header, a JPEG that takes too much memory, or that promises more than it can hold.
fn check_jpeg(bytes: &[u8]) -> Result<(), DecodeReason> {
    let Some(frame) = Frame::of(bytes) else { return Ok(()) };
    check_size(frame.width, frame.height, 3, JPEG)?;
    if frame.working_memory() > MAX_BYTES {
        return Err(too_large(format!("{} MiB of coefficients", frame.working_memory() >> 20)));
    }
    // Each block has at least a code of 1 bit for its mean.
    if frame.least_blocks() > 8 * bytes.len() as u64 {
        return Err(DecodeReason::Truncated { format: JPEG });
    }
    Ok(())
}

fn too_large(got: String) -> DecodeReason {
    let expected = format!("{MAX_SIDE} pixels a side and {} MiB", MAX_BYTES >> 20);
    DecodeReason::TooLarge { got, expected }
}

fn jpeg_reason(error: DecodeErrors) -> DecodeReason {
    match error {
        DecodeErrors::Unsupported(what) => {
            DecodeReason::Unsupported { format: JPEG, detail: one_line(&format!("{what:?}")) }
        }
        DecodeErrors::LargeDimensions(_) => too_large("a side beyond the limit".to_owned()),
        error => DecodeReason::Corrupt { format: JPEG, detail: one_line(&error.to_string()) },
    }
}

fn reason_of(error: ImageError, format: &'static str) -> DecodeReason {
    match error {
        ImageError::Limits(limit) if matches!(limit.kind(), LimitErrorKind::DimensionError) => {
            too_large("a side beyond the limit".to_owned())
        }
        ImageError::Limits(_) => too_large("memory beyond the limit".to_owned()),
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeReason::Truncated { format }
        }
        ImageError::Unsupported(error) => {
            DecodeReason::Unsupported { format, detail: one_line(&error.to_string()) }
        }
        error => DecodeReason::Corrupt { format, detail: one_line(&error.to_string()) },
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of a format that is decoded here.
fn name_of(format: ImageFormat) -> Option<&'static str> {
    Some(match format {
        ImageFormat::Jpeg => JPEG,
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PNM",
        _ => return None,
    })
}

/// What [`looks_like`] calls the pictures of telephones.
pub(crate) const HEIC: &str = "a HEIC or AVIF image";

/// What the content of a file that is no image looks like, for the error message.
pub(crate) fn looks_like(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(64)];
    let text = start.trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"<!doctype") || text.starts_with(b"<html") {
        "an HTML page"
    } else if text.starts_with(b"<svg") || text.starts_with(b"<?xml") {
        "SVG or XML"
    } else if text.starts_with(b"version https://git-lfs") {
        "a Git LFS pointer"
    } else if start.get(4..8) == Some(b"ftyp") {
        HEIC
    } else if start.starts_with(b"%PDF") {
        "a PDF document"
    } else if start.iter().all(|&byte| byte == 0) {
        "zeros"
    } else {
        "other data"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let result: Result<(), _> = caught(|| std::panic::panic_any("the cause".to_owned()));
        assert_eq!(result.unwrap_err().to_string(), "the decoder failed: the cause");
    }

    #[test]
    fn other_content_is_named() {
        let found = |bytes: &[u8]| decode_bytes(bytes).unwrap_err().to_string();
        assert!(found(b"\n<!DOCTYPE html><p>404").contains("an HTML page"));
        assert!(found(b"version https://git-lfs.github.com/spec/v1\n").contains("a Git LFS pointer"));
        assert!(found(b"\0\0\0\x18ftypheic").contains("a HEIC or AVIF image"));
        assert!(found(&[0; 50]).contains("zeros"));
        assert_eq!(found(b""), "the file is empty");
    }
}
