//! How many images a second the data threads prepare, and what each operation costs.
//!
//! ```text
//! cargo run --release -p tl-data --example speed -- DIR [loaders|crop|operations|keras] [ROUNDS]
//! ```
//!
//! The one decision: everything runs on files as they are, in a folder as `tl` takes it, after one round that warms the
//! page cache. Of several rounds the fastest counts, as other work on the machine only ever adds time. `speed.py` beside
//! it measures torchvision, OpenCV, albumentations and Keras on the same files, and can print both side by side.
#![allow(clippy::print_stdout, reason = "a program that reports to a person")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tl_data::{
    AffineParams, Augment, AugmentPreset, Augmentation, Crop, DataError, DataPool, Dataset, DecodedCache,
    Erase, EraseFill, Key, Length, Loader, LoaderOptions, Op, Params, Preprocess, RandomResizedCrop,
    RgbImage, Sample, SplitOptions, View, decode_rgb,
};

const BATCH: usize = 32;

/// Height and width of the net's input.
const SIDE: u32 = 224;

/// Images that the single operations run on.
const INPUTS: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: speed DIR [loaders|crop|operations|keras] [ROUNDS]")?;
    let mode = args.next().unwrap_or_else(|| "loaders".to_owned());
    let rounds: u64 = args.next().map_or(Ok(5), |text| text.parse())?;
    let folder = Dataset::open(Path::new(&dir), &SplitOptions::default())?;
    let samples: Arc<[Sample]> = folder.train.into_iter().chain(folder.val).collect();
    println!("{} images", samples.len());
    match mode.as_str() {
        "loaders" => loaders(&samples, rounds)?,
        "crop" => crop(&samples, rounds)?,
        "operations" => operations(&samples, rounds)?,
        "keras" => generator(&samples, rounds)?,
        _ => return Err(format!("no mode `{mode}` (expected loaders, crop, operations or keras)").into()),
    }
    Ok(())
}

/// Images per second of whole epochs.
fn loaders(samples: &Arc<[Sample]>, rounds: u64) -> Result<(), DataError> {
    let preprocess = Preprocess::imagenet(SIDE);
    for threads in [1, 2] {
        let plain = LoaderOptions::in_order(samples.len(), BATCH);
        let time = |name: &str, view: &View, options: &LoaderOptions| {
            epochs(samples, &format!("{threads} threads, {name}"), view, options, threads, rounds)
        };
        time("validation", &View::Eval(preprocess), &plain)?;
        for preset in AugmentPreset::ALL.into_iter().skip(1) {
            time(preset.name(), &View::train(preprocess, preset.recipe()), &plain)?;
        }
        let basic = View::train(preprocess, Augment::basic());
        let cache = Some(DecodedCache::new(4 << 30));
        time("basic, cached", &basic, &LoaderOptions { cache, ..plain.clone() })?;
        let (cache, shrink) = (Some(DecodedCache::new(4 << 30)), Some(basic.shrink_side()));
        time("basic, shrunk and cached", &basic, &LoaderOptions { cache, shrink, ..plain })?;
    }
    Ok(())
}

/// torchvision's usual training transform: random resized crop as it is by default, flip, normalise; on two threads.
fn crop(samples: &Arc<[Sample]>, rounds: u64) -> Result<(), DataError> {
    let recipe = Augment { random_resized_crop: Some(RandomResizedCrop::default()), ..Augment::basic() };
    let view = View::train(Preprocess::imagenet(SIDE), recipe);
    let plain = LoaderOptions::in_order(samples.len(), BATCH);
    epochs(samples, "2 threads, random resized crop + flip", &view, &plain, 2, rounds)
}

/// Keras's `ImageDataGenerator` as its tutorials use it.
fn generator(samples: &Arc<[Sample]>, rounds: u64) -> Result<(), Box<dyn Error>> {
    let augmentation: Augmentation = serde_json::from_value(json!({
        "rotation_range": 20, "zoom_range": 0.2, "width_shift_range": 0.1, "height_shift_range": 0.1,
        "horizontal_flip": true,
    }))?;
    let view = View::Train(Preprocess::imagenet(SIDE), augmentation);
    let plain = LoaderOptions::in_order(samples.len(), BATCH);
    for threads in [1, 2] {
        let name = format!("{threads} threads, rotation + zoom + shift + flip");
        epochs(samples, &name, &view, &plain, threads, rounds)?;
    }
    Ok(())
}

