//! Colours, pixel by pixel, as Pillow changes them.
//!
//! The one decision: levels stay 8 bits between operations and are cut off, not rounded, where Pillow does so; the
//! results are Pillow's to the bit.

use image::RgbImage;

use crate::wide::wide;

/// Pixels that are worked on together, so that the compiler can make vector code of what is the same for all channels.
const BLOCK: usize = 32;

/// New levels for each of the 256.
type Table = [u8; 256];

/// From `grey` towards `level` by a factor that may lie beyond 1; cut off at 0 and 255.
#[inline(always)]
pub(super) fn blend(grey: u8, level: u8, factor: f32) -> u8 {
    // Adding this leaves the nearest whole number in the lower bits: the compiler makes vector code of that, and none of
    // a cast.
    const WHOLE: f32 = (1_u32 << 23) as f32;
    let value = f32::from(grey) + factor * (f32::from(level) - f32::from(grey));
    // Comparisons send what is no number to 0.
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    let nearest = (value + WHOLE) - WHOLE;
    let below = if nearest > value { nearest - 1.0 } else { nearest };
    (below + WHOLE).to_bits() as u8
}

/// Rec. 601 luma in 16 bits of fixed point.
#[inline(always)]
fn luma(pixel: &[u8; 3]) -> u8 {
    let weighted = |level: u8, weight: u32| u32::from(level) * weight;
    let sum = weighted(pixel[0], 19_595) + weighted(pixel[1], 38_470) + weighted(pixel[2], 7_471);
    ((sum + 0x8000) >> 16) as u8
}

fn table(new: impl Fn(u8) -> u8) -> Table {
    let mut table = [0; 256];
    for (level, slot) in (0_u8..=255).zip(table.iter_mut()) {
        *slot = new(level);
    }
    table
}

fn look_up_each(image: &mut RgbImage, tables: &[Table; 3]) {
    let [red, green, blue] = tables;
    for [r, g, b] in image.as_chunks_mut::<3>().0 {
        (*r, *g, *b) = (red[usize::from(*r)], green[usize::from(*g)], blue[usize::from(*b)]);
    }
}

/// How often each level occurs in each channel.
fn histograms(image: &RgbImage) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for [r, g, b] in image.as_chunks::<3>().0 {
        counts[0][usize::from(*r)] += 1;
        counts[1][usize::from(*g)] += 1;
        counts[2][usize::from(*b)] += 1;
    }
    counts
}

/// The least and the greatest level of each channel.
fn ranges(image: &RgbImage) -> [(u8, u8); 3] {
    let (mut low, mut high) = ([u8::MAX; 48], [0; 48]);
    let mut note = |levels: &[u8]| {
        for ((low, high), level) in low.iter_mut().zip(high.iter_mut()).zip(levels) {
            (*low, *high) = ((*low).min(*level), (*high).max(*level));
        }
    };
    let (blocks, rest) = image.as_chunks::<48>();
    blocks.iter().for_each(|block| note(block));
    note(rest);
    [0, 1, 2].map(|channel| {
        let of = |levels: &[u8; 48]| levels.iter().copied().skip(channel).step_by(3).collect::<Vec<u8>>();
        let (low, high) = (of(&low).into_iter().min(), of(&high).into_iter().max());
        (low.unwrap_or(0), high.unwrap_or(0))
    })
}

/// Blends with black.
pub(super) fn brightness(image: &mut RgbImage, factor: f32) {
    wide(|| image.iter_mut().for_each(|level| *level = blend(0, *level, factor)));
}

/// Blends with the mean of the grey image.
pub(super) fn contrast(image: &mut RgbImage, factor: f32) {
    let sum: u64 = wide(|| image.as_chunks::<3>().0.iter().map(|pixel| u64::from(luma(pixel))).sum());
    let pixels = (image.len() / 3).max(1);
    let mean = (sum as f64 / pixels as f64 + 0.5) as u8;
    wide(|| image.iter_mut().for_each(|level| *level = blend(mean, *level, factor)));
}

