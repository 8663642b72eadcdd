//! The layers of text nets: tables, linear layers, attention over real tokens, dropout. The decision: a mask and dropout
//! come with the [`Mode`] of a pass. Attention is the fused kernel, but for short texts in bf16 on a CPU, where that is
//! slower than whole products.

use tch::{Kind, Tensor};
use tl_torch::{Activation, Draw, Init, PackedLinear, Role, Scope, drop_values};

use super::lora::{Adapter, Build};
use super::rows::Rows;
use crate::layers::{Act, Tag};
use crate::stage::Mode;

/// Added to the scores of what is filled up: its weight is 0, and a row of nothing else stays finite.
const MASKED: f64 = -1e9;

/// A table of vectors.
#[derive(Debug)]
pub(crate) struct Table {
    tag: Tag,
    pub(crate) weight: Tensor,
}

impl Table {
    /// Defines `NAME.weight`, `[rows, width]`.
    pub(crate) fn new(scope: &Scope<'_>, name: &str, [rows, width]: [i64; 2]) -> Self {
        let start = scope.defined();
        let scope = scope.sub(name);
        // A deviation of 0.02, as BERT.
        let init = Init::FanIn { gain: 1.0, fan_in: 2500 };
        let weight = scope.param("weight", &[rows, width], Role::Weight, init);
        Self { tag: Tag::new(&scope, start), weight }
    }

    /// `[…]` to `[…, width]`; a leading dimension of the batch is the caller's.
    pub(crate) fn rows(&self, at: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = Tensor::embedding(&self.weight, at, -1, false, false);
        self.tag.note("Embedding", &ys, 0, mode);
        ys
    }

    /// The first rows from `first` on, as one text has them: `[1, count, width]`.
    pub(crate) fn places(&self, first: i64, count: i64, mode: Mode<'_>) -> Tensor {
        let ys = match mode.positions {
            Some(positions) => {
                let rows = self.weight.narrow(0, first, self.weight.size()[0] - first);
                Tensor::embedding(&rows, positions, -1, false, false)
            }
            None => self.weight.narrow(0, first, count).unsqueeze(0),
        };
        self.tag.note("Embedding", &ys, 0, mode);
        ys
    }
}

/// A linear layer, with or without a bias, with or without an adapter.
#[derive(Debug)]
pub(crate) struct Dense {
    tag: Tag,
    weight: Tensor,
    bias: Option<Tensor>,
    act: Act,
    /// Whether the weight is `[inputs, outputs]`, as GPT-2 has it.
    transposed: bool,
    adapter: Option<Adapter>,
}

impl Dense {
    pub(crate) fn new(build: &Build<'_>, scope: &Scope<'_>, name: &str, sizes: [i64; 2], act: Act) -> Self {
        Self::define(build, scope, name, sizes, (act, true, false))
    }

    pub(crate) fn unbiased(
        build: &Build<'_>,
        scope: &Scope<'_>,
        name: &str,
        sizes: [i64; 2],
        act: Act,
    ) -> Self {
        Self::define(build, scope, name, sizes, (act, false, false))
    }

    pub(crate) fn transposed(
        build: &Build<'_>,
        scope: &Scope<'_>,
        name: &str,
        sizes: [i64; 2],
        act: Act,
    ) -> Self {
        Self::define(build, scope, name, sizes, (act, true, true))
    }

    fn define(
        build: &Build<'_>,
        scope: &Scope<'_>,
        name: &str,
        [inputs, outputs]: [i64; 2],
        (act, biased, transposed): (Act, bool, bool),
    ) -> Self {
        let start = scope.defined();
        let scope = scope.sub(name);
        let init = Init::Glorot { fan_in: inputs, fan_out: outputs };
        let shape = if transposed { [inputs, outputs] } else { [outputs, inputs] };
        let weight = scope.param("weight", &shape, Role::Weight, init);
        let bias = biased.then(|| scope.param("bias", &[outputs], Role::Bias, Init::Zeros));
        let tag = Tag::new(&scope, start);
        let adapter = build.adapter(&scope, [inputs, outputs]);
        Self { tag, weight, bias, act, transposed, adapter }
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub(crate) fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        if let Some(ys) = self.packed(xs, None, mode) {
            return ys;
        }
        let transposed = self.transposed.then(|| self.weight.tr());
        let mut ys = xs.linear(transposed.as_ref().unwrap_or(&self.weight), self.bias.as_ref());
        if let Some(adapter) = &self.adapter {
            ys += adapter.forward(xs, mode);
        }
        let ys = self.act.apply(ys);
        let rows = ys.size()[1..ys.dim() - 1].iter().product::<i64>();
        self.tag.note("Linear", &ys, rows * self.weight.numel() as i64, mode);
        ys
    }
}

