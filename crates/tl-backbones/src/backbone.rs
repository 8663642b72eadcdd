//! A built net: its stages, their parameters, and loading published weights into them.
//!
//! Loading is strict: every tensor of the net is in the file and every tensor of the file is used, or the error names
//! what is not.

use std::ops::Range;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use tl_torch::{Fill, Init, ParamStore, Role};
use tl_weights::{Expected, Rename, WeightFile};

use crate::card::{Card, Weights};
use crate::error::BackboneError;
use crate::stage::{Mode, Stage};

/// A net without its classifier.
#[derive(Debug)]
pub struct Backbone {
    /// What is published about it.
    pub card: &'static Card,
    /// In forward order.
    pub stages: Vec<Stage>,
    /// All parameters and running statistics.
    pub store: ParamStore,
}

/// The published classifier: a linear layer on average-pooled features.
#[derive(Debug)]
pub struct Classifier {
    weight: Tensor,
    bias: Tensor,
}

impl Backbone {
    /// Builds the net with new (untrained) parameters, or with blanks that a file is about to fill.
    ///
    /// # Errors
    /// A fault in the net's definition.
    pub fn new(card: &'static Card, device: Device, fill: Fill) -> Result<Self, BackboneError> {
        let (stages, store) = ParamStore::build(device, fill, card.stages)?;
        Ok(Self { card, stages, store })
    }

    /// Builds the net with the weights in `path`, whose tensors are named as `weights` says.
    ///
    /// # Errors
    /// Unreadable file; missing, extra or misshapen tensors, all named.
    pub fn load(
        card: &'static Card,
        weights: &Weights,
        path: &Path,
        device: Device,
    ) -> Result<Self, BackboneError> {
        let backbone = Self::new(card, device, Fill::Later)?;
        let classifier = format!("{}.", card.classifier);
        fill_from(card, &backbone.store, weights, path, &|name| match name {
            Rename::To(name) if name.starts_with(&classifier) => Rename::Ignore,
            rename => rename,
        })?;
        Ok(backbone)
    }

    /// Builds the net together with its published classifier.
    ///
    /// # Errors
    /// As [`Backbone::load`].
    pub fn load_with_classifier(
        card: &'static Card,
        weights: &Weights,
        path: &Path,
        device: Device,
    ) -> Result<(Self, Classifier), BackboneError> {
        let define = |scope: &tl_torch::Scope<'_>| {
            let stages = (card.stages)(scope);
            let fc = scope.sub(card.classifier);
            let weight = fc.param("weight", &[weights.classes, card.features], Role::Weight, Init::Zeros);
            let bias = fc.param("bias", &[weights.classes], Role::Bias, Init::Zeros);
            (stages, Classifier { weight, bias })
        };
        let ((stages, classifier), store) = ParamStore::build(device, Fill::Later, define)?;
        fill_from(card, &store, weights, path, &|rename| rename)?;
        Ok((Self { card, stages, store }, classifier))
    }

    /// Runs the stages in `range`, each in its own mode.
    ///
    /// # Shapes
    /// `[N, 3, H, W]`, normalised (or the output of the stage before the range), to `[N, C, H / s, W / s]`.
    pub fn forward(&self, xs: &Tensor, range: Range<usize>, mode: impl Fn(usize) -> Mode) -> Tensor {
        range.fold(xs.shallow_clone(), |xs, i| self.stages[i].forward(&xs, mode(i)))
    }

    /// Output of the last stage in inference mode, without gradients.
    ///
    /// # Shapes
    /// `[N, 3, H, W]`, normalised, to `[N, features, ⌈H / 32⌉, ⌈W / 32⌉]`.
    pub fn features(&self, xs: &Tensor) -> Tensor {
        tch::no_grad(|| self.forward(xs, 0..self.stages.len(), |_| Mode::EVAL))
    }

    /// The stage of that name.
    #[must_use]
    pub fn stage_idx(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }
}

impl Classifier {
    /// Scores of the published classes.
    ///
    /// # Shapes
    /// Features `[N, C, H, W]` to logits `[N, classes]`.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        tch::no_grad(|| {
            features.mean_dim(&[2i64, 3][..], false, Kind::Float).linear(&self.weight, Some(&self.bias))
        })
    }
}

fn fill_from(
    card: &'static Card,
    store: &ParamStore,
    weights: &Weights,
    path: &Path,
    adjust: &dyn Fn(Rename) -> Rename,
) -> Result<(), BackboneError> {
    let file = WeightFile::open(path)?;
    let shapes: Vec<Vec<usize>> =
        store.iter().map(|param| param.tensor.size().iter().map(|&n| n as usize).collect()).collect();
    let expected: Vec<Expected<'_>> =
        store.iter().zip(&shapes).map(|(param, shape)| Expected { name: &param.name, shape }).collect();
    let matched = tl_weights::match_names(&expected, &file, &|name| adjust((weights.rename)(name)));
    if !matched.is_full() {
        let report = matched.to_string();
        return Err(BackboneError::Misfit { path: path.to_owned(), backbone: card.name, report });
    }
    for (name, file_name) in &matched.applied {
        let values = file.read_f32(file_name)?;
        let shape = store.get(name).map(|param| param.tensor.size()).unwrap_or_default();
        store.set(name, &Tensor::from_slice(&values).view(&shape[..]))?;
    }
    Ok(())
}
