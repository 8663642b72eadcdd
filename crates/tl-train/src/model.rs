//! A model: backbone, head, task, classes and the preprocessing they were trained with.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, Mode, Observed};
use tl_data::{Preprocess, TargetStats};
use tl_finetune::{LayerInfo, NetInfo, StageInfo};
use tl_heads::{Features, Head, HeadSpec, Pool, Task};
use tl_text::entities::{OUTSIDE, TagSet};
use tl_text::tokens::Encoded;
use tl_torch::{Fill, Param, Role};

use crate::compute::{Compiled, Compute};
use crate::error::TrainError;
use crate::feed::text_tensor;
use crate::words::Words;

/// What answers questions about images: classes, labels or numbers.
#[derive(Debug)]
pub struct Model {
    /// The pretrained part.
    pub backbone: Backbone,
    /// The new part.
    pub head: Head,
    /// What its outputs mean.
    pub task: Task,
    /// Names of what it answers about: classes in label order, labels, or numbers.
    pub classes: Vec<String>,
    /// The scale of numbers, of which outputs are multiples: `y = mean + std * output`. Without it outputs are the numbers
    /// themselves.
    pub target_stats: Option<TargetStats>,
    /// What outputs are divided by whenever it is asked, see [`Model::with_temperature`]; training knows nothing of it.
    pub temperature: Option<f64>,
    /// What it takes.
    pub reads: Reads,
    /// Where its tensors are.
    pub device: Device,
    /// The backbone as one image meets it.
    pub observed: Observed,
    /// In which precision it is computed, and whether compiled. At first f32, step by step.
    pub compute: Compute,
    pub(crate) compiled: Compiled,
    /// By place in the backbone's store, the index of the layer that the tensor belongs to.
    layer_of: Vec<usize>,
}

/// Tokens of the text on which a net is observed, at most: layers and parameters do not depend on it, and nothing is
/// planned by the figures that do.
const OBSERVED_TOKENS: i64 = 128;

