//! `tl explain`: pictures of where in an image a model found its answer; and the same for a few images of a report.
//!
//! The decision behind it: what is shown is the image as the net gets it, cut and resized, since the map is of that.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use tch::Device;
use tl_data::sheet::{HeatMap, beside_heat, jpeg, png};
use tl_data::{RgbImage, Sample, decode_rgb};
use tl_heads::Task;
use tl_run::Look;
use tl_train::{Answers, Heat, Model, Place, SavedModel, Scored, grad_cam};

use crate::args::ExplainArgs;
use crate::dataset;
use crate::errors::Exit;
use crate::machine;
use crate::predict::with_stdin;
use crate::ui::{self, Ui};

/// Least pixels of a picture's side.
const LEAST_SIDE: u32 = 224;
/// Pixels of a picture's side in a report.
const REPORT_SIDE: u32 = 160;
/// Pictures of right answers in a report, and as many of wrong ones.
const IN_REPORT: usize = 6;

pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    machine::set_up_cpu(&args.threads)?;
    let [run, images @ ..] = &args.paths[..] else { return Err(Exit(1).into()) };
    anyhow::ensure!(
        !images.is_empty(),
        "expected a run directory and at least one image\n\nhint: `tl explain RUN IMAGE… --out DIR`"
    );
    let (_, model) = SavedModel::load(run, Device::Cpu)?;
    let wanted = args.class.as_deref().map(|name| class(&model, name)).transpose()?;
    let place = match &args.layer {
        Some(name) => Place::find(&model.backbone, name)?,
        None => Place::usual(&model.backbone),
    };
    let paths = dataset::list(&with_stdin(images)?)?;
    let files = files(&paths, &args.out)?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("failed to make `{}`", args.out.display()))?;
    ui.borrow_mut().start("explaining", paths.len() as u64, false);
    let (mut bad, mut text) = (Vec::new(), String::new());
    for (i, (path, file)) in paths.iter().zip(&files).enumerate() {
        let image = match decode_rgb(path) {
            Ok(image) => model.preprocess()?.eval_transform(&image)?,
            Err(error) => {
                bad.push(error.to_string());
                continue;
            }
        };
        let heat = explain(&model, &image, place, wanted)
            .with_context(|| format!("at {}, `{}`", place.name(&model.backbone), path.display()))?;
        let picture = beside_heat(&image, map(&heat), image.width().max(LEAST_SIDE))?;
        tl_fetch::write_whole(file, &png(&picture)?)?;
        text.push_str(&said(args, &model, place, (path, file), &heat));
        ui.borrow().at(i as u64 + 1);
    }
    ui.borrow_mut().stop();
    ui::print(&text)?;
    for error in &bad {
        ui.borrow().line(&format!("error: {error}"));
    }
    if bad.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
}

/// The index of a class, label or number.
fn class(model: &Model, name: &str) -> anyhow::Result<usize> {
    const LISTED: usize = 20;
    model.classes.iter().position(|class| class == name).with_context(|| {
        let more = if model.classes.len() > LISTED { ", …" } else { "" };
        let known: Vec<&str> = model.classes.iter().take(LISTED).map(String::as_str).collect();
        format!(
            "--class is `{name}`, and the model has no such class\n\nhint: it has {}{more}",
            known.join(", ")
        )
    })
}

/// The file for each image: its own name, with a number where two are alike.
fn files(images: &[PathBuf], out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut taken = BTreeSet::new();
    let mut files = Vec::new();
    for image in images {
        let stem = image.file_stem().map_or("image".into(), |stem| stem.to_string_lossy());
        let mut names = std::iter::once(stem.to_string()).chain((2..).map(|i| format!("{stem}-{i}")));
        let name = names.find(|name| taken.insert(name.clone())).unwrap_or_default();
        files.push(out.join(name + ".png"));
    }
    let there: Vec<String> =
        files.iter().filter(|file| file.exists()).map(|f| f.display().to_string()).collect();
    let first = there.first().map(String::as_str).unwrap_or_default();
    anyhow::ensure!(
        there.is_empty(),
        "{} files would be written over, the first is `{first}`\n\nhint: give another folder with --out",
        there.len()
    );
    Ok(files)
}

/// Where one image, as the net gets it, has what speaks for an answer.
fn explain(model: &Model, image: &RgbImage, place: Place, wanted: Option<usize>) -> anyhow::Result<Heat> {
    let (width, height) = image.dimensions();
    let mut planes = vec![0f32; 3 * (width * height) as usize];
    model.preprocess()?.normaliser().normalise(image, &mut planes)?;
    let xs = tl_torch::image_batch(&planes, [1, 3, i64::from(height), i64::from(width)], model.device);
    grad_cam(model, &xs, place, &[wanted])?.pop().context("no answer")
}

