//! Steps of the trainer against plain PyTorch: losses, every gradient, every parameter and running statistic, made by
//! `tests/golden/make_step.py` at the top of the project, which says what the cases are.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, find};
use tl_data::{Augment, DataPool, Dataset, Preprocess, Sample, SplitOptions};
use tl_finetune::{BatchNorm, Curve, Decay, DecayBy, Optimizer, PartRate, Phase, Schedule};
use tl_heads::Task;
use tl_torch::{Fill, ParamStore, Role};
use tl_train::{EpochResult, Feed, Images, Inputs, Model, NewHead, Observer, Options, Tick, train};

const SIZE: u32 = 64;
const IMAGES: u32 = 8;
const CLASSES: u32 = 3;

/// How far a tensor may be from where PyTorch has it, in float64: as a fraction of the way that it has come, which is
/// the stricter by far, and of the tensor itself.
struct Tolerance {
    of_change: f64,
    of_value: f64,
    /// Relative.
    of_loss: f64,
}

/// With running statistics float32 is as good as float64.
const FROZEN: Tolerance = Tolerance { of_change: 1e-5, of_value: 1e-6, of_loss: 1e-6 };
/// Statistics of a few images, and steps that adapt to gradients, carry rounding further: PyTorch's own float32 is as far
/// from its float64.
const MOVING: Tolerance = Tolerance { of_change: 1e-3, of_value: 1e-4, of_loss: 1e-4 };
/// A sum of float32 is rounded at every step, however short the step is. As a fraction of the tensor.
const ROUNDING: f64 = 2e-7;
/// The most that a tensor may move, in root mean square, whose gradient is 0 but for rounding.
const STILL: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    /// By name, and then by case: after the first step and after the last the root mean square of how much the tensor
    /// has moved, and two projections of that as fractions of it; nothing where the tensor is frozen.
    tensors: BTreeMap<String, Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Of every step, without label smoothing.
    losses: Vec<f64>,
}

/// Copies of all tensors after each epoch, which is one step.
struct Steps<'a> {
    model: &'a Model,
    losses: Vec<f64>,
    after: Vec<Vec<Tensor>>,
}

impl Observer for Steps<'_> {
    fn tick(&mut self, _: Tick) {}

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.losses.push(result.train.loss());
        self.after.push(copies(self.model));
        Ok(())
    }
}

fn copies(model: &Model) -> Vec<Tensor> {
    model.tensors().map(|param| param.tensor.detach().copy()).collect()
}

/// The case of that name in the script, as a schedule.
fn schedule(name: &str) -> (Schedule, usize) {
    let (kind, rest) = name.split_once(", ").unwrap();
    let batch_norm = match rest {
        "batch-norm frozen" | "clipped sum of batches" => BatchNorm::Frozen,
        _ => BatchNorm::Train,
    };
    let (optimizer, weight_decay, rate) = match (kind, batch_norm) {
        ("gradient", _) => (Optimizer::Sgd { momentum: 0.0, nesterov: false }, 0.0, 1.0),
        ("sgd", BatchNorm::Frozen) => (Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.05, 0.5),
        ("sgd", _) => (Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.05, 0.05),
        _ => (Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-3 }, 0.5, 0.002),
    };
    let gradient = kind == "gradient";
    let decay = (!gradient).then_some(Decay { factor: 0.8, by: DecayBy::Stage });
    let part = if rest == "upper stages" { "stage5.." } else { "all" };
    let stages = PartRate { part: part.to_owned(), rate: if gradient { rate } else { rate / 2.0 }, decay };
    let clipped = rest == "clipped sum of batches";
    let phase = Phase {
        optimizer,
        weight_decay,
        batch_norm,
        curve: Curve::Constant {},
        clip_norm: clipped.then_some(0.05),
        accumulate: if clipped { 2 } else { 1 },
        restore_best: false,
        ..Phase::new("steps", vec![stages, PartRate::new("head", rate)], if gradient { 1 } else { 3 })
    };
    (Schedule { phases: vec![phase] }, if clipped { 5 } else { IMAGES as usize })
}

/// `sin(phase + 0.7 (i² mod 7919))`, the phase from the bytes of the name.
fn wave(name: &str, n: usize) -> Vec<f64> {
    let table = sines(name, 0.7, 7919);
    (0..n).map(|i| table[i * i % 7919]).collect()
}

/// `sin(phase + 1.1 (i³ mod 7907))`.
fn direction(name: &str, n: usize) -> Vec<f64> {
    let table = sines(name, 1.1, 7907);
    (0..n).map(|i| table[i * i * i % 7907]).collect()
}

fn sines(name: &str, step: f64, n: u32) -> Vec<f64> {
    let phase: u64 = name.bytes().enumerate().map(|(i, b)| (i as u64 + 1) * u64::from(b)).sum();
    (0..n).map(|i| ((phase % 997) as f64 + step * f64::from(i)).sin()).collect()
}

/// Gives every tensor its formula's values.
fn fill(store: &ParamStore) {
    for param in store.iter() {
        let (name, shape) = (param.name.as_str(), param.tensor.size());
        let fan_in: i64 = shape[1..].iter().product();
        let (offset, scale) = match name.rsplit('.').next().unwrap() {
            "running_var" => (1.0, 0.2),
            "running_mean" | "bias" => (0.0, 0.1),
            _ if shape.len() == 1 => (1.0, 0.1),
            _ => (0.0, (4.0 / fan_in as f64).sqrt()),
        };
        let values: Vec<f32> =
            wave(name, param.tensor.numel()).iter().map(|w| (offset + scale * w) as f32).collect();
        store.set(name, &Tensor::from_slice(&values).view(&shape[..])).unwrap();
    }
}

