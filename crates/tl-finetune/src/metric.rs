//! What a validation epoch is judged by. Names only: the numbers are computed elsewhere, the direction is known here,
//! because whoever compares two values has to know which is the better one.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number that each validation epoch gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The loss that is trained on, label smoothing and class weights included.
    Loss,
    /// Share of images whose most probable class is right.
    Accuracy,
    /// Mean over the classes of the share that is right.
    BalancedAccuracy,
    /// Share of images whose class is among the five most probable.
    #[serde(rename = "top5-accuracy")]
    Top5Accuracy,
    /// Mean over the classes of the harmonic mean of precision and recall.
    #[serde(rename = "macro-f1")]
    MacroF1,
    /// Area under the ROC curve, the mean over the classes of one against the rest.
    Auroc,
    /// Area under the precision-recall curve, the mean over the classes.
    AveragePrecision,
    /// Mean negative log-likelihood of the right class, without label smoothing and class weights.
    LogLoss,
    /// Expected calibration error (Guo et al. 2017, arXiv:1706.04599).
    Ece,
    /// Mean absolute error, for outputs that are numbers.
    Mae,
    /// Coefficient of determination, for outputs that are numbers.
    R2,
    /// Harmonic mean of precision and recall of entities, for words with tags.
    EntityF1,
    /// Share of words whose tag is right.
    WordAccuracy,
}

/// No metric has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no metric `{name}`\n\nhint: there are: {}", Metric::ALL.map(Metric::name).join(", "))]
pub struct UnknownMetric {
    /// The name asked for.
    pub name: String,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 13] = [
        Self::Loss,
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::Top5Accuracy,
        Self::MacroF1,
        Self::Auroc,
        Self::AveragePrecision,
        Self::LogLoss,
        Self::Ece,
        Self::Mae,
        Self::R2,
        Self::EntityF1,
        Self::WordAccuracy,
    ];

    /// Its name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced-accuracy",
            Self::Top5Accuracy => "top5-accuracy",
            Self::MacroF1 => "macro-f1",
            Self::Auroc => "auroc",
            Self::AveragePrecision => "average-precision",
            Self::LogLoss => "log-loss",
            Self::Ece => "ece",
            Self::Mae => "mae",
            Self::R2 => "r2",
            Self::EntityF1 => "entity-f1",
            Self::WordAccuracy => "word-accuracy",
        }
    }

    /// Whether more of it is better.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::Loss | Self::LogLoss | Self::Ece | Self::Mae)
    }

    /// Whether `value` is better than `best` by more than `min_delta`. What is not a number is never better, and
    /// anything else is better than nothing.
    #[must_use]
    pub fn improves(self, value: f64, best: Option<f64>, min_delta: f64) -> bool {
        match best {
            None => !value.is_nan(),
            Some(best) if self.higher_is_better() => value > best + min_delta,
            Some(best) => value < best - min_delta,
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let found = Self::ALL.into_iter().find(|metric| metric.name() == name);
        found.ok_or_else(|| UnknownMetric { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{metric}\""));
        }
        assert_eq!(
            "f1".parse::<Metric>().unwrap_err().to_string(),
            "there is no metric `f1`\n\nhint: there are: loss, accuracy, balanced-accuracy, top5-accuracy, macro-f1, \
             auroc, average-precision, log-loss, ece, mae, r2, entity-f1, word-accuracy"
        );
    }

    #[test]
    fn better_is_higher_or_lower() {
        let lower: Vec<&str> =
            Metric::ALL.into_iter().filter(|metric| !metric.higher_is_better()).map(Metric::name).collect();
        assert_eq!(lower, ["loss", "log-loss", "ece", "mae"]);
        for (metric, value, best, min_delta, expected) in [
            (Metric::Accuracy, 0.9, None, 0.0, true),
            (Metric::Accuracy, f64::NAN, None, 0.0, false),
            (Metric::Accuracy, f64::NAN, Some(0.1), 0.0, false),
            (Metric::Accuracy, 0.5, Some(0.5), 0.0, false),
            (Metric::Accuracy, 0.75, Some(0.5), 0.25, false),
            (Metric::Accuracy, 0.76, Some(0.5), 0.25, true),
            (Metric::Loss, 0.25, Some(0.5), 0.25, false),
            (Metric::Loss, 0.24, Some(0.5), 0.25, true),
            (Metric::Loss, 0.76, Some(0.5), 0.0, false),
        ] {
            assert_eq!(metric.improves(value, best, min_delta), expected, "{metric} {value} {best:?}");
        }
    }
}
