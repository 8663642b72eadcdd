//! The part of a photo that a view needs, and no more.
//!
//! The one decision: only what cameras and converters write by default is decoded here (sequential Huffman codes of 8 bits,
//! grey or YCbCr, all in one scan, colours whole, halved across or halved both ways), and only if every code makes sense.
//! All else, and whatever is odd, is left to the general decoder, whose pixels these are to the bit. It has no way to leave
//! out what lies beside a view, and its Huffman codes take 1.4 times as long.
//!
//! Names and procedures are those of ITU-T T.81, annexes B and F.

mod bits;
mod colour;
mod idct;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::rc::Rc;

use image::RgbImage;
use image::metadata::Orientation;
use pulp::{Arch, NullaryFnOnce};

use self::bits::{Bits, Huffman, Places, Scan};
use self::idct::Vector;
use super::jpeg::{Frame, Segments, is_frame};
use crate::augment::Crop;
use crate::scratch::Scratch;

/// The smallest side, in pixels: below, the blending of colours has no neighbours.
const LEAST_SIDE: u32 = 16;

/// The largest picture, in pixels: as planes and as RGB it takes 6 bytes for each.
const MOST_PIXELS: u64 = 1 << 26;

/// A file that can be decoded in part.
#[derive(Debug)]
pub(crate) struct Sequential<'a> {
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
    parts: Vec<Part>,
    /// Units between restart markers; 0 for none.
    restart: usize,
    /// What comes behind the header of the scan.
    data: &'a [u8],
}

/// A component: brightness or a colour.
#[derive(Debug)]
struct Part {
    id: u8,
    /// Blocks of a unit, across and down.
    blocks: (usize, usize),
    /// Whether the plane has half the width, half the height.
    shrunk: (bool, bool),
    places: Rc<Places>,
    dc: Rc<Huffman>,
    ac: Rc<Huffman>,
}

/// The levels of a component, as far as they are decoded.
#[derive(Debug)]
struct Plane {
    levels: Vec<u8>,
    /// Levels of a row.
    stride: usize,
    /// The rows there are, of those of the whole plane.
    rows: Range<usize>,
}

impl Plane {
    fn row(&self, row: usize) -> Option<&[u8]> {
        let at = row.checked_sub(self.rows.start)? * self.stride;
        self.levels.get(at..at + self.stride)
    }
}

/// The tables that segments before the scan define.
#[derive(Default)]
struct Tables {
    dc: [Option<Rc<Huffman>>; 4],
    ac: [Option<Rc<Huffman>>; 4],
    places: [Option<Rc<Places>>; 4],
    restart: usize,
    adobe: Option<u8>,
}

impl Tables {
    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let tables = match kind >> 4 {
                // The differences of means have no zeros before them.
                0 if symbols.iter().any(|&symbol| symbol > 15) => return None,
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return None,
            };
            *tables.get_mut(usize::from(kind & 15))? = Some(Rc::new(Huffman::new(counts, symbols)?));
            body = rest;
        }
        Some(())
    }

    fn quanta(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            // Those of 16 bits are for pictures of 12.
            let (values, rest) = rest.split_first_chunk::<64>()?;
            *self.places.get_mut(usize::from(*kind))? = Some(Rc::new(Places::new(values)));
            body = rest;
        }
        Some(())
    }
}

