//! A plan: a schedule resolved against a net, layer by layer, with everything that was wrong with it reported together.

use std::collections::BTreeSet;

use crate::curve::{At, Curve};
use crate::error::{PlanError, PlanErrors};
use crate::net::{LayerInfo, NetInfo};
use crate::optimizer::Optimizer;
use crate::part::{self, Covered};
use crate::range::Range;
use crate::schedule::{BatchNorm, Decay, DecayBy, OptimizerState, PartRate, Phase, Schedule};
use crate::stop::EarlyStopping;

/// Phases that are known to fit the net.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order in which they run.
    pub phases: Vec<PlannedPhase>,
    /// The net.
    pub net: NetInfo,
    /// Number of the head's parameters.
    pub head_params: usize,
}

/// A phase with its rates by layer. What is not said here is said at the field of the same name in [`Phase`].
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPhase {
    /// Unique in the plan.
    pub name: String,
    /// Peak rate of each entry of [`NetInfo::layers`], decay applied; `None` is frozen. Layers without parameters have
    /// none.
    pub layer_rates: Vec<Option<f64>>,
    /// Peak rate of the head; `None` is frozen.
    pub head_rate: Option<f64>,
    /// Passes over the training images, at least 1 and at most this.
    pub epochs: u32,
    /// Ends the phase before that.
    pub early_stopping: Option<EarlyStopping>,
    /// How the rates move over the phase.
    pub curve: Curve,
    /// How gradients become steps; see [`PlannedPhase::optimizer_at`].
    pub optimizer: Optimizer,
    /// Moments at the start of the phase.
    pub optimizer_state: OptimizerState,
    /// Weight decay of kernels and matrices.
    pub weight_decay: f64,
    /// The largest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are summed for one step.
    pub accumulate: u32,
    /// Decay a step of the moving average of the weights.
    pub ema: Option<f64>,
    /// Batch-norm of the layers that train.
    pub batch_norm: BatchNorm,
    /// Dropout in place of the head's own.
    pub dropout: Option<f64>,
    /// Stochastic depth at the net's last block.
    pub drop_path: f64,
    /// Label smoothing in place of the run's.
    pub label_smoothing: Option<f64>,
    /// Whether training images are augmented.
    pub augment: bool,
    /// Views of each image that are computed once; 0 for new ones in every epoch.
    pub views: u32,
    /// Whether the best weights so far are put back before the next phase.
    pub restore_best: bool,
    /// The lowest stage with a layer that has a rate: what lies below is a pure function. The number of stages if only
    /// the head trains.
    pub frontier: usize,
    /// Number of values that train: of the head, and of the layers that have a rate, without what
    /// [`PlannedPhase::batch_norm`] keeps as it is. Never 0.
    pub params: usize,
}

impl Schedule {
    /// Checks the schedule against a net and a head of `head_params` values, and resolves it.
    ///
    /// # Errors
    /// Everything wrong with it, together.
    pub fn plan(&self, net: &NetInfo, head_params: usize) -> Result<Plan, PlanErrors> {
        let mut errors = Vec::new();
        if self.phases.is_empty() {
            errors.push(PlanError::NoPhases);
        }
        let mut names = BTreeSet::new();
        let mut phases = Vec::new();
        for (i, phase) in self.phases.iter().enumerate() {
            if phase.name.trim().is_empty() {
                errors.push(PlanError::Unnamed { number: i + 1 });
            } else if !names.insert(&phase.name) {
                errors.push(PlanError::DuplicatePhase { phase: phase.name.clone() });
            }
            check(phase, &mut errors);
            phases.push(resolve(phase, net, head_params, &mut errors));
        }
        let names_head = |phase: &Phase| phase.train.iter().any(|entry| entry.part.trim() == "head");
        if !phases.is_empty() && !self.phases.iter().any(names_head) {
            errors.push(PlanError::HeadNeverTrains);
        }
        if errors.is_empty() {
            Ok(Plan { phases, net: net.clone(), head_params })
        } else {
            Err(PlanErrors(errors))
        }
    }
}

