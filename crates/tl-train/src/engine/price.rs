//! What a plan will cost, from a few batches of random numbers and a few real images: nothing is trained.
//!
//! The decision behind it: measured, not estimated from multiply-accumulates, because what a net does a second differs
//! by a factor of ten between nets of the same count. The last bits of the numbers do not matter here, so the inputs need
//! not be images.

use std::time::Instant;

use tch::{Device, Kind, Tensor};
use tl_data::{Loader, LoaderOptions, View};
use tl_finetune::{Plan, PlannedPhase};

use super::batches::Step;
use super::state::{Seen, copies, put};
use super::step::{self, Place, Rules};
use super::{Images, Options};
use crate::answers::{self, Answers};
use crate::error::TrainError;
use crate::evaluate::EVAL_BATCH;
use crate::frontier::{self, Cache, Pass};
use crate::loss::Shown;
use crate::model::Model;

/// What a phase will cost.
#[derive(Clone, Debug, PartialEq)]
pub struct PhasePrice {
    /// Seconds for the activations that this phase is the first to need.
    pub features: f64,
    /// Seconds of an epoch with its validation.
    pub epoch: f64,
    /// Seconds in all, with every epoch that it may have.
    pub total: f64,
    /// Bytes of activations kept while it runs, in memory and on disk.
    pub kept: u64,
}

/// Measured seconds for one image.
struct Rates {
    /// Decoding and preparing, augmented and not.
    augment: f64,
    decode: f64,
}

/// Prices every phase. Takes a few seconds, and the model is as before.
///
/// # Errors
/// A sample has not what the model answers, or an image cannot be read.
pub fn price(
    model: &Model,
    plan: &Plan,
    images: &Images<'_>,
    options: &Options,
) -> Result<Vec<PhasePrice>, TrainError> {
    answers::check(model.task, images.train)?;
    let cache =
        Cache::new((model, plan), images, (options.cache_budget, options.store.clone()), options.seed);
    let rates = Rates { augment: loading(model, images, true)?, decode: loading(model, images, false)? };
    let (train, val) = (images.train.len() as f64, images.val.len() as f64);
    let mut prices = Vec::new();
    for (index, phase) in plan.phases.iter().enumerate() {
        let in_all = cache.images();
        let prefix = forward(model, 0, phase.frontier, in_all);
        let above = forward(model, phase.frontier, model.stages(), 0);
        let step = training_seconds(model, (phase, index), options, images, options.batch);
        let passes = cache.new_passes(index);
        let features = passes.iter().fold(0.0, |sum, (pass, top)| {
            let loading = if pass.view.is_some() { rates.augment } else { rates.decode };
            sum + images.samples(pass.set).len() as f64 * loading.max(forward(model, 0, *top, in_all))
        });
        let kept_val = cache.keeps(index, Pass::VAL, phase.frontier);
        let kept_train =
            Pass::of_epoch(phase, 0).is_some_and(|pass| cache.keeps(index, pass, phase.frontier));
        let loading = if phase.augment { rates.augment } else { rates.decode };
        let of_train = if kept_train { step } else { loading.max(prefix + step) };
        let of_val = if kept_val { above } else { rates.decode.max(prefix + above) };
        let epoch = train * of_train + val * of_val;
        let total = features + epoch * f64::from(phase.epochs);
        prices.push(PhasePrice { features, epoch, total, kept: cache.planned_bytes(index, model, images) });
    }
    Ok(prices)
}

/// Seconds to load one image.
fn loading(model: &Model, images: &Images<'_>, augmented: bool) -> Result<f64, TrainError> {
    const ENOUGH: usize = 48;
    let n = images.train.len().min(ENOUGH);
    let mut options = LoaderOptions::in_order(n, EVAL_BATCH);
    let view = match augmented {
        true => {
            options.shrink = images.shrink;
            View::train(model.preprocess, images.augmentation.clone())
        }
        false => View::Eval(model.preprocess),
    };
    let start = Instant::now();
    for batch in Loader::new(images.train.clone(), view, options, images.pool)? {
        batch?;
    }
    Ok(start.elapsed().as_secs_f64() / n.max(1) as f64)
}

fn random(model: &Model, level: usize, n: usize) -> Tensor {
    let shape: Vec<i64> = std::iter::once(n as i64).chain(frontier::shape(model, level)).collect();
    // Zeros would take shortcuts that real numbers do not.
    let values = tl_torch::uniform(1, "price", shape.iter().product::<i64>() as usize, 1.0);
    let xs = Tensor::from_slice(&values).view(&shape[..]).to_device(model.device);
    tl_torch::channels_last(&xs)
}

/// Seconds for one image from one level to another, without gradients.
fn forward(model: &Model, from: usize, to: usize, images: usize) -> f64 {
    if from == to && to == 0 {
        return 0.0;
    }
    let xs = random(model, from, EVAL_BATCH);
    let runner = model.runner(from..to, EVAL_BATCH, images);
    let once = || {
        // What cannot be computed has no price; the run will say what is wrong with it.
        let Ok(pooled) = runner.run(&xs) else { return };
        // Waits until it is computed.
        let _ = pooled.sum(Kind::Float).double_value(&[]);
    };
    fastest(once) / EVAL_BATCH as f64
}

/// Seconds for one image of a training step from the frontier up, in batches of `batch`, without the update.
pub(crate) fn training_seconds(
    model: &Model,
    (phase, index): (&PlannedPhase, usize),
    options: &Options,
    images: &Images<'_>,
    batch: usize,
) -> f64 {
    let before = copies(model.tensors());
    let rules = Rules::new(model, (phase, index), options, images.train.len());
    step::set_trainable(model, phase);
    let n = batch.min(images.train.len());
    let answers = Answers::of(model.task, images.train[..n].iter());
    let batch = Step { xs: random(model, phase.frontier, n), shown: Shown::plain(answers) };
    let seconds = fastest(|| {
        rules.gradients(&batch, Place { batch: 0, phase_epoch: 0 }, 1, &mut Seen::default());
        rules.forget_gradients();
        if let Device::Cuda(number) = model.device {
            // A GPU says when it is done only if it is asked.
            tch::Cuda::synchronize(number as i64);
        }
    });
    for param in model.tensors() {
        let _ = param.tensor.set_requires_grad(false);
    }
    // Running statistics may have moved.
    put(model, &before);
    seconds / n.max(1) as f64
}

/// Of up to three times, since the first pays for what is set up once; of fewer where that hardly matters.
fn fastest(mut work: impl FnMut()) -> f64 {
    const ENOUGH: f64 = 1.0;
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    for _ in 0..3 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
        if begun.elapsed().as_secs_f64() > ENOUGH {
            break;
        }
    }
    best
}
