//! Whether probabilities mean what they say: the reliability diagram, the expected calibration error, and temperature
//! scaling (Guo et al. 2017, arXiv:1706.04599).
//!
//! The decision behind it: a softmax of `logits / T` is the T-th root of the probabilities, normalised, so no logits are
//! needed and one sigmoid over two classes is covered as well.

use serde::{Deserialize, Serialize};

use super::highest;

/// Bins of equal width over `0..=1`.
const BINS: usize = 15;
/// Temperatures beyond these are no fit but a sign that there is nothing to fit.
const RANGE: (f64, f64) = (0.05, 20.0);

/// With more probabilities than these a temperature is fitted on evenly chosen images.
const MOST: usize = 5_000_000;

/// How often answers of some confidence are right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error over 15 bins: how far confidence is from the share that is right, on average, `0..=1`.
    pub ece: f64,
    /// Mean negative log-likelihood of the right class.
    pub nll: f64,
    /// The bins that hold images.
    pub bins: Vec<Bin>,
    /// What logits are divided by to be as sure as they should be: above 1 the model is too sure. None where no temperature
    /// is best, as when every image is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Whether the probabilities that stand elsewhere are those after scaling: somebody asked for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub applied: bool,
    /// Whether the temperature was fitted on these very images, which flatters the figures after it.
    pub fitted_here: bool,
    /// The error after scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece_scaled: Option<f64>,
    /// The negative log-likelihood after scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nll_scaled: Option<f64>,
    /// The bins after scaling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins_scaled: Vec<Bin>,
}

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Where the bin begins; it is a fifteenth wide and holds its upper edge.
    pub low: f64,
    /// Images in it.
    pub images: usize,
    /// Mean probability of what was said.
    pub confidence: f64,
    /// Share that is right.
    pub right: f64,
}

impl Calibration {
    /// Of probabilities `[image][class]` that sum to 1. `temperature` is one that was fitted elsewhere. None without
    /// images or with less than two classes.
    pub(super) fn new(rows: &[Vec<f32>], labels: &[u32], temperature: Option<f64>) -> Option<Self> {
        if rows.first()?.len() < 2 {
            return None;
        }
        let fitted_here = temperature.is_none();
        let temperature = temperature.or_else(|| {
            let step = (rows.len() * rows[0].len()).div_ceil(MOST).max(1);
            let labels: Vec<u32> = labels.iter().copied().step_by(step).collect();
            fit(&rows.iter().step_by(step).map(|row| logs(row)).collect::<Vec<_>>(), &labels)
        });
        let plain: Vec<(f64, bool)> = rows.iter().zip(labels).map(confidence).collect();
        let (ece, bins) = binned(&plain);
        let scaled = temperature.map(|temperature| {
            // Scaling does not change what is said.
            let sure =
                rows.iter().zip(&plain).map(|(row, (_, right))| (highest_scaled(row, temperature), *right));
            let (ece, bins) = binned(&sure.collect::<Vec<_>>());
            (ece, bins, whole_nll(rows, labels, 1.0 / temperature))
        });
        let (ece_scaled, bins_scaled, nll_scaled) = match scaled {
            Some((ece, bins, nll)) => (Some(ece), bins, Some(nll)),
            None => (None, Vec::new(), None),
        };
        let nll = whole_nll(rows, labels, 1.0);
        let applied = false;
        Some(Self { ece, nll, bins, temperature, applied, fitted_here, ece_scaled, nll_scaled, bins_scaled })
    }
}

/// A probability of 0 counts as 2.2e-16, as in scikit-learn's log loss.
fn log(p: f32) -> f64 {
    f64::from(p).max(f64::EPSILON).ln()
}

fn confidence((row, label): (&Vec<f32>, &u32)) -> (f64, bool) {
    let said = highest(row);
    (f64::from(row[said]), said == *label as usize)
}

fn logs(row: &[f32]) -> Vec<f64> {
    row.iter().map(|p| log(*p)).collect()
}