impl Dense {
    /// The layer and `other` added to it, in one pass over memory, where that can be.
    pub(crate) fn packed(&self, xs: &Tensor, other: Option<&Tensor>, mode: Mode<'_>) -> Option<Tensor> {
        let packs = mode.packs?;
        let layer = packs.layer(self.tag.params.start, |kind, rows| {
            let act = self.packable()?;
            let weight = if self.transposed { self.weight.tr() } else { self.weight.shallow_clone() };
            PackedLinear::new(&weight, self.bias.as_ref(), (kind, act), rows).ok()
        })?;
        packs.run(&layer, xs, other)
    }

    /// Queries, keys and values of the same tokens: one product in place of three, where nobody asks for the layers.
    pub(crate) fn together(layers: &[Self; 3], xs: &Tensor, mode: Mode<'_>) -> [Tensor; 3] {
        let biased = layers[0].bias.is_some();
        let alike = |layer: &Self| layer.is_bare() && layer.bias.is_some() == biased;
        // A recording has the layers as they are published.
        if !layers.iter().all(alike) || mode.trace.is_some() || mode.positions.is_some() {
            return layers.each_ref().map(|layer| layer.forward(xs, mode));
        }
        if let Some(parts) = Self::joined(layers, xs, mode) {
            return parts;
        }
        let (weight, bias) = Self::stacked(layers);
        let ys = xs.linear(&weight, bias.as_ref());
        thirds(&ys)
    }

    /// The same from packed layers.
    fn joined(layers: &[Self; 3], xs: &Tensor, mode: Mode<'_>) -> Option<[Tensor; 3]> {
        let packs = mode.packs?;
        let layer = packs.layer(layers[0].tag.params.start, |kind, rows| {
            let (weight, bias) = Self::stacked(layers);
            PackedLinear::new(&weight, bias.as_ref(), (kind, Activation::None), rows).ok()
        })?;
        let ys = packs.run(&layer, xs, None)?;
        Some(thirds(&ys))
    }

    /// The weights of three layers as one, and their biases.
    fn stacked(layers: &[Self; 3]) -> (Tensor, Option<Tensor>) {
        let weights = layers.each_ref().map(|layer| &layer.weight);
        let biases: Vec<_> = layers.iter().filter_map(|layer| layer.bias.as_ref()).collect();
        let bias = (!biases.is_empty()).then(|| Tensor::cat(&biases, 0));
        (Tensor::cat(&weights, 0), bias)
    }

    /// Whether it is a product and at most a bias, as published.
    fn is_bare(&self) -> bool {
        self.adapter.is_none() && self.act == Act::None && !self.transposed
    }

    /// Its activation, if it can be packed.
    fn packable(&self) -> Option<Activation> {
        if self.adapter.is_some() {
            return None;
        }
        match self.act {
            Act::None => Some(Activation::None),
            Act::Relu => Some(Activation::Relu),
            Act::Gelu => Some(Activation::Gelu),
            Act::GeluTanh => Some(Activation::GeluTanh),
            Act::Silu => Some(Activation::Silu),
            Act::Tanh => Some(Activation::Tanh),
            Act::Relu6 | Act::HardSwish => None,
        }
    }
}

/// Three tensors of as many channels each, out of one.
pub(super) fn thirds(ys: &Tensor) -> [Tensor; 3] {
    let mut parts = ys.chunk(3, -1).into_iter();
    [0, 1, 2].map(|_| parts.next().unwrap_or_default())
}

/// Texts up to this many tokens are attended to by whole products in bf16 on a CPU: the fused kernel there multiplies each
/// head of each text by itself, and setting up a product takes longer than such a small one.
const SHORT: i64 = 256;

/// Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762), without parameters.
#[derive(Debug)]
pub(crate) struct Attend {
    tag: Tag,
    heads: i64,
    /// What scores are multiplied by.
    scale: f64,
    /// Whether a token sees those before it only.
    causal: bool,
}

impl Attend {
    pub(crate) fn new(scope: &Scope<'_>, heads: i64, scale: f64, causal: bool) -> Self {
        Self { tag: Tag::bare(scope, "attention"), heads, scale, causal }
    }

    /// The same of tokens that are apart from what fills up, `[R, C]` to `[R, C]`.
    pub(super) fn of_rows(
        &self,
        qkv: [Tensor; 3],
        bias: Option<&Tensor>,
        rows: Option<&Rows>,
        mode: Mode<'_>,
    ) -> Tensor {
        let [q, k, v] = qkv.map(|xs| Rows::put(rows, xs));
        Rows::take(rows, &self.forward([&q, &k, &v], bias, mode))
    }

