//! The loader: the same batches for any number of threads, in bounded memory, and a prompt end.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::two_classes;
use tl_data::{
    Augment, AugmentPreset, Augmentation, Batch, ColorJitter, DataPool, Dataset, DecodedCache, ErasingFill,
    GaussianBlur, Loader, LoaderOptions, Mixing, Policy, Posterize, Preprocess, RandomAffine, RandomErasing,
    Sample, Sharpness, Solarize, SplitOptions, View, decode_rgb, probe, shuffle, verify,
};

fn samples(dir: &tempfile::TempDir) -> Arc<[Sample]> {
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    folder.train.into_iter().chain(folder.val).collect()
}

fn options(n: usize, batch: usize, prefetch: usize) -> LoaderOptions {
    LoaderOptions {
        batch,
        prefetch,
        order: shuffle(n as u32, 9, 4),
        seed: 9,
        epoch: 4,
        ..LoaderOptions::default()
    }
}

fn run(samples: &Arc<[Sample]>, view: &View, options: LoaderOptions, threads: usize) -> Vec<Batch> {
    let pool = DataPool::new(threads).unwrap();
    Loader::new(Arc::clone(samples), view.clone(), options, &pool).unwrap().map(Result::unwrap).collect()
}

/// All pixels, labels and indices of an epoch, one after the other.
fn joined(batches: &[Batch]) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let pixels = batches.iter().flat_map(|batch| batch.images.iter().map(|value| value.to_bits())).collect();
    let labels = batches.iter().flat_map(|batch| batch.labels.clone()).collect();
    (pixels, labels, batches.iter().flat_map(|batch| batch.indices.clone()).collect())
}

#[test]
fn threads_batch_size_and_prefetch_do_not_matter() {
    let dir = two_classes(12);
    let samples = samples(&dir);
    let n = samples.len();
    for view in
        [View::Eval(Preprocess::imagenet(32)), View::train(Preprocess::imagenet(32), Augment::basic())]
    {
        let first = joined(&run(&samples, &view, options(n, 5, 2), 1));
        assert_eq!(first.2, options(n, 5, 2).order);
        assert!(first.2.iter().zip(&first.1).all(|(&index, &label)| samples[index as usize].label == label));
        for (threads, batch, prefetch) in [(2, 5, 2), (16, 5, 0), (16, 1, 7), (2, n, 1), (1, usize::MAX, 0)] {
            let other = joined(&run(&samples, &view, options(n, batch, prefetch), threads));
            assert_eq!(other, first, "{threads} threads, batch {batch}, prefetch {prefetch}");
        }
    }
}

/// Every operation on, most of them for every other image.
fn everything() -> Augment {
    let (brightness, contrast, saturation, hue) = (0.4, 0.4, 0.4, 0.1);
    Augment {
        vertical_flip: true,
        affine: Some(RandomAffine {
            probability: 0.5,
            degrees: 20.0,
            translate: (0.1, 0.1),
            scale: (0.8, 1.2),
            shear: (5.0, 5.0),
            fill: [9, 8, 7],
        }),
        policy: Some(Policy::RandAugment { num_ops: 3, magnitude: 12 }),
        color_jitter: Some(ColorJitter { probability: 0.8, brightness, contrast, saturation, hue }),
        invert: 0.2,
        posterize: Some(Posterize { probability: 0.3, bits: 4 }),
        solarize: Some(Solarize { probability: 0.3, threshold: 128.0 }),
        autocontrast: 0.3,
        equalize: 0.3,
        sharpness: Some(Sharpness { probability: 0.3, factor: 2.0 }),
        grayscale: 0.3,
        gaussian_blur: Some(GaussianBlur { probability: 0.5, kernel: 5, sigma: (0.1, 2.0) }),
        random_erasing: Some(RandomErasing {
            probability: 0.5,
            fill: ErasingFill::Noise,
            ..RandomErasing::default()
        }),
        mixing: Some(Mixing { probability: 0.8, mixup_alpha: 0.4, cutmix_alpha: 1.0 }),
        ..Augment::basic()
    }
}

/// As `joined`, with the mixtures.
fn joined_mixed(batches: &[Batch]) -> impl PartialEq + std::fmt::Debug + use<> {
    (joined(batches), batches.iter().map(|batch| batch.mix.clone()).collect::<Vec<_>>())
}

