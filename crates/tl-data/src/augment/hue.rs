//! Turning the hue, with hue, saturation and value in 8 bits each, as Pillow's `HSV` has them.
//!
//! The one decision: blocks of pixels in f32, without branches or tables, so that the compiler can make vector code of
//! all of it. That the levels are Pillow's, which divides in f32 and adds in f64, is not argued but tested colour by
//! colour.

use image::RgbImage;
use pulp::{Arch, NullaryFnOnce};

/// Pixels that are worked on together.
const BLOCK: usize = 32;

/// Adding this leaves the nearest whole number in the lower bits.
const WHOLE: f32 = (1_u32 << 23) as f32;

/// Turns the hue by a part of its circle.
pub(super) fn hue(image: &mut RgbImage, part: f64) {
    let turn = f32::from(((part * 255.0) as i32).rem_euclid(256) as u8);
    Arch::new().dispatch(Turn { pixels: image.as_chunks_mut().0, turn });
}

/// The work as a type of its own: a closure of this size is not inlined into what is compiled for wide vectors.
struct Turn<'a> {
    pixels: &'a mut [[u8; 3]],
    turn: f32,
}

impl NullaryFnOnce for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (blocks, rest) = self.pixels.as_chunks_mut::<BLOCK>();
        for block in blocks {
            turn_block(block, self.turn);
        }
        let mut block = [[0; 3]; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        turn_block(&mut block, self.turn);
        rest.copy_from_slice(&block[..rest.len()]);
    }
}

#[inline(always)]
fn turn_block(pixels: &mut [[u8; 3]; BLOCK], turn: f32) {
    let (mut red, mut green, mut blue) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        [red[i], green[i], blue[i]] =
            [f32::from(pixels[i][0]), f32::from(pixels[i][1]), f32::from(pixels[i][2])];
    }
    for i in 0..BLOCK {
        let (hue, saturation, value) = to_hsv(red[i], green[i], blue[i]);
        let turned = hue + turn;
        let turned = if turned >= 256.0 { turned - 256.0 } else { turned };
        [red[i], green[i], blue[i]] = from_hsv(turned, saturation, value);
    }
    for i in 0..BLOCK {
        let whole = |level: f32| (level + WHOLE).to_bits() as u8;
        pixels[i] = [whole(red[i]), whole(green[i]), whole(blue[i])];
    }
}

/// Red, green and blue of whole levels of hue, saturation and value; the last step to whole levels is not done.
#[inline(always)]
fn from_hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    /// Adding this leaves the upper 8 bits of a number from 0 to 1.
    const UPPER: f32 = (1_u32 << 15) as f32;
    // How much of the range between the greatest and the least level each colour lacks: one nothing, one all.
    let place = hue * 6.0 / 255.0;
    let within = |lacks: f32| lacks.clamp(0.0, 1.0);
    let lacks = [
        within(2.0 - (place - 3.0).abs()),
        within((place - 2.0).abs() - 1.0),
        within((place - 4.0).abs() - 1.0),
    ];
    let [r, g, b] = lacks;
    let part = r.min(g).max(r.max(g).min(b));
    // Four colours of 2^24 lie nearer to the half than f32 tells; what is left after rounding does tell.
    let range = value * saturation;
    let near = (value - range * (part * (1.0 / 255.0)) + WHOLE) - WHOLE;
    let upper = (part + UPPER) - UPPER;
    let left = 255.0 * (value - near) - range * upper - range * (part - upper);
    let middle = near + if left >= 127.5 { 1.0 } else { 0.0 } - if left < -127.5 { 1.0 } else { 0.0 };
    let low = value - range * (1.0 / 255.0);
    let level = |lacks: f32| {
        if lacks == 0.0 {
            value
        } else if lacks == 1.0 {
            low
        } else {
            middle
        }
    };
    [level(r), level(g), level(b)]
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
