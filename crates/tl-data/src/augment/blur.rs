//! Operations that look at the neighbours of a pixel: Gaussian blur and sharpness.
//!
//! The one decision: the Gaussian goes along the rows and then down the columns, on whole rows of interleaved values, so
//! that the compiler can make vector code of it.

use image::RgbImage;
use pulp::{Arch, NullaryFnOnce};

use super::colour::blend;
use crate::draw::exp;
use crate::scratch::Scratch;

/// Weights of a Gaussian at whole distances from the middle; they sum to 1.
fn gaussian(kernel: u32, sigma: f64) -> Vec<f32> {
    let middle = f64::from(kernel - 1) * 0.5;
    let density = |i: u32| {
        let x = (f64::from(i) - middle) / sigma;
        // Below 1e-17 nothing changes any more, and `exp` is made for small numbers.
        if x.abs() < 9.0 { exp(-0.5 * x * x) } else { 0.0 }
    };
    let weights: Vec<f64> = (0..kernel).map(density).collect();
    let sum: f64 = weights.iter().sum();
    // Weights this small move no level by more than the sums themselves are off.
    let idle = weights.iter().take_while(|weight| **weight < 1e-6 * sum).count();
    weights[idle..weights.len() - idle].iter().map(|weight| (weight / sum) as f32).collect()
}

/// The place of a pixel that lies outside, mirrored at the edge pixels as often as needed.
fn mirrored(at: i64, length: usize) -> usize {
    let last = length as i64 - 1;
    if last <= 0 {
        return 0;
    }
    let at = at.rem_euclid(2 * last);
    at.min(2 * last - at) as usize
}

/// Blurs with a square kernel; the image is mirrored at its edges, as by torchvision's `gaussian_blur`.
pub(super) fn gaussian_blur(image: &mut RgbImage, kernel: u32, sigma: f64, scratch: &mut Scratch) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if !(sigma > 0.0 && sigma.is_finite()) || kernel < 2 || width == 0 || height == 0 {
        return;
    }
    let weights = gaussian(kernel.min(255) | 1, sigma);
    let (half, row) = (weights.len() / 2, 3 * width);
    let weights = &weights[half..];
    let arch = Arch::new();
    let mut padded = scratch.floats();
    padded.resize(row + 6 * half, 0.0);
    let mut along = scratch.floats();
    along.resize(row * height, 0.0);
    for (line, out) in image.chunks_exact(row).zip(along.chunks_exact_mut(row)) {
        let (edges, inner) = padded.split_at_mut(3 * half);
        inner.iter_mut().zip(line).for_each(|(value, level)| *value = f32::from(*level));
        let outer = (0..half).map(|i| i as i64 - half as i64).zip(edges.chunks_exact_mut(3));
        let beyond = (width..width + half).map(|i| i as i64).zip(inner[row..].chunks_exact_mut(3));
        for (at, pixel) in outer.chain(beyond) {
            let from = 3 * mirrored(at, width);
            pixel.iter_mut().zip(&line[from..from + 3]).for_each(|(value, level)| *value = f32::from(*level));
        }
        let shifted = |pixels: usize| &padded[3 * pixels..3 * pixels + row];
        let pairs: Vec<_> = (1..=half).map(|far| (shifted(half - far), shifted(half + far))).collect();
        arch.dispatch(Weigh { out, weights, middle: shifted(half), pairs: &pairs });
    }
    let mut sum = padded;
    sum.resize(row, 0.0);
    for (y, out) in image.chunks_exact_mut(row).enumerate() {
        let line = |far: i64| {
            let from = row * mirrored(y as i64 + far, height);
            &along[from..from + row]
        };
        let pairs: Vec<_> = (1..=half as i64).map(|far| (line(-far), line(far))).collect();
        arch.dispatch(Weigh { out: &mut sum[..row], weights, middle: line(0), pairs: &pairs });
        out.iter_mut().zip(&sum).for_each(|(level, value)| *level = (value + 0.5) as u8);
    }
    scratch.recycle_floats(sum);
    scratch.recycle_floats(along);
}

