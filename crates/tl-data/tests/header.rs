//! Headers: every format, without decoding.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::io::Cursor;
use std::path::PathBuf;

use tl_data::DecodeReason;
use tl_data::inspect::{Colour, Format, Header, parse_header, read_header};

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", name].iter().collect()
}

fn of(bytes: &[u8]) -> Result<Header, DecodeReason> {
    parse_header(Cursor::new(bytes))
}

#[test]
fn what_the_odd_files_say_of_themselves() {
    use Colour::*;
    use Format::*;
    for (name, format, colour, bits) in [
        ("decode_baseline.jpg", Jpeg, Rgb, 8),
        ("decode_progressive.jpg", Jpeg, Rgb, 8),
        ("decode_grey.jpg", Jpeg, Grey, 8),
        ("decode_cmyk.jpg", Jpeg, Cmyk, 8),
        ("decode_palette.png", Png, Palette, 8),
        ("decode_1bit.png", Png, Grey, 1),
        ("decode_grey_alpha.png", Png, GreyAlpha, 8),
        ("decode_rgb16.png", Png, Rgb, 16),
        ("decode_palette.gif", Gif, Palette, 8),
        ("decode_palette.bmp", Bmp, Palette, 8),
        ("decode_1bit.bmp", Bmp, Palette, 1),
        ("decode_alpha.tif", Tiff, Rgba, 8),
        ("decode_lzw.tif", Tiff, Rgb, 8),
        ("decode_palette2.tif", Tiff, Palette, 2),
        ("decode_grey16.tif", Tiff, Grey, 16),
        ("decode_grey_alpha.tif", Tiff, GreyAlpha, 8),
        ("decode_cmyk.tif", Tiff, Cmyk, 8),
        ("decode_lossy.webp", WebP, Rgb, 8),
        ("decode_alpha.webp", WebP, Rgba, 8),
        ("decode_1bit.pbm", Pnm, Grey, 1),
    ] {
        let found = read_header(&data(name)).unwrap();
        let expected = Header {
            format,
            width: 20,
            height: 16,
            colour,
            bits,
            orientation: 1,
            animated: false,
            pages: false,
        };
        assert_eq!(found, expected, "{name}");
    }
    let animated = read_header(&data("decode_animated.gif")).unwrap();
    assert!(animated.animated);
}

fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), kind, body, &[0; 4]].concat()
}

const EXIF: &[u8] = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

#[test]
fn png_with_an_orientation_and_frames() {
    let header = [7_u32.to_be_bytes(), 5_u32.to_be_bytes()].concat();
    let start =
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &[&header[..], &[8, 6, 0, 0, 0]].concat())].concat();
    let frames = chunk(b"acTL", &[0, 0, 0, 3, 0, 0, 0, 0]);
    let rest = [chunk(b"tEXt", b"x"), chunk(b"eXIf", EXIF), chunk(b"IDAT", b"")].concat();
    let found = of(&[&start[..], &frames, &rest].concat()).unwrap();
    assert!(found.animated && found.orientation == 6 && found.colour == Colour::Rgba);
    assert_eq!(found.upright(), (5, 7));
    assert_eq!(of(&start).unwrap().orientation, 1);
    assert!(matches!(of(&start[..20]), Err(DecodeReason::Truncated { format: "PNG" })));
    let no_size = start.iter().enumerate().map(|(i, &b)| if i == 19 { 0 } else { b }).collect::<Vec<_>>();
    assert_eq!(of(&no_size).unwrap_err().to_string(), "the PNG data is damaged: a size of 0x5");
}

#[test]
fn webp_with_frames_and_an_orientation() {
    let part = |kind: &[u8], body: &[u8]| [kind, &(body.len() as u32).to_le_bytes(), body].concat();
    let extended = part(b"VP8X", &[0x02 | 0x08 | 0x10, 0, 0, 0, 99, 0, 0, 49, 0, 0]);
    let file = [b"RIFF\0\0\0\0WEBP".to_vec(), extended, part(b"ANIM", &[0; 6]), part(b"EXIF", EXIF)].concat();
    let found = of(&file).unwrap();
    let expected = (100, 50, Colour::Rgba, 6, true);
    assert_eq!((found.width, found.height, found.colour, found.orientation, found.animated), expected);
}

#[test]
fn pnm_with_comments_and_words() {
    let found = of(b"P5 # a comment\n# another\n 30\t4\n65535\n").unwrap();
    assert_eq!((found.width, found.height, found.colour, found.bits), (30, 4, Colour::Grey, 16));
    let words = b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n";
    assert_eq!((of(words).unwrap().width, of(words).unwrap().colour), (3, Colour::Rgba));
    assert!(matches!(of(b"P6 12"), Err(DecodeReason::Truncated { .. })));
    assert!(matches!(of(b"P6 twelve 3 255\n"), Err(DecodeReason::Corrupt { .. })));
}

#[test]
fn bmp_upside_down_and_old() {
    let start = |header: &[u8]| [&b"BM"[..], &[0; 12], header].concat();
    let mut info = 40_u32.to_le_bytes().to_vec();
    info.extend(6_i32.to_le_bytes());
    info.extend((-4_i32).to_le_bytes());
    info.extend([1, 0, 24, 0]);
    let found = of(&start(&info)).unwrap();
    assert_eq!((found.width, found.height, found.bits), (6, 4, 8));
    let core = of(&start(&[12, 0, 0, 0, 9, 0, 8, 0, 1, 0, 4, 0])).unwrap();
    assert_eq!((core.width, core.height, core.colour), (9, 8, Colour::Palette));
    // 32 bits: alpha only where a mask says so.
    let deep = |length: u32, compression: u32, mask: u32| {
        let mut info = length.to_le_bytes().to_vec();
        info.extend([6_u32, 4].iter().flat_map(|side| side.to_le_bytes()));
        info.extend([1, 0, 32, 0]);
        info.extend(compression.to_le_bytes());
        info.extend([0; 32]);
        info.extend(mask.to_le_bytes());
        of(&start(&info)).unwrap().colour
    };
    assert_eq!(deep(40, 0, 0xFF00_0000), Colour::Rgb);
    assert_eq!(deep(124, 3, 0xFF00_0000), Colour::Rgba);
    assert_eq!(deep(124, 3, 0), Colour::Rgb);
}

#[test]
fn what_is_no_image() {
    assert!(matches!(of(b""), Err(DecodeReason::Empty)));
    assert!(matches!(of(b"<html>"), Err(DecodeReason::Format { found: "an HTML page" })));
    assert!(matches!(read_header(&data("missing.png")), Err(DecodeReason::Read { .. })));
}

#[test]
fn nonsense_is_refused() {
    let no_bits =
        [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0])].concat();
    assert_eq!(of(&no_bits).unwrap_err().to_string(), "the PNG data is damaged: samples of 0 bits");

    // A marker is looked for, but not through a whole file; nor one pair of bytes at a time.
    let frame = b"\xFF\xC0\0\x0B\x08\0\x05\0\x07\x01\x01\x11\0\xFF\xDA";
    let jpeg = |garbage: &[u8]| of(&[b"\xFF\xD8\xFF\xE0\0\x02", garbage, frame].concat());
    assert_eq!(jpeg(&[7; 1000]).unwrap().width, 7);
    assert_eq!(jpeg(&[0xFF; 1000]).unwrap().width, 7);
    for garbage in [vec![7; 100_000], [0xFF, 0].repeat(100_000)] {
        let error = jpeg(&garbage).unwrap_err().to_string();
        assert_eq!(error, "the JPEG data is damaged: there is no marker where one belongs");
    }
}
