//! Pooling: from a feature map or from tokens to one vector per image or text.
//!
//! The decision behind it: no pooling here has parameters, and each is a pure function of its input. So its result can
//! be computed once for a frozen backbone and kept. GeM's exponent is learned in its paper; here it is fixed for that
//! reason.

use std::fmt;

use tch::{Kind, Tensor};

use crate::at_least_float;
use crate::error::HeadError;

/// The exponent of the generalised mean; the value from which its paper starts learning.
const GEM_P: f64 = 3.0;
/// What smaller values count as in the generalised mean, which is defined for positive ones only.
const GEM_FLOOR: f64 = 1e-6;
/// What fills up counts as this where the greatest value is looked for: less than all others, and finite.
const LEAST: f64 = -1e30;

/// The shape of what a net gives for one image or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Feature maps `[N, C, H, W]`.
    Map {
        /// C.
        channels: i64,
        /// H.
        height: i64,
        /// W.
        width: i64,
    },
    /// Tokens `[N, T, C]`.
    Tokens {
        /// T, those before the patches included.
        tokens: i64,
        /// C.
        channels: i64,
        /// How many of the first tokens stand for no patch: the class token (which comes first), registers. `0..T`.
        prefix: i64,
    },
    /// Tokens of texts `[N, T, C]`, any number of them, of which some at the end of a text may be there to fill up.
    Text {
        /// C.
        channels: i64,
    },
}

/// How features become a vector. Over tokens of images all but [`Pool::Class`] see patches only, as timm's `global_pool`
/// does; over those of texts they see all real tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// `gap` or `avg`: the mean over positions (Lin et al. 2013, arXiv:1312.4400).
    Average,
    /// `max`: the greatest value over positions. Where several are greatest they share the gradient.
    Max,
    /// `concat`: maximum and mean, in this order, as in fastai's `AdaptiveConcatPool2d` (timm's `catavgmax` is the
    /// other way round).
    Concat,
    /// `gem`: the generalised mean `(mean(max(x, 1e-6)³))^⅓` (Radenović et al. 2017, arXiv:1711.02512). Its exponent
    /// is fixed at 3, so that pooled features stay a pure function of the image and can be kept. Negative values
    /// count as 1e-6.
    Gem,
    /// `flatten`: all values, in the order of the dimensions. Fixes the image size.
    Flatten,
    /// `cls`: the class token, token 0; of a text its first token.
    Class,
    /// `last`: the last real token of a text.
    Last,
    /// `tokens`: nothing is pooled, each token of a text has an answer of its own.
    Tokens,
}

impl Features {
    /// Number of channels.
    #[must_use]
    pub const fn channels(self) -> i64 {
        match self {
            Self::Map { channels, .. } | Self::Tokens { channels, .. } | Self::Text { channels } => channels,
        }
    }

    /// Number of pooled positions; `None` when any number is out of its range.
    fn positions(self) -> Option<i64> {
        let positions = match self {
            Self::Map { height, width, .. } if height > 0 && width > 0 => height.checked_mul(width)?,
            Self::Tokens { tokens, prefix, .. } if prefix >= 0 => tokens.checked_sub(prefix)?,
            // Any number; what depends on it is refused before it is asked for.
            Self::Text { .. } => 1,
            _ => return None,
        };
        (positions > 0 && self.channels() > 0).then_some(positions)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { channels, height, width } => {
                write!(f, "feature maps of {channels} channels, {height} × {width} positions")
            }
            Self::Tokens { tokens, channels, prefix } => {
                write!(f, "{tokens} tokens of {channels} channels, {prefix} of them before the patches")
            }
            Self::Text { channels } => write!(f, "the tokens of a text, of {channels} channels"),
        }
    }
}

