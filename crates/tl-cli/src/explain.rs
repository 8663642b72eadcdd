//! `tl explain`: pictures of where in an image a model found its answer.
//!
//! The decision behind it: what is shown is the image as the net gets it, cut and resized, since the map is of that.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use console::{Alignment, measure_text_width, pad_str};
use serde_json::{Value, json};
use tch::{Device, Tensor};
use tl_backbones::Mode;
use tl_data::sheet::{HeatMap, beside_heat, png};
use tl_data::{RgbImage, decode_rgb};
use tl_heads::Task;
use tl_train::{Heat, Model, Place, SavedModel, grad_cam};

use crate::args::ExplainArgs;
use crate::dataset;
use crate::errors::Exit;
use crate::evaluate::PRESENT;
use crate::machine;
use crate::output;
use crate::predict::{shortened, with_stdin};
use crate::ui::{self, Ui};

/// Least pixels of a picture's side.
const LEAST_SIDE: u32 = 224;

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
    output::folder("--out", &args.out)?;
    let files = files(&paths, &args.out)?;
    ui.borrow_mut().start("explaining", paths.len() as u64, false);
    let (mut bad, mut text, mut table) = (Vec::new(), String::new(), Vec::new());
    for (i, (path, file)) in paths.iter().zip(&files).enumerate() {
        let image = match decode_rgb(path) {
            Ok(image) => model.preprocess()?.eval_transform(&image)?,
            Err(error) => {
                bad.push(error.to_string());
                continue;
            }
        };
        let heats =
            asked(&model, &image, wanted)?.into_iter().map(|name| explain(&model, &image, place, name));
        let heats: Vec<Heat> = heats
            .collect::<Result<_, _>>()
            .with_context(|| format!("at {}, `{}`", place.name(&model.backbone), path.display()))?;
        let maps: Vec<HeatMap<'_>> = heats.iter().map(map).collect();
        let picture = beside_heat(&image, &maps, image.width().max(LEAST_SIDE))?;
        tl_fetch::write_whole(file, &png(&picture)?)?;
        for heat in &heats {
            text.push_str(&said(args, &model, place, (path, file), heat));
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            table.push([tl_data::folder::path_text(path), answer(&model, heat), name]);
        }
        ui.borrow().at(i as u64 + 1);
    }
    ui.borrow_mut().stop();
    match ui::width().filter(|_| !args.json && !table.is_empty()) {
        Some(width) => ui::print_tables(&columns(table, &args.out, width))?,
        None => ui::print(&text)?,
    }
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
    let s = if there.len() == 1 { "" } else { "s" };
    anyhow::ensure!(
        there.is_empty(),
        "{} file{s} would be written over, the first is `{first}`\n\nhint: give another folder with --out",
        there.len()
    );
    Ok(files)
}

/// What is asked about one image: what the user names, each label that the model says is there, each number; or what it
/// finds likeliest.
fn asked(model: &Model, image: &RgbImage, wanted: Option<usize>) -> anyhow::Result<Vec<Option<usize>>> {
    let names = match (wanted, model.task) {
        (None, Task::MultiLabel { .. }) => {
            let xs = batch(model, image)?;
            let logits = tch::no_grad(|| {
                let features = model.forward(&xs, 0, model.stages(), |_| Mode::EVAL);
                model.head.forward(&features, None)
            });
            let answers = model.answers(&logits);
            let answers = answers.first().into_iter().flatten().enumerate();
            answers.filter(|(_, probability)| **probability >= PRESENT).map(|(name, _)| Some(name)).collect()
        }
        (None, Task::Regression { targets }) => (0..targets as usize).map(Some).collect(),
        _ => vec![wanted],
    };
    Ok(if names.is_empty() { vec![None] } else { names })
}

/// Where one image, as the net gets it, has what speaks for an answer.
pub(crate) fn explain(
    model: &Model,
    image: &RgbImage,
    place: Place,
    wanted: Option<usize>,
) -> anyhow::Result<Heat> {
    grad_cam(model, &batch(model, image)?, place, &[wanted])?.pop().context("no answer")
}

/// A batch of one image.
fn batch(model: &Model, image: &RgbImage) -> anyhow::Result<Tensor> {
    let (width, height) = image.dimensions();
    let mut planes = vec![0f32; 3 * (width * height) as usize];
    model.preprocess()?.normaliser().normalise(image, &mut planes)?;
    Ok(tl_torch::image_batch(&planes, [1, 3, i64::from(height), i64::from(width)], model.device))
}

pub(crate) fn map(heat: &Heat) -> HeatMap<'_> {
    HeatMap { values: &heat.values, height: heat.height, width: heat.width }
}

/// What was said, and how surely.
fn answer(model: &Model, heat: &Heat) -> String {
    let sign = if matches!(model.task, Task::Regression { .. }) { "= " } else { "" };
    let nothing = if heat.peak() > 0.0 { "" } else { " (nothing speaks for it)" };
    format!("{} {sign}{:.4}{nothing}", model.classes[heat.name], heat.answer)
}

/// Images, answers and pictures as a table, for a terminal of this width.
fn columns(mut rows: Vec<[String; 3]>, out: &Path, terminal: usize) -> String {
    for [image, _, _] in &mut rows {
        *image = shortened(std::mem::take(image), terminal / 2, true);
    }
    rows.insert(0, ["file", "says", "picture"].map(str::to_owned));
    let width = |i: usize| rows.iter().map(|row| measure_text_width(&row[i])).max().unwrap_or(0);
    let widths = [width(0), width(1)];
    let mut text = String::new();
    for [image, said, picture] in &rows {
        let [first, second] = widths.map(|width| width + 2);
        text += &pad_str(image, first, Alignment::Left, None);
        text += &pad_str(said, second, Alignment::Left, None);
        text += &format!("{picture}\n");
    }
    text + &format!("\npictures   in {}\n", out.display())
}

/// A line about one image.
fn said(
    args: &ExplainArgs,
    model: &Model,
    place: Place,
    (path, file): (&Path, &Path),
    heat: &Heat,
) -> String {
    let name = &model.classes[heat.name];
    let image = tl_data::folder::path_text(path);
    if !args.json {
        return format!("{image}\t{}\t{}\n", answer(model, heat), file.display());
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
        assert!(error.starts_with("1 file would be written over") && error.contains("y.png"), "{error}");
    }

    #[test]
    fn a_table_has_a_row_for_each_picture() {
        let row = ["photos/a.jpg", "ants 0.9000", "a.png"].map(str::to_owned);
        let text = columns(vec![row.clone()], Path::new("seen"), 80);
        let expected =
            "file          says         picture\nphotos/a.jpg  ants 0.9000  a.png\n\npictures   in seen\n";
        assert_eq!(text, expected);
        assert!(columns(vec![row], Path::new("seen"), 20).contains("…tos/a.jpg  ants"), "{text}");
    }
}
