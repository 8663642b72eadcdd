//! The headers of PNG, GIF, WebP, BMP and PNM.
//!
//! The one decision: of each format only what [`Header`] asks for is read; what else may be wrong with a file
//! is for the decoder to find.

use std::io::{Read, Seek};

use super::source::Source;
use super::{Colour, Format, Header, orientation_of};
use crate::error::DecodeReason;

/// W3C PNG, third edition: chunks up to the first with pixels.
pub(super) fn png<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    source.go_to(8)?;
    let [_, _, _, _, kind @ ..] = source.take::<8>()?;
    if &kind != b"IHDR" {
        return Err(source.corrupt("the first chunk is not `IHDR`"));
    }
    let body = source.take::<13>()?;
    let number = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    let colour = match body[9] {
        0 => Colour::Grey,
        2 => Colour::Rgb,
        3 => Colour::Palette,
        4 => Colour::GreyAlpha,
        6 => Colour::Rgba,
        _ => Colour::Other,
    };
    let mut header = Header::new(Format::Png, (number(0), number(4)), colour, u16::from(body[8]));
    source.skip(4)?;
    // What comes first counts even if the file ends here.
    while let Ok([a, b, c, d, kind @ ..]) = source.take::<8>() {
        let length = u32::from_be_bytes([a, b, c, d]);
        match &kind {
            b"IDAT" | b"IEND" => break,
            b"acTL" => {
                let frames = u32::from_be_bytes(source.take()?);
                header.animated = frames > 1;
                source.skip(length.saturating_sub(4))?;
            }
            b"eXIf" => header.orientation = orientation_of(&source.take_vec(length)?),
            _ => source.skip(length)?,
        }
        source.skip(4)?;
    }
    Ok(header)
}

/// GIF89a: blocks up to the second frame.
pub(super) fn gif<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    source.go_to(6)?;
    let [w1, w2, h1, h2, flags, _, _] = source.take()?;
    let size = (u32::from(u16::from_le_bytes([w1, w2])), u32::from(u16::from_le_bytes([h1, h2])));
    let mut header = Header::new(Format::Gif, size, Colour::Palette, 8);
    source.skip(colour_table(flags))?;
    header.animated = gif_frames(source).unwrap_or(false);
    Ok(header)
}

fn colour_table(flags: u8) -> u32 {
    if flags & 0x80 == 0 { 0 } else { 3 << (1 + (flags & 7)) }
}

/// Whether there are two frames or more.
fn gif_frames<R: Read + Seek>(source: &mut Source<R>) -> Result<bool, DecodeReason> {
    let mut frames = 0;
    loop {
        match source.byte()? {
            0x2C => {
                frames += 1;
                if frames == 2 {
                    return Ok(true);
                }
                let descriptor = source.take::<9>()?;
                source.skip(colour_table(descriptor[8]) + 1)?;
            }
            0x21 => source.skip(1)?,
            _ => return Ok(false),
        }
        loop {
            match source.byte()? {
                0 => break,
                length => source.skip(u32::from(length))?,
            }
        }
    }
}

/// WebP container specification, RFC 9649.
pub(super) fn webp<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    source.go_to(12)?;
    let [a, b, c, d, length @ ..] = source.take::<8>()?;
    match &[a, b, c, d] {
        b"VP8 " => {
            let [_, _, _, 0x9D, 0x01, 0x2A, w1, w2, h1, h2] = source.take()? else {
                return Err(source.corrupt("the first frame is not a key frame"));
            };
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
            Ok(Header::new(Format::WebP, (side(w1, w2), side(h1, h2)), Colour::Rgb, 8))
        }
        b"VP8L" => {
            let [0x2F, rest @ ..] = source.take::<5>()? else {
                return Err(source.corrupt("the lossless data has no signature"));
            };
            let packed = u32::from_le_bytes(rest);
            let size = ((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1);
            let colour = if packed >> 28 & 1 == 1 { Colour::Rgba } else { Colour::Rgb };
            Ok(Header::new(Format::WebP, size, colour, 8))
        }
        b"VP8X" => {
            let [flags, _, _, _, w1, w2, w3, h1, h2, h3] = source.take()?;
            let side = |a, b, c| u32::from_le_bytes([a, b, c, 0]) + 1;
            let colour = if flags & 0x10 == 0 { Colour::Rgb } else { Colour::Rgba };
            let mut header = Header::new(Format::WebP, (side(w1, w2, w3), side(h1, h2, h3)), colour, 8);
            header.animated = flags & 0x02 != 0;
            if flags & 0x08 != 0 {
                source.skip(u32::from_le_bytes(length).saturating_sub(10))?;
                header.orientation = webp_orientation(source).unwrap_or(1);
            }
            Ok(header)
        }
        _ => Err(source.corrupt("the first chunk is of an unknown kind")),
    }
}

