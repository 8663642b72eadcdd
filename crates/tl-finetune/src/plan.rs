//! A plan: a schedule resolved against a net, layer by layer, with everything that was wrong with it reported together.

use std::collections::BTreeSet;

use crate::curve::Curve;
use crate::error::{PlanError, PlanErrors};
use crate::net::{LayerInfo, NetInfo};
use crate::part::{self, Covered};
use crate::schedule::{BatchNorm, OptimizerState, PartRate, Phase, Schedule};

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

/// A phase with its rates by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPhase {
    /// Unique in the plan.
    pub name: String,
    /// Peak rate of each entry of [`NetInfo::layers`]; `None` is frozen. Layers without parameters have none.
    pub layer_rates: Vec<Option<f64>>,
    /// Peak rate of the head; `None` is frozen.
    pub head_rate: Option<f64>,
    /// How the rates move over the phase.
    pub curve: Curve,
    /// Passes over the training images, at least 1.
    pub epochs: u32,
    /// Whether training images are augmented.
    pub augment: bool,
    /// Batch-norm of the layers that train.
    pub batch_norm: BatchNorm,
    /// Moments at the start of the phase.
    pub optimizer: OptimizerState,
    /// Whether the best weights so far are put back before the next phase.
    pub restore_best: bool,
    /// Decoupled weight decay of kernels and matrices.
    pub weight_decay: f64,
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
        for phase in &self.phases {
            if !names.insert(&phase.name) {
                errors.push(PlanError::DuplicatePhase { phase: phase.name.clone() });
            }
            check_numbers(phase, &mut errors);
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

fn check_numbers(phase: &Phase, errors: &mut Vec<PlanError>) {
    let mut check = |key: String, got: f64, holds: bool, expected| {
        if !holds {
            errors.push(PlanError::OutOfRange { phase: phase.name.clone(), key, got, expected });
        }
    };
    check("epochs".into(), f64::from(phase.epochs), phase.epochs > 0, "at least 1");
    let decay = phase.weight_decay;
    check("weight_decay".into(), decay, (0.0..1.0).contains(&decay), "0 or more, below 1");
    for PartRate { part, rate } in &phase.train {
        check(format!("rate of {part}"), *rate, *rate > 0.0 && *rate <= 10.0, "above 0, at most 10");
    }
    if let Curve::Cosine { warmup } = phase.curve {
        check("warmup".into(), warmup, (0.0..1.0).contains(&warmup), "0 or more, below 1");
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
        curve: phase.curve,
        epochs: phase.epochs,
        augment: phase.augment,
        batch_norm: phase.batch_norm,
        optimizer: phase.optimizer,
        restore_best: phase.restore_best,
        weight_decay: phase.weight_decay,
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
    for PartRate { part, rate } in &phase.train {
        let part = part.trim();
        if !seen.insert(part) {
            errors.push(PlanError::DuplicatePart { phase: phase.name.clone(), part: part.to_owned() });
            continue;
        }
        match part::resolve(net, part) {
            Ok(Covered::Head) => head_rate = Some(*rate),
            Ok(Covered::Layers(covered)) => {
                let trains = |(layer, covered): (&LayerInfo, &bool)| *covered && trainable(layer, phase) > 0;
                if !net.layers.iter().zip(&covered).any(trains) {
                    errors.push(PlanError::NormsOnly { phase: phase.name.clone(), part: part.to_owned() });
                }
                let other = |(first, layers): &(&str, Vec<bool>)| {
                    overlap(phase, net, (first, layers), (part, &covered))
                };
                errors.extend(parts.iter().filter_map(other));
                let slots = layer_rates.iter_mut().zip(&covered).filter(|(_, covered)| **covered);
                slots.for_each(|(slot, _)| *slot = Some(*rate));
                parts.push((part, covered));
            }
            Err(error) => errors.push(PlanError::Part { phase: phase.name.clone(), error }),
        }
    }
    (layer_rates, head_rate)
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
