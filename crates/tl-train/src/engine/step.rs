//! One training step: loss, gradients, update.
//!
//! The decision behind it: several batches of one step count by their images, so that their sum is the gradient of one
//! large batch, whatever the size of the last one.

use tch::{Kind, Tensor};
use tl_backbones::{DropPath, Dropout, NormMode};
use tl_finetune::{At, BatchNorm, PlannedPhase};
use tl_heads::Training;
use tl_torch::{Param, Role, alone, threads_side_by_side};

use super::batches::Step;
use super::parts::{Behaviour, Parts};
use super::state::{Seen, State};
use super::{Options, average};
use crate::compute::MOST_PARTS;
use crate::evaluate::judge;
use crate::loss::Loss;
use crate::model::Model;
use crate::optimizer::Target;

/// A cross-entropy above this is no longer one that learning brings down. Nor is a squared error of numbers, which are in
/// units of the training set's standard deviation, above this and the number of images: so much can a single image come to
/// that is far from all others.
const EXPLODED: f64 = 1e4;

/// What does not change during a phase.
pub(super) struct Rules<'a> {
    pub(super) model: &'a Model,
    pub(super) phase: &'a PlannedPhase,
    pub(super) options: &'a Options,
    loss: Loss<'a>,
    /// By place in the backbone's store, whether a tensor belongs to a layer that trains.
    layers: Vec<bool>,
    /// Training images.
    images: usize,
    /// The stages that train are computed in bf16.
    bf16: bool,
    parts: Parts,
    small: bool,
}

/// Whether a step is a head on features, of so few products that threads would wait for each other. Two of them need
/// 1.7 times as long as one for 1280 · 2 values and batches of 16, 2.6 times for 1280 · 256, and as long for 1280 · 1024.
pub(super) fn is_small(model: &Model, phase: &PlannedPhase, batch: usize) -> bool {
    let products = if threads_side_by_side() <= MOST_PARTS { 1 << 23 } else { 1 << 20 };
    let values: usize = model.head.store.iter().map(|param| param.tensor.numel()).sum();
    phase.frontier == model.stages() && !model.has_tokens(phase.frontier) && values * batch <= products
}

/// Where in an epoch a batch stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Batches before it in the epoch.
    pub(super) batch: usize,
    /// Finished epochs of the phase.
    pub(super) phase_epoch: u32,
}