fn webp_orientation<R: Read + Seek>(source: &mut Source<R>) -> Result<u8, DecodeReason> {
    loop {
        let [a, b, c, d, length @ ..] = source.take::<8>()?;
        let length = u32::from_le_bytes(length);
        if &[a, b, c, d] == b"EXIF" {
            let body = source.take_vec(length)?;
            return Ok(orientation_of(body.strip_prefix(b"Exif\0\0").unwrap_or(&body)));
        }
        source.skip(length.saturating_add(length & 1))?;
    }
}

/// BITMAPCOREHEADER and BITMAPINFOHEADER of Windows.
pub(super) fn bmp<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    source.go_to(14)?;
    let length = u32::from_le_bytes(source.take()?);
    let mut alpha = false;
    let (size, bits) = if length == 12 {
        let [w1, w2, h1, h2, _, _, b1, b2] = source.take()?;
        let side = |low, high| u32::from(u16::from_le_bytes([low, high]));
        ((side(w1, w2), side(h1, h2)), u16::from_le_bytes([b1, b2]))
    } else {
        let width = i32::from_le_bytes(source.take()?);
        // A negative height means that the first row is on top.
        let height = i32::from_le_bytes(source.take()?).unsigned_abs();
        let [_, _, b1, b2] = source.take()?;
        let bits = u16::from_le_bytes([b1, b2]);
        // Later headers have masks of the channels; without them the fourth byte means nothing.
        if bits == 32 {
            let compression = u32::from_le_bytes(source.take()?);
            if compression == 6 || compression == 3 && length >= 56 {
                source.go_to(14 + 52)?;
                alpha = source.take::<4>()? != [0; 4];
            }
        }
        ((u32::try_from(width).unwrap_or(0), height), bits)
    };
    Ok(match bits {
        1..=8 => Header::new(Format::Bmp, size, Colour::Palette, bits),
        16 => Header::new(Format::Bmp, size, Colour::Rgb, 5),
        32 if alpha => Header::new(Format::Bmp, size, Colour::Rgba, 8),
        _ => Header::new(Format::Bmp, size, Colour::Rgb, 8),
    })
}

/// Netpbm: PBM, PGM, PPM, and PAM with its words.
pub(super) fn pnm<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    source.go_to(1)?;
    let kind = source.byte()?;
    if kind == b'7' {
        return pam(source);
    }
    let size = (pnm_number(source)?, pnm_number(source)?);
    let (colour, has_levels) = match kind {
        b'1' | b'4' => (Colour::Grey, false),
        b'2' | b'5' => (Colour::Grey, true),
        _ => (Colour::Rgb, true),
    };
    let bits = if has_levels { bits_of(pnm_number(source)?) } else { 1 };
    Ok(Header::new(Format::Pnm, size, colour, bits))
}

fn bits_of(levels: u32) -> u16 {
    (u32::BITS - levels.leading_zeros()).max(1) as u16
}

fn pam<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    let (mut size, mut depth, mut bits) = ((0, 0), 0, 8);
    loop {
        match pnm_word(source)?.as_slice() {
            b"ENDHDR" => break,
            b"WIDTH" => size.0 = pnm_number(source)?,
            b"HEIGHT" => size.1 = pnm_number(source)?,
            b"DEPTH" => depth = pnm_number(source)?,
            b"MAXVAL" => bits = bits_of(pnm_number(source)?),
            _ => {}
        }
    }
    let colour = match depth {
        1 => Colour::Grey,
        2 => Colour::GreyAlpha,
        3 => Colour::Rgb,
        4 => Colour::Rgba,
        _ => Colour::Other,
    };
    Ok(Header::new(Format::Pnm, size, colour, bits))
}

fn pnm_number<R: Read + Seek>(source: &mut Source<R>) -> Result<u32, DecodeReason> {
    let word = pnm_word(source)?;
    let number = std::str::from_utf8(&word).ok().and_then(|word| word.parse().ok());
    number.ok_or_else(|| source.corrupt("a size that is no number"))
}

/// The next word; a `#` begins a comment up to the end of the line.
fn pnm_word<R: Read + Seek>(source: &mut Source<R>) -> Result<Vec<u8>, DecodeReason> {
    let mut word = Vec::new();
    loop {
        match source.byte()? {
            b'#' if word.is_empty() => while source.byte()? != b'\n' {},
            byte if is_space(byte) && word.is_empty() => {}
            byte if is_space(byte) => return Ok(word),
            byte if word.len() < 16 => word.push(byte),
            _ => return Err(source.corrupt("a word of the header is too long")),
        }
    }
}

/// White space of C, which has one more than Rust's.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0B
}