/// Values that are summed up together, in the registers of the processor.
const LANES: usize = 32;

/// The weighted sum of rows: one, and pairs that share a weight. A type of its own for the reason given at
/// [`hue`](super::hue::hue).
struct Weigh<'a> {
    out: &'a mut [f32],
    weights: &'a [f32],
    middle: &'a [f32],
    pairs: &'a [(&'a [f32], &'a [f32])],
}

impl NullaryFnOnce for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { out, weights, middle, pairs } = self;
        let whole = out.len() / LANES * LANES;
        let (blocks, rest) = out.as_chunks_mut::<LANES>();
        for (i, block) in blocks.iter_mut().enumerate() {
            let range = i * LANES..(i + 1) * LANES;
            let mut sum = [0.0; LANES];
            for (sum, value) in sum.iter_mut().zip(&middle[range.clone()]) {
                *sum = weights[0] * value;
            }
            for ((one, other), weight) in pairs.iter().zip(&weights[1..]) {
                let (one, other) = (&one[range.clone()], &other[range.clone()]);
                for k in 0..LANES {
                    sum[k] += weight * (one[k] + other[k]);
                }
            }
            *block = sum;
        }
        for (i, out) in (whole..).zip(rest) {
            *out = weights[0] * middle[i];
            for ((one, other), weight) in pairs.iter().zip(&weights[1..]) {
                *out += weight * (one[i] + other[i]);
            }
        }
    }
}

/// Blends with the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, whose edge pixels are those of the image, as Pillow's
/// `Sharpness`.
pub(super) fn sharpness(image: &mut RgbImage, factor: f32, scratch: &mut Scratch) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let row = 3 * width;
    if width < 3 || height < 3 {
        return;
    }
    let mut old = scratch.bytes();
    old.clear();
    old.extend_from_slice(image);
    for y in 1..height - 1 {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &old[y * row..(y + 1) * row]);
        let out = &mut image.as_flat_samples_mut().samples[y * row + 3..(y + 1) * row - 3];
        sharpen(out, [above, here, below], factor);
    }
    scratch.recycle_bytes(old);
}

/// One row without its first and its last pixel. A function of its own, so that the compiler knows that `out` overlaps
/// nothing.
#[inline(never)]
fn sharpen(out: &mut [u8], [above, here, below]: [&[u8]; 3], factor: f32) {
    // All of one length, so that nothing is checked value by value.
    let inner = out.len();
    let (a, b, c) = (&above[..inner], &above[3..][..inner], &above[6..][..inner]);
    let (d, e, f) = (&here[..inner], &here[3..][..inner], &here[6..][..inner]);
    let (g, h, k) = (&below[..inner], &below[3..][..inner], &below[6..][..inner]);
    for i in 0..inner {
        let of = |line: &[u8]| u16::from(line[i]);
        let around = of(a) + of(b) + of(c) + of(d) + of(f) + of(g) + of(h) + of(k);
        // Thirteenths are never halves, so this rounds to the nearest.
        let smooth = ((around + 5 * of(e) + 6) / 13) as u8;
        out[i] = blend(smooth, e[i], factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn edges_are_mirrored() {
        let places: Vec<usize> = (-5..9).map(|at| mirrored(at, 4)).collect();
        assert_eq!(places, [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(mirrored(-7, 1), 0);
    }

    #[test]
    fn an_even_colour_stays_and_small_images_are_no_trouble() {
        let mut scratch = Scratch::default();
        for (width, height) in [(1, 1), (2, 7), (9, 2), (30, 20)] {
            let image = RgbImage::from_pixel(width, height, Rgb([0, 255, 77]));
            let mut same = image.clone();
            for (kernel, sigma) in [(3, 0.1), (23, 2.0), (255, 100.0), (0, 1.0), (5, f64::NAN), (8, 1e300)] {
                gaussian_blur(&mut same, kernel, sigma, &mut scratch);
            }
            sharpness(&mut same, 9.0, &mut scratch);
            assert_eq!(same, image);
        }
    }
}
