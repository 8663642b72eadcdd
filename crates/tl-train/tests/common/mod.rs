//! Small runs on images made here.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tch::Device;
use tl_backbones::{Backbone, find};
use tl_data::{Augment, DataPool, Dataset, Preprocess, SplitOptions};
use tl_finetune::{Metric, Plan, Preset, PresetOptions, Schedule};
use tl_heads::Task;
use tl_torch::Fill;
use tl_train::{
    Checkpoint, Checkpointing, EpochResult, FeatureStore, Feed, Images, Inputs, Model, NewHead, Observer,
    Options, Outcome, Tick, train,
};

/// Remembers the epochs, and after one of them may spoil a tensor.
#[derive(Default)]
pub(crate) struct Epochs {
    pub(crate) results: Vec<EpochResult>,
    pub(crate) poison: Option<(u32, tch::Tensor)>,
    /// Is called after every batch.
    pub(crate) at_tick: Option<Box<dyn FnMut(Tick)>>,
    pub(crate) notes: Vec<String>,
}

impl Observer for Epochs {
    fn tick(&mut self, tick: Tick) {
        if let Some(work) = &mut self.at_tick {
            work(tick);
        }
    }

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.results.push(result.clone());
        if let Some((epoch, tensor)) = &mut self.poison
            && *epoch == result.epoch
        {
            let _ = tch::no_grad(|| tensor.fill_(f64::NAN));
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

pub(crate) fn model() -> Model {
    model_of("efficientnet-lite0", "gap")
}

pub(crate) fn model_of(net: &str, head: &str) -> Model {
    let card = find(net).unwrap();
    let backbone = Backbone::new(card, Device::Cpu, Fill::Seed(3)).unwrap();
    let head = NewHead {
        spec: head.parse().unwrap(),
        task: Task::Softmax { classes: 2 },
        dropout: 0.1,
        fill: Fill::Seed(3),
    };
    let classes = vec!["dark".to_owned(), "light".to_owned()];
    Model::new(backbone, head, classes, Preprocess::imagenet(64), Device::Cpu).unwrap()
}

pub(crate) fn run(model: &Model, schedule: &Schedule, cache_budget: u64) -> (Outcome, Vec<EpochResult>) {
    let mut epochs = Epochs::default();
    let outcome = run_with(model, schedule, cache_budget, &mut epochs);
    (outcome, epochs.results)
}

pub(crate) fn options(cache_budget: u64) -> Options {
    Options {
        seed: 1,
        batch: 4,
        label_smoothing: 0.1,
        class_weights: None,
        focal: 0.0,
        balanced_sampling: false,
        monitor: Metric::Accuracy,
        cache_budget,
        store: None,
        checkpoints: None,
    }
}

/// Runs the schedule on twelve images, and validates on four.
pub(crate) fn run_with(
    model: &Model,
    schedule: &Schedule,
    cache_budget: u64,
    epochs: &mut Epochs,
) -> Outcome {
    run_from(model, schedule, &options(cache_budget), None, epochs)
}

/// The same from a checkpoint on.
pub(crate) fn run_from(
    model: &Model,
    schedule: &Schedule,
    options: &Options,
    checkpoint: Option<Checkpoint>,
    epochs: &mut Epochs,
) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path());
    let folder =
        Dataset::open(dir.path(), &SplitOptions { val_fraction: 0.25, seed: 1, ..SplitOptions::default() })
            .unwrap();
    let plan: Plan = schedule.plan(&model.net_info(), model.head.store.count()).unwrap();
    let (train_set, val): (Arc<[_]>, Arc<[_]>) = (folder.train.into(), folder.val.into());
    let (pool, stop) = (DataPool::new(2).unwrap(), AtomicBool::new(false));
    let augmentation = Augment::basic().into();
    let images = Images { pool: &pool, augmentation: &augmentation, shrink: None, decoded: None };
    let feed = Feed {
        train: &train_set,
        val: &val,
        ids: Some(("training images", "validation images")),
        weights: None,
        stop: &stop,
        inputs: Inputs::Images(images),
    };
    train(model, &plan, &feed, options, checkpoint, epochs).unwrap()
}

fn write_images(dir: &Path) {
    for (class, level) in [("dark", 40), ("light", 200)] {
        std::fs::create_dir(dir.join(class)).unwrap();
        for i in 0..8u8 {
            let pixel =
                |x: u32, y: u32| image::Rgb([level + i, level + (x * 3) as u8 % 40, level + (y % 9) as u8]);
            let path = dir.join(class).join(format!("{i}.png"));
            image::RgbImage::from_fn(40, 48, pixel).save(path).unwrap();
        }
    }
}

pub(crate) fn short(preset: Preset, model: &Model) -> Schedule {
    let mut schedule = preset.schedule(&model.net_info(), &PresetOptions::default()).unwrap();
    schedule.phases.iter_mut().for_each(|phase| phase.epochs = 2);
    schedule
}

/// Checkpoints in `dir` as often as the disk keeps up.
pub(crate) fn often(dir: &Path) -> Option<Checkpointing> {
    Some(Checkpointing { dir: dir.to_owned(), every: std::time::Duration::ZERO })
}

pub(crate) fn store(dir: &Path) -> Option<FeatureStore> {
    Some(FeatureStore::open(dir, 1 << 30, "a test").unwrap())
}
