//! `ImageDataGenerator` on one image and on statistics: what SciPy and Keras do in the rarer cases, and what is
//! refused.
//!
//! The golden data are made by `tests/golden/make_idg.py`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

#[path = "idg_common/mod.rs"]
mod idg_common;

use std::sync::Arc;

use idg_common::{close, generator, golden, numbers, picture, speckled};
use ndarray::{Array4, Axis};
use serde_json::json;
use tl_data::idg::{
    Compat, FitOptions, IdgError, ImageDataGenerator, Statistics, TransformParams, args_from_json,
};
use tl_data::{Key, RgbImage};

fn stack(n: usize, shape: [usize; 3]) -> Array4<f32> {
    let mut x = Array4::zeros((n, shape[0], shape[1], shape[2]));
    for (i, mut image) in x.axis_iter_mut(Axis(0)).enumerate() {
        image.assign(&speckled(shape, i));
    }
    x
}

#[test]
fn documented_transforms_are_those_of_scipy() {
    let golden = golden();
    let kept = golden["kept"].as_u64().unwrap() as usize;
    let rows = image::load_from_memory(include_bytes!("data/idg_documented.png")).unwrap().into_luma16();
    let (mut off, mut pixels) = (0, 0);
    for (number, case) in golden["documented"].as_array().unwrap().iter().enumerate() {
        let shape = numbers(&case["shape"]);
        let shape = [0, 1, 2].map(|i| shape[i] as usize);
        let params: TransformParams = serde_json::from_value(case["params"].clone()).unwrap();
        let out = generator(&case["args"], Compat::Documented).apply(&picture(shape, number).view(), &params);
        let flat = out.as_slice().unwrap();
        let mut off_here = 0;
        for i in 0..kept {
            let wanted = f32::from(rows.get_pixel(i as u32, number as u32)[0]) / 128.0 - 128.0;
            let level = flat[(i * 97 + number * 31) % flat.len()].clamp(-128.0, 383.99);
            off_here += usize::from((level - wanted).abs() > 1.0 / 64.0);
        }
        assert!(off_here * 50 <= kept, "{off_here} off: {case}");
        (off, pixels) = (off + off_here, pixels + kept);
    }
    assert!(pixels > 15_000 && off * 500 <= pixels, "{off} of {pixels}");
}

#[test]
fn channels_first_is_that_of_keras() {
    let x = stack(70, [5, 4, 3]).permuted_axes([0, 3, 1, 2]);
    for case in golden()["channels_first"].as_array().unwrap() {
        let mut args = case["args"].clone();
        args["data_format"] = json!("channels_first");
        let mut generator = generator(&args, Compat::Keras3);
        generator.fit(&x.view(), &FitOptions::default()).unwrap();
        let params: TransformParams = serde_json::from_value(case["params"].clone()).unwrap();
        let image = generator.apply(&x.index_axis(Axis(0), 3), &params);
        let out = generator.standardize(&image.view()).unwrap();
        assert_eq!(out.dim(), (3, 5, 4));
        close(out.as_slice().unwrap(), &numbers(&case["out"]), 2e-4, &args.to_string());
    }
}

#[test]
fn fit_on_changed_images_is_that_of_keras() {
    let x = stack(5, [6, 5, 3]);
    for case in golden()["fitted"].as_array().unwrap() {
        let mut generator = generator(&case["args"], Compat::Keras3);
        generator.fit(&x.view(), &FitOptions { augment: true, rounds: 2, seed: 1 }).unwrap();
        let Statistics { mean, std, .. } = generator.statistics().clone();
        close(&mean.unwrap(), &numbers(&case["mean"]), 1e-4, "mean");
        assert_eq!(std.is_some(), case["std"].is_array());
        if let Some(std) = std {
            close(&std, &numbers(&case["std"]), 1e-4, "std");
        }
    }
}

#[test]
fn whitening_is_the_same_from_either_side() {
    // Eight images of nine values, and the same ones once more, so that there are more images than values.
    let few = stack(8, [3, 3, 1]);
    let twice = ndarray::concatenate(Axis(0), &[few.view(), few.view()]).unwrap();
    let zca = |x: &Array4<f32>| {
        let mut generator =
            generator(&json!({"zca_whitening": true, "zca_epsilon": 0.01}), Compat::Documented);
        generator.fit(&x.view(), &FitOptions::default()).unwrap();
        generator.statistics().zca.clone().unwrap()
    };
    // Epsilon is added to singular values that are 1.4 times as large.
    close(&zca(&few), &zca(&twice), 1e-3, "zca");
}

