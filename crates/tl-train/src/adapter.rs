//! The adapters of a model in the files of peft: `adapter_model.safetensors` and what belongs into `adapter_config.json`,
//! and the head beside them in `head.safetensors`, since an adapter without its head answers nothing.
//!
//! The decision: peft looks for layers by the ends of their names in a net that has more of them than ours (poolers, a
//! decoder). Names that mean the same there stay short, others are written out.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tl_backbones::text::{Family, Lora};
use tl_torch::{Param, Role};
use tl_weights::DType;

use crate::error::TrainError;
use crate::model::Model;
use crate::saved::little_endian;

/// What a folder of adapters lacks once [`write_adapter`] has written its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedAdapter {
    /// For `adapter_config.json`.
    pub config: Value,
}

/// Writes the adapters and the head of a model into `dir`, which is made; none where the net has no adapters. `base` is
/// where the net is published, and its revision where that is not the usual one.
///
/// # Errors
/// The disk refuses.
pub fn write_adapter(
    model: &Model,
    (base, revision): (&str, Option<&str>),
    dir: &Path,
) -> Result<Option<SavedAdapter>, TrainError> {
    let Some((net, lora)) = model.backbone.text_net().and_then(|net| Some((net, net.lora.as_ref()?))) else {
        return Ok(None);
    };
    std::fs::create_dir_all(dir).map_err(|error| TrainError::Saved {
        path: dir.to_owned(),
        reason: format!("it cannot be made ({error})"),
        hint: "look whether the disk is full, or the folder is write-protected",
    })?;
    let adapters = || model.backbone.store.iter().filter(|param| param.role == Role::Adapter);
    write(&dir.join("adapter_model.safetensors"), "base_model.model.", adapters())?;
    write(&dir.join("head.safetensors"), "", model.head.store.iter())?;
    let layers = adapters().filter_map(|param| param.name.strip_suffix(".lora_A.weight"));
    let config = json!({
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets(lora, net.config.family, layers),
        "fan_in_fan_out": net.config.family == Family::Gpt2,
        "bias": "none",
        "inference_mode": true,
    });
    Ok(Some(SavedAdapter { config }))
}

/// Names that mean the same layers in the whole net of transformers.
fn targets<'a>(lora: &Lora, family: Family, layers: impl Iterator<Item = &'a str>) -> Vec<String> {
    let elsewhere = |target: &String| target == Lora::ALL || "pooler.dense".ends_with(target.as_str());
    let has_decoder = matches!(family, Family::T5 | Family::Mt5);
    match has_decoder || lora.targets.iter().any(elsewhere) {
        true => layers.map(str::to_owned).collect(),
        false => lora.targets.clone(),
    }
}

fn write<'a>(path: &Path, prefix: &str, params: impl Iterator<Item = &'a Param>) -> Result<(), TrainError> {
    let tensors = params.map(|param| {
        let shape = param.tensor.size().iter().map(|&n| n as usize).collect();
        (format!("{prefix}{}", param.name), DType::F32, shape, little_endian(&param.tensor))
    });
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    tl_weights::write_safetensors(path, tensors, &metadata)?;
    Ok(())
}
