//! What the tests of `ImageDataGenerator` share: the golden data and the formula of their inputs.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; helpers of tests")]

use ndarray::Array3;
use serde_json::Value;
use tl_data::idg::{Arg, Args, Compat, IdgOptions};

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
