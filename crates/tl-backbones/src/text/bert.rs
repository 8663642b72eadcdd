//! BERT (Devlin et al. 2018, arXiv:1810.04805) and what is built as it is: RoBERTa, XLM-R, CamemBERT, ELECTRA,
//! DistilBERT and ALBERT. Attention and a perceptron, each added to its input and then normalised. Families differ in names, in the
//! tables at the beginning and in where DistilBERT drops nothing; so one block serves all of them.

use tch::{Kind, Tensor};
use tl_torch::Scope;

use super::config::{Family, TextConfig};
use super::layers::{Attend, Dense, Drop, Table};
use super::lora::Build;
use super::rows::Rows;
use crate::layers::{Act, Add, LayerNorm, Tag};
use crate::stage::{Block, Dropout, Mode, Stage};
use crate::trace::Trace;

/// What a family calls the layers of a block.
struct Names {
    layers: &'static str,
    qkv: [&'static str; 3],
    out: &'static str,
    norm1: &'static str,
    fc1: &'static str,
    fc2: &'static str,
    norm2: &'static str,
}

const BERT: Names = Names {
    layers: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    norm1: "attention.output.LayerNorm",
    fc1: "intermediate.dense",
    fc2: "output.dense",
    norm2: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    layers: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    norm1: "sa_layer_norm",
    fc1: "ffn.lin1",
    fc2: "ffn.lin2",
    norm2: "output_layer_norm",
};

const ALBERT: Names = Names {
    layers: "encoder.albert_layer_groups.0.albert_layers",
    qkv: ["attention.query", "attention.key", "attention.value"],
    out: "attention.dense",
    norm1: "attention.LayerNorm",
    fc1: "ffn",
    fc2: "ffn_output",
    norm2: "full_layer_layer_norm",
};

pub(super) fn stages(scope: &Scope<'_>, config: &Build<'_>) -> Vec<Stage> {
    let names = match config.family {
        Family::DistilBert => &DISTILBERT,
        Family::Albert => &ALBERT,
        _ => &BERT,
    };
    let mut embeddings = Stage::new("embeddings", config.width, 1);
    embeddings.push(scope, "embeddings", |scope| Embeddings::new(scope, config));
    if config.family == Family::Albert {
        let name = format!("{}.0", names.layers);
        let mut layers = Stage::new("layers", config.width, 1);
        layers.push(scope, name.clone(), |scope| Repeated {
            layer: Encoder::new(&scope.sub(&name), config, names),
            times: config.layers,
        });
        return vec![embeddings, layers];
    }
    let layers = (0..config.layers).map(|i| {
        let name = format!("{}.{i}", names.layers);
        let mut stage = Stage::new(format!("layer{i}"), config.width, 1);
        stage.push(scope, name.clone(), |scope| Encoder::new(&scope.sub(&name), config, names));
        stage
    });
    std::iter::once(embeddings).chain(layers).collect()
}

/// Sums of tables, normalised.
#[derive(Debug)]
struct Embeddings {
    words: Table,
    positions: Table,
    first: i64,
    types: Option<Table>,
    sum: Tag,
    norm: LayerNorm,
    drop: Drop,
    /// To the width of the net, where tables have another.
    project: Option<Dense>,
}

impl Embeddings {
    fn new(scope: &Scope<'_>, config: &Build<'_>) -> Self {
        let TextConfig { embedding, width, .. } = **config;
        let root = scope;
        let scope = root.sub("embeddings");
        let project = match config.family {
            Family::Albert => Some("encoder.embedding_hidden_mapping_in"),
            _ => (embedding != width).then_some("embeddings_project"),
        };
        let table = |name, rows| Table::new(&scope, name, [rows, embedding]);
        Self {
            words: table("word_embeddings", config.vocabulary),
            positions: table("position_embeddings", config.positions),
            first: config.first_position(),
            types: (config.types > 0).then(|| table("token_type_embeddings", config.types)),
            sum: Tag::bare(&scope, "add"),
            norm: LayerNorm::new(&scope, "LayerNorm", embedding, config.eps),
            drop: Drop::new(&scope, "dropout"),
            project: project.map(|name| Dense::new(config, root, name, [embedding, width], Act::None)),
        }
    }
}

impl Block for Embeddings {
    /// int64 `[N, T, 2]` to `[N, T, C]`.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let mut ys = self.words.rows(&xs.select(2, 0), mode);
        if let Some(types) = &self.types {
            ys += types.rows(&xs.select(2, 1), mode);
        }
        ys += self.positions.places(self.first, xs.size()[1], mode);
        self.sum.note("Add", &ys, 0, mode);
        let ys = self.drop.forward(self.norm.forward(&ys, mode), mode);
        match &self.project {
            Some(project) => project.forward(&ys, mode),
            None => ys,
        }
    }
}

