//! How the learning rate moves inside a phase: a pure function of progress, so that it needs no state to resume. Even
//! the curve that waits for a plateau is one: it reads what the epochs so far have given.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::range::{Number, Range};

/// Shape of the learning rate over one phase, as a factor of the phase's rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "shape", deny_unknown_fields)]
pub enum Curve {
    /// Always 1.
    // The braces are for serde, which lets a variant without them have any fields.
    Constant {},
    /// Falls at the end of every so many epochs (`StepLR` of PyTorch).
    Step {
        /// In epochs, at least 1.
        every: u32,
        /// What the rate is multiplied by, above 0, at most 1.
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// Falls at the end of every epoch (`ExponentialLR` of PyTorch).
    Exponential {
        /// What the rate is multiplied by, above 0, at most 1.
        gamma: f64,
    },
    /// Linear from 0 to 1 over the first `warmup` of the phase, then half a cosine down to 0
    /// (Loshchilov and Hutter 2016, arXiv:1608.03983, without restarts).
    Cosine {
        /// Fraction of the phase, `0..1`.
        #[serde(default = "tenth")]
        warmup: f64,
    },
    /// Half a cosine up, half a cosine down, while the momentum does the opposite (Smith and Topin 2017,
    /// arXiv:1708.07120, in the form of fastai and of PyTorch's `OneCycleLR`).
    OneCycle {
        /// Fraction of the phase until the peak, `0..=1`.
        #[serde(default = "start")]
        start: f64,
        /// The peak over the first rate, at least 1.
        #[serde(default = "div")]
        div: f64,
        /// The first rate over the last one, at least 1; fastai's `div_final` is this times `div`.
        #[serde(default = "final_div")]
        final_div: f64,
        /// Whether the momentum goes from 0.95 to 0.85 and back, see [`Curve::momentum`].
        #[serde(default = "yes")]
        cycle_momentum: bool,
    },
    /// A short linear rise, a long linear fall (ULMFiT, Howard and Ruder 2018, arXiv:1801.06146, equation 3).
    SlantedTriangular {
        /// Fraction of the phase until the peak, above 0, below 1.
        #[serde(default = "tenth")]
        cut: f64,
        /// The peak over the lowest rate, at least 1.
        #[serde(default = "ratio")]
        ratio: f64,
    },
    /// Linear from 0 to 1 over the first `warmup` of the phase, then linear down to 0: the default of the Trainer of
    /// Hugging Face.
    Linear {
        /// Fraction of the phase, `0..1`.
        #[serde(default = "tenth")]
        warmup: f64,
    },
    /// Falls when a metric no longer gains (`ReduceLROnPlateau` of PyTorch with an absolute threshold).
    Plateau {
        /// What the rate is multiplied by, above 0, below 1.
        #[serde(default = "tenth")]
        factor: f64,
        /// Epochs in a row without gain that are let pass; the rate falls after one more, as in PyTorch.
        patience: u32,
        /// What a value has to be better by to be a gain, absolute.
        #[serde(default = "min_delta")]
        min_delta: f64,
        /// What is watched.
        #[serde(default = "loss")]
        metric: Metric,
    },
}

fn tenth() -> f64 {
    0.1
}

fn start() -> f64 {
    0.3
}

fn div() -> f64 {
    25.0
}

fn final_div() -> f64 {
    1e4
}

fn yes() -> bool {
    true
}

fn ratio() -> f64 {
    32.0
}

fn min_delta() -> f64 {
    1e-4
}

fn loss() -> Metric {
    Metric::Loss
}

/// Momentum at the ends and at the peak of one cycle: the defaults of PyTorch and of fastai.
const MOMENTUM: (f64, f64) = (0.95, 0.85);

/// A moment in a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At<'a> {
    /// Steps of the optimizer done in this phase.
    pub step: u64,
    /// Steps of the optimizer in an epoch, see [`PlannedPhase::steps_per_epoch`](crate::PlannedPhase::steps_per_epoch).
    pub steps_per_epoch: u64,
    /// Epochs of the phase, if nothing stops it.
    pub epochs: u32,
    /// What [`Curve::metric`] was after each finished epoch of this phase; empty for the curves that watch none.
    pub history: &'a [f64],
}

impl At<'_> {
    fn steps(&self) -> f64 {
        (self.steps_per_epoch.max(1) * u64::from(self.epochs.max(1))) as f64
    }

    /// Finished epochs.
    fn epoch(&self) -> u64 {
        self.step / self.steps_per_epoch.max(1)
    }

    /// Progress in the middle of the step, above 0 and below 1, so that no step of a rise from 0 or a fall to 0 is
    /// wasted.
    fn middle(&self) -> f64 {
        ((self.step as f64 + 0.5) / self.steps()).min(1.0)
    }
}

impl Curve {
    /// The factor for the step that is taken `at`.
    ///
    /// All agree with what they are named after, step by step, but for three things: cosine and linear are read in the
    /// middle of a step, so that the first step is above 0; the slanted triangle ends with the phase, also where the
    /// equation, which rounds its peak down to a step, would go below 0; and a one-cycle of one step is at its peak.
    #[must_use]
    pub fn factor(self, at: At<'_>) -> f64 {
        match self {
            Self::Constant {} => 1.0,
            Self::Step { every, gamma } => power(gamma, at.epoch() / u64::from(every.max(1))),
            Self::Exponential { gamma } => power(gamma, at.epoch()),
            Self::Cosine { warmup } => {
                let rest = |rest: f64| 0.5 * (1.0 + (PI * rest).cos());
                warmed_up(at.middle(), warmup, rest)
            }
            Self::Linear { warmup } => warmed_up(at.middle(), warmup, |rest| 1.0 - rest),
            Self::OneCycle { start, div, final_div, .. } => {
                let first = 1.0 / div;
                one_cycle(&at, start, (first, 1.0, first / final_div))
            }
            Self::SlantedTriangular { cut, ratio } => {
                let (steps, step) = (at.steps(), at.step as f64);
                let peak = (steps * cut).floor();
                let p = if step < peak { step / peak } else { 1.0 - (step - peak) / (steps - peak) };
                (1.0 + p.max(0.0) * (ratio - 1.0)) / ratio
            }
            Self::Plateau { factor, patience, min_delta, metric } => {
                power(factor, reductions(at.history, metric, min_delta, patience))
            }
        }
    }

