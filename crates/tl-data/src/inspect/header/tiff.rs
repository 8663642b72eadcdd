//! The header of a TIFF: TIFF 6.0, section 2, and its variant with 64-bit offsets.
//!
//! The one decision: only the first directory counts; further pages are no frames, but it is told that they are
//! there.

use std::io::{Read, Seek};

use super::source::Source;
use super::{Colour, Format, Header};
use crate::error::DecodeReason;

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// The value, or where it is.
    value: [u8; 8],
    /// Where `value` is.
    at: u64,
}

/// The first directory of a file.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) big_endian: bool,
    wide: bool,
    entries: Vec<Entry>,
    /// Where the next one is; 0 for none.
    next: u64,
}

impl Directory {
    /// Reads it.
    ///
    /// # Errors
    /// The file ends early, or has no directory.
    pub(crate) fn first<R: Read + Seek>(source: &mut Source<R>) -> Result<Self, DecodeReason> {
        source.go_to(0)?;
        let start = source.take::<4>()?;
        let (big_endian, wide) = match &start {
            b"II*\0" => (false, false),
            b"MM\0*" => (true, false),
            b"II+\0" => (false, true),
            b"MM\0+" => (true, true),
            _ => return Err(source.corrupt("there is no directory")),
        };
        let mut directory = Self { big_endian, wide, entries: Vec::new(), next: 0 };
        if wide {
            source.skip(4)?;
        }
        let at = directory.offset(source)?;
        directory.read(at, source)?;
        Ok(directory)
    }

    /// The next one, if there is a whole one.
    fn second<R: Read + Seek>(&self, source: &mut Source<R>) -> Option<Self> {
        let mut directory = Self { entries: Vec::new(), next: 0, ..*self };
        (self.next != 0 && directory.read(self.next, source).is_ok()).then_some(directory)
    }

    fn read<R: Read + Seek>(&mut self, at: u64, source: &mut Source<R>) -> Result<(), DecodeReason> {
        const MOST: u64 = 4096;
        let wide = self.wide;
        source.go_to(at)?;
        let count = if wide { self.offset(source)? } else { self.short(source)?.into() };
        let mut at = at.saturating_add(if wide { 8 } else { 2 });
        for _ in 0..count.min(MOST) {
            let (tag, kind) = (self.short(source)?, self.short(source)?);
            let count = self.offset(source)?;
            at += if wide { 12 } else { 8 };
            let mut value = [0; 8];
            let length = if wide { 8 } else { 4 };
            for byte in &mut value[..length] {
                *byte = source.byte()?;
            }
            self.entries.push(Entry { tag, kind, count, value, at });
            at += length as u64;
        }
        // Files without this last number are read all the same.
        self.next = if count > MOST { 0 } else { self.offset(source).unwrap_or(0) };
        Ok(())
    }

    fn short<R: Read + Seek>(&self, source: &mut Source<R>) -> Result<u16, DecodeReason> {
        let bytes = source.take()?;
        Ok(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn offset<R: Read + Seek>(&self, source: &mut Source<R>) -> Result<u64, DecodeReason> {
        if self.wide {
            let bytes = source.take()?;
            return Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) });
        }
        let bytes = source.take()?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }.into())
    }

    /// The first value of a tag that holds whole numbers, and where it is; `None` without such a tag.
    pub(crate) fn number<R: Read + Seek>(
        &self,
        tag: u16,
        source: &mut Source<R>,
    ) -> Result<Option<(u32, u64)>, DecodeReason> {
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == tag && entry.count > 0) else {
            return Ok(None);
        };
        // BYTE, SHORT, LONG.
        let length: u64 = match entry.kind {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return Ok(None),
        };
        let inside = if self.wide { 8 } else { 4 };
        let at = match length.saturating_mul(entry.count) > inside {
            false => entry.at,
            true if self.wide && self.big_endian => u64::from_be_bytes(entry.value),
            true if self.wide => u64::from_le_bytes(entry.value),
            true => {
                let [a, b, c, d, ..] = entry.value;
                let place = [a, b, c, d];
                u64::from(if self.big_endian { u32::from_be_bytes(place) } else { u32::from_le_bytes(place) })
            }
        };
        source.go_to(at)?;
        let mut value = 0;
        for i in 0..length {
            let byte = u32::from(source.byte()?);
            value |= byte << (8 * if self.big_endian { length - 1 - i } else { i });
        }
        Ok(Some((value, at)))
    }
}

/// Tags that matter here.
const NEW_SUBFILE_TYPE: u16 = 254;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
pub(crate) const BITS_PER_SAMPLE: u16 = 258;
pub(crate) const PHOTOMETRIC: u16 = 262;
pub(crate) const ORIENTATION: u16 = 274;
pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;

pub(super) fn header<R: Read + Seek>(source: &mut Source<R>) -> Result<Header, DecodeReason> {
    let directory = Directory::first(source)?;
    let mut value = |tag, otherwise| {
        Ok::<u32, DecodeReason>(directory.number(tag, source)?.map_or(otherwise, |(value, _)| value))
    };
    let size = (value(WIDTH, 0)?, value(HEIGHT, 0)?);
    let bits = value(BITS_PER_SAMPLE, 1)?;
    let samples = value(SAMPLES_PER_PIXEL, 1)?;
    let colour = match (value(PHOTOMETRIC, u32::MAX)?, samples) {
        (0 | 1, 1) => Colour::Grey,
        (0 | 1, 2) => Colour::GreyAlpha,
        (2, 3) | (6, 3) => Colour::Rgb,
        (2, 4..) => Colour::Rgba,
        (3, _) => Colour::Palette,
        (5, _) => Colour::Cmyk,
        _ => Colour::Other,
    };
    let orientation = value(ORIENTATION, 1)?;
    let mut header = Header::new(Format::Tiff, size, colour, u16::try_from(bits).unwrap_or(u16::MAX));
    if let Some(second) = directory.second(source) {
        let kind = second.number(NEW_SUBFILE_TYPE, source).ok().flatten();
        // The lowest bit is that of a smaller copy.
        header.pages = kind.is_none_or(|(kind, _)| kind & 1 == 0);
    }
    header.orientation = u8::try_from(orientation).ok().filter(|o| (1..=8).contains(o)).unwrap_or(1);
    Ok(header)
}
