//! The loop: `for phase { for epoch { train; evaluate; record } }`, from its beginning or from a checkpoint.
//!
//! The decision behind it: the loop is plain code over a [`State`](state::State) that holds all it remembers, and
//! everything random is a function of (seed, epoch, batch). So a run that goes on from a checkpoint takes the same steps
//! as one that was never stopped. The best weights so far are part of that state, and are what the model holds when the
//! loop ends, however it ends.

mod average;
mod batches;
mod checkpoint;
mod lr_find;
mod parts;
mod price;
mod repeat;
mod state;
mod step;
mod validate;

use std::cell::Cell;
use std::time::Instant;

use tl_data::Augmentation;
use tl_finetune::{Metric, OptimizerState, Plan, PlannedPhase};
use tl_torch::alone;

use crate::answers;
use crate::error::TrainError;
use crate::evaluate::Scored;
use crate::feed::Feed;
use crate::frontier::{Cache, FeatureStore, Pass};
use crate::model::Model;
use batches::{Epoch, Source};
use checkpoint::{Moment, Writer};
use state::State;
use step::{Place, Rules};

pub use checkpoint::{CHECKPOINT, Checkpoint, Checkpointing};
pub use lr_find::{RateRange, Tried, lr_find, steepest};
pub(crate) use price::training_seconds;
pub use price::{PhasePrice, price};
pub use repeat::Repeat;
pub use state::{BestEpoch, Progress, Seen};

/// The numbers of a run that are not part of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Everything random is derived from it.
    pub seed: u64,
    /// Training images in a step.
    pub batch: usize,
    /// Weight moved from the right class to all classes alike (Szegedy et al. 2015, arXiv:1512.00567), `0..1`.
    pub label_smoothing: f64,
    /// How much each class counts in the loss, or the presence of each label where absence counts 1; all the same where
    /// there is none.
    pub class_weights: Option<Vec<f32>>,
    /// Gamma of the focal loss (Lin et al. 2017, arXiv:1708.02002), 0 or more; 0 is plain cross-entropy.
    pub focal: f64,
    /// Whether every epoch draws all classes alike, rare ones more often than once.
    pub balanced_sampling: bool,
    /// What the best weights are picked by.
    pub monitor: Metric,
    /// Most bytes of activations held in memory at the frontier.
    pub cache_budget: u64,
    /// Where activations are kept on disk.
    pub store: Option<FeatureStore>,
    /// Where the run can be taken up again.
    pub checkpoints: Option<Checkpointing>,
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

/// Where a training stands after a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training<'a> {
    /// Name of the phase.
    pub phase: &'a str,
    /// The epoch, counted in the phase, from 1.
    pub phase_epoch: u32,
    /// The epoch, counted over the whole run, from 1.
    pub epoch: u32,
    /// Rate of the head in this step, or of the highest stage that trains where the head does not.
    pub rate: Option<f64>,
    /// Mean loss over the images of the epoch so far.
    pub loss: f64,
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
    /// Of the training images as they were seen; [`EpochResult::train_accuracy`] says what of it is right.
    pub train: Seen,
    /// Of the validation images.
    pub val: Scored,
    /// What the run is judged by.
    pub monitor: Metric,
    /// That of the validation images; none if it cannot be said.
    pub monitored: Option<f64>,
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
    /// A batch was trained on; called before its [`Observer::tick`].
    fn training(&mut self, now: &Training<'_>) {
        let _ = now;
    }
    /// An epoch has ended.
    ///
    /// # Errors
    /// What was to be recorded could not be; the run ends.
    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
    /// Something a person should know that does not end the run.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// How the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All phases ran.
    Finished,
    /// The stop flag was set.
    Stopped,
    /// The loss was no longer a number, or so large that no step brings it down again.
    Diverged {
        /// In this phase,
        phase: String,
        /// this epoch of the run,
        epoch: u32,
        /// and this batch of the epoch.
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
    pub best: Option<BestEpoch>,
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
    /// What the weights that the model ends with say of the validation images, where that takes little: the activations of
    /// what no phase trained were kept until the end.
    pub val: Option<Scored>,
}

impl EpochResult {
    /// Fraction of the training images that was classified right as they were seen, where there are classes.
    #[must_use]
    pub fn train_accuracy(&self) -> Option<f64> {
        self.val.scores.as_ref().map(|_| self.train.accuracy())
    }
}

