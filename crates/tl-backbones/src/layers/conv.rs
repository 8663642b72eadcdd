//! Convolutions, alone or with batch-norm.
//!
//! While batch-norm is frozen it is an affine map per channel, so it is folded into the convolution at every call:
//! one pass over the activations instead of two, exact gradients, and nothing to keep in step with the weights.

use tch::Tensor;
use tl_torch::{Init, Role, Scope};

use super::{Act, BatchNorm, NormSpec, Tag};
use crate::stage::{Block, Mode, NormMode};

/// How a convolution pads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's `same`: output is `⌈input / stride⌉`, the odd pixel of padding goes below and to the right.
    Same,
    /// So many rows above and below, columns left and right.
    Of(i64, i64),
}

/// The geometry of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvSpec {
    /// Channels in,
    pub inputs: i64,
    /// and out.
    pub outputs: i64,
    /// Height and width.
    pub kernel: (i64, i64),
    /// Along both axes.
    pub stride: i64,
    /// Groups of channels that do not mix.
    pub groups: i64,
    /// What is added at the borders.
    pub padding: Padding,
}

impl ConvSpec {
    /// Stride 1, padded by half the kernel, one group.
    #[must_use]
    pub fn new(inputs: i64, outputs: i64, kernel: i64) -> Self {
        let padding = Padding::Of(kernel / 2, kernel / 2);
        Self { inputs, outputs, kernel: (kernel, kernel), stride: 1, groups: 1, padding }
    }

    /// A kernel that is not square, padded by half of it.
    #[must_use]
    pub fn oblong(inputs: i64, outputs: i64, (height, width): (i64, i64)) -> Self {
        let padding = Padding::Of(height / 2, width / 2);
        Self { kernel: (height, width), padding, ..Self::new(inputs, outputs, 1) }
    }

    /// With another stride.
    #[must_use]
    pub fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// With so many groups.
    #[must_use]
    pub fn groups(self, groups: i64) -> Self {
        Self { groups, ..self }
    }

    /// With another padding.
    #[must_use]
    pub fn padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// Without padding.
    #[must_use]
    pub fn unpadded(self) -> Self {
        self.padding(Padding::Of(0, 0))
    }

    fn fan_in(&self) -> i64 {
        self.inputs / self.groups * self.kernel.0 * self.kernel.1
    }

    fn define_kernel(&self, scope: &Scope<'_>) -> Tensor {
        let shape = [self.outputs, self.inputs / self.groups, self.kernel.0, self.kernel.1];
        scope.param("weight", &shape, Role::Weight, Init::FanIn { gain: 2f64.sqrt(), fan_in: self.fan_in() })
    }

    fn apply(&self, xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (stride, dilation) = ([self.stride, self.stride], [1, 1]);
        let (h, w) = match self.padding {
            Padding::Of(h, w) => return xs.conv2d(weight, bias, stride, [h, w], dilation, self.groups),
            Padding::Same => {
                let size = xs.size();
                let rows = same_padding(size[2], self.kernel.0, self.stride);
                (rows, same_padding(size[3], self.kernel.1, self.stride))
            }
        };
        if h % 2 == 0 && w % 2 == 0 {
            return xs.conv2d(weight, bias, stride, [h / 2, w / 2], dilation, self.groups);
        }
        // A kernel with a row and a column of zeros more, which is small, in place of a padded copy of all activations.
        let (bottom, right) = (h - h / 2, w - w / 2);
        let weight = weight.constant_pad_nd([right - w / 2, 0, bottom - h / 2, 0]);
        xs.conv2d(&weight, bias, stride, [bottom, right], dilation, self.groups)
    }

    /// Multiply-accumulates of one image, given the output.
    fn macs(&self, ys: &Tensor) -> i64 {
        ys.size()[1..].iter().product::<i64>() * self.fan_in()
    }
}

/// Rows to add in all so that the output has `⌈size / stride⌉` rows.
fn same_padding(size: i64, kernel: i64, stride: i64) -> i64 {
    let outputs = (size + stride - 1) / stride;
    ((outputs - 1) * stride + kernel - size).max(0)
}

/// Convolution with bias, activation: one layer.
#[derive(Debug)]
pub struct Conv {
    tag: Tag,
    spec: ConvSpec,
    weight: Tensor,
    bias: Tensor,
    act: Act,
}

