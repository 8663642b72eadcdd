//! `ImageDataGenerator` against Keras 3: transforms, normalisation, statistics.
//!
//! The golden data are made by `tests/golden/make_idg.py`; the inputs by the same formula here.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

#[path = "idg_common/mod.rs"]
mod idg_common;

use idg_common::{close, golden, numbers, options, picture, scaled, speckled};
use ndarray::{Array4, Axis, s};
use serde_json::{Value, json};
use tl_data::idg::{
    Compat, FitOptions, IdgError, IdgOptions, ImageDataGenerator, Statistics, TransformParams,
};
use tl_data::{Key, RgbImage};

fn generator(json: &Value) -> ImageDataGenerator {
    ImageDataGenerator::new(serde_json::from_value(json.clone()).unwrap()).unwrap()
}

fn keras3(args: &Value) -> ImageDataGenerator {
    ImageDataGenerator::new(options(args, Compat::Keras3)).unwrap()
}

fn params_of(names: &Value, values: &Value) -> TransformParams {
    let pairs = names.as_array().unwrap().iter().zip(values.as_array().unwrap());
    let object = pairs.map(|(name, value)| (name.as_str().unwrap().to_owned(), value.clone())).collect();
    serde_json::from_value(Value::Object(object)).unwrap()
}

#[test]
fn transforms_are_those_of_keras() {
    let golden = golden();
    let kept = golden["kept"].as_u64().unwrap() as usize;
    let rows = image::load_from_memory(include_bytes!("data/idg_transform.png")).unwrap().into_luma16();
    let (mut number, mut pixels, mut off, mut worst) = (0, 0, 0, 0.0_f64);
    let mut report = Vec::new();
    for group in golden["transforms"]["groups"].as_array().unwrap() {
        let generator = keras3(&group["args"]);
        let shape = group["shape"].as_array().unwrap();
        let shape = [0, 1, 2].map(|i| shape[i].as_u64().unwrap() as usize);
        let scale = group["scale"].as_str().unwrap();
        let mut off_here = 0;
        for values in group["params"].as_array().unwrap() {
            let params = params_of(&golden["transforms"]["names"], values);
            let image = scaled(picture(shape, number), scale);
            let out = generator.apply(&image.view(), &params);
            assert_eq!(out.shape(), shape);
            let flat = out.as_slice().unwrap();
            for i in 0..kept {
                let level = f64::from(flat[(i * 97 + number * 31) % flat.len()]);
                let level = if scale == "unit" { level * 255.0 } else { level };
                let wanted = f64::from(rows.get_pixel(i as u32, number as u32)[0]) / 128.0 - 128.0;
                // Half a step of the stored numbers, and as much again for arithmetic in 32 bits.
                let difference = (level - wanted).abs();
                worst = worst.max(difference);
                off_here += usize::from(difference > 1.0 / 128.0);
                pixels += 1;
            }
            number += 1;
        }
        off += off_here;
        if off_here > 0 {
            report.push(format!("{off_here} off: {} {shape:?} {scale}", group["args"]));
        }
    }
    assert_eq!(number, rows.height() as usize);
    assert!(off * 1000 <= pixels, "{off} of {pixels} pixels, by up to {worst}\n{}", report.join("\n"));
    assert!(number > 300 && pixels > 70_000);
}

#[test]
fn parameters_of_keras_are_read_as_they_are() {
    let one = golden()["transforms"]["one"].clone();
    let params: TransformParams = serde_json::from_value(one).unwrap();
    assert!(params.theta == 0.0 && !params.flip_horizontal && params.brightness.is_none());
    let read = |json: Value| serde_json::from_value::<TransformParams>(json);
    let params = read(json!({"tx": 3, "flip_vertical": 1, "brightness": 0.5})).unwrap();
    assert_eq!((params.tx, params.flip_vertical, params.brightness, params.zx), (3.0, true, Some(0.5), 1.0));
    assert!(read(json!({"angle": 3})).is_err());
    let again = serde_json::to_value(params).unwrap();
    assert_eq!(read(again).unwrap(), params);
}

