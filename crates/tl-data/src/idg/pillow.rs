//! Resizing of images with the very numbers of Pillow, in all six of its filters.
//!
//! The one decision: sameness before speed. The resizer of the rest of this crate is faster but has 16 bits
//! where Pillow has 32, three filters and three channels; here a pipeline that comes from Keras has to see the
//! images that it saw there.
//!
//! Facts found from Pillow 13.0: coefficients are rounded to 22 bits, each pass is rounded and cut off to
//! 8 bits, a filter reaches beyond the box into the image around it, and the pass down the columns comes first
//! where the height shrinks by more than twice as many pixels as the width. With 16 bits the coefficients stay
//! as they are, and a value that overshoots loses its upper byte alone.

use super::args::choice;

/// The filters that Keras knows, by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResizeFilter {
    /// The nearest pixel. Keras's default, and the coarsest.
    #[default]
    Nearest,
    /// A triangle.
    Bilinear,
    /// A cubic with a = -0.5.
    Bicubic,
    /// A Hamming window; sharper than the triangle.
    Hamming,
    /// The mean of the pixels covered.
    Box,
    /// Lanczos with three lobes.
    Lanczos,
}

choice!(ResizeFilter: Nearest = "nearest", Bilinear = "bilinear", Bicubic = "bicubic", Hamming = "hamming",
    Box = "box", Lanczos = "lanczos");

/// Pixels of 8 or 16 bits, `[H, W, C]`, of at most 4 channels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pixels<T> {
    pub(super) values: Vec<T>,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
}

/// A part of an image, in whole pixels: from and to, for columns and rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub(super) x: (usize, usize),
    pub(super) y: (usize, usize),
}

/// A value of a pixel, and how Pillow adds up several.
pub(super) trait Sample: Copy + Into<f32> {
    /// A coefficient, and a sum of products.
    type Weight: Copy;
    /// What a sum begins with.
    const START: Self::Weight;

    fn weight(weight: f64) -> Self::Weight;
    fn add(self, weight: Self::Weight, to: &mut Self::Weight);
    fn finish(sum: Self::Weight) -> Self;
    /// Multiplies alpha into a pixel of four values.
    fn premultiply(pixel: &mut [Self]);
    /// Takes it out again.
    fn divide(pixel: &mut [Self]);
}

/// Bits behind the point of a coefficient.
const BITS: u32 = 22;

impl Sample for u8 {
    type Weight = i32;
    const START: i32 = 1 << (BITS - 1);

    fn weight(weight: f64) -> i32 {
        let scaled = weight * f64::from(1 << BITS);
        (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
    }

    fn add(self, weight: i32, to: &mut i32) {
        *to += i32::from(self) * weight;
    }

    fn finish(sum: i32) -> Self {
        (sum >> BITS).clamp(0, 255) as Self
    }

    fn premultiply(pixel: &mut [Self]) {
        let alpha = u32::from(pixel[3]);
        for value in &mut pixel[..3] {
            let product = u32::from(*value) * alpha + 128;
            *value = (((product >> 8) + product) >> 8) as Self;
        }
    }

    fn divide(pixel: &mut [Self]) {
        let alpha = u32::from(pixel[3]);
        if alpha != 0 && alpha != 255 {
            for value in &mut pixel[..3] {
                *value = (u32::from(*value) * 255 / alpha).min(255) as Self;
            }
        }
    }
}

/// Grey only: Pillow has no other 16-bit pictures.
impl Sample for u16 {
    type Weight = f64;
    const START: f64 = 0.0;

    fn weight(weight: f64) -> f64 {
        weight
    }

    fn add(self, weight: f64, to: &mut f64) {
        *to += f64::from(self) * weight;
    }

    fn finish(sum: f64) -> Self {
        let whole = if sum < 0.0 { -(0.5 - sum).floor() } else { (sum + 0.5).floor() } as i32;
        let (low, high) = ((whole % 256).clamp(0, 255), (whole >> 8).clamp(0, 255));
        (high << 8 | low) as Self
    }

    fn premultiply(_: &mut [Self]) {}

    fn divide(_: &mut [Self]) {}
}

impl ResizeFilter {
    /// How many source pixels it reaches to each side when it does not shrink.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The Hamming window has 32-bit constants in Pillow.
    fn at(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) }
        };
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming if x.abs() >= 1.0 => 0.0,
            Self::Hamming => {
                sinc(x) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (x * std::f64::consts::PI).cos())
            }
            Self::Bicubic => cubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// For one output pixel: the first source pixel, and the weight of it and its followers.
