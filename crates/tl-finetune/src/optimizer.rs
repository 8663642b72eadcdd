//! Optimizers by name, with PyTorch's defaults.
//!
//! The decision behind it: each has exactly the settings it uses, so that a setting it has not is refused and not
//! ignored. The rate and the weight decay are the phase's, because they change from phase to phase and the rest seldom
//! does.

use serde::{Deserialize, Serialize};

use crate::range::{Number, Range};

/// How gradients become steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// `0..1`; 0 is none.
        #[serde(default)]
        momentum: f64,
        /// Nesterov's form, which needs momentum.
        #[serde(default)]
        nesterov: bool,
    },
    /// Kingma and Ba 2014, arXiv:1412.6980.
    Adam {
        /// Decay of the first moment, `0..1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment, `0..1`.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the denominator, above 0.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101). The default.
    AdamW {
        /// Decay of the first moment, `0..1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment, `0..1`.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the denominator, above 0.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Tieleman and Hinton 2012, lecture 6.5 of Neural Networks for Machine Learning.
    RmsProp {
        /// Decay of the mean square, `0..1`.
        #[serde(default = "alpha")]
        alpha: f64,
        /// Added to the denominator, above 0.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// `0..1`; 0 is none.
        #[serde(default)]
        momentum: f64,
    },
    /// Adam with a rate for each tensor after its norm (You et al. 2019, arXiv:1904.00962), for large batches. PyTorch
    /// has none; the defaults are the paper's.
    Lamb {
        /// Decay of the first moment, `0..1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment, `0..1`.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the denominator, above 0.
        #[serde(default = "lamb_epsilon")]
        epsilon: f64,
    },
    /// The sign of the momentum (Chen et al. 2023, arXiv:2302.06675, whose defaults these are). Wants a rate 3 to 10
    /// times lower than AdamW, and as much more weight decay.
    Lion {
        /// Mix of gradient and momentum in the step, `0..1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the momentum, `0..1`.
        #[serde(default = "lion_beta2")]
        beta2: f64,
    },
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

fn alpha() -> f64 {
    0.99
}

fn lamb_epsilon() -> f64 {
    1e-6
}

fn lion_beta2() -> f64 {
    0.99
}

impl Optimizer {
    /// AdamW as PyTorch has it.
    pub const ADAMW: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam { .. } => "adam",
            Self::AdamW { .. } => "adamw",
            Self::RmsProp { .. } => "rmsprop",
            Self::Lamb { .. } => "lamb",
            Self::Lion { .. } => "lion",
        }
    }

    /// Whether weight decay shrinks the weights themselves; otherwise it is added to the gradient (L2), as PyTorch
    /// has it under the same name.
    #[must_use]
    pub fn decouples_weight_decay(self) -> bool {
        matches!(self, Self::AdamW { .. } | Self::Lamb { .. } | Self::Lion { .. })
    }

    /// The same with another momentum, or first decay, as a one-cycle curve asks for it. What has no momentum gets
    /// none.
    #[must_use]
    pub fn with_momentum(mut self, value: f64) -> Self {
        match &mut self {
            Self::Sgd { momentum, .. } | Self::RmsProp { momentum, .. } if *momentum > 0.0 => {
                *momentum = value
            }
            Self::Sgd { .. } | Self::RmsProp { .. } => {}
            Self::Adam { beta1, .. }
            | Self::AdamW { beta1, .. }
            | Self::Lamb { beta1, .. }
            | Self::Lion { beta1, .. } => *beta1 = value,
        }
        self
    }

    /// The rate above which a fine-tuning run with it usually diverges.
    pub(crate) fn highest_usual_rate(self) -> f64 {
        match self {
            Self::Sgd { .. } => 1.0,
            Self::Adam { .. } | Self::AdamW { .. } | Self::RmsProp { .. } | Self::Lamb { .. } => 0.1,
            Self::Lion { .. } => 0.01,
        }
    }

    pub(crate) fn numbers(self) -> Vec<Number> {
        let adam = |beta1, beta2, epsilon| {
            vec![
                ("optimizer.beta1", beta1, Range::BelowOne),
                ("optimizer.beta2", beta2, Range::BelowOne),
                ("optimizer.epsilon", epsilon, Range::Positive),
            ]
        };
        match self {
            // Nesterov's form looks ahead along the momentum, and without any is plain descent.
            Self::Sgd { momentum, nesterov: true } => vec![("optimizer.momentum", momentum, Range::Between)],
            Self::Sgd { momentum, nesterov: false } => {
                vec![("optimizer.momentum", momentum, Range::BelowOne)]
            }
            Self::Adam { beta1, beta2, epsilon }
            | Self::AdamW { beta1, beta2, epsilon }
            | Self::Lamb { beta1, beta2, epsilon } => adam(beta1, beta2, epsilon),
            Self::RmsProp { alpha, epsilon, momentum } => vec![
                ("optimizer.alpha", alpha, Range::BelowOne),
                ("optimizer.epsilon", epsilon, Range::Positive),
                ("optimizer.momentum", momentum, Range::BelowOne),
            ],
            Self::Lion { beta1, beta2 } => {
                vec![("optimizer.beta1", beta1, Range::BelowOne), ("optimizer.beta2", beta2, Range::BelowOne)]
            }
        }
    }
}

