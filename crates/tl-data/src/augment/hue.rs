//! Turning the hue, with hue, saturation and value in 8 bits each, as Pillow's `HSV` has them.
//!
//! The one decision: blocks of pixels in f32, without branches, so that the compiler can make vector code of it. That
//! the levels are Pillow's, which divides in f32 and adds in f64, is not argued but tested colour by colour.

use image::RgbImage;

/// Pixels that are worked on together.
const BLOCK: usize = 16;

/// Adding this leaves the nearest whole number in the lower bits.
const WHOLE: f32 = (1_u32 << 23) as f32;

/// The same in f64.
const WHOLE_WIDE: f64 = (1_u64 << 52) as f64;

/// What the new colour is made of, for one of the 256 hues before the turn.
#[derive(Clone, Copy)]
struct Turned {
    /// How much of the saturation the middle level lacks.
    part: f64,
    /// For red, green and blue, by how many bits to shift the packed levels: value, middle, low.
    shifts: [u8; 3],
}

impl Turned {
    fn table(turn: u8) -> [Self; 256] {
        const VALUE: u8 = 0;
        const MIDDLE: u8 = 8;
        const LOW: u8 = 16;
        let mut table = [Self { part: 0.0, shifts: [VALUE; 3] }; 256];
        for (hue, turned) in (0_u8..=255).zip(table.iter_mut()) {
            let place = (f64::from(hue.wrapping_add(turn)) * 6.0 / 255.0) as f32;
            let (sector, along) = (place as u8 % 6, f64::from(place - place.floor()));
            let shifts = match sector {
                0 => [VALUE, MIDDLE, LOW],
                1 => [MIDDLE, VALUE, LOW],
                2 => [LOW, VALUE, MIDDLE],
                3 => [LOW, MIDDLE, VALUE],
                4 => [MIDDLE, LOW, VALUE],
                _ => [VALUE, LOW, MIDDLE],
            };
            *turned = Self { part: if sector % 2 == 0 { 1.0 - along } else { along }, shifts };
        }
        table
    }
}

