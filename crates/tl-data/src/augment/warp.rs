//! One resampling for any chain of affine changes, with the crop and the resizing among them.
//!
//! The one decision: the filter is separable along the axes of the image and as wide as a pixel of the result is there.
//! So without a rotation it is Pillow's antialiased resizing, where nothing shrinks it is Pillow's bilinear `transform`,
//! and in between it is smooth.

use std::ops::Range;

use image::RgbImage;

use super::bilinear::Quads;
use super::crop::Crop;
use super::params::Op;
use crate::error::DataError;
use crate::preprocess::Interpolation;
use crate::resample::{Axis, check_window, resample};
use crate::scratch::Scratch;

/// From how many image pixels for a pixel of the result the image is first shrunk by a whole number,
const FAR: f64 = 4.0;
/// to no fewer than this many.
const NEAR: f64 = 2.0;

/// How much more than a pixel counts as one: a rotation has a reach of 1 but for rounding.
const NEARLY: f64 = 1e-6;

/// An affine map of the plane: `x' = xx * x + xy * y + x0`, `y' = yx * x + yy * y + y0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Map {
    pub(crate) xx: f64,
    pub(crate) xy: f64,
    pub(crate) x0: f64,
    pub(crate) yx: f64,
    pub(crate) yy: f64,
    pub(crate) y0: f64,
}

impl Map {
    pub(crate) const IDENTITY: Self = Self { xx: 1.0, xy: 0.0, x0: 0.0, yx: 0.0, yy: 1.0, y0: 0.0 };

    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.xx * x + self.xy * y + self.x0, self.yx * x + self.yy * y + self.y0)
    }

    /// This map after `first`.
    fn after(&self, first: &Self) -> Self {
        let (x0, y0) = self.at(first.x0, first.y0);
        Self {
            xx: self.xx * first.xx + self.xy * first.yx,
            xy: self.xx * first.xy + self.xy * first.yy,
            x0,
            yx: self.yx * first.xx + self.yy * first.yx,
            yy: self.yx * first.xy + self.yy * first.yy,
            y0,
        }
    }

    /// How many pixels before the map, along each axis, are as long as one after it; at least 1. With an axis turned this
    /// is still the enlargement, and a shear alone shrinks nothing.
    fn reach(&self) -> (f64, f64) {
        let area = (self.xx * self.yy - self.xy * self.yx).abs();
        // Not `hypot`: the C library's rounds as it likes.
        let length = |x: f64, y: f64| (x * x + y * y).sqrt();
        ((area / length(self.yx, self.yy)).max(1.0), (area / length(self.xx, self.xy)).max(1.0))
    }

    /// The shift, if the map is one by whole pixels.
    fn whole_shift(&self) -> Option<(f64, f64)> {
        let whole = self.x0.fract() == 0.0 && self.y0.fract() == 0.0;
        (whole && *self == Self { x0: self.x0, y0: self.y0, ..Self::IDENTITY }).then_some((self.x0, self.y0))
    }

    fn is_finite(&self) -> bool {
        [self.xx, self.xy, self.x0, self.yx, self.yy, self.y0].iter().all(|value| value.is_finite())
    }
}

/// The way from the result back to the image.
#[derive(Debug, Clone)]
pub(crate) struct Warp {
    /// Height and width of the result.
    side: u32,
    /// From pixels of the result to pixels of the image.
    map: Map,
    /// Squares of `side` that the way passes; what falls outside of one is black.
    frames: Vec<Map>,
    /// The colour beyond the bounds.
    fill: [u8; 3],
    /// The part of the image that counts, or all of it.
    pub(crate) bounds: Option<Crop>,
}

impl Warp {
    pub(crate) fn new(side: u32, fill: [u8; 3]) -> Self {
        Self { side, map: Map::IDENTITY, frames: Vec::new(), fill, bounds: None }
    }

    /// Puts `earlier` before all changes so far; `earlier` maps back, from its result to what it is made of.
    pub(crate) fn precede(&mut self, earlier: Map) {
        self.map = earlier.after(&self.map);
    }

    /// Puts geometric operations, first to last, before all changes so far. What one of them moves in from outside
    /// stays black whatever comes after it.
    pub(crate) fn add(&mut self, ops: &[Op]) {
        let side = f64::from(self.side);
        for map in ops.iter().rev().filter_map(|op| op.inverse(side)) {
            self.precede(map);
            self.frames.push(self.map);
        }
    }

