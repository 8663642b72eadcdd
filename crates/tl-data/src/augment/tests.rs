//! Recipes and choices; what the operations do to pixels is tested against torchvision, in `tests/augment.rs`.

use super::*;
use crate::preprocess::Preprocess;
use image::{Rgb, RgbImage};

fn key(sample_id: u64) -> Key {
    Key { seed: 1, epoch: 2, sample_id }
}

#[test]
fn the_numbers_of_a_seed_never_change() {
    assert_eq!(shuffle(10, 42, 0), [7, 6, 5, 1, 0, 4, 8, 9, 2, 3]);
    let params = Augment::basic().sample(key(3), 500, 375);
    assert_eq!(
        params,
        Params { crop: Some(Crop { x: 18, y: 2, width: 382, height: 353 }), ..Params::default() }
    );
}

#[test]
fn a_shuffle_is_a_permutation_and_depends_on_its_key() {
    assert!(shuffle(0, 1, 1).is_empty());
    assert_eq!(shuffle(1, 1, 1), [0]);
    let mut order = shuffle(1000, 7, 3);
    assert_ne!(order, shuffle(1000, 7, 4));
    assert_ne!(order, shuffle(1000, 8, 3));
    order.sort_unstable();
    assert!(order.iter().enumerate().all(|(i, &n)| i == n as usize));
}

#[test]
fn crops_stay_inside_and_within_their_bounds() {
    let augment = Augment::basic();
    let (mut flips, mut areas) = (0, 0.0);
    for id in 0..4000 {
        let params = augment.sample(key(id), 500, 375);
        let Crop { x, y, width, height } = params.crop.unwrap();
        assert!(width > 0 && height > 0 && x + width <= 500 && y + height <= 375);
        let ratio = f64::from(width) / f64::from(height);
        assert!((0.74..1.35).contains(&ratio), "{ratio}");
        let area = f64::from(width * height) / (500.0 * 375.0);
        assert!((0.34..1.001).contains(&area), "{area}");
        areas += area;
        flips += u32::from(params.flip);
    }
    assert!((1850..2150).contains(&flips), "{flips}");
    assert!((0.54..0.61).contains(&(areas / 4000.0)), "{areas}");
}

#[test]
fn hopeless_shapes_fall_back_to_the_centre() {
    let augment = Augment::basic();
    let crop = |w, h| augment.sample(key(5), w, h).crop.unwrap();
    assert_eq!(crop(1, 3000), Crop { x: 0, y: 1499, width: 1, height: 1 });
    assert_eq!(crop(3000, 9), Crop { x: 1494, y: 0, width: 12, height: 9 });
    assert_eq!(crop(1, 1), Crop { x: 0, y: 0, width: 1, height: 1 });
}

#[test]
fn without_a_crop_it_is_the_validation_transform() {
    let image = RgbImage::from_fn(50, 40, |x, y| Rgb([x as u8 * 5, y as u8 * 6, 7]));
    let preprocess = Preprocess::imagenet(16);
    let plain = Augment::none().sample(key(1), 50, 40);
    assert_eq!(plain, Params::default());
    let eval = preprocess.eval_transform(&image).unwrap();
    assert_eq!(plain.apply(&image, &preprocess).unwrap(), eval);
    let flipped = Params { flip: true, ..Params::default() }.apply(&image, &preprocess).unwrap();
    assert_eq!(flipped, image::imageops::flip_horizontal(&eval));
}

#[test]
fn nothing_outside_of_the_window_counts() {
    let inside = |x: u32, y: u32| (10..30).contains(&x) && (5..35).contains(&y);
    let image = RgbImage::from_fn(50, 40, |x, y| if inside(x, y) { Rgb([7, 8, 9]) } else { Rgb([255; 3]) });
    let params =
        Params { crop: Some(Crop { x: 10, y: 5, width: 20, height: 30 }), flip: true, ..Params::default() };
    let out = params.apply(&image, &Preprocess::imagenet(16)).unwrap();
    assert!(out.pixels().all(|pixel| *pixel == Rgb([7, 8, 9])));
    let outside = Params { crop: Some(Crop { x: 40, y: 5, width: 20, height: 30 }), ..Params::default() };
    assert!(outside.apply(&image, &Preprocess::imagenet(16)).is_err());
}