/// Blends with the grey image.
pub(super) fn saturation(image: &mut RgbImage, factor: f32) {
    wide(|| {
        let mut greys = [0; 3 * BLOCK];
        for block in image.chunks_mut(3 * BLOCK) {
            for (pixel, grey) in block.as_chunks::<3>().0.iter().zip(greys.as_chunks_mut::<3>().0) {
                *grey = [luma(pixel); 3];
            }
            block.iter_mut().zip(&greys).for_each(|(level, grey)| *level = blend(*grey, *level, factor));
        }
    });
}

pub(super) fn grayscale(image: &mut RgbImage) {
    wide(|| image.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = [luma(pixel); 3]));
}

pub(super) fn invert(image: &mut RgbImage) {
    image.iter_mut().for_each(|level| *level = 255 - *level);
}

/// Keeps the upper bits.
pub(super) fn posterize(image: &mut RgbImage, bits: u8) {
    let mask = 0xFF_u8.checked_shl(8 - u32::from(bits.min(8))).unwrap_or(0);
    image.iter_mut().for_each(|level| *level &= mask);
}

/// Inverts the levels from `threshold` on.
pub(super) fn solarize(image: &mut RgbImage, threshold: f64) {
    // One that is no number counts as 0.
    let first = if threshold > 0.0 { threshold.ceil() as u16 } else { 0 };
    let Ok(first) = u8::try_from(first) else { return };
    image.iter_mut().for_each(|level| *level = if *level < first { *level } else { 255 - *level });
}

/// Stretches each channel to 0..=255; one of a single level stays.
pub(super) fn autocontrast(image: &mut RgbImage) {
    let tables = ranges(image).map(|(low, high)| {
        if high <= low {
            return table(|level| level);
        }
        let scale = 255.0 / f64::from(high - low);
        let offset = -f64::from(low) * scale;
        table(|level| (f64::from(level) * scale + offset) as u8)
    });
    look_up_each(image, &tables);
}

/// Spreads the levels of each channel so that the histogram becomes even; one of few pixels stays.
pub(super) fn equalize(image: &mut RgbImage) {
    let tables = histograms(image).map(|counts| {
        let used: Vec<u32> = counts.iter().copied().filter(|&count| count > 0).collect();
        let highest = used.last().copied().unwrap_or(0);
        let step = (used.iter().sum::<u32>() - highest) / 255;
        if used.len() <= 1 || step == 0 {
            return table(|level| level);
        }
        let mut below = step / 2;
        let mut table = [0; 256];
        for (slot, count) in table.iter_mut().zip(counts) {
            *slot = (below / step).min(255) as u8;
            below += count;
        }
        table
    });
    look_up_each(image, &tables);
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn no_number_is_too_strange() {
        for factor in [f32::NAN, f32::INFINITY, -1e30, 1e30] {
            let mut image = RgbImage::from_fn(5, 4, |x, y| Rgb([x as u8 * 50, y as u8 * 60, 9]));
            brightness(&mut image, factor);
            contrast(&mut image, factor);
            saturation(&mut image, factor);
            solarize(&mut image, f64::from(factor));
            super::super::hue::hue(&mut image, f64::from(factor));
            posterize(&mut image, 200);
        }
        let mut empty = RgbImage::new(0, 0);
        contrast(&mut empty, 0.5);
        autocontrast(&mut empty);
        equalize(&mut empty);
    }

    #[test]
    fn a_blend_is_cut_off() {
        for (grey, level) in (0..=255).flat_map(|grey| (0..=255).map(move |level| (grey, level))) {
            for factor in [-0.7_f32, 0.0, 0.3, 0.999, 1.0, 1.7, 300.0] {
                let expected = (f32::from(grey) + factor * (f32::from(level) - f32::from(grey))) as u8;
                assert_eq!(blend(grey, level, factor), expected, "{grey} {level} {factor}");
            }
        }
    }

    #[test]
    fn neutral_strengths_change_nothing() {
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, (x * y) as u8]));
        let mut same = image.clone();
        brightness(&mut same, 1.0);
        contrast(&mut same, 1.0);
        saturation(&mut same, 1.0);
        posterize(&mut same, 8);
        solarize(&mut same, 256.0);
        assert_eq!(same, image);
        posterize(&mut same, 0);
        assert!(same.iter().all(|&level| level == 0));
    }
}