    /// Whether the way of this pixel of the result stays inside of all frames.
    fn stays(&self, x: f64, y: f64) -> bool {
        let side = f64::from(self.side);
        self.frames.iter().all(|frame| {
            let (x, y) = frame.at(x, y);
            (0.0..side).contains(&x) && (0.0..side).contains(&y)
        })
    }
}

/// Makes the result, `side` x `side` pixels.
///
/// # Errors
/// The image has no pixels, the bounds are not inside of it, or a number of the map is not finite.
pub(crate) fn warp(
    image: &RgbImage,
    plan: &Warp,
    interpolation: Interpolation,
    scratch: &mut Scratch,
) -> Result<RgbImage, DataError> {
    let (width, height) = image.dimensions();
    let bounds = plan.bounds.unwrap_or(Crop { x: 0, y: 0, width, height });
    check_window(image, bounds)?;
    if !plan.map.is_finite() {
        let detail = "its geometry is not finite".to_owned();
        return Err(DataError::Resize { width, height, detail });
    }
    let mut out = scratch.image(plan.side, plan.side);
    if let Some((x, y)) = plan.map.whole_shift() {
        let row = 3 * width as usize;
        paint(plan, bounds, &mut out, |j, run, line| {
            if run.is_empty() {
                return;
            }
            let from = row * (j as f64 + y) as usize + 3 * (run.start as f64 + x) as usize;
            if let Some(same) = image.get(from..from + line.len()) {
                line.copy_from_slice(same);
            }
        });
        return Ok(out);
    }
    match interpolation {
        Interpolation::Nearest => paint(plan, bounds, &mut out, |j, run, line| {
            let (right, bottom) = (bounds.x + bounds.width - 1, bounds.y + bounds.height - 1);
            for (i, pixel) in run.zip(line.chunks_exact_mut(3)) {
                let (x, y) = plan.map.at(centre(i), centre(j));
                let source = image.get_pixel((x as u32).min(right), (y as u32).min(bottom));
                pixel.copy_from_slice(&source.0);
            }
        }),
        Interpolation::Bilinear if plan.map.reach().0.max(plan.map.reach().1) < 1.0 + NEARLY => {
            let part = needed(plan, bounds, (1.0, 1.0), Tent::RADIUS);
            let mut texels = scratch.words();
            let quads = Quads::new(image, part, &mut texels);
            paint(plan, bounds, &mut out, |j, run, line| quads.row(&plan.map, j, run, line));
            scratch.recycle_words(texels);
        }
        Interpolation::Bilinear => filtered::<Tent>(image, plan, bounds, &mut out, scratch)?,
        Interpolation::Bicubic => filtered::<Cubic>(image, plan, bounds, &mut out, scratch)?,
    }
    Ok(out)
}

fn filtered<K: Kernel>(
    image: &RgbImage,
    plan: &Warp,
    bounds: Crop,
    out: &mut RgbImage,
    scratch: &mut Scratch,
) -> Result<(), DataError> {
    let reach = plan.map.reach();
    let by = |reach: f64| if reach < FAR { 1 } else { (reach / NEAR) as u32 };
    let part = needed(plan, bounds, reach, K::RADIUS);
    let mut texels = scratch.floats();
    let source = if (by(reach.0), by(reach.1)) == (1, 1) {
        Source::new::<K>(image, part, part, reach, &mut texels)
    } else {
        let (x, y) = (Axis::shrunk(part.width, by(reach.0)), Axis::shrunk(part.height, by(reach.1)));
        let small = resample(image, part, x, y, Interpolation::Bilinear, scratch)?;
        let whole = Crop { x: 0, y: 0, width: small.width(), height: small.height() };
        let source = Source::new::<K>(&small, whole, part, reach, &mut texels);
        scratch.recycle(small);
        source
    };
    let map = &plan.map;
    let mut places = Places::default();
    // Loops of a known length are what makes this fast.
    match source.taps {
        ..=2 => paint(plan, bounds, out, |j, run, line| source.row::<K, 2>(map, j, run, line, &mut places)),
        3 => paint(plan, bounds, out, |j, run, line| source.row::<K, 3>(map, j, run, line, &mut places)),
        4 => paint(plan, bounds, out, |j, run, line| source.row::<K, 4>(map, j, run, line, &mut places)),
        5..=6 => paint(plan, bounds, out, |j, run, line| source.row::<K, 6>(map, j, run, line, &mut places)),
        7..=8 => paint(plan, bounds, out, |j, run, line| source.row::<K, 8>(map, j, run, line, &mut places)),
        _ => paint(plan, bounds, out, |j, run, line| source.row::<K, TAPS>(map, j, run, line, &mut places)),
    }
    scratch.recycle_floats(texels);
    Ok(())
}

