//! Bilinear sampling where nothing shrinks: two by two pixels, in whole numbers.
//!
//! The one decision: a pixel is one u64 with 21 bits for each channel, so that one multiplication weighs all three.
//! Weights have 13 bits, which leaves a level within a tenth of the exact sum.

use std::ops::Range;

use image::RgbImage;

use super::crop::Crop;
use super::warp::{Map, centre};

/// Bits of a weight.
const WEIGHT: u32 = 13;

/// Bits of a channel: a level times a weight, and the rounding.
const LANE: u32 = 8 + WEIGHT;

/// Half a level in each channel.
const HALF: u64 = (1 | 1 << LANE | 1 << (2 * LANE)) << (WEIGHT - 1);

/// Places have this many bits behind the point.
const POINT: u32 = 32;

/// A part of an image, with its edge pixels once more around it.
pub(super) struct Quads<'a> {
    texels: &'a [u64],
    stride: usize,
    /// The upper left corner of the part.
    corner: (f64, f64),
}

impl<'a> Quads<'a> {
    pub(super) fn new(image: &RgbImage, part: Crop, texels: &'a mut Vec<u64>) -> Self {
        let (width, height) = (part.width as usize, part.height as usize);
        let stride = width + 2;
        texels.resize(stride * (height + 2), 0);
        let lines = image.as_raw().chunks_exact(3 * image.width() as usize).skip(part.y as usize);
        for (line, row) in lines.zip(texels.chunks_exact_mut(stride).skip(1).take(height)) {
            let (pixels, _) = line[3 * part.x as usize..][..3 * width].as_chunks::<3>();
            for (pixel, texel) in pixels.iter().zip(&mut row[1..]) {
                *texel =
                    u64::from(pixel[0]) | u64::from(pixel[1]) << LANE | u64::from(pixel[2]) << (2 * LANE);
            }
            (row[0], row[width + 1]) = (row[1], row[width]);
        }
        texels.copy_within(stride..2 * stride, 0);
        texels.copy_within(height * stride..(height + 1) * stride, (height + 1) * stride);
        Self { texels, stride, corner: (part.x.into(), part.y.into()) }
    }

    /// Row `j` of the result, in a run of columns whose places lie inside of the part.
    pub(super) fn row(&self, map: &Map, j: usize, run: Range<usize>, line: &mut [u8]) {
        let fixed = |value: f64| (value * (1_u64 << POINT) as f64) as i64;
        let (x, y) = map.at(centre(run.start), centre(j));
        // The pixel around the part moves everything by one, and a pixel's place is its middle.
        let (mut x, mut y) = (fixed(x - self.corner.0 + 0.5), fixed(y - self.corner.1 + 0.5));
        let (step_x, step_y) = (fixed(map.xx), fixed(map.yx));
        for pixel in line.as_chunks_mut::<3>().0 {
            let at = ((y >> POINT) as usize).wrapping_mul(self.stride).wrapping_add((x >> POINT) as usize);
            let two = |at: usize| self.texels.get(at..)?.first_chunk::<2>();
            let (Some(above), Some(below)) = (two(at), two(at.wrapping_add(self.stride))) else { return };
            let weight = |place: i64| (place >> (POINT - WEIGHT)) as u64 & ((1 << WEIGHT) - 1);
            let (right, down) = (weight(x), weight(y));
            let both = (right * down) >> WEIGHT;
            let sum = above[0] * ((1 << WEIGHT) + both - right - down)
                + above[1] * (right - both)
                + below[0] * (down - both)
                + below[1] * both
                + HALF;
            *pixel = [WEIGHT, WEIGHT + LANE, WEIGHT + 2 * LANE].map(|shift| (sum >> shift) as u8);
            (x, y) = (x.wrapping_add(step_x), y.wrapping_add(step_y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn between_four_pixels() {
        let image =
            RgbImage::from_fn(5, 4, |x, y| Rgb([x as u8 * 40, y as u8 * 60, if x == 2 { 255 } else { 0 }]));
        let part = Crop { x: 1, y: 1, width: 3, height: 2 };
        let mut texels = vec![7; 3];
        let quads = Quads::new(&image, part, &mut texels);
        let map = Map { xx: 0.5, x0: 1.0, y0: 1.0, yy: 0.5, ..Map::IDENTITY };
        let mut line = [0; 18];
        // Places 1.25 to 3.75 and 1.75: the pixels beyond the part do not count.
        quads.row(&map, 1, 0..6, &mut line);
        let red: Vec<u8> = line.chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!(red, [40, 50, 70, 90, 110, 120]);
        let blue: Vec<u8> = line.chunks(3).map(|pixel| pixel[2]).collect();
        assert_eq!(blue, [0, 64, 191, 191, 64, 0]);
        assert!(line.chunks(3).all(|pixel| pixel[1] == 75), "{line:?}");
    }
}