#[test]
fn ranges_are_checked() {
    Augment::basic().check().unwrap();
    let crop = |scale, ratio| Augment {
        flip: true,
        random_resized_crop: Some(RandomResizedCrop { scale, ratio }),
        ..Augment::none()
    };
    for bad in [
        crop((0.0, 1.0), (0.75, 1.3)),
        crop((0.5, 0.4), (0.75, 1.3)),
        crop((0.5, 1.1), (0.75, 1.3)),
        crop((f32::NAN, 1.0), (0.75, 1.3)),
        crop((0.5, 1.0), (0.0, 1.3)),
        crop((0.5, 1.0), (1.3, f32::NAN)),
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}

/// Everything on, as often as it goes.
fn everything() -> Augment {
    Augment {
        vertical_flip: true,
        affine: Some(RandomAffine {
            degrees: 20.0,
            translate: (0.1, 0.1),
            scale: (0.8, 1.2),
            shear: (5.0, 5.0),
            ..RandomAffine::default()
        }),
        policy: Some(Policy::rand_augment()),
        color_jitter: Some(ColorJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            ..ColorJitter::default()
        }),
        invert: 0.5,
        posterize: Some(Posterize { probability: 0.5, bits: 4 }),
        solarize: Some(Solarize { probability: 0.5, threshold: 128.0 }),
        autocontrast: 0.5,
        equalize: 0.5,
        sharpness: Some(Sharpness { probability: 0.5, factor: 2.0 }),
        grayscale: 0.5,
        gaussian_blur: Some(GaussianBlur { probability: 0.5, kernel: 23, sigma: (0.1, 2.0) }),
        random_erasing: Some(RandomErasing { probability: 0.9, ..RandomErasing::default() }),
        mixing: Some(Mixing { mixup_alpha: 0.2, cutmix_alpha: 1.0, ..Mixing::default() }),
        ..Augment::basic()
    }
}