/// The name, and what differs from the usual.
impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        let (momentum, nesterov, betas) = match *self {
            Self::Sgd { momentum, nesterov } => (momentum, nesterov, None),
            Self::RmsProp { momentum, .. } => (momentum, false, None),
            Self::Adam { beta1, beta2, .. }
            | Self::AdamW { beta1, beta2, .. }
            | Self::Lamb { beta1, beta2, .. } => (0.0, false, Some((beta1, beta2, self::beta2()))),
            Self::Lion { beta1, beta2 } => (0.0, false, Some((beta1, beta2, lion_beta2()))),
        };
        if momentum > 0.0 {
            write!(f, ", momentum {momentum}")?;
        }
        if nesterov {
            f.write_str(", nesterov")?;
        }
        match betas {
            Some((first, second, usual)) if (first, second) != (beta1(), usual) => {
                write!(f, ", betas {first} {second}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Optimizer, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// `torch.optim` 2.11; `lamb` and `lion` after their papers.
    #[test]
    fn defaults_are_those_of_pytorch() {
        for (name, expected, text) in [
            ("sgd", Optimizer::Sgd { momentum: 0.0, nesterov: false }, "sgd"),
            ("adam", Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, "adam"),
            ("adamw", Optimizer::ADAMW, "adamw"),
            ("rmsprop", Optimizer::RmsProp { alpha: 0.99, epsilon: 1e-8, momentum: 0.0 }, "rmsprop"),
            ("lamb", Optimizer::Lamb { beta1: 0.9, beta2: 0.999, epsilon: 1e-6 }, "lamb"),
            ("lion", Optimizer::Lion { beta1: 0.9, beta2: 0.99 }, "lion"),
        ] {
            let optimizer = read(&format!("{{\"name\":\"{name}\"}}")).unwrap();
            assert_eq!((optimizer, optimizer.name(), optimizer.to_string().as_str()), (expected, name, text));
            assert_eq!(read(&serde_json::to_string(&optimizer).unwrap()).unwrap(), optimizer);
            assert!(optimizer.numbers().iter().all(|(_, got, range)| range.holds(*got)));
        }
        let sgd = read(r#"{"name":"sgd","momentum":0.9,"nesterov":true}"#).unwrap();
        assert_eq!(sgd.to_string(), "sgd, momentum 0.9, nesterov");
        let adam = read(r#"{"name":"adamw","beta2":0.99}"#).unwrap();
        assert_eq!(adam.to_string(), "adamw, betas 0.9 0.99");
    }

    #[test]
    fn a_setting_of_another_optimizer_is_refused() {
        let error = read(r#"{"name":"adamw","momentum":0.9}"#).unwrap_err();
        assert!(error.starts_with("unknown field `momentum`, expected one of `beta1`"), "{error}");
        let error = read(r#"{"name":"adan"}"#).unwrap_err();
        assert!(error.starts_with("unknown variant `adan`, expected one of `sgd`, `adam`"), "{error}");
    }

    #[test]
    fn momentum_replaces_what_there_is() {
        assert_eq!(
            Optimizer::ADAMW.with_momentum(0.85),
            Optimizer::AdamW { beta1: 0.85, beta2: 0.999, epsilon: 1e-8 }
        );
        let plain = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        assert_eq!(plain.with_momentum(0.85), plain);
        let heavy = Optimizer::Sgd { momentum: 0.9, nesterov: true };
        assert_eq!(heavy.with_momentum(0.85), Optimizer::Sgd { momentum: 0.85, nesterov: true });
    }
}