impl Conv {
    /// Defines `name` in `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, name: &str, spec: ConvSpec, act: Act) -> Self {
        let start = scope.defined();
        let scope = scope.sub(name);
        let weight = spec.define_kernel(&scope);
        let bias = scope.param("bias", &[spec.outputs], Role::Bias, Init::Zeros);
        Self { tag: Tag::new(&scope, start), spec, weight, bias, act }
    }
}

impl Block for Conv {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = self.act.apply(self.spec.apply(xs, &self.weight, Some(&self.bias)));
        self.tag.note("Conv2d", &ys, self.spec.macs(&ys), mode);
        ys
    }
}

/// Convolution without bias, norm or activation.
#[derive(Debug)]
pub(crate) struct BareConv {
    tag: Tag,
    spec: ConvSpec,
    weight: Tensor,
}

impl BareConv {
    /// Defines `name` in `scope`.
    pub(crate) fn new(scope: &Scope<'_>, name: &str, spec: ConvSpec) -> Self {
        let start = scope.defined();
        let scope = scope.sub(name);
        let weight = spec.define_kernel(&scope);
        Self { tag: Tag::new(&scope, start), spec, weight }
    }
}

impl Block for BareConv {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = self.spec.apply(xs, &self.weight, None);
        self.tag.note("Conv2d", &ys, self.spec.macs(&ys), mode);
        ys
    }
}

/// Convolution without bias (or, in VGG, with), batch-norm, activation.
#[derive(Debug)]
pub struct ConvNorm {
    tag: Tag,
    spec: ConvSpec,
    weight: Tensor,
    bias: Option<Tensor>,
    norm: BatchNorm,
    act: (Tag, Act),
}

impl ConvNorm {
    /// Defines `conv` and `norm` (names relative to `scope`).
    #[must_use]
    pub fn new(
        scope: &Scope<'_>,
        (conv, norm): (&str, &str),
        spec: ConvSpec,
        norm_spec: NormSpec,
        act: Act,
    ) -> Self {
        Self::define(scope, (conv, norm), spec, norm_spec, act, false)
    }

    /// The same with a bias that batch-norm makes superfluous.
    #[must_use]
    pub fn with_bias(
        scope: &Scope<'_>,
        (conv, norm): (&str, &str),
        spec: ConvSpec,
        norm_spec: NormSpec,
        act: Act,
    ) -> Self {
        Self::define(scope, (conv, norm), spec, norm_spec, act, true)
    }

    fn define(
        scope: &Scope<'_>,
        (conv, norm): (&str, &str),
        spec: ConvSpec,
        norm_spec: NormSpec,
        act: Act,
        bias: bool,
    ) -> Self {
        let start = scope.defined();
        let conv = scope.sub(conv);
        let weight = spec.define_kernel(&conv);
        let bias = bias.then(|| conv.param("bias", &[spec.outputs], Role::Bias, Init::Zeros));
        let tag = Tag::new(&conv, start);
        let norm = BatchNorm::new(scope, norm, spec.outputs, norm_spec);
        let act_tag = Tag::bare(scope, &format!("{}.act", norm.local_name()));
        Self { tag, spec, weight, bias, norm, act: (act_tag, act) }
    }

    fn run(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        match mode.norm_of(&self.norm.tag) {
            NormMode::Frozen => {
                let (scale, shift) = self.norm.affine();
                let shift = match &self.bias {
                    Some(bias) => bias * &scale + shift,
                    None => shift,
                };
                self.spec.apply(xs, &(&self.weight * scale.view([-1, 1, 1, 1])), Some(&shift))
            }
            NormMode::Batch => self.norm.batch(&self.spec.apply(xs, &self.weight, self.bias.as_ref())),
        }
    }
}

impl Block for ConvNorm {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let (tag, act) = &self.act;
        let ys = act.apply(self.run(xs, mode));
        self.tag.note("Conv2d", &ys, self.spec.macs(&ys), mode);
        self.norm.tag.note("BatchNorm2d", &ys, 0, mode);
        if *act != Act::None {
            tag.note(act.kind(), &ys, 0, mode);
        }
        ys
    }
}
