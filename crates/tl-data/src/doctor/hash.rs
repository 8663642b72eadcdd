//! Does a picture look like another? A hash to find candidates, a comparison to decide.
//!
//! The one decision: two steps. The hash is the 64-bit perceptual hash by cosine transform (C. Zauner,
//! "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010; N. Krawetz, "Looks Like It",
//! 2011), in the form of Python's `imagehash.phash`: 32x32 luma, the 8x8 lowest frequencies, each above their
//! median or not. A difference hash was tried and dropped: of all pairs among 1,500 chest X-rays a fifth were
//! within 8 bits by it, against one in 1,700 by this one.
//!
//! What the hash calls close is compared pixel by pixel. Pictures of the same kind share their rough shape, so
//! that is taken away: each of the 32x32 means less the mean of the 5x5 around it, correlated. Copies that
//! were scaled, brightened or stored again reach 0.92 and more; among 13 million pairs of X-rays of different
//! people none but one reached 0.83. A picture of fewer than 64 pixels a side has few details of its own, so
//! there the bar is higher.
//!
//! A mirrored copy is found by the hash of the mirrored picture; its details are mirrored, too.

use std::f64::consts::PI;

use image::RgbImage;

/// The side of the small picture that is compared.
const SIDE: usize = 32;

/// The side of the square of lowest frequencies.
const LOW: usize = 8;

/// Correlation of the details from which on two pictures are the same.
const SAME: f64 = 0.9;

/// The same where one of the two is small.
const SAME_SMALL: f64 = 0.98;

/// A picture with a side below this is small, in pixels.
const SMALL: u32 = 64;

/// Standard deviation of the details, in levels, below which nothing can be told.
const LEAST_DETAIL: f64 = 1.0;

/// Root mean square of the two colour differences, in levels, below which a picture counts as grey.
const LEAST_COLOUR: f64 = 6.0;

/// Cosine of the angle between the colour differences of two pictures that may be the same.
const SAME_COLOUR: f64 = 0.8;

/// What is kept of a picture to compare it with others.
#[derive(Debug, Clone)]
pub(super) struct Likeness {
    /// The perceptual hash.
    pub(super) hash: u64,
    /// That of the mirrored picture.
    pub(super) mirrored: u64,
    /// Whether a side is short.
    small: bool,
    /// 32x32 details.
    details: Values,
    /// 8x8 pairs of colour differences; `None` for a grey picture.
    colours: Option<Values>,
}

/// A list of values and its length as a vector.
#[derive(Debug, Clone)]
struct Values {
    values: Vec<i8>,
    norm: f64,
}

/// Light and shade of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tone {
    /// Mean luma, 0 to 255.
    pub(super) brightness: f64,
    /// Standard deviation of the luma, in levels.
    pub(super) deviation: f64,
}

impl Tone {
    /// Luma is that of ITU-R BT.601, as Pillow's `convert("L")`.
    pub(super) fn of(image: &RgbImage) -> Self {
        let (mut sum, mut squares) = (0_u64, 0_u64);
        for pixel in image.as_raw().chunks_exact(3) {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            let luma = u64::from((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16);
            sum += luma;
            squares += luma * luma;
        }
        let count = (image.as_raw().len() / 3).max(1) as f64;
        let brightness = sum as f64 / count;
        let variance = (squares as f64 / count - brightness * brightness).max(0.0);
        Self { brightness, deviation: variance.sqrt() }
    }
}

impl Likeness {
    /// `None` for a picture with too little detail to tell it from others, such as a blank page.
    pub(super) fn of(image: &RgbImage) -> Option<Self> {
        let means = means(image)?;
        let luma = luma(&means);
        let details = details(&luma);
        let deviation = (details.iter().map(|d| d * d).sum::<f64>() / details.len() as f64).sqrt();
        if deviation < LEAST_DETAIL {
            return None;
        }
        let largest = details.iter().fold(0.0_f64, |largest, d| largest.max(d.abs()));
        let details = details.iter().map(|d| (d / largest * 127.0).round() as i8).collect();
        Some(Self {
            hash: perceptual(&luma),
            mirrored: perceptual(&flipped(&luma, SIDE, 1)),
            small: image.width().min(image.height()) < SMALL,
            details: Values::new(details),
            colours: colours(&means, &luma),
        })
    }

    /// Whether the two are the same picture, up to size, compression, brightness and contrast; or, where
    /// `mirrored`, whether one is the other seen in a mirror.
    pub(super) fn is_same(&self, other: &Self, mirrored: bool) -> bool {
        let cosine = |a: &Values, b: &Values, row: usize, step: usize| match mirrored {
            true => a.cosine(&Values { values: flipped(&b.values, row, step), norm: b.norm }),
            false => a.cosine(b),
        };
        let least = if self.small || other.small { SAME_SMALL } else { SAME };
        let fits = match (&self.colours, &other.colours) {
            (Some(a), Some(b)) => cosine(a, b, 8, 2) >= SAME_COLOUR,
            _ => true,
        };
        fits && cosine(&self.details, &other.details, SIDE, 1) >= least
    }
}

impl Values {
    fn new(values: Vec<i8>) -> Self {
        let norm = f64::from(dot(&values, &values)).sqrt();
        Self { values, norm }
    }

