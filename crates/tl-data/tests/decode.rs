//! Decoding: every format and colour type, orientation, damage of every kind.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::io::Cursor;
use std::path::PathBuf;

use common::picture;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use tl_data::decode::{DecodeWarning, decode_bytes, decode_checked, dimensions, dimensions_of};
use tl_data::{DecodeReason, decode_rgb};

const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
    ImageFormat::WebP,
    ImageFormat::Pnm,
];

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", name].iter().collect()
}

fn worst(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn every_format_by_content_not_by_name() {
    let smooth = RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 90]));
    let dir = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = dir.path().join("image.xyz");
        std::fs::write(&path, encode(&smooth.clone().into(), format)).unwrap();
        let allowed = match format {
            ImageFormat::Jpeg => 24,
            ImageFormat::Gif => 40,
            _ => 0,
        };
        let decoded = decode_rgb(&path).unwrap();
        assert!(worst(&decoded, &smooth) <= allowed, "{format:?} {}", worst(&decoded, &smooth));
        assert_eq!(dimensions(&path).unwrap(), (40, 30));
        assert_eq!(dimensions_of(&encode(&smooth.clone().into(), format)), Some((40, 30)));
    }
}

#[test]
fn colour_types_of_png() {
    let rgb = picture(7, 5, 1);
    let image = DynamicImage::ImageRgb8(rgb.clone());
    let decode = |image: DynamicImage| decode_bytes(&encode(&image, ImageFormat::Png)).unwrap();
    assert_eq!(decode(DynamicImage::ImageRgb16(image.to_rgb16())), rgb);
    let grey = image.to_luma8();
    let repeated = RgbImage::from_fn(7, 5, |x, y| Rgb([grey.get_pixel(x, y).0[0]; 3]));
    assert_eq!(decode(grey.clone().into()), repeated);
    assert_eq!(decode(DynamicImage::ImageLuma16(DynamicImage::from(grey).to_luma16())), repeated);
    // Alpha is dropped, not blended.
    let mut rgba = image.to_rgba8();
    rgba.pixels_mut().enumerate().for_each(|(i, pixel)| pixel.0[3] = (i * 7) as u8);
    assert_eq!(decode(rgba.clone().into()), rgb);
    assert_eq!(decode(DynamicImage::ImageRgba16(DynamicImage::from(rgba).to_rgba16())), rgb);
    // 16 bits are scaled, not cut off.
    let level = |value| {
        let image = image::ImageBuffer::from_pixel(1, 1, image::Luma([value]));
        decode(DynamicImage::ImageLuma16(image)).get_pixel(0, 0).0[0]
    };
    assert_eq!([0, 128, 129, 32_768, 65_407, 65_535].map(level), [0, 0, 1, 128, 255, 255]);
}

