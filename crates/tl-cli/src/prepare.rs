//! From a checked spec to something that can train: images verified, weights fetched, net built, plan made.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tch::Device;
use tl_backbones::{BackboneError, Card, Input, Load, Loaded, Weights};
use tl_data::{Augmentation, BadImage, DataPool, Dataset, Preprocess, Sample, Task};
use tl_finetune::{BatchNorm, NetInfo, Plan, PresetOptions, Schedule};
use tl_heads::{HeadSpec, Pool};
use tl_run::{DataFacts, Skipped};
use tl_torch::{Fill, Param, Role};
use tl_train::{Model, NewHead, Pretrained};
use tl_weights::{Cache, Located, Matched, Source};

use crate::dataset;
use crate::errors::Problems;
use crate::fit;
use crate::spec::{Resolved, Spec};
use crate::ui::{Ui, show_fetch};

/// Images that can be decoded, or texts, in three sets.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) classes: Vec<String>,
    pub(crate) train: Arc<[Sample]>,
    /// How much each training sample counts.
    pub(crate) weights: Option<Arc<[f32]>>,
    pub(crate) val: Arc<[Sample]>,
    pub(crate) test: Arc<[Sample]>,
    /// The split as it can be given to another run.
    pub(crate) saved_split: String,
    pub(crate) skipped: Vec<Skipped>,
    /// How a table was understood.
    pub(crate) notes: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) facts: DataFacts,
}

/// Opens the data; what is wrong with it joins the problems.
pub(crate) fn open_data(resolved: &Resolved, problems: &mut Problems) -> Option<Dataset> {
    let Spec { data, source, val_fraction, seed, .. } = &resolved.spec;
    dataset::open_source(data, source, *val_fraction, *seed, problems)
}

/// Decodes every image once. One that fails ends the run, or is left out and listed with `--skip-bad`.
pub(crate) fn verify(
    dataset: Dataset,
    skip_bad: bool,
    pool: &DataPool,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Samples> {
    let all: Vec<Sample> =
        [&dataset.train, &dataset.val, &dataset.test].into_iter().flatten().cloned().collect();
    let bad = check_images(&all, pool, ui);
    refuse_bad(&bad, &dataset.root, skip_bad)?;
    let odd: BTreeSet<&Path> = bad.iter().map(|bad| bad.path.as_path()).collect();
    let is_bad = |sample: &Sample| odd.contains(sample.path.as_path());
    let unreadable = all.iter().filter(|sample| is_bad(sample)).map(|sample| sample.rel.clone()).collect();
    let saved_split = dataset
        .split_file(&unreadable)
        .with_context(|| format!("the split of `{}`", dataset.root.display()))?
        .to_json();
    let Dataset {
        root,
        task,
        classes,
        train,
        val,
        test,
        train_weights,
        split,
        ignored,
        notes,
        mut warnings,
        ..
    } = dataset;
    let weights = match train_weights {
        Some(weights) => {
            let kept = train.iter().zip(weights).filter(|(sample, _)| !is_bad(sample));
            let kept: Vec<f32> = kept.map(|(_, weight)| weight).collect();
            Some(tl_data::mean_one(&kept).context("the images that are left to train on")?.into())
        }
        None => None,
    };
    let (train, val, test) = (good(train, &bad), good(val, &bad), good(test, &bad));
    let gone = undecoded(task, &classes, &train);
    anyhow::ensure!(
        gone.is_empty() || task != Task::Class,
        "no training image of these classes can be decoded: {}",
        gone.join(", ")
    );
    if !gone.is_empty() && !bad.is_empty() {
        warnings.push(format!("no training image that can be decoded has these labels: {}", gone.join(", ")));
    }
    anyhow::ensure!(!train.is_empty(), "no training image can be decoded");
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
        split: split.to_string(),
    };
    let skipped = bad.iter().map(|bad| skipped(bad, &root)).collect();
    Ok(Samples { classes, train, weights, val, test, saved_split, skipped, notes, warnings, facts })
}

/// The classes or labels without a training image.
fn undecoded<'a>(task: Task, names: &'a [String], train: &[Sample]) -> Vec<&'a str> {
    if !matches!(task, Task::Class | Task::MultiLabel) {
        return Vec::new();
    }
    let mut there = vec![false; names.len()];
    for sample in train {
        match &sample.target {
            None => there.iter_mut().skip(sample.label as usize).take(1).for_each(|there| *there = true),
            Some(row) => there.iter_mut().zip(row.iter()).for_each(|(there, value)| *there |= *value > 0.0),
        }
    }
    let gone = names.iter().zip(there).filter(|(_, there)| !there);
    gone.map(|(name, _)| name.as_str()).collect()
}