#[test]
fn a_recipe_is_read_as_it_was_written() {
    let all = everything();
    all.check().unwrap();
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Augment>(&text).unwrap(), all);
    let params = all.sample(key(9), 640, 480);
    let text = serde_json::to_string(&params).unwrap();
    assert_eq!(serde_json::from_str::<Params>(&text).unwrap(), params, "{text}");
    let policy = r#"{"policy":{"rand-augment":{"magnitude":15}}}"#;
    let policy: Augment = serde_json::from_str(policy).unwrap();
    assert_eq!(policy.policy, Some(Policy::RandAugment { num_ops: 2, magnitude: 15 }));
    for bad in
        [r#"{"flop":true}"#, r#"{"color_jitter":{"hew":0.1}}"#, r#"{"policy":{"rand-augment":{"n":2}}}"#]
    {
        assert!(serde_json::from_str::<Augment>(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_a_part_leaves_out_is_what_torchvision_takes() {
    let read = |text: &str| serde_json::from_str::<Augment>(text);
    let all = read(
        r#"{"random_resized_crop": {}, "policy": "rand-augment", "posterize": {"bits": 4}, "solarize": {"threshold": 128},
            "sharpness": {"factor": 2}, "gaussian_blur": {"kernel": 5}}"#,
    )
    .unwrap();
    let expected = Augment {
        random_resized_crop: Some(RandomResizedCrop { scale: (0.08, 1.0), ratio: (0.75, 4.0 / 3.0) }),
        policy: Some(Policy::RandAugment { num_ops: 2, magnitude: 9 }),
        posterize: Some(Posterize { probability: 0.5, bits: 4 }),
        solarize: Some(Solarize { probability: 0.5, threshold: 128.0 }),
        sharpness: Some(Sharpness { probability: 0.5, factor: 2.0 }),
        gaussian_blur: Some(GaussianBlur { probability: 1.0, kernel: 5, sigma: (0.1, 2.0) }),
        ..Augment::none()
    };
    assert_eq!(all, expected);
    let wide = read(r#"{"policy": "trivial-augment-wide"}"#).unwrap();
    assert_eq!(wide.policy, Some(Policy::TrivialAugmentWide));
    assert_eq!(serde_json::to_string(&wide.policy).unwrap(), r#""trivial-augment-wide""#);
    let error = |text: &str| read(text).unwrap_err().to_string();
    assert!(error(r#"{"posterize": {}}"#).contains("missing field `bits`"));
    let unknown = error(r#"{"policy": "auto-augment"}"#);
    assert!(unknown.contains("`auto-augment`") && unknown.contains("`rand-augment`"), "{unknown}");
    assert!(error(r#"{"policy": 3}"#).contains("`trivial-augment-wide`, `rand-augment`"));
}

#[test]
fn an_erased_rectangle_leaves_something_of_each_side() {
    let erase = |height| Erase { top: 0.5, left: 0.0, height, width: 0.5, fill: EraseFill::Mean };
    assert_eq!(erase(0.999).edges(100), [0, 1, 50, 100]);
    assert_eq!(erase(0.98).edges(100), [0, 1, 50, 99]);
    // Who asks for all of it gets it.
    assert_eq!(erase(1.0).edges(100), [0, 0, 50, 100]);
}

#[test]
fn crops_are_spread_as_by_torchvision() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/augment.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in golden["crops"].as_array().unwrap() {
        let (width, height) =
            (case["width"].as_u64().unwrap() as u32, case["height"].as_u64().unwrap() as u32);
        let augment = Augment { random_resized_crop: Some(RandomResizedCrop::default()), ..Augment::none() };
        let crops: Vec<Crop> =
            (0..20_000).map(|id| augment.sample(key(id), width, height).crop.unwrap()).collect();
        let whole = f64::from(width) * f64::from(height);
        let area = |crop: &Crop| f64::from(crop.width) * f64::from(crop.height) / whole;
        let ratio = |crop: &Crop| f64::from(crop.width) / f64::from(crop.height);
        let left = |crop: &Crop| f64::from(crop.x) / f64::from(width);
        let measured: [(&str, Vec<f64>); 3] = [
            ("area", crops.iter().map(area).collect()),
            ("ratio", crops.iter().map(ratio).collect()),
            ("left", crops.iter().map(left).collect()),
        ];
        for (name, mut values) in measured {
            values.sort_by(f64::total_cmp);
            let ours = [values.iter().sum::<f64>() / 20_000.0]
                .into_iter()
                .chain([0.05, 0.25, 0.5, 0.75, 0.95].map(|part| values[(part * 20_000.0) as usize]));
            for (ours, theirs) in ours.zip(case[name].as_array().unwrap()) {
                // Both are samples of 20,000; five deviations of the difference of two such quantiles.
                let theirs = theirs.as_f64().unwrap();
                assert!((ours - theirs).abs() < 0.02, "{name} of {width}x{height}: {ours} {theirs}");
            }
        }
    }
}

#[test]
fn recipes_of_before_mean_the_same() {
    let old = r#"{"flip":true,"random_resized_crop":{"scale":[0.35,1.0],"ratio":[0.75,1.3333334]}}"#;
    assert_eq!(serde_json::from_str::<Augment>(old).unwrap(), Augment::basic());
    assert_eq!(serde_json::to_string(&Augment::basic()).unwrap(), old);
    let none = r#"{"flip":false,"random_resized_crop":null}"#;
    assert_eq!(serde_json::from_str::<Augment>(none).unwrap(), Augment::none());
    assert_eq!(serde_json::to_string(&Augment::none()).unwrap(), none);
    assert_eq!(serde_json::from_str::<Augment>("{}").unwrap(), Augment::none());
}

#[test]
fn one_operation_does_not_change_what_another_draws() {
    let all = everything();
    let whole = all.sample(key(4), 500, 375);
    let basic = Augment::basic().sample(key(4), 500, 375);
    assert_eq!((whole.crop, whole.flip), (basic.crop, basic.flip));
    let fewer = Augment { policy: None, affine: None, equalize: 0.0, gaussian_blur: None, ..all };
    for id in 0..50 {
        let (whole, fewer) = (all.sample(key(id), 500, 375), fewer.sample(key(id), 500, 375));
        assert_eq!((whole.crop, whole.erase), (fewer.crop, fewer.erase));
        let mut rest = whole.ops.iter();
        assert!(fewer.ops.iter().all(|op| rest.any(|other| other == op)), "{whole:?} {fewer:?}");
    }
    // Nor does the width of one factor change the others.
    let jitter = |saturation| {
        let jitter = ColorJitter { brightness: 0.4, saturation, ..ColorJitter::default() };
        Augment { color_jitter: Some(jitter), ..Augment::none() }.sample(key(1), 10, 10).ops
    };
    let brightness = |ops: &[Op]| ops.iter().copied().find(|op| matches!(op, Op::Brightness(_)));
    assert_eq!(brightness(&jitter(0.0)), brightness(&jitter(0.4)));
    assert_eq!((jitter(0.0).len(), jitter(0.4).len()), (1, 2));
}

#[test]
fn everything_happens_as_often_as_it_should() {
    let all = everything();
    let draws: Vec<Params> = (0..4000).map(|id| all.sample(key(id), 500, 375)).collect();
    let often = |found: &dyn Fn(&Params) -> bool| draws.iter().filter(|params| found(params)).count();
    let half = 1850..2150;
    assert!(half.contains(&often(&|params| params.vertical_flip)));
    assert!(half.contains(&often(&|params| params.ops.contains(&Op::Grayscale))));
    assert!(half.contains(&often(&|params| params.ops.contains(&Op::Invert))));
    assert!((3500..3700).contains(&often(&|params| params.erase.is_some())));
    assert_eq!(often(&|params| params.affine.is_some_and(|a| a.degrees.abs() <= 20.0)), 4000);
    for Erase { top, left, height, width, .. } in draws.iter().filter_map(|params| params.erase) {
        assert!([top, left, height, width].iter().all(|part| (0.0..1.0).contains(part)));
        assert!((0.0199..0.3301).contains(&(height * width)), "{height} {width}");
    }
    let trivial = Augment { policy: Some(Policy::TrivialAugmentWide), ..Augment::none() };
    let ops: Vec<Vec<Op>> = (0..4000).map(|id| trivial.sample(key(id), 9, 9).ops).collect();
    let idle = ops.iter().filter(|ops| ops.is_empty()).count();
    assert!((230..345).contains(&idle), "{idle}");
    assert!(ops.iter().all(|ops| ops.len() <= 1));
}

#[test]
fn all_that_is_wrong_is_reported_together() {
    let bad = Augment {
        random_resized_crop: Some(RandomResizedCrop { scale: (0.0, 1.0), ratio: (2.0, 1.0) }),
        affine: Some(RandomAffine {
            degrees: 200.0,
            translate: (2.0, 0.0),
            scale: (0.0, 1.0),
            ..Default::default()
        }),
        policy: Some(Policy::RandAugment { num_ops: 0, magnitude: 31 }),
        color_jitter: Some(ColorJitter { hue: 0.6, brightness: f32::NAN, ..ColorJitter::default() }),
        posterize: Some(Posterize { probability: 2.0, bits: 9 }),
        gaussian_blur: Some(GaussianBlur { probability: 0.5, kernel: 4, sigma: (0.0, 1.0) }),
        random_erasing: Some(RandomErasing { scale: (0.5, 0.1), ..RandomErasing::default() }),
        mixing: Some(Mixing::default()),
        grayscale: -0.1,
        ..Augment::none()
    };
    let text = bad.check().unwrap_err().to_string();
    for name in [
        "16 problems",
        "`random_resized_crop.scale` is (0.0, 1.0) (expected two rising numbers above 0 and up to 1)",
        "`random_resized_crop.ratio`",
        "`affine.degrees` is 200.0 (expected 0 to 180)",
        "`affine.translate`",
        "`affine.scale`",
        "`policy.num_ops`",
        "`policy.magnitude`",
        "`color_jitter.brightness` is NaN",
        "`color_jitter.hue`",
        "`grayscale` is -0.1",
        "`posterize.probability`",
        "`posterize.bits`",
        "`gaussian_blur.kernel` is 4 (expected an odd number, 1 to 255)",
        "`gaussian_blur.sigma`",
        "`random_erasing.scale`",
        "`mixing`",
    ] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    let one = Augment { invert: 1.5, ..Augment::none() }.check().unwrap_err().to_string();
    assert_eq!(one, "option `invert` is 1.5 (expected 0 to 1)");
}

#[test]
fn no_size_of_image_is_a_panic() {
    let all = everything();
    for (width, height) in [(0, 0), (0, 9), (1, 1), (1, 3000), (3000, 1), (u32::MAX, 2)] {
        for id in 0..20 {
            let params = all.sample(key(id), width, height);
            if width < 5000 {
                let applied = params.apply(&RgbImage::new(width, height), &Preprocess::imagenet(8));
                assert_eq!(applied.is_ok(), width > 0 && height > 0);
            }
        }
    }
}
