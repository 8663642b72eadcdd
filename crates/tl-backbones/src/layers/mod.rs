//! The layers that nets are made of. The decision: a layer is a plain struct that knows its name and where its
//! parameters stand in the net's store, and what it does in a pass is decided by the [`Mode`] of that pass.

mod attention;
mod branches;
mod conv;
mod linear;
mod norm;
mod pool;
mod scale;
mod squeeze;

pub(crate) use attention::Attention;
pub(crate) use branches::{Branch, Branches};
pub(crate) use conv::BareConv;
pub use conv::{Conv, ConvNorm, ConvSpec, Padding};
pub use linear::{Linear, LinearSpec};
pub(crate) use norm::BatchNorm;
pub use norm::{LayerNorm, NormSpec};
pub(crate) use pool::Pad;
pub use pool::{Pool, PoolSpec};
pub(crate) use scale::Scale;
pub(crate) use squeeze::{Gate, SqueezeExcite};

use std::ops::Range;

use tch::Tensor;
use tl_torch::{Draw, Scope, drop_rows};

use crate::stage::Mode;

/// The activation after a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Identity.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · sigmoid(x)`, also called swish (Ramachandran et al. 2017, arXiv:1710.05941).
    Silu,
    /// `x · min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, arXiv:1905.02244).
    HardSwish,
    /// `x · Φ(x)`, exact (Hendrycks and Gimpel 2016, arXiv:1606.08415).
    Gelu,
    /// Its approximation by a hyperbolic tangent, which GPT-2 was trained with.
    GeluTanh,
    /// The hyperbolic tangent.
    Tanh,
}

impl Act {
    /// In place where that is safe: neither a convolution nor a normalisation keeps its output for the backward pass.
    pub(crate) fn apply(self, xs: Tensor) -> Tensor {
        let mut xs = xs;
        match self {
            Self::None => xs,
            Self::Relu => xs.relu_(),
            Self::Relu6 => xs.relu6_(),
            Self::Silu => xs.silu(),
            Self::HardSwish => xs.hardswish(),
            Self::Gelu => xs.gelu("none"),
            Self::GeluTanh => xs.gelu("tanh"),
            Self::Tanh => xs.tanh(),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::None => "Identity",
            Self::Relu => "ReLU",
            Self::Relu6 => "ReLU6",
            Self::Silu => "SiLU",
            Self::HardSwish => "Hardswish",
            Self::Gelu | Self::GeluTanh => "GELU",
            Self::Tanh => "Tanh",
        }
    }
}

/// What a layer is called, and where its parameters stand in the net's store.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Its full name: `layer1.0.conv1`.
    pub name: String,
    /// Places in the store.
    pub params: Range<usize>,
}

impl Tag {
    /// Of a layer that has defined its parameters under `scope` since there were `start` of them.
    #[must_use]
    pub fn new(scope: &Scope<'_>, start: usize) -> Self {
        Self { name: scope.path().to_owned(), params: start..scope.defined() }
    }

    /// Of a layer without parameters.
    #[must_use]
    pub fn bare(scope: &Scope<'_>, name: &str) -> Self {
        let at = scope.defined();
        Self { name: scope.sub(name).path().to_owned(), params: at..at }
    }

    /// Tells an observed pass what came out, `[N, …]`, and how many multiply-accumulates one image took. What a layer does
    /// not note is in no summary and cannot be frozen by its name.
    pub fn note(&self, kind: &'static str, ys: &Tensor, macs: i64, mode: Mode<'_>) {
        if let Some(trace) = mode.trace {
            trace.note(self, kind, ys, macs);
        }
    }
}

/// The sum of a branch and its shortcut, then an activation: two layers, as Keras lists them. Stochastic depth acts here,
/// on the branch.
#[derive(Debug)]
pub struct Add {
    tag: Tag,
    act: (Tag, Act),
}

impl Add {
    /// Of the block under `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, act: Act) -> Self {
        Self { tag: Tag::bare(scope, "add"), act: (Tag::bare(scope, "act"), act) }
    }

    /// Both of one shape, which is also that of the sum.
    pub fn forward(&self, branch: Tensor, shortcut: &Tensor, mode: Mode<'_>) -> Tensor {
        let branch = match mode.drop_path {
            Some(path) if path.rate > 0.0 => {
                let draw = Draw { seed: path.seed, name: &self.tag.name, first: mode.first };
                drop_rows(&branch, path.rate, draw)
            }
            _ => branch,
        };
        let ys = branch + shortcut;
        self.tag.note("Add", &ys, 0, mode);
        let (tag, act) = &self.act;
        if *act == Act::None {
            return ys;
        }
        let ys = act.apply(ys);
        tag.note(act.kind(), &ys, 0, mode);
        ys
    }
}

/// Branches joined along the channels.
#[derive(Debug)]
pub struct Concat(Tag);

impl Concat {
    /// Of the block under `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>) -> Self {
        Self(Tag::bare(scope, "concat"))
    }

    /// `[N, C_i, H, W]` each, to `[N, ΣC_i, H, W]`.
    pub fn forward(&self, branches: &[Tensor], mode: Mode<'_>) -> Tensor {
        let ys = Tensor::cat(branches, 1);
        self.0.note("Concat", &ys, 0, mode);
        ys
    }
}
