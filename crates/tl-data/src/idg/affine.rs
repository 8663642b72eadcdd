//! Rotation, shift, shear and zoom in one resampling.
//!
//! The one decision: as in SciPy's `affine_transform`, each output pixel is pulled from one place of the input,
//! in 64-bit coordinates; but a row of output is cut into the run whose places lie inside, where steps of whole
//! numbers do and no border is asked for, and the rest. The numbers are SciPy's to about 1e-4 of a level.
//!
//! Sources: the border rules and the order of arithmetic are those of SciPy 1.17 (`scipy.ndimage`), found from
//! its documentation and source; the matrices are Keras's.

use std::ops::Range;

use super::options::Compat;
use super::params::TransformParams;
use super::spline;
use crate::draw::sin_cos;

/// A kind of pixel value.
pub(super) trait Level: Copy + 'static {
    /// How far a place is from one pixel to the next.
    type Part: Copy;

    fn to_f32(self) -> f32;
    /// Rounded and cut off where the type cannot hold it.
    fn from_f32(value: f32) -> Self;
    /// From a whole number with [`POINT`] bits behind the point, in 0..=1.
    fn part(part: i64) -> Self::Part;
    /// Between two pixels above and two below.
    fn between(above: (Self, Self), below: (Self, Self), along: Self::Part, down: Self::Part) -> Self;
}

impl Level for f32 {
    type Part = Self;

    fn to_f32(self) -> f32 {
        self
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn part(part: i64) -> Self {
        part as Self * (1.0 / (1_u64 << POINT) as Self)
    }

    fn between(above: (Self, Self), below: (Self, Self), along: Self, down: Self) -> Self {
        mix(mix(above.0, above.1, along), mix(below.0, below.1, along), down)
    }
}

/// Bits of a part between two 8-bit levels: the most whose squares fit into 32 bits with a level.
const FINE: u32 = 11;

impl Level for u8 {
    type Part = i32;

    fn to_f32(self) -> f32 {
        f32::from(self)
    }

    fn from_f32(value: f32) -> Self {
        (value + 0.5) as Self
    }

    fn part(part: i64) -> i32 {
        (part >> (POINT - FINE)) as i32
    }

    fn between(above: (Self, Self), below: (Self, Self), along: i32, down: i32) -> Self {
        let mix = |(a, b): (Self, Self)| (i32::from(a) << FINE) + (i32::from(b) - i32::from(a)) * along;
        let (above, below) = (mix(above), mix(below));
        (((above << FINE) + (below - above) * down + (1 << (2 * FINE - 1))) >> (2 * FINE)) as Self
    }
}

/// What lies outside of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Border {
    Constant(f32),
    Nearest,
    Reflect,
    /// SciPy's `wrap`: a period of one pixel less than the side.
    Wrap,
    /// SciPy's `grid-wrap`: the image repeated.
    Tile,
}

/// Height, width and channels of an image.
pub(super) type Shape = (usize, usize, usize);

/// From a place in the output, (row, column), to one in the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    row: [f64; 3],
    column: [f64; 3],
}

type Matrix = [[f64; 3]; 3];

fn product(a: Matrix, b: Matrix) -> Matrix {
    let mut out = [[0.0; 3]; 3];
    for (out, row) in out.iter_mut().zip(a) {
        for (j, out) in out.iter_mut().enumerate() {
            *out = (0..3).map(|k| row[k] * b[k][j]).sum();
        }
    }
    out
}

