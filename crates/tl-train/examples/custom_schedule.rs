//! Phases of one's own on a folder of labelled images: `cargo run --release -p tl-train --example custom_schedule -- DIR`.
//! The weights are those that `tl` fetches.
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tch::Device;
use tl_backbones::{Load, find, load};
use tl_data::{Augment, DataPool, Dataset, Preprocess, SplitOptions};
use tl_finetune::{Curve, Decay, DecayBy, EarlyStopping, Metric, PartRate, Phase, Schedule};
use tl_heads::Task;
use tl_torch::Fill;
use tl_train::{EpochResult, Feed, Images, Inputs, Model, NewHead, Observer, Options, Tick, train};
use tl_weights::{Cache, quiet};

/// Prints epochs.
struct Lines;

impl Observer for Lines {
    fn tick(&mut self, _: Tick) {}

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let accuracy = result.val.scores.as_ref().map_or(f64::NAN, |scores| scores.accuracy());
        println!("{:10} {:3}  validation accuracy {accuracy:.4}", result.phase, result.epoch);
        Ok(())
    }
}

/// The head until it gets no better, then the last two stages with it, at rates that fall towards the input.
fn schedule() -> Schedule {
    let mut head = Phase::new("head", vec![PartRate::new("head", 1e-3)], 20);
    head.early_stopping = Some(EarlyStopping { patience: 4, min_delta: 0.0, metric: None });
    let mut top = PartRate::new("last-2-stages", 2e-4);
    top.decay = Some(Decay { factor: 0.5, by: DecayBy::Block });
    let mut both = Phase::new("top", vec![PartRate::new("head", 3e-4), top], 4);
    both.curve = Curve::Cosine { warmup: 0.25 };
    both.augment = true;
    both.clip_norm = Some(1.0);
    Schedule { phases: vec![head, both] }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/fashion-mnist-small").to_owned();
    let dir = std::env::args().nth(1).unwrap_or(embedded);
    let data = Dataset::open(Path::new(&dir), &SplitOptions::default())?;

    let card = find("efficientnet-lite0")?;
    let weights = &card.weights[0];
    let file = Cache::default_location()?.fetch(&weights.source, weights.sha256, &quiet)?;
    let options = Load { device: Device::Cpu, classifier: false, partial: None };
    let loaded = load(card, Some(weights), &file.path, options)?;
    let task = Task::Softmax { classes: data.classes.len() as i64 };
    let head = NewHead { spec: "gap".parse()?, task, dropout: 0.2, fill: Fill::Seed(42) };
    let preprocess =
        Preprocess { mean: weights.input.mean, std: weights.input.std, ..Preprocess::imagenet(96) };
    let model = Model::new(loaded.backbone, head, data.classes.clone(), preprocess, Device::Cpu)?;

    // All that does not fit the net is said here, before anything trains.
    let plan = schedule().plan(&model.net_info(), model.head.store.count())?;
    let (training, validation): (Arc<[_]>, Arc<[_]>) = (data.train.into(), data.val.into());
    let (pool, stop) = (DataPool::new(2)?, AtomicBool::new(false));
    let augmentation = Augment::basic().into();
    let images = Images { pool: &pool, augmentation: &augmentation, shrink: None, decoded: None };
    let inputs = Inputs::Images(images);
    let feed = Feed { train: &training, val: &validation, ids: None, weights: None, stop: &stop, inputs };
    let options = Options {
        seed: 42,
        batch: 16,
        label_smoothing: 0.1,
        class_weights: None,
        focal: 0.0,
        balanced_sampling: false,
        monitor: Metric::Accuracy,
        cache_budget: 1 << 30,
        store: None,
        checkpoints: None,
    };
    let outcome = train(&model, &plan, &feed, &options, None, &mut Lines)?;
    println!("{:?}, best {:?}", outcome.ended, outcome.best);
    Ok(())
}
