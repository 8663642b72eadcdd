//! A built head: its parameters and its two steps, [`Head::pool`] and [`Head::forward`].
//!
//! The decision behind it: dense layers are numbered among themselves (`head.0`, `head.1`, …), whatever stands between
//! them, and batch-norms too (`head.bn0`, …), so that a model saved before there were other parts still loads.

use tch::{Device, Tensor};
use tl_torch::{Fill, ParamStore, Scope};

use crate::error::HeadError;
use crate::pool::{Features, Pool};
use crate::spec::{Activation, HeadSpec, Part};
use crate::step::Step;

/// The most weights a head may have: 4 GiB of them, and training holds four times that.
const MAX_WEIGHTS: i64 = 1 << 30;

/// Pooling and layers with their parameters.
///
/// | name | shape | role |
/// |---|---|---|
/// | `head.I.weight` | `[outputs, inputs]` | weight |
/// | `head.I.bias` | `[outputs]` | bias |
/// | `head.bnJ.weight`, `head.bnJ.bias` | `[C]` | norm |
/// | `head.bnJ.running_mean`, `head.bnJ.running_var` | `[C]` | buffer |
#[derive(Debug)]
pub struct Head {
    /// What it was built from.
    pub spec: HeadSpec,
    /// What it pools.
    pub features: Features,
    /// Probability with which an input of the last layer is dropped in training (Srivastava et al. 2014), `0..1`. It
    /// comes on top of the dropouts that `spec` names.
    pub dropout: f64,
    /// Its parameters and buffers.
    pub store: ParamStore,
    pooled: i64,
    hidden: Vec<Layer>,
    last: Layer,
}

/// What [`Head::forward`] needs to know of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Seed of the step.
    pub seed: u64,
    /// Dropout before the last layer in place of [`Head::dropout`], `0..1`; 0 turns it off.
    pub dropout: Option<f64>,
}

impl From<u64> for Training {
    /// A step with that seed and the head's own dropout.
    fn from(seed: u64) -> Self {
        Self { seed, dropout: None }
    }
}

#[derive(Debug)]
struct Layer {
    name: String,
    outputs: i64,
    step: Step,
}

/// One line of a table of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLayer {
    /// Name, with which those of its parameters begin.
    pub name: String,
    /// What it is: `average pooling`, `dense, relu`, `batch-norm`, `dropout`, …
    pub kind: &'static str,
    /// Shape of its output for one image.
    pub output: Vec<i64>,
    /// Number of values that can train.
    pub params: usize,
    /// Number of values in running statistics.
    pub buffers: usize,
}

impl Head {
    /// Builds the head of `spec` on `features`, with `outputs` values at its end ([`crate::Task::outputs`]) and
    /// `dropout` (`0..1`) before the last layer. New weights are Glorot-uniform, biases zero, as in Keras's dense
    /// layers; batch-norms begin as scale 1, shift 0, mean 0, variance 1.
    ///
    /// # Errors
    /// The features cannot be pooled that way, `outputs` or `dropout` is out of its range, or there are more than 2³⁰
    /// weights.
    pub fn new(
        spec: HeadSpec,
        features: Features,
        outputs: i64,
        dropout: f64,
        (device, fill): (Device, Fill),
    ) -> Result<Self, HeadError> {
        let pooled = spec.pool.width(features)?;
        if outputs < 1 {
            return Err(HeadError::Outputs { outputs });
        }
        // As f32, because that is what the mask is computed in.
        if !(0.0..1.0).contains(&(dropout as f32)) {
            return Err(HeadError::Dropout { dropout });
        }
        if spec.pool == Pool::Tokens && spec.parts().contains(&Part::BatchNorm) {
            return Err(HeadError::NormOfTokens);
        }
        let weights = count_weights(spec.parts(), pooled, outputs);
        if weights > MAX_WEIGHTS {
            return Err(HeadError::TooLarge { weights, limit: MAX_WEIGHTS });
        }
        let define = |scope: &Scope<'_>| define(scope, spec.parts(), (pooled, outputs));
        let ((hidden, last), store) = ParamStore::build(device, fill, define)?;
        Ok(Self { spec, features, dropout, store, pooled, hidden, last })
    }

    /// D, the length of a pooled vector.
    #[must_use]
    pub const fn pooled_width(&self) -> i64 {
        self.pooled
    }

    /// The step without parameters; a pure function of its input.
    ///
    /// # Shapes
    /// `[N, C, H, W]` or `[N, T, C]`, as [`Head::features`] says, to `[N, D]`. Values in half precision become f32.
    ///
    /// # Panics
    /// When the input has another shape; the caller owns both.
    pub fn pool(&self, features: &Tensor) -> Tensor {
        self.pool_masked(features, None)
    }

