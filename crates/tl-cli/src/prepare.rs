//! From a checked spec to something that can train: images verified, weights fetched, net built, plan made.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tch::Device;
use tl_backbones::{Backbone, Card, Weights};
use tl_data::{BadImage, DataPool, ImageFolder, OpenOptions, Preprocess, Sample, SplitOrigin};
use tl_finetune::{Plan, Schedule};
use tl_run::{DataFacts, Skipped};
use tl_torch::Fill;
use tl_train::{Model, NewHead, Pretrained};
use tl_weights::{Cache, Located, Source};

use crate::errors::Problems;
use crate::spec::Resolved;
use crate::ui::{Ui, show_fetch};

/// Images that can be decoded, in three sets.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) classes: Vec<String>,
    pub(crate) train: Arc<[Sample]>,
    pub(crate) val: Arc<[Sample]>,
    pub(crate) test: Arc<[Sample]>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) warnings: Vec<String>,
    pub(crate) facts: DataFacts,
}

/// Opens the folder; what is wrong with it joins the problems.
pub(crate) fn open_folder(resolved: &Resolved, problems: &mut Problems) -> Option<ImageFolder> {
    let options = OpenOptions { val_fraction: resolved.spec.val_fraction, seed: resolved.spec.seed };
    problems.take(ImageFolder::open(&resolved.spec.data, &options).map_err(anyhow::Error::from))
}

/// Decodes every image once. One that fails ends the run, or is left out and listed with `--skip-bad`.
pub(crate) fn verify(
    folder: ImageFolder,
    skip_bad: bool,
    pool: &DataPool,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Images> {
    let ImageFolder { root, classes, train, val, test, split, ignored, mut warnings } = folder;
    let all: Vec<Sample> = [&train, &val, &test].into_iter().flatten().cloned().collect();
    let bad = check_images(&all, pool, ui);
    refuse_bad(&bad, &root, skip_bad)?;
    let good = |samples: Vec<Sample>| -> Arc<[Sample]> {
        samples.into_iter().filter(|sample| !bad.iter().any(|bad| bad.path == sample.path)).collect()
    };
    let (train, val, test) = (good(train), good(val), good(test));
    for (label, class) in classes.iter().enumerate() {
        let has = |samples: &[Sample]| samples.iter().any(|sample| sample.label as usize == label);
        anyhow::ensure!(has(&train), "no image of class `{class}` in train can be decoded");
    }
    anyhow::ensure!(!val.is_empty(), "no validation image can be decoded");
    if ignored.files > 0 {
        let names = ignored.first.join(", ");
        warnings.push(format!("{} files are not images and were not used: {names}", ignored.files));
    }
    let facts = DataFacts {
        path: root.display().to_string(),
        train_sha256: tl_data::fingerprint(train.iter(), &classes, pool)?,
        val_sha256: tl_data::fingerprint(val.iter(), &classes, pool)?,
        train_images: train.len(),
        val_images: val.len(),
        test_images: test.len(),
        split: match split {
            SplitOrigin::Folders => "as in the folder".to_owned(),
            SplitOrigin::Made { fraction, seed } => {
                format!("{fraction} of each class for validation, seed {seed}")
            }
        },
    };
    let skipped = bad.iter().map(|bad| skipped(bad, &root)).collect();
    Ok(Images { classes, train, val, test, skipped, warnings, facts })
}

/// Decodes every image, with a bar.
pub(crate) fn check_images(samples: &[Sample], pool: &DataPool, ui: &RefCell<Ui>) -> Vec<BadImage> {
    ui.borrow_mut().start("checking images", samples.len() as u64, false);
    let bar = ui.borrow().handle();
    let bad = tl_data::verify(samples, pool, &|done| bar.set_position(done as u64));
    ui.borrow_mut().stop();
    bad
}

/// Fails with all bad images named, unless they are to be skipped.
pub(crate) fn refuse_bad(bad: &[BadImage], root: &Path, skip_bad: bool) -> anyhow::Result<()> {
    const LISTED: usize = 20;
    if bad.is_empty() || skip_bad {
        return Ok(());
    }
    let mut lines: Vec<String> = bad
        .iter()
        .take(LISTED)
        .map(|bad| {
            let Skipped { file, reason } = skipped(bad, root);
            format!("  {file}: {reason}")
        })
        .collect();
    if bad.len() > LISTED {
        lines.push(format!("  and {} more", bad.len() - LISTED));
    }
    let n = bad.len();
    let images = if n == 1 { "image" } else { "images" };
    anyhow::bail!(
        "{n} {images} in `{}` cannot be decoded:\n{}\n\n\
         hint: repair or remove them, or go on without them with --skip-bad",
        root.display(),
        lines.join("\n")
    )
}

/// A bad image by its name in the folder.
pub(crate) fn skipped(bad: &BadImage, root: &Path) -> Skipped {
    let file = bad.path.strip_prefix(root).unwrap_or(&bad.path).display().to_string();
    Skipped { file, reason: bad.reason.clone() }
}

/// Weights that were asked for: published ones by name, or a file.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) weights: &'static Weights,
    pub(crate) located: Located,
    from_file: bool,
}

