//! Operations that look at the neighbours of a pixel: Gaussian blur and sharpness.
//!
//! The one decision: the Gaussian goes along the rows and then down the columns, on whole rows of interleaved values, so
//! that the compiler can make vector code of it.

use image::RgbImage;

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
    // Weights this small move no level, however many there are.
    let idle = weights.iter().take_while(|weight| **weight < 1e-8 * sum).count();
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
    let mut padded = scratch.floats();
    padded.resize(row + 6 * half, 0.0);
    let mut along = scratch.floats();
    along.clear();
    along.resize(row * height, 0.0);
    for (line, out) in image.chunks_exact(row).zip(along.chunks_exact_mut(row)) {
        for (i, pixel) in padded.chunks_exact_mut(3).enumerate() {
            let from = 3 * mirrored(i as i64 - half as i64, width);
            pixel.iter_mut().zip(&line[from..from + 3]).for_each(|(value, level)| *value = f32::from(*level));
        }
        for (i, &weight) in weights.iter().enumerate() {
            add(out, weight, &padded[3 * i..3 * i + row]);
        }
    }
    let mut sum = padded;
    for (y, out) in image.chunks_exact_mut(row).enumerate() {
        sum.clear();
        sum.resize(row, 0.0);
        for (i, &weight) in weights.iter().enumerate() {
            let from = row * mirrored((y + i) as i64 - half as i64, height);
            add(&mut sum, weight, &along[from..from + row]);
        }
        out.iter_mut().zip(&sum).for_each(|(level, value)| *level = (value + 0.5) as u8);
    }
    scratch.recycle_floats(sum);
    scratch.recycle_floats(along);
}

fn add(sum: &mut [f32], weight: f32, values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
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
        let line = |y: usize| &old[y * row..(y + 1) * row];
        let (above, here, below) = (line(y - 1), line(y), line(y + 1));
        let out = image.as_flat_samples_mut().samples;
        let out = &mut out[y * row + 3..(y + 1) * row - 3];
        for (i, level) in out.iter_mut().enumerate() {
            let three = |line: &[u8]| u16::from(line[i]) + u16::from(line[i + 3]) + u16::from(line[i + 6]);
            let sum = three(above) + three(here) + three(below) + 4 * u16::from(here[i + 3]);
            // Thirteenths are never halves, so this rounds to the nearest.
            let smooth = f32::from((sum + 6) / 13);
            *level = (smooth + factor * (f32::from(here[i + 3]) - smooth)) as u8;
        }
    }
    scratch.recycle_bytes(old);
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
