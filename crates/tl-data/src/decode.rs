//! Image files to 8-bit RGB.
//!
//! The one decision: the content decides, not the name, and a file is either decoded whole or refused with a
//! reason. Nothing in a file may crash the program, fill its memory, or pass as an image with a grey lower
//! half.
//!
//! Colours follow Pillow's `convert("RGB")`: grey is repeated, palettes are looked up, alpha is dropped (not
//! composited), 16 bits are scaled to 8. The EXIF orientation is applied. Only the first frame of a GIF or of
//! an animated WebP is used.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::error::{DecodeError, DecodeReason};

/// The longest side allowed, in pixels.
pub const MAX_SIDE: u32 = 30_000;

/// The largest file and the largest decoded image allowed, in bytes.
pub const MAX_BYTES: u64 = 1 << 30;

/// Decodes one file to RGB, upright.
///
/// Blank or wrong extensions do not matter. A panic inside a decoder is caught and becomes an error (the
/// process's panic hook still sees it).
///
/// # Errors
/// The file cannot be read, is in no known format or an unusual variant of one (such as TIFF with a palette),
/// is larger than [`MAX_SIDE`] or [`MAX_BYTES`], ends early, or is damaged; the error names the file.
pub fn decode_rgb(path: &Path) -> Result<RgbImage, DecodeError> {
    let decoded = read(path).and_then(|bytes| decode_bytes(&bytes));
    decoded.map_err(|reason| DecodeError { path: path.to_owned(), reason })
}

/// Decodes the content of a file to RGB, upright: [`decode_rgb`] without the file.
///
/// # Errors
/// As [`decode_rgb`].
pub fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, DecodeReason> {
    caught(|| decode(bytes))
}

/// Width and height in pixels from the header alone, before the EXIF orientation is applied.
///
/// # Errors
/// The file cannot be read, or its header is damaged or of no known format.
pub fn dimensions(path: &Path) -> Result<(u32, u32), DecodeError> {
    let read_header = || {
        let file = open(path)?;
        let reader = ImageReader::new(BufReader::new(file)).with_guessed_format();
        let reader = reader.map_err(|source| DecodeReason::Read { source })?;
        let format = reader.format().and_then(name_of).ok_or(DecodeReason::Format { found: "other data" })?;
        reader.into_dimensions().map_err(|error| reason_of(error, format))
    };
    caught(read_header).map_err(|reason| DecodeError { path: path.to_owned(), reason })
}

/// Runs a decoder; a panic becomes an error.
fn caught<T>(work: impl FnOnce() -> Result<T, DecodeReason>) -> Result<T, DecodeReason> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(DecodeReason::Panicked { detail: text.unwrap_or("no message").to_owned() })
    })
}

fn open(path: &Path) -> Result<File, DecodeReason> {
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

fn read(path: &Path) -> Result<Vec<u8>, DecodeReason> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| DecodeReason::Read { source })?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeReason> {
    if bytes.is_empty() {
        return Err(DecodeReason::Empty);
    }
    let known = image::guess_format(bytes).ok().and_then(|format| Some((format, name_of(format)?)));
    let Some((format, name)) = known else {
        return Err(DecodeReason::Format { found: looks_like(bytes) });
    };
    // The decoder fills what is missing with grey, as browsers do.
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(DecodeReason::Truncated { format: name });
    }
    let fail = |error| reason_of(error, name);

    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(DecodeReason::Corrupt { format: name, detail: format!("a size of {width}x{height}") });
    }
    if decoder.total_bytes() > MAX_BYTES || u64::from(width) * u64::from(height) * 3 > MAX_BYTES {
        return Err(too_large(format!("{width}x{height} pixels")));
    }
    // A damaged EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let rgb = DynamicImage::from_decoder(decoder).map_err(fail)?.into_rgb8();
    if orientation == Orientation::NoTransforms {
        return Ok(rgb);
    }
    let mut upright = DynamicImage::ImageRgb8(rgb);
    upright.apply_orientation(orientation);
    Ok(upright.into_rgb8())
}

fn too_large(got: String) -> DecodeReason {
    let expected = format!("{MAX_SIDE} pixels a side and {} MiB", MAX_BYTES >> 20);
    DecodeReason::TooLarge { got, expected }
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
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PNM",
        _ => return None,
    })
}

/// What the content of a file that is no image looks like, for the error message.
fn looks_like(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(64)];
    let text = start.trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"<!doctype") || text.starts_with(b"<html") {
        "an HTML page"
    } else if text.starts_with(b"<svg") || text.starts_with(b"<?xml") {
        "SVG or XML"
    } else if text.starts_with(b"version https://git-lfs") {
        "a Git LFS pointer"
    } else if start.get(4..8) == Some(b"ftyp") {
        "a HEIC or AVIF image"
    } else if start.starts_with(b"%PDF") {
        "a PDF document"
    } else if start.iter().all(|&byte| byte == 0) {
        "zeros"
    } else {
        "other data"
    }
}

/// Whether a JPEG has its end-of-image marker. Zeros or other data after it do no harm.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes[..used].ends_with(&[0xFF, 0xD9]) || jpeg_end_marker(bytes).is_some()
}

/// Walks the segments and the compressed data behind them: the offset of the first end-of-image marker that
/// is not inside a segment, such as that of a thumbnail.
fn jpeg_end_marker(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xFF)?;
        match bytes[at] {
            0xD9 => return Some(at - 1),
            // A stuffed 0xFF, or a marker without a body.
            0x00 | 0x01 | 0xD0..=0xD8 => at += 1,
            _ => at += 1 + usize::from(u16::from_be_bytes([*bytes.get(at + 1)?, *bytes.get(at + 2)?])),
        }
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
    fn the_end_marker_of_a_thumbnail_does_not_count() {
        // SOI, an APP1 of 6 bytes that holds EOI, SOS, data with a stuffed 0xFF, EOI.
        let head =
            [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 1, 2, 0xFF, 0xDA, 0, 2, 9, 0xFF, 0, 0xFF, 0xD0, 7];
        assert_eq!(jpeg_end_marker(&head), None);
        assert_eq!(jpeg_end_marker(&[&head[..], &[0xFF, 0xFF, 0xD9, 5, 5]].concat()), Some(21));
        assert!(jpeg_is_whole(&[&head[..], &[0xFF, 0xD9, 0, 0, 0]].concat()));
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