impl<'a> Sequential<'a> {
    /// `None` for a file that is left to the general decoder.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
            return None;
        }
        let mut segments = Segments::new(bytes);
        let mut tables = Tables::default();
        let mut frame = None;
        while let Some((marker, body)) = segments.next() {
            match marker {
                0xC4 => tables.huffman(body)?,
                0xDB => tables.quanta(body)?,
                0xDD => tables.restart = usize::from(u16::from_be_bytes(*body.first_chunk()?)),
                0xC0 | 0xC1 if frame.is_none() && body.first() == Some(&8) => {
                    frame = Some((Frame::parse(marker, body)?, body.get(6..)?));
                }
                _ if is_frame(marker) => return None,
                0xE1 if is_turned(body) => return None,
                0xEE if body.starts_with(b"Adobe") => tables.adobe = body.get(11).copied(),
                0xDA => return Self::scan(frame?, &tables, body, bytes.get(segments.at..)?),
                _ => {}
            }
        }
        None
    }

    fn scan((frame, listed): (Frame, &[u8]), tables: &Tables, body: &[u8], data: &'a [u8]) -> Option<Self> {
        let factors: Vec<(u32, u32)> = frame.components.iter().map(|c| c.sampling).collect();
        let shrunk = match factors[..] {
            // In a scan of its own a component has one block in a unit.
            [_] => (false, false),
            [(1, 1), (1, 1), (1, 1)] => (false, false),
            [(2, 1), (1, 1), (1, 1)] => (true, false),
            [(2, 2), (1, 1), (1, 1)] => (true, true),
            _ => return None,
        };
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        // Pictures that are stored as RGB.
        if ids == *b"RGB" || (ids.len() == 3 && tables.adobe.is_some_and(|transform| transform != 1)) {
            return None;
        }
        let (&count, named) = body.split_first()?;
        // All 64 coefficients, all bits of them.
        let (named, all) = named.split_last_chunk::<3>()?;
        if *all != [0, 63, 0] || named.len() != 2 * ids.len() {
            return None;
        }
        let (width, height) = (frame.width, frame.height);
        let pixels = u64::from(width) * u64::from(height);
        // Each block has at least a code of 1 bit for its mean.
        let promises = frame.least_blocks() > 8 * data.len() as u64;
        if usize::from(count) != ids.len()
            || width.min(height) < LEAST_SIDE
            || pixels > MOST_PIXELS
            || promises
        {
            return None;
        }
        let mut parts = Vec::with_capacity(ids.len());
        for (k, named) in named.as_chunks::<2>().0.iter().take(ids.len()).enumerate() {
            let halved = if k == 0 { (false, false) } else { shrunk };
            let times = |halved: bool| if k == 0 && halved { 2 } else { 1 };
            parts.push(Part {
                id: named[0],
                blocks: (times(shrunk.0), times(shrunk.1)),
                shrunk: halved,
                places: tables.places.get(usize::from(*listed.get(3 * k + 2)?))?.clone()?,
                dc: tables.dc.get(usize::from(named[1] >> 4))?.clone()?,
                ac: tables.ac.get(usize::from(named[1] & 15))?.clone()?,
            });
        }
        let in_order = parts.iter().map(|part| part.id).eq(ids);
        in_order.then_some(Self { width, height, parts, restart: tables.restart, data })
    }

    /// The picture, of which only the pixels of `window` are right. `None` where anything is odd.
    pub(crate) fn decode(&self, window: Crop, scratch: &mut Scratch) -> Option<RgbImage> {
        let units = Units::new(self, window)?;
        let scan = Scan::new(self.data, scratch.plane())?;
        let buffers = self.parts.iter().map(|_| scratch.plane()).collect();
        let mut image = scratch.image(self.width, self.height);
        let planes = Arch::new().dispatch(Decode {
            file: self,
            scan: &scan,
            units,
            window,
            buffers,
            image: &mut image,
        });
        scratch.recycle_plane(scan.bytes);
        let Some(planes) = planes else {
            scratch.recycle(image);
            return None;
        };
        planes.into_iter().for_each(|plane| scratch.recycle_plane(plane.levels));
        Some(image)
    }

    /// The whole picture.
    pub(crate) fn decode_whole(&self, scratch: &mut Scratch) -> Option<RgbImage> {
        self.decode(Crop { x: 0, y: 0, width: self.width, height: self.height }, scratch)
    }

    #[inline(always)]
    fn planes(&self, scan: &Scan, units: &Units, buffers: Vec<Vec<u8>>) -> Option<Vec<Plane>> {
        let mut planes: Vec<Plane> = self
            .parts
            .iter()
            .zip(buffers)
            .map(|(part, mut levels)| {
                let stride = 8 * part.blocks.0 * units.columns.len();
                let rows = 8 * part.blocks.1 * units.rows.start..8 * part.blocks.1 * units.rows.end;
                levels.resize(stride * rows.len(), 0);
                Plane { levels, stride, rows }
            })
            .collect();
        let vector = Vector::here();
        let mut means = vec![0; self.parts.len()];
        let mut interval = 0;
        let mut bits = Bits::new(scan, 0)?;
        let mut left = if self.restart == 0 { usize::MAX } else { self.restart };
        for row in 0..units.rows.end {
            for column in 0..units.across {
                if left == 0 {
                    if !bits.done() {
                        return None;
                    }
                    interval += 1;
                    bits = Bits::new(scan, interval)?;
                    means.fill(0);
                    left = self.restart;
                }
                left -= 1;
                if row >= units.rows.start && units.columns.contains(&column) {
                    let at = (row - units.rows.start, column - units.columns.start);
                    for ((part, plane), mean) in self.parts.iter().zip(&mut planes).zip(&mut means) {
                        part.kept(&mut bits, mean, plane, at, vector)?;
                    }
                } else {
                    for (part, mean) in self.parts.iter().zip(&mut means) {
                        part.passed(&mut bits, mean)?;
                    }
                }
            }
        }
        let whole = units.rows.end == units.down;
        let fine = if whole { bits.done() && interval + 1 == scan.intervals.len() } else { bits.within() };
        fine.then_some(planes)
    }

    #[inline(always)]
    fn colours(&self, planes: &[Plane], units: &Units, window: Crop, image: &mut RgbImage) -> Option<()> {
        let (left, width) = (window.x as usize, window.width as usize);
        let begun = left - units.columns.start * units.width;
        let part = begun..begun + width;
        let (mut blue, mut red, mut between) = (Vec::new(), Vec::new(), Vec::new());
        let rows = image.chunks_exact_mut(3 * self.width as usize).enumerate();
        for (row, out) in rows.skip(window.y as usize).take(window.height as usize) {
            let out = out.get_mut(3 * left..3 * (left + width))?;
            match planes {
                [grey] => {
                    let grey = grey.row(row)?.get(part.clone())?;
                    let pixels = out.as_chunks_mut::<3>().0.iter_mut();
                    pixels.zip(grey).for_each(|(pixel, &level)| *pixel = [level; 3]);
                }
                [y, cb, cr] => {
                    let shrunk = self.parts.last()?.shrunk;
                    let cb = colour::row(cb, row, shrunk, (&mut blue, &mut between))?;
                    let cr = colour::row(cr, row, shrunk, (&mut red, &mut between))?;
                    let y = y.row(row)?.get(part.clone())?;
                    colour::write(out, y, cb.get(part.clone())?, cr.get(part.clone())?);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

/// The work, as it is compiled for each kind of processor: what is to profit is inlined into it.
struct Decode<'a> {
    file: &'a Sequential<'a>,
    scan: &'a Scan,
    units: Units,
    window: Crop,
    buffers: Vec<Vec<u8>>,
    image: &'a mut RgbImage,
}

impl NullaryFnOnce for Decode<'_> {
    type Output = Option<Vec<Plane>>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let planes = self.file.planes(self.scan, &self.units, self.buffers)?;
        self.file.colours(&planes, &self.units, self.window, self.image)?;
        Some(planes)
    }
}

impl Part {
    /// Decodes the blocks of a unit; `at` is its row and column among those kept.
    #[inline(always)]
    fn kept(
        &self,
        bits: &mut Bits<'_>,
        mean: &mut i32,
        plane: &mut Plane,
        at: (usize, usize),
        vector: Vector,
    ) -> Option<()> {
        let (across, down) = self.blocks;
        for v in 0..down {
            for h in 0..across {
                let mut block = [0; 64];
                let reached = bits.block::<true>((&self.dc, &self.ac), mean, &self.places, &mut block)?;
                let from = 8 * (at.0 * down + v) * plane.stride + 8 * (at.1 * across + h);
                idct::write(&block, reached, vector, &mut plane.levels, from, plane.stride)?;
            }
        }
        Some(())
    }

    /// Passes over the blocks of a unit.
    #[inline(always)]
    fn passed(&self, bits: &mut Bits<'_>, mean: &mut i32) -> Option<()> {
        for _ in 0..self.blocks.0 * self.blocks.1 {
            bits.block::<false>((&self.dc, &self.ac), mean, &self.places, &mut [0; 64])?;
        }
        Some(())
    }
}

/// The minimum coded units of a picture, and those that a window needs.
#[derive(Debug)]
struct Units {
    /// Pixels across a unit.
    width: usize,
    across: usize,
    down: usize,
    columns: Range<usize>,
    rows: Range<usize>,
}

impl Units {
    /// `None` where the window is not inside of the picture.
    fn new(file: &Sequential<'_>, window: Crop) -> Option<Self> {
        let blocks = file.parts.first()?.blocks;
        let shrunk = file.parts.last()?.shrunk;
        let side = |blocks: usize, shrunk: bool, length: u32, from: u32, kept: u32| {
            let unit = 8 * blocks;
            let count = (length as usize).div_ceil(unit);
            let end = from.checked_add(kept).filter(|&end| kept > 0 && end <= length)?;
            // The nearest levels of half the size beside the window are blended in.
            let beside = if shrunk { 2 } else { 0 };
            let needed = (from as usize).saturating_sub(beside) / unit
                ..(end as usize + beside).div_ceil(unit).min(count);
            Some((unit, count, needed))
        };
        let (width, across, columns) = side(blocks.0, shrunk.0, file.width, window.x, window.width)?;
        let (_, down, rows) = side(blocks.1, shrunk.1, file.height, window.y, window.height)?;
        Some(Self { width, across, down, columns, rows })
    }
}

/// Whether a segment of EXIF data says that the picture is not upright.
fn is_turned(body: &[u8]) -> bool {
    let orientation = body.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk);
    orientation.is_some_and(|orientation| orientation != Orientation::NoTransforms)
}
