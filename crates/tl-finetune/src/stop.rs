//! When a phase ends before its last epoch: a pure function of what its epochs have given, so that a resumed run
//! decides as an unbroken one does.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::range::{Number, Range};

/// Ends a phase that no longer gains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The phase ends after so many epochs in a row without gain, at least 1.
    pub patience: u32,
    /// What a value has to be better by to be a gain, absolute, as in Keras.
    #[serde(default)]
    pub min_delta: f64,
    /// What is watched; without it what the run picks its best weights by.
    #[serde(default)]
    pub metric: Option<Metric>,
}

impl EarlyStopping {
    /// Whether the phase ends now. `history` has the value of [`EarlyStopping::metric`] (or else of `run_metric`, by
    /// which the run picks its best weights) after each finished epoch of this phase.
    ///
    /// Decides as the `EarlyStopping` of Keras; a value that is not a number is no gain.
    #[must_use]
    pub fn stops(&self, run_metric: Metric, history: &[f64]) -> bool {
        let metric = self.metric.unwrap_or(run_metric);
        let (mut best, mut wait) = (None, 0);
        for value in history {
            if metric.improves(*value, best, self.min_delta) {
                (best, wait) = (Some(*value), 0);
            } else {
                wait += 1;
            }
        }
        wait >= self.patience && !history.is_empty()
    }

    pub(crate) fn numbers(&self) -> Vec<Number> {
        vec![
            ("early_stopping.patience", f64::from(self.patience), Range::FromOne),
            ("early_stopping.min_delta", self.min_delta, Range::NotNegative),
        ]
    }
}
