//! The header of a JPEG: ITU-T T.81, annex B.
//!
//! The one decision: segments are followed up to the first scan, so that an EXIF block or Adobe's note on
//! colours counts wherever it stands before it.

use std::io::{Read, Seek};

use super::source::Source;
use super::{Colour, Format, Header, orientation_of};
use crate::error::DecodeReason;

pub(super) fn header<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    source.go_to(2)?;
    let (mut header, mut orientation, mut garbage) = (None, 1, 0);
    loop {
        let marker = match (next_marker(source, &mut garbage), header) {
            (Ok(marker), _) => marker,
            // A file that ends before its first scan has a header nevertheless.
            (Err(DecodeReason::Truncated { .. }), Some(_)) => 0xDA,
            (Err(error), _) => return Err(error),
        };
        if matches!(marker, 0xDA | 0xD9) {
            let header: Header = header.ok_or_else(|| source.corrupt("there is no frame header"))?;
            return Ok(Header { orientation, ..header });
        }
        let length = u32::from(u16::from_be_bytes(source.take()?));
        let length = length.checked_sub(2).ok_or_else(|| source.corrupt("a segment of no length"))?;
        match marker {
            0xC4 | 0xC8 | 0xCC => source.skip(length)?,
            0xC0..=0xCF if header.is_none() => header = Some(frame(&source.take_vec(length)?, source)?),
            0xE1 if orientation == 1 => {
                let body = source.take_vec(length)?;
                orientation = body.strip_prefix(b"Exif\0\0").map_or(1, orientation_of);
            }
            _ => source.skip(length)?,
        }
    }
}

/// Most bytes of a header that belong to no segment.
const MOST_GARBAGE: u32 = 1 << 16;

/// Passes over anything up to a marker that has a body or ends the header.
fn next_marker<R: Read + Seek>(source: &mut Source<R>, garbage: &mut u32) -> Result<u8, DecodeReason> {
    loop {
        let (mut before, mut marker) = (source.byte()?, source.byte()?);
        while (before != 0xFF || marker == 0xFF) && *garbage <= MOST_GARBAGE {
            *garbage += 1;
            (before, marker) = (marker, source.byte()?);
        }
        *garbage += 1;
        if *garbage > MOST_GARBAGE {
            return Err(source.corrupt("there is no marker where one belongs"));
        }
        if !matches!(marker, 0x00 | 0x01 | 0xD0..=0xD8) {
            return Ok(marker);
        }
    }
}

fn frame<R: Read + Seek>(body: &[u8], source: &Source<R>) -> Result<Header, DecodeReason> {
    let [bits, h1, h2, w1, w2, components, ..] = *body else {
        return Err(source.corrupt("a frame header that is too short"));
    };
    let size = (u32::from(u16::from_be_bytes([w1, w2])), u32::from(u16::from_be_bytes([h1, h2])));
    let colour = match components {
        1 => Colour::Grey,
        2 => Colour::GreyAlpha,
        3 => Colour::Rgb,
        4 => Colour::Cmyk,
        _ => Colour::Other,
    };
    Ok(Header::new(Format::Jpeg, size, colour, u16::from(bits)))
}