/// The middle of pixel `i`.
pub(super) fn centre(i: usize) -> f64 {
    i as f64 + 0.5
}

/// Fills the result; `sample` fills the pixels of row `j` in a run of columns, whose places are inside of the bounds.
fn paint(
    plan: &Warp,
    bounds: Crop,
    out: &mut RgbImage,
    mut sample: impl FnMut(usize, Range<usize>, &mut [u8]),
) {
    let columns = f64::from(bounds.x)..f64::from(bounds.x + bounds.width);
    let rows = f64::from(bounds.y)..f64::from(bounds.y + bounds.height);
    let side = plan.side as usize;
    for (j, line) in out.chunks_exact_mut(3 * side.max(1)).enumerate() {
        let stays = run(0..side, |i| plan.stays(centre(i), centre(j)));
        let inside = run(stays.clone(), |i| {
            let (x, y) = plan.map.at(centre(i), centre(j));
            columns.contains(&x) && rows.contains(&y)
        });
        line[..3 * stays.start].fill(0);
        line[3 * stays.end..].fill(0);
        for beyond in [stays.start..inside.start, inside.end..stays.end] {
            for pixel in line[3 * beyond.start..3 * beyond.end].chunks_exact_mut(3) {
                pixel.copy_from_slice(&plan.fill);
            }
        }
        sample(j, inside.clone(), &mut line[3 * inside.start..3 * inside.end]);
    }
}

/// The run of numbers for which this holds; a straight line meets a rectangle in one run.
fn run(among: Range<usize>, holds: impl Fn(usize) -> bool) -> Range<usize> {
    let first = among.clone().find(|&i| holds(i)).unwrap_or(among.end);
    let last = (first..among.end).rev().find(|&i| holds(i)).map_or(first, |last| last + 1);
    first..last
}

/// The part of the bounds that the result is made of.
fn needed(plan: &Warp, bounds: Crop, reach: (f64, f64), radius: f64) -> Crop {
    let side = f64::from(plan.side);
    let corners = [(0.0, 0.0), (side, 0.0), (0.0, side), (side, side)].map(|(x, y)| plan.map.at(x, y));
    let span = |places: [f64; 4], reach: f64, from: u32, length: u32| {
        // Shrinking blurs as well: twice as far is far enough.
        let margin = 2.0 * radius * reach + 1.0;
        let (low, high) = (f64::from(from), f64::from(from + length));
        let first = places.iter().copied().fold(f64::INFINITY, f64::min) - margin;
        let last = places.iter().copied().fold(f64::NEG_INFINITY, f64::max) + margin;
        let first = first.clamp(low, high - 1.0).floor() as u32;
        (first, (last.clamp(low, high).ceil() as u32).max(first + 1) - first)
    };
    let (x, width) = span(corners.map(|corner| corner.0), reach.0, bounds.x, bounds.width);
    let (y, height) = span(corners.map(|corner| corner.1), reach.1, bounds.y, bounds.height);
    Crop { x, y, width, height }
}

/// A filter in units of its reach.
trait Kernel {
    const RADIUS: f64;

    fn weight(x: f32) -> f32;
}

/// The triangle, for bilinear.
struct Tent;

impl Kernel for Tent {
    const RADIUS: f64 = 1.0;

    fn weight(x: f32) -> f32 {
        (1.0 - x.abs()).max(0.0)
    }
}

/// Catmull and Rom's, as in Pillow's resizing.
struct Cubic;

impl Kernel for Cubic {
    const RADIUS: f64 = 2.0;

    fn weight(x: f32) -> f32 {
        let x = x.abs();
        if x < 1.0 {
            (1.5 * x - 2.5) * x * x + 1.0
        } else if x < 2.0 {
            ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
        } else {
            0.0
        }
    }
}

/// The most weights along one axis: a cubic filter reaches less than twice [`FAR`] to each side. As many empty pixels
/// surround the filtered ones.
const TAPS: usize = 4 * FAR as usize;

