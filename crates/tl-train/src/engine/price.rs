//! What a plan will cost, from a few batches of random numbers and a few real inputs: nothing is trained.
//!
//! The decision behind it: measured, not estimated from multiply-accumulates, because what a net does a second differs
//! by a factor of ten between nets of the same count. The last bits of the numbers do not matter here, so the inputs need
//! not be images; of texts they have the lengths of a typical batch.

use std::time::Instant;

use tch::{Device, Kind, Tensor};
use tl_data::{Loader, LoaderOptions, View};
use tl_finetune::{Plan, PlannedPhase};

use super::Options;
use super::batches::Step;
use super::state::{Seen, copies, put};
use super::step::{self, Place, Rules};
use crate::answers::{self, Answers};
use crate::error::TrainError;
use crate::evaluate::EVAL_BATCH;
use crate::feed::{self, Feed, Images, Inputs};
use crate::frontier::{self, Cache, Pass, Set};
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
    feed: &Feed<'_>,
    options: &Options,
) -> Result<Vec<PhasePrice>, TrainError> {
    feed.check(model)?;
    answers::check(model.task, feed.train)?;
    let cache = Cache::new((model, plan), feed, (options.cache_budget, options.store.clone()), options.seed);
    let rates = match &feed.inputs {
        Inputs::Images(images) => Rates {
            augment: loading(model, (feed, images), true)?,
            decode: loading(model, (feed, images), false)?,
        },
        // They are tokens already.
        Inputs::Texts(_) => Rates { augment: 0.0, decode: 0.0 },
    };
    let forward = |from, to, in_all| forward(model, feed, (from, to), in_all);
    let (train, val) = (feed.train.len() as f64, feed.val.len() as f64);
    let mut prices = Vec::new();
    for (index, phase) in plan.phases.iter().enumerate() {
        let in_all = cache.samples();
        let prefix = forward(0, phase.frontier, in_all)?;
        let above = forward(phase.frontier, model.stages(), 0)?;
        let step = training_seconds(model, (phase, index), options, feed, options.batch)?;
        let passes = cache.new_passes(index);
        let mut features = 0.0;
        for (pass, top) in &passes {
            let loading = if pass.view.is_some() { rates.augment } else { rates.decode };
            features += feed.samples(pass.set).len() as f64 * loading.max(forward(0, *top, in_all)?);
        }
        let kept_val = cache.keeps(index, Pass::VAL, phase.frontier);
        let kept_train =
            Pass::of_epoch(phase, 0).is_some_and(|pass| cache.keeps(index, pass, phase.frontier));
        let loading = if phase.augment { rates.augment } else { rates.decode };
        let of_train = if kept_train { step } else { loading.max(prefix + step) };
        let of_val = if kept_val { above } else { rates.decode.max(prefix + above) };
        let epoch = train * of_train + val * of_val;
        let total = features + epoch * f64::from(phase.epochs);
        prices.push(PhasePrice { features, epoch, total, kept: cache.planned_bytes(index, model, feed) });
    }
    Ok(prices)
}

/// Seconds to load one image.
fn loading(
    model: &Model,
    (feed, images): (&Feed<'_>, &Images<'_>),
    augmented: bool,
) -> Result<f64, TrainError> {
    const ENOUGH: usize = 48;
    let n = feed.train.len().min(ENOUGH);
    let mut options = LoaderOptions::in_order(n, EVAL_BATCH);
    let view = match augmented {
        true => {
            options.shrink = images.shrink;
            View::train(model.preprocess()?, images.augmentation.clone())
        }
        false => View::Eval(model.preprocess()?),
    };
    let start = Instant::now();
    for batch in Loader::new(feed.train.clone(), view, options, images.pool)? {
        batch?;
    }
    Ok(start.elapsed().as_secs_f64() / n.max(1) as f64)
}

/// A batch of about `n` samples at a level, as the trainer would have it there: random numbers, and of texts the tokens or
/// the lengths of typical ones. The third says which samples they are.
pub(crate) fn like_real(
    model: &Model,
    feed: &Feed<'_>,
    level: usize,
    n: usize,
) -> Result<(Tensor, Option<Tensor>, Vec<u32>), TrainError> {
    let texts = feed.texts(Set::Train).map(|encoded| (encoded, feed::typical(encoded, n)));
    let places = match &texts {
        Some((_, places)) => places.clone(),
        None => (0..n.min(feed.train.len()) as u32).collect(),
    };
    let row = frontier::shape(model, level);
    let (mut shape, mut mask) = (vec![if texts.is_some() { places.len() } else { n } as i64], None);
    if let Some((encoded, places)) = texts.as_ref().filter(|_| model.has_tokens(level)) {
        let input = feed::text_tensor(encoded, places, model.device)?;
        if level == 0 {
            return Ok((input.xs, input.mask, places.clone()));
        }
        shape.push(input.xs.size()[1]);
        mask = input.mask;
    }
    shape.extend(row);
    // Zeros would take shortcuts that real numbers do not.
    let values = tl_torch::uniform(1, "price", shape.iter().product::<i64>() as usize, 1.0);
    let xs = Tensor::from_slice(&values).view(&shape[..]).to_device(model.device);
    Ok((tl_torch::channels_last(&xs), mask, places))
}

/// Seconds for one sample from one level to another, without gradients.
fn forward(
    model: &Model,
    feed: &Feed<'_>,
    (from, to): (usize, usize),
    samples: usize,
) -> Result<f64, TrainError> {
    if from == to && to == 0 {
        return Ok(0.0);
    }
    let (xs, mask, _) = like_real(model, feed, from, feed.eval_batch())?;
    let runner = model.runner(from..to, feed.eval_batch(), samples);
    let once = || {
        // What cannot be computed has no price; the run will say what is wrong with it.
        let Ok(pooled) = runner.run_masked(&xs, mask.as_ref()) else { return };
        // Waits until it is computed.
        let _ = pooled.sum(Kind::Float).double_value(&[]);
    };
    Ok(fastest(once) / xs.size()[0].max(1) as f64)
}

/// Seconds for one sample of a training step from the frontier up, in batches of `batch`, without the update.
pub(crate) fn training_seconds(
    model: &Model,
    (phase, index): (&PlannedPhase, usize),
    options: &Options,
    feed: &Feed<'_>,
    batch: usize,
) -> Result<f64, TrainError> {
    let before = copies(model.tensors());
    let rules = Rules::new(model, (phase, index), options, feed.train.len());
    step::set_trainable(model, phase);
    let n = batch.min(feed.train.len());
    let (xs, mask, places) = like_real(model, feed, phase.frontier, n)?;
    let answers = Answers::of(model.task, places.iter().map(|&place| &feed.train[place as usize]));
    let words = feed.texts(Set::Train).and_then(|encoded| model.words(encoded, &places));
    let batch = Step { xs, mask, shown: Shown { words, ..Shown::plain(answers) } };
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
    Ok(seconds / n.max(1) as f64)
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
