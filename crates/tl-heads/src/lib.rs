//! Features to predictions: pooling, then dense layers; and what a prediction is and costs.
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: pooling has no parameters, so it is a separate step that can run once with the frozen
//! prefix; what a head phase then reads per image is a vector and not a feature map. A head is written in words
//! ([`HeadSpec`]), because words go on a command line, into a run's files and into a saved model alike.

mod error;
mod head;
mod pool;
mod spec;
mod step;
mod task;

pub use error::HeadError;
pub use head::{Head, HeadLayer, Training};
pub use pool::{Features, Pool};
pub use spec::{Activation, HeadSpec, InvalidHead, Part};
pub use task::{LossOptions, Task};

use tch::Kind;

/// The kind to compute in: half-precision values are widened, all others stay.
fn at_least_float(kind: Kind) -> Kind {
    if matches!(kind, Kind::Half | Kind::BFloat16) { Kind::Float } else { kind }
}