/// The fastest epoch.
fn epochs(
    samples: &Arc<[Sample]>,
    name: &str,
    view: &View,
    options: &LoaderOptions,
    threads: usize,
    rounds: u64,
) -> Result<(), DataError> {
    let pool = DataPool::new(threads)?;
    let mut best = f64::INFINITY;
    for epoch in 0..=rounds {
        let start = Instant::now();
        let options = LoaderOptions { epoch, ..options.clone() };
        Loader::new(Arc::clone(samples), view.clone(), options, &pool)?
            .try_for_each(|batch| batch.map(drop))?;
        if epoch > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    println!("{name}: {:.1} images/s", samples.len() as f64 / best);
    Ok(())
}

/// Microseconds for each image, one thread, the fastest round.
fn fastest(
    rounds: u64,
    images: usize,
    mut work: impl FnMut() -> Result<(), DataError>,
) -> Result<f64, DataError> {
    let mut best = f64::INFINITY;
    for _ in 0..=rounds {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(1e6 * best / images.max(1) as f64)
}

/// What each step costs.
fn operations(samples: &[Sample], rounds: u64) -> Result<(), DataError> {
    let preprocess = Preprocess::imagenet(SIDE);
    let samples = &samples[..samples.len().min(INPUTS)];
    let count = samples.len();
    let report = |name: &str, micros: f64| println!("{name}\t{micros:.0}\tµs/image");
    let decode = fastest(rounds, count, || {
        samples.iter().try_for_each(|sample| decode_rgb(&sample.path).map(drop).map_err(DataError::from))
    })?;
    report("decode", decode);
    let images: Vec<RgbImage> =
        samples.iter().map(|sample| decode_rgb(&sample.path)).collect::<Result<_, _>>()?;
    let basic = Augment::basic();
    let crops: Vec<Params> = images
        .iter()
        .zip(samples)
        .map(|(image, sample)| {
            let key = Key { seed: 1, epoch: 1, sample_id: sample.id };
            Params { flip: false, ..basic.sample(key, image.width(), image.height()) }
        })
        .collect();
    let apply = |image: &RgbImage, params: &Params| params.apply(image, &preprocess).map(drop);
    let each =
        |params: &[Params]| images.iter().zip(params).try_for_each(|(image, params)| apply(image, params));
    report("resized crop", fastest(rounds, count, || each(&crops))?);
    let (translate, shear) = ((0.05, 0.05), (3.0, 3.0));
    let affine = AffineParams { degrees: 15.0, translate, scale: 1.1, shear, fill: [0; 3] };
    let turned: Vec<Params> =
        crops.iter().map(|params| Params { affine: Some(affine), ..params.clone() }).collect();
    report("affine and resized crop", fastest(rounds, count, || each(&turned))?);

    let inputs: Vec<RgbImage> = images
        .iter()
        .zip(&crops)
        .map(|(image, params)| params.apply(image, &preprocess))
        .collect::<Result<_, _>>()?;
    let normaliser = preprocess.normaliser();
    let mut out = vec![0.0; 3 * (SIDE * SIDE) as usize];
    let planes =
        fastest(rounds, count, || inputs.iter().try_for_each(|input| normaliser.normalise(input, &mut out)))?;
    report("normalise", planes);

    let whole = Crop { x: 0, y: 0, width: SIDE, height: SIDE };
    let whole = Params { crop: Some(whole), ..Params::default() };
    let all =
        |params: &Params| fastest(rounds, count, || inputs.iter().try_for_each(|input| apply(input, params)));
    let copy = all(&whole)?;
    report("a copy", copy);
    // Each operation alone, less the copy that every one of them starts from.
    let single = |name: &str, params: &Params| -> Result<(), DataError> {
        report(name, (all(params)? - copy).max(0.0));
        Ok(())
    };
    single("flip", &Params { flip: true, ..whole.clone() })?;
    single("vertical flip", &Params { vertical_flip: true, ..whole.clone() })?;
    let erase = |fill| Some(Erase { top: 0.2, left: 0.2, height: 0.4, width: 0.4, fill });
    single("erase", &Params { erase: erase(EraseFill::Mean), ..whole.clone() })?;
    single("erase with noise", &Params { erase: erase(EraseFill::Noise(1)), ..whole.clone() })?;
    for (name, op) in [
        ("shear", Op::ShearX(0.2)),
        ("translate", Op::TranslateX(Length::Pixels(9))),
        ("rotate", Op::Rotate(20.0)),
        ("brightness", Op::Brightness(1.3)),
        ("contrast", Op::Contrast(1.3)),
        ("saturation", Op::Saturation(1.3)),
        ("hue", Op::Hue(0.1)),
        ("sharpness", Op::Sharpness(1.5)),
        ("posterize", Op::Posterize(4)),
        ("solarize", Op::Solarize(128.0)),
        ("autocontrast", Op::Autocontrast),
        ("equalize", Op::Equalize),
        ("invert", Op::Invert),
        ("grayscale", Op::Grayscale),
        ("gaussian blur", Op::GaussianBlur { kernel: 23, sigma: 1.5 }),
    ] {
        single(name, &Params { ops: vec![op], ..whole.clone() })?;
    }
    Ok(())
}
