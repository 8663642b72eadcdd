//! A factor per channel on a residual branch: layer scale (Touvron et al. 2021, arXiv:2103.17239).

use tch::Tensor;
use tl_torch::{Init, Role, Scope};

use super::Tag;
use crate::stage::{Block, Mode};

#[derive(Debug)]
pub(crate) struct Scale {
    tag: Tag,
    gamma: Tensor,
}

impl Scale {
    /// Defines `gamma` in `scope`.
    pub(crate) fn new(scope: &Scope<'_>, channels: i64) -> Self {
        let start = scope.defined();
        let gamma = scope.param("gamma", &[channels], Role::Undecayed, Init::Ones);
        let name = scope.sub("gamma").path().to_owned();
        Self { tag: Tag { name, params: start..scope.defined() }, gamma }
    }
}

impl Block for Scale {
    /// `[…, C]` to the same.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = xs * &self.gamma;
        self.tag.note("LayerScale", &ys, 0, mode);
        ys
    }
}
