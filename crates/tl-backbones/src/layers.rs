//! The layers that nets are made of: convolution with batch-norm, and activations.
//!
//! While batch-norm is frozen it is an affine map per channel, so it is folded into the convolution at every call:
//! one pass over the activations instead of two, exact gradients, and nothing to keep in step with the weights.

use tch::Tensor;
use tl_torch::{Init, Role, Scope};

use crate::stage::{Block, Mode, NormMode};

/// The activation after a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    None,
    Relu6,
}

/// How a convolution pads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// TensorFlow's `same`: output is `⌈input / stride⌉`, the odd pixel of padding goes below and to the right.
    Same,
}

/// The geometry of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvSpec {
    pub(crate) inputs: i64,
    pub(crate) outputs: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    pub(crate) groups: i64,
    pub(crate) padding: Padding,
}

/// Convolution without bias, batch-norm, activation.
#[derive(Debug)]
pub(crate) struct ConvNorm {
    spec: ConvSpec,
    weight: Tensor,
    norm: BatchNorm,
    act: Act,
}

/// Batch-norm over channels (Ioffe and Szegedy 2015, arXiv:1502.03167).
#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: f64,
    momentum: f64,
}

/// Epsilon and momentum (PyTorch's meaning: the weight of the new batch) of a net's batch-norms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormSpec {
    pub(crate) eps: f64,
    pub(crate) momentum: f64,
}

impl ConvNorm {
    /// Defines `conv` and `norm` (names relative to `scope`).
    pub(crate) fn new(
        scope: &Scope<'_>,
        (conv, norm): (&str, &str),
        spec: ConvSpec,
        norm_spec: NormSpec,
        act: Act,
    ) -> Self {
        let fan_in = spec.inputs / spec.groups * spec.kernel * spec.kernel;
        let shape = [spec.outputs, spec.inputs / spec.groups, spec.kernel, spec.kernel];
        let init = Init::FanIn { gain: 2f64.sqrt(), fan_in };
        let weight = scope.sub(conv).param("weight", &shape, Role::Weight, init);
        Self { spec, weight, norm: BatchNorm::new(&scope.sub(norm), spec.outputs, norm_spec), act }
    }

    fn conv(&self, xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let ConvSpec { kernel, stride, groups, padding: Padding::Same, .. } = self.spec;
        let (_, _, h, w) = sizes(xs);
        let (pad_h, pad_w) = (same_padding(h, kernel, stride), same_padding(w, kernel, stride));
        let (stride, dilation) = ([stride, stride], [1, 1]);
        if pad_h % 2 == 0 && pad_w % 2 == 0 {
            return xs.conv2d(weight, bias, stride, [pad_h / 2, pad_w / 2], dilation, groups);
        }
        let (top, left) = (pad_h / 2, pad_w / 2);
        xs.constant_pad_nd([left, pad_w - left, top, pad_h - top]).conv2d(
            weight,
            bias,
            stride,
            [0, 0],
            dilation,
            groups,
        )
    }
}

impl Block for ConvNorm {
    fn forward(&self, xs: &Tensor, mode: Mode) -> Tensor {
        let ys = match mode.norm {
            NormMode::Frozen => {
                let (scale, shift) = self.norm.affine();
                self.conv(xs, &(&self.weight * scale.view([-1, 1, 1, 1])), Some(&shift))
            }
            NormMode::Batch => self.norm.forward(&self.conv(xs, &self.weight, None)),
        };
        match self.act {
            Act::None => ys,
            // In place: neither convolution nor batch-norm keeps its output for the backward pass.
            Act::Relu6 => {
                let mut ys = ys;
                ys.relu6_()
            }
        }
    }
}

impl BatchNorm {
    fn new(scope: &Scope<'_>, channels: i64, NormSpec { eps, momentum }: NormSpec) -> Self {
        Self {
            weight: scope.param("weight", &[channels], Role::Norm, Init::Ones),
            bias: scope.param("bias", &[channels], Role::Norm, Init::Zeros),
            running_mean: scope.param("running_mean", &[channels], Role::Buffer, Init::Zeros),
            running_var: scope.param("running_var", &[channels], Role::Buffer, Init::Ones),
            eps,
            momentum,
        }
    }

    /// Scale and shift per channel that the frozen norm amounts to.
    fn affine(&self) -> (Tensor, Tensor) {
        let scale = &self.weight * (&self.running_var + self.eps).rsqrt();
        let shift = &self.bias - &self.running_mean * &scale;
        (scale, shift)
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            true,
            self.momentum,
            self.eps,
            true,
        )
    }
}

/// Batch, channels, height, width.
fn sizes(xs: &Tensor) -> (i64, i64, i64, i64) {
    let size = xs.size();
    (size[0], size[1], size[2], size[3])
}

/// Rows to add in all so that the output has `⌈size / stride⌉` rows.
fn same_padding(size: i64, kernel: i64, stride: i64) -> i64 {
    let outputs = (size + stride - 1) / stride;
    ((outputs - 1) * stride + kernel - size).max(0)
}
