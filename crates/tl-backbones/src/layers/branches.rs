//! Parallel branches joined along the channels: the module that Inception nets are made of.

use tch::Tensor;

use super::Concat;
use crate::stage::{Block, Mode};

/// Layers one after another.
pub(crate) type Branch = Vec<Box<dyn Block>>;

/// Branches of the same input, joined.
#[derive(Debug)]
pub(crate) struct Branches {
    pub(crate) branches: Vec<Branch>,
    pub(crate) concat: Concat,
}

impl Block for Branches {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let run =
            |branch: &Branch| branch.iter().fold(xs.shallow_clone(), |ys, step| step.forward(&ys, mode));
        let ys: Vec<Tensor> = self.branches.iter().map(run).collect();
        self.concat.forward(&ys, mode)
    }
}
