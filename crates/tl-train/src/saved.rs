//! A model on disk: `model.safetensors` (all tensors) and `model.json` (all else that is needed to predict).
//!
//! The two files and the binary are enough: no run directory, no download. `model.json` names the sha256 of the
//! tensors, so that a truncated or exchanged file is told from a good one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tl_backbones::text::TextConfig;
use tl_backbones::{Backbone, BackboneError};
use tl_data::{Preprocess, TargetStats};
use tl_heads::{HeadSpec, Task};
use tl_torch::{Fill, ParamStore};
use tl_weights::{DType, Expected, Rename, WeightFile};

use crate::error::TrainError;
use crate::model::{Model, NewHead, Reads};

/// Name of the tensor file.
pub(crate) const TENSORS: &str = "model.safetensors";
/// Name of the description.
pub(crate) const DESCRIPTION: &str = "model.json";
const FORMAT: u32 = 4;
/// Of image nets, which older versions know.
const IMAGE_FORMAT: u32 = 3;
/// What to do where there is no model.
const GIVE: &str = "give a run directory, or a folder that holds `model.json` and `model.safetensors`";

/// `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedModel {
    /// Version of this format.
    pub format: u32,
    /// What the model does: `image-classification`, `image-multi-label-classification` or `image-regression`; or the same of
    /// `text`.
    pub task: String,
    /// Name of the net's card, or of the text net.
    pub backbone: String,
    /// Name of the card's row of weights whose details (an epsilon) the net has; the first where none is given.
    #[serde(default)]
    pub weights: String,
    /// Pooling and widths.
    pub head: HeadSpec,
    /// What the head's outputs mean; one probability a class where it is not given.
    #[serde(default)]
    pub outputs: Option<Task>,
    /// Dropout it was trained with.
    pub dropout: f64,
    /// Names of what it answers about: classes in label order, labels, or numbers.
    pub classes: Vec<String>,
    /// The scale of numbers, of which outputs are multiples; outputs are the numbers themselves where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_stats: Option<TargetStats>,
    /// What outputs are to be divided by for probabilities that mean what they say, fitted on validation samples. Only who
    /// asks for it has it applied, see [`Model::with_temperature`]. None where none is best, and of older models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// How an image becomes the net's input; none of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<Preprocess>,
    /// The net that takes texts, and how they become its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<SavedText>,
    /// What the backbone started from.
    pub pretrained: Pretrained,
    /// sha256 of the tensor file.
    pub sha256: String,
    /// Version of the program that wrote it.
    pub version: String,
}

/// What a model of texts has besides its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedText {
    /// Family and sizes of the net, as the `config.json` of transformers has them.
    pub config: TextConfig,
    /// The most tokens of a text, special tokens counted; what is longer is cut.
    pub max_length: usize,
    /// The tokenizer's files beside this one, and the sha256 of each; the first is the tokenizer.
    pub tokenizer: Vec<(String, String)>,
}

/// The weights a model started from; their licence goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pretrained {
    /// Name in the card.
    pub name: String,
    /// Package, hub repository or file.
    pub source: String,
    /// sha256 of that file.
    pub sha256: String,
    /// SPDX identifier.
    pub licence: String,
}

impl SavedModel {
    /// Writes the tensors to `DIR/model.safetensors`, adapters merged into the weights, whole or not at all, and returns the description that belongs
    /// beside them as `model.json`. `weights` is the name of the card's row; `tokenizer` is for texts, see
    /// [`SavedText::tokenizer`].
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(
        model: &Model,
        weights: &str,
        tokenizer: Vec<(String, String)>,
        pretrained: Pretrained,
        version: &str,
        dir: &Path,
    ) -> Result<Self, TrainError> {
        // Who reads the model need not know that it was trained with adapters.
        let has_lora = model.backbone.text_net().is_some_and(|net| net.lora.is_some());
        let merged = if has_lora { Some(model.backbone.merged()?) } else { None };
        let of_net = merged.as_ref().unwrap_or(&model.backbone).store.iter();
        let tensors = of_net.chain(model.head.store.iter()).map(|param| {
            let shape = param.tensor.size().iter().map(|&n| n as usize).collect();
            (param.name.clone(), DType::F32, shape, little_endian(&param.tensor))
        });
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let written = tl_weights::write_safetensors(dir.join(TENSORS), tensors, &metadata)?;
        let (format, of, preprocess) = match model.reads {
            Reads::Images(preprocess) => (IMAGE_FORMAT, "image", Some(preprocess)),
            Reads::Texts { .. } => (FORMAT, "text", None),
        };
        let text = match (model.reads, model.backbone.text_net()) {
            (Reads::Texts { max_length }, Some(net)) => {
                Some(SavedText { config: net.config.clone(), max_length, tokenizer })
            }
            _ => None,
        };
        let does = match model.task {
            Task::Softmax { .. } | Task::Binary => "classification",
            Task::MultiLabel { .. } => "multi-label-classification",
            Task::Regression { .. } => "regression",
            Task::Tagging { .. } => "token-classification",
        };
        Ok(Self {
            format,
            task: format!("{of}-{does}"),
            backbone: model.backbone.name().to_owned(),
            weights: weights.to_owned(),
            head: model.head.spec.clone(),
            outputs: Some(model.task),
            dropout: model.head.dropout,
            classes: model.classes.clone(),
            target_stats: model.target_stats.clone(),
            temperature: None,
            preprocess,
            text,
            pretrained,
            sha256: written.sha256,
            version: version.to_owned(),
        })
    }

