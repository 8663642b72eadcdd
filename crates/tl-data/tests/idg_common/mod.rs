//! What the tests of `ImageDataGenerator` share: the golden data and the formula of their inputs.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; helpers of tests")]

use std::fs;
use std::path::Path;

use ndarray::Array3;
use serde_json::{Value, json};
use tempfile::TempDir;
use tl_data::RgbImage;
use tl_data::idg::{Arg, Args, Compat, DirectoryOptions, Flow, FrameOptions, IdgOptions, ImageDataGenerator};

pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("../data/idg.json")).unwrap()
}

/// `picture` of `make_idg.py`.
pub(crate) fn picture([height, width, channels]: [usize; 3], number: usize) -> Array3<f32> {
    Array3::from_shape_fn((height, width, channels), |(r, c, k)| {
        ((r * r * 3 + c * c * 5 + r * c * 7 + k * 41 + number * 29 + r * number * 3) % 256) as f32
    })
}

/// `speckled` of `make_idg.py`.
pub(crate) fn speckled([height, width, channels]: [usize; 3], number: usize) -> Array3<f32> {
    Array3::from_shape_fn((height, width, channels), |(r, c, k)| {
        let (a, b) = (r * 37 + c * 11 + k * 3 + 1, number * number + 11 * number + 3);
        ((a * a * b + b * b * 13 + a * 7) % 251) as f32
    })
}

/// `scaled` of `make_idg.py`.
pub(crate) fn scaled(image: Array3<f32>, scale: &str) -> Array3<f32> {
    match scale {
        "unit" => image / 255.0,
        "signed" => image * 1.5 - 60.0,
        _ => image,
    }
}

pub(crate) fn numbers(values: &Value) -> Vec<f32> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

pub(crate) fn args(json: &Value) -> Args {
    serde_json::from_value(json.clone()).unwrap()
}

pub(crate) fn options(json: &Value, compat: Compat) -> IdgOptions {
    let mut args = args(json);
    let compat = if compat == Compat::Keras3 { "keras3" } else { "documented" };
    args.insert("compat".to_owned(), Arg::Text(compat.to_owned()));
    IdgOptions::from_args(args).unwrap()
}

/// The same to `tolerance` of the largest of them.
pub(crate) fn close(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * largest, "{what}: {i}: {a} {b}");
    }
}

pub(crate) fn generator(json: &Value, compat: Compat) -> ImageDataGenerator {
    ImageDataGenerator::new(options(json, compat)).unwrap()
}

pub(crate) fn texts(json: &Value) -> Vec<&str> {
    json.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

pub(crate) fn directory_options(json: &Value) -> DirectoryOptions {
    DirectoryOptions::from_args(args(json)).unwrap()
}

pub(crate) fn frame_options(json: &Value) -> FrameOptions {
    FrameOptions::from_args(args(json)).unwrap()
}

pub(crate) fn save(image: &RgbImage, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// The tree of `make_idg.py`, links and all.
pub(crate) fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in texts(&golden()["directories"]["files"]) {
        save(&RgbImage::new(2, 2), &dir.path().join("tree").join(name));
    }
    let far = dir.path().join("elsewhere");
    save(&RgbImage::new(2, 2), &far.join("far.png"));
    #[cfg(unix)]
    for link in ["tree/dogs/link", "tree/linked"] {
        std::os::unix::fs::symlink(&far, dir.path().join(link)).unwrap();
    }
    dir
}

pub(crate) fn augmented() -> Value {
    json!({"rotation_range": 30, "width_shift_range": 0.2, "zoom_range": 0.2, "horizontal_flip": true,
        "brightness_range": [0.7, 1.3], "rescale": 1.0 / 255.0, "validation_split": 0.25})
}

pub(crate) fn photos(n: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..n {
        for class in ["a", "b"] {
            let bytes =
                picture([20, 25, 3], i * 2 + usize::from(class == "b")).iter().map(|v| *v as u8).collect();
            save(
                &RgbImage::from_raw(25, 20, bytes).unwrap(),
                &dir.path().join(format!("{class}/{i:02}.png")),
            );
        }
    }
    dir
}

pub(crate) fn flow_of(dir: &Path, more: Value) -> Flow {
    let mut json = json!({"target_size": [16, 18], "batch_size": 4, "seed": 9, "interpolation": "bilinear"});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    generator(&augmented(), Compat::Documented).flow_from_directory(dir, &directory_options(&json)).unwrap()
}