/// The files come from `tests/golden/make_decode.py`, with what Pillow makes of them beside.
#[test]
fn odd_files_as_pillow_reads_them() {
    let list = std::fs::read_to_string(data("decode.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let name = case["file"].as_str().unwrap();
        if case["pixels"].is_null() {
            assert!(matches!(decode_rgb(&data(name)).unwrap_err().reason, DecodeReason::Unsupported { .. }));
            continue;
        }
        let ours = decode_rgb(&data(name)).unwrap();
        let size: (u32, u32) = serde_json::from_value(case["size"].clone()).unwrap();
        assert_eq!(ours.dimensions(), size, "{name}");
        let pixels: Vec<u8> = serde_json::from_value(case["pixels"].clone()).unwrap();
        let theirs = RgbImage::from_raw(size.0, size.1, pixels).unwrap();
        let allowed = case["allowed"].as_u64().unwrap() as u8;
        assert!(worst(&ours, &theirs) <= allowed, "{name}: off by {}", worst(&ours, &theirs));
    }
}

/// An EXIF block with nothing but an orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xFF, 0xE1]);
    bytes.extend(((exif.len() + 2) as u16).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn orientations() {
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    let stored =
        RgbImage::from_fn(32, 16, |x, y| Rgb([(x * 8) as u8, (y * 16) as u8, if x < 8 { 200 } else { 50 }]));
    let jpeg = encode(&stored.into(), ImageFormat::Jpeg);
    let plain = decode_bytes(&jpeg).unwrap();
    let upright = [
        plain.clone(),
        flip_horizontal(&plain),
        rotate180(&plain),
        flip_vertical(&plain),
        flip_horizontal(&rotate90(&plain)),
        rotate90(&plain),
        flip_horizontal(&rotate270(&plain)),
        rotate270(&plain),
    ];
    for (orientation, expected) in (1..=8).zip(upright) {
        assert_eq!(decode_bytes(&with_orientation(&jpeg, orientation)).unwrap(), expected, "{orientation}");
    }
    // Nonsense counts as upright.
    for orientation in [0, 9, 255] {
        assert_eq!(decode_bytes(&with_orientation(&jpeg, orientation)).unwrap(), plain);
    }
}

#[test]
fn one_pixel() {
    let image = RgbImage::from_pixel(1, 1, Rgb([200, 100, 50]));
    for format in FORMATS {
        let decoded = decode_bytes(&encode(&image.clone().into(), format)).unwrap();
        assert!(worst(&decoded, &image) <= 4, "{format:?}");
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let image = DynamicImage::from(picture(64, 48, 3));
    for format in FORMATS {
        let bytes = encode(&image, format);
        let whole = decode_bytes(&bytes).unwrap();
        let cuts = (0..200).map(|i| i * bytes.len() / 200).chain(bytes.len() - 20..bytes.len());
        for cut in cuts {
            // Some formats end with bytes that carry no pixels; without those the image is still whole.
            if let Ok(image) = decode_bytes(&bytes[..cut]) {
                assert_eq!(image, whole, "{format:?} cut to {cut} of {} bytes", bytes.len());
                assert!(bytes.len() - cut <= 16, "{format:?} cut to {cut} of {} bytes", bytes.len());
            }
        }
        let half = decode_bytes(&bytes[..bytes.len() / 2]).unwrap_err();
        let expected = matches!(half, DecodeReason::Truncated { .. } | DecodeReason::Corrupt { .. });
        assert!(expected, "{format:?}: {half}");
    }
}

#[test]
fn a_truncated_progressive_jpeg_is_an_error() {
    let bytes = std::fs::read(data("decode_progressive.jpg")).unwrap();
    decode_bytes(&bytes).unwrap();
    for cut in 0..bytes.len() - 1 {
        assert!(decode_bytes(&bytes[..cut]).is_err(), "{cut} of {}", bytes.len());
    }
    // A stray zero or a note after the end does no harm.
    decode_bytes(&[&bytes[..], &[0, 0, 0]].concat()).unwrap();
    decode_bytes(&[&bytes[..], b"trailing"].concat()).unwrap();
}

/// What follows is missing from the end of a file that nothing but the end marker is missing from.
const NO_END: usize = 2;

#[test]
fn a_jpeg_without_its_end_marker_is_whole() {
    for name in
        ["decode_baseline.jpg", "decode_444.jpg", "decode_grey.jpg", "decode_restart.jpg", "decode_ycck.jpg"]
    {
        let bytes = std::fs::read(data(name)).unwrap();
        assert!(decode_checked(&bytes).unwrap().warnings.is_empty(), "{name}");
        for cut in 1..=NO_END {
            let decoded = decode_checked(&bytes[..bytes.len() - cut]).unwrap();
            assert_eq!(decoded.warnings, [DecodeWarning::NoEndMarker], "{name}");
            assert_eq!(decoded.image, decode_bytes(&bytes).unwrap(), "{name}");
        }
        // One byte of the last block less, and it is refused.
        for cut in NO_END + 1..NO_END + 30 {
            let reason = decode_bytes(&bytes[..bytes.len() - cut]).unwrap_err();
            assert!(matches!(reason, DecodeReason::Truncated { .. }), "{name} less {cut}: {reason}");
        }
    }
    let progressive = std::fs::read(data("decode_progressive.jpg")).unwrap();
    let reason = decode_bytes(&progressive[..progressive.len() - NO_END]).unwrap_err();
    assert!(matches!(reason, DecodeReason::Truncated { .. }), "{reason}");
}

#[test]
fn a_jpeg_cut_off_is_refused_wherever_it_is_cut() {
    for (width, height, seed) in [(64, 48, 3), (17, 33, 4), (8, 8, 5), (200, 9, 6)] {
        let bytes = encode(&picture(width, height, seed).into(), ImageFormat::Jpeg);
        for cut in 0..bytes.len() - NO_END {
            assert!(decode_bytes(&bytes[..cut]).is_err(), "{cut} of {}", bytes.len());
        }
        decode_bytes(&bytes[..bytes.len() - NO_END]).unwrap();
    }
}

#[test]
fn blocks_that_are_missing_inside_are_counted() {
    let bytes = encode(&picture(64, 48, 3).into(), ImageFormat::Jpeg);
    let start = bytes.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap() + 14;
    let half = (start + bytes.len()) / 2;
    let cut = [&bytes[..half], &[0xFF, 0xD9]].concat();
    let decoded = decode_checked(&cut).unwrap();
    let [DecodeWarning::MissingBlocks { missing, blocks }] = decoded.warnings[..] else {
        panic!("{:?}", decoded.warnings);
    };
    // 64x48 pixels: 48 blocks of luma, and of each difference 48 or 12.
    assert!(blocks == 144 || blocks == 72, "{blocks}");
    assert!((blocks / 4..blocks * 3 / 4).contains(&missing), "{missing} of {blocks}");
    let text = decoded.warnings[0].to_string();
    assert!(text.ends_with("blocks of the JPEG data are missing or damaged"), "{text}");
}

#[test]
fn bombs_are_refused() {
    // A PNG header that promises 60,000 x 60,000 pixels, and one just within the sides but not the memory.
    for (side, expected) in
        [(60_000_u32, "it is too large: "), (29_999, "it is too large: 29999x29999 pixels")]
    {
        let mut header = b"IHDR".to_vec();
        header.extend(side.to_be_bytes());
        header.extend(side.to_be_bytes());
        header.extend([8, 2, 0, 0, 0]);
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0D".to_vec();
        png.extend(&header);
        png.extend(crc32(&header).to_be_bytes());
        png.extend(b"\0\0\0\x0AIDAT\x78\x9c\x63\x00\x00\x00\x02\x00\x01\x00");
        let reason = decode_bytes(&png).unwrap_err();
        assert!(reason.to_string().starts_with(expected), "{reason}");
        assert!(matches!(reason, DecodeReason::TooLarge { .. }));
    }
    // A real JPEG whose header promises more than there is.
    let mut jpeg = encode(&picture(16, 16, 0).into(), ImageFormat::Jpeg);
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[at + 5..at + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
    assert!(matches!(decode_bytes(&jpeg).unwrap_err(), DecodeReason::TooLarge { .. }));
    // Within the limits, but so few bytes cannot hold so many blocks.
    jpeg[at + 5..at + 9].copy_from_slice(&[0x40, 0, 0x40, 0]);
    assert!(matches!(decode_bytes(&jpeg).unwrap_err(), DecodeReason::Truncated { .. }));
}

#[test]
fn a_huge_jpeg_is_refused_by_its_header() {
    let mut jpeg = encode(&picture(16, 16, 0).into(), ImageFormat::Jpeg);
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[at + 5..at + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.jpg");
    // A sparse file: 900 MiB that nobody reads.
    std::fs::write(&path, &jpeg).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(900 << 20).unwrap();
    let started = std::time::Instant::now();
    let error = decode_rgb(&path).unwrap_err().to_string();
    assert!(
        error.contains("it is too large: 30000x30000 pixels (expected at most 30000 pixels a side"),
        "{error}"
    );
    assert!(started.elapsed().as_millis() < 500, "{:?}", started.elapsed());
    assert_eq!(dimensions(&path).unwrap(), (30_000, 30_000));
    // The same progressive and small enough, were it not for the coefficients.
    jpeg[at + 1] = 0xC2;
    jpeg[at + 5..at + 9].copy_from_slice(&[0x48, 0x00, 0x48, 0x00]);
    let reason = decode_bytes(&jpeg).unwrap_err().to_string();
    assert!(reason.starts_with("it is too large: "), "{reason}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn errors_name_the_file_and_help() {
    let dir = tempfile::tempdir().unwrap();
    let text = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let error = decode_rgb(&dir.path().join(name)).unwrap_err().to_string();
        error.replace(&dir.path().display().to_string(), "DIR")
    };
    assert_eq!(
        text("a.jpg", b"<!DOCTYPE html>"),
        "image `DIR/a.jpg` cannot be decoded: it holds an HTML page (expected JPEG, PNG, BMP, GIF, TIFF, WebP or PNM)\
        \n\nhint: the download went wrong; fetch it again"
    );
    assert!(
        text("b.png", b"").starts_with("image `DIR/b.png` cannot be decoded: the file is empty\n\nhint: ")
    );
    let folder = decode_rgb(dir.path()).unwrap_err().to_string();
    assert!(folder.ends_with("it is not a regular file"), "{folder}");
    let missing = decode_rgb(&dir.path().join("none.png")).unwrap_err().to_string();
    assert!(missing.contains("none.png` cannot be decoded: it cannot be read: "), "{missing}");
    assert!(dimensions(&dir.path().join("a.jpg")).is_err());
    let float = decode_rgb(&data("decode_float.tif")).unwrap_err().to_string();
    assert!(
        float.contains("this kind of TIFF is not supported: ") && float.contains("hint: convert"),
        "{float}"
    );
}
