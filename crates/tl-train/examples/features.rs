//! Features of the images in a folder, by a pretrained net, as a NumPy file:
//! `cargo run --release -p tl-train --example features -- DIR OUT.npy [NET]`. The weights are those that `tl` fetches.
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::path::PathBuf;
use std::sync::Arc;

use tch::Device;
use tl_backbones::{Load, Loaded, find, load};
use tl_data::{DataPool, Loader, LoaderOptions, Preprocess, Sample, View};
use tl_train::{EVAL_BATCH, batch_tensor};
use tl_weights::{Cache, TensorWriter, quiet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, out, more @ ..] = &words[..] else { return Err("expected DIR OUT.npy [NET]".into()) };
    let card = find(more.first().map_or("efficientnet-lite0", String::as_str))?;
    let weights = &card.weights[0];
    let file = Cache::default_location()?.fetch(&weights.source, weights.sha256, &quiet)?;
    let options = Load { device: Device::Cpu, classifier: false, partial: None };
    let Loaded { backbone, .. } = load(card, Some(weights), &file.path, options)?;

    let sample = |path: PathBuf| {
        let rel = tl_data::folder::path_text(&path);
        Sample { path, label: 0, target: None, id: 0, rel }
    };
    let files = tl_data::list_images(&[PathBuf::from(dir)])?;
    let samples: Arc<[Sample]> = files.into_iter().map(sample).collect();
    let mut writer = TensorWriter::npy(out, &[samples.len(), card.features as usize])?;
    let (pool, in_order) = (DataPool::new(2)?, LoaderOptions::in_order(samples.len(), EVAL_BATCH));
    for batch in Loader::new(samples.clone(), View::Eval(preprocess(weights.input)), in_order, &pool)? {
        let features = backbone.features(&batch_tensor(&batch?, Device::Cpu));
        // The mean over positions; of a transformer the class token.
        let pooled = match card.tokens {
            None => features.mean_dim(&[2i64, 3][..], false, tch::Kind::Float),
            Some(_) => features.select(1, 0),
        };
        let pooled = backbone.neck(&pooled).contiguous();
        let mut row = vec![0f32; pooled.numel()];
        let n = row.len();
        pooled.copy_data(&mut row, n);
        writer.write(&row)?;
    }
    let written = writer.finish()?;
    println!("{out}: {} images, {} features each, {} bytes", samples.len(), card.features, written.bytes);
    Ok(())
}

/// What the weights expect.
fn preprocess(input: tl_backbones::Input) -> Preprocess {
    let interpolation = match input.interpolation {
        tl_backbones::Interpolation::Bilinear => tl_data::Interpolation::Bilinear,
        tl_backbones::Interpolation::Bicubic => tl_data::Interpolation::Bicubic,
    };
    let tl_backbones::Input { size, resize, mean, std, .. } = input;
    Preprocess { input: size, resize, interpolation, mean, std }
}