#[test]
fn with_everything_on_the_bytes_are_the_same() {
    let dir = two_classes(12);
    let samples = samples(&dir);
    let n = samples.len();
    let view = View::train(Preprocess::imagenet(32), everything());
    let first = run(&samples, &view, options(n, 5, 2), 1);
    assert!(first.iter().any(|batch| batch.mix.is_some()));
    for (threads, prefetch) in [(2, 0), (16, 3)] {
        let other = run(&samples, &view, options(n, 5, prefetch), threads);
        assert_eq!(joined_mixed(&other), joined_mixed(&first), "{threads} threads");
    }
    for start_batch in 1..=5 {
        let rest = run(&samples, &view, LoaderOptions { start_batch, ..options(n, 5, 2) }, 2);
        assert_eq!(joined_mixed(&rest), joined_mixed(&first[start_batch..]), "from batch {start_batch}");
    }
    // All, some and none of the images fit.
    for budget in [1 << 30, 40_000, 0] {
        let cache = DecodedCache::new(budget);
        for epoch in 0..3 {
            let cache = Some(cache.clone());
            let cached = run(&samples, &view, LoaderOptions { cache, ..options(n, 5, 2) }, 2);
            assert_eq!(joined_mixed(&cached), joined_mixed(&first), "{budget} bytes, time {epoch}");
        }
        assert!(cache.bytes() <= budget);
        assert_eq!(cache.hits(), 2 * cache.images() as u64);
        assert_eq!(cache.images() == n, budget == 1 << 30);
    }
    let shrunk = |cache: Option<DecodedCache>| {
        joined_mixed(&run(&samples, &view, LoaderOptions { shrink: Some(24), cache, ..options(n, 5, 2) }, 2))
    };
    let cache = DecodedCache::new(1 << 30);
    assert_eq!(shrunk(None), shrunk(Some(cache.clone())));
    assert_eq!(shrunk(None), shrunk(Some(cache)));
    assert_ne!(shrunk(None), joined_mixed(&first));
}

#[test]
fn a_view_of_a_photo_decoded_in_part_is_that_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (class, kinds) in [("a", ["444", "420", "restart"]), ("b", ["422", "grey", "optimised"])] {
        fs::create_dir(dir.path().join(class)).unwrap();
        for kind in kinds {
            let name = format!("rows_{kind}.jpg");
            fs::copy(data.join(&name), dir.path().join(class).join(name)).unwrap();
        }
    }
    let samples = samples(&dir);
    let recipes = AugmentPreset::ALL.into_iter().map(AugmentPreset::recipe).chain([everything()]);
    for (number, recipe) in recipes.enumerate() {
        let view = View::train(Preprocess::imagenet(24), recipe);
        for epoch in 0..8 {
            let options = |cache| LoaderOptions { epoch, cache, ..options(samples.len(), 2, 2) };
            let part = run(&samples, &view, options(None), 2);
            // What is kept is decoded whole.
            let whole = run(&samples, &view, options(Some(DecodedCache::new(1 << 30))), 2);
            assert_eq!(joined_mixed(&part), joined_mixed(&whole), "recipe {number}, epoch {epoch}");
        }
    }
}

#[test]
fn weights_follow_their_images() {
    let dir = two_classes(3);
    let samples = samples(&dir);
    let weights: Arc<[f32]> = (0..6).map(|i| i as f32 / 2.0).collect();
    let order = vec![5, 0, 3];
    let options = LoaderOptions { order, weights: Some(weights), ..LoaderOptions::in_order(0, 2) };
    let batches = run(&samples, &View::Eval(Preprocess::imagenet(8)), options, 2);
    let all: Vec<f32> = batches.iter().flat_map(|batch| batch.weights.clone().unwrap()).collect();
    assert_eq!(all, [2.5, 0.0, 1.5]);
}

#[test]
fn a_mixed_batch_is_a_mixture_of_the_plain_one() {
    let dir = two_classes(3);
    let samples = samples(&dir);
    let mixing = Mixing { mixup_alpha: 0.4, ..Mixing::default() };
    let plain = Augment::basic();
    let run = |augment| {
        let view = View::train(Preprocess::imagenet(16), augment);
        run(&samples, &view, LoaderOptions::in_order(6, 6), 2).remove(0)
    };
    let (plain, mixed) = (run(plain), run(Augment { mixing: Some(mixing), ..plain }));
    let mix = mixed.mix.as_ref().unwrap();
    assert_eq!((plain.mix, mix.partner.as_slice()), (None, [5, 4, 3, 2, 1, 0].as_slice()));
    let image = |i: usize| plain.images.index_axis(ndarray::Axis(0), i);
    for i in 0..6 {
        let expected = &image(i) * mix.lambda + &image(5 - i) * (1.0 - mix.lambda);
        assert_eq!(mixed.images.index_axis(ndarray::Axis(0), i), expected);
    }
    assert_eq!(mixed.soft_targets(2).unwrap().sum_axis(ndarray::Axis(1)), ndarray::arr1(&[1.0; 6]));
}

