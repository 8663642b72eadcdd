//! Adapters (LoRA) on the command line: words to a spec, a spec to a net.
//!
//! The decision: adapters are a way of training, and not another model. In every phase of a schedule the adapters of a stage
//! train where the stage would have; so presets, parts, gradual unfreezing and kept activations mean what they always do.
//! What a run leaves is the plain net with its adapters merged in, and the adapters as peft has them beside it.

use serde::{Deserialize, Serialize};
use tl_backbones::text::{Lora, TextConfig};
use tl_run::RunDir;
use tl_torch::Role;
use tl_train::Model;

use super::TextNet;
use crate::args::{LoraWords, Settings};
use crate::errors::Problems;
use crate::spec::{Net, Resolved, Spec};
use crate::ui::Ui;

/// Of a run.
const FOLDER: &str = "adapter";

/// What is said of adapters; which layers get one depends on the net where nobody says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoraSpec {
    pub(crate) rank: i64,
    pub(crate) alpha: f64,
    pub(crate) dropout: f64,
    /// Linear layers by the ends of their names; the usual ones of the net where it is empty.
    #[serde(default)]
    pub(crate) targets: Vec<String>,
}

/// What is given here, else what was before.
pub(super) fn merged(words: &LoraWords, old: Option<&LoraSpec>) -> Option<LoraSpec> {
    let usual = || LoraSpec { rank: 8, alpha: 8.0, dropout: 0.0, targets: Vec::new() };
    let base = old.cloned().or_else(|| words.lora.map(|_| usual()))?;
    Some(LoraSpec {
        rank: words.lora.unwrap_or(base.rank),
        alpha: words.lora_alpha.unwrap_or(base.alpha),
        dropout: words.lora_dropout.unwrap_or(base.dropout),
        targets: match words.lora_targets.is_empty() {
            true => base.targets,
            false => words.lora_targets.iter().map(|target| target.trim().to_owned()).collect(),
        },
    })
}

/// Details of adapters where there are none.
pub(super) fn check_words(args: &Settings, has_lora: bool, problems: &mut Problems) {
    let given = args.texts.lora.given();
    if has_lora || args.texts.lora.lora.is_some() {
        return;
    }
    for flag in given {
        problems.add(anyhow::anyhow!("{flag} is given without --lora\n\nhint: add --lora, or leave it out"));
    }
}

/// Writes the adapters of a trained net, if it has any, as peft reads them, into the folder `adapter` of its run.
pub(crate) fn write_adapter(model: &Model, resolved: &Resolved, dir: &RunDir) -> anyhow::Result<()> {
    let Net::Text(net) = &resolved.net else { return Ok(()) };
    let (base, revision) = net.published();
    if let Some(saved) = tl_train::write_adapter(model, (&base, revision), &dir.path().join(FOLDER))? {
        dir.write_json(&format!("{FOLDER}/adapter_config.json"), &saved.config)?;
    }
    Ok(())
}

/// The trainable part of a net with adapters, in words.
pub(super) fn announce(model: &Model, ui: &Ui) {
    let Some(lora) = model.backbone.text_net().and_then(|net| net.lora.as_ref()) else { return };
    let sum = |counts: fn(Role) -> bool| {
        let params = model.backbone.store.iter().filter(|param| counts(param.role));
        params.map(|param| param.tensor.numel()).sum::<usize>()
    };
    let (adapters, fixed) = (sum(|role| role == Role::Adapter), sum(|role| role != Role::Adapter));
    ui.line(&format!(
        "lora       rank {}, alpha {}, dropout {}, on {}: {adapters} parameters beside {fixed} that stay, and the head",
        lora.rank,
        lora.alpha,
        lora.dropout,
        lora.targets.join(", ")
    ));
}

impl TextNet {
    /// The adapters that a run puts into the net, if any.
    pub(crate) fn lora_of(&self, spec: &Spec) -> Option<Lora> {
        Some(spec.text.as_ref()?.lora.as_ref()?.of(&self.config))
    }
}

impl LoraSpec {
    fn of(&self, config: &TextConfig) -> Lora {
        let targets = match self.targets.is_empty() {
            true => Lora::usual(config.family).targets,
            false => self.targets.clone(),
        };
        Lora { rank: self.rank, alpha: self.alpha, dropout: self.dropout, targets }
    }
}