#[test]
fn normalisation_and_statistics_are_those_of_keras() {
    for case in golden()["standardised"].as_array().unwrap() {
        let args = &case["args"];
        let mut generator = keras3(args);
        let shape = case["shape"].as_array().unwrap();
        let shape = [0, 1, 2].map(|i| shape[i].as_u64().unwrap() as usize);
        let n = case["fit"].as_u64().unwrap() as usize;
        if n > 0 {
            let mut x = Array4::zeros((n, shape[0], shape[1], shape[2]));
            for (i, mut image) in x.axis_iter_mut(Axis(0)).enumerate() {
                image.assign(&speckled(shape, i));
            }
            generator.fit(&x.view(), &FitOptions::default()).unwrap();
            let Statistics { mean, std, zca } = generator.statistics().clone();
            for (name, ours) in [("mean", mean), ("std", std), ("zca", zca)] {
                let theirs = case[name].as_array().map(|_| numbers(&case[name]));
                assert_eq!(ours.is_some(), theirs.is_some(), "{name} {args}");
                if let Some((ours, theirs)) = ours.zip(theirs) {
                    close(&ours, &theirs, 1e-4, &format!("{name} {args}"));
                }
            }
        }
        let out = generator.standardize(&speckled(shape, 3).view()).unwrap();
        close(out.as_slice().unwrap(), &numbers(&case["out"]), 1e-4, &args.to_string());
    }
}

/// Where a bright dot at (row, column) goes.
fn moved(
    generator: &ImageDataGenerator,
    size: (usize, usize),
    dot: (usize, usize),
    p: &TransformParams,
) -> (usize, usize) {
    let mut image = ndarray::Array3::<f32>::zeros((size.0, size.1, 1));
    image[[dot.0, dot.1, 0]] = 255.0;
    let out = generator.apply(&image.view(), p);
    let best = out.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    (best.0.0, best.0.1)
}

#[test]
fn documented_means_what_is_documented() {
    let ours = generator(&json!({"fill_mode": "constant"}));
    let theirs = generator(&json!({"fill_mode": "constant", "compat": "keras3"}));
    let turn = TransformParams { theta: 30.0, ..TransformParams::default() };
    // The centre stays where it is; Keras 3.15 moves it from (5, 10) to (3, 7).
    assert_eq!(moved(&ours, (11, 21), (5, 10), &turn), (5, 10));
    assert_eq!(moved(&theirs, (11, 21), (5, 10), &turn), (3, 7));
    let quarter = TransformParams { theta: 90.0, ..TransformParams::default() };
    assert_eq!(moved(&ours, (9, 9), (4, 8), &quarter), (0, 4), "counter-clockwise");

    let key = |id| Key { seed: 5, epoch: 0, sample_id: id };
    for (compat, down) in [("documented", true), ("keras3", false)] {
        let tall =
            generator(&json!({"height_shift_range": [-3, 3], "fill_mode": "constant", "compat": compat}));
        for id in 0..20 {
            let params = tall.sample(key(id), 15, 15);
            let at = moved(&tall, (15, 15), (7, 7), &params);
            assert_eq!((at.0 != 7, at.1 != 7), (down, !down), "{compat} {params:?}");
        }
    }
}

#[test]
fn whole_shifts_are_drawn_as_documented() {
    let count = |compat: &str| {
        let generator = generator(&json!({"width_shift_range": 3, "compat": compat}));
        let mut counts = [0; 5];
        for id in 0..5000 {
            let params = generator.sample(Key { seed: 1, epoch: 2, sample_id: id }, 40, 50);
            let shift = if compat == "keras3" { params.ty } else { params.tx };
            assert_eq!(shift, shift.round());
            counts[(shift + 2.0) as usize] += 1;
        }
        counts
    };
    assert!(count("documented").iter().all(|n| (900..1100).contains(n)));
    let [a, b, zero, c, d] = count("keras3");
    assert!((1570..1770).contains(&zero) && [a, b, c, d].iter().all(|n| (740..930).contains(n)));
}

