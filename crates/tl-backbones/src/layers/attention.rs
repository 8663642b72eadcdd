//! Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762), through libtorch's fused kernel.

use tch::Tensor;
use tl_torch::Scope;

use super::{Act, Linear, LinearSpec, Tag};
use crate::stage::{Block, Mode};

#[derive(Debug)]
pub(crate) struct Attention {
    qkv: Linear,
    tag: Tag,
    proj: Linear,
    heads: i64,
}

impl Attention {
    /// Defines `qkv` and `proj` in `scope`: queries, keys and values come out of one layer, in that order.
    pub(crate) fn new(scope: &Scope<'_>, width: i64, heads: i64) -> Self {
        let linear = |name: &str, outputs| {
            Linear::new(scope, name, LinearSpec { inputs: width, outputs, act: Act::None })
        };
        let qkv = linear("qkv", 3 * width);
        Self { qkv, tag: Tag::bare(scope, "attention"), proj: linear("proj", width), heads }
    }
}

impl Block for Attention {
    /// `[N, T, C]` to the same.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        // The number of images stays open, so that a recorded net takes batches of any size.
        let (_, t, c) = xs.size3().unwrap_or_default();
        let qkv =
            self.qkv.forward(xs, mode).view([-1, t, 3, self.heads, c / self.heads]).permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
        let ys = Tensor::scaled_dot_product_attention::<Tensor>(&q, &k, &v, None, 0.0, false, None, false);
        let ys = ys.transpose(1, 2).reshape([-1, t, c]);
        self.tag.note("Attention", &ys, 2 * t * t * c, mode);
        self.proj.forward(&ys, mode)
    }
}