impl Pool {
    /// All of them, by the word that stands for each.
    pub(crate) const WORDS: [(&'static str, Self); 8] = [
        ("gap", Self::Average),
        ("max", Self::Max),
        ("concat", Self::Concat),
        ("gem", Self::Gem),
        ("flatten", Self::Flatten),
        ("cls", Self::Class),
        ("last", Self::Last),
        ("tokens", Self::Tokens),
    ];

    /// The word for it in a [`crate::HeadSpec`].
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Average => "gap",
            Self::Max => "max",
            Self::Concat => "concat",
            Self::Gem => "gem",
            Self::Flatten => "flatten",
            Self::Class => "cls",
            Self::Last => "last",
            Self::Tokens => "tokens",
        }
    }

    /// What it is called in a table of layers.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Average => "average pooling",
            Self::Max => "max pooling",
            Self::Concat => "max and average pooling",
            Self::Gem => "generalised-mean pooling",
            Self::Flatten => "flatten",
            Self::Class => "class token",
            Self::Last => "last token",
            Self::Tokens => "each token",
        }
    }

    /// The length of the pooled vector.
    ///
    /// # Errors
    /// The features have no class token or no last token, no positions to pool over, or any number of them and are to
    /// be kept apart.
    pub fn width(self, features: Features) -> Result<i64, HeadError> {
        let nothing = HeadError::NoFeatures { features };
        let (channels, Some(positions)) = (features.channels(), features.positions()) else {
            return Err(nothing);
        };
        match self {
            Self::Flatten if matches!(features, Features::Text { .. }) => Err(HeadError::AnyLength),
            Self::Average | Self::Max | Self::Gem => Ok(channels),
            Self::Concat => channels.checked_mul(2).ok_or(nothing),
            Self::Flatten => channels.checked_mul(positions).ok_or(nothing),
            Self::Class
                if matches!(features, Features::Tokens { prefix: 1.., .. } | Features::Text { .. }) =>
            {
                Ok(channels)
            }
            Self::Last | Self::Tokens if matches!(features, Features::Text { .. }) => Ok(channels),
            Self::Last | Self::Tokens => Err(HeadError::NotText { pool: self.word(), features }),
            Self::Class => Err(HeadError::NoClassToken { features }),
        }
    }

    /// # Shapes
    /// `[N, C, H, W]` or `[N, T, C]`, as `features` says, to `[N, D]`, D being [`Pool::width`]; [`Pool::Tokens`] to
    /// `[N, T, D]`. Half precision
    /// becomes f32. `mask`, bool `[N, T]`, says which tokens of texts are real, none means all.
    pub(crate) fn forward(self, xs: &Tensor, features: Features, mask: Option<&Tensor>) -> Tensor {
        if let (Features::Text { .. }, Some(mask)) = (features, mask) {
            return self.masked(xs, mask);
        }
        let (patches, dims): (Tensor, &[i64]) = match features {
            Features::Map { .. } => (xs.shallow_clone(), &[2, 3]),
            Features::Tokens { prefix, .. } => (xs.slice(1, prefix, None, 1), &[1]),
            Features::Text { .. } => (xs.shallow_clone(), &[1]),
        };
        let kind = at_least_float(xs.kind());
        let mean = |xs: &Tensor| xs.mean_dim(dims, false, kind);
        let max = |xs: &Tensor| xs.amax(dims, false).to_kind(kind);
        match self {
            Self::Average => mean(&patches),
            Self::Max => max(&patches),
            Self::Concat => Tensor::cat(&[max(&patches), mean(&patches)], 1),
            Self::Gem => {
                let powers = patches.to_kind(kind).clamp_min(GEM_FLOOR).pow_tensor_scalar(GEM_P);
                mean(&powers).pow_tensor_scalar(1.0 / GEM_P)
            }
            Self::Flatten => patches.contiguous().flatten(1, -1).to_kind(kind),
            Self::Class => xs.select(1, 0).to_kind(kind),
            Self::Last => xs.select(1, -1).to_kind(kind),
            Self::Tokens => xs.to_kind(kind),
        }
    }

    /// Over the real tokens of texts. A text without any is finite.
    fn masked(self, xs: &Tensor, mask: &Tensor) -> Tensor {
        let xs = xs.to_kind(at_least_float(xs.kind()));
        let real = mask.to_kind(xs.kind()).unsqueeze(2);
        let count = real.sum_dim_intlist(1, false, xs.kind()).clamp_min(1.0);
        let mean = |xs: &Tensor| (xs * &real).sum_dim_intlist(1, false, xs.kind()) / &count;
        let max = || xs.masked_fill(&mask.logical_not().unsqueeze(2), LEAST).amax(1, false);
        match self {
            Self::Average => mean(&xs),
            Self::Max => max(),
            Self::Concat => Tensor::cat(&[max(), mean(&xs)], 1),
            Self::Gem => {
                mean(&xs.clamp_min(GEM_FLOOR).pow_tensor_scalar(GEM_P)).pow_tensor_scalar(1.0 / GEM_P)
            }
            // No head of texts flattens: its width is refused.
            Self::Flatten => (&xs * &real).contiguous().flatten(1, -1),
            Self::Class => xs.select(1, 0),
            Self::Tokens => xs * real,
            Self::Last => {
                let last = mask.sum_dim_intlist(1, false, Kind::Int64).clamp_min(1) - 1;
                let at = last.view([-1, 1, 1]).expand([-1, 1, xs.size()[2]], false);
                xs.gather(1, &at, false).squeeze_dim(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_follow_the_features() {
        let map = Features::Map { channels: 6, height: 3, width: 4 };
        let tokens = Features::Tokens { tokens: 13, channels: 6, prefix: 1 };
        for (pool, width) in
            [(Pool::Average, 6), (Pool::Max, 6), (Pool::Gem, 6), (Pool::Concat, 12), (Pool::Flatten, 72)]
        {
            assert_eq!(pool.width(map).unwrap(), width);
            assert_eq!(pool.width(tokens).unwrap(), width);
        }
        assert_eq!(Pool::Class.width(tokens).unwrap(), 6);
    }

    /// What fills up is as good as cut off.
    #[test]
    fn texts_are_pooled_over_their_real_tokens() {
        let (lengths, t, c) = ([5, 2, 1], 5, 3);
        let xs = (Tensor::arange(3 * t * c, (Kind::Float, tch::Device::Cpu)) * 1.7).sin().view([3, t, c]);
        let places = Tensor::arange(t, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        let mask = places.less_tensor(&Tensor::from_slice(&lengths).unsqueeze(1));
        let features = Features::Text { channels: c };
        for pool in [Pool::Average, Pool::Max, Pool::Concat, Pool::Gem, Pool::Class, Pool::Last] {
            let pooled = pool.forward(&xs, features, Some(&mask));
            assert_eq!(pooled.size(), [3, pool.width(features).unwrap()], "{pool:?}");
            for (i, length) in lengths.into_iter().enumerate() {
                let alone = xs.narrow(0, i as i64, 1).narrow(1, 0, length);
                let alone = pool.forward(&alone, features, None);
                assert!(pooled.get(i as i64).allclose(&alone.get(0), 1e-6, 1e-6, false), "{pool:?} {length}");
            }
            let nothing = pool.forward(&xs, features, Some(&mask.zeros_like()));
            assert_eq!(nothing.isfinite().all().int64_value(&[]), 1, "{pool:?}");
        }
        assert!(Pool::Flatten.width(features).unwrap_err().to_string().starts_with("pooling `flatten`"));
        let map = Features::Map { channels: 2, height: 1, width: 1 };
        assert!(Pool::Last.width(map).unwrap_err().to_string().starts_with("pooling `last`"));
        assert_eq!(Pool::Tokens.width(features).unwrap(), c);
        let kept = Pool::Tokens.forward(&xs, features, Some(&mask));
        assert!(kept.equal(&(&xs * mask.unsqueeze(2).to_kind(Kind::Float))));
    }

    #[test]
    fn features_that_cannot_be_pooled_are_refused() {
        let map = |channels, height, width| Features::Map { channels, height, width };
        let tokens = |tokens, channels, prefix| Features::Tokens { tokens, channels, prefix };
        for features in [
            map(0, 7, 7),
            map(6, 0, 7),
            map(6, -3, -3),
            map(2, i64::MAX, i64::MAX),
            map(2, i64::MAX, 1),
            tokens(1, 6, 1),
            tokens(5, -6, 1),
            tokens(5, 6, -1),
            tokens(i64::MIN, 6, 1),
        ] {
            let error = Pool::Flatten.width(features).unwrap_err();
            assert!(error.to_string().starts_with("features of this shape cannot be pooled: "), "{error}");
        }
        let message = "pooling `cls` takes the class token, and the net gives ";
        for (features, shown) in [
            (map(512, 7, 9), "feature maps of 512 channels, 7 × 9 positions\n"),
            (tokens(196, 768, 0), "196 tokens of 768 channels, 0 of them before the patches\n"),
        ] {
            let error = Pool::Class.width(features).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{message}{shown}")), "{error}");
        }
    }
}