fn map(heat: &Heat) -> HeatMap<'_> {
    HeatMap { values: &heat.values, height: heat.height, width: heat.width }
}

/// A line about one image.
fn said(
    args: &ExplainArgs,
    model: &Model,
    place: Place,
    (path, file): (&Path, &Path),
    heat: &Heat,
) -> String {
    let (name, numbers) = (&model.classes[heat.name], matches!(model.task, Task::Regression { .. }));
    let image = tl_data::folder::path_text(path);
    if !args.json {
        let sign = if numbers { "=" } else { "" };
        let nothing = if heat.peak() > 0.0 { "" } else { "  (nothing speaks for it)" };
        return format!("{image}\t{name} {sign}{}{nothing}\t{}\n", heat.answer, file.display());
    }
    let rows: Vec<&[f32]> = heat.values.chunks(heat.width).collect();
    let mut object = json!({ "file": image, "picture": file, "layer": place.name(&model.backbone), "peak": heat.peak(),
        "map": rows });
    let answer = match model.task {
        Task::Regression { .. } => [("name", json!(name)), ("value", json!(heat.answer))],
        Task::MultiLabel { .. } => [("label", json!(name)), ("probability", json!(heat.answer))],
        Task::Softmax { .. } | Task::Binary | Task::Tagging { .. } => {
            [("class", json!(name)), ("probability", json!(heat.answer))]
        }
    };
    let fields = answer.map(|(key, value): (&str, Value)| (key.to_owned(), value));
    object.as_object_mut().into_iter().for_each(|object| object.extend(fields.clone()));
    object.to_string() + "\n"
}

/// Pictures for a report, of some wrong answers and some right ones, as many as there is `time` for; none where there is not
/// one class an image. Of wrong ones the surest come first; of right ones one of each class in turn.
pub(crate) fn looks(model: &Model, scored: &Scored, samples: &[Sample], time: Duration) -> Vec<Look> {
    let Answers::Classes(labels) = &scored.answers else { return Vec::new() };
    let said: Vec<u32> = scored.predicted().collect();
    let sure = |i: usize| scored.probabilities[i][said[i] as usize];
    let (mut right, mut wrong): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|&i| said[i] == labels[i]);
    wrong.sort_by(|&a, &b| sure(b).total_cmp(&sure(a)).then(a.cmp(&b)));
    let mut seen = vec![0usize; model.classes.len()];
    let turn: Vec<usize> = (0..labels.len())
        .map(|i| {
            let before = &mut seen[labels[i] as usize];
            if said[i] == labels[i] { std::mem::replace(before, *before + 1) } else { 0 }
        })
        .collect();
    right.sort_by_key(|&i| (turn[i], labels[i], i));
    wrong.truncate(IN_REPORT);
    right.truncate(IN_REPORT);
    let (place, begun) = (Place::usual(&model.backbone), Instant::now());
    let mut looks = Vec::new();
    // In turn, so that little time shows some of both.
    let most = wrong.len().max(right.len());
    for i in (0..most).flat_map(|i| [wrong.get(i), right.get(i)]).flatten() {
        let each = begun.elapsed() / (looks.len() as u32).max(1);
        if !looks.is_empty() && begun.elapsed() + each > time {
            break;
        }
        // A file that has gone meanwhile is no reason to lose a report.
        let Some(jpeg) = look(model, &samples[*i], place, said[*i] as usize) else { continue };
        let name = |class: u32| model.classes[class as usize].clone();
        let (right, said) = (name(labels[*i]), name(said[*i]));
        looks.push(Look { file: samples[*i].rel.clone(), right, said, probability: sure(*i), jpeg });
    }
    looks
}

fn look(model: &Model, sample: &Sample, place: Place, class: usize) -> Option<Vec<u8>> {
    let image = model.preprocess().ok()?.eval_transform(&decode_rgb(&sample.path).ok()?).ok()?;
    let heat = explain(model, &image, place, Some(class)).ok()?;
    jpeg(&beside_heat(&image, map(&heat), REPORT_SIDE).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let images = ["a/x.jpg", "b/x.png", "x-2.jpg", "y.jpg"].map(PathBuf::from);
        let names: Vec<PathBuf> =
            ["x.png", "x-2.png", "x-2-2.png", "y.png"].map(|n| dir.path().join(n)).into();
        assert_eq!(files(&images, dir.path()).unwrap(), names);
        std::fs::write(dir.path().join("y.png"), "").unwrap();
        let error = files(&images, dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("1 files would be written over") && error.contains("y.png"), "{error}");
    }
}
