//! Changes to pixels that do not move, and flips.
//!
//! The one decision: what Keras means by brightness (multiply, cut off at white) is one function and what its
//! code does with it (through 8-bit images of Pillow) another, so that neither hides in the other.

use super::affine::Shape;

/// Mirrors an image `[H, W, C]` in place.
pub(super) fn flip<T>(pixels: &mut [T], (_, width, channels): Shape, horizontal: bool, vertical: bool) {
    if pixels.is_empty() {
        return;
    }
    let row = width * channels;
    if horizontal {
        for row in pixels.chunks_exact_mut(row) {
            row.reverse();
            row.chunks_exact_mut(channels).for_each(<[T]>::reverse);
        }
    }
    if vertical {
        let rows = pixels.len() / row;
        let (upper, lower) = pixels.split_at_mut(rows / 2 * row);
        for (a, b) in upper.chunks_exact_mut(row).zip(lower.chunks_exact_mut(row).rev()) {
            a.swap_with_slice(b);
        }
    }
}

fn range_of(pixels: impl Iterator<Item = f32>) -> (f32, f32) {
    pixels.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// The same for all channels, within the range of the image.
pub(super) fn channel_shift(pixels: &mut [f32], intensity: f32) {
    let (low, high) = range_of(pixels.iter().copied());
    for value in pixels {
        *value = (*value + intensity).max(low).min(high);
    }
}

pub(super) fn channel_shift_u8(pixels: &mut [u8], intensity: f32) {
    let range =
        pixels.iter().fold((u8::MAX, u8::MIN), |(low, high), &level| (low.min(level), high.max(level)));
    let (low, high) = (f32::from(range.0), f32::from(range.1));
    look_up(pixels, |level| ((level + intensity).max(low).min(high) + 0.5) as u8);
}

/// Replaces each level by a function of it.
pub(super) fn look_up(pixels: &mut [u8], of: impl Fn(f32) -> u8) {
    let mut table = [0; 256];
    for (level, value) in (0_u8..=255).zip(table.iter_mut()) {
        *value = of(f32::from(level));
    }
    for level in pixels {
        *level = table[usize::from(*level)];
    }
}

/// The value of white in an image: 1 if nothing is above it, as after a division by 255, or else 255.
pub(super) fn white_of(pixels: impl Iterator<Item = f32>) -> f32 {
    if range_of(pixels).1 <= 1.0 { 1.0 } else { 255.0 }
}

/// How many of the channels are colours.
fn colours(channels: usize) -> usize {
    if channels == 4 { 3 } else { channels }
}

fn each_colour(pixels: &mut [f32], channels: usize, change: impl Fn(f32) -> f32) {
    for pixel in pixels.chunks_exact_mut(channels.max(1)) {
        for value in &mut pixel[..colours(channels)] {
            *value = change(*value);
        }
    }
}

/// Multiplies the distance from black and cuts off at white.
///
/// An image that goes below 0 or beyond white has its own least and largest value for black and white.
pub(super) fn brightness(pixels: &mut [f32], channels: usize, factor: f32, white: f32) {
    let colour = pixels.chunks_exact(channels.max(1)).flat_map(|pixel| &pixel[..colours(channels)]);
    let (low, high) = range_of(colour.copied());
    let (black, white) = if low < 0.0 || high > white { (low, high) } else { (0.0, white) };
    each_colour(pixels, channels, |value| ((value - black) * factor + black).max(black).min(white));
}

/// What the code of Keras 3 does: to whole levels of 0 to 255, cut off, then Pillow's blend with black.
pub(super) fn brightness_keras3(pixels: &mut [f32], channels: usize, factor: f32) {
    let (low, high) = range_of(pixels.iter().copied());
    let stretched = low < 0.0 || high > 255.0;
    if stretched {
        let largest = high - low;
        for value in pixels.iter_mut() {
            *value -= low;
            if largest != 0.0 {
                *value /= largest;
            }
            *value *= 255.0;
        }
    }
    for value in pixels.iter_mut() {
        *value = f32::from(*value as u8);
    }
    each_colour(pixels, channels, |level| f32::from((level * factor) as u8));
    if stretched {
        for value in pixels {
            *value = *value / 255.0 * (high - low) + low;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips() {
        let start: Vec<u8> = (0..12).collect();
        let flipped = |h, v| {
            let mut pixels = start.clone();
            flip(&mut pixels, (3, 2, 2), h, v);
            pixels
        };
        assert_eq!(flipped(true, false), [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9]);
        assert_eq!(flipped(false, true), [8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3]);
        assert_eq!(flipped(true, true), [10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1]);
        flip::<u8>(&mut [], (0, 3, 3), true, true);
    }

    #[test]
    fn brightness_means_the_same_for_both_scales() {
        let levels = [0.0, 10.0, 100.0, 200.0];
        let mut bytes = levels;
        brightness(&mut bytes, 1, 1.5, white_of(levels.into_iter()));
        assert_eq!(bytes, [0.0, 15.0, 150.0, 255.0]);
        let mut unit = levels.map(|level| level / 255.0);
        let white = white_of(unit.into_iter());
        brightness(&mut unit, 1, 1.5, white);
        assert!(unit.iter().zip(bytes).all(|(a, b)| (a * 255.0 - b).abs() < 1e-4), "{unit:?}");
        let mut trap = levels.map(|level| level / 255.0);
        brightness_keras3(&mut trap, 1, 1.5);
        assert_eq!(trap, [0.0; 4]);
    }

    #[test]
    fn alpha_stays() {
        let mut pixel = [10.0, 20.0, 30.0, 40.0];
        brightness(&mut pixel, 4, 2.0, 255.0);
        assert_eq!(pixel, [20.0, 40.0, 60.0, 40.0]);
        brightness_keras3(&mut pixel, 4, 0.5);
        assert_eq!(pixel, [10.0, 20.0, 30.0, 40.0]);
        brightness(&mut [], 4, 2.0, 255.0);
        brightness(&mut [], 0, 2.0, 255.0);
    }
}