/// Everything that can be wrong with a phase whatever the net.
fn check(phase: &Phase, errors: &mut Vec<PlanError>) {
    let mut number = |key: String, got: f64, range: Range| {
        if !range.holds(got) {
            let (phase, expected) = (phase.name.clone(), range.text());
            errors.push(PlanError::OutOfRange { phase, key, got, expected });
        }
    };
    for (key, got, range) in phase.numbers() {
        number(key.to_owned(), got, range);
    }
    for PartRate { part, rate, decay } in &phase.train {
        number(format!("rate of {part}"), *rate, Range::Rate);
        if let Some(decay) = decay {
            number(format!("decay of {part}"), decay.factor, Range::Factor);
        }
    }
    if phase.views > 0 && !phase.augment {
        errors.push(PlanError::ViewsOfNothing { phase: phase.name.clone(), views: phase.views });
    }
}

fn resolve(phase: &Phase, net: &NetInfo, head_params: usize, errors: &mut Vec<PlanError>) -> PlannedPhase {
    let before = errors.len();
    let (layer_rates, head_rate) = rates(phase, net, errors);
    let trained = || net.layers.iter().zip(&layer_rates).filter(|(_, rate)| rate.is_some());
    let params = trained().map(|(layer, _)| trainable(layer, phase)).sum::<usize>()
        + head_rate.map_or(0, |_| head_params);
    let frontier = trained().map(|(layer, _)| layer.stage).min().unwrap_or(net.stages.len());
    // A part that could not be found says enough.
    if errors.len() == before && params == 0 && head_rate.is_none() {
        errors.push(PlanError::EmptyPhase { phase: phase.name.clone() });
    }
    PlannedPhase {
        name: phase.name.clone(),
        layer_rates,
        head_rate,
        epochs: phase.epochs,
        early_stopping: phase.early_stopping,
        curve: phase.curve,
        optimizer: phase.optimizer,
        optimizer_state: phase.optimizer_state,
        weight_decay: phase.weight_decay,
        clip_norm: phase.clip_norm,
        accumulate: phase.accumulate,
        ema: phase.ema,
        batch_norm: phase.batch_norm,
        dropout: phase.dropout,
        drop_path: phase.drop_path,
        label_smoothing: phase.label_smoothing,
        augment: phase.augment,
        views: phase.views,
        restore_best: phase.restore_best,
        frontier,
        params,
    }
}

/// Number of a layer's values that a phase can train.
fn trainable(layer: &LayerInfo, phase: &Phase) -> usize {
    match phase.batch_norm {
        BatchNorm::Train => layer.params,
        BatchNorm::Frozen | BatchNorm::Statistics => layer.params.saturating_sub(layer.norm_params),
    }
}

/// The rates of the layers and of the head.
fn rates(phase: &Phase, net: &NetInfo, errors: &mut Vec<PlanError>) -> (Vec<Option<f64>>, Option<f64>) {
    let mut layer_rates = vec![None; net.layers.len()];
    let mut head_rate = None;
    let mut parts: Vec<(&str, Vec<bool>)> = Vec::new();
    let mut seen = BTreeSet::new();
    for PartRate { part, rate, decay } in &phase.train {
        let part = part.trim();
        if !seen.insert(part) {
            errors.push(PlanError::DuplicatePart { phase: phase.name.clone(), part: part.to_owned() });
            continue;
        }
        match part::resolve(net, part) {
            Ok(Covered::Head) => {
                head_rate = Some(*rate);
                if decay.is_some() {
                    errors.push(PlanError::HeadDecay { phase: phase.name.clone() });
                }
            }
            Ok(Covered::Layers(covered)) => {
                let trains = |(layer, covered): (&LayerInfo, &bool)| *covered && trainable(layer, phase) > 0;
                if !net.layers.iter().zip(&covered).any(trains) {
                    errors.push(PlanError::NormsOnly { phase: phase.name.clone(), part: part.to_owned() });
                }
                let other = |(first, layers): &(&str, Vec<bool>)| {
                    overlap(phase, net, (first, layers), (part, &covered))
                };
                errors.extend(parts.iter().filter_map(other));
                let factors = factors(net, &covered, *decay);
                let slots = layer_rates.iter_mut().zip(covered.iter().zip(factors));
                slots.filter(|(_, (covered, _))| **covered).for_each(|(slot, (_, f))| *slot = Some(rate * f));
                parts.push((part, covered));
            }
            Err(error) => errors.push(PlanError::Part { phase: phase.name.clone(), error }),
        }
    }
    (layer_rates, head_rate)
}

