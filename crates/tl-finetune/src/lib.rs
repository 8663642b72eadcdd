//! What trains, at which rate, for how long: a [`Schedule`] is checked against a [`NetInfo`] and becomes a [`Plan`].
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: this is plain data and knows no tensors, so that a plan can be printed, priced, edited and
//! tested without a net. A plan is complete: once [`Schedule::plan`] has returned one, no unknown part, empty phase or
//! senseless number can surface during training, and what was wrong is reported all at once.

mod curve;
mod error;
mod metric;
mod net;
mod optimizer;
mod part;
mod plan;
mod preset;
mod range;
mod schedule;
mod stop;
mod table;
mod warning;

#[cfg(test)]
mod nets;

pub use curve::{At, Curve};
pub use error::{PlanError, PlanErrors};
pub use metric::{Metric, UnknownMetric};
pub use net::{LayerInfo, NetInfo, StageInfo};
pub use optimizer::Optimizer;
pub use part::{PartError, select};
pub use plan::{Plan, PlannedPhase};
pub use preset::{MANY_IMAGES, Preset, PresetError, PresetOptions, UnknownPreset};
pub use schedule::{
    BatchNorm, Decay, DecayBy, EpochCount, OptimizerState, PartRate, Phase, Schedule, ScheduleError,
};
pub use stop::EarlyStopping;
pub use warning::PlanWarning;
