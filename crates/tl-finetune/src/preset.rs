//! Ready-made schedules, each with where it comes from.
//!
//! A preset is a function of the net's stages and of nothing else; the schedule it makes can be printed and edited.
//! It names whole stages; [`two_step`] takes the part to train from outside.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::curve::Curve;
use crate::net::NetInfo;
use crate::part;
use crate::schedule::{BatchNorm, OptimizerState, PartRate, Phase, Schedule};

/// A named schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The net is a fixed feature extractor; only the head trains (Razavian et al. 2014, arXiv:1403.6382).
    FeatureExtraction,
    /// Head, then the last stage with it, then all stages, at falling rates: gradual unfreezing with discriminative
    /// rates (Howard and Ruder 2018, arXiv:1801.06146) in the three steps of the Keras tutorials. The default.
    Gradual,
    /// Head, then all stages at one low rate: linear probing, then full fine-tuning (Kumar et al. 2022,
    /// arXiv:2202.10054).
    Full,
}

/// No preset has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset `{name}`\n\nhint: there are: {}", Preset::names())]
pub struct UnknownPreset {
    /// The name asked for.
    pub name: String,
}

/// The last stage's rate over the first's. Howard and Ruder divide by 2.6 from one to the next of four groups; nets
/// differ in their number of stages, so it is the whole span that is fixed here.
const RATE_SPAN: f64 = 2.6 * 2.6 * 2.6;

impl Preset {
    /// All presets.
    pub const ALL: [Self; 3] = [Self::FeatureExtraction, Self::Gradual, Self::Full];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FeatureExtraction => "feature-extraction",
            Self::Gradual => "gradual",
            Self::Full => "full",
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The schedule for a net. Every layer of a stage trains at the rate of its stage.
    #[must_use]
    pub fn schedule(self, net: &NetInfo) -> Schedule {
        // A stage without parameters has nothing to train and would be refused as a part.
        let stages: Vec<&str> =
            net.stages_with_params().into_iter().map(|stage| net.stages[stage].name.as_str()).collect();
        let head = head_phase();
        let last = tail_phase("last-stage", &stages[stages.len().saturating_sub(1)..], 2e-4, 5, false);
        let phases = match self {
            Self::FeatureExtraction => vec![head],
            Self::Gradual => vec![head, last, tail_phase("all", &stages, 1.5e-4, 2, true)],
            Self::Full => vec![head, tail_phase("all", &stages, 2e-4, 4, true)],
        };
        Schedule { phases }
    }
}

/// Head, then `part` (see [`select`](crate::select)) together with the head at low rates: the recipe of the Keras
/// tutorial on transfer learning (Chollet 2020, <https://keras.io/guides/transfer_learning/>).
///
/// The tutorial goes from 1e-3 to 1e-5 under Adam. The phase `unfreeze` has `part` at 1e-4 and the head at 3e-4
/// instead, because there are 5 epochs and the rate rises and falls within them. It augments only if `part` reaches
/// below the last stage: else the activations of the frozen stages are kept and an epoch costs little. With `head` as
/// the part there is no second phase. A part that the net has not is reported by [`Schedule::plan`].
#[must_use]
pub fn two_step(net: &NetInfo, part: &str) -> Schedule {
    let mut phases = vec![head_phase()];
    if part.trim() != "head" {
        phases.push(Phase {
            name: "unfreeze".to_owned(),
            train: vec![
                PartRate { part: part.to_owned(), rate: 1e-4 },
                PartRate { part: "head".to_owned(), rate: 3e-4 },
            ],
            curve: Curve::Cosine { warmup: 0.1 },
            epochs: 5,
            augment: !within_last_stage(net, part),
            ..head_phase()
        });
    }
    Schedule { phases }
}

fn within_last_stage(net: &NetInfo, part: &str) -> bool {
    let last = net.stages_with_params().last().copied();
    part::select(net, part).is_ok_and(|covered| {
        let mut layers = covered.iter().zip(&net.layers).filter(|(covered, _)| **covered);
        layers.all(|(_, layer)| Some(layer.stage) == last)
    })
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| UnknownPreset { name: name.to_owned() })
    }
}

fn head_phase() -> Phase {
    Phase {
        name: "head".to_owned(),
        train: vec![PartRate { part: "head".to_owned(), rate: 1e-3 }],
        curve: Curve::Cosine { warmup: 0.0 },
        epochs: 30,
        augment: false,
        batch_norm: BatchNorm::Frozen,
        optimizer: OptimizerState::Fresh,
        restore_best: true,
        weight_decay: 1e-2,
    }
}

/// Trains the head and `stages`; the last stage at `rate`, each one below at a lower rate, the head at three times.
fn tail_phase(name: &str, stages: &[&str], rate: f64, epochs: u32, augment: bool) -> Phase {
    let steps = stages.len().saturating_sub(1).max(1) as f64;
    let mut train: Vec<PartRate> = stages
        .iter()
        .enumerate()
        .map(|(i, stage)| PartRate {
            part: (*stage).to_owned(),
            rate: rate / RATE_SPAN.powf((stages.len() - 1 - i) as f64 / steps),
        })
        .collect();
    train.push(PartRate { part: "head".to_owned(), rate: 3.0 * rate });
    Phase {
        name: name.to_owned(),
        train,
        curve: Curve::Cosine { warmup: 0.1 },
        epochs,
        augment,
        ..head_phase()
    }
}
