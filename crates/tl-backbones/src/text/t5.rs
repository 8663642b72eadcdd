//! The encoder of T5 (Raffel et al. 2019, arXiv:1910.10683), versions 1.0 and 1.1, and of mT5: norms without a mean come
//! before attention and perceptron, scores are not scaled, and distances between tokens add to them.
//!
//! What a distance adds is one table for all layers. It is a block of the stage `embeddings` here, so that every
//! parameter is in one stage; layers read it, and [`Stage::shared`] says so.

use tch::{Kind, Tensor};
use tl_torch::{Init, Role, Scope};

use super::config::TextConfig;
use super::layers::{Attend, Dense, Drop, Table};
use super::lora::Build;
use super::rows::Rows;
use crate::layers::{Act, Add, Tag};
use crate::stage::{Block, Mode, Stage};

pub(super) fn stages(scope: &Scope<'_>, config: &Build<'_>) -> Vec<Stage> {
    let mut embeddings = Stage::new("embeddings", config.width, 1);
    embeddings.push(scope, "embeddings", |scope| Embeddings {
        words: Table::new(scope, "shared", [config.vocabulary, config.width]),
        drop: Drop::new(scope, "embeddings.dropout"),
    });
    let start = scope.defined();
    let mut distances = None;
    embeddings.push(scope, "distances", |scope| {
        let table = Distances::new(scope, config);
        let noted = Noted { tag: table.tag.clone(), weight: table.weight.shallow_clone() };
        distances = Some(table);
        noted
    });
    let shared = start..scope.defined();
    let mut stages = vec![embeddings];
    for i in 0..config.layers {
        let name = format!("encoder.block.{i}");
        let mut stage = Stage::new(format!("layer{i}"), config.width, 1);
        stage.shared = shared.clone();
        let table = distances.as_ref().map(Distances::clone);
        stage.push(scope, name.clone(), |scope| Encoder::new(&scope.sub(&name).sub("layer"), config, table));
        if i + 1 == config.layers {
            stage.push(scope, "encoder.final_layer_norm", |scope| Last {
                norm: RmsNorm::new(&scope.sub("encoder"), "final_layer_norm", config),
                drop: Drop::new(scope, "encoder.dropout"),
            });
        }
        stages.push(stage);
    }
    stages
}

#[derive(Debug)]
struct Embeddings {
    words: Table,
    drop: Drop,
}

impl Block for Embeddings {
    /// int64 `[N, T, 2]` to `[N, T, C]`; it knows no segments.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.drop.forward(self.words.rows(&xs.select(2, 0), mode), mode)
    }
}

/// What the distance of two tokens adds to their score, by head.
#[derive(Debug)]
struct Distances {
    tag: Tag,
    /// `[buckets, heads]`.
    weight: Tensor,
    buckets: i64,
    most: i64,
    /// The rows of distances from `−most` to `most`. Made here, since a tensor of numbers that a recording makes would have
    /// zeros in it.
    rows: Tensor,
}

impl Distances {
    fn new(scope: &Scope<'_>, config: &Build<'_>) -> Self {
        let start = scope.defined();
        // Where it is published.
        let scope = scope.sub("encoder.block.0.layer.0.SelfAttention.relative_attention_bias");
        let (buckets, most) = config.distances;
        let init = Init::FanIn { gain: 1.0, fan_in: 2500 };
        let weight = scope.param("weight", &[buckets, config.heads], Role::Undecayed, init);
        let tag = Tag::new(&scope, start);
        let mut table = Self { tag, weight, buckets, most, rows: Tensor::new() };
        let rows: Vec<i64> = (-most..=most).map(|distance| table.bucket(distance)).collect();
        table.rows = Tensor::from_slice(&rows).to_device(table.weight.device());
        table
    }

    fn clone(&self) -> Self {
        let (weight, rows) = (self.weight.shallow_clone(), self.rows.shallow_clone());
        Self { tag: self.tag.clone(), weight, rows, buckets: self.buckets, most: self.most }
    }

    /// `[1, heads, T, T]`.
    fn bias(&self, tokens: i64, mode: Mode<'_>) -> Tensor {
        if let Some(positions) = mode.positions {
            return self.bias_at(positions);
        }
        let rows: Vec<i64> = (1 - tokens..tokens).map(|distance| self.bucket(distance)).collect();
        // By distance `[heads, 2 T − 1]`, then for each query the T distances that begin at its own.
        let device = self.weight.device();
        let by_distance = self.weight.index_select(0, &Tensor::from_slice(&rows).to_device(device));
        let keys = Tensor::arange(tokens, (Kind::Int64, device));
        let at = keys.unsqueeze(0) - keys.unsqueeze(1) + (tokens - 1);
        let bias = by_distance.index_select(0, &at.view([-1])).view([tokens, tokens, -1]);
        bias.permute([2, 0, 1]).unsqueeze(0).contiguous()
    }

    /// The same at places `[1, T]`, whatever T is. From `most` on all distances have one row.
    fn bias_at(&self, positions: &Tensor) -> Tensor {
        let by_distance = self.weight.index_select(0, &self.rows);
        let distances = positions.unsqueeze(1) - positions.unsqueeze(2);
        let at = distances.clamp(-self.most, self.most) + self.most;
        Tensor::embedding(&by_distance, &at, -1, false, false).permute([0, 3, 1, 2])
    }