/// The images of the script, of the very size of the input, so that they reach the net as they are.
fn write_images(dir: &Path) {
    for i in 0..IMAGES {
        let class = dir.join(format!("class{}", i % CLASSES));
        std::fs::create_dir_all(&class).unwrap();
        let level = |x: u32, y: u32, c: u32| (((i + 2) * x + 2 * (c + 3) * y + 50 * i + 80 * c) % 256) as u8;
        let image =
            image::RgbImage::from_fn(SIZE, SIZE, |x, y| image::Rgb([0, 1, 2].map(|c| level(x, y, c))));
        image.save(class.join(format!("{i}.png"))).unwrap();
    }
}

fn model() -> Model {
    let backbone = Backbone::new(find("efficientnet-b0").unwrap(), Device::Cpu, Fill::Later).unwrap();
    let task = Task::Softmax { classes: i64::from(CLASSES) };
    let head = NewHead { spec: "gap".parse().unwrap(), task, dropout: 0.0, fill: Fill::Later };
    let classes = (0..CLASSES).map(|i| format!("class{i}")).collect();
    let preprocess = Preprocess { resize: SIZE, ..Preprocess::imagenet(SIZE) };
    let model = Model::new(backbone, head, classes, preprocess, Device::Cpu).unwrap();
    fill(&model.backbone.store);
    fill(&model.head.store);
    model
}

/// Root mean square, and two projections.
fn moved(name: &str, change: &Tensor) -> [f64; 3] {
    let flat: Vec<f64> = Vec::try_from(change.contiguous().view([-1]).to_kind(Kind::Double)).unwrap();
    let n = flat.len() as f64;
    let along = |direction: Vec<f64>| flat.iter().zip(direction).map(|(a, b)| a * b).sum::<f64>();
    let project = |k: u32| along(direction(&format!("{name} {k}"), flat.len())) / n.sqrt();
    [(along(flat.clone()) / n).sqrt(), project(1), project(2)]
}

/// Runs the case, and gives the losses and the tensors after each step.
fn steps(model: &Model, name: &str, samples: &Arc<[Sample]>) -> (Vec<f64>, Vec<Vec<Tensor>>) {
    let (schedule, batch) = schedule(name);
    let plan = schedule.plan(&model.net_info(), model.head.store.count()).unwrap();
    let (pool, stop) = (DataPool::new(1).unwrap(), AtomicBool::new(false));
    let augmentation = Augment::basic().into();
    let images = Images { pool: &pool, augmentation: &augmentation, shrink: None, decoded: None };
    let feed = Feed {
        train: samples,
        val: samples,
        ids: None,
        weights: None,
        stop: &stop,
        inputs: Inputs::Images(images),
    };
    let options = Options { batch, label_smoothing: 0.1, ..common::options(1 << 30) };
    let mut steps = Steps { model, losses: Vec::new(), after: Vec::new() };
    train(model, &plan, &feed, &options, None, &mut steps).unwrap();
    (steps.losses, steps.after)
}

#[test]
fn steps_of_training_equal_those_of_torch() {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path());
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    let samples: Arc<[_]> = folder.train.into_iter().chain(folder.val).collect();
    assert_eq!(samples.len(), IMAGES as usize);
    let golden: Golden = serde_json::from_str(include_str!("data/step.json")).unwrap();
    assert_eq!(golden.cases.len(), 8);
    for (index, Case { name, losses }) in golden.cases.iter().enumerate() {
        let model = model();
        let before = copies(&model);
        assert_eq!(model.tensors().count(), golden.tensors.len());
        let (got_losses, after) = steps(&model, name, &samples);
        let tolerance =
            if name.contains("batch-norm frozen") || name.contains("sum") { FROZEN } else { MOVING };
        assert_eq!(got_losses.len(), losses.len(), "{name}");
        for (got, expected) in got_losses.iter().zip(losses) {
            assert!((got / expected - 1.0).abs() < tolerance.of_loss, "{name}: losses {got_losses:?}");
        }
        for (i, param) in model.tensors().enumerate() {
            let numbers = &golden.tensors[&param.name][index];
            let place = format!("{name}, {}", param.name);
            assert!(!numbers.is_empty() || before[i].equal(&after[after.len() - 1][i]), "{place}: is frozen");
            let value = moved(&param.name, &before[i])[0];
            for (expected, after) in numbers.chunks(3).zip([&after[0], &after[after.len() - 1]]) {
                // A step at a rate of 1 is the gradient, the other way.
                let is_gradient = name.starts_with("gradient") && param.role != Role::Buffer;
                let change = if is_gradient { &before[i] - &after[i] } else { &after[i] - &before[i] };
                let got = moved(&param.name, &change);
                let rms = expected[0];
                if rms == 0.0 {
                    assert!(got[0] < STILL, "{place}: {got:?}");
                    continue;
                }
                let differences = [got[0] - rms, got[1] - expected[1] * rms, got[2] - expected[2] * rms];
                let difference = differences.iter().fold(0.0_f64, |most, d| most.max(d.abs()));
                let allowed = tolerance.of_change * rms + ROUNDING * value;
                assert!(difference < allowed, "{place}: {got:?} and {expected:?}");
                let of_value = if is_gradient { f64::INFINITY } else { tolerance.of_value };
                assert!(difference < of_value * value, "{place}: {difference:e} of {value:e}");
            }
        }
    }
}