/// What becomes a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// Images, prepared in this way.
    Images(Preprocess),
    /// Texts.
    Texts {
        /// The most tokens of a text, special tokens counted.
        max_length: usize,
    },
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
    /// The net cannot take images of that size; the head does not fit the net; the task does not answer about as many
    /// things as there are names, or chooses between fewer than two classes.
    pub fn new(
        backbone: Backbone,
        head: NewHead,
        classes: Vec<String>,
        preprocess: Preprocess,
        device: Device,
    ) -> Result<Self, TrainError> {
        backbone.check_size(preprocess.input)?;
        let observed = backbone.observe(preprocess.input);
        Self::on(backbone, observed, head, classes, Reads::Images(preprocess), device)
    }

    /// The same on a net that takes texts, of up to `max_length` tokens.
    ///
    /// # Errors
    /// The net takes images, or no texts of that length; and those of [`Model::new`].
    pub fn for_texts(
        backbone: Backbone,
        head: NewHead,
        classes: Vec<String>,
        max_length: usize,
        device: Device,
    ) -> Result<Self, TrainError> {
        let net = || backbone.name().to_owned();
        let Some(text) = backbone.text_net() else {
            return Err(TrainError::Reads { net: net(), reads: "images", got: "texts" });
        };
        let most = text.config.max_tokens().unwrap_or(i64::MAX);
        let tokens = i64::try_from(max_length).unwrap_or(i64::MAX);
        if !(1..=most).contains(&tokens) {
            return Err(TrainError::MaxLength { net: net(), max_length, most });
        }
        let observed = backbone.observe_text(tokens.min(OBSERVED_TOKENS));
        Self::on(backbone, observed, head, classes, Reads::Texts { max_length }, device)
    }

    fn on(
        backbone: Backbone,
        observed: Observed,
        head: NewHead,
        classes: Vec<String>,
        reads: Reads,
        device: Device,
    ) -> Result<Self, TrainError> {
        check_task(head.task, &classes)?;
        let tagging = matches!(head.task, Task::Tagging { .. });
        if tagging != (head.spec.pool == Pool::Tokens) {
            return Err(TrainError::HeadOfTags { head: head.spec.to_string() });
        }
        if tagging && backbone.text_net().is_none() {
            let net = backbone.name().to_owned();
            return Err(TrainError::Reads { net, reads: "images", got: "words with tags" });
        }
        let NewHead { spec, task, dropout, fill } = head;
        let features = features(&backbone, &observed, backbone.stages.len());
        let head = Head::new(spec, features, task.outputs(), dropout, (device, fill))?;
        let mut layer_of = vec![0; backbone.store.iter().len()];
        for (i, layer) in observed.layers.iter().enumerate() {
            layer_of[layer.params.clone()].fill(i);
        }
        let (target_stats, temperature) = (None, None);
        let (compute, compiled) = (Compute::default(), Compiled::default());
        Ok(Self {
            backbone,
            head,
            task,
            classes,
            target_stats,
            temperature,
            reads,
            device,
            observed,
            compute,
            compiled,
            layer_of,
        })
    }

    /// The same with a scale for its numbers; it then learns `(y - mean) / std`.
    ///
    /// # Errors
    /// Its answers are not numbers, or not as many; a mean is not finite, or a standard deviation not above 0.
    pub fn with_target_stats(mut self, stats: TargetStats) -> Result<Self, TrainError> {
        let targets = match self.task {
            Task::Regression { targets } => targets as usize,
            _ => 0,
        };
        let sound = stats.mean.iter().all(|mean| mean.is_finite())
            && stats.std.iter().all(|std| std.is_finite() && *std > 0.0);
        if targets == 0 || !sound || stats.mean.len() != targets || stats.std.len() != targets {
            return Err(TrainError::TargetStats { stats: format!("{stats:?}"), targets });
        }
        self.target_stats = Some(stats);
        Ok(self)
    }

    /// The same with outputs divided by a temperature before they become probabilities (Guo et al. 2017,
    /// arXiv:1706.04599): above 1 it is less sure than before, below 1 surer, and says the same.
    ///
    /// # Errors
    /// It does not choose between classes, or the temperature is not a finite number above 0.
    pub fn with_temperature(mut self, temperature: f64) -> Result<Self, TrainError> {
        let chooses = matches!(self.task, Task::Softmax { .. } | Task::Binary);
        if !(chooses && temperature.is_finite() && temperature > 0.0) {
            return Err(TrainError::Temperature { temperature, task: format!("{:?}", self.task) });
        }
        self.temperature = Some(temperature);
        Ok(self)
    }

    /// How an image becomes the net's input.
    ///
    /// # Errors
    /// It takes texts.
    pub fn preprocess(&self) -> Result<Preprocess, TrainError> {
        match self.reads {
            Reads::Images(preprocess) => Ok(preprocess),
            Reads::Texts { .. } => {
                let net = self.backbone.name().to_owned();
                Err(TrainError::Reads { net, reads: "texts", got: "images" })
            }
        }
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
        let last = to.checked_sub(1).map(&mode);
        let ys = self.backbone.forward(xs, from..to, mode);
        if to < self.stages() || from == to {
            return ys;
        }
        // A mean over many tokens is not for bf16.
        let ys = if last.is_some_and(|last| last.packs.is_some()) { ys.to_kind(Kind::Float) } else { ys };
        pool(&self.backbone, &self.head, &ys, last.and_then(|last| last.mask))
    }

    /// Whether there is a row for each token at a level, rather than one for each sample.
    pub(crate) fn has_tokens(&self, level: usize) -> bool {
        matches!(self.reads, Reads::Texts { .. })
            && (level < self.stages() || matches!(self.task, Task::Tagging { .. }))
    }

    /// The words that are answered of the texts at these places, where each word is.
    pub(crate) fn words(&self, encoded: &Encoded, places: &[u32]) -> Option<Words> {
        matches!(self.task, Task::Tagging { .. }).then(|| Words::of(encoded, places))
    }

    /// The pooled features of texts, without gradients.
    ///
    /// # Shapes
    /// `[places, D]`.
    pub(crate) fn pooled_texts(&self, encoded: &Encoded, places: &[u32]) -> Result<Tensor, TrainError> {
        let input = text_tensor(encoded, places, self.device)?;
        self.runner(0..self.stages(), places.len(), 0).run_masked(&input.xs, input.mask.as_ref())
    }

    /// What outputs say: the probability of each class or label, in rows; or numbers in their own units.
    ///
    /// # Shapes
    /// Logits `[N, outputs]` to `[N][names]`.
    pub fn answers(&self, logits: &Tensor) -> Vec<Vec<f32>> {
        // In double precision, since the scale of numbers may be far from 1.
        let logits = logits.to_device(Device::Cpu).to_kind(Kind::Double);
        let mut ys = self.task.probabilities(&logits);
        if let Some(TargetStats { mean, std }) = &self.target_stats {
            ys = ys * Tensor::from_slice(std) + Tensor::from_slice(mean);
        }
        let names = self.task.names() as usize;
        let mut flat = vec![0f32; logits.size()[0] as usize * names];
        let n = flat.len();
        ys.to_kind(Kind::Float).contiguous().view([-1]).copy_data(&mut flat, n);
        flat.chunks(names).map(<[f32]>::to_vec).collect()
    }

    /// Whether all tensors have the same names and bits.
    #[must_use]
    pub fn has_weights_of(&self, other: &Self) -> bool {
        self.tensors().count() == other.tensors().count()
            && self.tensors().zip(other.tensors()).all(|(a, b)| a.name == b.name && a.tensor.equal(&b.tensor))
    }

    /// All tensors, the backbone's first.
    pub fn tensors(&self) -> impl Iterator<Item = &Param> {
        self.backbone.store.iter().chain(self.head.store.iter())
    }
}