#[test]
fn drawing_depends_on_the_key_alone() {
    let all = json!({"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.1, "shear_range": 10,
        "zoom_range": 0.3, "horizontal_flip": true, "vertical_flip": true, "channel_shift_range": 20,
        "brightness_range": [0.5, 1.5]});
    let generator_all = generator(&all);
    let key = Key { seed: 7, epoch: 3, sample_id: 11 };
    let params = generator_all.sample(key, 100, 200);
    assert_eq!(params, generator_all.sample(key, 100, 200));
    assert_ne!(params.theta, generator_all.sample(Key { epoch: 4, ..key }, 100, 200).theta);
    // Another option does not change what the rest draws.
    let few =
        generator(&json!({"rotation_range": 40, "vertical_flip": true, "brightness_range": [0.5, 1.5]}));
    let less = few.sample(key, 100, 200);
    assert_eq!(
        (less.theta, less.flip_vertical, less.brightness),
        (params.theta, params.flip_vertical, params.brightness)
    );
    let mut sums = [0.0; 3];
    for id in 0..2000 {
        let p = generator_all.sample(Key { sample_id: id, ..key }, 100, 200);
        assert!(p.theta.abs() <= 40.0 && p.tx.abs() <= 40.0 && p.ty.abs() <= 10.0 && p.shear.abs() <= 10.0);
        assert!((0.7..=1.3).contains(&p.zx) && (0.7..=1.3).contains(&p.zy) && p.zx != p.zy);
        assert!(
            (0.5..=1.5).contains(&p.brightness.unwrap()) && p.channel_shift_intensity.unwrap().abs() <= 20.0
        );
        sums[0] += p.theta / 40.0;
        sums[1] += f64::from(u8::from(p.flip_horizontal)) - 0.5;
        sums[2] += f64::from(u8::from(p.flip_vertical)) - 0.5;
    }
    assert!(sums.iter().all(|sum| sum.abs() < 75.0), "{sums:?}");
}

#[test]
fn the_numbers_of_a_seed_never_change() {
    let generator =
        generator(&json!({"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 4,
        "zoom_range": 0.3, "horizontal_flip": true}));
    let p = generator.sample(Key { seed: 1, epoch: 2, sample_id: 3 }, 100, 200);
    let drawn = [p.theta, p.tx, p.ty, p.zx, p.zy].map(|value| (value * 1e6).round() / 1e6);
    assert_eq!((drawn, p.flip_horizontal), NUMBERS);
}

const NUMBERS: ([f64; 5], bool) = ([-34.146487, 21.885167, -2.0, 1.15461, 1.114807], true);

#[test]
fn brightness_works_on_every_scale() {
    let ours = generator(&json!({"brightness_range": [0.5, 1.5]}));
    let theirs = generator(&json!({"brightness_range": [0.5, 1.5], "compat": "keras3"}));
    let params = TransformParams { brightness: Some(0.5), ..TransformParams::default() };
    let image = picture([8, 9, 3], 1) / 255.0;
    let out = ours.apply(&image.view(), &params);
    close(out.as_slice().unwrap(), (&image * 0.5).as_slice().unwrap(), 1e-6, "unit");
    assert!(theirs.apply(&image.view(), &params).iter().all(|value| *value == 0.0));
}

#[test]
fn wrap_repeats_the_image() {
    let params = TransformParams { tx: 4.0, ..TransformParams::default() };
    let image = picture([3, 4, 1], 2);
    let wrap = |compat: &str| {
        generator(&json!({"fill_mode": "wrap", "compat": compat})).apply(&image.view(), &params)
    };
    assert_eq!(wrap("documented"), image);
    assert_ne!(wrap("keras3"), image);
}

