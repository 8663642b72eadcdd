//! What a head predicts: how many outputs it has, what they cost, and what they say.
//!
//! The decision behind it: a loss is one number per image, and the loss of a batch is their mean. So what an image
//! counts does not depend on which others are in its batch, and the loss of a set of images is the mean over it.

use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use crate::at_least_float;

/// The kind of answer.
///
/// As JSON: `{"kind":"softmax","classes":3}`, `{"kind":"binary"}`, `{"kind":"multi-label","labels":5}`,
/// `{"kind":"regression","targets":1}`, `{"kind":"tagging","tags":9}`, `{"kind":"tagging","tags":17,"entities":false}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Task {
    /// One of several classes.
    Softmax {
        /// How many, 1 or more.
        classes: i64,
    },
    /// One of two classes, by one output: the log-odds of the second.
    Binary,
    /// Any number of labels at once, each with an output of its own.
    MultiLabel {
        /// How many, 1 or more.
        labels: i64,
    },
    /// Numbers.
    Regression {
        /// How many, 1 or more.
        targets: i64,
    },
    /// One of several tags for each word of a text. What stands for an image elsewhere is here a word, `N` words in all.
    Tagging {
        /// How many, 1 or more.
        tags: i64,
        /// Whether tags mark entities (`B-PER`, `I-PER`, `O`), and do not say something of each word alone.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        entities: bool,
    },
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// What a loss is to take into account. The default is none of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossOptions<'a> {
    /// The share of a target that goes to the uniform distribution, `0..1`: over the classes, or between absent and
    /// present (Szegedy et al. 2015, arXiv:1512.00567). Regression has none and ignores it.
    pub label_smoothing: f64,
    /// Factors on the terms of a loss; [`Task::losses`] says what shape.
    pub class_weights: Option<&'a Tensor>,
    /// γ of the focal loss (Lin et al. 2017, arXiv:1708.02002), 0 or more: what is answered well counts less. 0 is
    /// plain cross-entropy. Regression has none and ignores it.
    pub focal: f64,
}

impl Task {
    /// Outputs of the head.
    #[must_use]
    pub const fn outputs(self) -> i64 {
        match self {
            Self::Softmax { classes: n }
            | Self::MultiLabel { labels: n }
            | Self::Regression { targets: n }
            | Self::Tagging { tags: n, .. } => n,
            Self::Binary => 1,
        }
    }

    /// How many things an answer is about, and columns of [`Task::probabilities`]: as [`Task::outputs`], but two for
    /// [`Task::Binary`].
    #[must_use]
    pub const fn names(self) -> i64 {
        match self {
            Self::Binary => 2,
            _ => self.outputs(),
        }
    }

    /// The mean of [`Task::losses`] over the batch.
    ///
    /// # Shapes
    /// As there, to a scalar.
    ///
    /// # Panics
    /// As there.
    pub fn loss(self, logits: &Tensor, targets: &Tensor, options: LossOptions<'_>) -> Tensor {
        let losses = self.losses(logits, targets, options);
        losses.mean(losses.kind())
    }

