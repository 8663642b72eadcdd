//! Everything that a run needs, looked up and checked: images verified, weights loaded, net built, plan made.
//!
//! The decision behind it: nothing here writes. `finetune` trains a job, `plan` prices it, `lr-find` tries rates on it,
//! and all see the same.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use tl_backbones::Weights;
use tl_data::{Augment, ClassWeighting, DataPool, DecodedCache, Sample, TargetStats, View};
use tl_finetune::{Metric, Plan};
use tl_heads::Task;
use tl_run::Machine;
use tl_train::{FeatureStore, Model, Options};

use crate::args::{CacheArgs, Settings};
use crate::errors::{Exit, Problems};
use crate::fit;
use crate::machine;
use crate::memory;
use crate::prepare::{self, Chosen, Images};
use crate::remembered;
use crate::spec::{ClassWeights, Resolved, resolve};
use crate::ui::{self, Ui};

/// Everything a run needs, checked.
pub(crate) struct Job {
    pub(crate) resolved: Resolved,
    pub(crate) images: Images,
    pub(crate) chosen: Chosen,
    /// The row of the card that the weights are named as.
    pub(crate) weights: &'static Weights,
    pub(crate) model: Model,
    pub(crate) plan: Plan,
    pub(crate) pool: DataPool,
    pub(crate) decoded: Option<DecodedCache>,
    /// The short side of images before they are augmented.
    pub(crate) shrink: Option<u32>,
    pub(crate) machine: Machine,
    pub(crate) median: u32,
    /// Where activations are kept on disk.
    pub(crate) store: Option<FeatureStore>,
    /// What the best weights are picked by.
    pub(crate) monitor: Metric,
    /// How the net is computed, in words, where that was found out for this run.
    pub(crate) why: Vec<String>,
    pub(crate) start: Instant,
}

impl Job {
    /// From the words of the command line. `run` is where it will be written, if it will.
    ///
    /// # Errors
    /// All that is wrong with words, data and plan, together; then what is wrong with images or weights.
    pub(crate) fn from_args(args: &Settings, run: Option<&Path>, ui: &RefCell<Ui>) -> anyhow::Result<Self> {
        let start = Instant::now();
        let machine = machine::set_up(&args.threads)?;
        let device = machine::device(&machine);
        let mut problems = Problems::default();
        let resolved = resolve(args, &mut problems);
        if let Some(run) = run.filter(|run| run.symlink_metadata().is_ok()) {
            problems.add(tl_run::RunError::Exists { path: run.to_owned() }.into());
        }
        let folder = resolved.as_ref().and_then(|resolved| prepare::open_data(resolved, &mut problems));
        if let Some(resolved) = &resolved {
            fit::check(resolved, folder.as_ref().map(|folder| folder.classes.len()), &mut problems);
        }
        problems.check()?;
        let (Some(mut resolved), Some(folder)) = (resolved, folder) else { return Err(Exit(1).into()) };

        resolved.images = Some(folder.train.len());
        if resolved.augment_auto {
            let preset = Augment::preset(folder.train.len(), folder.classes.len());
            resolved.spec.augment = preset.recipe().into();
        }
        let decoded = decoded_cache(&args.caches)?;
        let store = feature_store(&args.caches, &machine)?;
        let pool = DataPool::new(machine.data_threads)?;
        let all: Vec<Sample> = folder.train.iter().chain(&folder.val).cloned().collect();
        let mut images = prepare::verify(folder, resolved.spec.skip_bad, &pool, ui)?;
        let median = tl_data::probe(&all)?.median_short_side;
        let chosen = prepare::weights(resolved.card, &resolved.spec.weights, ui)?;
        let partial = resolved.spec.partial_weights.then_some(resolved.spec.seed);
        let loaded = chosen.load(resolved.card, false, (partial, device), ui)?;
        let (weights, matched) = (loaded.weights, loaded.matched.clone());
        let usual = weights.input.size;
        let size =
            resolved.spec.image_size.unwrap_or_else(|| prepare::input_size(resolved.card, usual, median));
        let model = prepare::model(&resolved, loaded, &images, (size, device))?;
        let (schedule, plan) = prepare::plan(&resolved, &model)?;
        tl_train::check(&plan, &resolved.spec.augment)?;
        images.warnings.extend(prepare::check_anew(&matched, &model, &plan)?);
        images.warnings.extend(plan.warnings().iter().map(ToString::to_string));
        resolved.spec.image_size = Some(size);
        let view = View::train(model.preprocess, resolved.spec.augment.clone());
        let shrink = shrink(&resolved, &view, (size, median))?;
        images.warnings.extend(warnings(&resolved, (&model, &plan), args));
        let augments = plan.phases.iter().any(|phase| phase.augment || phase.frontier == 0);
        let decoded = decoded.filter(|_| augments);
        resolved.spec.schedule = Some(schedule);
        let counts = class_counts(model.task, &images)?;
        let monitor = resolved.spec.monitor.unwrap_or_else(|| tl_train::default_metric(model.task, &counts));
        Ok(Self {
            resolved,
            images,
            chosen,
            weights,
            model,
            plan,
            pool,
            decoded,
            shrink,
            machine,
            median,
            store,
            monitor,
            why: Vec::new(),
            start,
        })
    }