/// Turns the hue by a part of its circle.
pub(super) fn hue(image: &mut RgbImage, part: f64) {
    let table = Turned::table(((part * 255.0) as i32).rem_euclid(256) as u8);
    let (pixels, _) = image.as_chunks_mut::<3>();
    let (blocks, rest) = pixels.as_chunks_mut::<BLOCK>();
    blocks.iter_mut().for_each(|block| turn(block, &table));
    let mut block = [[0; 3]; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    turn(&mut block, &table);
    rest.copy_from_slice(&block[..rest.len()]);
}

fn turn(pixels: &mut [[u8; 3]; BLOCK], table: &[Turned; 256]) {
    let mut levels = [[0.0_f32; BLOCK]; 3];
    for (i, pixel) in pixels.iter().enumerate() {
        for (channel, level) in levels.iter_mut().zip(pixel) {
            channel[i] = f32::from(*level);
        }
    }
    let (mut hues, mut saturations, mut values) = ([0_u8; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        let (hue, saturation, value) = to_hsv(levels[0][i], levels[1][i], levels[2][i]);
        hues[i] = (hue + WHOLE).to_bits() as u8;
        (saturations[i], values[i]) = (saturation, value);
    }
    let parts = hues.map(|hue| table[usize::from(hue)].part);
    let (mut low, mut middle) = ([0_u64; BLOCK], [0_u64; BLOCK]);
    for i in 0..BLOCK {
        // Halves go up; the sum itself would send them to the even neighbour.
        const UP: f64 = 1e-9;
        let (saturation, value) = (f64::from(saturations[i] / 255.0), f64::from(values[i]));
        low[i] = (value * (1.0 - saturation) + UP + WHOLE_WIDE).to_bits();
        middle[i] = (value * (1.0 - saturation * parts[i]) + UP + WHOLE_WIDE).to_bits();
    }
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let value = (values[i] + WHOLE).to_bits() & 255;
        let packed = value | (middle[i] as u32 & 255) << 8 | (low[i] as u32 & 255) << 16;
        *pixel = table[usize::from(hues[i])].shifts.map(|shift| (packed >> (shift & 31)) as u8);
    }
}

/// The hexcone of Smith (1978): hue, saturation and value of whole levels, as whole levels.
#[inline(always)]
fn to_hsv(r: f32, g: f32, b: f32) -> (f32, f32, f32) {
    let value = r.max(g).max(b);
    let least = r.min(g).min(b);
    let range = value - least;
    let between = (r + g + b) - value - least;
    let part = (value - between) / range.max(1.0);
    // The sector begins at the colour that is least; where two are greatest, red goes before green.
    let (falls, base) = if r == value {
        (b == least, if b == least { 1.0 } else { -1.0 })
    } else if g == value {
        (r == least, if r == least { 3.0 } else { 1.0 })
    } else {
        (g == least, if g == least { 5.0 } else { 3.0 })
    };
    let sector = base + if falls { -part } else { part };
    let turn = if range == 0.0 { 0.0 } else { sector / 6.0 };
    let hue = if turn < 0.0 { 1.0 + turn } else { turn };
    (times_255(hue), times_255(range / value.max(1.0)), value)
}

/// 255 times a number from 0 to 1, cut off: the rounding of the product must not lift it to the next whole number.
#[inline(always)]
fn times_255(x: f32) -> f32 {
    let more = 256.0 * x;
    let product = more - x;
    let error = (more - product) - x;
    let nearest = (product + WHOLE) - WHOLE;
    let over = nearest > product || (nearest == product && error < 0.0);
    nearest - if over { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pillow's `rgb2hsv_row` and `hsv2rgb`, operation by operation.
    fn as_pillow(rgb: [u8; 3], turn: u8) -> [u8; 3] {
        let whole = |value: f64| value as i32 as u8;
        let [r, g, b] = rgb;
        let value = r.max(g).max(b);
        let range = f32::from(value - r.min(g).min(b));
        let (mut hue, mut saturation) = (0, 0);
        if range > 0.0 {
            let below = |level: u8| f32::from(value - level) / range;
            let sector = if r == value {
                below(b) - below(g)
            } else if g == value {
                (2.0 + f64::from(below(r)) - f64::from(below(b))) as f32
            } else {
                (4.0 + f64::from(below(g)) - f64::from(below(r))) as f32
            };
            let turn = f64::from(sector) / 6.0 + 1.0;
            hue = whole(f64::from((if turn >= 1.0 { turn - 1.0 } else { turn }) as f32) * 255.0);
            saturation = whole(f64::from(range / f32::from(value)) * 255.0);
        }
        let place = (f64::from(hue.wrapping_add(turn)) * 6.0 / 255.0) as f32;
        let (sector, along) = (place as u8 % 6, f64::from(place - place.floor()));
        let saturation = f64::from(f32::from(saturation) / 255.0);
        let level = |rest: f64| whole(f64::from(value) * rest + 0.5);
        let low = level(1.0 - saturation);
        let (falling, rising) = (level(1.0 - saturation * along), level(1.0 - saturation * (1.0 - along)));
        match sector {
            0 => [value, rising, low],
            1 => [falling, value, low],
            2 => [low, value, rising],
            3 => [low, falling, value],
            4 => [rising, low, value],
            _ => [value, low, falling],
        }
    }

    #[test]
    fn colour_by_colour_as_pillow() {
        // All 2^24 colours agree for every turn tried; a run of the tests takes every 19th, 19 being prime to 2^24.
        for (part, first) in [(0.0, 0), (0.1, 7), (-0.3, 3), (0.5, 11)] {
            let turn = ((part * 255.0) as i32).rem_euclid(256) as u8;
            let colours: Vec<[u8; 3]> = (first..1_u32 << 24)
                .step_by(19)
                .map(|colour| [colour as u8, (colour >> 8) as u8, (colour >> 16) as u8])
                .collect();
            let mut image = RgbImage::new(colours.len() as u32, 1);
            image.copy_from_slice(colours.as_flattened());
            hue(&mut image, part);
            for (ours, colour) in image.as_chunks::<3>().0.iter().zip(colours) {
                assert_eq!(*ours, as_pillow(colour, turn), "{colour:?} turned by {turn}");
            }
        }
    }
}