impl Affine {
    /// The map of some parameters, or `None` if they leave every pixel where it is.
    ///
    /// The matrices act on (x, y), x along a row. Keras 3 goes to the centre before it exchanges the axes, so
    /// its centre has the two exchanged as well.
    pub(super) fn new(params: &TransformParams, height: usize, width: usize, compat: Compat) -> Option<Self> {
        let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let TransformParams { theta, tx, ty, shear, zx, zy, .. } = *params;
        if (theta, tx, ty, shear, zx, zy) == (0.0, 0.0, 0.0, 0.0, 1.0, 1.0) {
            return None;
        }
        let mut matrix = identity;
        if theta != 0.0 {
            let (sin, cos) = sin_cos(theta % 360.0);
            matrix = [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]];
        }
        if tx != 0.0 || ty != 0.0 {
            matrix = product(matrix, [[1.0, 0.0, tx], [0.0, 1.0, ty], [0.0, 0.0, 1.0]]);
        }
        if shear != 0.0 {
            let (sin, cos) = sin_cos(shear % 360.0);
            matrix = product(matrix, [[1.0, -sin, 0.0], [0.0, cos, 0.0], [0.0, 0.0, 1.0]]);
        }
        if zx != 1.0 || zy != 1.0 {
            matrix = product(matrix, [[zx, 0.0, 0.0], [0.0, zy, 0.0], [0.0, 0.0, 1.0]]);
        }
        let middle = |side: usize| side as f64 / 2.0 - 0.5;
        let (x, y) = match compat {
            Compat::Documented => (middle(width), middle(height)),
            Compat::Keras3 => (middle(height), middle(width)),
        };
        let to_centre = [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
        let from_centre = [[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]];
        let [along, down, _] = product(product(to_centre, matrix), from_centre);
        Some(Self { row: [down[1], down[0], down[2]], column: [along[1], along[0], along[2]] })
    }

    /// The map of one output row: place = slope * column + start, for rows and columns of the input.
    fn of_row(&self, row: usize) -> Line {
        let at = |m: [f64; 3]| (m[1], m[2] + m[0] * row as f64);
        Line { row: at(self.row), column: at(self.column) }
    }
}

/// Where the pixels of one output row come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    row: (f64, f64),
    column: (f64, f64),
}

impl Line {
    pub(super) fn at(&self, column: usize) -> (f64, f64) {
        let c = column as f64;
        (self.row.0 * c + self.row.1, self.column.0 * c + self.column.1)
    }

    /// The output columns whose places have a row in `0..rows` and a column in `0..columns`.
    fn inside(&self, rows: f64, columns: f64, width: usize) -> Range<usize> {
        let (a, b) = (within(self.row, rows, width), within(self.column, columns, width));
        let mut both = a.start.max(b.start)..a.end.min(b.end);
        let is_in = |column: usize| {
            let (r, c) = self.at(column);
            r >= 0.0 && r < rows && c >= 0.0 && c < columns
        };
        // The division above may be off by one; the product below is what counts, and is monotonic.
        while both.start < both.end && !is_in(both.start) {
            both.start += 1;
        }
        while both.start < both.end && !is_in(both.end - 1) {
            both.end -= 1;
        }
        if both.start >= both.end { 0..0 } else { both }
    }
}

/// The columns `c` in `0..width` with `0 <= slope * c + start < end`, to within one.
fn within((slope, start): (f64, f64), end: f64, width: usize) -> Range<usize> {
    if slope == 0.0 {
        return if start >= 0.0 && start < end { 0..width } else { 0..0 };
    }
    let (a, b) = (-start / slope, (end - start) / slope);
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    // Casts cut off at 0, and take no number for 0.
    let (first, last) = ((low.floor() as usize).min(width), (high.ceil() as usize).saturating_add(1));
    first..last.min(width)
}

/// The place in the image that stands for a place anywhere, or `None` for the constant.
pub(super) fn fold(at: f64, side: usize, border: Border) -> Option<f64> {
    let last = side as f64 - 1.0;
    let outside = !(0.0..=last).contains(&at);
    let place = match border {
        Border::Constant(_) if outside => return None,
        Border::Nearest => at,
        _ if !outside => at,
        _ if side <= 1 => 0.0,
        Border::Wrap if at < 0.0 => at + last * ((-at / last).trunc() + 1.0),
        Border::Wrap => at - last * (at / last).trunc(),
        Border::Tile => at - side as f64 * (at / side as f64).floor(),
        _ => reflect(at, side as f64),
    };
    // Further out nothing changes any more, and whole numbers stay small.
    Some(place.clamp(-8.0, last + 8.0))
}