/// One axis of the pixels that are filtered.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// The place in the whole image where the pixels begin,
    origin: f64,
    /// and their number for each pixel of the whole image.
    scale: f64,
    /// How many of them a pixel of the result is long; at least 1,
    reach: f64,
    /// and its inverse.
    step: f32,
}

impl Line {
    fn new(origin: u32, from: u32, to: u32, reach: f64) -> Self {
        let scale = f64::from(to) / f64::from(from);
        let reach = (reach * scale).max(1.0);
        Self { origin: origin.into(), scale, reach, step: (1.0 / reach) as f32 }
    }

    /// The places of a run of pixels of the result, whose places in the whole image are `step * i + start`.
    fn places<K: Kernel>(&self, (step, start): (f64, f64), run: Range<usize>, places: &mut Axes) {
        // Adding this leaves the nearest whole number in the lower bits: the cast of `as` is several times slower, as it
        // looks for numbers out of range. A pixel more to the left has no weight.
        const WHOLE: f64 = (1_u64 << 52) as f64;
        let (step, start) = (step * self.scale, (start - self.origin) * self.scale + TAPS as f64);
        let support = K::RADIUS * self.reach;
        places.clear();
        places.extend(run.map(|i| {
            let at = step * i as f64 + start;
            let first = at - support + WHOLE;
            ((first.to_bits() as u32), ((first - WHOLE) + 0.5 - at) as f32 * self.step)
        }));
    }

    /// The weights from the first pixel on.
    fn weights<K: Kernel, const N: usize>(&self, from: f32) -> [f32; N] {
        let mut weights = [0.0; N];
        for (i, weight) in weights.iter_mut().enumerate() {
            *weight = K::weight(from + self.step * i as f32);
        }
        weights
    }
}

/// For each pixel of a row of the result, along one axis: the first pixel that it is made of, counted with the empty
/// ones, and how far that one lies from its place, in units of the filter.
type Axes = Vec<(u32, f32)>;

/// Both axes.
#[derive(Debug, Default)]
struct Places {
    x: Axes,
    y: Axes,
}

/// The pixels that are filtered: a part of the image, or a smaller copy of it. A pixel is red, green, blue and 1, or four
/// zeros around the edges, so the fourth sum is that of the weights, and a pixel is one vector to the compiler.
struct Source<'a> {
    texels: &'a [[f32; 4]],
    stride: usize,
    x: Line,
    y: Line,
    /// The most weights that are not zero.
    taps: usize,
}

impl<'a> Source<'a> {
    /// The pixels of `image` in `kept`, which stand for `part` of the whole image.
    fn new<K: Kernel>(
        image: &RgbImage,
        kept: Crop,
        part: Crop,
        reach: (f64, f64),
        texels: &'a mut Vec<f32>,
    ) -> Self {
        let x = Line::new(part.x, part.width, kept.width, reach.0);
        let y = Line::new(part.y, part.height, kept.height, reach.1);
        let taps = (2.0 * K::RADIUS * x.reach.max(y.reach)).ceil() as usize;
        let stride = kept.width as usize + 2 * TAPS;
        let (columns, rows) = (kept.x as usize..(kept.x + kept.width) as usize, kept.height as usize);
        texels.resize(4 * stride * (rows + 2 * TAPS), 0.0);
        let (grid, _) = texels.as_chunks_mut();
        grid[..TAPS * stride].fill([0.0; 4]);
        grid[(TAPS + rows) * stride..].fill([0.0; 4]);
        let lines = image.as_raw().chunks_exact(3 * image.width() as usize).skip(kept.y as usize);
        for (line, row) in lines.zip(grid.chunks_exact_mut(stride).skip(TAPS).take(rows)) {
            row[..TAPS].fill([0.0; 4]);
            row[stride - TAPS..].fill([0.0; 4]);
            let (pixels, _) = line[3 * columns.start..3 * columns.end].as_chunks::<3>();
            for (pixel, texel) in pixels.iter().zip(&mut row[TAPS..]) {
                *texel = [f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]), 1.0];
            }
        }
        Self { texels: grid, stride, x, y, taps }
    }

    /// The filtered pixels of row `j` of the result, in a run of columns.
    fn row<K: Kernel, const N: usize>(
        &self,
        map: &Map,
        j: usize,
        run: Range<usize>,
        line: &mut [u8],
        places: &mut Places,
    ) {
        // Adding this leaves a number from 0 to 255, rounded, in the lower bits.
        const WHOLE: f32 = (1_u32 << 23) as f32;
        let (x, y) = map.at(0.5, centre(j));
        self.x.places::<K>((map.xx, x), run.clone(), &mut places.x);
        self.y.places::<K>((map.yx, y), run, &mut places.y);
        for ((pixel, &(left, x)), &(top, y)) in line.chunks_exact_mut(3).zip(&places.x).zip(&places.y) {
            let (across, down) = (self.x.weights::<K, N>(x), self.y.weights::<K, N>(y));
            let mut sum = [0.0_f32; 4];
            for (i, weight) in down.into_iter().enumerate() {
                let from = (top as usize + i) * self.stride + left as usize;
                let mut along = [0.0_f32; 4];
                for (texel, weight) in self.texels[from..from + N].iter().zip(across) {
                    along = added(along, weight, texel);
                }
                sum = added(sum, weight, &along);
            }
            let scale = 1.0 / sum[3];
            let level = |sum: f32| ((sum * scale).clamp(0.0, 255.0) + WHOLE).to_bits();
            let levels = [level(sum[0]), level(sum[1]), level(sum[2]), level(sum[3])];
            pixel.copy_from_slice(&[levels[0] as u8, levels[1] as u8, levels[2] as u8]);
        }
    }
}