/// Fetches the weights: a name of the card (empty for its first), or a file.
pub(crate) fn weights(card: &'static Card, choice: &str, ui: &RefCell<Ui>) -> anyhow::Result<Chosen> {
    let named = card.weights.iter().find(|weights| weights.name == choice);
    let first = card.weights.first().filter(|_| choice.is_empty());
    let cache = Cache::default_location()?;
    let fetch = |source: &Source, sha256| cache.fetch(source, sha256, &show_fetch(ui));
    if let Some(weights) = named.or(first) {
        let located = fetch(&weights.source, weights.sha256);
        ui.borrow_mut().stop();
        let located =
            located.with_context(|| format!("no weights `{}` for `{}`", weights.name, card.name))?;
        return Ok(Chosen { weights, located, from_file: false });
    }
    let path = Path::new(choice);
    let known = || card.weights.iter().map(|weights| weights.name).collect::<Vec<_>>();
    let Some(weights) = card.weights.first().filter(|_| path.exists()) else {
        let error = tl_backbones::BackboneError::UnknownWeights {
            backbone: card.name,
            name: choice.to_owned(),
            known: known(),
        };
        return Err(error.into());
    };
    let located = fetch(&Source::File(path.to_owned()), None)?;
    Ok(Chosen { weights, located, from_file: true })
}

impl Chosen {
    /// The net with these weights. A file may use any of the card's namings.
    pub(crate) fn backbone(&self, card: &'static Card, device: Device) -> anyhow::Result<Backbone> {
        let path = &self.located.path;
        let first = match Backbone::load(card, self.weights, path, device) {
            Ok(backbone) => return Ok(backbone),
            Err(error) => error,
        };
        let others = card.weights.iter().filter(|_| self.from_file);
        let mut loaded = others.filter_map(|weights| Backbone::load(card, weights, path, device).ok());
        Ok(loaded.next().ok_or(first)?)
    }

    /// For the manifest and the model's description.
    pub(crate) fn pretrained(&self) -> Pretrained {
        let (name, licence) = match self.from_file {
            true => ("file", "unknown"),
            false => (self.weights.name, self.weights.licence),
        };
        Pretrained {
            name: name.to_owned(),
            source: self.located.source.clone(),
            sha256: self.located.sha256.clone(),
            licence: licence.to_owned(),
        }
    }
}

/// The preprocessing of the card for inputs of `size` pixels.
pub(crate) fn preprocess(card: &Card, size: u32) -> Preprocess {
    let input = card.input;
    let published = Preprocess {
        input: input.size,
        resize: input.resize,
        interpolation: match input.interpolation {
            tl_backbones::Interpolation::Bilinear => tl_data::Interpolation::Bilinear,
            tl_backbones::Interpolation::Bicubic => tl_data::Interpolation::Bicubic,
        },
        mean: input.mean,
        std: input.std,
    };
    if size == input.size { published } else { published.scaled_to(size) }
}

/// The input size for images this small: the card's, unless most of its pixels would be made up by enlarging.
pub(crate) fn input_size(card: &Card, median_short_side: u32) -> u32 {
    const LEAST: u32 = 96;
    if median_short_side * 2 > card.input.size {
        return card.input.size;
    }
    (median_short_side * 2).next_multiple_of(32).clamp(LEAST.min(card.input.size), card.input.size)
}

/// The model with its new head.
pub(crate) fn model(
    resolved: &Resolved,
    backbone: Backbone,
    images: &Images,
    size: u32,
) -> anyhow::Result<Model> {
    let spec = &resolved.spec;
    let head = NewHead { spec: spec.head.clone(), dropout: spec.dropout, fill: Fill::Seed(spec.seed) };
    let preprocess = preprocess(resolved.card, size);
    Ok(Model::new(backbone, head, images.classes.clone(), preprocess, Device::Cpu)?)
}

/// The schedule of the spec or the preset, and the plan it makes for the model.
pub(crate) fn plan(resolved: &Resolved, model: &Model) -> anyhow::Result<(Schedule, Plan)> {
    let stages = model.stage_infos();
    let mut schedule = match &resolved.spec.schedule {
        Some(schedule) => schedule.clone(),
        None => resolved.preset.schedule(&stages),
    };
    if let Some(epochs) = &resolved.epochs {
        let names: Vec<&str> = schedule.phases.iter().map(|phase| phase.name.as_str()).collect();
        anyhow::ensure!(
            epochs.len() == names.len(),
            "--epochs has {} numbers, the schedule has {} phases: {}",
            epochs.len(),
            names.len(),
            names.join(", ")
        );
        schedule.phases.iter_mut().zip(epochs).for_each(|(phase, epochs)| phase.epochs = *epochs);
    }
    let plan = schedule.plan(&stages, model.head.store.count())?;
    Ok((schedule, plan))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_images_get_a_small_input() {
        let card = tl_backbones::find("efficientnet-lite0").unwrap();
        for (median, size) in [(28, 96), (50, 128), (100, 224), (113, 224), (500, 224), (1, 96)] {
            assert_eq!(input_size(card, median), size, "{median}");
        }
    }
}
