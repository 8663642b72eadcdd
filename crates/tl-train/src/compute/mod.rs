//! How a net is computed: in which precision, step by step or compiled.
//!
//! The decision behind it: that is data beside the weights ([`Compute`]), decided before a run and recorded with it, because
//! the last bits of every number depend on it. Nothing here decides while a run goes on, and what is compiled when is a
//! function of the plan alone. A net of images is compiled as one, for one shape; of texts, which have many, the linear
//! layers are ([`Packs`]).

mod choose;
mod runner;

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tl_backbones::text::Packs;
use tl_backbones::{Backbone, Mode};
use tl_torch::{Frozen, How, channels_last};

use crate::error::TrainError;
use crate::frontier::shape;
use crate::model::{Model, Reads};

pub use choose::{Choice, bf16_pays, choose};
pub(crate) use runner::MOST_PARTS;
pub use runner::Runner;

/// Images for which compiling pays. Against bf16 step by step a compiled net saves 1 ms an image (EfficientNet-Lite0,
/// MobileNetV2) to 4 ms (ResNet-50) on 2 cores, and compiling takes 0.3 to 1.5 s.
const WORTH_COMPILING: usize = 400;

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// What is measured to be fastest, if it is close enough to f32.
    #[default]
    Auto,
    /// f32 throughout.
    F32,
    /// bf16 for what does not train and for what trains; weights, gradients and the head stay f32.
    Bf16,
}

/// How a model is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// What does not train: convolutions and matrix products in bf16, and what comes between them as they leave it.
    pub bf16: bool,
    /// What does not change: of images recorded once and fused, where there are images enough; of texts the linear layers
    /// laid out anew and fused with what follows them.
    pub compiled: bool,
    /// By phase, whether the stages that train are computed in bf16. Phases beyond its end are not.
    pub training_bf16: Vec<bool>,
}

impl Precision {
    const NAMES: [(Self, &'static str); 3] = [(Self::Auto, "auto"), (Self::F32, "f32"), (Self::Bf16, "bf16")];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(precision, _)| precision == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        let expected = || format!("`{text}` is no precision, expected auto, f32 or bf16");
        found.map(|(precision, _)| *precision).ok_or_else(expected)
    }
}

/// Compiled parts of a net, each good as long as the weights in it are what they were.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    parts: RefCell<Vec<Part>>,
    /// The layers of a net of texts, and what they are good for; none where this processor has no such layers.
    packs: RefCell<Option<(Packed, Option<Arc<Packs>>)>>,
    twins: RefCell<Vec<Backbone>>,
}

/// What packed layers were made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    bf16: bool,
    /// How often the weights of the net had been written to.
    version: i64,
}

#[derive(Debug)]
struct Part {
    levels: Range<usize>,
    rows: usize,
    how: How,
    /// How often its weights had been written to.
    version: i64,
    net: Arc<Frozen>,
}