    /// The loss of each image.
    ///
    /// Class weights multiply the terms of a loss. The loss of a batch is divided by the number of images, as in Keras,
    /// and not by the sum of their weights, as PyTorch's weighted cross-entropy does.
    ///
    /// With a focal γ, the term of a class of softmax, `−target · log p`, is multiplied by `(1 − p)^γ`; and a binary
    /// cross-entropy by `(1 − p_t)^γ`, where `p_t` is `target · p + (1 − target) · (1 − p)`, as in torchvision's
    /// `sigmoid_focal_loss` (its α is what class weights do). For targets of 0 and 1 both are the paper's; smoothed
    /// targets make binary differ from softmax over two.
    ///
    /// | | loss | targets | class weights |
    /// |---|---|---|---|
    /// | softmax, tagging | cross-entropy | int64 `[N]`, `0..classes` | `[classes]` |
    /// | binary | binary cross-entropy | int64 `[N]`, 0 or 1 | `[2]` |
    /// | multi-label | mean binary cross-entropy | float `[N, labels]`, 0 (absent) to 1 (present) | `[labels]`, for the term of presence (PyTorch's `pos_weight`) |
    /// | regression | mean squared error | float `[N, targets]`, or `[N]` if there is one | `[targets]` |
    ///
    /// # Shapes
    /// Logits `[N, outputs]` and targets as above to `[N]`, f32, or f64 if the logits are.
    ///
    /// # Panics
    /// When shapes do not fit, or a class is out of range; the caller owns both.
    pub fn losses(self, logits: &Tensor, targets: &Tensor, options: LossOptions<'_>) -> Tensor {
        let LossOptions { label_smoothing, class_weights, focal } = options;
        let logits = logits.to_kind(at_least_float(logits.kind()));
        let like = |xs: &Tensor| xs.to_kind(logits.kind()).to_device(logits.device());
        let weights = class_weights.map(like);
        // By shape and not by broadcasting, which would compare each with each.
        let fitted = || like(&targets.reshape(logits.size()));
        // 0 to 1 becomes s/2 to 1 − s/2.
        let smoothed = || fitted() * (1.0 - label_smoothing) + label_smoothing / 2.0;
        match self {
            Self::Softmax { classes } | Self::Tagging { tags: classes, .. } if focal > 0.0 => {
                let targets = like(&targets.one_hot(classes));
                let targets = targets * (1.0 - label_smoothing) + label_smoothing / classes as f64;
                let log_p = logits.log_softmax(1, logits.kind());
                let terms = targets * &log_p * focus(&-log_p.expm1(), focal);
                -weighted(terms, weights).sum_dim_intlist(1, false, None)
            }
            Self::Softmax { .. } | Self::Tagging { .. } => {
                let (none, ignored) = (Reduction::None, -100);
                logits.cross_entropy_loss(targets, weights.as_ref(), none, ignored, label_smoothing)
            }
            Self::Binary => {
                let weight = |class| weights.as_ref().map(|weights| weights.select(0, class));
                cross_entropy_of_bits(&logits, &smoothed(), [weight(0), weight(1)], focal).squeeze_dim(1)
            }
            Self::MultiLabel { .. } => {
                cross_entropy_of_bits(&logits, &smoothed(), [None, weights], focal).mean_dim(1, false, None)
            }
            Self::Regression { .. } => {
                weighted((&logits - fitted()).square(), weights).mean_dim(1, false, None)
            }
        }
    }

    /// What the outputs say.
    ///
    /// # Shapes
    /// Logits `[N, outputs]` to `[N, names]`, f32, or f64 if the logits are: softmax over the classes; `(1 − p, p)` of
    /// the two classes; the probability of each label by itself; of a regression the values as they are.
    pub fn probabilities(self, logits: &Tensor) -> Tensor {
        let logits = logits.to_kind(at_least_float(logits.kind()));
        match self {
            Self::Softmax { .. } | Self::Tagging { .. } => logits.softmax(-1, logits.kind()),
            // Both by a sigmoid: 1 − p would be 0 where p rounds to 1.
            Self::Binary => Tensor::cat(&[-&logits, logits], 1).sigmoid(),
            Self::MultiLabel { .. } => logits.sigmoid(),
            Self::Regression { .. } => logits,
        }
    }
}

/// Cross-entropy per output, with weights of the terms of absence and of presence, and the focal γ.
///
/// # Shapes
/// `[N, L]` both, weights scalars or `[L]`, to `[N, L]`.
fn cross_entropy_of_bits(
    logits: &Tensor,
    targets: &Tensor,
    [absent, present]: [Option<Tensor>; 2],
    focal: f64,
) -> Tensor {
    let of_absence = (1.0 - targets) * (-logits).log_sigmoid();
    let of_presence = targets * logits.log_sigmoid();
    let losses = -(weighted(of_absence, absent) + weighted(of_presence, present));
    if focal > 0.0 {
        // 1 − p_t, each part by a sigmoid: 1 − p would be 0 where p rounds to 1.
        let missed = (1.0 - targets) * logits.sigmoid() + targets * (-logits).sigmoid();
        return losses * focus(&missed, focal);
    }
    losses
}

/// The focal factor of what is missed, `1 − p`. Below the smallest normal number it is held: the slope of a power below
/// 1 is infinite at 0, and infinity times a term of 0 is not a number.
fn focus(missed: &Tensor, focal: f64) -> Tensor {
    missed.clamp_min(f64::from(f32::MIN_POSITIVE)).pow_tensor_scalar(focal)
}

fn weighted(terms: Tensor, weights: Option<Tensor>) -> Tensor {
    match weights {
        Some(weights) => terms * weights,
        None => terms,
    }
}
