//! The layers of a head after pooling.
//!
//! The decision behind it: whether a step trains is an argument of the call, the seed of that step or none, so that
//! there is no mode to forget and what is dropped is a function of the seed.

use tch::Tensor;
use tl_torch::{Init, Role, Scope, dropout};

use crate::spec::Activation;

/// One layer with its parameters.
#[derive(Debug)]
pub(crate) enum Step {
    Dense {
        weight: Tensor,
        bias: Tensor,
        activation: Activation,
    },
    Norm(BatchNorm),
    Dropout {
        p: f64,
        /// Tells the dropouts of one head apart.
        stream: u64,
    },
}

/// Batch-norm over `[N, C]` (Ioffe and Szegedy 2015, arXiv:1502.03167).
#[derive(Debug)]
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

/// The weight of a new batch in the running statistics; PyTorch's meaning and default. Keras's would be 0.01 here.
const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

impl Step {
    pub(crate) fn dense(scope: &Scope<'_>, (inputs, outputs): (i64, i64), activation: Activation) -> Self {
        let init = Init::Glorot { fan_in: inputs, fan_out: outputs };
        let weight = scope.param("weight", &[outputs, inputs], Role::Weight, init);
        let bias = scope.param("bias", &[outputs], Role::Bias, Init::Zeros);
        Self::Dense { weight, bias, activation }
    }

    pub(crate) fn norm(scope: &Scope<'_>, channels: i64) -> Self {
        Self::Norm(BatchNorm {
            weight: scope.param("weight", &[channels], Role::Norm, Init::Ones),
            bias: scope.param("bias", &[channels], Role::Norm, Init::Zeros),
            running_mean: scope.param("running_mean", &[channels], Role::Buffer, Init::Zeros),
            running_var: scope.param("running_var", &[channels], Role::Buffer, Init::Ones),
        })
    }

    /// What it is called in a table of layers.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Dense { activation, .. } => match activation {
                Activation::Relu => "dense, relu",
                Activation::Gelu => "dense, gelu",
                Activation::Silu => "dense, silu",
                Activation::Tanh => "dense, tanh",
                Activation::Elu => "dense, elu",
                Activation::Leaky => "dense, leaky relu",
                Activation::None => "dense",
            },
            Self::Norm(_) => "batch-norm",
            Self::Dropout { .. } => "dropout",
        }
    }

    /// Values in parameters, and in buffers.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Dense { weight, bias, .. } => (weight.numel() + bias.numel(), 0),
            Self::Norm(norm) => (
                norm.weight.numel() + norm.bias.numel(),
                norm.running_mean.numel() + norm.running_var.numel(),
            ),
            Self::Dropout { .. } => (0, 0),
        }
    }

    /// # Shapes
    /// `[N, D]` to `[N, D']`. In training `train` is the step's seed.
    pub(crate) fn forward(&self, xs: &Tensor, train: Option<u64>) -> Tensor {
        match self {
            Self::Dense { weight, bias, activation } => activation.forward(xs.linear(weight, Some(bias))),
            Self::Norm(norm) => norm.forward(xs, train.is_some()),
            Self::Dropout { p, stream } => match train {
                Some(seed) if *p > 0.0 => dropout(xs, *p, stream_seed(seed, *stream)),
                _ => xs.shallow_clone(),
            },
        }
    }
}

impl BatchNorm {
    fn forward(&self, xs: &Tensor, train: bool) -> Tensor {
        // One row has no variance: its norm would be zero everywhere, and the running variance not a number.
        let batch_statistics = train && xs.size().first().is_some_and(|&rows| rows > 1);
        // Detached, as libtorch does not move statistics that a caller has marked as trainable.
        let (mean, var) = (self.running_mean.detach(), self.running_var.detach());
        xs.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&mean),
            Some(&var),
            batch_statistics,
            MOMENTUM,
            EPS,
            true,
        )
    }
}

impl Activation {
    fn forward(self, xs: Tensor) -> Tensor {
        match self {
            Self::Relu => xs.relu(),
            Self::Gelu => xs.gelu("none"),
            Self::Silu => xs.silu(),
            Self::Tanh => xs.tanh(),
            Self::Elu => xs.elu(),
            Self::Leaky => xs.leaky_relu(),
            Self::None => xs,
        }
    }
}

/// A seed per dropout of a step (SplitMix64). Stream 0 keeps the step's own, so that heads with one dropout draw what
/// they always drew.
fn stream_seed(seed: u64, stream: u64) -> u64 {
    if stream == 0 {
        return seed;
    }
    let mut hash = seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn each_dropout_draws_its_own() {
        let ones = Tensor::ones([8, 64], (Kind::Float, Device::Cpu));
        let ys = [0, 1, 2].map(|stream| Step::Dropout { p: 0.5, stream }.forward(&ones, Some(9)));
        assert!(!ys[0].equal(&ys[1]) && !ys[1].equal(&ys[2]) && !ys[0].equal(&ys[2]));
        assert!(ys[0].equal(&dropout(&ones, 0.5, 9)));
    }

    #[test]
    fn activations_are_what_they_are_called() {
        let xs = Tensor::from_slice(&[-2f32, 0.0, 1.5]);
        for (activation, expected) in [
            (Activation::Relu, [0.0, 0.0, 1.5]),
            (Activation::Gelu, [-0.045_500_264, 0.0, 1.399_789_2]),
            (Activation::Silu, [-0.238_405_84, 0.0, 1.226_361_5]),
            (Activation::Tanh, [-0.964_027_6, 0.0, 0.905_148_3]),
            (Activation::Elu, [-0.864_664_7, 0.0, 1.5]),
            (Activation::Leaky, [-0.02, 0.0, 1.5]),
            (Activation::None, [-2.0, 0.0, 1.5]),
        ] {
            let ys = activation.forward(xs.shallow_clone());
            assert!(
                ys.allclose(&Tensor::from_slice(&expected).to_kind(Kind::Float), 1e-5, 1e-6, false),
                "{activation:?}"
            );
        }
    }
}
