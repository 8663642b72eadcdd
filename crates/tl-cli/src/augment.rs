//! `tl augment`: a sheet that shows what an augmentation does to images, and what was drawn for each as JSON.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use tl_data::augment::AugmentPreset;
use tl_data::sheet::{self, SheetOptions};
use tl_data::{Augmentation, DataPool, Key, Preprocess, RgbImage, Sample};

use crate::args::AugmentArgs;
use crate::data::look::{Pages, fresh_png};
use crate::machine;
use crate::predict::unlabelled;
use crate::prepare;
use crate::ui::{self, Ui};

pub(crate) fn run(args: &AugmentArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up_cpu(&args.threads)?;
    fresh_png("--out", &args.out)?;
    anyhow::ensure!((1..=32).contains(&args.views), "--views is {}, expected 1 to 32", args.views);
    anyhow::ensure!(args.most > 0, "--most is 0, expected 1 or more");
    let augmentation = augmentation(&args.augment)?;
    for warning in augmentation.warnings() {
        ui.borrow().line(&format!("note: {warning}"));
    }
    if let Augmentation::Recipe(recipe) = &augmentation
        && recipe.mixing.is_some()
    {
        ui.borrow().line("note: the images are shown before they are mixed with each other");
    }
    let preprocess = Preprocess::imagenet(args.image_size);
    preprocess.check()?;
    let pool = DataPool::new(machine.data_threads)?;
    let samples = samples(args)?;
    let bad = prepare::check_images(&samples, &pool, &ui);
    let samples = prepare::good(samples, &bad);
    for bad in &bad {
        ui.borrow().line(&format!("warning: left out {}: {}", bad.path.display(), bad.reason));
    }
    anyhow::ensure!(!samples.is_empty(), "none of the images can be decoded");
    let draw = |sample: &Sample, image: &RgbImage, view: usize| {
        let key = Key { seed: args.seed, epoch: view as u64, sample_id: sample.id };
        let parameters = augmentation.parameters(key, image.dimensions(), &preprocess);
        Ok((augmentation.apply(image, key, &preprocess)?, words(&parameters)))
    };
    let options = SheetOptions { lines: 3, ..SheetOptions::default() };
    let mut pages = Pages::new(&args.out);
    let drawn = sheet::view_sheet(&samples, args.views as usize, &draw, &options, &pool, &mut |page| {
        pages.add(&page)
    });
    pages.finish(drawn, &ui)?;
    if !args.json {
        return ui::print(&(serde_json::to_string_pretty(&augmentation)? + "\n"));
    }
    let mut text = String::new();
    for sample in samples.iter() {
        // As the image is upright, which its header does not say in all formats.
        let size = tl_data::decode_rgb(&sample.path)?.dimensions();
        for view in 0..args.views as u64 {
            let key = Key { seed: args.seed, epoch: view, sample_id: sample.id };
            let parameters = augmentation.parameters(key, size, &preprocess);
            text.push_str(
                &(json!({ "file": sample.rel, "epoch": view, "parameters": parameters }).to_string() + "\n"),
            );
        }
    }
    ui::print(&text)
}

/// The images to show, evenly out of all of them; of a folder with classes and parts, training images.
fn samples(args: &AugmentArgs) -> anyhow::Result<Vec<Sample>> {
    let dataset = match args.images.as_slice() {
        [path] if path.is_dir() => tl_data::Dataset::open(path, &tl_data::SplitOptions::default()).ok(),
        _ => None,
    };
    let all: Vec<Sample> = match dataset {
        Some(dataset) => dataset.train,
        None => {
            let paths = tl_data::list_images(&args.images)?;
            (0..).zip(paths).map(|(id, path)| Sample { id, ..unlabelled(path) }).collect()
        }
    };
    let shown = args.most.min(all.len());
    Ok((0..shown).map(|i| all[i * all.len() / shown].clone()).collect())
}

/// What was drawn, in a few words.
fn words(parameters: &Value) -> String {
    let Value::Object(fields) = parameters else { return String::new() };
    let number = |value: &Value| value.as_f64().map(|x| ((x * 100.0).round() / 100.0).to_string());
    let mut parts = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Bool(true) => parts.push(name.clone()),
            Value::Number(_) => parts.extend(number(value).map(|x| format!("{name} {x}"))),
            Value::Object(inner) => {
                let numbers: Vec<String> = inner.values().filter_map(number).collect();
                parts.push(format!("{name} {}", numbers.join(" ")));
            }
            Value::Array(ops) => parts.extend(ops.iter().map(|op| match op {
                Value::Object(op) => {
                    let of = |(name, value): (&String, &Value)| match number(value) {
                        Some(x) => format!("{name} {x}"),
                        None => name.clone(),
                    };
                    op.iter().map(of).collect::<Vec<_>>().join(" ")
                }
                other => other.as_str().unwrap_or_default().to_owned(),
            })),
            Value::Null | Value::Bool(false) | Value::String(_) => {}
        }
    }
    parts.join(", ")
}

/// A preset by name; or a recipe, or the arguments of an ImageDataGenerator, in a JSON file.
pub(crate) fn augmentation(text: &str) -> anyhow::Result<Augmentation> {
    if let Ok(preset) = text.parse::<AugmentPreset>() {
        return Ok(preset.recipe().into());
    }
    let path = Path::new(text);
    let names = AugmentPreset::ALL.map(AugmentPreset::name).join(", ");
    anyhow::ensure!(
        path.is_file(),
        "--augment is `{text}`, expected {names}, or a JSON file with a recipe or the arguments of an \
         ImageDataGenerator\n\nhint: `tl augment --augment medium …` prints a recipe to begin with"
    );
    let text =
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("augmentation `{}`", path.display()))
}
