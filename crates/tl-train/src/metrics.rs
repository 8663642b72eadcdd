//! What a set of predictions amounts to.
//!
//! The decision behind it: numbers in, numbers out. Nothing here knows a tensor, so that all of it is compared with
//! scikit-learn in a moment, and what one pass over the images has given can be judged by any metric afterwards.

mod classes;
mod judged;
mod ranking;
mod values;

pub use classes::{Confusion, OneClass, brier, calibration_error, log_loss, top_accuracy};
pub use judged::{Judged, default_metric, measured, micro_f1};
pub use ranking::{auroc, average_precision};
pub use values::{mae, r2, rmse};

/// Counts and losses of one pass over a set of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Mean cross-entropy.
    pub loss: f64,
    /// `confusion[label][predicted]`, counts.
    pub confusion: Vec<Vec<u32>>,
}

impl Scores {
    /// From the summed loss and (label, predicted) pairs over `classes` classes.
    #[must_use]
    pub fn new(loss_sum: f64, pairs: impl Iterator<Item = (u32, u32)>, classes: usize) -> Self {
        let mut confusion = vec![vec![0; classes]; classes];
        let mut n = 0u32;
        for (label, predicted) in pairs {
            confusion[label as usize][predicted as usize] += 1;
            n += 1;
        }
        Self { loss: loss_sum / f64::from(n.max(1)), confusion }
    }

    /// Number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.confusion.iter().flatten().sum::<u32>() as usize
    }

    /// Number of images classified right.
    #[must_use]
    pub fn right(&self) -> usize {
        self.confusion.iter().enumerate().map(|(i, row)| row[i] as usize).sum()
    }

    /// Fraction classified right, `0..=1`.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.right() as f64 / self.images().max(1) as f64
    }

    /// Mean over the classes present of the fraction of each that is classified right, `0..=1`.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls: Vec<f64> = self
            .confusion
            .iter()
            .enumerate()
            .map(|(i, row)| (row[i], row.iter().sum::<u32>()))
            .filter(|(_, total)| *total > 0)
            .map(|(right, total)| f64::from(right) / f64::from(total))
            .collect();
        recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
    }
}

/// 95 % interval of a fraction `right / n` (Wilson 1927).
#[must_use]
pub fn wilson(right: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (n as f64, 1.959_963_984_540_054_f64);
    let p = right as f64 / n;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// Length of the rows, if there are as many as `expected`, at least one, all of that length, of finite numbers only.
fn width(rows: &[Vec<f32>], expected: usize) -> Option<usize> {
    let width = rows.first()?.len();
    let sound = |row: &Vec<f32>| row.len() == width && row.iter().all(|value| value.is_finite());
    (rows.len() == expected && rows.iter().all(sound)).then_some(width)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_accuracy_weighs_classes_alike() {
        let pairs = [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 0)];
        let scores = Scores::new(3.0, pairs.into_iter(), 3);
        assert_eq!((scores.images(), scores.right(), scores.loss), (6, 4, 0.5));
        assert!((scores.balanced_accuracy() - (0.75 + 0.5) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn wilson_is_that_of_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(146, 153, method="wilson")
        let (low, high) = wilson(146, 153);
        assert!((low - 0.908_581_48).abs() < 1e-7 && (high - 0.977_663_78).abs() < 1e-7, "{low} {high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert!(wilson(5, 5).1 > 1.0 - 1e-12);
    }
}
