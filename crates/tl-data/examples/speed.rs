//! How many images a second the data threads prepare, and what each operation costs.
//!
//! ```text
//! cargo run --release -p tl-data --example speed -- DIR [EPOCHS]
//! ```
//!
//! The one decision: everything runs on files as they are, in a folder as `tl` takes it, after one epoch that warms the
//! page cache. `speed.py` beside it measures torchvision's loader on the same files.
#![allow(clippy::print_stdout, reason = "a program that reports to a person")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tl_data::{
    AffineParams, Augment, AugmentPreset, Crop, DataError, DataPool, Dataset, DecodedCache, Erase, EraseFill,
    Key, Length, Loader, LoaderOptions, Op, Params, Preprocess, RgbImage, Sample, SplitOptions, View,
    decode_rgb,
};

const BATCH: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: speed DIR [EPOCHS]")?;
    let epochs: u64 = args.next().map_or(Ok(3), |text| text.parse())?;
    let folder = Dataset::open(Path::new(&dir), &SplitOptions::default())?;
    let samples: Arc<[Sample]> = folder.train.into_iter().chain(folder.val).collect();
    println!("{} images", samples.len());
    loaders(&samples, epochs)?;
    operations(&samples)?;
    Ok(())
}

/// Images per second of whole epochs.
fn loaders(samples: &Arc<[Sample]>, epochs: u64) -> Result<(), DataError> {
    let preprocess = Preprocess::imagenet(224);
    for threads in [1, 2] {
        let pool = DataPool::new(threads)?;
        let time = |name: &str, view: &View, options: &LoaderOptions| -> Result<(), DataError> {
            run(samples, view.clone(), options.clone(), &pool)?;
            let start = Instant::now();
            for epoch in 1..=epochs {
                run(samples, view.clone(), LoaderOptions { epoch, ..options.clone() }, &pool)?;
            }
            let images = samples.len() as f64 * epochs as f64;
            println!("{threads} threads, {name}: {:.1} images/s", images / start.elapsed().as_secs_f64());
            Ok(())
        };
        let plain = LoaderOptions::in_order(samples.len(), BATCH);
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

fn run(
    samples: &Arc<[Sample]>,
    view: View,
    options: LoaderOptions,
    pool: &DataPool,
) -> Result<(), DataError> {
    Loader::new(Arc::clone(samples), view, options, pool)?.try_for_each(|batch| batch.map(|_| ()))
}

/// Microseconds per image of each step, one thread.
fn operations(samples: &Arc<[Sample]>) -> Result<(), DataError> {
    let preprocess = Preprocess::imagenet(224);
    let start = Instant::now();
    let images: Vec<RgbImage> =
        samples.iter().map(|sample| decode_rgb(&sample.path)).collect::<Result<_, _>>()?;
    report("decode", start, images.len());

    let basic = Augment::basic();
    let crops: Vec<Params> = images
        .iter()
        .zip(samples.iter())
        .map(|(image, sample)| {
            let key = Key { seed: 1, epoch: 1, sample_id: sample.id };
            Params { flip: false, ..basic.sample(key, image.width(), image.height()) }
        })
        .collect();
    let start = Instant::now();
    for (image, params) in images.iter().zip(&crops) {
        params.apply(image, &preprocess)?;
    }
    report("random resized crop", start, images.len());
    let start = Instant::now();
    for (image, params) in images.iter().zip(&crops) {
        let (translate, shear) = ((0.05, 0.05), (3.0, 3.0));
        let affine = AffineParams { degrees: 15.0, translate, scale: 1.1, shear, fill: [0; 3] };
        Params { affine: Some(affine), ..params.clone() }.apply(image, &preprocess)?;
    }
    report("the same with an affine change", start, images.len());

    let inputs: Vec<RgbImage> = images
        .iter()
        .zip(&crops)
        .map(|(image, params)| params.apply(image, &preprocess))
        .collect::<Result<_, _>>()?;
    drop(images);
    let normaliser = preprocess.normaliser();
    let mut out = vec![0.0; 3 * 224 * 224];
    let start = Instant::now();
    for input in &inputs {
        normaliser.normalise(input, &mut out)?;
    }
    report("normalise", start, inputs.len());
    single(&inputs, &preprocess)
}

/// Each operation alone, less the copy that every one of them starts from.
fn single(inputs: &[RgbImage], preprocess: &Preprocess) -> Result<(), DataError> {
    let whole = Params { crop: Some(Crop { x: 0, y: 0, width: 224, height: 224 }), ..Params::default() };
    let time = |name: &str, params: &Params| -> Result<(), DataError> {
        let start = Instant::now();
        for input in inputs {
            params.apply(input, preprocess)?;
        }
        report(name, start, inputs.len());
        Ok(())
    };
    time("a copy", &whole)?;
    time("flip", &Params { flip: true, ..whole.clone() })?;
    time("vertical flip", &Params { vertical_flip: true, ..whole.clone() })?;
    let erase = |fill| Some(Erase { top: 0.2, left: 0.2, height: 0.4, width: 0.4, fill });
    time("erase", &Params { erase: erase(EraseFill::Mean), ..whole.clone() })?;
    time("erase with noise", &Params { erase: erase(EraseFill::Noise(1)), ..whole.clone() })?;
    for op in [
        Op::ShearX(0.2),
        Op::TranslateX(Length::Pixels(9)),
        Op::Rotate(20.0),
        Op::Brightness(1.3),
        Op::Contrast(1.3),
        Op::Saturation(1.3),
        Op::Hue(0.1),
        Op::Sharpness(1.5),
        Op::Posterize(4),
        Op::Solarize(128.0),
        Op::Autocontrast,
        Op::Equalize,
        Op::Invert,
        Op::Grayscale,
        Op::GaussianBlur { kernel: 23, sigma: 1.5 },
    ] {
        time(&format!("{op:?}"), &Params { ops: vec![op], ..whole.clone() })?;
    }
    Ok(())
}

fn report(name: &str, start: Instant, images: usize) {
    println!("{name}: {:.0} µs/image", 1e6 * start.elapsed().as_secs_f64() / images as f64);
}