fn reflect(at: f64, side: f64) -> f64 {
    let period = 2.0 * side;
    if at < 0.0 {
        let near = if at < -period { at + period * (-at / period).trunc() } else { at };
        // Just below 0 the mirror image would be just above -1, and round to it.
        if near < -side { near + period } else { (-near).max(1e-15) - 1.0 }
    } else {
        let near = at - period * (at / period).trunc();
        if near >= side { period - near - 1.0 } else { near }
    }
}

/// The pixel that stands for a pixel `at` beside an image, as a filter's foot reaches it. With a constant or
/// SciPy's `wrap` that is the mirror image without the edge.
pub(super) fn index(at: i64, side: usize, border: Border) -> usize {
    let n = side as i64;
    if (0..n).contains(&at) {
        return at as usize;
    }
    if n <= 1 {
        return 0;
    }
    let found = match border {
        Border::Nearest => at.clamp(0, n - 1),
        Border::Tile => at.rem_euclid(n),
        Border::Reflect => {
            let at = at.rem_euclid(2 * n);
            if at < n { at } else { 2 * n - 1 - at }
        }
        Border::Constant(_) | Border::Wrap => {
            let at = at.rem_euclid(2 * n - 2);
            if at < n { at } else { 2 * n - 2 - at }
        }
    };
    found as usize
}

/// Resamples an image `[H, W, C]` into another of the same shape.
pub(super) fn resample<T: Level>(
    source: &[T],
    target: &mut [T],
    shape: Shape,
    affine: &Affine,
    border: Border,
    order: u8,
) {
    if source.is_empty() || source.len() != target.len() {
        return;
    }
    match (order, shape.2) {
        (0, _) => nearest(source, target, shape, affine, border),
        (1, 1) => bilinear::<T, 1>(source, target, shape, affine, border),
        (1, 3) => bilinear::<T, 3>(source, target, shape, affine, border),
        (1, 4) => bilinear::<T, 4>(source, target, shape, affine, border),
        (1, _) => bilinear_any(source, target, shape, affine, border),
        _ => spline::resample(source, target, shape, affine, border, order),
    }
}

impl Affine {
    /// Calls `pixel` for each output pixel, row by row: where it comes from, and where it goes.
    pub(super) fn for_each<T>(
        &self,
        target: &mut [T],
        (_, width, channels): Shape,
        mut pixel: impl FnMut((f64, f64), &mut [T]),
    ) {
        for (row, target) in target.chunks_exact_mut(width * channels).enumerate() {
            let line = self.of_row(row);
            for (column, out) in target.chunks_exact_mut(channels).enumerate() {
                pixel(line.at(column), out);
            }
        }
    }
}

fn nearest<T: Level>(source: &[T], target: &mut [T], shape: Shape, affine: &Affine, border: Border) {
    let (height, width, channels) = shape;
    affine.for_each(target, shape, |(row, column), out| {
        match fold(row, height, border).zip(fold(column, width, border)) {
            Some((row, column)) => {
                let row = index((row + 0.5).floor() as i64, height, border);
                let column = index((column + 0.5).floor() as i64, width, border);
                let at = (row * width + column) * channels;
                out.copy_from_slice(&source[at..at + channels]);
            }
            None => fill(out, border),
        }
    });
}

fn fill<T: Level>(out: &mut [T], border: Border) {
    if let Border::Constant(value) = border {
        out.fill(T::from_f32(value));
    }
}