#[test]
fn channels_first_is_the_same_picture() {
    let args =
        json!({"rotation_range": 30, "zoom_range": 0.2, "samplewise_center": true, "channel_shift_range": 9});
    let last = generator(&args);
    let mut first = args.clone();
    first["data_format"] = json!("channels_first");
    let first = generator(&first);
    let image = picture([10, 14, 3], 4);
    let turned = image.view().permuted_axes([2, 0, 1]);
    let key = Key { seed: 1, epoch: 1, sample_id: 1 };
    let a = last.standardize(&last.random_transform(&image.view(), key).view()).unwrap();
    let b = first.standardize(&first.random_transform(&turned, key).view()).unwrap();
    assert_eq!(b.dim(), (3, 10, 14));
    assert_eq!(a.permuted_axes([2, 0, 1]), b);
}

#[test]
fn eight_bits_are_the_same_picture() {
    let generator = generator(&json!({"rotation_range": 40, "width_shift_range": 0.2, "zoom_range": 0.3,
        "horizontal_flip": true, "vertical_flip": true, "channel_shift_range": 30, "brightness_range": [0.6, 1.6]}));
    let image = picture([30, 40, 3], 6);
    let bytes: Vec<u8> = image.iter().map(|value| *value as u8).collect();
    let rgb = RgbImage::from_raw(40, 30, bytes).unwrap();
    for id in 0..30 {
        let params = generator.sample(Key { seed: 3, epoch: 0, sample_id: id }, 30, 40);
        let (slow, fast) = (generator.apply(&image.view(), &params), generator.apply_rgb8(&rgb, &params));
        // Rounded after the resampling and after the shift, then multiplied by up to 1.6 and rounded again.
        assert!(slow.iter().zip(fast.as_raw()).all(|(a, b)| (a - f32::from(*b)).abs() <= 2.3), "{params:?}");
    }
}

#[test]
fn prepare_is_all_of_it() {
    let args = json!({"rotation_range": 40, "brightness_range": [0.6, 1.6], "preprocessing_function": "torch",
        "data_format": "channels_first"});
    let generator = generator(&args);
    let image = picture([12, 10, 3], 6);
    let rgb = RgbImage::from_raw(10, 12, image.iter().map(|value| *value as u8).collect()).unwrap();
    let key = Key { seed: 3, epoch: 0, sample_id: 4 };
    let image = image.permuted_axes([2, 0, 1]);
    let steps = generator.standardize(&generator.random_transform(&image.view(), key).view()).unwrap();
    assert_eq!(generator.prepare(&rgb, Some(key)).unwrap(), steps);
    assert_eq!(generator.prepare(&rgb, None).unwrap(), generator.standardize(&image.view()).unwrap());
    assert_eq!(steps.dim(), (3, 12, 10));
}

#[test]
fn fit_sees_what_the_featurewise_step_sees() {
    let mut x = Array4::zeros((6, 5, 4, 3));
    for (i, mut image) in x.axis_iter_mut(Axis(0)).enumerate() {
        image.assign(&picture([5, 4, 3], i));
    }
    let fitted = |json: Value| {
        let mut generator = generator(&json);
        generator
            .fit(&x.view(), &FitOptions { augment: json["rotation_range"].is_number(), rounds: 3, seed: 1 })
            .unwrap();
        generator
    };
    let torch = fitted(json!({"featurewise_std_normalization": true, "preprocessing_function": "torch"}));
    let mut all = x.clone();
    for mut image in all.axis_iter_mut(Axis(0)) {
        let out = torch.standardize(&image.view()).unwrap();
        image.assign(&out);
    }
    for channel in 0..3 {
        let values = all.slice(s![.., .., .., channel]);
        assert!(values.mean().unwrap().abs() < 1e-5 && (values.std(0.0) - 1.0).abs() < 1e-4);
    }
    // With random changes before the division by 255 brightness finds whole levels.
    let augmented = json!({"featurewise_center": true, "rescale": 1.0 / 255.0, "rotation_range": 20,
        "brightness_range": [1, 1]});
    let mean = fitted(augmented.clone()).statistics().mean.clone().unwrap();
    assert!(mean.iter().all(|mean| (0.35..0.65).contains(mean)), "{mean:?}");
    let mut black = augmented;
    black["compat"] = json!("keras3");
    assert!(fitted(black).statistics().mean.clone().unwrap().iter().all(|mean| *mean < 0.05));
}

