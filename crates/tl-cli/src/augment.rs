//! `tl augment`: a sheet that shows what an augmentation does to images, and what was drawn for each as JSON.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use tl_data::augment::AugmentPreset;
use tl_data::sheet::{self, SheetOptions};
use tl_data::{Augment, DataPool, Key, Preprocess, Sample};

use crate::args::AugmentArgs;
use crate::data::look::{Pages, fresh_png};
use crate::machine;
use crate::predict::unlabelled;
use crate::ui::{self, Ui};

pub(crate) fn run(args: &AugmentArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    fresh_png(&args.out)?;
    anyhow::ensure!((1..=32).contains(&args.views), "--views is {}, expected 1 to 32", args.views);
    let augment = recipe(&args.augment)?;
    let paths = tl_data::list_images(&args.images)?;
    let numbered = (0..).zip(paths.into_iter().take(args.most));
    // Every image draws for itself, as in a run.
    let samples: Vec<Sample> = numbered.map(|(id, path)| Sample { id, ..unlabelled(path) }).collect();
    let pool = DataPool::new(machine.data_threads)?;
    let preprocess = Preprocess::imagenet(args.image_size);
    preprocess.check()?;
    let key =
        |sample: &Sample, view: usize| Key { seed: args.seed, epoch: view as u64, sample_id: sample.id };
    let view = |sample: &Sample, image: &tl_data::RgbImage, view: usize| {
        let params = augment.sample(key(sample, view), image.width(), image.height());
        Ok((params.apply(image, &preprocess)?, format!("epoch {view}")))
    };
    let options = SheetOptions { lines: 1, ..SheetOptions::default() };
    let mut pages = Pages::new(&args.out);
    let drawn = sheet::view_sheet(&samples, args.views as usize, &view, &options, &pool, &mut |page| {
        pages.add(&page)
    });
    pages.finish(drawn, &ui)?;
    let mut text = String::new();
    for sample in &samples {
        let (width, height) = tl_data::decode::dimensions(&sample.path)?;
        for view in 0..args.views as usize {
            let params = augment.sample(key(sample, view), width, height);
            let line = json!({ "file": sample.rel, "epoch": view, "parameters": params });
            text.push_str(&(line.to_string() + "\n"));
        }
    }
    if args.json { ui::print(&text) } else { ui::print(&(serde_json::to_string_pretty(&augment)? + "\n")) }
}

/// A preset by name, or a recipe in a JSON file.
pub(crate) fn recipe(text: &str) -> anyhow::Result<Augment> {
    if let Ok(preset) = text.parse::<AugmentPreset>() {
        return Ok(preset.recipe());
    }
    let path = Path::new(text);
    let names = AugmentPreset::ALL.map(AugmentPreset::name).join(", ");
    anyhow::ensure!(
        path.exists(),
        "--augment is `{text}`, expected {names}, or a JSON file with a recipe\n\n\
         hint: `tl augment --augment medium …` prints one to begin with"
    );
    let text =
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let augment: Augment = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is no recipe of augmentation", path.display()))?;
    augment.check().with_context(|| format!("recipe `{}`", path.display()))?;
    Ok(augment)
}