    /// The cosine of the angle between two lists of the same length.
    fn cosine(&self, other: &Self) -> f64 {
        let norms = self.norm * other.norm;
        if norms > 0.0 { f64::from(dot(&self.values, &other.values)) / norms } else { 0.0 }
    }
}

fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// Rows of `row` places, seen in a mirror; a place has `step` values.
fn flipped<T: Copy>(values: &[T], row: usize, step: usize) -> Vec<T> {
    let rows = values.chunks_exact(row * step);
    rows.flat_map(|row| row.chunks_exact(step).rev().flatten().copied()).collect()
}

/// The hash alone.
pub(super) fn perceptual_hash(image: &RgbImage) -> Option<u64> {
    Some(perceptual(&luma(&means(image)?)))
}

fn luma(means: &[[f64; 3]]) -> Vec<f64> {
    means.iter().map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect()
}

/// The mean colour of each of 32x32 equal parts, in 0..=255. Parts share the pixels on their borders.
fn means(image: &RgbImage) -> Option<Vec<[f64; 3]>> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return None;
    }
    let mut means = vec![[0.0; 3]; SIDE * SIDE];
    let mut sums = vec![[0_u32; 3]; width + 1];
    for (y, row) in image.as_raw().chunks_exact(3 * width).enumerate() {
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            sums[x + 1] = [0, 1, 2].map(|c| sums[x][c] + u32::from(pixel[c]));
        }
        // In units of 1/32 of a row, so that bounds are whole numbers.
        let (top, bottom) = (y * SIDE, (y + 1) * SIDE);
        for j in top / height..bottom.div_ceil(height) {
            let shared = bottom.min((j + 1) * height) - top.max(j * height);
            let weight = (shared * SIDE) as f64 / (height * width) as f64;
            for i in 0..SIDE {
                let (from, to) = (up_to(&sums, i, width), up_to(&sums, i + 1, width));
                let mean = &mut means[j * SIDE + i];
                for c in 0..3 {
                    mean[c] += (to[c] - from[c]) * weight;
                }
            }
        }
    }
    Some(means)
}

/// The sum of a row up to the place `i / 32`, given the sums up to each pixel.
fn up_to(sums: &[[u32; 3]], i: usize, width: usize) -> [f64; 3] {
    let (whole, rest) = (i * width / SIDE, i * width % SIDE);
    let part = rest as f64 / SIDE as f64;
    let next = sums[(whole + 1).min(width)];
    [0, 1, 2].map(|c| f64::from(sums[whole][c]) + f64::from(next[c] - sums[whole][c]) * part)
}

/// Each value less the mean of the 5x5 values around it; beyond the border the nearest counts.
fn details(luma: &[f64]) -> Vec<f64> {
    let at = |y: usize, x: usize| luma[y * SIDE + x];
    let around = |i: usize| (0..5).map(move |d| (i + d).saturating_sub(2).min(SIDE - 1));
    let mut details = Vec::with_capacity(luma.len());
    for y in 0..SIDE {
        for x in 0..SIDE {
            let sum: f64 = around(y).map(|j| around(x).map(|i| at(j, i)).sum::<f64>()).sum();
            details.push(at(y, x) - sum / 25.0);
        }
    }
    details
}

/// Blue and red less luma in 8x8 parts; `None` when there is hardly any colour.
fn colours(means: &[[f64; 3]], luma: &[f64]) -> Option<Values> {
    const PART: usize = SIDE / 8;
    let mut parts = [[0.0_f64; 2]; 64];
    for (at, (mean, luma)) in means.iter().zip(luma).enumerate() {
        let (y, x) = (at / SIDE / PART, at % SIDE / PART);
        let part = &mut parts[y * 8 + x];
        part[0] += (mean[2] - luma) * 0.564 / (PART * PART) as f64;
        part[1] += (mean[0] - luma) * 0.713 / (PART * PART) as f64;
    }
    let flat = parts.as_flattened();
    let energy = (flat.iter().map(|v| v * v).sum::<f64>() / flat.len() as f64).sqrt();
    if energy < LEAST_COLOUR {
        return None;
    }
    Some(Values::new(flat.iter().map(|value| value.round().clamp(-127.0, 127.0) as i8).collect()))
}