impl<'a> Rules<'a> {
    /// `index` is the phase's place in the plan.
    pub(super) fn new(
        model: &'a Model,
        (phase, index): (&'a PlannedPhase, usize),
        options: &'a Options,
        images: usize,
    ) -> Self {
        let class_weights = options.class_weights.as_ref();
        let loss = Loss {
            task: model.task,
            target_stats: model.target_stats.as_ref(),
            label_smoothing: phase.label_smoothing.unwrap_or(options.label_smoothing),
            class_weights: class_weights.map(|weights| Tensor::from_slice(weights).to_device(model.device)),
            focal: options.focal,
        };
        let bf16 = model.compute.training_bf16.get(index).copied().unwrap_or_default();
        let layers = model.params_by_layer().map(|(_, layer)| phase.layer_rates[layer].is_some()).collect();
        let small = is_small(model, phase, options.batch);
        Self { model, phase, options, loss, layers, images, bf16, parts: Parts::new(phase), small }
    }

    pub(super) fn batches(&self) -> usize {
        self.images.div_ceil(self.options.batch)
    }

    fn accumulate(&self) -> usize {
        self.phase.accumulate.max(1) as usize
    }

    /// Whether the batch is the last of its step.
    pub(super) fn ends_step(&self, place: Place) -> bool {
        (place.batch + 1).is_multiple_of(self.accumulate()) || place.batch + 1 == self.batches()
    }

    /// The part of the batch's images in those of its step.
    fn share(&self, place: Place, images: usize) -> f64 {
        let step = self.options.batch * self.accumulate();
        let first = place.batch / self.accumulate() * step;
        images as f64 / step.min(self.images - first).max(1) as f64
    }

    /// The moment of the step that the batch belongs to.
    pub(super) fn at<'h>(&self, place: Place, history: &'h [f64]) -> At<'h> {
        let steps = self.phase.steps_per_epoch(self.batches() as u64);
        let step = u64::from(place.phase_epoch) * steps + (place.batch / self.accumulate()) as u64;
        At { step, steps_per_epoch: steps, epochs: self.phase.epochs, history }
    }

    /// Adds the gradients of a batch to those that are there. `false`, with none added, if its loss is not one that can be
    /// learned from.
    pub(super) fn gradients(&self, batch: &Step, place: Place, seed: u64, seen: &mut Seen) -> bool {
        self.within(|| self.add_gradients(batch, place, seed, seen))
    }

    /// A small step in one thread, whether its features are kept or not: it is to be the same step.
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.small { alone(work) } else { work() }
    }

    fn add_gradients(&self, batch: &Step, place: Place, seed: u64, seen: &mut Seen) -> bool {
        let Self { model, phase, .. } = self;
        let norm = match phase.batch_norm {
            BatchNorm::Frozen => NormMode::Frozen,
            BatchNorm::Statistics | BatchNorm::Train => NormMode::Batch,
        };
        let drop_path = (phase.drop_path > 0.0).then_some(DropPath { rate: phase.drop_path, seed });
        // As published; attention's own would cost the fused kernel.
        let text = model.backbone.text_net();
        let dropout = text.map(|net| Dropout { hidden: net.config.dropout, attention: 0.0, seed });
        let dropout = dropout.filter(|dropout| dropout.hidden > 0.0);
        let how = Behaviour { norm, layers: &self.layers, drop_path, dropout, bf16: self.bf16 };
        let (pooled, parts) = self.parts.forward(model, batch, how);
        let pooled = batch.shown.asked(pooled);
        let logits =
            model.head.forward(&pooled, phase.head_rate.map(|_| Training { seed, dropout: phase.dropout }));
        let loss = self.loss.of(&logits, &batch.shown).mean(None::<Kind>);
        let value = loss.double_value(&[]);
        if !value.is_finite() || value > EXPLODED.max(self.images as f64) {
            return false;
        }
        let loss = if self.accumulate() > 1 { loss * self.share(place, batch.shown.len()) } else { loss };
        loss.backward();
        parts.backward(model);
        let (loss_sum, right) = judge(model, &logits.detach(), &batch.shown);
        seen.loss_sum += loss_sum;
        seen.right += right;
        seen.images += batch.shown.len() as u64;
        true
    }

    /// One update by the gradients that are there, which are then zero again. All rates are the phase's times `factor`.
    pub(super) fn update(&self, state: &mut State, factor: f64, momentum: Option<f64>) {
        self.within(|| self.step(state, factor, momentum));
    }

    fn step(&self, state: &mut State, factor: f64, momentum: Option<f64>) {
        let Self { model, phase, .. } = self;
        if let Some(most) = phase.clip_norm {
            clip(model, most);
        }
        state.optimizer.step(scaled_targets(model, phase, factor), momentum);
        self.forget_gradients();
        if let (Some(decay), Some(values)) = (phase.ema, &mut state.average) {
            average::follow(model, values, decay, state.progress.averaged);
            state.progress.averaged += 1;
        }
    }

    pub(super) fn forget_gradients(&self) {
        for param in self.model.tensors().filter(|param| param.tensor.requires_grad()) {
            param.tensor.shallow_clone().zero_grad();
        }
    }
}

/// Scales all gradients down together until their norm is at most `most`, as PyTorch's `clip_grad_norm_`.
fn clip(model: &Model, most: f64) {
    tch::no_grad(|| {
        let grads: Vec<Tensor> = model
            .tensors()
            .filter(|param| param.tensor.requires_grad())
            .map(|param| param.tensor.grad())
            .filter(Tensor::defined)
            .collect();
        let norms: Vec<Tensor> = grads.iter().map(Tensor::norm).collect();
        if norms.is_empty() {
            return;
        }
        let factor = ((Tensor::stack(&norms, 0).norm() + 1e-6).reciprocal() * most).clamp_max(1.0);
        for mut grad in grads {
            let _ = grad.g_mul_(&factor);
        }
    });
}

/// What trains in a phase, with its rate at this step.
fn scaled_targets<'a>(
    model: &'a Model,
    phase: &'a PlannedPhase,
    factor: f64,
) -> impl Iterator<Item = Target<'a>> {
    let target = move |param: &'a Param, rate: f64| {
        let decays = matches!(param.role, Role::Weight | Role::Adapter);
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

/// A seed for one batch (SplitMix64 over the three numbers).
pub(super) fn seed(seed: u64, epoch: u64, batch: u64) -> u64 {
    let mut hash = seed;
    for part in [epoch, batch] {
        hash = hash.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

/// Exactly what the phase trains requires gradients.
pub(super) fn set_trainable(model: &Model, phase: &PlannedPhase) {
    let norms = phase.batch_norm == BatchNorm::Train;
    for (param, layer) in model.params_by_layer() {
        let trains = match param.role {
            Role::Weight | Role::Bias | Role::Undecayed | Role::Adapter => true,
            Role::Norm => norms,
            Role::Fixed | Role::Buffer => false,
        };
        let _ = param.tensor.set_requires_grad(trains && phase.layer_rates[layer].is_some());
    }
    for param in model.head.store.iter() {
        let trains = phase.head_rate.is_some() && param.role != Role::Buffer;
        let _ = param.tensor.set_requires_grad(trains);
    }
}
