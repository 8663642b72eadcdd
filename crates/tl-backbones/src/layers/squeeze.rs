//! Squeeze and excitation (Hu et al. 2017, arXiv:1709.01507): a gate per channel, computed from the channels' means.

use tch::{Kind, Tensor};
use tl_torch::Scope;

use super::{Act, Conv, ConvSpec, Tag};
use crate::stage::{Block, Mode};

/// The function that makes the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
}

#[derive(Debug)]
pub(crate) struct SqueezeExcite {
    reduce: Conv,
    expand: Conv,
    gate: Gate,
    tag: Tag,
}

impl SqueezeExcite {
    /// Defines `conv_reduce` and `conv_expand` in `scope`.
    pub(crate) fn new(scope: &Scope<'_>, channels: i64, squeezed: i64, act: Act, gate: Gate) -> Self {
        let reduce = Conv::new(scope, "conv_reduce", ConvSpec::new(channels, squeezed, 1), act);
        let expand = Conv::new(scope, "conv_expand", ConvSpec::new(squeezed, channels, 1), Act::None);
        Self { reduce, expand, gate, tag: Tag::bare(scope, "multiply") }
    }
}

impl Block for SqueezeExcite {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let means = xs.mean_dim(&[2i64, 3][..], true, None::<Kind>);
        let gate = self.expand.forward(&self.reduce.forward(&means, mode), mode);
        let gate = match self.gate {
            Gate::Sigmoid => gate.sigmoid(),
            Gate::HardSigmoid => gate.hardsigmoid(),
        };
        let ys = xs * gate;
        self.tag.note("Multiply", &ys, 0, mode);
        ys
    }
}