/// The perceptual hash of 32x32 luma values; the first bit, that of the mean, is the highest.
fn perceptual(luma: &[f64]) -> u64 {
    let wave = |k: usize, x: usize| (PI * ((2 * x + 1) * k) as f64 / (2 * SIDE) as f64).cos();
    let waves: Vec<[f64; SIDE]> = (0..LOW).map(|k| std::array::from_fn(|x| wave(k, x))).collect();
    let mut rows = [[0.0; SIDE]; LOW];
    for (v, row) in rows.iter_mut().enumerate() {
        for (x, sum) in row.iter_mut().enumerate() {
            *sum = (0..SIDE).map(|y| luma[y * SIDE + x] * waves[v][y]).sum();
        }
    }
    // Rounded, so that what is zero but for the last bits is zero on every machine.
    let mut low = [0_i64; LOW * LOW];
    for (at, value) in low.iter_mut().enumerate() {
        let (v, u) = (at / LOW, at % LOW);
        let sum: f64 = (0..SIDE).map(|x| rows[v][x] * waves[u][x]).sum();
        *value = (sum * 1024.0).round() as i64;
    }
    let mut sorted = low;
    sorted.sort_unstable();
    let twice_median = sorted[31] + sorted[32];
    low.iter().fold(0, |hash, &value| hash << 1 | u64::from(2 * value > twice_median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn scene(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let wave = (x * 17.0 + (y * 9.0).sin() * 3.0).sin() * (y * 23.0 + x * x * 11.0).cos();
            Rgb([(127.0 + 100.0 * wave) as u8, (255.0 * x) as u8, (200.0 * y * x) as u8])
        })
    }

    fn bits(a: &RgbImage, b: &RgbImage) -> u32 {
        (Likeness::of(a).unwrap().hash ^ Likeness::of(b).unwrap().hash).count_ones()
    }

    #[test]
    fn means_are_exact() {
        let image = RgbImage::from_fn(64, 96, |x, y| Rgb([x as u8, y as u8, 7]));
        let means = means(&image).unwrap();
        assert!((means[0][0] - 0.5).abs() < 1e-9 && (means[0][1] - 1.0).abs() < 1e-9);
        assert!((means[32 * 31 + 31][0] - 62.5).abs() < 1e-9 && (means[32 * 31 + 31][2] - 7.0).abs() < 1e-9);
        // Smaller than 32 and no divisor of it: the mean of all parts is still the mean of all pixels.
        let odd = RgbImage::from_fn(5, 7, |x, y| Rgb([(x * 50) as u8, (y * 30) as u8, 1]));
        let means = super::means(&odd).unwrap();
        let mean = |c: usize| means.iter().map(|m| m[c]).sum::<f64>() / 1024.0;
        assert!((mean(0) - 100.0).abs() < 1e-9 && (mean(1) - 90.0).abs() < 1e-9, "{} {}", mean(0), mean(1));
    }

    #[test]
    fn size_and_brightness_do_not_matter() {
        let large = scene(400, 300);
        let small = scene(101, 67);
        let dark = RgbImage::from_fn(400, 300, |x, y| Rgb(large.get_pixel(x, y).0.map(|v| v / 2 + 10)));
        for other in [&small, &dark] {
            assert!(bits(&large, other) <= 6, "{}", bits(&large, other));
            assert!(Likeness::of(&large).unwrap().is_same(&Likeness::of(other).unwrap(), false));
        }
    }

    #[test]
    fn a_mirror_is_seen_through() {
        let large = scene(400, 300);
        let mirrored = image::imageops::flip_horizontal(&scene(203, 150));
        let (a, b) = (Likeness::of(&large).unwrap(), Likeness::of(&mirrored).unwrap());
        assert!((a.hash ^ b.mirrored).count_ones() <= 6 && (a.mirrored ^ b.hash).count_ones() <= 6);
        assert!(a.is_same(&b, true) && b.is_same(&a, true));
        assert!(!a.is_same(&b, false) && !a.is_same(&a, true));
        assert_eq!(flipped(&[1, 2, 3, 4, 5, 6, 7, 8], 2, 2), [3, 4, 1, 2, 7, 8, 5, 6]);
    }

    #[test]
    fn another_colour_is_another_picture() {
        let paint = |colour: [u8; 3]| {
            let large = scene(200, 200);
            RgbImage::from_fn(200, 200, |x, y| {
                let light = u32::from(large.get_pixel(x, y).0[0]);
                Rgb(colour.map(|v| (u32::from(v) * light / 255) as u8))
            })
        };
        let of = |image: &RgbImage| Likeness::of(image).unwrap();
        let (red, green, grey) = (paint([255, 20, 20]), paint([20, 255, 20]), paint([255; 3]));
        assert!(!of(&red).is_same(&of(&green), false));
        assert!(of(&red).is_same(&of(&grey), false), "a grey copy is the same picture");
    }

    #[test]
    fn nothing_is_said_of_blank_pages() {
        assert!(Likeness::of(&RgbImage::from_pixel(300, 200, Rgb([250; 3]))).is_none());
        let gradient = RgbImage::from_fn(256, 256, |x, _| Rgb([(x / 3) as u8; 3]));
        assert!(Likeness::of(&gradient).is_none());
        assert!(Likeness::of(&RgbImage::new(0, 5)).is_none());
    }

    #[test]
    fn tone() {
        let half = RgbImage::from_fn(10, 10, |x, _| Rgb([if x < 5 { 0 } else { 200 }; 3]));
        let Tone { brightness, deviation } = Tone::of(&half);
        assert!((brightness - 100.0).abs() < 1e-9 && (deviation - 100.0).abs() < 1e-9);
    }
}