    /// Finds out how to compute the net, if that is not known yet, and says so.
    pub(crate) fn choose(
        &mut self,
        stop: &std::sync::atomic::AtomicBool,
        ui: &RefCell<Ui>,
    ) -> anyhow::Result<()> {
        let found = match &self.resolved.spec.compute {
            Some(compute) => compute.clone(),
            None => {
                let (options, precision) = (self.options()?, self.resolved.spec.precision);
                let about = self.about();
                // Not the whole job is lent, because the model is tried in several ways meanwhile.
                let how = (&self.pool, self.decoded.as_ref(), self.shrink);
                let images = lend(&self.images, &self.resolved, how, stop);
                let plan = Some((&self.plan, &options, &images));
                let samples = (&self.images.train, &self.pool);
                let choice = remembered::choice(about, &ui.borrow(), || {
                    Ok(tl_train::choose(&mut self.model, plan, samples, precision)?)
                })?;
                self.why = choice.why;
                choice.compute
            }
        };
        self.model.compute = found.clone();
        self.resolved.spec.compute = Some(found);
        Ok(())
    }

    /// All that the way of computing the net may depend on.
    fn about(&self) -> serde_json::Value {
        let (spec, facts) = (&self.resolved.spec, &self.images.facts);
        serde_json::json!({
            "machine": self.machine,
            "precision": spec.precision,
            "backbone": spec.backbone,
            "weights": self.chosen.pretrained().sha256,
            "input": self.model.preprocess,
            "head": spec.head,
            "plan": self.plan.to_string(),
            "images": [&facts.train_sha256, &facts.val_sha256],
            "batch": spec.batch,
            "augment": spec.augment,
            "shrink": self.shrink,
            "activations": [spec.cache_budget_mib, self.store.as_ref().map_or(0, FeatureStore::budget)],
        })
    }

