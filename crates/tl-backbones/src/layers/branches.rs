//! Parallel branches joined along the channels: the module that Inception nets are made of.

use tch::Tensor;

use super::{Concat, ConvNorm, Pool};
use crate::stage::{Block, Mode};

/// One step of a branch.
#[derive(Debug)]
pub(crate) enum Step {
    Conv(ConvNorm),
    Pool(Pool),
    /// Several convolutions of the same input, joined.
    Fork(Vec<ConvNorm>, Concat),
}

#[derive(Debug)]
pub(crate) struct Branches {
    pub(crate) branches: Vec<Vec<Step>>,
    pub(crate) concat: Concat,
}

impl Block for Step {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        match self {
            Self::Conv(conv) => conv.forward(xs, mode),
            Self::Pool(pool) => pool.forward(xs, mode),
            Self::Fork(convs, concat) => {
                let ys: Vec<Tensor> = convs.iter().map(|conv| conv.forward(xs, mode)).collect();
                concat.forward(&ys, mode)
            }
        }
    }
}

impl Block for Branches {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let run =
            |branch: &Vec<Step>| branch.iter().fold(xs.shallow_clone(), |ys, step| step.forward(&ys, mode));
        let ys: Vec<Tensor> = self.branches.iter().map(run).collect();
        self.concat.forward(&ys, mode)
    }
}