#[test]
fn whitened_images_are_uncorrelated() {
    let mut x = Array4::zeros((80, 3, 3, 1));
    for (i, mut image) in x.axis_iter_mut(Axis(0)).enumerate() {
        image.assign(&(speckled([3, 3, 1], i) / 255.0));
    }
    let mut generator = generator(&json!({"zca_whitening": true}));
    assert_eq!(generator.warnings().len(), 3);
    assert!(matches!(generator.standardize(&x.index_axis(Axis(0), 0)), Err(IdgError::NotFitted { .. })));
    generator.fit(&x.view(), &FitOptions::default()).unwrap();
    assert_eq!(generator.warnings().len(), 1);
    let mut flat = ndarray::Array2::<f32>::zeros((80, 9));
    for (i, mut row) in flat.rows_mut().into_iter().enumerate() {
        let out = generator.standardize(&x.index_axis(Axis(0), i)).unwrap();
        row.assign(&out.into_shape_with_order(9).unwrap());
    }
    let covariance = flat.t().dot(&flat) / 80.0;
    for ((i, j), value) in covariance.indexed_iter() {
        assert!((value - f32::from(u8::from(i == j))).abs() < 1e-3, "{i} {j} {value}");
    }
    let wrong = picture([4, 4, 1], 0);
    assert!(matches!(generator.standardize(&wrong.view()), Err(IdgError::Shape { .. })));
    let saved = serde_json::to_string(generator.statistics()).unwrap();
    assert_eq!(serde_json::from_str::<Statistics>(&saved).unwrap(), *generator.statistics());
}

#[test]
fn what_cannot_be_fitted() {
    let mut generator = generator(&json!({"zca_whitening": true}));
    let mut fit = |shape| {
        generator.fit(&Array4::<f32>::zeros(shape).view(), &FitOptions::default()).unwrap_err().to_string()
    };
    assert!(fit((0, 4, 4, 3)).starts_with("`x` has the shape [0, 4, 4, 3] (expected at least one image"));
    assert!(fit((1, 200, 200, 3)).contains("at most 8192 values"));
}

#[test]
fn implied_options_are_set_and_said() {
    let generator_std =
        generator(&json!({"featurewise_std_normalization": true, "samplewise_std_normalization": true}));
    assert!(generator_std.options().featurewise_center && generator_std.options().samplewise_center);
    assert_eq!(
        generator_std.warnings()[0],
        "`featurewise_std_normalization` needs `featurewise_center`, which is now on"
    );
    let zca =
        generator(&json!({"zca_whitening": true, "featurewise_std_normalization": true, "dtype": "float16"}));
    assert!(zca.options().featurewise_center && !zca.options().featurewise_std_normalization);
    assert_eq!(zca.warnings().len(), 5, "{:?}", zca.warnings());
}

#[test]
fn explain_is_about_the_options_in_use() {
    assert!(generator(&json!({"horizontal_flip": true, "rescale": 0.5})).explain().is_empty());
    let lines =
        generator(&json!({"height_shift_range": 0.1, "fill_mode": "wrap", "brightness_range": [0.5, 1]}))
            .explain();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].starts_with("`height_shift_range`: documented as up and down"));
    assert!(lines[3].contains("the first of each is done here"));
    let all = IdgOptions::from_args(
        serde_json::from_value(json!({
        "rotation_range": 1, "width_shift_range": 3, "height_shift_range": [1, 2], "zca_whitening": true,
        "preprocessing_function": "tf", "samplewise_center": true, "rescale": 2, "compat": "keras3",
        "validation_split": 0.1}))
        .unwrap(),
    );
    let lines = ImageDataGenerator::new(all.unwrap()).unwrap().explain();
    assert_eq!(lines.len(), 12, "{lines:#?}");
}