/// The highest probability after scaling.
fn highest_scaled(row: &[f32], temperature: f64) -> f64 {
    let logs = logs(row);
    let most = logs.iter().copied().fold(f64::MIN, f64::max);
    1.0 / logs.iter().map(|log| ((log - most) / temperature).exp()).sum::<f64>()
}

/// The error, and the bins that hold anything.
fn binned(pairs: &[(f64, bool)]) -> (f64, Vec<Bin>) {
    let mut sums = [(0usize, 0.0, 0usize); BINS];
    for (p, right) in pairs {
        let bin = &mut sums[((p * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        *bin = (bin.0 + 1, bin.1 + p, bin.2 + usize::from(*right));
    }
    let gap = |(_, p, right): &(usize, f64, usize)| (p - *right as f64).abs();
    let ece = sums.iter().map(gap).sum::<f64>() / pairs.len().max(1) as f64;
    let bins = sums.iter().enumerate().filter(|(_, sum)| sum.0 > 0).map(|(i, (images, p, right))| Bin {
        low: i as f64 / BINS as f64,
        images: *images,
        confidence: p / *images as f64,
        right: *right as f64 / *images as f64,
    });
    (ece, bins.collect())
}

/// Negative log-likelihood of one image with all logits times `scale`.
fn loss(logs: &[f64], label: u32, scale: f64) -> f64 {
    let most = logs.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = logs.iter().map(|log| (scale * (log - most)).exp()).sum();
    sum.ln() - scale * (logs[label as usize] - most)
}

fn nll(logs: &[Vec<f64>], labels: &[u32], scale: f64) -> f64 {
    let losses = logs.iter().zip(labels).map(|(row, label)| loss(row, *label, scale));
    losses.sum::<f64>() / logs.len().max(1) as f64
}

/// The same without holding all logarithms, which are twice as large as the probabilities.
fn whole_nll(rows: &[Vec<f32>], labels: &[u32], scale: f64) -> f64 {
    let losses = rows.iter().zip(labels).map(|(row, label)| loss(&logs(row), *label, scale));
    losses.sum::<f64>() / rows.len().max(1) as f64
}

/// The temperature of least negative log-likelihood, which is convex in its inverse: golden-section search.
fn fit(logs: &[Vec<f64>], labels: &[u32]) -> Option<f64> {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (RANGE.1.recip(), RANGE.0.recip());
    let (ends, mut inner) = ((low, high), (high - ratio * (high - low), low + ratio * (high - low)));
    let mut losses = (nll(logs, labels, inner.0), nll(logs, labels, inner.1));
    while high - low > 1e-6 * low {
        if losses.0 < losses.1 {
            (high, inner.1, losses.1) = (inner.1, inner.0, losses.0);
            inner.0 = high - ratio * (high - low);
            losses.0 = nll(logs, labels, inner.0);
        } else {
            (low, inner.0, losses.0) = (inner.0, inner.1, losses.1);
            inner.1 = low + ratio * (high - low);
            losses.1 = nll(logs, labels, inner.1);
        }
    }
    let best = f64::midpoint(low, high);
    let at_an_end = (best - ends.0) < 1e-3 * ends.0 || (ends.1 - best) < 1e-3 * ends.1;
    (!at_an_end).then(|| best.recip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_every_image_is_right_there_is_no_temperature() {
        let rows = vec![vec![0.75, 0.25], vec![0.125, 0.875]];
        let calibration = Calibration::new(&rows, &[0, 1], None).unwrap();
        assert_eq!((calibration.temperature, calibration.ece_scaled), (None, None));
        // One that comes from elsewhere is taken all the same.
        let calibration = Calibration::new(&rows, &[0, 1], Some(2.0)).unwrap();
        assert!(!calibration.fitted_here && calibration.ece_scaled.unwrap() > calibration.ece);
        assert!(Calibration::new(&[], &[], None).is_none());
        assert!(Calibration::new(&[vec![1.0]], &[0], None).is_none());
    }
}