/// `sum + weight * values`; written out, as the compiler does not make vectors of `map`.
fn added(sum: [f32; 4], weight: f32, values: &[f32; 4]) -> [f32; 4] {
    [
        sum[0] + weight * values[0],
        sum[1] + weight * values[1],
        sum[2] + weight * values[2],
        sum[3] + weight * values[3],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_compose() {
        let turn = Map { xx: 0.0, xy: -1.0, x0: 5.0, yx: 1.0, yy: 0.0, y0: 2.0 };
        let stretch = Map { xx: 3.0, x0: 1.0, ..Map::IDENTITY };
        let (x, y) = stretch.at(7.0, 4.0);
        assert_eq!(turn.after(&stretch).at(7.0, 4.0), turn.at(x, y));
    }

    #[test]
    fn an_axis_counts_as_far_as_it_is_enlarged() {
        let turned = Map { xx: 0.0, xy: -2.5, yx: 2.5, yy: 0.0, ..Map::IDENTITY };
        assert_eq!(turned.reach(), (2.5, 2.5));
        let sheared = Map { xy: 0.7, ..Map::IDENTITY };
        assert_eq!(sheared.reach(), (1.0, 1.0));
        let stretched = Map { xx: 3.0, yy: 0.25, ..Map::IDENTITY };
        assert_eq!(stretched.reach(), (3.0, 1.0));
    }

    fn weights_at<K: Kernel, const N: usize>(line: &Line, at: f64) -> (usize, [f32; N]) {
        let mut places = Vec::new();
        line.places::<K>((1.0, at), 0..1, &mut places);
        (places[0].0 as usize, line.weights::<K, N>(places[0].1))
    }

    #[test]
    fn weights_lie_about_their_place() {
        for (at, reach) in [(4.0, 1.0), (4.3, 1.0), (9.99, 2.5), (4.01, 3.99), (6.5, 1.7)] {
            let line = Line::new(4, 6, 6, reach);
            let (first, weights) = weights_at::<Cubic, TAPS>(&line, at);
            assert!(first + TAPS <= 6 + 2 * TAPS, "{at} {reach}");
            let sum: f32 = weights.iter().sum();
            assert!((f64::from(sum) / reach - 1.0).abs() < 0.02, "{at} {reach}: {sum}");
        }
        let (first, weights) = weights_at::<Tent, 3>(&Line::new(0, 20, 20, 1.0), 6.6);
        let near =
            |weights: &[f32], other: &[f32]| weights.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(first == TAPS + 6 && near(&weights, &[0.9, 0.1, 0.0]), "{weights:?}");
        // A shrunk axis has another scale.
        let line = Line::new(10, 40, 10, 8.0);
        assert_eq!((line.scale, line.reach), (0.25, 2.0));
        let (first, weights) = weights_at::<Tent, 4>(&line, 30.0);
        assert!(first == TAPS + 3 && near(&weights, &[0.25, 0.75, 0.75, 0.25]), "{weights:?}");
    }

    #[test]
    fn runs() {
        assert_eq!(run(0..9, |i| (3..6).contains(&i)), 3..6);
        assert_eq!(run(0..9, |_| true), 0..9);
        assert_eq!(run(4..9, |_| false), 9..9);
    }
}
