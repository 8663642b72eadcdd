//! Ready-made schedules, each with where it comes from and what it is known to give.
//!
//! A preset is a function of the net's stages and of three options; the schedule it makes can be printed and edited.
//!
//! What they gave with EfficientNet-Lite0, its ImageNet weights and everything else as it is by default, on 2 cores with
//! bf16: `tl finetune --data DIR --preset NAME --seed S --feature-cache 0`. Mean and range over the seeds, and the seconds
//! of the whole command (median).
//!
//! Ants and bees, 244 training and 153 validation photos, of which one is 0.65 points; validation accuracy:
//!
//! | preset | seeds | best epoch | last epoch | seconds |
//! |---|---|---|---|---|
//! | `gradual` (default) | 5 | 0.960 (0.948 to 0.967) | 0.952 (0.935 to 0.961) | 44 |
//! | `feature-extraction` | 5 | 0.956 (0.941 to 0.967) | 0.945 (0.935 to 0.961) | 6 |
//! | `two-step` | 5 | 0.956 (0.941 to 0.967) | 0.949 (0.935 to 0.961) | 10 |
//! | `lp-ft` | 5 | 0.956 (0.941 to 0.967) | 0.937 (0.922 to 0.948) | 55 |
//! | `surgical` | 3 | 0.956 (0.941 to 0.967) | 0.956 (0.941 to 0.967) | 41 |
//! | `full` | 3 | 0.952 (0.941 to 0.967) | 0.943 (0.928 to 0.961) | 123 |
//! | `fine-tune` | 3 | 0.946 (0.941 to 0.948) | 0.943 (0.941 to 0.948) | 69 |
//!
//! Chest X-rays, 3,643 training images, 1 normal to 2.9 with pneumonia, test accuracy of the best epoch on 1,051 images of
//! other patients, and balanced accuracy:
//!
//! | preset | seeds | test accuracy | balanced | seconds |
//! |---|---|---|---|---|
//! | `gradual` (default) | 2 | 0.980 (0.978 to 0.981) | 0.971 (0.971 to 0.971) | 707 |
//! | `two-step` | 1 | 0.976 | 0.973 | 64 |
//! | `feature-extraction` | 3 | 0.973 (0.971 to 0.974) | 0.968 (0.966 to 0.971) | 36 |
//!
//! Where a source trains batch-norm, the presets do not: frozen norms are what little data wants, and what lets the
//! activations of frozen stages be kept.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::curve::Curve;
use crate::metric::Metric;
use crate::net::NetInfo;
use crate::optimizer::Optimizer;
use crate::part;
use crate::schedule::{Decay, DecayBy, EpochCount, PartRate, Phase, Schedule};
use crate::stop::EarlyStopping;