struct Taps<W> {
    first: usize,
    weights: Vec<W>,
}

/// The taps of one side: `from..to` of `side` source pixels become `out`.
fn taps<T: Sample>(
    (from, to): (usize, usize),
    side: usize,
    out: usize,
    filter: ResizeFilter,
) -> Vec<Taps<T::Weight>> {
    let scale = (to - from) as f64 / out as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let taps = |i: usize| {
        let centre = from as f64 + (i as f64 + 0.5) * scale;
        // Casts cut off below 0.
        let first = (centre - support + 0.5) as usize;
        let end = ((centre + support + 0.5) as usize).min(side);
        let weight = |at: usize| filter.at((at as f64 - centre + 0.5) * (1.0 / stretch));
        let mut weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        Taps { first, weights: weights.into_iter().map(T::weight).collect() }
    };
    (0..out).map(taps).collect()
}

impl<T> Pixels<T> {
    /// The whole image as a window.
    pub(super) fn window(&self) -> Window {
        Window { x: (0, self.width), y: (0, self.height) }
    }
}

impl<T: Sample> Pixels<T> {
    /// Resizes a window of the image; alpha is multiplied in before and taken out after.
    pub(super) fn resize(self, width: usize, height: usize, window: Window, filter: ResizeFilter) -> Self {
        if filter == ResizeFilter::Nearest {
            return self.nearest(width, height, window);
        }
        let alpha = self.channels == 4;
        let image = if alpha { self.each_pixel(T::premultiply) } else { self };
        let across = (width != image.width || window.x != (0, width))
            .then(|| taps::<T>(window.x, image.width, width, filter));
        let down = (height != image.height || window.y != (0, height))
            .then(|| taps::<T>(window.y, image.height, height, filter));
        let shrink = |from: usize, to: usize| from as i64 - to as i64;
        let (less_high, less_wide) = (shrink(image.height, height), shrink(image.width, width));
        let down_first = less_high > 0 && less_high > 2 * less_wide;
        let out = if down_first { image.down(down).across(across) } else { image.across(across).down(down) };
        if alpha { out.each_pixel(T::divide) } else { out }
    }

    fn nearest(self, width: usize, height: usize, window: Window) -> Self {
        // Pillow adds up the steps, with their rounding.
        let places = |(from, to): (usize, usize), side: usize, out: usize| -> Vec<usize> {
            let step = (to - from) as f64 / out as f64;
            let mut at = from as f64 + step * 0.5;
            let mut place = || {
                let place = (at as usize).min(side - 1);
                at += step;
                place
            };
            (0..out).map(|_| place()).collect()
        };
        let columns = places(window.x, self.width, width);
        let rows = places(window.y, self.height, height);
        let mut values = Vec::with_capacity(width * height * self.channels);
        for &row in &rows {
            for &column in &columns {
                let at = (row * self.width + column) * self.channels;
                values.extend_from_slice(&self.values[at..at + self.channels]);
            }
        }
        Self { values, width, height, channels: self.channels }
    }

    fn across(self, taps: Option<Vec<Taps<T::Weight>>>) -> Self {
        let Some(taps) = taps else { return self };
        let channels = self.channels;
        let mut values = Vec::with_capacity(taps.len() * self.height * channels);
        for row in self.values.chunks_exact(self.width * channels) {
            for Taps { first, weights } in &taps {
                let mut sums = [T::START; 4];
                for (pixel, &weight) in row[first * channels..].chunks_exact(channels).zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        value.add(weight, sum);
                    }
                }
                values.extend(sums[..channels].iter().copied().map(T::finish));
            }
        }
        Self { values, width: taps.len(), ..self }
    }

    fn down(self, taps: Option<Vec<Taps<T::Weight>>>) -> Self {
        let Some(taps) = taps else { return self };
        let row = self.width * self.channels;
        let mut values = Vec::with_capacity(taps.len() * row);
        let mut sums = vec![T::START; row];
        for Taps { first, weights } in &taps {
            sums.fill(T::START);
            for (source, &weight) in self.values[first * row..].chunks_exact(row).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    value.add(weight, sum);
                }
            }
            values.extend(sums.iter().copied().map(T::finish));
        }
        Self { values, height: taps.len(), ..self }
    }

    fn each_pixel(mut self, change: impl Fn(&mut [T])) -> Self {
        self.values.chunks_exact_mut(self.channels).for_each(change);
        self
    }
}