/// As many names as the task answers about, and a choice where there is one class an image.
fn check_task(task: Task, classes: &[String]) -> Result<(), TrainError> {
    let least = match task {
        Task::Softmax { .. } | Task::Binary => 2,
        Task::MultiLabel { .. } | Task::Regression { .. } | Task::Tagging { .. } => 1,
    };
    let sound = match task {
        Task::Tagging { entities, .. } => TagSet::of(classes).is_ok_and(|set| {
            // What has no answer counts as the first tag of those that mark entities.
            set.marks_entities() == entities
                && (!entities || classes.first().is_some_and(|tag| tag == OUTSIDE))
        }),
        _ => true,
    };
    if sound && classes.len() >= least && task.names() == classes.len() as i64 {
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
            params: count(params, |role| !matches!(role, Role::Buffer | Role::Fixed)),
            norm_params: count(params, |role| role == Role::Norm),
        }
    };
    let stage = |stage: &tl_backbones::Stage| StageInfo {
        name: stage.name.clone().into_owned(),
        blocks: stage.blocks().map(str::to_owned).collect(),
    };
    NetInfo {
        stages: backbone.stages.iter().map(stage).collect(),
        layers: observed.layers.iter().map(layer).collect(),
        texts: backbone.text_net().is_some(),
    }
}

/// What a head finds behind stage `level - 1` of a backbone.
#[must_use]
pub fn features(backbone: &Backbone, observed: &Observed, level: usize) -> Features {
    if backbone.text_net().is_some() {
        return Features::Text { channels: backbone.width() };
    }
    match (observed.shapes.get(level).map(Vec::as_slice), backbone.prefix()) {
        (Some(&[tokens, channels]), Some(prefix)) => Features::Tokens { tokens, channels, prefix },
        (Some(&[channels, height, width]), _) => Features::Map { channels, height, width },
        _ => Features::Map { channels: 0, height: 0, width: 0 },
    }
}

/// Pooling of the last stage's output, and what the net has between pooling and head. That comes after pooling where
/// pooling leaves one value a channel, else before it.
///
/// # Shapes
/// `[N, C, H, W]` or `[N, T, C]` to `[N, D]`; the mask of real tokens is bool `[N, T]`.
pub fn pool(backbone: &Backbone, head: &Head, features: &Tensor, mask: Option<&Tensor>) -> Tensor {
    match head.spec.pool {
        _ if !backbone.has_neck() => head.pool_masked(features, mask),
        Pool::Average | Pool::Max | Pool::Gem | Pool::Class | Pool::Last | Pool::Tokens => {
            backbone.neck(&head.pool(features))
        }
        Pool::Concat | Pool::Flatten => head.pool(&backbone.neck(features)),
    }
}