/// Whether the plan can run on inputs like these.
///
/// # Errors
/// A phase keeps views of images, and whole batches are mixed, which no view of one image shows; a phase augments, and there
/// are texts.
pub fn check(plan: &Plan, inputs: Option<&Augmentation>) -> Result<(), TrainError> {
    let Some(augmentation) = inputs else {
        let augments = plan.phases.iter().find(|phase| phase.augment);
        return augments
            .map_or(Ok(()), |phase| Err(TrainError::AugmentedTexts { phase: phase.name.clone() }));
    };
    let mixes = matches!(augmentation, Augmentation::Recipe(augment) if augment.mixing.is_some());
    match plan.phases.iter().find(|phase| mixes && phase.augment && phase.views > 0) {
        Some(phase) => Err(TrainError::MixedViews { phase: phase.name.clone(), views: phase.views }),
        None => Ok(()),
    }
}

/// Runs the plan, from `resume` on if that is given. The model ends with its best weights.
///
/// # Errors
/// See [`check`]; a sample has not what the model answers, or classes that do not exist are to be drawn evenly; the
/// checkpoint does not fit; an image cannot be read, or the observer cannot record, before the first
/// epoch has ended. Later that ends the run with [`Ended::Failed`] and what was best until then.
pub fn train(
    model: &Model,
    plan: &Plan,
    feed: &Feed<'_>,
    options: &Options,
    resume: Option<Checkpoint>,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    check(plan, feed.augmentation())?;
    feed.check(model)?;
    for samples in [feed.train, feed.val] {
        answers::check(model.task, samples)?;
    }
    if options.balanced_sampling {
        tl_data::class_labels(feed.train)?;
    }
    let state = match resume {
        Some(checkpoint) => checkpoint.restore(model)?,
        None => State::new(model),
    };
    let cache = Cache::new((model, plan), feed, (options.cache_budget, options.store.clone()), options.seed);
    let writer = Writer::new(options.checkpoints.clone());
    let mut run = Run { model, plan, feed, options, cache, state, writer };
    while run.state.progress.phase < plan.phases.len() {
        match run.phase(observer) {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(run.outcome(ended)),
            Err(error) if run.state.best.is_some() => {
                return Ok(run.outcome(Ended::Failed { error: error.to_string() }));
            }
            Err(error) => return Err(error),
        }
    }
    run.finished(observer)
}

struct Run<'a> {
    model: &'a Model,
    plan: &'a Plan,
    feed: &'a Feed<'a>,
    options: &'a Options,
    cache: Cache,
    state: State,
    writer: Writer,
}

