//! What trains, at which rate, for how long: a [`Schedule`] is checked against a net's stages and becomes a [`Plan`].
//!
//! The decision behind it: this is plain data and knows no tensors, so that a plan can be printed, priced, edited and
//! tested without a net. A plan is complete: once [`Schedule::plan`] has returned one, no unknown stage, empty phase or
//! senseless number can surface during training, and what was wrong is reported all at once.

mod curve;
mod plan;
mod preset;
mod schedule;

pub use curve::Curve;
pub use plan::{Plan, PlanError, PlanErrors, PlannedPhase, StageInfo};
pub use preset::{Preset, UnknownPreset};
pub use schedule::{BatchNorm, OptimizerState, Phase, Schedule, StageRate};
