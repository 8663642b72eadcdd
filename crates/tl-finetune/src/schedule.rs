//! A schedule: phases as a person writes them, not yet checked against a net.
//!
//! The decision behind it: name, parts and epochs have to be said, all else has a default, and what is unknown is
//! refused, because a setting that is spelt wrong and ignored trains without complaint.

use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use crate::curve::Curve;
use crate::optimizer::Optimizer;
use crate::range::{Number, Range};
use crate::stop::EarlyStopping;

/// What the batch-norm layers among the layers that train do. Frozen layers always use [`BatchNorm::Frozen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// Running statistics are used and stay as they are; scale and shift stay as they are.
    /// The safe choice for little data, and the default.
    Frozen,
    /// Batch statistics are used and the running ones follow; scale and shift stay as they are.
    Statistics,
    /// Batch statistics are used, the running ones follow, scale and shift train.
    Train,
}

/// Whether a phase starts with the optimizer's moments of the phase before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerState {
    /// All moments start at zero. The default.
    Fresh,
    /// What trained before keeps its moments; what joins starts at zero.
    Keep,
}

/// A part of the net that trains and its peak learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRate {
    /// `head`, or what [`select`](crate::select) reads: a stage, block or layer, or several. Schedules written when
    /// only stages could be named say `stage` here.
    #[serde(alias = "stage")]
    pub part: String,
    /// Peak learning rate, with a decay that of the part's highest group.
    pub rate: f64,
    /// Lower rates further down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<Decay>,
}

/// Layer-wise decay of the rate (Clark et al. 2020, ELECTRA, arXiv:2003.10555; Bao et al. 2021, BEiT,
/// arXiv:2106.08254): the highest group of the part has the rate, and each group of the net below it `factor` of what
/// the one above has. Groups without parameters do not count; groups between two of the part do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decay {
    /// Above 0, at most 1. BEiT has 0.65 to 0.75, ULMFiT 1/2.6.
    pub factor: f64,
    /// What counts as a group.
    #[serde(default = "by")]
    pub by: DecayBy,
}

/// The groups of a [`Decay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayBy {
    /// Stages.
    Stage,
    /// Blocks. The default.
    Block,
}

fn by() -> DecayBy {
    DecayBy::Block
}

/// One phase: what trains, at which rate, how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Unique in the schedule.
    pub name: String,
    /// What trains; all else is frozen. No layer may be in two parts.
    pub train: Vec<PartRate>,
    /// Passes over the training images, at most.
    pub epochs: u32,
    /// Ends the phase before that.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// How the rates move over the phase: an object, or the name of a curve as it is by default.
    #[serde(default = "curve", deserialize_with = "named_curve")]
    pub curve: Curve,
    /// How gradients become steps: an object, or the name of an optimizer as it is by default.
    #[serde(default = "optimizer", deserialize_with = "named_optimizer")]
    pub optimizer: Optimizer,
    /// Moments at the start of the phase.
    #[serde(default = "optimizer_state")]
    pub optimizer_state: OptimizerState,
    /// Weight decay of kernels and matrices; biases and norms have none. Decoupled or not:
    /// [`Optimizer::decouples_weight_decay`].
    #[serde(default = "weight_decay")]
    pub weight_decay: f64,
    /// The largest norm of all gradients together; longer ones are scaled down to it.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are summed for one step, at least 1.
    #[serde(default = "accumulate")]
    pub accumulate: u32,
    /// Decay a step of an exponential moving average of the weights, which is then what is validated and kept.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Batch-norm of the layers that train.
    #[serde(default = "batch_norm")]
    pub batch_norm: BatchNorm,
    /// Dropout in place of the head's own.
    #[serde(default)]
    pub dropout: Option<f64>,
    /// Stochastic depth (Huang et al. 2016, arXiv:1603.09382) of the residual blocks that train: the chance that a
    /// block is left out, rising in a line from 0 at the net's first to this at its last.
    #[serde(default)]
    pub drop_path: f64,
    /// Label smoothing in place of the run's.
    #[serde(default)]
    pub label_smoothing: Option<f64>,
    /// Whether training images are augmented. Without augmentation the frozen prefix runs once and its activations are
    /// reused in every epoch.
    #[serde(default)]
    pub augment: bool,
    /// With 0 augmented images are new in every epoch. With K the frozen prefix runs on K views of each image, and the
    /// epochs use them in turn.
    #[serde(default)]
    pub views: u32,
    /// Whether the best weights so far are put back before the next phase.
    #[serde(default = "restore_best")]
    pub restore_best: bool,
}

fn curve() -> Curve {
    Curve::Cosine { warmup: 0.1 }
}

fn optimizer() -> Optimizer {
    Optimizer::ADAMW
}