#[test]
fn shrinking_loses_nothing_that_matters() {
    let view = View::train(Preprocess::imagenet(224), Augment::basic());
    assert_eq!(view.shrink_side(), 438);
    assert_eq!(View::Eval(Preprocess::imagenet(224)).shrink_side(), 256);
}

#[test]
fn batches_hold_what_was_asked_for() {
    let dir = two_classes(4);
    let samples = samples(&dir);
    let preprocess = Preprocess::imagenet(24);
    let order = vec![3, 3, 0, 7, 1];
    let options = LoaderOptions { order: order.clone(), ..options(0, 2, 2) };
    let batches = run(&samples, &View::Eval(preprocess), options, 2);
    assert_eq!(
        batches.iter().map(|batch| batch.images.dim()).collect::<Vec<_>>(),
        [(2, 3, 24, 24), (2, 3, 24, 24), (1, 3, 24, 24)]
    );
    assert_eq!(batches.iter().flat_map(|batch| batch.indices.clone()).collect::<Vec<_>>(), order);
    let image = preprocess.eval_transform(&decode_rgb(&samples[7].path).unwrap()).unwrap();
    let mut expected = vec![0.0; 3 * 24 * 24];
    preprocess.normaliser().normalise(&image, &mut expected).unwrap();
    assert!(batches[1].images.index_axis(ndarray::Axis(0), 1).iter().eq(&expected));
    assert!(batches[1].images.is_standard_layout());
}

#[test]
fn every_epoch_shows_another_view_and_evaluation_never_does() {
    let dir = two_classes(4);
    let samples = samples(&dir);
    let preprocess = Preprocess::imagenet(24);
    let with = |view: &View, seed, epoch| {
        let options = LoaderOptions { seed, epoch, ..LoaderOptions::in_order(8, 8) };
        joined(&run(&samples, view, options, 2)).0
    };
    let train = View::train(preprocess, Augment::basic());
    let (plain, eval) = (View::train(preprocess, Augment::none()), View::Eval(preprocess));
    assert_eq!(with(&train, 1, 0), with(&train, 1, 0));
    assert_ne!(with(&train, 1, 0), with(&train, 1, 1));
    assert_ne!(with(&train, 1, 0), with(&train, 2, 0));
    assert_eq!(with(&eval, 1, 0), with(&eval, 2, 5));
    assert_eq!(with(&plain, 1, 0), with(&eval, 1, 0));
}