/// Decodes every image, with a bar.
pub(crate) fn check_images(samples: &[Sample], pool: &DataPool, ui: &RefCell<Ui>) -> Vec<BadImage> {
    ui.borrow_mut().start("checking images", samples.len() as u64, false);
    let bar = ui.borrow().handle();
    let bad = tl_data::verify(samples, pool, &|done| bar.set_position(done as u64));
    ui.borrow_mut().stop();
    bad
}

/// The samples that can be decoded.
pub(crate) fn good(samples: Vec<Sample>, bad: &[BadImage]) -> Arc<[Sample]> {
    let bad: BTreeSet<&Path> = bad.iter().map(|bad| bad.path.as_path()).collect();
    samples.into_iter().filter(|sample| !bad.contains(sample.path.as_path())).collect()
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
        "{n} {images}{} cannot be decoded:\n{}\n\n\
         hint: repair or remove them, or go on without them with --skip-bad",
        if root.as_os_str().is_empty() { String::new() } else { format!(" in `{}`", root.display()) },
        lines.join("\n")
    )
}

/// A bad image by its name in the folder.
pub(crate) fn skipped(bad: &BadImage, root: &Path) -> Skipped {
    let file = tl_data::folder::path_text(bad.path.strip_prefix(root).unwrap_or(&bad.path));
    Skipped { file, reason: bad.reason.clone() }
}

/// Weights that were asked for: published ones by name, or a file.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The row that was named; none for a file, whose names decide.
    named: Option<&'static Weights>,
    pub(crate) located: Located,
}

/// Fetches the weights: a name of the card (empty for its first), or a file.
pub(crate) fn weights(card: &'static Card, choice: &str, ui: &RefCell<Ui>) -> anyhow::Result<Chosen> {
    let cache = Cache::default_location()?;
    let fetch = |source: &Source, sha256| cache.fetch(source, sha256, &show_fetch(ui));
    if let Some(weights) = card.find_weights(choice) {
        let located = fetch(&weights.source, weights.sha256);
        ui.borrow_mut().stop();
        let located =
            located.with_context(|| format!("no weights `{}` for `{}`", weights.name, card.name))?;
        return Ok(Chosen { named: Some(weights), located });
    }
    let path = Path::new(choice);
    if !path.exists() {
        return Err(unknown_weights(card, choice).into());
    }
    let located = fetch(&Source::File(path.to_owned()), None)?;
    Ok(Chosen { named: None, located })
}

pub(crate) fn unknown_weights(card: &Card, name: &str) -> BackboneError {
    let known = card.weights.iter().map(|weights| weights.name).collect();
    BackboneError::UnknownWeights { backbone: card.name, name: name.to_owned(), known }
}

impl Chosen {
    /// The net with these weights. With `partial`, a file that fits only in part will do, and what does not fit is said.
    pub(crate) fn load(
        &self,
        card: &'static Card,
        classifier: bool,
        (partial, device): (Option<u64>, Device),
        ui: &RefCell<Ui>,
    ) -> anyhow::Result<Loaded> {
        let options = Load { device, classifier, partial };
        let loaded = tl_backbones::load(card, self.named, &self.located.path, options)?;
        if !loaded.matched.is_full() {
            let path = self.located.path.display();
            ui.borrow().line(&format!(
                "warning: weights `{path}` fit only in part, what is missing starts anew: {}",
                loaded.matched
            ));
        }
        Ok(loaded)
    }

    /// For the manifest and the model's description.
    pub(crate) fn pretrained(&self) -> Pretrained {
        let (name, licence) = self.named.map_or(("file", "unknown"), |row| (row.name, row.licence));
        Pretrained {
            name: name.to_owned(),
            source: self.located.source.clone(),
            sha256: self.located.sha256.clone(),
            licence: licence.to_owned(),
        }
    }
}

