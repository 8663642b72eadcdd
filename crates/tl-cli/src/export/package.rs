//! A package: a folder with a model and everything to use it and to pass it on.
//!
//! The decision behind it: it is a folder of the same two files that a run has, so whatever takes a run takes a package.
//! What is beside them is for people.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tl_export::{ABOUT, Folder, Net};
use tl_run::{Run, RunDir};
use tl_train::{Model, SavedModel};

use super::card;
use crate::spec::FORMAT;

/// The texts that licences want to be passed on with.
const APACHE: &str = include_str!("../../../../LICENSE-APACHE");

/// Adds the files.
pub(super) fn fill(
    folder: &mut Folder,
    run: &Path,
    (saved, model, net): (&SavedModel, &Model, &Net<'_>),
) -> anyhow::Result<()> {
    let tensors = run.join("model.safetensors");
    folder.add("model.safetensors", |path| -> anyhow::Result<()> {
        std::fs::copy(&tensors, path).with_context(|| format!("failed to copy `{}`", tensors.display()))?;
        Ok(())
    })?;
    folder.add_text("model.json", &super::read(&run.join("model.json"))?)?;
    folder.add_text("classes.txt", &(saved.classes.join("\n") + "\n"))?;
    folder.add_text(ABOUT, &(serde_json::to_string_pretty(&net.about)? + "\n"))?;
    folder.add_text("LICENCE.txt", &licence(saved))?;
    // A folder with only the model in it can be packed, too; its card then says less.
    let records = if Run::is_at(run) { Some(Run::open(run, u64::from(FORMAT))?) } else { None };
    if records.is_some() {
        let spec: Value = RunDir::read_json(&run.join("spec.json"), "run specification")?;
        folder.add_text("spec.json", &(serde_json::to_string_pretty(&spec)? + "\n"))?;
    }
    folder.add_text("README.md", &card::text(saved, model, records.as_ref()))?;
    Ok(())
}

/// What the weights that the model started from demand.
fn licence(saved: &SavedModel) -> String {
    let from = &saved.pretrained;
    let head = format!(
        "This model was made from pretrained weights, whose licence goes with it.\n\n\
         net      {}\n\
         weights  {}\n\
         source   {}\n\
         sha256   {}\n\
         licence  {}\n\n",
        saved.backbone, from.name, from.source, from.sha256, from.licence
    );
    let rest = match &from.licence[..] {
        "Apache-2.0" => return format!("{head}{}\n\n{APACHE}", "-".repeat(72)),
        "unknown" => "The weights came from a file of which no licence is known. Whoever passes the model on has to find \
                      out under which terms that is allowed.\n"
            .to_owned(),
        name => format!("The text of the licence: https://spdx.org/licenses/{name}.html\n"),
    };
    head + &rest
}
