//! How the learning rate moves inside a phase: a pure function of progress, so that it needs no state to resume.

use serde::{Deserialize, Serialize};

/// Shape of the learning rate over one phase, as a factor of the phase's rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "shape")]
pub enum Curve {
    /// Always 1.
    Constant,
    /// Linear from 0 to 1 over the first `warmup` of the phase, then half a cosine down to 0
    /// (Loshchilov and Hutter 2016, arXiv:1608.03983, without restarts).
    Cosine {
        /// Fraction of the phase, `0..1`.
        warmup: f64,
    },
}

impl Curve {
    /// The factor for step `step` of `steps` in the phase; the first step of a warm-up is above 0, the last step of a
    /// cosine too, so that no step is wasted.
    #[must_use]
    pub fn factor(self, step: u64, steps: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { warmup } => {
                let progress = (step as f64 + 0.5) / (steps.max(1)) as f64;
                if progress < warmup {
                    progress / warmup
                } else {
                    let rest = ((progress - warmup) / (1.0 - warmup)).min(1.0);
                    0.5 * (1.0 + (std::f64::consts::PI * rest).cos())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_rises_then_falls_and_never_is_zero() {
        let curve = Curve::Cosine { warmup: 0.25 };
        let factors: Vec<f64> = (0..100).map(|i| curve.factor(i, 100)).collect();
        assert!(factors.iter().all(|f| *f > 0.0 && *f <= 1.0));
        assert!(factors[..25].windows(2).all(|w| w[0] < w[1]));
        assert!(factors[25..].windows(2).all(|w| w[0] > w[1]));
        assert!((factors[62] - 0.5).abs() < 0.02);
        assert_eq!(Curve::Constant.factor(3, 7), 1.0);
        assert!(curve.factor(0, 1) > 0.0);
    }
}