/// A named schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The net is a fixed feature extractor; only the head trains (Razavian et al. 2014, arXiv:1403.6382).
    ///
    /// The cheapest: on kept activations an epoch takes a moment. On sets near to ImageNet it is within a point or two
    /// of fine-tuning or ahead of it (pets 91.5 to 92.1, textures 74.9 to 74.6), on others far behind (cars 66.7 to
    /// 92.1: ResNet-50, linear to fine-tuned, in Grill et al. 2020, arXiv:2006.07733).
    FeatureExtraction,
    /// Head, then one part together with the head at low rates: the recipe of the Keras tutorial on transfer learning
    /// (Chollet 2020, <https://keras.io/guides/transfer_learning/>). Takes a part, by default the last stage.
    ///
    /// The tutorial goes from 1e-3 to 1e-5 under Adam, and from 0.971 to 0.985 on cats and dogs. Here the part has 1e-4
    /// and the head 3e-4, because there are 5 epochs and the rate rises and falls within them. The second phase
    /// augments only if the part reaches below the last stage: else the activations of the frozen stages are kept and
    /// an epoch costs little. With `head` as the part there is no second phase.
    TwoStep,
    /// One epoch of the head, then everything under a one-cycle at half the rate, falling to a hundredth of it at the
    /// input: `fine_tune` of fastai with its numbers, its Adam included (Howard and Gugger 2020, arXiv:2002.04688,
    /// <https://docs.fast.ai/callback.schedule.html>).
    ///
    /// fastai's documentation has 5.9 % error on the 37 breeds of Oxford pets with a ResNet-50 after 3 and 6 epochs.
    FineTune,
    /// Head, then the last stage with it, then all stages, at falling rates: gradual unfreezing with discriminative
    /// rates (Howard and Ruder 2018, arXiv:1801.06146) in the three steps of the Keras tutorials. The default. The first
    /// two train on kept activations of six augmented views of each image.
    ///
    /// The paper's table 7 has gradual unfreezing alone within half a point of training all at once; most of the gain
    /// comes from the rates. On ants and bees (EfficientNet-Lite0, five seeds) the views lift the last epoch of the head
    /// from 0.944 to 0.952. Of 2000 images or more the head trains on the images as they are, and all stages train for
    /// three epochs at ten times the rate: there the net has enough to learn from.
    ///
    /// Of texts the head, then all layers of the net with it, at 1.4e-4 at the top and 1/2.6 of that at the bottom; the
    /// embeddings stay as they are. SST-2 (6920 sentences), MiniLM, batches of 16, label smoothing 0.1, seeds 1 to 3: test
    /// accuracy 0.892, 0.893 and 0.895.
    Gradual,
    /// Head, then one more stage in each phase, each stage at 1/2.6 of the rate above it, under slanted triangles: the
    /// whole of ULMFiT's fine-tuning (Howard and Ruder 2018, arXiv:1801.06146), its Adam included.
    ///
    /// In the paper's table 7, on text: error 5.00 % instead of 6.87 % for all at once (IMDb), 5.69 to 6.86 (TREC-6),
    /// 5.38 to 5.81 (AG).
    Ulmfit,
    /// Head, then each stage alone from the input up, then all, each until it gains no more: chain-thaw (Felbo et al.
    /// 2017, DeepMoji, arXiv:1708.00524).
    ///
    /// ULMFiT's table 7 has it at 5.39 % error to 6.87 % for all at once (IMDb), 6.71 to 6.86 (TREC-6), 5.90 to 5.81
    /// (AG). It has a phase more than there are stages and takes long.
    ChainThaw,
    /// Head to convergence, then everything at a low rate: linear probing, then fine-tuning (Kumar et al. 2022,
    /// arXiv:2202.10054). The paper has one rate for all; here it falls towards the input as in `gradual`.
    ///
    /// The paper's ten sets: against fine-tuning at once 1 % more on images like those trained on, 10 % more on others,
    /// because a head that fits does not tear the features apart.
    LpFt,
    /// Head, then one part alone: surgical fine-tuning (Lee et al. 2022, arXiv:2210.11466). Takes a part, by default the
    /// first stage.
    ///
    /// The paper finds one block as good as everything or better on seven sets that differ from what was trained on:
    /// the first where the images look otherwise (noise, blur, another camera), one in the middle where classes have
    /// other subgroups, the last where classes mean something else.
    Surgical,
    /// Head and all stages together from the first step, after a warm-up: plain fine-tuning (Kornblith et al. 2019,
    /// arXiv:1805.08974), with rates that fall towards the input.
    ///
    /// The baseline of the papers above: as good as any with much data, worst of all with little.
    Full,
}

/// No preset has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset `{name}`\n\nhint: there are: {}", Preset::names())]
pub struct UnknownPreset {
    /// The name asked for.
    pub name: String,
}

/// What of a preset can be said in other words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PresetOptions {
    /// What trains after the head, see [`select`](crate::select); for those that take a part. One that the net has not
    /// is reported by [`Schedule::plan`].
    pub part: Option<String>,
    /// Epochs of each phase.
    pub epochs: Option<Vec<u32>>,
    /// The highest rate of the schedule; all others keep their ratio to it.
    pub rate: Option<f64>,
    /// Augmented views of each image in the phases of `gradual` that train on kept activations: 6 where nobody says, with
    /// 0 they do not augment. Each view costs a pass of the frozen part over the images.
    pub views: Option<u32>,
    /// The number of training images, where it is known; `gradual` depends on it.
    pub images: Option<usize>,
    /// Whether the net takes texts: nothing is augmented, and rates and epochs are those of pretrained transformers.
    pub texts: bool,
    /// Whether adapters alone train in the net (LoRA): at twenty times the rates, and in `gradual` for four epochs in place
    /// of two. Adapters are best at rates ten times those of weights and higher (Biderman et al. 2024, arXiv:2405.09673).
    /// Of 600 sentences of SST-2 rates and alphas near to these gave 0.83 to 0.85 on 400 others, with MiniLM, where the
    /// weights themselves came to 0.815 and the head alone to 0.755 (one seed each, batches of 32 without label smoothing).
    pub adapters: bool,
}