    /// What the trainer is told besides the plan and the images.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let spec = &self.resolved.spec;
        Ok(Options {
            seed: spec.seed,
            batch: spec.batch,
            label_smoothing: spec.label_smoothing,
            class_weights: class_weights(spec.class_weights, self.model.task, &self.images)?,
            balanced_sampling: spec.balanced_sampling,
            focal: spec.focal,
            monitor: self.monitor,
            cache_budget: spec.cache_budget_mib.saturating_mul(1 << 20),
            store: self.store.clone(),
            checkpoints: None,
        })
    }

    /// The images as the trainer takes them.
    pub(crate) fn training<'a>(&'a self, stop: &'a std::sync::atomic::AtomicBool) -> tl_train::Images<'a> {
        lend(&self.images, &self.resolved, (&self.pool, self.decoded.as_ref(), self.shrink), stop)
    }

    pub(crate) fn announce(&self, ui: &RefCell<Ui>) {
        let ui = ui.borrow();
        let Images { classes, train, val, test, skipped, notes, warnings, facts, .. } = &self.images;
        let names: Vec<&str> = classes.iter().take(8).map(String::as_str).collect();
        let more = if classes.len() > names.len() { ", …" } else { "" };
        ui.line(&format!("data       {}", facts.path));
        let n = (train.len(), val.len(), test.len());
        ui.line(&format!(
            "           {} train, {} validation, {} test images; split {}",
            n.0, n.1, n.2, facts.split
        ));
        let (one, several) = self.things();
        let things = if classes.len() == 1 { one } else { several };
        ui.line(&format!("           {} {things}: {}{more}", classes.len(), names.join(", ")));
        if let Some(TargetStats { mean, std }) = &self.model.target_stats {
            for ((name, mean), std) in classes.iter().zip(mean).zip(std).take(8) {
                ui.line(&format!("           {name} is learned as ({name} - {mean:.4}) / {std:.4}"));
            }
        }
        for note in notes {
            ui.line(&format!("           {note}"));
        }
        // The package or repository is enough here; the manifest has the file in it too.
        let source = self.chosen.located.source.split(": ").next().unwrap_or_default();
        ui.line(&format!("backbone   {}, weights from {}", self.model.backbone.name(), source));
        let (size, usual) = (self.model.preprocess.input, self.weights.input.size);
        let why = match size < usual {
            true => format!(" ({usual} is usual; the images' shorter side is {} px)", self.median),
            false => String::new(),
        };
        ui.line(&format!("input      {size} × {size} px{why}"));
        if let Some(side) = self.shrink {
            ui.line(&format!(
                "           photos of {} px are shrunk to a short side of {side} px before they are augmented",
                self.median
            ));
        }
        ui.line(&format!(
            "head       {} over {} {things}{}, dropout {}",
            self.model.head.spec,
            classes.len(),
            match self.model.task {
                Task::Binary => format!(" (one sigmoid, the probability of {})", classes[1]),
                Task::MultiLabel { .. } => " (one sigmoid each)".to_owned(),
                Task::Softmax { .. } | Task::Regression { .. } => String::new(),
            },
            self.model.head.dropout
        ));
        let cache = tl_train::cache_bytes(&self.model, &self.plan, train.len(), val.len());
        ui.line(&format!("cache      up to {} of activations of the frozen part", ui::bytes(cache)));
        self.warn_of_memory(cache, &ui);
        ui.line("");
        ui.line(self.plan.to_string().trim_end());
        ui.line("");
        for skipped in skipped {
            ui.line(&format!("warning: left out {}: {}", skipped.file, skipped.reason));
        }
        for warning in warnings {
            ui.line(&format!("warning: {warning}"));
        }
    }

    /// What the model answers about, one and several.
    fn things(&self) -> (&'static str, &'static str) {
        match self.model.task {
            Task::Softmax { .. } | Task::Binary => ("class", "classes"),
            Task::MultiLabel { .. } => ("label", "labels"),
            Task::Regression { .. } => ("number", "numbers"),
        }
    }

    /// A run that ends for want of memory leaves no model.
    fn warn_of_memory(&self, cache: u64, ui: &Ui) {
        let most = memory::most(&self.model, &self.plan, self.resolved.spec.batch as u64);
        if let (Some((phase, bytes)), Some(free)) = (most, machine::available_memory())
            && bytes.saturating_add(cache) > free
        {
            let (needed, free) = (ui::bytes(bytes.saturating_add(cache)), ui::bytes(free));
            ui.line(&format!(
                "warning: phase {phase} may need about {needed} of memory, and {free} are free; a smaller --batch or \
                 --image-size needs less"
            ));
        }
    }
}

/// The images as the trainer takes them.
fn lend<'a>(
    images: &'a Images,
    resolved: &'a Resolved,
    (pool, decoded, shrink): (&'a DataPool, Option<&'a DecodedCache>, Option<u32>),
    stop: &'a std::sync::atomic::AtomicBool,
) -> tl_train::Images<'a> {
    tl_train::Images {
        train: &images.train,
        val: &images.val,
        ids: Some((&images.facts.train_sha256, &images.facts.val_sha256)),
        pool,
        augmentation: &resolved.spec.augment,
        shrink,
        decoded,
        weights: images.weights.as_ref(),
        stop,
    }
}

/// Where decoded images are kept, if anywhere.
fn decoded_cache(args: &CacheArgs) -> anyhow::Result<Option<DecodedCache>> {
    const USUAL: u64 = 1 << 30;
    let given = args.image_cache.map(|mib| mib.saturating_mul(1 << 20));
    Ok(match (&args.image_cache_dir, given) {
        (_, Some(0)) => None,
        (Some(dir), given) => Some(DecodedCache::on_disk(dir, given.unwrap_or(USUAL))?),
        (None, Some(bytes)) => Some(DecodedCache::new(bytes)),
        (None, None) => Some(DecodedCache::new(USUAL.min(machine::available_memory().unwrap_or(0) / 4))),
    })
}