/// The preprocessing of the weights for inputs of `size` pixels.
pub(crate) fn preprocess(input: Input, size: u32) -> Preprocess {
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

/// What is put on the net where nobody says: the class token of a transformer, else the mean over positions.
pub(crate) fn default_head(card: &Card) -> HeadSpec {
    HeadSpec::from(if card.tokens.is_some() { Pool::Class } else { Pool::Average })
}

/// The input size for images this small: the weights' own, unless most of its pixels would be made up by enlarging.
pub(crate) fn input_size(card: &Card, usual: u32, median_short_side: u32) -> u32 {
    const LEAST: u32 = 96;
    if median_short_side * 2 > usual {
        return usual;
    }
    let step = if card.multiple() == 1 { 32 } else { card.multiple() };
    let least = LEAST.max(card.min_size).next_multiple_of(step).min(usual);
    (median_short_side * 2).next_multiple_of(step).clamp(least, usual)
}

/// The model with its new head.
pub(crate) fn model(
    resolved: &Resolved,
    loaded: Loaded,
    data: &Samples,
    (size, device): (u32, Device),
) -> anyhow::Result<Model> {
    let spec = &resolved.spec;
    let task = fit::task(spec, &data.classes)?;
    let head = NewHead { spec: spec.head.clone(), task, dropout: spec.dropout, fill: Fill::Seed(spec.seed) };
    let preprocess = preprocess(loaded.weights.input, size);
    let model = Model::new(loaded.backbone, head, data.classes.clone(), preprocess, device)?;
    match task {
        tl_heads::Task::Regression { .. } => {
            Ok(model.with_target_stats(tl_data::target_stats(&data.train)?)?)
        }
        _ => Ok(model),
    }
}

/// Whether whole batches are mixed, which no view of one image shows.
fn mixes(resolved: &Resolved) -> bool {
    match &resolved.spec.augment {
        Augmentation::Recipe(augment) => augment.mixing.is_some(),
        Augmentation::Generator(_) => false,
    }
}

/// The schedule of the spec, or the one that the preset makes for the net.
pub(crate) fn schedule(resolved: &Resolved, net: &NetInfo) -> anyhow::Result<Schedule> {
    let views = resolved.views.or_else(|| mixes(resolved).then_some(0));
    let options = PresetOptions {
        part: resolved.unfreeze.clone(),
        views,
        images: resolved.samples,
        texts: resolved.spec.text.is_some(),
        adapters: resolved.spec.text.as_ref().is_some_and(|text| text.lora.is_some()),
        ..PresetOptions::default()
    };
    let mut schedule = match &resolved.spec.schedule {
        Some(schedule) => schedule.clone(),
        None => resolved.preset.schedule(net, &options)?,
    };
    if let Some(epochs) = &resolved.epochs {
        schedule.set_epochs(epochs).map_err(|error| anyhow::anyhow!("--epochs: {error}"))?;
        // More views than epochs would never be seen.
        schedule.phases.iter_mut().for_each(|phase| phase.views = phase.views.min(phase.epochs));
    }
    if let Some(views) = resolved.views {
        let mut augmenting = schedule.phases.iter_mut().filter(|phase| phase.augment).peekable();
        anyhow::ensure!(
            augmenting.peek().is_some(),
            "--views is given, and no phase of this schedule augments"
        );
        augmenting.for_each(|phase| phase.views = views);
    }
    Ok(schedule)
}

/// The schedule and the plan it makes for the model.
pub(crate) fn plan(resolved: &Resolved, model: &Model) -> anyhow::Result<(Schedule, Plan)> {
    let net = model.net_info();
    let schedule = schedule(resolved, &net)?;
    let plan = schedule.plan(&net, trainable(model.head.store.iter()))?;
    Ok((schedule, plan))
}

/// With weights that fit only in part: everything that starts anew has to train, and what cannot is said.
pub(crate) fn check_anew(matched: &Matched, model: &Model, plan: &Plan) -> anyhow::Result<Vec<String>> {
    let absent: BTreeSet<&str> = matched
        .missing
        .iter()
        .map(|missing| missing.name.as_str())
        .chain(matched.misshapen.iter().map(|odd| odd.name.as_str()))
        .collect();
    let trains = |layer: usize| plan.phases.iter().any(|phase| phase.layer_rates[layer].is_some());
    let (mut never, mut norms) = (Vec::new(), 0);
    for (param, layer) in model.params_by_layer().filter(|(param, _)| absent.contains(param.name.as_str())) {
        let norm_trains = plan.phases.iter().any(|phase| phase.batch_norm == BatchNorm::Train);
        match param.role {
            Role::Weight | Role::Bias | Role::Undecayed if !trains(layer) => never.push(param.name.as_str()),
            Role::Norm if !(trains(layer) && norm_trains) => norms += 1,
            _ => {}
        }
    }
    anyhow::ensure!(
        never.is_empty(),
        "{} tensors start anew and no phase trains them, the first is `{}`\n\n\
         hint: unfreeze them, as with --preset full or --unfreeze PART",
        never.len(),
        never.first().copied().unwrap_or_default()
    );
    let warning = format!(
        "{norms} scales and shifts of batch-norms start as 1 and 0 and stay so: batch-norm is frozen"
    );
    Ok(if norms > 0 { vec![warning] } else { Vec::new() })
}

/// Number of values that can train.
pub(crate) fn trainable<'a>(params: impl Iterator<Item = &'a Param>) -> usize {
    params.filter(|param| param.role != Role::Buffer).map(|param| param.tensor.numel()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_images_get_a_small_input() {
        let card = tl_backbones::find("efficientnet-lite0").unwrap();
        for (median, size) in [(28, 96), (50, 128), (100, 224), (113, 224), (500, 224), (1, 96)] {
            assert_eq!(input_size(card, 224, median), size, "{median}");
        }
        // Patches of 14 pixels.
        let card = tl_backbones::find("dinov2-small").unwrap();
        assert_eq!((input_size(card, 518, 50), input_size(card, 518, 400)), (112, 518));
    }
}
