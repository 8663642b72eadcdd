//! Lines of letters on a picture.
//!
//! The one decision: letters of one width, from a table. What the table lacks is a mark, never an error: file
//! names are in every language.

use std::borrow::Cow;

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const SIZE: RasterHeight = RasterHeight::Size16;

/// The width of a letter, in pixels.
pub(super) const LETTER: u32 = get_raster_width(WEIGHT, SIZE) as u32;

/// The height of a line, in pixels.
pub(super) const LINE: u32 = SIZE.val() as u32 + 2;

/// What stands where text was cut off.
const CUT: &str = "..";

/// Draws a line; what does not fit is cut off. `at` is its upper left corner.
pub(super) fn draw(page: &mut RgbImage, at: (u32, u32), line: &str, ink: Rgb<u8>) {
    for (i, letter) in (0..).zip(line.chars()) {
        let known = get_raster(letter, WEIGHT, SIZE).or_else(|| get_raster('\u{FFFD}', WEIGHT, SIZE));
        let Some(glyph) = known.or_else(|| get_raster('?', WEIGHT, SIZE)) else { continue };
        for (y, row) in (at.1 + 1..).zip(glyph.rows()) {
            for (x, &strength) in (at.0 + i * LETTER..).zip(row) {
                if let Some(pixel) = page.get_pixel_mut_checked(x, y) {
                    for (paper, ink) in pixel.0.iter_mut().zip(ink.0) {
                        let (a, b) = (u32::from(*paper), u32::from(ink));
                        *paper = ((a * (255 - u32::from(strength)) + b * u32::from(strength)) / 255) as u8;
                    }
                }
            }
        }
    }
}

/// The text, or another one where most of its letters are not in the table.
pub(super) fn legible(text: &str, otherwise: impl FnOnce() -> String) -> Cow<'_, str> {
    let unknown = text.chars().filter(|&letter| get_raster(letter, WEIGHT, SIZE).is_none()).count();
    if unknown * 2 > text.chars().count() { Cow::Owned(otherwise()) } else { Cow::Borrowed(text) }
}

/// The lines of a text, none longer than `width` letters and no more than `most`: broken at spaces where there
/// are any. What is left over is cut off with a mark.
pub(super) fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let width = width.max(CUT.len() + 1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line: Vec<char> = Vec::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word.chars());
            while line.len() > width {
                let rest = line.split_off(break_of(&line[..width]));
                lines.push(std::mem::replace(&mut line, rest));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.truncate(width - CUT.len());
            last.extend(CUT.chars());
        }
    }
    lines.into_iter().map(String::from_iter).collect()
}

/// Where a word is broken that is longer than a line: in the second half of the line behind the last `_` or `-`,
/// or before the last full stop; or else at its end.
fn break_of(line: &[char]) -> usize {
    let fits = |at: &usize| line[at - 1] == '_' || line[at - 1] == '-' || line[*at] == '.';
    (line.len() / 2 + 1..line.len()).rev().find(fits).unwrap_or(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 8, 3), ["one two", "three"]);
        assert_eq!(wrapped("a_very_long_name.jpg", 8, 3), ["a_very_", "long_", "name.jpg"]);
        assert_eq!(wrapped("a_very_long_name.jpg", 8, 2), ["a_very_", "long_.."]);
        assert_eq!(wrapped("abcdefghijklmnop", 8, 3), ["abcdefgh", "ijklmnop"]);
        assert_eq!(wrapped("abcdefg.jpeg", 8, 3), ["abcdefg", ".jpeg"]);
        assert_eq!(wrapped("one\n\ntwo", 8, 3), ["one", "two"]);
        assert!(wrapped("", 8, 3).is_empty() && wrapped("word", 8, 0).is_empty());
        assert_eq!(wrapped("größe größe", 5, 2), ["größe", "größe"]);
    }

    #[test]
    fn what_cannot_be_written_goes_by_a_number() {
        let number = || "class 3".to_owned();
        assert_eq!(legible("größe", number), "größe");
        assert_eq!(legible("\u{4E16}\u{754C}", number), "class 3");
        assert_eq!(legible("", number), "");
    }

    #[test]
    fn letters_leave_ink_and_never_leave_the_page() {
        let mut page = RgbImage::from_pixel(40, 20, Rgb([255; 3]));
        draw(&mut page, (0, 0), "Aä\u{4E16}", Rgb([0; 3]));
        for letter in 0..3 {
            let box_of = |x: u32| x / LETTER == letter;
            let dark = page.enumerate_pixels().filter(|(x, _, p)| box_of(*x) && p.0[0] < 100).count();
            assert!(dark > 5, "letter {letter}: {dark}");
        }
        draw(&mut page, (35, 15), "beyond the corner", Rgb([0; 3]));
    }
}
