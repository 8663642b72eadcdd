//! The loop: `for phase { for epoch { train; evaluate; record } }`.
//!
//! The best weights so far (validation accuracy, then loss, then the earlier epoch) are kept in memory and are what
//! the model holds when the loop ends, however it ends.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::{Kind, Tensor};
use tl_backbones::{Mode, NormMode};
use tl_data::{
    Augmentation, Batch, DataPool, DecodedCache, Loader, LoaderOptions, Sample, View, balanced_order, shuffle,
};
use tl_finetune::{At, BatchNorm, OptimizerState, Plan, PlannedPhase};
use tl_torch::{Param, Role};

use crate::error::TrainError;
use crate::evaluate::{EVAL_BATCH, Scored, Tally, batch_tensor, evaluate};
use crate::frontier::{Cache, Kept, Set};
use crate::loss::{Loss, Shown};
use crate::metrics::Scores;
use crate::model::Model;
use crate::optimizer::{Optimizer, Target};

/// The images of a run, and the flag that stops it.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// What the net learns from.
    pub train: &'a Arc<[Sample]>,
    /// What it is judged on after every epoch.
    pub val: &'a Arc<[Sample]>,
    /// Threads that decode.
    pub pool: &'a DataPool,
    /// What happens to training images in phases that augment.
    pub augmentation: &'a Augmentation,
    /// The short side to which images are shrunk before they are augmented, see [`LoaderOptions::shrink`].
    pub shrink: Option<u32>,
    /// Where decoded images are kept from one epoch to the next in phases that augment.
    pub decoded: Option<&'a DecodedCache>,
    /// How much each training image counts in the loss, in the order of `train`; all the same where there is none.
    pub weights: Option<&'a Arc<[f32]>>,
    /// Set from outside to end the run after the current step.
    pub stop: &'a AtomicBool,
}

/// The numbers of a run that are not part of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Everything random is derived from it.
    pub seed: u64,
    /// Training images in a step.
    pub batch: usize,
    /// Weight moved from the right class to all classes alike (Szegedy et al. 2015, arXiv:1512.00567), `0..1`.
    pub label_smoothing: f64,
    /// Most bytes of activations held at the frontier.
    pub cache_budget: u64,
    /// How much each class counts in the loss; all the same where there is none.
    pub class_weights: Option<Vec<f32>>,
    /// Whether every epoch draws all classes alike, rare ones more often than once.
    pub balanced_sampling: bool,
}

/// Something long is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// What: `features`, or the name of the step.
    pub what: &'static str,
    /// Images done.
    pub done: usize,
    /// Images in all.
    pub of: usize,
}

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochResult {
    /// Counted over the whole run, from 1.
    pub epoch: u32,
    /// Its phase.
    pub phase: String,
    /// Counted in the phase, from 1.
    pub phase_epoch: u32,
    /// Of the training images as they were seen.
    pub train: Scores,
    /// Of the validation images.
    pub val: Scores,
    /// Rate of the head in the last step.
    pub rate_head: Option<f64>,
    /// Rate of the highest stage that trains in the last step.
    pub rate_last_stage: Option<f64>,
    /// Wall time with the evaluation.
    pub seconds: f64,
    /// Wall time of the training alone.
    pub train_seconds: f64,
    /// The part of it in which the net waited for images.
    pub wait_seconds: f64,
    /// Whether its weights are the best so far.
    pub best: bool,
}

/// Sees what happens. All methods are called from the thread that trains.
pub trait Observer {
    /// Something long goes on; called after every batch.
    fn tick(&mut self, tick: Tick);
    /// An epoch has ended.
    ///
    /// # Errors
    /// What was to be recorded could not be; the run ends.
    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// How the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All phases ran.
    Finished,
    /// The stop flag was set.
    Stopped,
    /// The loss was no longer a finite number.
    Diverged {
        /// In this phase,
        phase: String,
        /// this epoch of the run,
        epoch: u32,
        /// and this step of the epoch.
        step: usize,
    },
    /// Something failed, such as reading an image, after at least one epoch had ended.
    Failed {
        /// What.
        error: String,
    },
}