/// One pixel, wherever it comes from.
fn blend<T: Level>(source: &[T], shape: Shape, (row, column): (f64, f64), border: Border, out: &mut [T]) {
    let (height, width, channels) = shape;
    let Some((row, column)) = fold(row, height, border).zip(fold(column, width, border)) else {
        return fill(out, border);
    };
    let (top, left) = (row.floor(), column.floor());
    let (down, along) = ((row - top) as f32, (column - left) as f32);
    let at = |r: i64, c: i64| (index(r, height, border) * width + index(c, width, border)) * channels;
    let (top, left) = (top as i64, left as i64);
    let corners = [at(top, left), at(top, left + 1), at(top + 1, left), at(top + 1, left + 1)];
    for (channel, out) in out.iter_mut().enumerate() {
        let [a, b, c, d] = corners.map(|corner| source[corner + channel].to_f32());
        *out = T::from_f32(mix(mix(a, b, along), mix(c, d, along), down));
    }
}

/// In this form two equal values give exactly that value.
fn mix(a: f32, b: f32, part: f32) -> f32 {
    a + (b - a) * part
}

fn bilinear_any<T: Level>(source: &[T], target: &mut [T], shape: Shape, affine: &Affine, border: Border) {
    affine.for_each(target, shape, |place, out| blend(source, shape, place, border, out));
}

fn bilinear<T: Level, const C: usize>(
    source: &[T],
    target: &mut [T],
    shape: Shape,
    affine: &Affine,
    border: Border,
) {
    let (height, width, _) = shape;
    for (row, target) in target.chunks_exact_mut(width * C).enumerate() {
        let line = affine.of_row(row);
        let fixed = line.fixed(width).filter(|_| height > 1 && width > 1);
        let inside = match (&fixed, border) {
            (None, _) => 0..0,
            // A run cuts places off at the edge, which is what this border means.
            (Some(_), Border::Nearest) => 0..width,
            (Some(_), _) => line.inside(height as f64 - 1.0, width as f64 - 1.0, width),
        };
        let (before, rest) = target.split_at_mut(inside.start * C);
        let (within, after) = rest.split_at_mut(inside.len() * C);
        for (column, out) in before.chunks_exact_mut(C).enumerate() {
            blend(source, shape, line.at(column), border, out);
        }
        if let Some(fixed) = fixed {
            run::<T, C>(source, within, (height, width), &fixed, inside.start);
        }
        for (column, out) in after.chunks_exact_mut(C).enumerate() {
            blend(source, shape, line.at(inside.end + column), border, out);
        }
    }
}

/// Bits behind the point of a place in a run: enough that a row of 30 000 pixels drifts by 1e-8 pixels.
const POINT: u32 = 40;

/// A [`Line`] in whole numbers, with [`POINT`] bits behind the point.
#[derive(Debug, Clone, Copy)]
struct Fixed {
    row: (i64, i64),
    column: (i64, i64),
}

impl Line {
    /// The same in whole numbers, if it stays within their range.
    fn fixed(&self, width: usize) -> Option<Fixed> {
        const FAR: f64 = (1_u32 << 21) as f64;
        let whole = |(slope, start): (f64, f64)| {
            let end = slope * width as f64 + start;
            let near = start.abs() < FAR && end.abs() < FAR && slope.abs() < FAR;
            let scale = (1_u64 << POINT) as f64;
            near.then(|| ((slope * scale).round() as i64, (start * scale).round() as i64))
        };
        Some(Fixed { row: whole(self.row)?, column: whole(self.column)? })
    }
}

