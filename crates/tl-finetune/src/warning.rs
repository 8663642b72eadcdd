//! What of a plan is legal and odd. Warnings and not errors: each has a use for someone, and most who write it have
//! made a mistake.

use crate::curve::Curve;
use crate::plan::{Plan, PlannedPhase};
use crate::schedule::{BatchNorm, OptimizerState};

/// One odd thing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanWarning {
    /// A rate at which training usually diverges.
    #[error("phase `{phase}`: a rate of {rate} is high for {optimizer}; usual is at most {usual}")]
    HighRate {
        /// The phase.
        phase: String,
        /// The highest rate of the phase.
        rate: f64,
        /// Name of the optimizer.
        optimizer: &'static str,
        /// Where high begins.
        usual: f64,
    },
    /// A rate that a decay has brought down to nothing: the phase pays for the layer and does not train it.
    #[error(
        "phase `{phase}`: layer `{layer}` has a rate of {rate:e}, which is as good as frozen and costs more"
    )]
    LowRate {
        /// The phase.
        phase: String,
        /// The first such layer.
        layer: String,
        /// Its rate.
        rate: f64,
    },
    /// A stage learns faster than one above it, which is nearer to the new head and further from what it was.
    #[error("phase `{phase}`: stage `{lower}` has a higher rate than stage `{higher}` above it")]
    RatesFall {
        /// The phase.
        phase: String,
        /// The stage nearer to the input.
        lower: String,
        /// The stage nearer to the head.
        higher: String,
    },
    /// All that trains has trained before, together with more.
    #[error("phase `{phase}`: it trains less than phase `{earlier}` before it")]
    TrainsLess {
        /// The phase.
        phase: String,
        /// The phase that trains more.
        earlier: String,
    },
    /// Weight decay that is usual where it is decoupled, and strong where it is added to the gradient.
    #[error(
        "phase `{phase}`: {optimizer} adds the weight decay of {weight_decay} to the gradient, where 0.0001 is usual"
    )]
    StrongDecay {
        /// The phase.
        phase: String,
        /// Name of the optimizer.
        optimizer: &'static str,
        /// The weight decay.
        weight_decay: f64,
    },
    /// The moments that should be kept are another optimizer's.
    #[error("phase `{phase}`: there are no moments of {optimizer} to keep from the phase before")]
    NothingToKeep {
        /// The phase.
        phase: String,
        /// Name of the optimizer.
        optimizer: &'static str,
    },
    /// The phase is too short for a number in it.
    #[error("phase `{phase}`: `{key}` is {got}, which never comes about in {epochs} epochs")]
    TooShort {
        /// The phase.
        phase: String,
        /// The key.
        key: &'static str,
        /// Its value.
        got: u32,
        /// The epochs of the phase.
        epochs: u32,
    },
    /// The phase ends before the rate falls for the first time.
    #[error(
        "phase `{phase}`: it ends after {stop} epochs without gain, and the rate would fall after {fall}; \
         expected a higher `early_stopping.patience` than that"
    )]
    StopsBeforeFall {
        /// The phase.
        phase: String,
        /// Epochs without gain that end the phase.
        stop: u32,
        /// Epochs without gain after which the rate falls.
        fall: u32,
    },
    /// More views than epochs.
    #[error("phase `{phase}`: of {views} views of each image only {epochs} are used, one in each epoch")]
    UnusedViews {
        /// The phase.
        phase: String,
        /// The views.
        views: u32,
        /// The epochs of the phase.
        epochs: u32,
    },
    /// A setting that acts on nothing.
    #[error("phase `{phase}`: `{key}` has no effect, because {because}")]
    NoEffect {
        /// The phase.
        phase: String,
        /// The key.
        key: &'static str,
        /// Why.
        because: &'static str,
    },
}

/// Of a phase's highest rate, less than which moves nothing.
const LOWEST_SHARE: f64 = 1e-6;

impl Plan {
    /// What is legal and odd, in the order of the phases.
    #[must_use]
    pub fn warnings(&self) -> Vec<PlanWarning> {
        let mut warnings = Vec::new();
        for (i, phase) in self.phases.iter().enumerate() {
            self.rates(phase, &mut warnings);
            self.order(i, phase, &mut warnings);
            lengths(phase, &mut warnings);
            self.effects(phase, &mut warnings);
        }
        warnings
    }