    /// The row of a distance from query to key: half of them for either direction, of these one half by 1 and the other
    /// by a growing factor.
    fn bucket(&self, distance: i64) -> i64 {
        let half = self.buckets / 2;
        let first = if distance > 0 { half } else { 0 };
        let (distance, exact) = (distance.abs(), half / 2);
        if distance < exact {
            return first + distance;
        }
        // In f32, as published: a rounding may decide.
        let ratio = (distance as f32 / exact as f32).ln();
        let step = ratio / ((self.most as f64 / exact as f64).ln() as f32) * (half - exact) as f32;
        first + (exact + step as i64).min(half - 1)
    }
}

/// Stands for the table of distances in the stage of the embeddings: it passes on what it gets.
#[derive(Debug)]
struct Noted {
    tag: Tag,
    weight: Tensor,
}

impl Block for Noted {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        // Listed with the shape of the table, of which no text shows another.
        self.tag.note("Distances", &self.weight.unsqueeze(0), 0, mode);
        xs.shallow_clone()
    }
}

/// A norm by the root mean square (Zhang and Sennrich 2019, arXiv:1910.07467), in f32.
#[derive(Debug)]
struct RmsNorm {
    tag: Tag,
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    fn new(scope: &Scope<'_>, name: &str, config: &Build<'_>) -> Self {
        let start = scope.defined();
        let scope = scope.sub(name);
        let weight = scope.param("weight", &[config.width], Role::Undecayed, Init::Ones);
        Self { tag: Tag::new(&scope, start), weight, eps: config.eps }
    }

    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let xs = xs.to_kind(self.weight.kind());
        let scale = (xs.square().mean_dim(-1, true, None::<Kind>) + self.eps).rsqrt();
        let ys = xs * scale * &self.weight;
        self.tag.note("RMSNorm", &ys, 0, mode);
        ys
    }
}

/// The norm behind the last layer.
#[derive(Debug)]
struct Last {
    norm: RmsNorm,
    drop: Drop,
}

impl Block for Last {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.drop.forward(self.norm.forward(xs, mode), mode)
    }
}

#[derive(Debug)]
struct Encoder {
    distances: Option<Distances>,
    norm1: RmsNorm,
    qkv: [Dense; 3],
    attend: Attend,
    out: Dense,
    drop1: Drop,
    add1: Add,
    norm2: RmsNorm,
    /// What the other is multiplied by, where there is a gate.
    gate: Option<(Dense, Tag)>,
    fc1: Dense,
    drop: Drop,
    fc2: Dense,
    drop2: Drop,
    add2: Add,
}

impl Encoder {
    fn new(scope: &Scope<'_>, config: &Build<'_>, distances: Option<Distances>) -> Self {
        let TextConfig { width, heads, head_width, inner, act, gated, .. } = **config;
        let (first, second) = (scope.sub("0"), scope.sub("1"));
        let dense = |scope: &Scope<'_>, name, sizes, act| Dense::unbiased(config, scope, name, sizes, act);
        let (attention, perceptron) = (first.sub("SelfAttention"), second.sub("DenseReluDense"));
        let all = heads * head_width;
        Self {
            distances,
            norm1: RmsNorm::new(&first, "layer_norm", config),
            qkv: ["q", "k", "v"].map(|name| dense(&attention, name, [width, all], Act::None)),
            attend: Attend::new(&first, heads, 1.0, false),
            out: dense(&attention, "o", [all, width], Act::None),
            drop1: Drop::new(&first, "dropout"),
            add1: Add::new(&first, Act::None),
            norm2: RmsNorm::new(&second, "layer_norm", config),
            fc1: dense(&perceptron, if gated { "wi_0" } else { "wi" }, [width, inner], act),
            gate: gated.then(|| {
                (dense(&perceptron, "wi_1", [width, inner], Act::None), Tag::bare(&perceptron, "gate"))
            }),
            drop: Drop::new(&perceptron, "dropout"),
            fc2: dense(&perceptron, "wo", [inner, width], Act::None),
            drop2: Drop::new(&second, "dropout"),
            add2: Add::new(&second, Act::None),
        }
    }
}

impl Block for Encoder {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let bias = self.distances.as_ref().map(|distances| distances.bias(xs.size()[1], mode));
        let rows = Rows::of(mode);
        let xs = Rows::take(rows.as_ref(), xs);
        let normed = self.norm1.forward(&xs, mode);
        let qkv = self.qkv.each_ref().map(|layer| layer.forward(&normed, mode));
        let ys = self.attend.of_rows(qkv, bias.as_ref(), rows.as_ref(), mode);
        let ys = self.drop1.forward(self.out.forward(&ys, mode), mode);
        let xs = self.add1.forward(ys, &xs, mode);
        let normed = self.norm2.forward(&xs, mode);
        let mut ys = self.fc1.forward(&normed, mode);
        if let Some((gate, tag)) = &self.gate {
            ys *= gate.forward(&normed, mode);
            tag.note("Multiply", &ys, 0, mode);
        }
        let ys = self.fc2.forward(&self.drop.forward(ys, mode), mode);
        let ys = self.drop2.forward(ys, mode);
        Rows::put(rows.as_ref(), self.add2.forward(ys, &xs, mode).to_kind(Kind::Float))
    }

    fn is_residual(&self) -> bool {
        true
    }
}
