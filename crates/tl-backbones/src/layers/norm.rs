//! Normalisation: over the batch, with running statistics, or over the channels of each position.

use tch::Tensor;
use tl_torch::{Init, Role, Scope};

use super::{Act, Tag};
use crate::stage::{Block, Mode, NormMode};

/// Epsilon and momentum (PyTorch's meaning: the weight of the new batch) of a net's batch-norms.
#[derive(Clone, Copy, Debug)]
pub struct NormSpec {
    /// Added to the variance.
    pub eps: f64,
    /// Weight of a new batch in the running statistics, `0..1`.
    pub momentum: f64,
}

impl NormSpec {
    /// PyTorch's own.
    pub const TORCH: Self = Self { eps: 1e-5, momentum: 0.1 };
    /// TensorFlow's epsilon; its momentum 0.99 is 0.01 here.
    pub const TENSORFLOW: Self = Self { eps: 1e-3, momentum: 0.01 };
}

/// Batch-norm over channels (Ioffe and Szegedy 2015, arXiv:1502.03167), activation.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    pub(crate) tag: Tag,
    local: String,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    spec: NormSpec,
    act: (Tag, Act),
}

impl BatchNorm {
    pub(crate) fn new(scope: &Scope<'_>, name: &str, channels: i64, spec: NormSpec) -> Self {
        Self::with_act(scope, name, channels, spec, Act::None)
    }

    pub(crate) fn with_act(parent: &Scope<'_>, name: &str, channels: i64, spec: NormSpec, act: Act) -> Self {
        let start = parent.defined();
        let scope = parent.sub(name);
        let weight = scope.param("weight", &[channels], Role::Norm, Init::Ones);
        let bias = scope.param("bias", &[channels], Role::Norm, Init::Zeros);
        let running_mean = scope.param("running_mean", &[channels], Role::Buffer, Init::Zeros);
        let running_var = scope.param("running_var", &[channels], Role::Buffer, Init::Ones);
        let (tag, act_tag) = (Tag::new(&scope, start), Tag::bare(&scope, "act"));
        let local = name.to_owned();
        Self { tag, local, weight, bias, running_mean, running_var, spec, act: (act_tag, act) }
    }

    /// Its name below the scope it was defined in.
    pub(super) fn local_name(&self) -> &str {
        &self.local
    }

    /// Scale and shift per channel that the frozen norm amounts to.
    pub(super) fn affine(&self) -> (Tensor, Tensor) {
        let scale = &self.weight * (&self.running_var + self.spec.eps).rsqrt();
        let shift = &self.bias - &self.running_mean * &scale;
        (scale, shift)
    }

    /// With the statistics of this batch; the running ones follow. A single value a channel (one image, a map of 1 × 1)
    /// has no variance, and is treated as in inference.
    pub(super) fn batch(&self, xs: &Tensor) -> Tensor {
        self.apply(xs, xs.numel() as i64 > xs.size()[1])
    }

    fn apply(&self, xs: &Tensor, train: bool) -> Tensor {
        let NormSpec { eps, momentum } = self.spec;
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        xs.batch_norm(weight, bias, mean, var, train, momentum, eps, true)
    }
}

impl Block for BatchNorm {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let (tag, act) = &self.act;
        let ys = act.apply(match mode.norm_of(&self.tag) {
            NormMode::Batch => self.batch(xs),
            NormMode::Frozen => self.apply(xs, false),
        });
        self.tag.note("BatchNorm2d", &ys, 0, mode);
        if *act != Act::None {
            tag.note(act.kind(), &ys, 0, mode);
        }
        ys
    }
}

/// Layer-norm over channels (Ba et al. 2016, arXiv:1607.06450), of tokens, vectors or the positions of a map.
#[derive(Debug)]
pub struct LayerNorm {
    tag: Tag,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Defines `name` in `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, name: &str, channels: i64, eps: f64) -> Self {
        let start = scope.defined();
        let scope = scope.sub(name);
        let weight = scope.param("weight", &[channels], Role::Undecayed, Init::Ones);
        let bias = scope.param("bias", &[channels], Role::Undecayed, Init::Zeros);
        Self { tag: Tag::new(&scope, start), weight, bias, eps }
    }

    /// Over the last dimension, wherever that is.
    pub(crate) fn over_last(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = xs.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true);
        self.tag.note("LayerNorm", &ys, 0, mode);
        ys
    }
}

impl Block for LayerNorm {
    /// `[N, T, C]`, `[N, C]`, or `[N, C, H, W]` (over C), to the same.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        if xs.dim() != 4 {
            return self.over_last(xs, mode);
        }
        // Channels are innermost in memory already: neither permutation moves anything.
        let ys = xs.permute([0, 2, 3, 1]);
        let ys = ys.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true);
        let ys = ys.permute([0, 3, 1, 2]);
        self.tag.note("LayerNorm", &ys, 0, mode);
        ys
    }
}