impl Run<'_> {
    /// The rest of the phase at which the run stands.
    fn phase(&mut self, observer: &mut dyn Observer) -> Result<Option<Ended>, TrainError> {
        let index = self.state.progress.phase;
        let phase = &self.plan.phases[index];
        self.cache.enter(index);
        if !self.fill(index, Pass::VAL, observer)? {
            return Ok(Some(Ended::Stopped));
        }
        step::set_trainable(self.model, phase);
        if !self.state.progress.begun {
            self.begin(phase);
        }
        while !self.is_over(phase) {
            if let Some(pass) = Pass::of_epoch(phase, self.state.progress.phase_epoch)
                && !self.fill(index, pass, observer)?
            {
                return Ok(Some(Ended::Stopped));
            }
            let start = Instant::now();
            // Its steps would be alone anyway; so they need not begin to be, one by one.
            let ended = match self.is_small(phase) {
                true => alone(|| self.epoch(phase, observer)),
                false => self.epoch(phase, observer),
            }?;
            self.state.add_seconds(&phase.name, start.elapsed().as_secs_f64());
            if ended.is_some() {
                return Ok(ended);
            }
            self.checkpoint(Moment::Epoch, observer);
        }
        self.leave(phase);
        self.checkpoint(Moment::Last, observer);
        Ok(None)
    }

    fn fill(&mut self, phase: usize, pass: Pass, observer: &mut dyn Observer) -> Result<bool, TrainError> {
        let start = Instant::now();
        let whole = self.cache.fill(self.model, (phase, pass), self.feed, observer)?;
        let progress = &mut self.state.progress;
        progress.cache_bytes = progress.cache_bytes.max(self.cache.bytes());
        self.state.add_seconds("features", start.elapsed().as_secs_f64());
        Ok(whole)
    }

    /// Whether an epoch is small steps on features that are kept, and nothing else.
    fn is_small(&self, phase: &PlannedPhase) -> bool {
        let kept = |pass| self.cache.keeps(self.state.progress.phase, pass, phase.frontier);
        let of_epoch = Pass::of_epoch(phase, self.state.progress.phase_epoch);
        step::is_small(self.model, phase, self.options.batch) && of_epoch.is_some_and(kept) && kept(Pass::VAL)
    }

    /// Prepares what a phase starts with.
    fn begin(&mut self, phase: &PlannedPhase) {
        let trains = self.model.tensors().filter(|param| param.tensor.requires_grad());
        let kept: Vec<&str> = trains.map(|param| param.name.as_str()).collect();
        let keep_state = phase.optimizer_state == OptimizerState::Keep;
        self.state.optimizer.set_rule(phase.optimizer);
        self.state.optimizer.retain(|name| keep_state && kept.contains(&name));
        self.state.lower_frontier(self.model, phase.frontier);
        self.state.average = phase.ema.map(|_| average::start(self.model));
        let progress = &mut self.state.progress;
        (progress.begun, progress.averaged) = (true, 0);
        progress.curve_history.clear();
        progress.stop_history.clear();
    }

    fn is_over(&self, phase: &PlannedPhase) -> bool {
        let progress = &self.state.progress;
        let stops = phase.early_stopping.is_some_and(|stopping| {
            progress.batches == 0 && stopping.stops(self.options.monitor, &known(&progress.stop_history))
        });
        stops || progress.phase_epoch >= phase.epochs
    }

    fn leave(&mut self, phase: &PlannedPhase) {
        if phase.restore_best {
            self.state.restore_best(self.model);
        } else if let Some(values) = &self.state.average {
            state::put(self.model, values);
        }
        self.state.average = None;
        let progress = &mut self.state.progress;
        self.cache.retain_below(progress.lowest_frontier);
        (progress.phase, progress.begun, progress.phase_epoch) = (progress.phase + 1, false, 0);
    }

    fn checkpoint(&mut self, moment: Moment, observer: &mut dyn Observer) {
        if let Some(error) = self.writer.offer(self.model, &self.state, moment) {
            observer.note(&not_written(&error));
        }
    }

    /// The rest of the epoch at which the run stands.
    fn epoch(
        &mut self,
        phase: &PlannedPhase,
        observer: &mut dyn Observer,
    ) -> Result<Option<Ended>, TrainError> {
        let start = Instant::now();
        let before = self.state.progress.epoch_seconds;
        let index = self.state.progress.phase;
        let rules = Rules::new(self.model, (phase, index), self.options, self.feed.train.len());
        if let Some(ended) = self.train_epoch(&rules, start, observer)? {
            return Ok(Some(ended));
        }
        let train_seconds = before + start.elapsed().as_secs_f64();
        let diverged = |progress: &Progress| {
            let (phase, epoch) = (phase.name.clone(), progress.epochs + 1);
            Some(Ended::Diverged { phase, epoch, step: rules.batches() })
        };
        let val = average::instead(self.model, self.state.average.as_ref(), || {
            self.validate(phase.frontier, observer)
        })?;
        let Some(val) = val else {
            self.state.progress.epoch_seconds = train_seconds;
            self.checkpoint(Moment::Last, observer);
            return Ok(Some(Ended::Stopped));
        };
        if !val.loss.is_finite() {
            return Ok(diverged(&self.state.progress));
        }
        let seconds = before + start.elapsed().as_secs_f64();
        let result = self.note_epoch(&rules, val, (seconds, train_seconds));
        observer.epoch(&result).map_err(TrainError::Observer)?;
        Ok(None)
    }

    fn train_epoch(
        &mut self,
        rules: &Rules<'_>,
        start: Instant,
        observer: &mut dyn Observer,
    ) -> Result<Option<Ended>, TrainError> {
        let phase = rules.phase;
        let progress = &self.state.progress;
        let epoch =
            Epoch { of_run: progress.epochs, of_phase: progress.phase_epoch, start: progress.batches };
        let (before, waited_before) = (progress.epoch_seconds, progress.epoch_wait_seconds);
        let history = known(&progress.curve_history);
        let waited = Cell::new(0.0);
        let source = Source { model: self.model, feed: self.feed, options: self.options, cache: &self.cache };
        for batch in source.batches(phase, epoch, &waited)? {
            let batch = batch?;
            let progress = &mut self.state.progress;
            let place = Place { batch: progress.batches, phase_epoch: progress.phase_epoch };
            let seed = step::seed(self.options.seed, u64::from(progress.epochs), place.batch as u64);
            if !rules.gradients(&batch, place, seed, &mut progress.seen) {
                let (phase, epoch) = (phase.name.clone(), progress.epochs + 1);
                return Ok(Some(Ended::Diverged { phase, epoch, step: place.batch + 1 }));
            }
            progress.batches += 1;
            let done = progress.seen.images as usize;
            if rules.ends_step(place) {
                let at = rules.at(place, &history);
                rules.update(&mut self.state, phase.curve.factor(at), phase.curve.momentum(at));
            }
            observer.training(&self.standing(rules, place, &history));
            observer.tick(Tick { what: "training", done, of: self.feed.train.len() });
            let stopped = self.feed.stopped();
            if rules.ends_step(place) && (stopped || self.state.progress.batches < rules.batches()) {
                let progress = &mut self.state.progress;
                progress.epoch_seconds = before + start.elapsed().as_secs_f64();
                progress.epoch_wait_seconds = waited_before + waited.get();
                let moment = if stopped { Moment::Last } else { Moment::Step };
                if let Some(error) = self.writer.offer(self.model, &self.state, moment) {
                    observer.note(&not_written(&error));
                }
            }
            if stopped {
                return Ok(Some(Ended::Stopped));
            }
        }
        self.state.progress.epoch_wait_seconds = waited_before + waited.get();
        Ok(None)
    }

    fn standing<'r>(&self, rules: &Rules<'r>, place: Place, history: &[f64]) -> Training<'r> {
        let (phase, progress) = (rules.phase, &self.state.progress);
        let highest = phase.layer_rates.iter().rev().find_map(|rate| *rate);
        let factor = phase.curve.factor(rules.at(place, history));
        Training {
            phase: &phase.name,
            phase_epoch: progress.phase_epoch + 1,
            epoch: progress.epochs + 1,
            rate: phase.head_rate.or(highest).map(|rate| rate * factor),
            loss: progress.seen.loss(),
        }
    }

    /// Counts an epoch that has ended.
    fn note_epoch(
        &mut self,
        rules: &Rules<'_>,
        val: Scored,
        (seconds, train_seconds): (f64, f64),
    ) -> EpochResult {
        let phase = rules.phase;
        let history = known(&self.state.progress.curve_history);
        let last = Place { batch: rules.batches() - 1, phase_epoch: self.state.progress.phase_epoch };
        let factor = phase.curve.factor(rules.at(last, &history));
        let progress = &mut self.state.progress;
        progress.epochs += 1;
        progress.phase_epoch += 1;
        let (train, wait_seconds) = (progress.seen, progress.epoch_wait_seconds);
        (progress.batches, progress.seen) = (0, Seen::default());
        (progress.epoch_seconds, progress.epoch_wait_seconds) = (0.0, 0.0);
        progress.trained.0 += train.images as usize;
        progress.trained.1 += train_seconds;
        progress.wait_seconds += wait_seconds;
        let monitor = self.options.monitor;
        progress.curve_history.extend(phase.curve.metric().map(|metric| val.value(metric)));
        let watched = phase.early_stopping.map(|stopping| stopping.metric.unwrap_or(monitor));
        progress.stop_history.extend(watched.map(|metric| val.value(metric)));
        let monitored = val.value(monitor);
        let candidate = BestEpoch {
            epoch: progress.epochs,
            phase: phase.name.clone(),
            metric: monitor,
            value: monitored,
            loss: val.loss,
            accuracy: val.value(Metric::Accuracy),
        };
        let best = candidate.beats(progress.best.as_ref());
        let (epoch, phase_epoch) = (progress.epochs, progress.phase_epoch);
        if best {
            progress.best = Some(candidate);
            let state = &self.state;
            let average = state.average.as_ref();
            self.state.best = Some(average::instead(self.model, average, || state.changed(self.model)));
        }
        EpochResult {
            epoch,
            phase: phase.name.clone(),
            phase_epoch,
            train,
            val,
            monitor,
            monitored,
            rate_head: phase.head_rate.map(|rate| rate * factor),
            rate_last_stage: phase.layer_rates.iter().rev().find_map(|rate| *rate).map(|rate| rate * factor),
            seconds,
            train_seconds,
            wait_seconds,
            best,
        }
    }

    fn outcome(mut self, ended: Ended) -> Outcome {
        // Steps after the last checkpoint are taken again when the run goes on.
        self.writer.join();
        self.state.restore_best(self.model);
        for param in self.model.tensors() {
            let _ = param.tensor.set_requires_grad(false);
        }
        let progress = self.state.progress;
        Outcome {
            ended,
            best: progress.best,
            epochs: progress.epochs,
            seconds: progress.seconds,
            images_per_second: progress.trained.0 as f64 / progress.trained.1.max(f64::MIN_POSITIVE),
            wait_seconds: progress.wait_seconds,
            cache_bytes: progress.cache_bytes,
            val: None,
        }
    }
}

fn not_written(error: &TrainError) -> String {
    format!("the last checkpoint could not be written, the run goes on: {error}")
}

/// A history as curves and stopping read it: what could not be said is not a number.
fn known(history: &[Option<f64>]) -> Vec<f64> {
    history.iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}
