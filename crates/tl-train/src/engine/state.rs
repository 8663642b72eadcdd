//! Everything that the loop remembers from one step to the next.
//!
//! The decision behind it: what is not in here is a function of the spec and of the position, so that a run goes on from
//! a copy of this as if nothing had happened. Numbers are in [`Progress`], which has a form as JSON; the rest is tensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tl_finetune::Metric;
use tl_torch::Role;

use crate::model::Model;
use crate::optimizer::Optimizer;

/// The position of a run and what it has come to so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase.
    pub phase: usize,
    /// Whether it has begun.
    pub begun: bool,
    /// Finished epochs of the phase.
    pub phase_epoch: u32,
    /// Batches done in the current epoch.
    pub batches: usize,
    /// Finished epochs of the run.
    pub epochs: u32,
    /// What the current epoch has seen.
    pub(crate) seen: Seen,
    /// What the curve of the phase watches, after each of its epochs; none where it could not be said.
    pub(crate) curve_history: Vec<Option<f64>>,
    /// What its early stopping watches.
    pub(crate) stop_history: Vec<Option<f64>>,
    /// The best epoch.
    pub best: Option<BestEpoch>,
    /// The lowest stage that has trained.
    pub(crate) lowest_frontier: usize,
    /// Steps that the moving average has followed in this phase.
    pub(crate) averaged: u64,
    /// Steps of the optimizer by parameter.
    pub(crate) optimizer_steps: BTreeMap<String, u64>,
    /// Wall time by part.
    pub(crate) seconds: Vec<(String, f64)>,
    /// Wall time in the current epoch.
    pub(crate) epoch_seconds: f64,
    /// Wall time in which the current epoch waited for images.
    pub(crate) epoch_wait_seconds: f64,
    /// Images trained on in finished epochs, and the time of that.
    pub(crate) trained: (usize, f64),
    pub(crate) wait_seconds: f64,
    pub(crate) cache_bytes: u64,
}

/// Sums over the training images as they were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Of their losses, without weights and label smoothing.
    pub loss_sum: f64,
    /// How many were classified right; of a mixed image the label of the larger part counts. 0 where there are no classes.
    pub right: u64,
    /// How many there were.
    pub images: u64,
}

/// An epoch whose weights were the best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// Counted over the whole run, from 1.
    pub epoch: u32,
    /// Its phase.
    pub phase: String,
    /// What the run is judged by.
    pub metric: Metric,
    /// That metric of the validation images.
    pub value: Option<f64>,
    /// Their mean loss.
    pub loss: f64,
    /// Fraction of them classified right, where there are classes.
    pub accuracy: Option<f64>,
}

impl Seen {
    /// Mean loss.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.images.max(1) as f64
    }

    /// Fraction classified right, where there are classes.
    pub(crate) fn accuracy(&self) -> f64 {
        self.right as f64 / self.images.max(1) as f64
    }
}

impl BestEpoch {
    /// Whether this is better than the best so far: by its metric, then by its loss.
    pub(crate) fn beats(&self, best: Option<&Self>) -> bool {
        let Some(best) = best else { return true };
        let better = |value, than: Option<f64>| self.metric.improves(value, than, 0.0);
        match (self.value, best.value) {
            (Some(value), Some(than)) if value == than => self.loss < best.loss,
            (Some(value), than) => better(value, than),
            (None, Some(_)) => false,
            (None, None) => self.loss < best.loss,
        }
    }
}

/// Values of tensors, by their names.
pub(crate) type Values = BTreeMap<String, Tensor>;

/// All that a run remembers.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) progress: Progress,
    pub(crate) optimizer: Optimizer,
    /// The best weights of all that has trained so far, running statistics included.
    pub(crate) best: Option<Values>,
    /// The moving average of what trains, in a phase that has one.
    pub(crate) average: Option<Values>,
}

impl State {
    /// Before the first step.
    pub(crate) fn new(model: &Model) -> Self {
        let progress = Progress { lowest_frontier: model.stages(), ..Progress::default() };
        let optimizer = Optimizer::new(tl_finetune::Optimizer::ADAMW);
        Self { progress, optimizer, best: None, average: None }
    }

    pub(crate) fn add_seconds(&mut self, part: &str, seconds: f64) {
        match self.progress.seconds.iter_mut().find(|(name, _)| name == part) {
            Some((_, sum)) => *sum += seconds,
            None => self.progress.seconds.push((part.to_owned(), seconds)),
        }
    }

    /// Copies of everything that has trained in this run, running statistics included.
    pub(crate) fn changed(&self, model: &Model) -> Values {
        copies(from_stage(model, self.progress.lowest_frontier))
    }

    /// Stages that are about to train for the first time join the best weights so far: until now they were what they
    /// were at that epoch.
    pub(crate) fn lower_frontier(&mut self, model: &Model, frontier: usize) {
        let lowest = self.progress.lowest_frontier;
        self.progress.lowest_frontier = lowest.min(frontier);
        if let Some(values) = &mut self.best {
            let store = &model.backbone.store;
            for stage in &model.backbone.stages[self.progress.lowest_frontier..lowest] {
                values.extend(copies(store.slice(stage.params()).iter().filter(|param| changes(param))));
            }
        }
    }

    pub(crate) fn restore_best(&self, model: &Model) {
        if let Some(values) = &self.best {
            put(model, values);
        }
    }
}

/// What a run can change. A weight beside which an adapter trains comes from its file again.
fn changes(param: &tl_torch::Param) -> bool {
    param.role != Role::Fixed
}

/// The tensors of the stages from `first` on that can change, and of the head. What stands between them belongs to the
/// last stage.
pub(crate) fn from_stage(model: &Model, first: usize) -> impl Iterator<Item = &tl_torch::Param> {
    let store = &model.backbone.store;
    let stages = model.backbone.stages[first..].iter();
    let of_net = stages.flat_map(|stage| store.slice(stage.params())).filter(|param| changes(param));
    of_net.chain(model.head.store.iter())
}

/// Copies of tensors.
pub(crate) fn copies<'a>(params: impl Iterator<Item = &'a tl_torch::Param>) -> Values {
    params.map(|param| (param.name.clone(), tch::no_grad(|| param.tensor.copy()))).collect()
}

/// Overwrites the model's tensors of these names.
pub(crate) fn put(model: &Model, values: &Values) {
    for param in model.tensors() {
        if let Some(value) = values.get(&param.name) {
            tch::no_grad(|| param.tensor.shallow_clone().copy_(value));
        }
    }
}