#[test]
fn statistics_go_with_their_images_alone() {
    let mut zca = generator(&json!({"zca_whitening": true}), Compat::Documented);
    zca.fit(&stack(20, [3, 3, 1]).view(), &FitOptions::default()).unwrap();
    for shape in [[2, 2, 1], [4, 4, 1]] {
        let error = zca.standardize(&picture(shape, 0).view()).unwrap_err().to_string();
        assert!(error.contains("expected 9 values"), "{error}");
    }
    let with = |mean: &[f32], std: &[f32], zca: &[f32]| Statistics {
        mean: Some(mean.to_vec()),
        std: Some(std.to_vec()),
        zca: Some(zca.to_vec()),
    };
    let mut plain = generator(&json!({}), Compat::Documented);
    plain.set_statistics(with(&[0.0; 3], &[1.0; 3], &[1.0; 4])).unwrap();
    let before = plain.statistics().clone();
    let bad = with(&[f32::NAN; 3], &[-1.0; 2], &[1.0; 5]);
    let error = plain.set_statistics(bad).unwrap_err().to_string();
    for part in ["4 problems", "`mean` is NaN", "`std` is below 0", "`std` is of 2 channels", "`zca` is of 5"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(*plain.statistics(), before);
}

#[test]
fn what_is_not_finite_is_not_fitted() {
    let mut x = stack(4, [3, 3, 1]);
    x[[2, 1, 1, 0]] = f32::NAN;
    for compat in [Compat::Documented, Compat::Keras3] {
        let mut generator = generator(&json!({"featurewise_center": true}), compat);
        let error = generator.fit(&x.view(), &FitOptions::default()).unwrap_err();
        assert!(matches!(error, IdgError::NotFinite { what: "x", image: 2 }), "{error}");
    }
}

#[test]
fn a_function_of_ones_own() {
    let function = Arc::new(|image: &mut ndarray::Array3<f32>| image.mapv_inplace(|value| value * 2.0 + 1.0));
    let args = json!({"preprocessing_function": "caffe", "rescale": 0.5, "data_format": "channels_first"});
    let plain = generator(&args, Compat::Documented);
    let ours = plain.clone().with_preprocessing(function.clone());
    let image = picture([3, 4, 5], 1);
    let out = ours.standardize(&image.view()).unwrap();
    close(out.as_slice().unwrap(), (&image + 0.5).as_slice().unwrap(), 1e-6, "function");
    assert!(ours.options().preprocessing_function.is_none());
    assert_eq!(ours, ours.clone());
    assert_ne!(ours, plain.clone().with_preprocessing(Arc::new(|_| {})));
    let shrinks = plain.with_preprocessing(Arc::new(|image| *image = ndarray::Array3::zeros((1, 1, 1))));
    let error = shrinks.standardize(&image.view()).unwrap_err().to_string();
    assert!(error.contains("as before `preprocessing_function`"), "{error}");
    let fitted = generator(&json!({"featurewise_center": true}), Compat::Keras3).with_preprocessing(function);
    assert!(fitted.explain().iter().any(|line| line.contains("`preprocessing_function` out of")));
}

#[test]
fn equal_generators_do_the_same() {
    let implied = generator(&json!({"samplewise_std_normalization": true}), Compat::Documented);
    let said = generator(
        &json!({"samplewise_std_normalization": true, "samplewise_center": true}),
        Compat::Documented,
    );
    assert_ne!(implied.warnings(), said.warnings());
    assert_eq!(implied, said);
}

/// The same through 8 bits and through numbers, rounded at the end.
fn both(generator: &ImageDataGenerator, id: u64) -> (Vec<u8>, Vec<u8>) {
    let image = picture([19, 26, 3], 7);
    let levels = image.iter().map(|value| *value as u8).collect();
    let rgb = RgbImage::from_raw(26, 19, levels).unwrap();
    let params = generator.sample(Key { seed: 2, epoch: 0, sample_id: id }, 19, 26);
    let out = generator.apply(&image.view(), &params);
    (generator.apply_rgb8(&rgb, &params).into_raw(), out.iter().map(|value| (value + 0.5) as u8).collect())
}

#[test]
fn eight_bits_are_exact_where_rounding_would_show() {
    for (args, compat) in [
        (json!({"interpolation_order": 3, "brightness_range": [0.5, 1.8]}), Compat::Documented),
        (json!({"fill_mode": "constant", "cval": -300, "brightness_range": [1.2, 1.8]}), Compat::Documented),
        (json!({"fill_mode": "constant", "cval": 900, "channel_shift_range": 90}), Compat::Keras3),
        (json!({"brightness_range": [0.5, 1.8], "channel_shift_range": 20}), Compat::Keras3),
    ] {
        let mut args = args;
        args["rotation_range"] = json!(40);
        args["zoom_range"] = json!(0.3);
        let generator = generator(&args, compat);
        for id in 0..10 {
            let (fast, slow) = both(&generator, id);
            assert_eq!(fast, slow, "{args}");
        }
    }
}

#[test]
fn arguments_in_json_are_read_once() {
    let args = args_from_json(r#"{"seed": 18446744073709551615, "shuffle": 0, "batch_size": null}"#).unwrap();
    let options = tl_data::idg::ArrayOptions::from_args(args).unwrap();
    assert_eq!(
        (options.batching.seed, options.batching.shuffle, options.batching.batch_size),
        (u64::MAX, false, 32)
    );
    let error = args_from_json(r#"{"a": 1, "b": 2, "a": 3, "b": 4}"#).unwrap_err().to_string();
    assert!(error.contains("`a` is given twice") && error.contains("`b` is given twice"), "{error}");
    assert!(matches!(args_from_json("[1]"), Err(IdgError::Json { .. })));
}