    fn rates(&self, phase: &PlannedPhase, warnings: &mut Vec<PlanWarning>) {
        let (name, optimizer) = (|| phase.name.clone(), phase.optimizer.name());
        let rate = phase.layer_rates.iter().flatten().chain(&phase.head_rate).copied().fold(0.0, f64::max);
        let usual = phase.optimizer.highest_usual_rate();
        if rate > usual {
            warnings.push(PlanWarning::HighRate { phase: name(), rate, optimizer, usual });
        }
        let layers = self.net.layers.iter().zip(&phase.layer_rates);
        let mut rates = layers.filter_map(|(layer, rate)| Some((layer, (*rate)?)));
        if let Some((layer, low)) = rates.find(|(_, low)| *low < rate * LOWEST_SHARE) {
            warnings.push(PlanWarning::LowRate { phase: name(), layer: layer.name.clone(), rate: low });
        }
        let stages: Vec<(usize, f64)> = (0..self.net.stages.len())
            .filter_map(|stage| Some((stage, phase.stage_rate(&self.net, stage)?.1)))
            .collect();
        if let Some(pair) = stages.windows(2).find(|pair| pair[0].1 > pair[1].1) {
            let [lower, higher] = [pair[0].0, pair[1].0].map(|stage| self.net.stages[stage].name.clone());
            warnings.push(PlanWarning::RatesFall { phase: name(), lower, higher });
        }
        let weight_decay = phase.weight_decay;
        if weight_decay > 1e-3 && !phase.optimizer.decouples_weight_decay() {
            warnings.push(PlanWarning::StrongDecay { phase: name(), optimizer, weight_decay });
        }
    }

    fn order(&self, i: usize, phase: &PlannedPhase, warnings: &mut Vec<PlanWarning>) {
        let of = |phase: &PlannedPhase| -> Vec<bool> {
            phase.layer_rates.iter().chain([&phase.head_rate]).map(Option::is_some).collect()
        };
        let less = |earlier: &&PlannedPhase| {
            let (all, now) = (of(earlier), of(phase));
            now != all && now.iter().zip(&all).all(|(now, all)| *all || !*now)
        };
        if let Some(earlier) = self.phases[..i].iter().rev().find(less) {
            let (phase, earlier) = (phase.name.clone(), earlier.name.clone());
            warnings.push(PlanWarning::TrainsLess { phase, earlier });
        }
        let before = i.checked_sub(1).map(|before| self.phases[before].optimizer.name());
        let optimizer = phase.optimizer.name();
        if phase.optimizer_state == OptimizerState::Keep && before != Some(optimizer) {
            warnings.push(PlanWarning::NothingToKeep { phase: phase.name.clone(), optimizer });
        }
    }

    fn effects(&self, phase: &PlannedPhase, warnings: &mut Vec<PlanWarning>) {
        let mut none = |key, because| {
            warnings.push(PlanWarning::NoEffect { phase: phase.name.clone(), key, because });
        };
        if phase.views > 0 && phase.frontier == 0 {
            none("views", "no stage is frozen whose outputs could be kept");
        }
        if phase.drop_path > 0.0 && phase.frontier == self.net.stages.len() {
            none("drop_path", "no block of the net trains");
        }
        let trains_norm =
            |(layer, rate): (&crate::LayerInfo, &Option<f64>)| rate.is_some() && layer.norm_params > 0;
        if phase.batch_norm != BatchNorm::Frozen
            && !self.net.layers.iter().zip(&phase.layer_rates).any(trains_norm)
        {
            none("batch_norm", "no batch-norm lies among the layers that train");
        }
        if phase.optimizer.with_momentum(0.5) == phase.optimizer.with_momentum(0.6)
            && matches!(phase.curve, Curve::OneCycle { cycle_momentum: true, .. })
        {
            none("curve.cycle_momentum", "the optimizer has no momentum");
        }
    }
}

/// Whether the phase is long enough for what should happen in it.
fn lengths(phase: &PlannedPhase, warnings: &mut Vec<PlanWarning>) {
    let epochs = phase.epochs;
    let mut short = |key, got| {
        if got >= epochs {
            warnings.push(PlanWarning::TooShort { phase: phase.name.clone(), key, got, epochs });
        }
    };
    match phase.curve {
        Curve::Step { every, .. } => short("curve.every", every),
        Curve::Plateau { patience, .. } => short("curve.patience", patience),
        _ => {}
    }
    if let Some(stopping) = phase.early_stopping {
        short("early_stopping.patience", stopping.patience);
        if let Curve::Plateau { patience, metric, .. } = phase.curve {
            let (stop, fall) = (stopping.patience, patience.saturating_add(1));
            if stop <= fall && stopping.metric.is_none_or(|watched| watched == metric) {
                warnings.push(PlanWarning::StopsBeforeFall { phase: phase.name.clone(), stop, fall });
            }
        }
    }
    if phase.views > epochs {
        let (phase, views) = (phase.name.clone(), phase.views);
        warnings.push(PlanWarning::UnusedViews { phase, views, epochs });
    }
}

#[cfg(test)]
#[path = "warning_tests.rs"]
mod tests;