/// Pixels that come from inside, or from the nearest place inside.
fn run<T: Level, const C: usize>(
    source: &[T],
    out: &mut [T],
    (height, width): (usize, usize),
    fixed: &Fixed,
    first: usize,
) {
    let start = |(slope, start): (i64, i64)| start + slope * first as i64;
    let (mut row, mut column) = (start(fixed.row), start(fixed.column));
    let (last_row, last_column) = (height as i64 - 1, width as i64 - 1);
    for out in out.chunks_exact_mut(C) {
        let r = row.clamp(0, last_row << POINT);
        let c = column.clamp(0, last_column << POINT);
        // At the last pixel the part is 1: two neighbours are always there.
        let (top, left) = ((r >> POINT).min(last_row - 1), (c >> POINT).min(last_column - 1));
        let (down, along) = (T::part(r - (top << POINT)), T::part(c - (left << POINT)));
        let at = (top as usize * width + left as usize) * C;
        let above = &source[at..at + 2 * C];
        let below = &source[at + width * C..at + (width + 2) * C];
        for channel in 0..C {
            let pair = |row: &[T]| (row[channel], row[C + channel]);
            out[channel] = T::between(pair(above), pair(below), along, down);
        }
        row += fixed.row.0;
        column += fixed.column.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Border; 5] =
        [Border::Constant(7.0), Border::Nearest, Border::Reflect, Border::Wrap, Border::Tile];

    fn picture((height, width, channels): Shape) -> Vec<f32> {
        (0..height * width * channels).map(|i| ((i * i * 7 + i * 13) % 256) as f32).collect()
    }

    #[test]
    fn the_fast_run_is_the_same_as_pixel_by_pixel() {
        for shape in [(9, 14, 3), (14, 9, 1), (1, 5, 4), (5, 1, 3), (1, 1, 1), (2, 2, 4)] {
            let source = picture(shape);
            for n in 0..40 {
                let t = f64::from(n);
                let params = TransformParams {
                    theta: t * 9.0,
                    tx: t - 20.0,
                    shear: t / 3.0,
                    zx: 0.3 + t / 20.0,
                    zy: 2.0 - t / 21.0,
                    ..TransformParams::default()
                };
                let affine = Affine::new(&params, shape.0, shape.1, Compat::Documented).unwrap();
                for border in ALL {
                    let (mut fast, mut slow) = (vec![0.0; source.len()], vec![1.0; source.len()]);
                    resample(&source, &mut fast, shape, &affine, border, 1);
                    bilinear_any(&source, &mut slow, shape, &affine, border);
                    let same = fast.iter().zip(&slow).all(|(a, b)| (a - b).abs() < 1e-3);
                    assert!(same, "{shape:?} {border:?} {params:?}");
                }
            }
        }
    }

    #[test]
    fn borders_as_they_are_drawn() {
        let row = |border| (-5..9).map(|at| index(at, 4, border)).collect::<Vec<_>>();
        assert_eq!(row(Border::Nearest), [0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3]);
        assert_eq!(row(Border::Reflect), [3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0]);
        assert_eq!(row(Border::Tile), [3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0]);
        let place = |border| (-5..9).map(|at| fold(f64::from(at), 4, border)).collect::<Vec<_>>();
        let wrapped = [1, 2, 3, 1, 2, 0, 1, 2, 3, 1, 2, 0, 1, 2];
        let scipy: Vec<_> = place(Border::Wrap).into_iter().map(|at| at.unwrap() as u32 % 3).collect();
        assert_eq!(scipy, wrapped.map(|at| at % 3));
        assert_eq!(place(Border::Constant(0.0))[4..10].iter().flatten().count(), 4);
        assert_eq!(fold(-1e-20, 4, Border::Reflect), Some(1e-15 - 1.0));
    }

    #[test]
    fn no_number_makes_it_panic() {
        for shape in [(3, 4, 3), (1, 1, 1), (2, 1, 3)] {
            let source = picture(shape);
            for bad in [f64::NAN, f64::INFINITY, 1e300, -1e18, 1e-300, 0.0] {
                for params in [
                    TransformParams { theta: bad, ..TransformParams::default() },
                    TransformParams { tx: bad, theta: 3.0, ..TransformParams::default() },
                    TransformParams { zx: bad, ..TransformParams::default() },
                    TransformParams { zx: bad, zy: -bad, shear: 200.0, ..TransformParams::default() },
                ] {
                    let Some(affine) = Affine::new(&params, shape.0, shape.1, Compat::Keras3) else {
                        continue;
                    };
                    for border in ALL {
                        for order in 0..=5 {
                            let mut out = vec![0.0; source.len()];
                            resample(&source, &mut out, shape, &affine, border, order);
                        }
                    }
                }
            }
        }
    }
}
