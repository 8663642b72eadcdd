//! Whether one model is better than another, or only luckier.
//!
//! The decision behind it: two models that answered the same images are compared image by image, which tells far smaller
//! differences apart than two intervals side by side do.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;

/// McNemar's test (1947), exact: of the images that one has right and the other wrong, half go to each if the two are
/// equally good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Images that only the first has right.
    pub only_first: usize,
    /// Images that only the second has right.
    pub only_second: usize,
    /// Two-sided probability of a split at least as uneven, `0..=1`.
    pub p: f64,
}

/// Compares two models by which of the same images they have right.
#[must_use]
pub fn mcnemar(first: &[bool], second: &[bool]) -> McNemar {
    let count = |of: (bool, bool)| first.iter().zip(second).filter(|(a, b)| (**a, **b) == of).count();
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    let n = only_first + only_second;
    // In logarithms, since 2^n is soon beyond any number.
    let mut log_choose = 0.0;
    let mut tail = 0.0;
    for k in 0..=only_first.min(only_second) {
        if k > 0 {
            log_choose += ((n - k + 1) as f64).ln() - (k as f64).ln();
        }
        tail += (log_choose - n as f64 * std::f64::consts::LN_2).exp();
    }
    McNemar { only_first, only_second, p: (2.0 * tail).min(1.0) }
}

/// A mean difference and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Second less first, on average.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Difference {
    /// Whether it may well be none at all.
    #[must_use]
    pub fn within_noise(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// The mean of second less first over the same images, with the percentile interval of 2000 bootstrap samples (Efron and
/// Tibshirani 1993). The samples are always the same for the same number of images. None without images.
#[must_use]
pub fn paired_difference(first: &[f64], second: &[f64]) -> Option<Difference> {
    const SAMPLES: usize = 2000;
    let n = first.len();
    if n == 0 || n != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    let mean = differences.iter().sum::<f64>() / n as f64;
    let mut random = ChaCha8Rng::seed_from_u64(n as u64);
    let mut draw = || {
        let place = (u64::from(random.next_u32()) * n as u64) >> 32;
        differences[place as usize]
    };
    let mut means: Vec<f64> = (0..SAMPLES).map(|_| (0..n).map(|_| draw()).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    Some(Difference { mean, low: means[SAMPLES / 40], high: means[SAMPLES - 1 - SAMPLES / 40] })
}

/// Two-sided 95 % points of Student's t distribution with 1 to 30 degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157,
    2.228_139, 2.200_985, 2.178_813, 2.160_369, 2.144_787, 2.131_450, 2.119_905, 2.109_816, 2.100_922,
    2.093_024, 2.085_963, 2.079_614, 2.073_873, 2.068_658, 2.063_899, 2.059_539, 2.055_529, 2.051_831,
    2.048_407, 2.045_230, 2.042_272,
];

/// Mean and half the width of its 95 % interval by Student's t, as for the same run with several seeds. No width of a
/// single value; none without values.
#[must_use]
pub fn mean_interval(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if n == 1 {
        return Some((mean, None));
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let freedom = (n - 1) as f64;
    // Beyond the table the first two terms of Fisher's expansion are good to five digits.
    let z = 1.959_963_985_f64;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom * freedom);
    let far = || z + (z.powi(3) + z) / (4.0 * freedom) + second;
    let t = STUDENT.get(n - 2).copied().unwrap_or_else(far);
    Some((mean, Some(t * (variance / n as f64).sqrt())))
}
