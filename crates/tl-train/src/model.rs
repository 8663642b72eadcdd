//! A model: backbone, head, classes and the preprocessing they were trained with.

use tch::{Device, Tensor};
use tl_backbones::{Backbone, Mode};
use tl_data::Preprocess;
use tl_finetune::StageInfo;
use tl_heads::{Head, HeadSpec};
use tl_torch::{Fill, Param, Role};

use crate::error::TrainError;

/// A classifier of images.
#[derive(Debug)]
pub struct Model {
    /// The pretrained part.
    pub backbone: Backbone,
    /// The new part.
    pub head: Head,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// How an image becomes the net's input.
    pub preprocess: Preprocess,
    /// Where its tensors are.
    pub device: Device,
}

/// What a head is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct NewHead {
    /// Pooling and widths.
    pub spec: HeadSpec,
    /// Dropout before the last layer, `0..1`.
    pub dropout: f64,
    /// Initial values.
    pub fill: Fill,
}

impl Model {
    /// Puts a new head on a backbone.
    ///
    /// # Errors
    /// A fault in the head's definition.
    pub fn new(
        backbone: Backbone,
        head: NewHead,
        classes: Vec<String>,
        preprocess: Preprocess,
        device: Device,
    ) -> Result<Self, TrainError> {
        let side = backbone
            .stages
            .iter()
            .fold(i64::from(preprocess.input), |side, stage| (side + stage.stride - 1) / stage.stride);
        let features = backbone.card.features;
        let NewHead { spec, dropout, fill } = head;
        let head = Head::new(spec, (features, side), classes.len() as i64, dropout, (device, fill))?;
        Ok(Self { backbone, head, classes, preprocess, device })
    }

    /// The stages as a plan needs to know them.
    #[must_use]
    pub fn stage_infos(&self) -> Vec<StageInfo> {
        let count = |params: &[Param], roles: &[Role]| {
            params.iter().filter(|p| roles.contains(&p.role)).map(|p| p.tensor.numel()).sum()
        };
        let info = |stage: &tl_backbones::Stage| {
            let params = self.backbone.store.slice(stage.params());
            StageInfo {
                name: stage.name.to_owned(),
                params: count(params, &[Role::Weight, Role::Bias, Role::Norm]),
                norm_params: count(params, &[Role::Norm]),
            }
        };
        self.backbone.stages.iter().map(info).collect()
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
    /// `[N, C, H, W]` (normalised images at level 0) to `[N, C', H', W']`, or `[N, D]` at the last level.
    pub fn forward(&self, xs: &Tensor, from: usize, to: usize, mode: impl Fn(usize) -> Mode) -> Tensor {
        let ys = self.backbone.forward(xs, from..to, mode);
        if to == self.stages() && from < to { self.head.pool(&ys) } else { ys }
    }

    /// Scores of the classes from the activations at level `from`, in inference mode, without gradients.
    ///
    /// # Shapes
    /// `[N, C, H, W]`, or `[N, D]` at the last level, to `[N, classes]`.
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