    /// The momentum, or first decay, for the step that is taken `at`, where the curve moves it.
    #[must_use]
    pub fn momentum(self, at: At<'_>) -> Option<f64> {
        match self {
            Self::OneCycle { start, cycle_momentum: true, .. } => {
                Some(one_cycle(&at, start, (MOMENTUM.0, MOMENTUM.1, MOMENTUM.0)))
            }
            _ => None,
        }
    }

    /// What [`At::history`] has to hold.
    #[must_use]
    pub fn metric(self) -> Option<Metric> {
        match self {
            Self::Plateau { metric, .. } => Some(metric),
            _ => None,
        }
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant {} => "constant",
            Self::Step { .. } => "step",
            Self::Exponential { .. } => "exponential",
            Self::Cosine { .. } => "cosine",
            Self::OneCycle { .. } => "one-cycle",
            Self::SlantedTriangular { .. } => "slanted-triangular",
            Self::Linear { .. } => "linear",
            Self::Plateau { .. } => "plateau",
        }
    }

    pub(crate) fn numbers(self) -> Vec<Number> {
        match self {
            Self::Constant {} => Vec::new(),
            Self::Step { every, gamma } => {
                vec![("curve.every", f64::from(every), Range::FromOne), ("curve.gamma", gamma, Range::Factor)]
            }
            Self::Exponential { gamma } => vec![("curve.gamma", gamma, Range::Factor)],
            Self::Cosine { warmup } | Self::Linear { warmup } => {
                vec![("curve.warmup", warmup, Range::BelowOne)]
            }
            Self::OneCycle { start, div, final_div, .. } => vec![
                ("curve.start", start, Range::Fraction),
                ("curve.div", div, Range::FromOne),
                ("curve.final_div", final_div, Range::FromOne),
            ],
            Self::SlantedTriangular { cut, ratio } => {
                vec![("curve.cut", cut, Range::Between), ("curve.ratio", ratio, Range::FromOne)]
            }
            Self::Plateau { factor, min_delta, .. } => vec![
                ("curve.factor", factor, Range::Between),
                ("curve.min_delta", min_delta, Range::NotNegative),
            ],
        }
    }
}

fn power(base: f64, exponent: u64) -> f64 {
    base.powi(i32::try_from(exponent).unwrap_or(i32::MAX))
}

/// A straight rise over the first `warmup`, then `rest` of what is left, which goes from 0 to 1.
fn warmed_up(progress: f64, warmup: f64, rest: impl Fn(f64) -> f64) -> f64 {
    if progress < warmup { progress / warmup } else { rest(((progress - warmup) / (1.0 - warmup)).min(1.0)) }
}

/// Half a cosine from the first value to the peak, and one to the last. The peak is one step early, as in PyTorch.
fn one_cycle(at: &At<'_>, start: f64, (first, peak, last): (f64, f64, f64)) -> f64 {
    let (end, step) = (at.steps() - 1.0, at.step as f64);
    let turn = start * at.steps() - 1.0;
    let anneal = |from: f64, to: f64, progress: f64| to + (from - to) / 2.0 * (1.0 + (PI * progress).cos());
    if end <= 0.0 || step == turn {
        peak
    } else if step < turn {
        anneal(first, peak, step / turn)
    } else {
        anneal(peak, last, ((step - turn) / (end - turn)).min(1.0))
    }
}

/// How often a plateau has lasted longer than `patience` epochs.
fn reductions(history: &[f64], metric: Metric, min_delta: f64, patience: u32) -> u64 {
    let (mut best, mut bad, mut reductions) = (None, 0, 0);
    for value in history {
        if metric.improves(*value, best, min_delta) {
            (best, bad) = (Some(*value), 0);
        } else {
            bad += 1;
        }
        if bad > patience {
            (bad, reductions) = (0, reductions + 1);
        }
    }
    reductions
}

/// The name, and what of it a reader asks first.
impl std::fmt::Display for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        let percent = |fraction: f64| (fraction * 1000.0).round() / 10.0;
        match *self {
            Self::Constant {} => Ok(()),
            Self::Step { every: 1, gamma } | Self::Exponential { gamma } => {
                write!(f, ", times {gamma} an epoch")
            }
            Self::Step { every, gamma } => write!(f, ", times {gamma} every {every} epochs"),
            Self::Cosine { warmup: 0.0 } | Self::Linear { warmup: 0.0 } => Ok(()),
            Self::Cosine { warmup } | Self::Linear { warmup } => write!(f, ", warm-up {}%", percent(warmup)),
            Self::OneCycle { start: peak, .. } | Self::SlantedTriangular { cut: peak, .. } => {
                write!(f, ", peak at {}%", percent(peak))
            }
            Self::Plateau { factor, metric, .. } => write!(f, " of {metric}, times {factor}"),
        }
    }
}

#[cfg(test)]
#[path = "curve_tests.rs"]
mod tests;