#[test]
fn an_image_that_comes_twice_in_an_epoch_is_seen_in_two_ways() {
    let dir = two_classes(2);
    let samples = samples(&dir);
    let view = View::train(Preprocess::imagenet(24), Augment::basic());
    let pixels = |order: Vec<u32>, batch, threads| {
        let options = LoaderOptions { order, batch, ..LoaderOptions::default() };
        let batches = run(&samples, &view, options, threads);
        let all: Vec<f32> = batches.iter().flat_map(|batch| batch.images.iter().copied()).collect();
        all.chunks(3 * 24 * 24).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let thrice = pixels(vec![1, 0, 1, 1], 2, 1);
    assert!(thrice[0] != thrice[2] && thrice[2] != thrice[3] && thrice[0] != thrice[3]);
    assert_eq!(thrice, pixels(vec![1, 0, 1, 1], 3, 16));
    assert_eq!(thrice[..2], pixels(vec![1, 0], 2, 1));
}

#[test]
fn an_image_data_generator_trains_as_well() {
    let dir = two_classes(4);
    let samples = samples(&dir);
    let preprocess = Preprocess::imagenet(24);
    let read = |text: &str| -> Augmentation { serde_json::from_str(text).unwrap() };
    let view = View::train(preprocess, read(r#"{"rotation_range": 30, "horizontal_flip": true}"#));
    let epoch = |view: &View, epoch, threads| {
        let options = LoaderOptions { epoch, ..LoaderOptions::in_order(8, 3) };
        joined(&run(&samples, view, options, threads)).0
    };
    assert_eq!(epoch(&view, 0, 1), epoch(&view, 0, 16));
    assert_ne!(epoch(&view, 0, 1), epoch(&view, 1, 1));
    // Without random changes it is the whole image at the size of the input, normalised for the net.
    let plain = epoch(&View::train(preprocess, read(r#"{"fill_mode": "wrap"}"#)), 0, 1);
    let image = tl_data::decode_rgb(&samples[0].path).unwrap();
    let Augmentation::Generator(generator) = read(r#"{"fill_mode": "wrap"}"#) else { unreachable!() };
    assert!(!generator.augments());
    let key = tl_data::Key { seed: 0, epoch: 0, sample_id: 0 };
    let small = Augmentation::Generator(generator).apply(&image, key, &preprocess).unwrap();
    assert_eq!(small.dimensions(), (24, 24));
    let red = (f32::from(small.get_pixel(5, 7).0[0]) / 255.0 - preprocess.mean[0]) / preprocess.std[0];
    assert!((f32::from_bits(plain[7 * 24 + 5]) - red).abs() < 1e-5);
}

#[test]
fn a_cache_on_disk_changes_nothing_and_serves_the_next_run() {
    let dir = two_classes(6);
    let samples = samples(&dir);
    let view = View::train(Preprocess::imagenet(24), Augment::basic());
    let first = joined(&run(&samples, &view, options(12, 5, 2), 2));
    for time in 0..3 {
        let cache = DecodedCache::on_disk(&dir.path().join("decoded"), 1 << 30).unwrap();
        let lent = Some(cache.clone());
        let cached = run(&samples, &view, LoaderOptions { cache: lent, ..options(12, 5, 2) }, 2);
        assert_eq!(joined(&cached), first);
        assert_eq!((cache.images(), cache.hits()), (12, if time == 0 { 0 } else { 12 }));
    }
    let file = dir.path().join("a_file");
    fs::write(&file, "").unwrap();
    let error = DecodedCache::on_disk(&file, 1).unwrap_err().to_string();
    assert!(error.contains("a_file"), "{error}");
}

#[test]
fn a_bad_image_is_an_error_that_names_it_and_verify_names_all() {
    let dir = two_classes(10);
    let samples = samples(&dir);
    fs::write(&samples[4].path, b"not an image").unwrap();
    let whole = fs::read(&samples[11].path).unwrap();
    fs::write(&samples[11].path, &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(&samples[17].path).unwrap();
    // Half a picture that is closed like a whole one decodes, and is no picture.
    fs::write(&samples[13].path, [&whole[..whole.len() / 2], &[0xFF, 0xD9]].concat()).unwrap();

    for threads in [1, 2, 16] {
        let pool = DataPool::new(threads).unwrap();
        let options = LoaderOptions::in_order(samples.len(), 6);
        let view = View::Eval(Preprocess::imagenet(24));
        let mut loader = Loader::new(Arc::clone(&samples), view, options, &pool).unwrap();
        let error = loader.next().unwrap().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("image `{}` cannot be decoded", samples[4].path.display())),
            "{error}"
        );
        assert!(loader.next().is_none());

        let seen = AtomicUsize::new(0);
        let bad = verify(&samples, &pool, &|done| {
            seen.fetch_max(done, Ordering::Relaxed);
        });
        assert_eq!(seen.into_inner(), 20);
        assert_eq!(
            bad.iter().map(|bad| &bad.path).collect::<Vec<_>>(),
            [4, 11, 13, 17].map(|i: usize| &samples[i].path)
        );
        assert_eq!(bad[1].reason, "the JPEG data ends early");
        assert!(bad[2].reason.contains("blocks of the JPEG data are missing"), "{}", bad[2].reason);
        assert_eq!(bad[0].reason, "it holds other data (expected JPEG, PNG, BMP, GIF, TIFF, WebP or PNM)");
    }
}

#[test]
fn dropping_it_in_the_middle_stops_promptly() {
    let dir = two_classes(3);
    let samples = samples(&dir);
    let pool = DataPool::new(2).unwrap();
    let order: Vec<u32> = (0..60_000).map(|i| i % 6).collect();
    // Batches of 10,000 images: seconds of work each.
    let options = LoaderOptions { order, batch: 10_000, prefetch: 3, ..LoaderOptions::default() };
    let view = View::Eval(Preprocess::imagenet(16));
    let mut loader = Loader::new(Arc::clone(&samples), view.clone(), options, &pool).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().labels.len(), 10_000);
    let start = Instant::now();
    drop(loader);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    // The pool is free for the next loader, and nothing of the old one is left.
    let options = LoaderOptions::in_order(6, 6);
    assert_eq!(Loader::new(Arc::clone(&samples), view, options, &pool).unwrap().count(), 1);
    assert_eq!(Arc::strong_count(&samples), 1);
}

/// Resident memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_flat_however_long_the_list() {
    const IMAGES: u32 = 100_000;
    let dir = two_classes(3);
    let samples = samples(&dir);
    let order: Vec<u32> = (0..IMAGES).map(|i| i % 6).collect();
    let pool = DataPool::new(2).unwrap();
    let options = LoaderOptions { order, batch: 64, ..LoaderOptions::default() };
    let view = View::train(Preprocess::imagenet(32), Augment::basic());
    let mut early = 0;
    for (number, batch) in Loader::new(samples, view, options, &pool).unwrap().enumerate() {
        batch.unwrap();
        if number == 200 {
            early = resident();
        }
    }
    let more = resident().saturating_sub(early);
    // Other tests of this file run beside it and come and go.
    assert!(more < 64 << 20, "{} MiB more after {IMAGES} images", more >> 20);
}

#[test]
fn two_loaders_share_a_pool() {
    let dir = two_classes(6);
    let samples = samples(&dir);
    let pool = DataPool::new(1).unwrap();
    let view = View::Eval(Preprocess::imagenet(16));
    let make =
        || Loader::new(Arc::clone(&samples), view.clone(), LoaderOptions::in_order(12, 5), &pool).unwrap();
    assert_eq!(
        make().zip(make()).filter(|(a, b)| a.as_ref().unwrap().images == b.as_ref().unwrap().images).count(),
        3
    );
}

#[test]
fn nonsense_is_refused() {
    let dir = two_classes(2);
    let samples = samples(&dir);
    let pool = DataPool::new(1).unwrap();
    let preprocess = Preprocess::imagenet(16);
    let refused =
        |view, options| Loader::new(Arc::clone(&samples), view, options, &pool).unwrap_err().to_string();
    let good = LoaderOptions::in_order(4, 2);
    assert_eq!(
        refused(View::Eval(preprocess), LoaderOptions { batch: 0, ..good.clone() }),
        "option `batch` is 0 (expected at least 1)"
    );
    assert_eq!(
        refused(View::Eval(preprocess), LoaderOptions { order: vec![0, 4], ..good.clone() }),
        "option `order` is 4 (expected less than the number of samples, 4)"
    );
    assert!(refused(View::Eval(Preprocess { input: 0, ..preprocess }), good.clone()).contains("`input`"));
    assert_eq!(DataPool::new(0).unwrap_err().to_string(), "option `threads` is 0 (expected at least 1)");
    let bad = LoaderOptions {
        batch: 0,
        start_batch: 9,
        weights: Some(vec![1.0, f32::NAN].into()),
        shrink: Some(0),
        ..good.clone()
    };
    let text = refused(View::train(preprocess, Augment { invert: 7.0, ..Augment::none() }), bad);
    for name in ["6 problems", "`batch`", "`start_batch`", "`weights` is 2", "NaN", "`shrink`", "`invert`"] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    let empty = LoaderOptions { order: vec![], ..good };
    assert_eq!(Loader::new(Arc::clone(&samples), View::Eval(preprocess), empty, &pool).unwrap().count(), 0);
}

#[test]
fn sizes() {
    let dir = two_classes(10);
    let samples = samples(&dir);
    let stats = probe(&samples).unwrap();
    assert_eq!((stats.min, stats.max, stats.images), (34, 50, 20));
    assert!((34..=50).contains(&stats.median_short_side));
    fs::write(&samples[0].path, b"x").unwrap();
    assert_eq!(probe(&samples).unwrap().images, 19);
    assert!(probe(&samples[..1]).unwrap_err().to_string().contains("cannot be decoded"));
    assert!(probe(&[]).is_err());
    let many: Vec<Sample> = samples[1..].iter().cycle().take(1000).cloned().collect();
    assert_eq!(probe(&many).unwrap().images, 200);
}
