//! A package: a folder with a model and everything to use it and to pass it on.
//!
//! The decision behind it: it is a folder of the same two files that a run has, so whatever takes a run takes a package.
//! What is beside them is for people.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tl_export::{ABOUT, About, Folder};
use tl_run::{Run, RunDir};
use tl_train::{Model, SavedModel};

use super::{card, licences};
use crate::spec::FORMAT;

/// Adds the files.
pub(super) fn fill(
    folder: &mut Folder,
    run: &Path,
    (saved, model, about): (&SavedModel, &Model, &About),
) -> anyhow::Result<()> {
    let tensors = run.join("model.safetensors");
    copy(folder, &tensors, "model.safetensors")?;
    folder.add_text("model.json", &super::read(&run.join("model.json"))?)?;
    folder.add_text("classes.txt", &(saved.classes.join("\n") + "\n"))?;
    folder.add_text(ABOUT, &(serde_json::to_string_pretty(about)? + "\n"))?;
    for (name, _) in saved.text.iter().flat_map(|text| &text.tokenizer) {
        copy(folder, &run.join(name), name)?;
    }
    folder.add_text("LICENCE.txt", &licences::text(&saved.backbone, &saved.pretrained))?;
    let records = records(run)?;
    if records.is_some() {
        let spec: Value = RunDir::read_json(&run.join("spec.json"), "run specification")?;
        folder.add_text("spec.json", &(serde_json::to_string_pretty(&spec)? + "\n"))?;
    }
    folder.add_text("README.md", &card::text((saved, model), records.as_ref(), card::For::Here))?;
    Ok(())
}

fn copy(folder: &mut Folder, from: &Path, name: &str) -> anyhow::Result<()> {
    folder.add(name, |path| -> anyhow::Result<()> {
        std::fs::copy(from, path).with_context(|| format!("failed to copy `{}`", from.display()))?;
        Ok(())
    })
}

/// What a run wrote down. A folder with only the model in it can be packed, too; its card then says less.
pub(super) fn records(run: &Path) -> anyhow::Result<Option<Run>> {
    Ok(if Run::is_at(run) { Some(Run::open(run, u64::from(FORMAT))?) } else { None })
}
