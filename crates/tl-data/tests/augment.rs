//! Operations against torchvision; the data comes from `tests/golden/make_augment.py`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::path::PathBuf;

use serde::Deserialize;
use tl_data::{
    AffineParams, Crop, Erase, EraseFill, Interpolation, Length, Op, Params, Preprocess, RgbImage, decode_rgb,
};

#[derive(Debug, Deserialize)]
struct Golden {
    cases: Vec<Case>,
    large: Vec<Large>,
}

/// A picture that is made here, by the formula of the script.
#[derive(Debug, Deserialize)]
struct Large {
    params: Params,
    input: u32,
    offset: usize,
}

#[derive(Debug, Deserialize)]
struct Case {
    kind: String,
    source: String,
    params: Params,
    input: u32,
    resize: u32,
    interpolation: Interpolation,
    offset: usize,
}

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", name].iter().collect()
}

/// The largest difference allowed, and the part of the values that may be off by more than one level.
///
/// Colours are torchvision's to the bit. A rotation by torchvision itself is cut off to whole levels where ours is
/// rounded. `one-resampling` is a plain sum, which ours has to match; `chain` is torchvision's several resamplings on a
/// smooth image, and one step of posterizing where that comes last. `shrunk` goes through an intermediate size.
fn allowed(case: &Case) -> (u8, f64) {
    match (case.kind.as_str(), case.interpolation) {
        ("colour" | "flip" | "erase", _) => (0, 0.0),
        ("geometry", _) => (1, 0.0),
        // Pillow rounds places to 1/65536 of a pixel, so a place between two pixels may fall to the other side.
        ("affine", Interpolation::Nearest) => (255, 0.003),
        ("affine", _) => (2, 0.002),
        ("one-resampling", _) => (1, 0.0),
        ("chain", _) => (2, 0.02),
        ("chain-posterized", _) => (16, 0.05),
        ("shrunk-hard", _) => (4, 1.0),
        ("shrunk-smooth", _) => (3, 1.0),
        (kind, _) => panic!("no such kind: {kind}"),
    }
}