    /// Queries, keys and values `[N, T, C]` to `[N, T, C]`. `bias` is added to the scores, `[1, heads, T, T]`.
    fn forward(&self, qkv: [&Tensor; 3], bias: Option<&Tensor>, mode: Mode<'_>) -> Tensor {
        let (_, t, c) = qkv[0].size3().unwrap_or_default();
        // Without the sizes of the batch, which a recording would take for constants.
        let [q, k, v] = qkv.map(|xs| xs.unflatten(2, [self.heads, c / self.heads]).transpose(1, 2));
        let mask = self.mask(bias, mode);
        let dropout = mode.dropout.filter(|dropout| dropout.attention > 0.0);
        let ys = if dropout.is_none() && (q.kind() != Kind::BFloat16 || t > SHORT || q.device().is_cuda()) {
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, self.causal, self.scale, false)
        } else {
            let mut scores = (q * self.scale).matmul(&k.transpose(2, 3));
            if let Some(mask) = mask {
                scores += mask;
            }
            if self.causal {
                let later = Tensor::ones([t, t], (Kind::Bool, scores.device())).triu(1);
                scores = scores.masked_fill(&later, MASKED);
            }
            let mut weights = scores.softmax(-1, Kind::Float);
            if let Some(dropout) = dropout {
                let draw = Draw { seed: dropout.seed, name: &self.tag.name, first: mode.first };
                weights = drop_values(&weights, dropout.attention, draw);
            }
            weights.to_kind(v.kind()).matmul(&v)
        };
        let ys = ys.transpose(1, 2).flatten(2, 3);
        self.tag.note("Attention", &ys, 2 * t * t * c, mode);
        ys
    }

    /// What is added to the scores: broadcast over heads and queries, a form that the fused kernel takes. Where a token
    /// sees those before it only, it never sees what fills up the end.
    fn mask(&self, bias: Option<&Tensor>, mode: Mode<'_>) -> Option<Tensor> {
        let filled = mode.mask.filter(|_| !self.causal).map(|mask| {
            let absent = mask.logical_not().to_kind(Kind::Float) * MASKED;
            absent.unsqueeze(1).unsqueeze(1)
        });
        match (bias, filled) {
            (Some(bias), Some(filled)) => Some(bias + filled),
            (Some(bias), None) => Some(bias.shallow_clone()),
            (None, filled) => filled,
        }
    }
}

/// Dropout of values, where it acts; its mask is named.
#[derive(Debug)]
pub(crate) struct Drop(String);

impl Drop {
    pub(crate) fn new(scope: &Scope<'_>, name: &str) -> Self {
        Self(scope.sub(name).path().to_owned())
    }

    pub(crate) fn forward(&self, xs: Tensor, mode: Mode<'_>) -> Tensor {
        match mode.dropout {
            Some(dropout) => {
                let draw = Draw { seed: dropout.seed, name: &self.0, first: mode.first };
                drop_values(&xs, dropout.hidden, draw)
            }
            None => xs,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};
    use tl_torch::{Fill, ParamStore};

    use super::{Attend, SHORT};
    use crate::stage::Mode;

    #[test]
    fn whole_products_in_bf16_are_the_fused_kernel() {
        let (n, heads, c) = (3, 4, 32);
        for causal in [false, true] {
            let (attend, _) =
                ParamStore::build(Device::Cpu, Fill::Later, |scope| Attend::new(scope, heads, 0.35, causal))
                    .unwrap();
            for t in [1, 7, SHORT, SHORT + 1] {
                let count = Tensor::arange(n * t * c, (Kind::Float, Device::Cpu)).view([n, t, c]);
                let qkv = [0.7, 1.3, 2.9].map(|turn| (&count * turn).sin() * 1.4);
                let lengths = Tensor::from_slice(&[t, (t + 1) / 2, 1]).unsqueeze(1);
                let real = Tensor::arange(t, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&lengths);
                let mode = Mode { mask: Some(&real), ..Mode::EVAL };
                let exact = attend.forward([&qkv[0], &qkv[1], &qkv[2]], None, mode);
                let half = qkv.map(|xs| xs.to_kind(Kind::BFloat16));
                let said = attend.forward([&half[0], &half[1], &half[2]], None, mode);
                assert_eq!(said.kind(), Kind::BFloat16);
                let seen = real.unsqueeze(2);
                let norm = |xs: Tensor| (xs.to_kind(Kind::Float) * &seen).norm().double_value(&[]);
                let off = norm(&exact - said) / norm(exact);
                assert!(off < 0.01, "{t} tokens, causal: {causal}: {off}");
            }
        }
    }
}