    /// The same for texts, of which `mask`, bool `[N, T]`, says which tokens are real; none means all. What fills up
    /// stands at the end.
    ///
    /// # Shapes
    /// `[N, T, C]` to `[N, D]`, f32; with [`Pool::Tokens`] to `[N, T, D]`.
    ///
    /// # Panics
    /// As [`Head::pool`].
    pub fn pool_masked(&self, features: &Tensor, mask: Option<&Tensor>) -> Tensor {
        self.spec.pool.forward(features, self.features, mask)
    }

    /// The layers after pooling; in inference `train` is `None`. In training dropout acts, and batch-norm uses the
    /// batch's statistics and moves the running ones by a tenth (a batch of one image has no variance and is treated as
    /// in inference). What is dropped is a function of the step's seed.
    ///
    /// # Shapes
    /// Pooled features `[N, D]` to logits `[N, outputs]`, or `[N, T, D]` to `[N, T, outputs]`.
    ///
    /// # Panics
    /// When the input has another width; the caller owns both.
    pub fn forward(&self, pooled: &Tensor, train: Option<Training>) -> Tensor {
        let seed = train.map(|train| train.seed);
        let hidden = self.before_last(pooled, seed);
        let dropout = last_dropout(train.and_then(|train| train.dropout).unwrap_or(self.dropout));
        self.last.step.forward(&dropout.forward(&hidden, seed), seed)
    }

    /// What the last layer is given, in inference.
    ///
    /// # Shapes
    /// Pooled features `[N, D]` to `[N, W]`, or `[N, T, D]` to `[N, T, W]`, `W` being the width of the last part.
    ///
    /// # Panics
    /// As [`Head::forward`].
    pub fn hidden(&self, pooled: &Tensor) -> Tensor {
        self.before_last(pooled, None)
    }

    fn before_last(&self, pooled: &Tensor, seed: Option<u64>) -> Tensor {
        let steps = self.hidden.iter().map(|layer| &layer.step);
        steps.fold(pooled.shallow_clone(), |xs, step| step.forward(&xs, seed))
    }

    /// All steps in order, pooling and dropouts included.
    #[must_use]
    pub fn layers(&self) -> Vec<HeadLayer> {
        let pool = HeadLayer {
            name: "head.pool".to_owned(),
            kind: self.spec.pool.kind(),
            output: vec![self.pooled],
            params: 0,
            buffers: 0,
        };
        let width = self.hidden.last().map_or(self.pooled, |layer| layer.outputs);
        let dropout =
            Layer { name: "head.dropout".to_owned(), outputs: width, step: last_dropout(self.dropout) };
        let line = |layer: &Layer| {
            let (params, buffers) = layer.step.sizes();
            let (name, kind) = (layer.name.clone(), layer.step.kind());
            HeadLayer { name, kind, output: vec![layer.outputs], params, buffers }
        };
        let layers = self.hidden.iter().chain((self.dropout > 0.0).then_some(&dropout)).chain([&self.last]);
        std::iter::once(pool).chain(layers.map(line)).collect()
    }
}

fn count_weights(parts: &[Part], pooled: i64, outputs: i64) -> i64 {
    let widths = parts.iter().filter_map(|part| match part {
        Part::Dense { width, .. } => Some(*width),
        Part::BatchNorm | Part::Dropout(_) => None,
    });
    let (mut weights, mut inputs) = (0i64, pooled);
    for width in widths.chain([outputs]) {
        weights = weights.saturating_add(inputs.saturating_mul(width));
        inputs = width;
    }
    weights
}

/// The dropout before the last layer. It is not among a head's layers, because a step may have another rate.
fn last_dropout(p: f64) -> Step {
    Step::Dropout { p, stream: 0 }
}

fn define(scope: &Scope<'_>, parts: &[Part], (pooled, outputs): (i64, i64)) -> (Vec<Layer>, Layer) {
    let scope = scope.sub("head");
    let (mut layers, mut width) = (Vec::new(), pooled);
    let (mut dense, mut norms, mut dropouts) = (0, 0, 0);
    let mut add = |name: String, outputs, step| {
        layers.push(Layer { name: format!("head.{name}"), outputs, step });
    };
    for part in parts {
        match *part {
            Part::Dense { width: wider, activation } => {
                let name = dense.to_string();
                let step = Step::dense(&scope.sub(&name), (width, wider), activation);
                (dense, width) = (dense + 1, wider);
                add(name, width, step);
            }
            Part::BatchNorm => {
                let name = format!("bn{norms}");
                let step = Step::norm(&scope.sub(&name), width);
                norms += 1;
                add(name, width, step);
            }
            Part::Dropout(p) => {
                let name = format!("drop{dropouts}");
                dropouts += 1;
                // Stream 0 is the one before the last layer.
                add(name, width, Step::Dropout { p, stream: dropouts });
            }
        }
    }
    let step = Step::dense(&scope.sub(dense), (width, outputs), Activation::None);
    (layers, Layer { name: format!("head.{dense}"), outputs, step })
}
