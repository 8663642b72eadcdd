//! The layers that nets are made of. The decision: a layer is a plain struct that knows its name and where its
//! parameters stand in the net's store, and what it does in a pass is decided by the [`Mode`](crate::Mode) of that pass.

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
pub(crate) use conv::{BareConv, Conv, ConvNorm, ConvSpec, Padding};
pub(crate) use linear::{Linear, LinearSpec};
pub(crate) use norm::{BatchNorm, LayerNorm, NormSpec};
pub(crate) use pool::{Pad, Pool, PoolSpec};
pub(crate) use scale::Scale;
pub(crate) use squeeze::{Gate, SqueezeExcite};

use std::ops::Range;

use tch::Tensor;
use tl_torch::{Scope, drop_rows};

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
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) params: Range<usize>,
}

impl Tag {
    /// Of a layer that has defined its parameters under `scope` since there were `start` of them.
    pub(crate) fn new(scope: &Scope<'_>, start: usize) -> Self {
        Self { name: scope.path().to_owned(), params: start..scope.defined() }
    }

    /// Of a layer without parameters.
    pub(crate) fn bare(scope: &Scope<'_>, name: &str) -> Self {
        let at = scope.defined();
        Self { name: scope.sub(name).path().to_owned(), params: at..at }
    }

    /// Tells an observed pass what came out.
    pub(crate) fn note(&self, kind: &'static str, ys: &Tensor, macs: i64, mode: Mode<'_>) {
        if let Some(trace) = mode.trace {
            trace.note(self, kind, ys, macs);
        }
    }
}

/// The sum of a branch and its shortcut, then an activation: two layers, as Keras lists them. Stochastic depth acts here,
/// on the branch.
#[derive(Debug)]
pub(crate) struct Add {
    tag: Tag,
    act: (Tag, Act),
}

impl Add {
    pub(crate) fn new(scope: &Scope<'_>, act: Act) -> Self {
        Self { tag: Tag::bare(scope, "add"), act: (Tag::bare(scope, "act"), act) }
    }

    pub(crate) fn forward(&self, branch: Tensor, shortcut: &Tensor, mode: Mode<'_>) -> Tensor {
        let branch = match mode.drop_path {
            Some(path) if path.rate > 0.0 => drop_rows(&branch, path.rate, path.seed, &self.tag.name),
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
pub(crate) struct Concat(Tag);

impl Concat {
    pub(crate) fn new(scope: &Scope<'_>) -> Self {
        Self(Tag::bare(scope, "concat"))
    }

    pub(crate) fn forward(&self, branches: &[Tensor], mode: Mode<'_>) -> Tensor {
        let ys = Tensor::cat(branches, 1);
        self.0.note("Concat", &ys, 0, mode);
        ys
    }
}