impl Model {
    /// What computes the levels for `images` images in all, in batches of up to `batch`; level 0 is the image, and level
    /// [`Model::stages`] the pooled features. Compiles them if that pays; what libtorch cannot compile runs step by step
    /// in the same precision.
    pub fn runner(&self, levels: Range<usize>, batch: usize, images: usize) -> Runner<'_> {
        Runner::new(self, levels, batch, images)
    }

    /// What computes the output of the last stage, without pooling, step by step.
    pub fn maps_runner(&self, batch: usize) -> Runner<'_> {
        Runner::maps(self, batch)
    }

    /// Backbones in the same memory, for threads that each compute a part of a batch, `parts` or more; none where there
    /// cannot be.
    fn twins(&self, parts: usize) -> RefMut<'_, Vec<Backbone>> {
        let mut twins = self.compiled.twins.borrow_mut();
        let of_this = |twin: &Backbone| {
            let (twin, own) = (twin.store.iter(), self.backbone.store.iter());
            twin.len() == own.len() && twin.zip(own).all(|(a, b)| a.tensor.data_ptr() == b.tensor.data_ptr())
        };
        if twins.len() < parts || !twins.iter().all(of_this) {
            *twins = (0..parts).map_while(|_| self.backbone.twin().ok()).collect();
        }
        twins
    }

    /// The linear layers of a net of texts, where it is to be compiled. They cost a copy of the weights, made as they are
    /// met.
    fn packs(&self) -> Option<Arc<Packs>> {
        let Compute { bf16, compiled, .. } = self.compute;
        if !compiled || matches!(self.reads, Reads::Images(_)) || self.device != Device::Cpu {
            return None;
        }
        let wanted = Packed { bf16, version: self.version(&(0..self.stages())) };
        let mut packs = self.compiled.packs.borrow_mut();
        match &*packs {
            Some((made, packs)) if *made == wanted => packs.clone(),
            _ => {
                let anew = Packs::new(bf16).ok().map(Arc::new);
                *packs = Some((wanted, anew.clone()));
                anew
            }
        }
    }

    /// For so many rows at a time; `alone` is for parts of a batch side by side.
    fn compile(&self, levels: &Range<usize>, rows: usize, alone: bool) -> Result<Arc<Frozen>, TrainError> {
        let how = How { bf16: self.compute.bf16, fused: true, alone };
        let version = self.version(levels);
        let mut parts = self.compiled.parts.borrow_mut();
        let same = |part: &Part| part.levels == *levels && part.rows == rows && part.how == how;
        parts.retain(|part| part.version == self.version(&part.levels));
        if let Some(part) = parts.iter().find(|part| same(part)) {
            return Ok(Arc::clone(&part.net));
        }
        let size: Vec<i64> = std::iter::once(rows as i64).chain(shape(self, levels.start)).collect();
        let example = channels_last(&Tensor::zeros(&size[..], (Kind::Float, self.device)));
        let frozen: Vec<&Tensor> = self.weights(levels).filter(|tensor| tensor.requires_grad()).collect();
        let gradients = |on: bool| {
            for tensor in &frozen {
                let _ = tensor.set_requires_grad(on);
            }
        };
        // What requires gradients cannot become a constant.
        gradients(false);
        let net =
            Frozen::compile(&example, how, |xs| self.forward(xs, levels.start, levels.end, |_| Mode::EVAL));
        gradients(true);
        let net = Arc::new(net?);
        parts.push(Part { levels: levels.clone(), rows, how, version, net: Arc::clone(&net) });
        Ok(net)
    }

    /// The tensors that the levels depend on.
    fn weights(&self, levels: &Range<usize>) -> impl Iterator<Item = &Tensor> {
        let stages = &self.backbone.stages;
        let start = stages.get(levels.start).map_or(0, |stage| stage.params().start);
        // What stands between pooling and head comes behind the stages.
        let end = match stages.get(levels.end) {
            Some(stage) => stage.params().start,
            None => self.backbone.store.iter().len(),
        };
        let store = &self.backbone.store;
        // Of text nets some read a table of an earlier stage, all the same one.
        let shared =
            stages.get(levels.clone()).unwrap_or_default().last().map_or(0..0, |stage| stage.shared());
        let shared = if shared.end <= start { shared } else { 0..0 };
        store.slice(shared).iter().chain(store.slice(start..end)).map(|param| &param.tensor)
    }

    /// libtorch counts how often a tensor was written to.
    fn version(&self, levels: &Range<usize>) -> i64 {
        self.weights(levels).map(Tensor::internal_version).sum()
    }

    /// Outputs for the activations at level `from`, in inference mode, without gradients, step by step.
    ///
    /// # Shapes
    /// `[N, C, H, W]`, `[N, T, C]`, or `[N, D]` at the last level, to `[N, outputs]`.
    pub fn logits(&self, xs: &Tensor, from: usize) -> Tensor {
        self.classify(&self.pooled_masked(xs, None, from))
    }

    /// Pooled features in the same way, also of texts, see [`Runner::run_masked`].
    pub(crate) fn pooled_masked(&self, xs: &Tensor, mask: Option<&Tensor>, from: usize) -> Tensor {
        let runner = Runner::plain(self, from..self.stages(), xs.size()[0] as usize);
        runner.step_by_step(xs, mask)
    }

    /// Outputs for pooled features, in inference mode, without gradients, divided by the temperature if there is one.
    ///
    /// # Shapes
    /// `[N, D]` to `[N, outputs]`, for images, texts or words.
    pub fn classify(&self, pooled: &Tensor) -> Tensor {
        let logits = tch::no_grad(|| self.head.forward(pooled, None));
        match self.temperature {
            Some(temperature) => logits / temperature,
            None => logits,
        }
    }
}