fn optimizer_state() -> OptimizerState {
    OptimizerState::Fresh
}

fn weight_decay() -> f64 {
    1e-2
}

fn accumulate() -> u32 {
    1
}

fn batch_norm() -> BatchNorm {
    BatchNorm::Frozen
}

fn restore_best() -> bool {
    true
}

impl Phase {
    /// A phase with every default.
    #[must_use]
    pub fn new(name: &str, train: Vec<PartRate>, epochs: u32) -> Self {
        Self {
            name: name.to_owned(),
            train,
            epochs,
            early_stopping: None,
            curve: curve(),
            optimizer: optimizer(),
            optimizer_state: optimizer_state(),
            weight_decay: weight_decay(),
            clip_norm: None,
            accumulate: accumulate(),
            ema: None,
            batch_norm: batch_norm(),
            dropout: None,
            drop_path: 0.0,
            label_smoothing: None,
            augment: false,
            views: 0,
            restore_best: restore_best(),
        }
    }

    /// All numbers but those of the parts.
    pub(crate) fn numbers(&self) -> Vec<Number> {
        let option = |key, got: Option<f64>, range| got.map(|got| (key, got, range));
        let mut numbers = vec![
            ("epochs", f64::from(self.epochs), Range::FromOne),
            ("weight_decay", self.weight_decay, Range::BelowOne),
            ("accumulate", f64::from(self.accumulate), Range::FromOne),
            ("drop_path", self.drop_path, Range::BelowOne),
        ];
        numbers.extend(option("clip_norm", self.clip_norm, Range::Positive));
        numbers.extend(option("ema", self.ema, Range::Between));
        numbers.extend(option("dropout", self.dropout, Range::BelowOne));
        numbers.extend(option("label_smoothing", self.label_smoothing, Range::BelowOne));
        numbers.extend(self.curve.numbers());
        numbers.extend(self.optimizer.numbers());
        numbers.extend(self.early_stopping.iter().flat_map(EarlyStopping::numbers));
        numbers
    }
}

impl PartRate {
    /// A part with one rate.
    #[must_use]
    pub fn new(part: &str, rate: f64) -> Self {
        Self { part: part.to_owned(), rate, decay: None }
    }
}

fn named_curve<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Curve, D::Error> {
    deserializer.deserialize_any(Named { tag: "shape", what: "a curve", of: std::marker::PhantomData })
}

fn named_optimizer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Optimizer, D::Error> {
    deserializer.deserialize_any(Named { tag: "name", what: "an optimizer", of: std::marker::PhantomData })
}

/// Reads what is told by a tag from the tag alone, too.
struct Named<T> {
    tag: &'static str,
    what: &'static str,
    of: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Named<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} by its name, or an object with its `{}`", self.what, self.tag)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
        T::deserialize(MapDeserializer::new(std::iter::once((self.tag, name))))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Phases in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule {
    /// In the order in which they run.
    pub phases: Vec<Phase>,
}

/// A text that is no schedule.
#[derive(Debug, thiserror::Error)]
#[error("{}{error}", place(.path))]
pub struct ScheduleError {
    /// The key, as `[1].train[0].rate`: the second phase, its first part. A dot where the text is no JSON at all.
    pub path: String,
    /// What is wrong there, with line and column.
    pub error: serde_json::Error,
}

fn place(path: &str) -> String {
    if path == "." { String::new() } else { format!("`{path}`: ") }
}

/// The number of epochs was given for more or fewer phases than there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} numbers of epochs were given, and there are {} phases: {}", .phases.len(), .phases.join(", "))]
pub struct EpochCount {
    /// How many were given.
    pub given: usize,
    /// Names of the phases.
    pub phases: Vec<String>,
}

impl Schedule {
    /// Reads a list of phases from JSON. It is not checked against a net yet, see [`Schedule::plan`].
    ///
    /// # Errors
    /// The text is no such list; the error has the key.
    pub fn from_json(text: &str) -> Result<Self, ScheduleError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let schedule = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| ScheduleError { path: error.path().to_string(), error: error.into_inner() })?;
        reader.end().map_err(|error| ScheduleError { path: ".".to_owned(), error })?;
        Ok(schedule)
    }

    /// Sets the epochs of every phase.
    ///
    /// # Errors
    /// There are more or fewer numbers than phases.
    pub fn set_epochs(&mut self, epochs: &[u32]) -> Result<(), EpochCount> {
        if epochs.len() != self.phases.len() {
            let phases = self.phases.iter().map(|phase| phase.name.clone()).collect();
            return Err(EpochCount { given: epochs.len(), phases });
        }
        self.phases.iter_mut().zip(epochs).for_each(|(phase, epochs)| phase.epochs = *epochs);
        Ok(())
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
