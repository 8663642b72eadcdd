//! A model: backbone, head, task, classes and the preprocessing they were trained with.

use tch::{Device, Tensor};
use tl_backbones::{Backbone, Mode, Observed};
use tl_data::Preprocess;
use tl_finetune::{LayerInfo, NetInfo, StageInfo};
use tl_heads::{Features, Head, HeadSpec, Pool, Task};
use tl_torch::{Fill, Param, Role};

use crate::error::TrainError;

/// A classifier of images.
#[derive(Debug)]
pub struct Model {
    /// The pretrained part.
    pub backbone: Backbone,
    /// The new part.
    pub head: Head,
    /// What its outputs mean.
    pub task: Task,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// How an image becomes the net's input.
    pub preprocess: Preprocess,
    /// Where its tensors are.
    pub device: Device,
    /// The backbone as one image meets it.
    pub observed: Observed,
    /// By place in the backbone's store, the index of the layer that the tensor belongs to.
    layer_of: Vec<usize>,
}

/// What a head is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct NewHead {
    /// Pooling and layers.
    pub spec: HeadSpec,
    /// What its outputs mean.
    pub task: Task,
    /// Dropout before the last layer, `0..1`.
    pub dropout: f64,
    /// Initial values.
    pub fill: Fill,
}

impl Model {
    /// Puts a new head on a backbone.
    ///
    /// # Errors
    /// The net cannot take images of that size; the head does not fit the net; the task is not one class an image out of
    /// two or more, or not as many as there are names.
    pub fn new(
        backbone: Backbone,
        head: NewHead,
        classes: Vec<String>,
        preprocess: Preprocess,
        device: Device,
    ) -> Result<Self, TrainError> {
        backbone.card.check_size(preprocess.input)?;
        check_task(head.task, &classes)?;
        let observed = backbone.observe(preprocess.input);
        let NewHead { spec, task, dropout, fill } = head;
        let features = features(&backbone, &observed, backbone.stages.len());
        let head = Head::new(spec, features, task.outputs(), dropout, (device, fill))?;
        let mut layer_of = vec![0; backbone.store.iter().len()];
        for (i, layer) in observed.layers.iter().enumerate() {
            layer_of[layer.params.clone()].fill(i);
        }
        Ok(Self { backbone, head, task, classes, preprocess, device, observed, layer_of })
    }

    /// The backbone as a plan needs to know it.
    #[must_use]
    pub fn net_info(&self) -> NetInfo {
        net_info(&self.backbone, &self.observed)
    }

    /// The backbone's tensors, each with the index of the layer that it belongs to.
    pub fn params_by_layer(&self) -> impl Iterator<Item = (&Param, usize)> {
        self.backbone.store.iter().zip(self.layer_of.iter().copied())
    }

    /// Number of stages; as a level it stands for pooled features.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.backbone.stages.len()
    }

    /// From the activations at level `from` to those at level `to`. Level `i` is the input of stage `i`, level 0 the
    /// image, level [`Model::stages`] the pooled features.
    ///
    /// # Shapes
    /// `[N, C, H, W]` (normalised images at level 0) or `[N, T, C]` to the same, or `[N, D]` at the last level.
    pub fn forward<'m>(
        &self,
        xs: &Tensor,
        from: usize,
        to: usize,
        mode: impl Fn(usize) -> Mode<'m>,
    ) -> Tensor {
        let ys = self.backbone.forward(xs, from..to, mode);
        if to == self.stages() && from < to { pool(&self.backbone, &self.head, &ys) } else { ys }
    }

    /// Outputs for the activations at level `from`, in inference mode, without gradients.
    ///
    /// # Shapes
    /// `[N, C, H, W]`, `[N, T, C]`, or `[N, D]` at the last level, to `[N, outputs]`.
    pub fn logits(&self, xs: &Tensor, from: usize) -> Tensor {
        tch::no_grad(|| {
            let pooled = self.forward(xs, from, self.stages(), |_| Mode::EVAL);
            self.head.forward(&pooled, None)
        })
    }

    /// All tensors, the backbone's first.
    pub fn tensors(&self) -> impl Iterator<Item = &Param> {
        self.backbone.store.iter().chain(self.head.store.iter())
    }
}

/// Labels are classes: one of the names for each image.
fn check_task(task: Task, classes: &[String]) -> Result<(), TrainError> {
    let classifies = matches!(task, Task::Softmax { .. } | Task::Binary);
    if classifies && classes.len() >= 2 && task.names() == classes.len() as i64 {
        return Ok(());
    }
    Err(TrainError::Task { task: format!("{task:?}"), classes: classes.len() })
}

/// A backbone as a plan needs to know it.
#[must_use]
pub fn net_info(backbone: &Backbone, observed: &Observed) -> NetInfo {
    let count = |params: &[Param], counts: fn(Role) -> bool| {
        params.iter().filter(|param| counts(param.role)).map(|param| param.tensor.numel()).sum()
    };
    let layer = |layer: &tl_backbones::Layer| {
        let params = backbone.store.slice(layer.params.clone());
        LayerInfo {
            name: layer.name.clone(),
            stage: layer.stage,
            block: layer.block,
            params: count(params, |role| role != Role::Buffer),
            norm_params: count(params, |role| role == Role::Norm),
        }
    };
    let stage = |stage: &tl_backbones::Stage| StageInfo {
        name: stage.name.to_owned(),
        blocks: stage.blocks().map(str::to_owned).collect(),
    };
    NetInfo {
        stages: backbone.stages.iter().map(stage).collect(),
        layers: observed.layers.iter().map(layer).collect(),
    }
}

/// What a head finds behind stage `level - 1` of a backbone.
#[must_use]
pub fn features(backbone: &Backbone, observed: &Observed, level: usize) -> Features {
    match (observed.shapes.get(level).map(Vec::as_slice), backbone.card.tokens) {
        (Some(&[tokens, channels]), Some(info)) => Features::Tokens { tokens, channels, prefix: info.prefix },
        (Some(&[channels, height, width]), _) => Features::Map { channels, height, width },
        _ => Features::Map { channels: 0, height: 0, width: 0 },
    }
}

/// Pooling of the last stage's output, and what the net has between pooling and head. That comes after pooling where
/// pooling leaves one value a channel, else before it.
///
/// # Shapes
/// `[N, C, H, W]` or `[N, T, C]` to `[N, D]`.
pub fn pool(backbone: &Backbone, head: &Head, features: &Tensor) -> Tensor {
    match head.spec.pool {
        _ if !backbone.has_neck() => head.pool(features),
        Pool::Average | Pool::Max | Pool::Gem | Pool::Class => backbone.neck(&head.pool(features)),
        Pool::Concat | Pool::Flatten => head.pool(&backbone.neck(features)),
    }
}
