//! Colours, pixel by pixel, as Pillow changes them.
//!
//! The one decision: levels stay 8 bits between operations and are cut off, not rounded, where Pillow does so; the
//! results are Pillow's to the bit.

use image::RgbImage;

/// New levels for each of the 256.
type Table = [u8; 256];

/// From `grey` towards `level` by a factor that may lie beyond 1; cut off at 0 and 255.
fn blend(grey: u8, level: u8, factor: f32) -> u8 {
    (f32::from(grey) + factor * (f32::from(level) - f32::from(grey))) as u8
}

/// Rec. 601 luma in 16 bits of fixed point.
fn luma(pixel: &[u8]) -> u8 {
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

/// The same table for all channels.
fn look_up(image: &mut RgbImage, table: &Table) {
    for level in image.iter_mut() {
        *level = table[usize::from(*level)];
    }
}

fn look_up_each(image: &mut RgbImage, tables: &[Table; 3]) {
    for pixel in image.chunks_exact_mut(3) {
        for (level, table) in pixel.iter_mut().zip(tables) {
            *level = table[usize::from(*level)];
        }
    }
}

/// How often each level occurs in each channel.
fn histograms(image: &RgbImage) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in image.chunks_exact(3) {
        for (&level, counts) in pixel.iter().zip(counts.iter_mut()) {
            counts[usize::from(level)] += 1;
        }
    }
    counts
}

/// Blends with black.
pub(super) fn brightness(image: &mut RgbImage, factor: f32) {
    look_up(image, &table(|level| blend(0, level, factor)));
}

/// Blends with the mean of the grey image.
pub(super) fn contrast(image: &mut RgbImage, factor: f32) {
    let sum: u64 = image.chunks_exact(3).map(|pixel| u64::from(luma(pixel))).sum();
    let pixels = (image.len() / 3).max(1);
    let mean = (sum as f64 / pixels as f64 + 0.5) as u8;
    look_up(image, &table(|level| blend(mean, level, factor)));
}

/// Blends with the grey image.
pub(super) fn saturation(image: &mut RgbImage, factor: f32) {
    for pixel in image.chunks_exact_mut(3) {
        let grey = luma(pixel);
        pixel.iter_mut().for_each(|level| *level = blend(grey, *level, factor));
    }
}

pub(super) fn grayscale(image: &mut RgbImage) {
    for pixel in image.chunks_exact_mut(3) {
        let grey = luma(pixel);
        pixel.fill(grey);
    }
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
    look_up(image, &table(|level| if f64::from(level) < threshold { level } else { 255 - level }));
}

/// Stretches each channel to 0..=255; one of a single level stays.
pub(super) fn autocontrast(image: &mut RgbImage) {
    let tables = histograms(image).map(|counts| {
        let used = |count: &u32| *count > 0;
        let (low, high) = (counts.iter().position(used), counts.iter().rposition(used));
        let (low, high) = (low.unwrap_or(0) as f64, high.unwrap_or(0) as f64);
        if high <= low {
            return table(|level| level);
        }
        let scale = 255.0 / (high - low);
        let offset = -low * scale;
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

/// Turns the hue by a part of its circle. Hue, saturation and value have 8 bits each, as in Pillow's `HSV`.
pub(super) fn hue(image: &mut RgbImage, part: f64) {
    let turn = ((part * 255.0) as i32).rem_euclid(256) as u8;
    // What the new colour is made of, for each hue before the turn: the sector, and how far along it.
    let turned = table(|hue| hue.wrapping_add(turn)).map(|hue| {
        let place = (f64::from(hue) * 6.0 / 255.0) as f32;
        (place as u8 % 6, f64::from(place - place.floor()))
    });
    for pixel in image.chunks_exact_mut(3) {
        let (hue, saturation, value) = to_hsv(pixel[0], pixel[1], pixel[2]);
        let (sector, along) = turned[usize::from(hue)];
        pixel.copy_from_slice(&to_rgb((sector, along), saturation, value));
    }
}

/// The hexcone of Smith (1978); divisions in f32 and their sums in f64, as Pillow makes them.
fn to_hsv(r: u8, g: u8, b: u8) -> (u8, u8, u8) {
    let value = r.max(g).max(b);
    let range = value - r.min(g).min(b);
    if range == 0 {
        return (0, 0, value);
    }
    let range = f32::from(range);
    let below = |level: u8| f32::from(value - level) / range;
    let sector = if r == value {
        below(b) - below(g)
    } else if g == value {
        (2.0 + f64::from(below(r)) - f64::from(below(b))) as f32
    } else {
        (4.0 + f64::from(below(g)) - f64::from(below(r))) as f32
    };
    let turn = f64::from(sector) / 6.0 + 1.0;
    let hue = if turn >= 1.0 { turn - 1.0 } else { turn } as f32;
    let saturation = range / f32::from(value);
    (whole(f64::from(hue) * 255.0), whole(f64::from(saturation) * 255.0), value)
}

fn to_rgb((sector, along): (u8, f64), saturation: u8, value: u8) -> [u8; 3] {
    let saturation = f64::from(f32::from(saturation) / 255.0);
    let level = |rest: f64| whole(f64::from(value) * rest + 0.5);
    let low = level(1.0 - saturation);
    let falling = level(1.0 - saturation * along);
    let rising = level(1.0 - saturation * (1.0 - along));
    match sector {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

/// Cuts off a number from 0 to 255: by way of i32, which a processor does in one instruction.
fn whole(value: f64) -> u8 {
    value as i32 as u8
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
            hue(&mut image, f64::from(factor));
            posterize(&mut image, 200);
        }
        let mut empty = RgbImage::new(0, 0);
        contrast(&mut empty, 0.5);
        autocontrast(&mut empty);
        equalize(&mut empty);
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
