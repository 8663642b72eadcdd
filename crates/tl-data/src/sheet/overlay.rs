//! An image and, beside it, where in it something is.
//!
//! The one decision: the colours are Inferno (van der Walt and Smith 2015, of matplotlib), whose lightness rises evenly
//! from black: what does not count is dark, and the order is the same in grey and for the colour-blind.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::error::DataError;

/// Pixels between two pictures.
const GAP: u32 = 4;
/// How much of a pixel is its colour on the scale; the rest is the image, in grey.
const SCALE_SHARE: f32 = 0.6;

/// A grid of values over an image.
#[derive(Clone, Copy, Debug)]
pub struct HeatMap<'a> {
    /// Row by row, `height * width` of them, finite, 0 or above.
    pub values: &'a [f32],
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// The image and beside it, for each map, the image in grey below the map in colours, each `side` pixels wide and high. The
/// highest value of a map has the lightest colour; between the centres of its cells values are interpolated linearly.
///
/// # Errors
/// A map has no cell, or not as many values as it says; the image has no pixels.
pub fn beside_heat(image: &RgbImage, maps: &[HeatMap<'_>], side: u32) -> Result<RgbImage, DataError> {
    let refuse = |option, got: String, expected: &str| {
        Err(DataError::Option { option, got, expected: expected.to_owned() })
    };
    let odd = |map: &&HeatMap<'_>| map.values.is_empty() || map.values.len() != map.height * map.width;
    if let Some(map) = maps.iter().find(odd) {
        let got = format!("{} values for {} x {}", map.values.len(), map.height, map.width);
        return refuse("map", got, "one value a cell, and a cell or more");
    }
    if image.width() * image.height() == 0 || side == 0 {
        return refuse("image", format!("{} x {}", image.width(), image.height()), "a pixel or more");
    }
    let filter = if side > image.width() { FilterType::CatmullRom } else { FilterType::Triangle };
    let left = imageops::resize(image, side, side, filter);
    let wide = side + maps.len() as u32 * (side + GAP);
    let mut all = RgbImage::from_pixel(wide, side, Rgb([255; 3]));
    imageops::replace(&mut all, &left, 0, 0);
    for (i, map) in (1..).zip(maps) {
        imageops::replace(&mut all, &tinted(&left, *map), i * i64::from(side + GAP), 0);
    }
    Ok(all)
}

/// The image in grey below the map in colours.
fn tinted(image: &RgbImage, map: HeatMap<'_>) -> RgbImage {
    let peak = map.values.iter().copied().fold(0.0, f32::max);
    let scale = if peak > 0.0 { 1.0 / peak } else { 0.0 };
    let (w, h) = image.dimensions();
    let mut tinted = image.clone();
    for (x, y, pixel) in tinted.enumerate_pixels_mut() {
        let heat = map.at((x as f32 + 0.5) / w as f32, (y as f32 + 0.5) / h as f32) * scale;
        let colour = colorous::INFERNO.eval_continuous(f64::from(heat.clamp(0.0, 1.0)));
        let [r, g, b] = pixel.0.map(f32::from);
        let grey = 0.299 * r + 0.587 * g + 0.114 * b;
        let mix = |colour: u8| (SCALE_SHARE * f32::from(colour) + (1.0 - SCALE_SHARE) * grey).round() as u8;
        *pixel = Rgb([mix(colour.r), mix(colour.g), mix(colour.b)]);
    }
    tinted
}

impl HeatMap<'_> {
    /// The value at a point of the image, `0..=1` from the left and from the top.
    fn at(&self, x: f32, y: f32) -> f32 {
        let axis = |at: f32, cells: usize| {
            let at = (at * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
            let low = at.floor();
            (low as usize, (low as usize + 1).min(cells - 1), at - low)
        };
        let ((left, right, fx), (top, bottom, fy)) = (axis(x, self.width), axis(y, self.height));
        let cell = |row: usize, column: usize| self.values[row * self.width + column];
        let row = |row: usize| cell(row, left) * (1.0 - fx) + cell(row, right) * fx;
        row(top) * (1.0 - fy) + row(bottom) * fy
    }
}

/// An image as the content of a JPEG file.
///
/// # Errors
/// The image has no pixels.
pub fn jpeg(image: &RgbImage) -> Result<Vec<u8>, DataError> {
    const QUALITY: u8 = 80;
    let mut bytes = Cursor::new(Vec::new());
    let written = JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(image);
    written.map_err(|error| DataError::Encode { format: "JPEG", detail: error.to_string() })?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_is_the_lightest_and_all_lies_where_it_should() {
        let grey = RgbImage::from_pixel(8, 8, Rgb([100; 3]));
        let map = HeatMap { values: &[0.0, 2.0, 1.0, 0.0, 0.0, 0.0], height: 2, width: 3 };
        let both = beside_heat(&grey, &[map], 60).unwrap();
        assert_eq!(both.dimensions(), (124, 60));
        assert_eq!(both.get_pixel(30, 30), &Rgb([100; 3]), "the left one is the image");
        let light = |x: u32, y: u32| both.get_pixel(64 + x, y).0.iter().map(|v| u32::from(*v)).sum::<u32>();
        // Centres of the cells: 10, 30 and 50 across, 15 and 45 down.
        assert!(light(30, 15) > light(10, 15) && light(30, 15) > light(10, 45));
        assert!(
            light(0, 45) < light(20, 15) && light(20, 15) < light(30, 15),
            "between cells it is interpolated"
        );
        assert_eq!(
            both.get_pixel(64 + 50, 45),
            &Rgb([40, 40, 42]),
            "0 is black, and the image shows through"
        );
        let two = beside_heat(&grey, &[map, map], 60).unwrap();
        assert_eq!((two.width(), two.get_pixel(128 + 7, 9)), (188, both.get_pixel(64 + 7, 9)));
        let peak = colorous::INFERNO.eval_continuous(1.0);
        let expected = [peak.r, peak.g, peak.b].map(|v| (0.6 * f32::from(v) + 40.0).round() as u8);
        assert!(both.get_pixel(64 + 30, 10).0.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 6));
        assert!(beside_heat(&grey, &[HeatMap { height: 3, ..map }], 60).is_err());
        let none = HeatMap { values: &[0.0], height: 1, width: 1 };
        assert!(jpeg(&beside_heat(&grey, &[none], 60).unwrap()).unwrap().starts_with(&[0xff, 0xd8]));
    }
}