/// Options that do not fit the preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PresetError {
    /// It names all its parts itself.
    #[error("preset `{preset}` takes no part, and got `{part}`\n\nhint: these take one: {takers}")]
    TakesNoPart {
        /// The preset.
        preset: &'static str,
        /// The part.
        part: String,
        /// The presets that do.
        takers: String,
    },
    /// Epochs for more or fewer phases than there are.
    #[error("preset `{preset}`: {error}")]
    Epochs {
        /// The preset.
        preset: &'static str,
        /// What is wrong.
        error: EpochCount,
    },
}

/// Howard and Ruder divide the rate by this from one group of layers to the next.
const RATIO: f64 = 2.6;

/// The last stage's rate over the first's, where it does not depend on the number of stages: four of their groups.
const RATE_SPAN: f64 = RATIO * RATIO * RATIO;

impl Preset {
    /// All presets.
    pub const ALL: [Self; 9] = [
        Self::FeatureExtraction,
        Self::TwoStep,
        Self::FineTune,
        Self::Gradual,
        Self::Ulmfit,
        Self::ChainThaw,
        Self::LpFt,
        Self::Surgical,
        Self::Full,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FeatureExtraction => "feature-extraction",
            Self::TwoStep => "two-step",
            Self::FineTune => "fine-tune",
            Self::Gradual => "gradual",
            Self::Ulmfit => "ulmfit",
            Self::ChainThaw => "chain-thaw",
            Self::LpFt => "lp-ft",
            Self::Surgical => "surgical",
            Self::Full => "full",
        }
    }

    /// What it does, in a line.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Self::FeatureExtraction => "the head only, on features of the net as it is",
            Self::TwoStep => {
                "the head, then one part with it (the last stage, or the part you name), as Keras does"
            }
            Self::FineTune => "one epoch of the head, then all under a one-cycle, as fastai's fine_tune",
            Self::Gradual => "the head, the last stage, all stages, at falling rates",
            Self::Ulmfit => "one more stage in each phase, as ULMFiT",
            Self::ChainThaw => "the head, each stage alone from the input up, then all",
            Self::LpFt => "the head, then all stages at low rates",
            Self::Surgical => "the head, then one part alone (the first stage, or the part you name)",
            Self::Full => "the head and all stages together from the first step",
        }
    }

    /// Whether [`PresetOptions::part`] is for it.
    #[must_use]
    pub fn takes_part(self) -> bool {
        matches!(self, Self::TwoStep | Self::Surgical)
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The schedule for a net.
    ///
    /// # Errors
    /// A part is given and the preset takes none, or the epochs are those of another number of phases.
    pub fn schedule(self, net: &NetInfo, options: &PresetOptions) -> Result<Schedule, PresetError> {
        let preset = self.name();
        if let Some(part) = options.part.clone().filter(|_| !self.takes_part()) {
            let takers: Vec<&str> =
                Self::ALL.into_iter().filter(|preset| preset.takes_part()).map(Self::name).collect();
            return Err(PresetError::TakesNoPart { preset, part, takers: takers.join(", ") });
        }
        let mut schedule = Schedule { phases: self.phases(net, options) };
        if options.texts {
            for_texts(&mut schedule, options.adapters);
        }
        if let Some(rate) = options.rate {
            scale(&mut schedule, rate);
        }
        if let Some(epochs) = &options.epochs {
            schedule.set_epochs(epochs).map_err(|error| PresetError::Epochs { preset, error })?;
        }
        Ok(schedule)
    }

    fn phases(self, net: &NetInfo, options: &PresetOptions) -> Vec<Phase> {
        let part = options.part.as_deref();
        let stages = net.stages_to_train();
        match self {
            Self::FeatureExtraction => vec![head()],
            Self::TwoStep => match part.or(stages.last().copied()) {
                Some(part) if part.trim() != "head" => vec![head(), with_head(net, part)],
                _ => vec![head()],
            },
            Self::FineTune => fine_tune(&stages),
            Self::Gradual if options.texts => gradual_texts(&stages, options.adapters),
            Self::Gradual => gradual(&stages, options),
            Self::Ulmfit => ulmfit(&stages),
            Self::ChainThaw => chain_thaw(&stages),
            Self::LpFt => vec![head(), tail("all", &stages, 2e-4, 4, true)],
            Self::Surgical => {
                let alone = |part: &str| Phase {
                    curve: Curve::Cosine { warmup: 0.1 },
                    augment: true,
                    ..Phase::new("surgical", vec![PartRate::new(part, 1e-4)], 5)
                };
                [head()].into_iter().chain(part.or(stages.first().copied()).map(alone)).collect()
            }
            Self::Full => vec![tail("all", &stages, 2e-4, 10, true)],
        }
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| UnknownPreset { name: name.to_owned() })
    }
}