/// What the rate of a part is multiplied by in each layer.
fn factors(net: &NetInfo, covered: &[bool], decay: Option<Decay>) -> Vec<f64> {
    let Some(Decay { factor, by }) = decay else { return vec![1.0; net.layers.len()] };
    let group = |layer: &LayerInfo| match by {
        DecayBy::Stage => (layer.stage, 0),
        DecayBy::Block => (layer.stage, layer.block),
    };
    let with_params = net.layers.iter().filter(|layer| layer.params > 0);
    let groups: BTreeSet<_> = with_params.map(group).collect();
    let of_part = net.layers.iter().zip(covered).filter(|(_, covered)| **covered);
    let top = of_part.map(|(layer, _)| group(layer)).max();
    let below = |layer: &LayerInfo| {
        top.map_or(0, |top| groups.range(group(layer)..).take_while(|g| **g < top).count())
    };
    net.layers.iter().map(|layer| factor.powi(i32::try_from(below(layer)).unwrap_or(i32::MAX))).collect()
}

/// The error of two parts that share layers.
fn overlap(
    phase: &Phase,
    net: &NetInfo,
    first: (&str, &[bool]),
    second: (&str, &[bool]),
) -> Option<PlanError> {
    let layers = net.layers.iter().zip(first.1.iter().zip(second.1));
    let mut both = layers.filter(|(_, (first, second))| **first && **second).map(|(layer, _)| &layer.name);
    let layer = both.next()?.clone();
    let (phase, layers) = (phase.name.clone(), 1 + both.count());
    Some(PlanError::Overlap { phase, first: first.0.to_owned(), second: second.0.to_owned(), layer, layers })
}

impl PlannedPhase {
    /// Steps of the optimizer in an epoch of so many batches; the last one may have fewer than the others.
    #[must_use]
    pub fn steps_per_epoch(&self, batches: u64) -> u64 {
        batches.div_ceil(u64::from(self.accumulate.max(1)))
    }

    /// The optimizer with the momentum that the curve has for the step that is taken `at`.
    #[must_use]
    pub fn optimizer_at(&self, at: At<'_>) -> Optimizer {
        self.curve.momentum(at).map_or(self.optimizer, |momentum| self.optimizer.with_momentum(momentum))
    }

    /// Lowest and highest peak rate of the layers of stage `stage` of `net`; none if it is frozen.
    #[must_use]
    pub fn stage_rate(&self, net: &NetInfo, stage: usize) -> Option<(f64, f64)> {
        range(net.weight_layers(stage).filter_map(|layer| self.layer_rates.get(layer).copied().flatten()))
    }

    /// Whether all layers of stage `stage` of `net` train that have parameters, and there are such.
    #[must_use]
    pub fn trains_whole(&self, net: &NetInfo, stage: usize) -> bool {
        let (trained, of) = self.count(net, stage);
        of > 0 && trained == of
    }

    /// Lowest and highest peak rate of the layers that train, the head not counted.
    #[must_use]
    pub fn stage_rate_range(&self) -> Option<(f64, f64)> {
        range(self.layer_rates.iter().flatten().copied())
    }

    /// How many layers of a stage train, and how many have parameters.
    pub(crate) fn count(&self, net: &NetInfo, stage: usize) -> (usize, usize) {
        let trains = |layer: &usize| self.layer_rates.get(*layer).is_some_and(Option::is_some);
        (net.weight_layers(stage).filter(trains).count(), net.weight_layers(stage).count())
    }
}

fn range(rates: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    rates.fold(None, |range, rate| {
        let (low, high) = range.unwrap_or((rate, rate));
        Some((rate.min(low), rate.max(high)))
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
