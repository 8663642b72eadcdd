//! A linear layer on the last dimension, with an activation: one layer.

use tch::Tensor;
use tl_torch::{Init, Role, Scope};

use super::{Act, Tag};
use crate::stage::{Block, Mode};

/// Widths and activation.
#[derive(Clone, Copy, Debug)]
pub struct LinearSpec {
    /// Values in,
    pub inputs: i64,
    /// and out.
    pub outputs: i64,
    /// What comes behind.
    pub act: Act,
}

/// The layer.
#[derive(Debug)]
pub struct Linear {
    tag: Tag,
    weight: Tensor,
    bias: Tensor,
    act: Act,
}

impl Linear {
    /// Defines `name` in `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, name: &str, spec: LinearSpec) -> Self {
        let LinearSpec { inputs, outputs, act } = spec;
        let start = scope.defined();
        let scope = scope.sub(name);
        let init = Init::Glorot { fan_in: inputs, fan_out: outputs };
        let weight = scope.param("weight", &[outputs, inputs], Role::Weight, init);
        let bias = scope.param("bias", &[outputs], Role::Bias, Init::Zeros);
        Self { tag: Tag::new(&scope, start), weight, bias, act }
    }
}

impl Block for Linear {
    /// `[…, inputs]` to `[…, outputs]`.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = self.act.apply(xs.linear(&self.weight, Some(&self.bias)));
        let rows = ys.size()[1..ys.dim() - 1].iter().product::<i64>();
        self.tag.note("Linear", &ys, rows * self.weight.numel() as i64, mode);
        ys
    }
}