/// The short side to shrink images to before they are augmented, if at all: photos straight from a camera hold many times
/// the pixels that any crop needs.
fn shrink_side(view: &View, median_short_side: u32) -> Option<u32> {
    let side = view.shrink_side();
    (median_short_side >= side.saturating_mul(2)).then_some(side)
}

/// A factor for each class in the loss, or for the presence of each label.
fn class_weights(kind: ClassWeights, task: Task, images: &Images) -> anyhow::Result<Option<Vec<f32>>> {
    let floats = |weights: Vec<f64>| Some(weights.into_iter().map(|weight| weight as f32).collect());
    if kind != ClassWeights::None && matches!(task, Task::MultiLabel { .. }) {
        let counts = tl_data::label_counts(&images.train, images.classes.len())?;
        return Ok(floats(tl_data::pos_weights(&counts, images.train.len() as u64)?));
    }
    let weighting = match kind {
        ClassWeights::None => return Ok(None),
        ClassWeights::Balanced => ClassWeighting::Balanced,
        // The paper's own value for sets of this size.
        ClassWeights::Effective => ClassWeighting::EffectiveNumber { beta: 0.999 },
    };
    let counts = tl_data::class_counts(images.train.iter().map(|sample| sample.label), images.classes.len())?;
    Ok(floats(tl_data::class_weights(&counts, weighting)?))
}

/// Where activations are kept from one run to the next.
fn feature_store(args: &CacheArgs, machine: &Machine) -> anyhow::Result<Option<FeatureStore>> {
    const USUAL: u64 = 4096;
    let mib = args.feature_cache.unwrap_or(USUAL);
    if mib == 0 {
        return Ok(None);
    }
    let dir = tl_weights::Cache::default_location()?.root().with_file_name("features");
    // The last bits depend on the processor, the threads and the libraries.
    let about = format!("{}, {} threads, libtorch {}", machine.cpu, machine.threads, machine.libtorch);
    Ok(Some(FeatureStore::open(&dir, mib.saturating_mul(1 << 20), &about)?))
}

/// The short side to shrink to, given or found.
fn shrink(resolved: &Resolved, view: &View, (size, median): (u32, u32)) -> anyhow::Result<Option<u32>> {
    match resolved.spec.shrink {
        None => Ok(shrink_side(view, median)),
        Some(0) => Ok(None),
        Some(side) if side < size => {
            anyhow::bail!("--shrink is {side}, expected at least the net's input of {size} pixels, or 0")
        }
        Some(side) => Ok(Some(side)),
    }
}

/// What is legal and odd about the words together.
fn warnings(resolved: &Resolved, (model, plan): (&Model, &Plan), args: &Settings) -> Vec<String> {
    let spec = &resolved.spec;
    let mut warnings = spec.augment.warnings();
    let drops = plan.phases.iter().find(|phase| phase.drop_path > 0.0);
    if let Some(phase) = drops.filter(|_| model.backbone.residual_blocks() == 0) {
        warnings.push(format!(
            "phase `{}`: `drop_path` has no effect, because no block of this net ends in a sum",
            phase.name
        ));
    }
    if args.augment.is_some() && !plan.phases.iter().any(|phase| phase.augment) {
        warnings.push("--augment is given, and no phase of this schedule augments".to_owned());
    }
    if spec.balanced_sampling && spec.class_weights != ClassWeights::None {
        let twice = "--class-weights and --balanced-sampling together make up for rare classes twice";
        warnings.push(twice.to_owned());
    }
    warnings
}

/// Training images of each class; nothing where there are labels or numbers.
fn class_counts(task: Task, images: &Images) -> anyhow::Result<Vec<usize>> {
    if !matches!(task, Task::Softmax { .. } | Task::Binary) {
        return Ok(Vec::new());
    }
    let labels = images.train.iter().map(|sample| sample.label);
    let counts = tl_data::class_counts(labels, images.classes.len())?;
    Ok(counts.into_iter().map(|count| usize::try_from(count).unwrap_or(usize::MAX)).collect())
}