/// Makes `rate` the highest rate.
fn scale(schedule: &mut Schedule, rate: f64) {
    let parts = schedule.phases.iter().flat_map(|phase| &phase.train);
    let highest = parts.map(|entry| entry.rate).fold(0.0, f64::max);
    for entry in schedule.phases.iter_mut().flat_map(|phase| &mut phase.train) {
        // The highest is what was asked for, not what comes of rounding.
        entry.rate = if entry.rate == highest { rate } else { entry.rate / highest * rate };
    }
}

/// The head alone, to convergence: on kept activations an epoch costs nearly nothing.
fn head() -> Phase {
    Phase {
        curve: Curve::Cosine { warmup: 0.0 },
        ..Phase::new("head", vec![PartRate::new("head", 1e-3)], 30)
    }
}

/// Views of each image in [`Preset::Gradual`].
const VIEWS: u32 = 6;

/// From so many training images on, [`Preset::Gradual`] trains all stages in earnest.
pub const MANY_IMAGES: usize = 2000;

fn gradual(stages: &[&str], options: &PresetOptions) -> Vec<Phase> {
    let last = &stages[stages.len().saturating_sub(1)..];
    if options.images.is_some_and(|images| images >= MANY_IMAGES) {
        return vec![
            Phase { epochs: 12, ..head() },
            tail("last-stage", last, 2e-4, 2, true),
            tail("all", stages, 2e-4, 3, true),
        ];
    }
    let views = options.views.unwrap_or(VIEWS);
    let kept = |phase: Phase, epochs| match views {
        0 => phase,
        _ => Phase { augment: true, views, epochs, ..phase },
    };
    let last = tail("last-stage", last, 2e-4, 5, false);
    vec![kept(head(), 24), kept(last, 12), tail("all", stages, 2e-5, 2, true)]
}

/// Of texts a part of the rates that images have: pretrained transformers are fine-tuned at 2e-5 to 1e-4 (Devlin et al.
/// 2018, arXiv:1810.04805).
const TEXT_RATES: f64 = 0.25;

/// The rate of an adapter over that of the weight beside it.
const ADAPTER_RATES: f64 = 20.0;

/// The same for texts: nothing is augmented, gradients are cut at a norm of 1 as in BERT, and what is not the head alone has
/// lower rates.
fn for_texts(schedule: &mut Schedule, adapters: bool) {
    for phase in &mut schedule.phases {
        (phase.augment, phase.views, phase.clip_norm) = (false, 0, Some(1.0));
        if phase.train.iter().any(|entry| entry.part != "head") && phase.name != LAYERS {
            phase.train.iter_mut().for_each(|entry| entry.rate *= TEXT_RATES);
        }
        if adapters {
            let of_net = phase.train.iter_mut().filter(|entry| entry.part != "head");
            of_net.for_each(|entry| entry.rate *= ADAPTER_RATES);
        }
    }
}

/// The phase of [`gradual_texts`] that trains all but the embeddings.
const LAYERS: &str = "layers";

/// Head, then all layers with it. The embeddings stay as they are: of few texts few of their rows would move, and they are
/// half of a small net.
fn gradual_texts(stages: &[&str], adapters: bool) -> Vec<Phase> {
    // Where adapters train, embeddings have none and are not among the stages.
    let layers = stages.get(1..).filter(|layers| !layers.is_empty() && !adapters).unwrap_or(stages);
    let steps = layers.len().saturating_sub(1).max(1) as f64;
    let of = |(i, stage): (usize, &&str)| {
        PartRate::new(stage, 1.4e-4 / RATIO.powf((layers.len() - 1 - i) as f64 / steps))
    };
    let mut train: Vec<PartRate> = layers.iter().enumerate().map(of).collect();
    train.push(PartRate::new("head", 4.2e-4));
    let epochs = if adapters { 4 } else { 2 };
    let layers = Phase { curve: Curve::Linear { warmup: 0.1 }, ..Phase::new(LAYERS, train, epochs) };
    vec![Phase { epochs: 12, ..head() }, layers]
}

