//! Against the general decoder.

use std::path::{Path, PathBuf};

use image::{RgbImage, imageops};

use super::Sequential;
use crate::augment::Crop;
use crate::decode::{decode_any_jpeg, decode_window};
use crate::scratch::Scratch;

/// Some files of each kind, and whether they are decoded in part.
const KINDS: [(&str, bool); 9] = [
    ("444", true),
    ("422", true),
    ("420", true),
    ("optimised", true),
    ("restart", true),
    ("grey", true),
    ("cmyk", false),
    ("progressive", false),
    ("turned", false),
];

fn file(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/rows_{kind}.jpg"))
}

/// Slow and general.
fn general(bytes: &[u8]) -> RgbImage {
    decode_any_jpeg(bytes, &mut Scratch::default()).unwrap().0
}

#[test]
fn a_window_shows_what_the_general_decoder_shows_there() {
    let mut scratch = Scratch::default();
    for (kind, in_part) in KINDS {
        let whole = general(&std::fs::read(file(kind)).unwrap());
        let (width, height) = whole.dimensions();
        let sides = |length: u32| {
            [(0, length), (0, 1), (length - 1, 1), (7, 9), (15, 2), (16, 17), (33, length - 33)]
        };
        for (x, width) in sides(width) {
            for (y, height) in sides(height) {
                let (mut asked, window) = (false, Crop { x, y, width, height });
                let part = decode_window(&file(kind), &mut scratch, |width, height| {
                    assert_eq!((width, height), whole.dimensions());
                    asked = true;
                    window
                })
                .unwrap();
                assert_eq!(asked, in_part, "{kind}");
                let shown = |image: &RgbImage| imageops::crop_imm(image, x, y, width, height).to_image();
                assert!(kind == "turned" || shown(&part) == shown(&whole), "{kind}, {window:?}");
                scratch.recycle(part);
            }
        }
    }
}

#[test]
fn damaged_files_are_decoded_as_the_general_decoder_does_or_not_at_all() {
    let mut scratch = Scratch::default();
    let mut state = 88_172_645_463_325_252_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    let mut decoded = 0;
    for (kind, _) in KINDS {
        let file = std::fs::read(file(kind)).unwrap();
        for _ in 0..200 {
            let mut bytes = file.clone();
            for _ in 0..=draw(3) {
                let at = draw(bytes.len());
                bytes[at] = draw(256) as u8;
            }
            if draw(8) == 0 {
                bytes.truncate(draw(file.len()));
            }
            if let Some(image) = Sequential::of(&bytes).and_then(|file| file.decode_whole(&mut scratch)) {
                assert!(image == general(&bytes), "{kind}");
                decoded += 1;
            }
        }
    }
    assert!(decoded > 300, "{decoded}");
}
