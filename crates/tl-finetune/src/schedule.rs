//! A schedule: phases as a person writes them, not yet checked against a net.

use serde::{Deserialize, Serialize};

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
    /// All moments start at zero.
    Fresh,
    /// What trained before keeps its moments; what joins starts at zero.
    Keep,
}

/// A part of the net that trains and its peak learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartRate {
    /// `head`, or what [`select`](crate::select) reads: a stage, block or layer, or several. Schedules written when
    /// only stages could be named say `stage` here.
    #[serde(alias = "stage")]
    pub part: String,
    /// Peak learning rate.
    pub rate: f64,
}

/// One phase: what trains, at which rate, how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Unique in the schedule.
    pub name: String,
    /// What trains; all else is frozen. No layer may be in two parts.
    pub train: Vec<PartRate>,
    /// How the rates move over the phase.
    pub curve: crate::Curve,
    /// Passes over the training images.
    pub epochs: u32,
    /// Whether training images are augmented. Without augmentation the frozen prefix runs once and its activations are
    /// reused in every epoch.
    pub augment: bool,
    /// Batch-norm of the layers that train.
    pub batch_norm: BatchNorm,
    /// Moments at the start of the phase.
    pub optimizer: OptimizerState,
    /// Whether the best weights so far are put back before the next phase.
    pub restore_best: bool,
    /// Decoupled weight decay (AdamW) of kernels and matrices; biases and norms have none.
    pub weight_decay: f64,
}

/// Phases in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule {
    /// In the order in which they run.
    pub phases: Vec<Phase>,
}
