//! Why a head cannot be put on a backbone.
//!
//! A head's text is checked when it is read ([`crate::InvalidHead`]); what is here shows only when the text meets the
//! features of a net and the outputs of a task.

use tl_torch::TorchError;

use crate::pool::Features;

/// An error of building a head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// There is no class token to take.
    #[error(
        "pooling `cls` takes the class token, and the net gives {features}\n\nhint: use `gap`, the mean over positions"
    )]
    NoClassToken {
        /// What the net gives.
        features: Features,
    },
    /// The pooling is one of texts.
    #[error(
        "pooling `{pool}` is for the tokens of a text, and the net gives {features}\n\nhint: use `gap`, the mean over positions"
    )]
    NotText {
        /// The pooling.
        pool: &'static str,
        /// What the net gives.
        features: Features,
    },
    /// Batch-norm would mix the tokens of a text with what fills it up.
    #[error(
        "a head with an answer for each token cannot have `bn`\n\nhint: leave it out, text nets normalise by layer"
    )]
    NormOfTokens,
    /// The number of values differs from text to text.
    #[error(
        "pooling `flatten` keeps all positions, and texts have any number of them\n\nhint: use `gap`, `cls` or `last`"
    )]
    AnyLength,
    /// There is nothing to pool.
    #[error(
        "features of this shape cannot be pooled: {features}\n\nhint: the image may be too small for the net"
    )]
    NoFeatures {
        /// What the net gives.
        features: Features,
    },
    /// Not a number of outputs.
    #[error("a head needs 1 output or more, not {outputs}")]
    Outputs {
        /// What was given.
        outputs: i64,
    },
    /// Not a probability of dropout.
    #[error("dropout {dropout} is not in 0..1 (0 is none, 1 would leave nothing)")]
    Dropout {
        /// What was given.
        dropout: f64,
    },
    /// More weights than a head can be meant to have.
    #[error(
        "the head would have {weights} weights, the limit is {limit}\n\nhint: use smaller widths, or `gap` where it says `flatten`"
    )]
    TooLarge {
        /// Weights of its dense layers.
        weights: i64,
        /// The most that is allowed.
        limit: i64,
    },
    /// The parameter store refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
}
