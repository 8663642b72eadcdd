//! GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): norms come before attention and
//! perceptron, and a token sees those before it only. The norm at the end belongs to the last stage; weights are stored
//! as published, transposed.

use tch::{Kind, Tensor};
use tl_torch::Scope;

use super::config::TextConfig;
use super::layers::{Attend, Dense, Drop, Table, thirds};
use super::lora::Build;
use super::rows::Rows;
use crate::layers::{Act, Add, LayerNorm, Tag};
use crate::stage::{Block, Mode, Stage};

pub(super) fn stages(scope: &Scope<'_>, config: &Build<'_>) -> Vec<Stage> {
    let mut embeddings = Stage::new("embeddings", config.width, 1);
    embeddings.push(scope, "embeddings", |scope| Embeddings::new(scope, config));
    let mut stages = vec![embeddings];
    for i in 0..config.layers {
        let name = format!("h.{i}");
        let mut stage = Stage::new(format!("layer{i}"), config.width, 1);
        stage.push(scope, name.clone(), |scope| Decoder::new(&scope.sub(&name), config));
        if i + 1 == config.layers {
            stage.push(scope, "ln_f", |scope| LayerNorm::new(scope, "ln_f", config.width, config.eps));
        }
        stages.push(stage);
    }
    stages
}

#[derive(Debug)]
struct Embeddings {
    words: Table,
    positions: Table,
    sum: Tag,
    drop: Drop,
}

impl Embeddings {
    fn new(scope: &Scope<'_>, config: &Build<'_>) -> Self {
        Self {
            words: Table::new(scope, "wte", [config.vocabulary, config.width]),
            positions: Table::new(scope, "wpe", [config.positions, config.width]),
            sum: Tag::bare(scope, "embeddings.add"),
            drop: Drop::new(scope, "embeddings.dropout"),
        }
    }
}

impl Block for Embeddings {
    /// int64 `[N, T, 2]` to `[N, T, C]`; it knows no segments.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let words = self.words.rows(&xs.select(2, 0), mode);
        let ys = words + self.positions.places(0, xs.size()[1], mode);
        self.sum.note("Add", &ys, 0, mode);
        self.drop.forward(ys, mode)
    }
}

#[derive(Debug)]
struct Decoder {
    norm1: LayerNorm,
    qkv: Dense,
    attend: Attend,
    out: Dense,
    drop1: Drop,
    add1: Add,
    norm2: LayerNorm,
    fc1: Dense,
    fc2: Dense,
    drop2: Drop,
    add2: Add,
}

impl Decoder {
    fn new(scope: &Scope<'_>, config: &Build<'_>) -> Self {
        let TextConfig { width, heads, inner, eps, act, .. } = **config;
        let dense = |name, sizes, act| Dense::transposed(config, scope, name, sizes, act);
        Self {
            norm1: LayerNorm::new(scope, "ln_1", width, eps),
            qkv: dense("attn.c_attn", [width, 3 * width], Act::None),
            attend: Attend::new(scope, heads, (config.head_width as f64).powf(-0.5), true),
            out: dense("attn.c_proj", [width, width], Act::None),
            drop1: Drop::new(scope, "attn.dropout"),
            add1: Add::new(&scope.sub("attn"), Act::None),
            norm2: LayerNorm::new(scope, "ln_2", width, eps),
            fc1: dense("mlp.c_fc", [width, inner], act),
            fc2: dense("mlp.c_proj", [inner, width], Act::None),
            drop2: Drop::new(scope, "mlp.dropout"),
            add2: Add::new(&scope.sub("mlp"), Act::None),
        }
    }
}

impl Block for Decoder {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let rows = Rows::of(mode);
        let xs = Rows::take(rows.as_ref(), xs);
        let qkv = thirds(&self.qkv.forward(&self.norm1.forward(&xs, mode), mode));
        let ys = self.attend.of_rows(qkv, None, rows.as_ref(), mode);
        let ys = self.drop1.forward(self.out.forward(&ys, mode), mode);
        let xs = self.add1.forward(ys, &xs, mode);
        let ys = self.fc1.forward(&self.norm2.forward(&xs, mode), mode);
        let ys = self.drop2.forward(self.fc2.forward(&ys, mode), mode);
        Rows::put(rows.as_ref(), self.add2.forward(ys, &xs, mode).to_kind(Kind::Float))
    }

    fn is_residual(&self) -> bool {
        true
    }
}