    /// Loads the model in `dir` from its two files.
    ///
    /// # Errors
    /// A file is missing, damaged, from a newer version, or does not belong to the other.
    pub fn load(dir: &Path, device: Device) -> Result<(Self, Model), TrainError> {
        if !dir.is_dir() {
            let reason = if dir.exists() { "it is a file" } else { "it does not exist" }.to_owned();
            return Err(TrainError::Saved { path: dir.to_owned(), reason, hint: GIVE });
        }
        let saved = Self::read(&dir.join(DESCRIPTION))?;
        let path = dir.join(TENSORS);
        let refused = |reason: String, hint| TrainError::Saved { path: path.clone(), reason, hint };
        if !path.exists() {
            return Err(refused("it does not exist".to_owned(), "copy it again from its run"));
        }
        let sha256 = tl_fetch::sha256_file(&path)?;
        if sha256 != saved.sha256 {
            let reason = format!("its sha256 is {sha256}, `{DESCRIPTION}` says {}", saved.sha256);
            return Err(refused(reason, "it is damaged or from another run; copy both files again"));
        }
        let task = saved.outputs.unwrap_or(Task::Softmax { classes: saved.classes.len() as i64 });
        let head = NewHead { spec: saved.head.clone(), task, dropout: saved.dropout, fill: Fill::Later };
        let classes = saved.classes.clone();
        let mut model = match (&saved.text, saved.preprocess) {
            (Some(text), _) => {
                let backbone = Backbone::text(&saved.backbone, &text.config, device, Fill::Later)?;
                Model::for_texts(backbone, head, classes, text.max_length, device)?
            }
            (None, Some(preprocess)) => {
                Model::new(saved.image_net(device)?, head, classes, preprocess, device)?
            }
            (None, None) => {
                let hint = "copy it again from its run";
                return Err(refused(
                    "it says nothing of inputs: no `preprocess` and no `text`".to_owned(),
                    hint,
                ));
            }
        };
        if let Some(stats) = &saved.target_stats {
            model = model.with_target_stats(stats.clone())?;
        }
        fill(&model, &path)?;
        Ok((saved, model))
    }

    fn image_net(&self, device: Device) -> Result<Backbone, TrainError> {
        let card = tl_backbones::find(&self.backbone)?;
        let weights = card.find_weights(&self.weights).ok_or_else(|| BackboneError::UnknownWeights {
            backbone: card.name,
            name: self.weights.clone(),
            known: card.weights.iter().map(|weights| weights.name).collect(),
        })?;
        Ok(Backbone::for_weights(card, weights, device, Fill::Later)?)
    }

    fn read(path: &Path) -> Result<Self, TrainError> {
        let refused = |reason: String, hint| TrainError::Saved { path: path.to_owned(), reason, hint };
        let text = std::fs::read_to_string(path)
            .map_err(|error| refused(format!("it cannot be read ({error})"), GIVE))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| refused(format!("it is not JSON ({error})"), "copy it again from its run"))?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                let reason = format!("it has format {format}, this version knows up to {FORMAT}");
                return Err(refused(reason, "use the version of `tl` that wrote it, or a newer one"));
            }
            _ => {}
        }
        let saved: Self = serde_json::from_value(value)
            .map_err(|error| refused(error.to_string(), "copy it again from its run"))?;
        if saved.classes.is_empty() {
            return Err(refused("it names no classes".to_owned(), "copy it again from its run"));
        }
        if let Some(preprocess) = &saved.preprocess {
            preprocess.check()?;
        }
        Ok(saved)
    }
}

/// Strict: every tensor of the model is in the file, and nothing else is.
fn fill(model: &Model, path: &Path) -> Result<(), TrainError> {
    let file = WeightFile::open(path)?;
    let stores: [&ParamStore; 2] = [&model.backbone.store, &model.head.store];
    let shape = |tensor: &Tensor| tensor.size().iter().map(|&n| n as usize).collect();
    let shapes: Vec<Vec<usize>> = model.tensors().map(|param| shape(&param.tensor)).collect();
    let expected: Vec<Expected<'_>> =
        model.tensors().zip(&shapes).map(|(param, shape)| Expected { name: &param.name, shape }).collect();
    let matched = tl_weights::match_names(&expected, &file, &|name| Rename::To(name.to_owned()));
    for (name, file_name) in matched.into_result(path)? {
        let values = Tensor::from_slice(&file.read_f32(&file_name)?);
        for store in stores {
            if let Some(param) = store.get(&name) {
                store.set(&name, &values.view(&param.tensor.size()[..]))?;
            }
        }
    }
    Ok(())
}

/// The values in row-major order, whatever the layout in memory.
pub(crate) fn little_endian(tensor: &Tensor) -> Vec<u8> {
    let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    let mut values = vec![0f32; flat.numel()];
    let n = values.len();
    flat.copy_data(&mut values, n);
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