/// What the loop leaves, besides the best weights in the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// The epoch whose weights the model holds; none if no epoch ended.
    pub best: Option<EpochResult>,
    /// Epochs that ended.
    pub epochs: u32,
    /// Wall time of `features` and of each phase.
    pub seconds: Vec<(String, f64)>,
    /// Training images per second over all epochs, evaluation not counted.
    pub images_per_second: f64,
    /// The part of the training in which the net waited for images.
    pub wait_seconds: f64,
    /// Most bytes of activations that were held.
    pub cache_bytes: u64,
}

impl Images<'_> {
    pub(crate) fn samples(&self, set: Set) -> &Arc<[Sample]> {
        match set {
            Set::Train => self.train,
            Set::Val => self.val,
        }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs the plan. The model ends with its best weights.
///
/// # Errors
/// An image cannot be read, or the observer cannot record, before the first epoch has ended; later that ends the run with
/// [`Ended::Failed`] and what was best until then.
pub fn train(
    model: &Model,
    plan: &Plan,
    images: &Images<'_>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let mut run = Run::new(model, plan, images, options);
    for index in 0..plan.phases.len() {
        match run.phase(index, observer) {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(run.outcome(ended)),
            Err(error) if run.best.is_some() => {
                return Ok(run.outcome(Ended::Failed { error: error.to_string() }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(run.outcome(Ended::Finished))
}

struct Run<'a> {
    model: &'a Model,
    plan: &'a Plan,
    images: &'a Images<'a>,
    options: &'a Options,
    loss: Loss,
    cache: Cache,
    optimizer: Optimizer,
    best: Option<(EpochResult, BTreeMap<String, Tensor>)>,
    epochs: u32,
    /// What the curve of the phase watches, after each of its epochs.
    history: Vec<f64>,
    lowest_frontier: usize,
    seconds: Vec<(String, f64)>,
    cache_bytes: u64,
    trained: (usize, f64),
    wait_seconds: f64,
}

/// One batch at the frontier of its phase.
struct Step {
    xs: Tensor,
    shown: Shown,
}

impl<'a> Run<'a> {
    fn new(model: &'a Model, plan: &'a Plan, images: &'a Images<'a>, options: &'a Options) -> Self {
        let class_weights = options.class_weights.as_ref();
        let loss = Loss {
            task: model.task,
            label_smoothing: options.label_smoothing,
            class_weights: class_weights.map(|weights| Tensor::from_slice(weights).to_device(model.device)),
        };
        Self {
            model,
            plan,
            images,
            options,
            loss,
            cache: Cache::default(),
            optimizer: Optimizer::new(tl_finetune::Optimizer::ADAMW),
            best: None,
            epochs: 0,
            history: Vec::new(),
            lowest_frontier: model.stages(),
            seconds: Vec::new(),
            cache_bytes: 0,
            trained: (0, 0.0),
            wait_seconds: 0.0,
        }
    }

    fn phase(&mut self, index: usize, observer: &mut dyn Observer) -> Result<Option<Ended>, TrainError> {
        let phase = &self.plan.phases[index];
        let start = Instant::now();
        let whole = self.cache.fill(
            self.model,
            (self.plan, index),
            self.images,
            self.options.cache_budget,
            observer,
        )?;
        self.cache_bytes = self.cache_bytes.max(self.cache.bytes());
        self.add_seconds("features", start);
        if !whole {
            return Ok(Some(Ended::Stopped));
        }
        self.set_trainable(phase);
        let trains = |param: &Param| param.tensor.requires_grad();
        let kept: Vec<&str> = self.model.tensors().filter(|p| trains(p)).map(|p| p.name.as_str()).collect();
        let keep_state = phase.optimizer_state == OptimizerState::Keep;
        self.optimizer.set_rule(phase.optimizer);
        self.optimizer.retain(|name| keep_state && kept.contains(&name));
        self.lower_frontier(phase.frontier);
        let start = Instant::now();
        let mut ended = None;
        self.history.clear();
        for phase_epoch in 0..phase.epochs {
            ended = self.epoch(phase, phase_epoch, observer)?;
            if ended.is_some() {
                break;
            }
        }
        if phase.restore_best {
            self.restore_best();
        }
        self.cache.retain_below(self.lowest_frontier);
        self.add_seconds(&phase.name, start);
        Ok(ended)
    }

    fn add_seconds(&mut self, part: &str, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        match self.seconds.iter_mut().find(|(name, _)| name == part) {
            Some((_, sum)) => *sum += seconds,
            None => self.seconds.push((part.to_owned(), seconds)),
        }
    }

    /// Stages that are about to train for the first time join the best weights so far: until now they were what they
    /// were at that epoch.
    fn lower_frontier(&mut self, frontier: usize) {
        let lowest = self.lowest_frontier;
        self.lowest_frontier = lowest.min(frontier);
        if let Some((_, values)) = &mut self.best {
            let store = &self.model.backbone.store;
            for stage in &self.model.backbone.stages[self.lowest_frontier..lowest] {
                values.extend(copies(store.slice(stage.params()).iter()));
            }
        }
    }

    /// Exactly what the phase trains requires gradients.
    fn set_trainable(&self, phase: &PlannedPhase) {
        let norms = phase.batch_norm == BatchNorm::Train;
        for (param, layer) in self.model.params_by_layer() {
            let trains = match param.role {
                Role::Weight | Role::Bias | Role::Undecayed => true,
                Role::Norm => norms,
                Role::Buffer => false,
            };
            let _ = param.tensor.set_requires_grad(trains && phase.layer_rates[layer].is_some());
        }
        for param in self.model.head.store.iter() {
            let trains = phase.head_rate.is_some() && param.role != Role::Buffer;
            let _ = param.tensor.set_requires_grad(trains);
        }
    }

    fn epoch(
        &mut self,
        phase: &PlannedPhase,
        phase_epoch: u32,
        observer: &mut dyn Observer,
    ) -> Result<Option<Ended>, TrainError> {
        let start = Instant::now();
        let n = self.images.train.len();
        let steps = n.div_ceil(self.options.batch);
        let mut tally = Tally::default();
        let mut factor = 0.0;
        // Out of `self` while the batches borrow it; an epoch that does not end, ends the run.
        let mut optimizer = std::mem::replace(&mut self.optimizer, Optimizer::new(phase.optimizer));
        let waited = Cell::new(0.0);
        for (step, batch) in self.batches(phase, &waited)?.enumerate() {
            let at = At {
                step: u64::from(phase_epoch) * steps as u64 + step as u64,
                steps_per_epoch: steps as u64,
                epochs: phase.epochs,
                history: &self.history,
            };
            factor = phase.curve.factor(at);
            let batch = batch?;
            if !self.step(phase, &batch, (step, at), (&mut optimizer, &mut tally)) {
                let (phase, epoch) = (phase.name.clone(), self.epochs + 1);
                return Ok(Some(Ended::Diverged { phase, epoch, step: step + 1 }));
            }
            observer.tick(Tick { what: "training", done: tally.probabilities.len(), of: n });
            if self.images.stopped() {
                return Ok(Some(Ended::Stopped));
            }
        }
        self.optimizer = optimizer;
        let train_seconds = start.elapsed().as_secs_f64();
        let Some(val) = self.validate(phase.frontier, observer)? else { return Ok(Some(Ended::Stopped)) };
        if !val.scores.loss.is_finite() {
            let (phase, epoch) = (phase.name.clone(), self.epochs + 1);
            return Ok(Some(Ended::Diverged { phase, epoch, step: steps }));
        }
        self.epochs += 1;
        self.history.extend(phase.curve.metric().map(|metric| val.value(metric).unwrap_or(f64::NAN)));
        self.trained = (self.trained.0 + n, self.trained.1 + train_seconds);
        self.wait_seconds += waited.get();
        let mut result = EpochResult {
            epoch: self.epochs,
            phase: phase.name.clone(),
            phase_epoch: phase_epoch + 1,
            train: tally.finish(self.model.classes.len()).scores,
            val: val.scores,
            rate_head: phase.head_rate.map(|rate| rate * factor),
            rate_last_stage: phase.layer_rates.iter().rev().find_map(|rate| *rate).map(|rate| rate * factor),
            seconds: start.elapsed().as_secs_f64(),
            train_seconds,
            wait_seconds: waited.get(),
            best: false,
        };
        self.note_best(&mut result);
        observer.epoch(&result).map_err(TrainError::Observer)?;
        Ok(None)
    }

    /// The epoch's batches, in its order, at the phase's frontier. The time in which there was nothing to do but wait for
    /// the images is added up.
    fn batches<'s>(
        &'s self,
        phase: &PlannedPhase,
        waited: &'s Cell<f64>,
    ) -> Result<Box<dyn Iterator<Item = Result<Step, TrainError>> + 's>, TrainError> {
        let model = self.model;
        let samples = self.images.train;
        let (seed, epoch) = (self.options.seed, u64::from(self.epochs));
        let order = match self.options.balanced_sampling {
            true => {
                let labels: Vec<u32> = samples.iter().map(|sample| sample.label).collect();
                balanced_order(&labels, samples.len(), seed, epoch)?
            }
            false => shuffle(samples.len() as u32, seed, epoch),
        };
        let frontier = phase.frontier;
        if !phase.augment
            && let Some(kept) = self.cache.get(frontier, Set::Train)
        {
            return Ok(Box::new(self.kept_batches(kept, order).map(Ok)));
        }
        let (view, shrink) = match phase.augment {
            true => {
                (View::train(self.model.preprocess, self.images.augmentation.clone()), self.images.shrink)
            }
            false => (View::Eval(self.model.preprocess), None),
        };
        let options = LoaderOptions {
            batch: self.options.batch,
            order,
            seed,
            epoch,
            weights: self.images.weights.cloned(),
            cache: self.images.decoded.cloned(),
            shrink,
            ..LoaderOptions::default()
        };
        let mut loader = Loader::new(samples.clone(), view, options, self.images.pool)?;
        let timed = std::iter::from_fn(move || {
            let start = Instant::now();
            let batch = loader.next();
            waited.set(waited.get() + start.elapsed().as_secs_f64());
            batch
        });
        Ok(Box::new(timed.map(move |batch| {
            let batch = batch?;
            let xs = batch_tensor(&batch, model.device);
            let xs = tch::no_grad(|| model.forward(&xs, 0, frontier, |_| Mode::EVAL));
            let Batch { labels, weights, mix, .. } = batch;
            Ok(Step { xs, shown: Shown { labels, weights, mix } })
        })))
    }

    fn kept_batches(&self, kept: &Kept, order: Vec<u32>) -> impl Iterator<Item = Step> {
        let samples = self.images.train;
        let batch = self.options.batch;
        let starts = (0..order.len()).step_by(batch);
        starts.map(move |start| {
            let indices = &order[start..order.len().min(start + batch)];
            let labels = indices.iter().map(|&i| samples[i as usize].label).collect();
            let weights =
                self.images.weights.map(|weights| indices.iter().map(|&i| weights[i as usize]).collect());
            Step { xs: kept.pick(indices), shown: Shown { labels, weights, mix: None } }
        })
    }

    /// One update. Returns `false`, having changed no more than running statistics, if the loss is not finite.
    fn step(
        &self,
        phase: &PlannedPhase,
        batch: &Step,
        (step, at): (usize, At<'_>),
        (optimizer, tally): (&mut Optimizer, &mut Tally),
    ) -> bool {
        let model = self.model;
        let seed = mix(self.options.seed, u64::from(self.epochs), step as u64);
        let norm = match phase.batch_norm {
            BatchNorm::Frozen => NormMode::Frozen,
            BatchNorm::Statistics | BatchNorm::Train => NormMode::Batch,
        };
        let layers: Vec<bool> =
            model.params_by_layer().map(|(_, layer)| phase.layer_rates[layer].is_some()).collect();
        let mode = |i: usize| match layers[model.backbone.stages[i].params()].contains(&true) {
            true => Mode { norm, layers: Some(&layers), ..Mode::EVAL },
            false => Mode::EVAL,
        };
        let pooled = model.forward(&batch.xs, phase.frontier, model.stages(), mode);
        let logits = model.head.forward(&pooled, phase.head_rate.map(|_| seed.into()));
        let loss = self.loss.of(&logits, &batch.shown).mean(None::<Kind>);
        if !loss.double_value(&[]).is_finite() {
            return false;
        }
        loss.backward();
        let factor = phase.curve.factor(at);
        optimizer.step(scaled_targets(model, phase, factor), phase.curve.momentum(at));
        for param in model.tensors().filter(|param| param.tensor.requires_grad()) {
            param.tensor.shallow_clone().zero_grad();
        }
        tally.add(model.task, &logits.detach(), &batch.shown);
        true
    }

    /// `None` if it was stopped.
    fn validate(&self, frontier: usize, observer: &mut dyn Observer) -> Result<Option<Scored>, TrainError> {
        let (model, samples) = (self.model, self.images.val);
        let Some(kept) = self.cache.get(frontier, Set::Val) else {
            let mut tick = |done| observer.tick(Tick { what: "validation", done, of: samples.len() });
            let scored = evaluate(model, samples, self.images.pool, self.images.stop, &mut tick)?;
            return Ok((scored.labels.len() == samples.len()).then_some(scored));
        };
        let mut tally = Tally::default();
        let indices: Vec<u32> = (0..samples.len() as u32).collect();
        for indices in indices.chunks(EVAL_BATCH) {
            let labels: Vec<u32> = indices.iter().map(|&i| samples[i as usize].label).collect();
            tally.add(model.task, &model.logits(&kept.pick(indices), frontier), &Shown::plain(labels));
        }
        Ok(Some(tally.finish(model.classes.len())))
    }

    fn note_best(&mut self, result: &mut EpochResult) {
        let key = |result: &EpochResult| (result.val.right(), -result.val.loss);
        let better = match &self.best {
            None => true,
            Some((best, _)) => key(result) > key(best),
        };
        if better {
            result.best = true;
            self.best = Some((result.clone(), self.changeable()));
        }
    }

    /// Copies of everything that has trained in this run, running statistics included.
    fn changeable(&self) -> BTreeMap<String, Tensor> {
        let store = &self.model.backbone.store;
        let stages = self.model.backbone.stages[self.lowest_frontier..].iter();
        copies(stages.flat_map(|stage| store.slice(stage.params())).chain(self.model.head.store.iter()))
            .collect()
    }

    fn restore_best(&self) {
        let Some((_, values)) = &self.best else { return };
        for param in self.model.tensors() {
            if let Some(value) = values.get(&param.name) {
                tch::no_grad(|| param.tensor.shallow_clone().copy_(value));
            }
        }
    }

    fn outcome(self, ended: Ended) -> Outcome {
        self.restore_best();
        for param in self.model.tensors() {
            let _ = param.tensor.set_requires_grad(false);
        }
        Outcome {
            ended,
            best: self.best.map(|(result, _)| result),
            epochs: self.epochs,
            seconds: self.seconds,
            images_per_second: self.trained.0 as f64 / self.trained.1.max(f64::MIN_POSITIVE),
            wait_seconds: self.wait_seconds,
            cache_bytes: self.cache_bytes,
        }
    }
}

fn copies<'a>(params: impl Iterator<Item = &'a Param>) -> impl Iterator<Item = (String, Tensor)> {
    params.map(|param| (param.name.clone(), tch::no_grad(|| param.tensor.copy())))
}

/// What trains in a phase, with its rate at this step.
fn scaled_targets<'a>(
    model: &'a Model,
    phase: &'a PlannedPhase,
    factor: f64,
) -> impl Iterator<Item = Target<'a>> {
    let target = move |param: &'a Param, rate: f64| {
        let decays = param.role == Role::Weight;
        Target {
            name: &param.name,
            tensor: &param.tensor,
            rate: rate * factor,
            weight_decay: if decays { phase.weight_decay } else { 0.0 },
        }
    };
    let trains = |param: &Param| param.tensor.requires_grad();
    let backbone = model
        .params_by_layer()
        .filter(move |(param, _)| trains(param))
        .filter_map(move |(param, layer)| Some(target(param, phase.layer_rates[layer]?)));
    let head = phase.head_rate.into_iter().flat_map(move |rate| {
        model.head.store.iter().filter(move |param| trains(param)).map(move |param| target(param, rate))
    });
    backbone.chain(head)
}

/// A seed for one step (SplitMix64 over the three numbers).
fn mix(seed: u64, epoch: u64, step: u64) -> u64 {
    let mut hash = seed;
    for part in [epoch, step] {
        hash = hash.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}