/// Trains the head and `stages`; the last stage at `rate`, each one below at a lower rate, the head at three times.
fn tail(name: &str, stages: &[&str], rate: f64, epochs: u32, augment: bool) -> Phase {
    let steps = stages.len().saturating_sub(1).max(1) as f64;
    let of = |(i, stage): (usize, &&str)| {
        PartRate::new(stage, rate / RATE_SPAN.powf((stages.len() - 1 - i) as f64 / steps))
    };
    let mut train: Vec<PartRate> = stages.iter().enumerate().map(of).collect();
    train.push(PartRate::new("head", 3.0 * rate));
    Phase { curve: Curve::Cosine { warmup: 0.1 }, augment, ..Phase::new(name, train, epochs) }
}

/// The second step of [`Preset::TwoStep`].
fn with_head(net: &NetInfo, part: &str) -> Phase {
    Phase {
        curve: Curve::Cosine { warmup: 0.1 },
        augment: !within_last_stage(net, part),
        ..Phase::new("unfreeze", vec![PartRate::new(part, 1e-4), PartRate::new("head", 3e-4)], 5)
    }
}

fn within_last_stage(net: &NetInfo, part: &str) -> bool {
    let last = net.stages_with_params().last().copied();
    part::select(net, part).is_ok_and(|covered| {
        let mut layers = covered.iter().zip(&net.layers).filter(|(covered, _)| **covered);
        layers.all(|(_, layer)| Some(layer.stage) == last)
    })
}

/// The head at `rate`, the last stage at `factor` of it, and each stage below, down to `lowest`, at `factor` of the one
/// above.
fn decaying(lowest: Option<&str>, rate: f64, factor: f64) -> Vec<PartRate> {
    let decay = Some(Decay { factor, by: DecayBy::Stage });
    let stages = lowest.map(|lowest| PartRate { part: format!("{lowest}.."), rate: rate * factor, decay });
    stages.into_iter().chain([PartRate::new("head", rate)]).collect()
}

fn fine_tune(stages: &[&str]) -> Vec<Phase> {
    let rate = 2e-3;
    // fastai's last rate is the peak over 1e5 whatever the first one is.
    let one_cycle = |start, div| Curve::OneCycle { start, div, final_div: 1e5 / div, cycle_momentum: true };
    let optimizer = Optimizer::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-5 };
    let phase = |name: &str, train, epochs, curve| Phase {
        optimizer,
        curve,
        augment: true,
        ..Phase::new(name, train, epochs)
    };
    // From the head to the lowest stage there are as many steps as there are stages.
    let factor = 100.0_f64.powf(-1.0 / stages.len().max(1) as f64);
    let all = decaying(stages.first().copied(), rate / 2.0, factor);
    let head = vec![PartRate::new("head", rate)];
    vec![phase("head", head, 1, one_cycle(0.99, 25.0)), phase("all", all, 5, one_cycle(0.3, 5.0))]
}

fn ulmfit(stages: &[&str]) -> Vec<Phase> {
    let phase = |name: &str, lowest: Option<&str>, epochs, augment| Phase {
        optimizer: Optimizer::AdamW { beta1: 0.7, beta2: 0.99, epsilon: 1e-8 },
        curve: Curve::SlantedTriangular { cut: 0.1, ratio: 32.0 },
        augment,
        ..Phase::new(name, decaying(lowest, 1e-3, 1.0 / RATIO), epochs)
    };
    let step = |(i, stage): (usize, &&str)| match i {
        0 => phase("all", Some(*stage), 4, true),
        _ => phase(stage, Some(*stage), 1, true),
    };
    let head = phase("head", None, 1, false);
    [head].into_iter().chain(stages.iter().enumerate().rev().map(step)).collect()
}

fn chain_thaw(stages: &[&str]) -> Vec<Phase> {
    let thaw = |name: &str, train: Vec<PartRate>, epochs, patience| Phase {
        curve: Curve::Constant {},
        early_stopping: Some(EarlyStopping { patience, min_delta: 0.0, metric: Some(Metric::Loss) }),
        augment: name != "head",
        ..Phase::new(name, train, epochs)
    };
    let head = thaw("head", vec![PartRate::new("head", 1e-3)], 30, 5);
    let alone = stages.iter().map(|stage| thaw(stage, vec![PartRate::new(stage, 1e-4)], 5, 2));
    let everything = ["all", "head"].map(|part| PartRate::new(part, 1e-4)).to_vec();
    let all = if stages.is_empty() { None } else { Some(thaw("all", everything, 5, 2)) };
    [head].into_iter().chain(alone).chain(all).collect()
}

#[cfg(test)]
#[path = "preset_tests.rs"]
mod tests;
