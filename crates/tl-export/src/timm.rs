//! A folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads: `model.safetensors` and `config.json`.
//!
//! The decision behind it: nothing here lists names. A card's row of timm's own weights says what timm calls the net, and
//! its `rename` leads from timm's names to ours; ours are timm's wherever it leads a name to itself, and that is asked of
//! every tensor. Where it does not, or where timm's net has more between features and classes than the model, the model
//! cannot be said in timm's words, and that is an error.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tl_backbones::{Card, Weights};
use tl_data::{Interpolation, Preprocess};
use tl_heads::{Part, Pool};
use tl_train::{Model, SavedModel};
use tl_weights::{DType, Rename, Source};

use crate::about::ABOUT;
use crate::error::ExportError;
use crate::files::Folder;
use crate::net::Net;
use crate::values::bytes;

/// Name of timm's description of a model.
pub const CONFIG: &str = "config.json";
const TENSORS: &str = "model.safetensors";
/// What works for every model.
const OTHERWISE: &str = "--format torchscript and --format onnx take every net and every head";

/// A model in timm's words.
#[derive(Debug)]
pub struct Timm {
    /// What timm calls the net.
    pub architecture: String,
    /// `config.json`.
    pub config: Value,
    tensors: Vec<(String, Tensor)>,
}

impl Timm {
    /// Finds them. Numbers leave in their own units: their scale goes into the last layer.
    ///
    /// # Errors
    /// timm has no such net, or its net has no such head.
    pub fn of(saved: &SavedModel, model: &Model) -> Result<Self, ExportError> {
        if saved.text.is_some() {
            let hint = "--format transformers is for texts";
            return Err(ExportError::Timm { reason: "it takes texts".to_owned(), hint });
        }
        let card = tl_backbones::find(&saved.backbone)?;
        let (architecture, row) = architecture(card)?;
        let last = last_layer(card)?;
        let global_pool = global_pool(card, model)?;
        let mut tensors = Vec::new();
        for param in model.backbone.store.iter() {
            if (row.rename)(&param.name) != Rename::To(param.name.clone()) {
                return refuse(format!("timm calls tensor `{}` otherwise", param.name));
            }
            tensors.push((param.name.clone(), param.tensor.shallow_clone()));
        }
        for (name, tensor) in head(model)? {
            tensors.push((format!("{last}.{name}"), tensor));
        }
        let config = config((saved, model.preprocess()?), (card, model), &architecture, (last, global_pool));
        Ok(Self { architecture, config, tensors })
    }

    /// Adds its files to a folder, and [`ABOUT`], the description that all formats have.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, net: &Net<'_>, folder: &mut Folder) -> Result<(), ExportError> {
        let rows = self.tensors.iter().map(|(name, tensor)| {
            let shape = tensor.size().iter().map(|&n| n as usize).collect();
            (name.clone(), DType::F32, shape, bytes(tensor))
        });
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        folder.add(TENSORS, |path| -> Result<(), ExportError> {
            tl_weights::write_safetensors(path, rows, &metadata)?;
            Ok(())
        })?;
        folder.add_text(CONFIG, &text(&self.config))?;
        folder.add_text(ABOUT, &text(&serde_json::to_value(&net.about).unwrap_or_default()))
    }
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn refuse<T>(reason: String) -> Result<T, ExportError> {
    Err(ExportError::Timm { reason, hint: OTHERWISE })
}

/// What timm calls the net, and the row of weights that says so.
fn architecture(card: &'static Card) -> Result<(String, &'static Weights), ExportError> {
    let named = |weights: &'static Weights| match &weights.source {
        Source::Hub { repo, .. } => {
            let name = repo.strip_prefix("timm/")?;
            Some((name.split('.').next().unwrap_or(name).to_owned(), weights))
        }
        _ => None,
    };
    match card.weights.iter().find_map(named) {
        Some(found) => Ok(found),
        None => refuse(format!("timm has no `{}`", card.name)),
    }
}

/// The name of the layer that takes pooled features.
fn last_layer(card: &Card) -> Result<&'static str, ExportError> {
    match card.top {
        // Nets without a classifier are transformers, whose heads timm calls so.
        None => Ok("head"),
        Some(top) if top.hidden.is_empty() => Ok(top.last),
        Some(top) => {
            let layers: Vec<&str> = top.hidden.iter().map(|(name, ..)| *name).collect();
            refuse(format!(
                "timm's `{}` has hidden layers ({}) before its classes, and the model has none",
                card.name,
                layers.join(", ")
            ))
        }
    }
}

/// timm's word for the pooling.
fn global_pool(card: &Card, model: &Model) -> Result<&'static str, ExportError> {
    let hidden = |part: &&Part| !matches!(part, Part::Dropout(_));
    if model.head.spec.parts().iter().any(|part| hidden(&part)) {
        let head = String::from(model.head.spec.clone());
        return refuse(format!("its head is `{head}`, and timm's have one linear layer and nothing else"));
    }
    match (model.head.spec.pool, card.tokens.is_some()) {
        (Pool::Average, false) => Ok("avg"),
        (Pool::Max, false) => Ok("max"),
        (Pool::Class, true) => Ok("token"),
        (pool, _) => refuse(format!("timm's `{}` does not pool as `{}`", card.name, pool.word())),
    }
}

/// Weight and bias of the last layer.
fn head(model: &Model) -> Result<[(&'static str, Tensor); 2], ExportError> {
    let of = |name: &str| match model.head.store.get(name) {
        Some(param) => Ok(param.tensor.shallow_clone()),
        None => refuse(format!("its head has no `{name}`")),
    };
    let (weight, bias) = (of("head.0.weight")?, of("head.0.bias")?);
    let Some(stats) = &model.target_stats else { return Ok([("weight", weight), ("bias", bias)]) };
    let row = |values: &[f64]| Tensor::from_slice(values).to_device(model.device);
    let (mean, std) = (row(&stats.mean), row(&stats.std));
    let scaled = weight.to_kind(Kind::Double) * std.unsqueeze(1);
    let moved = bias.to_kind(Kind::Double) * std + mean;
    Ok([("weight", scaled.to_kind(Kind::Float)), ("bias", moved.to_kind(Kind::Float))])
}

/// The shortest decimal number that is this value in f32, as the file of a run has it.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

fn config(
    (saved, preprocess): (&SavedModel, Preprocess),
    (card, model): (&Card, &Model),
    architecture: &str,
    (classifier, global_pool): (&str, &str),
) -> Value {
    let Preprocess { input, resize, interpolation, mean, std } = preprocess;
    let outputs = model.task.outputs();
    let interpolation = match interpolation {
        Interpolation::Nearest => "nearest",
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    };
    let mut config = json!({
        "architecture": architecture,
        "num_classes": outputs,
        "num_features": card.features,
        "global_pool": global_pool,
        "pretrained_cfg": {
            "tag": "tl",
            "custom_load": false,
            "input_size": [3, input, input],
            "fixed_input_size": card.tokens.is_some(),
            "interpolation": interpolation,
            "crop_pct": f64::from(input) / f64::from(resize),
            "crop_mode": "center",
            "mean": mean.map(decimal),
            "std": std.map(decimal),
            "num_classes": outputs,
            "classifier": classifier,
            "license": saved.pretrained.licence,
        },
    });
    // With one output for two classes the names of both say more than that of the one.
    config["label_names"] = json!(saved.classes);
    // What the net is built with where that is not its default.
    if card.tokens.is_some() {
        config["model_args"] = json!({ "img_size": input });
    } else if global_pool != "avg" {
        config["model_args"] = json!({ "global_pool": global_pool });
    }
    config
}