#[test]
fn as_torchvision_does_it() {
    let text = std::fs::read_to_string(data("augment.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let rgb = std::fs::read(data("augment.rgb")).unwrap();
    assert!(golden.cases.len() > 60);
    for case in &golden.cases {
        let (input, resize, interpolation) = (case.input, case.resize, case.interpolation);
        let preprocess = Preprocess { input, resize, interpolation, ..Preprocess::imagenet(224) };
        let source = decode_rgb(&data(&format!("augment_{}.png", case.source))).unwrap();
        let ours = case.params.apply(&source, &preprocess).unwrap().into_raw();
        let theirs = &rgb[case.offset..case.offset + ours.len()];
        let worst = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let two = ours.iter().zip(theirs).filter(|(a, b)| a.abs_diff(**b) > 1).count();
        let (most, part) = allowed(case);
        assert!(worst <= most, "{case:?}: off by up to {worst}");
        assert!(two as f64 <= part * ours.len() as f64, "{case:?}: off by two or more in {two}");
        // Written down and read back it is the same.
        let text = serde_json::to_string(&case.params).unwrap();
        assert_eq!(serde_json::from_str::<Params>(&text).unwrap(), case.params, "{text}");
    }
}

#[test]
fn a_large_picture_as_torchvision_turns_and_shrinks_it() {
    let text = std::fs::read_to_string(data("augment.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let rgb = std::fs::read(data("augment.rgb")).unwrap();
    let image = RgbImage::from_fn(1600, 1200, |x, y| {
        let square = |value: u32, middle: u32| value.abs_diff(middle).pow(2);
        let green = 30 + square(x, 800) / 8000 + square(y, 600) / 6000;
        image::Rgb([(20 + x * 100 / 1600 + y * 100 / 1200) as u8, green as u8, (230 - x * y / 9600) as u8])
    });
    assert!(golden.large.len() > 2);
    for case in &golden.large {
        let ours = case.params.apply(&image, &Preprocess::imagenet(case.input)).unwrap().into_raw();
        let theirs = &rgb[case.offset..case.offset + ours.len()];
        let mut off: Vec<u8> = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).collect();
        off.sort_unstable();
        let (p99, worst) = (off[off.len() * 99 / 100], off[off.len() - 1]);
        assert!(p99 <= 1 && worst <= 2, "{case:?}: {p99}, at worst {worst}");
    }
}

#[test]
fn a_shift_by_whole_pixels_is_another_window_to_the_bit() {
    let image = decode_rgb(&data("resize_100x75.png")).unwrap();
    for (side, interpolation) in
        [(20, Interpolation::Bilinear), (90, Interpolation::Bilinear), (33, Interpolation::Nearest)]
    {
        let preprocess = Preprocess { interpolation, ..Preprocess::imagenet(side) };
        let crop = |x, y| Some(Crop { x, y, width: 50, height: 40 });
        let there = Params { crop: crop(30, 20), flip: true, ..Params::default() };
        let (translate, fill) = ((-0.2, 0.25), [0; 3]);
        let affine = AffineParams { degrees: 0.0, translate, scale: 1.0, shear: (0.0, 0.0), fill };
        let moved = Params { crop: crop(20, 30), affine: Some(affine), ..there.clone() };
        let (there, moved) =
            (there.apply(&image, &preprocess).unwrap(), moved.apply(&image, &preprocess).unwrap());
        // The first sees no pixels beyond its window and the second does; and one rounds twice.
        let edge = if interpolation == Interpolation::Nearest { 0 } else { 2 };
        for (x, y, pixel) in there.enumerate_pixels() {
            if (edge..side - edge).contains(&x) && (edge..side - edge).contains(&y) {
                let other = moved.get_pixel(x, y).0;
                assert!(pixel.0.iter().zip(other).all(|(a, b)| a.abs_diff(b) <= 1), "{side} {x} {y}");
            }
        }
    }
}

#[test]
fn turning_by_nothing_is_the_validation_transform() {
    let fill = [0; 3];
    let affine = AffineParams { degrees: 0.0, translate: (0.0, 0.0), scale: 1.0, shear: (0.0, 0.0), fill };
    let turned = Params { affine: Some(affine), ..Params::default() };
    // Shrunk, enlarged, and with black beside what is smaller than the input.
    for (name, resize, input) in [
        ("61x37", 32, 28),
        ("9x14", 32, 28),
        ("50x37", 37, 28),
        ("40x90", 20, 33),
        ("31x30", 15, 24),
        ("1x1", 32, 28),
    ] {
        let image = decode_rgb(&data(&format!("resize_{name}.png"))).unwrap();
        let preprocess = Preprocess { resize, input, ..Preprocess::imagenet(224) };
        let whole = preprocess.eval_transform(&image).unwrap();
        let turned = turned.apply(&image, &preprocess).unwrap();
        let worst = whole.iter().zip(turned.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{name}: {worst:?}");
    }
}

#[test]
fn the_image_shows_where_there_is_more_of_it() {
    let image = RgbImage::from_pixel(300, 200, image::Rgb([200, 100, 50]));
    let preprocess = Preprocess::imagenet(32);
    let fill = [1, 2, 3];
    let affine = AffineParams { degrees: 45.0, translate: (0.0, 0.0), scale: 1.0, shear: (0.0, 0.0), fill };
    let crop = Crop { x: 100, y: 60, width: 80, height: 80 };
    let inside = Params { crop: Some(crop), affine: Some(affine), ..Params::default() };
    let out = inside.apply(&image, &preprocess).unwrap();
    assert!(out.pixels().all(|pixel| pixel.0 == [200, 100, 50]));
    let corner = Params { crop: Some(Crop { x: 0, y: 0, ..crop }), ..inside.clone() };
    let out = corner.apply(&image, &preprocess).unwrap();
    assert_eq!((out.get_pixel(0, 0).0, out.get_pixel(31, 31).0), (fill, [200, 100, 50]));
    // A policy turns what was cut out, and its corners are black.
    let policy = Params { crop: Some(crop), ops: vec![Op::Rotate(45.0)], ..Params::default() };
    let out = policy.apply(&image, &preprocess).unwrap();
    assert_eq!((out.get_pixel(0, 0).0, out.get_pixel(16, 16).0), ([0; 3], [200, 100, 50]));
}

#[test]
fn strange_parameters_are_errors_or_harmless() {
    let image = RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 7]));
    let preprocess = Preprocess::imagenet(16);
    let number = |x: f64| {
        [
            Op::ShearX(x),
            Op::TranslateY(Length::Part(x)),
            Op::Rotate(x),
            Op::Brightness(x),
            Op::Sharpness(x),
            Op::Hue(x),
            Op::Solarize(x),
            Op::GaussianBlur { kernel: u32::MAX, sigma: x },
        ]
    };
    for op in [f64::NAN, f64::INFINITY, -1e300, 0.0, 1e9].into_iter().flat_map(number) {
        for ops in [vec![op], vec![Op::Invert, op]] {
            let _ = Params { ops, ..Params::default() }.apply(&image, &preprocess);
        }
    }
    for scale in [0.0, -1.0, 1e-12, 1e12, f64::NAN] {
        let affine =
            AffineParams { degrees: 1.0, translate: (0.0, 0.0), scale, shear: (90.0, 0.0), fill: [0; 3] };
        let _ = Params { affine: Some(affine), ..Params::default() }.apply(&image, &preprocess);
    }
    for part in [f64::NAN, -1.0, 2.0, 1e300] {
        let erase = Erase { top: part, left: part, height: part, width: part, fill: EraseFill::Noise(1) };
        Params { erase: Some(erase), ..Params::default() }.apply(&image, &preprocess).unwrap();
    }
    let outside = Some(Crop { x: 39, y: 0, width: 2, height: 3 });
    let ops = vec![Op::Rotate(3.0)];
    let error = Params { crop: outside, ops, ..Params::default() }.apply(&image, &preprocess).unwrap_err();
    assert!(error.to_string().contains("is not inside of it"), "{error}");
    let empty = Params { ops: vec![Op::Rotate(3.0)], ..Params::default() };
    assert!(empty.apply(&RgbImage::new(0, 7), &preprocess).is_err());
    assert!(Params::default().apply(&image, &Preprocess { input: 0, ..preprocess }).is_err());
}