/// A layer of the encoder.
#[derive(Debug)]
struct Encoder {
    qkv: [Dense; 3],
    attend: Attend,
    out: Dense,
    /// None in DistilBERT.
    drop1: Option<Drop>,
    add1: Add,
    norm1: LayerNorm,
    fc1: Dense,
    fc2: Dense,
    /// None in ALBERT.
    drop2: Option<Drop>,
    add2: Add,
    norm2: LayerNorm,
}

impl Encoder {
    fn new(scope: &Scope<'_>, config: &Build<'_>, names: &Names) -> Self {
        let TextConfig { width, heads, inner, eps, act, .. } = **config;
        let dense = |name, sizes, act| Dense::new(config, scope, name, sizes, act);
        let scale = (config.head_width as f64).powf(-0.5);
        let distil = config.family == Family::DistilBert;
        Self {
            qkv: names.qkv.map(|name| dense(name, [width, width], Act::None)),
            attend: Attend::new(scope, heads, scale, false),
            out: dense(names.out, [width, width], Act::None),
            drop1: (!distil).then(|| Drop::new(scope, "attention.dropout")),
            add1: Add::new(&scope.sub("attention"), Act::None),
            norm1: LayerNorm::new(scope, names.norm1, width, eps),
            fc1: dense(names.fc1, [width, inner], act),
            fc2: dense(names.fc2, [inner, width], Act::None),
            drop2: (config.family != Family::Albert).then(|| Drop::new(scope, "dropout")),
            add2: Add::new(scope, Act::None),
            norm2: LayerNorm::new(scope, names.norm2, width, eps),
        }
    }

    /// `layer` of `ys`, dropped out, added to `xs`; a packed layer does both in one pass.
    fn added(
        layer: &Dense,
        (drop, add): (&Option<Drop>, &Add),
        ys: &Tensor,
        xs: &Tensor,
        mode: Mode<'_>,
    ) -> Tensor {
        if let Some(sum) = layer.packed(ys, Some(xs), mode) {
            return sum;
        }
        let mut ys = layer.forward(ys, mode);
        if let Some(drop) = drop {
            ys = drop.forward(ys, mode);
        }
        add.forward(ys, xs, mode)
    }
}

impl Block for Encoder {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let rows = Rows::of(mode);
        let xs = Rows::take(rows.as_ref(), xs);
        let qkv = Dense::together(&self.qkv, &xs, mode);
        let ys = self.attend.of_rows(qkv, None, rows.as_ref(), mode);
        let ys = Self::added(&self.out, (&self.drop1, &self.add1), &ys, &xs, mode);
        let xs = self.norm1.forward(&ys, mode);
        let ys = self.fc1.forward(&xs, mode);
        let ys = Self::added(&self.fc2, (&self.drop2, &self.add2), &ys, &xs, mode);
        let ys = Rows::put(rows.as_ref(), self.norm2.forward(&ys, mode));
        // From packed layer to packed layer goes what they give.
        if mode.packs.is_some() { ys } else { ys.to_kind(Kind::Float) }
    }

    fn is_residual(&self) -> bool {
        true
    }
}

/// The layer of ALBERT, again and again.
#[derive(Debug)]
struct Repeated {
    layer: Encoder,
    times: usize,
}

impl Block for Repeated {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let already = mode.trace.map_or(0, Trace::len);
        let ys = (0..self.times).fold(xs.shallow_clone(), |xs, i| {
            // Each time other values are dropped, and the layers are listed once.
            let seed = |dropout: Dropout| Dropout {
                seed: dropout.seed.wrapping_add(AGAIN.wrapping_mul(i as u64)),
                ..dropout
            };
            let trace = mode.trace.filter(|_| i == 0);
            self.layer.forward(&xs, Mode { dropout: mode.dropout.map(seed), trace, ..mode })
        });
        if let Some(trace) = mode.trace {
            trace.repeat(already, self.times);
        }
        ys
    }
}

/// Far apart, so that the seeds of two steps do not meet.
const AGAIN: u64 = 0x9e37_79b9_7f4a_7c15;
