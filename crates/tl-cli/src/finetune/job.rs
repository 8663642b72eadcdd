//! Everything that a run needs, looked up and checked: images verified, weights loaded, net built, plan made.
//!
//! The decision behind it: nothing here writes. `finetune` trains a job, `plan` prices it, `lr-find` tries rates on it,
//! and all see the same.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use tl_data::{Augment, ClassWeighting, DataPool, Dataset, DecodedCache, Sample, TargetStats, View};
use tl_finetune::{Metric, Plan};
use tl_heads::Task;
use tl_run::{Baseline, Machine, RunDir};
use tl_train::{FeatureStore, Feed, Inputs, Model, Options, Pretrained, Reads, SetInputs};
use tl_weights::Matched;

use crate::args::{CacheArgs, Settings};
use crate::errors::{Exit, Problems};
use crate::fit;
use crate::machine;
use crate::memory;
use crate::output;
use crate::prepare::{self, Samples};
use crate::remembered;
use crate::spec::{ClassWeights, Net, Resolved, resolve};
use crate::texts::{self, TextData, TextInputs};
use crate::ui::{self, Ui};

/// Everything a run needs, checked.
pub(crate) struct Job {
    pub(crate) resolved: Resolved,
    pub(crate) data: Samples,
    pub(crate) origin: Origin,
    pub(crate) model: Model,
    pub(crate) plan: Plan,
    pub(crate) inputs: JobInputs,
    pub(crate) machine: Machine,
    /// Where activations are kept on disk.
    pub(crate) store: Option<FeatureStore>,
    /// What a linear model on words says of the same split, where it was asked.
    pub(crate) baseline: Option<Baseline>,
    /// What the best weights are picked by.
    pub(crate) monitor: Metric,
    /// How the net is computed, in words, where that was found out for this run.
    pub(crate) why: Vec<String>,
    pub(crate) start: Instant,
}

/// The weights that a net begins with.
pub(crate) struct Origin {
    /// Name of the row of the card; empty of text nets.
    pub(crate) row: &'static str,
    pub(crate) pretrained: Pretrained,
}

/// What the net is given.
pub(crate) enum JobInputs {
    Images(ImageInputs),
    Texts(Box<TextInputs>),
}

/// How images are read.
pub(crate) struct ImageInputs {
    pub(crate) pool: DataPool,
    pub(crate) decoded: Option<DecodedCache>,
    /// The short side of images before they are augmented.
    pub(crate) shrink: Option<u32>,
    /// Of the images' short sides.
    pub(crate) median: u32,
    /// The side of an input that the weights were published with.
    pub(crate) usual: u32,
}

/// A net on its data, before it is known what trains.
pub(crate) struct Built {
    pub(crate) data: Samples,
    pub(crate) origin: Origin,
    pub(crate) model: Model,
    pub(crate) inputs: JobInputs,
    /// How the weights fitted, of an image net.
    pub(crate) matched: Option<Matched>,
}

/// Data that has been opened and not yet looked into.
enum Opened {
    Images(Dataset),
    Texts(TextData),
}

impl Opened {
    fn open(resolved: &Resolved, problems: &mut Problems) -> Option<Self> {
        match resolved.net {
            Net::Image(_) => prepare::open_data(resolved, problems).map(Self::Images),
            Net::Text(_) => texts::open_data(&resolved.spec, problems).map(Self::Texts),
        }
    }

    /// What a model answers about.
    fn names(&self) -> &[String] {
        match self {
            Self::Images(folder) => &folder.classes,
            Self::Texts(data) => data.names(),
        }
    }

    /// How many samples there are to train on.
    fn training(&self) -> usize {
        match self {
            Self::Images(folder) => folder.train.len(),
            Self::Texts(data) => data.dataset.train.len(),
        }
    }
}

impl Job {
    /// From the words of the command line. `run` is where it will be written, if it will.
    ///
    /// # Errors
    /// All that is wrong with words, data and plan, together; then what is wrong with images or weights.
    pub(crate) fn from_args(args: &Settings, run: Option<&Path>, ui: &RefCell<Ui>) -> anyhow::Result<Self> {
        let start = Instant::now();
        let machine = machine::set_up(&args.threads)?;
        let mut problems = Problems::default();
        let resolved = resolve(args, &mut problems);
        match run {
            Some(run) if run.symlink_metadata().is_ok() && !RunDir::never_began(run) => {
                problems.add(tl_run::RunError::Exists { path: run.to_owned() }.into());
            }
            Some(run) => {
                problems.take(output::folder("--run", run));
            }
            None => {}
        }
        let opened = resolved.as_ref().and_then(|resolved| Opened::open(resolved, &mut problems));
        if let Some(resolved) = &resolved {
            fit::check(resolved, opened.as_ref().map(Opened::names), &mut problems);
        }
        problems.check()?;
        let (Some(mut resolved), Some(opened)) = (resolved, opened) else { return Err(Exit(1).into()) };

        resolved.samples = Some(opened.training());
        let store = feature_store(&args.caches, &machine)?;
        let built = match opened {
            Opened::Images(folder) => image_net(&mut resolved, folder, (args, &machine), ui)?,
            Opened::Texts(data) => texts::build(&resolved, data, machine::device(&machine), ui)?,
        };
        let Built { mut data, origin, model, mut inputs, matched } = built;
        let (schedule, plan) = prepare::plan(&resolved, &model)?;
        let augments = plan.phases.iter().any(|phase| phase.augment || phase.frontier == 0);
        match &mut inputs {
            JobInputs::Images(images) => {
                tl_train::check(&plan, Some(&resolved.spec.augment))?;
                images.decoded = images.decoded.take().filter(|_| augments);
            }
            JobInputs::Texts(_) => tl_train::check(&plan, None)?,
        }
        if let Some(matched) = &matched {
            data.warnings.extend(prepare::check_anew(matched, &model, &plan)?);
        }
        data.warnings.extend(plan.warnings().iter().map(ToString::to_string));
        data.warnings.extend(warnings(&resolved, (&model, &plan), args));
        resolved.spec.schedule = Some(schedule);
        let counts = class_counts(model.task, &data)?;
        let monitor = resolved.spec.monitor.unwrap_or_else(|| tl_train::default_metric(model.task, &counts));
        let (why, baseline) = (Vec::new(), None);
        Ok(Self {
            resolved,
            data,
            origin,
            model,
            plan,
            inputs,
            machine,
            store,
            baseline,
            monitor,
            why,
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
                let feed = lend(&self.data, &self.resolved, &self.inputs, stop);
                let plan = Some((&self.plan, &options, &feed));
                let samples = (&self.data.train, self.inputs.of_training());
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
        let (spec, facts) = (&self.resolved.spec, &self.data.facts);
        serde_json::json!({
            "machine": self.machine,
            "precision": spec.precision,
            "backbone": spec.backbone,
            "weights": self.origin.pretrained.sha256,
            "input": self.model.reads,
            "head": spec.head,
            "plan": self.plan.to_string(),
            "images": [&facts.train_sha256, &facts.val_sha256],
            "batch": spec.batch,
            "augment": spec.augment,
            "shrink": self.inputs.images().and_then(|images| images.shrink),
            "activations": [spec.cache_budget_mib, self.store.as_ref().map_or(0, FeatureStore::budget)],
        })
    }

    /// Fits the baseline to texts, and says what it came to.
    pub(crate) fn make_baseline(&mut self, ui: &RefCell<Ui>) -> anyhow::Result<()> {
        if let JobInputs::Texts(texts) = &self.inputs {
            self.baseline = texts.baseline(self.resolved.spec.seed)?;
            if let Some(baseline) = &self.baseline {
                ui.borrow().line(&baseline.line());
            }
        }
        Ok(())
    }

    /// What the trainer is told besides the plan and the images.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let spec = &self.resolved.spec;
        Ok(Options {
            seed: spec.seed,
            batch: spec.batch,
            label_smoothing: spec.label_smoothing,
            class_weights: class_weights(spec.class_weights, self.model.task, &self.data)?,
            balanced_sampling: spec.balanced_sampling,
            focal: spec.focal,
            monitor: self.monitor,
            cache_budget: spec.cache_budget_mib.saturating_mul(1 << 20),
            store: self.store.clone(),
            checkpoints: None,
        })
    }

    /// The data as the trainer takes it.
    pub(crate) fn training<'a>(&'a self, stop: &'a std::sync::atomic::AtomicBool) -> Feed<'a> {
        lend(&self.data, &self.resolved, &self.inputs, stop)
    }

    pub(crate) fn announce(&self, ui: &RefCell<Ui>) {
        let ui = ui.borrow();
        let Samples { classes, train, val, test, skipped, notes, warnings, facts, .. } = &self.data;
        let unit = self.inputs.unit();
        let names: Vec<&str> = classes.iter().take(8).map(String::as_str).collect();
        let more = if classes.len() > names.len() { ", …" } else { "" };
        ui.line(&format!("data       {}", facts.path));
        let n = (train.len(), val.len(), test.len());
        ui.line(&format!(
            "           {} train, {} validation, {} test {unit}; split {}",
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
        let source = self.origin.pretrained.source.split(": ").next().unwrap_or_default();
        ui.line(&format!("backbone   {}, weights from {}", self.model.backbone.name(), source));
        match (&self.inputs, self.model.reads) {
            (JobInputs::Images(images), Reads::Images(preprocess)) => images.announce(preprocess.input, &ui),
            (JobInputs::Texts(texts), _) => texts.announce(&self.model, &ui),
            _ => {}
        }
        ui.line(&format!(
            "head       {} over {} {things}{}, dropout {}",
            self.model.head.spec,
            classes.len(),
            match self.model.task {
                Task::Binary => format!(" (one sigmoid, the probability of {})", classes[1]),
                Task::MultiLabel { .. } => " (one sigmoid each)".to_owned(),
                Task::Tagging { .. } => " (for the first token of each word)".to_owned(),
                Task::Softmax { .. } | Task::Regression { .. } => String::new(),
            },
            self.model.head.dropout
        ));
        let never = std::sync::atomic::AtomicBool::new(false);
        let cache = tl_train::cache_bytes(&self.model, &self.plan, &self.training(&never));
        ui.line(&format!("cache      up to {} of activations of the frozen part", ui::bytes(cache)));
        let Machine { cores, threads, data_threads, .. } = &self.machine;
        ui.line(&format!(
            "threads    {threads} of the net, {data_threads} that read {}, on {cores} {}",
            self.inputs.unit(),
            if *cores == 1 { "core" } else { "cores" }
        ));
        self.warn_of_memory(cache, &ui);
        ui.line("");
        ui.tables(self.plan.to_string().trim_end());
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
            Task::Tagging { .. } => ("tag", "tags"),
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
                "warning: phase {phase} may need about {needed} of memory, and {free} are free; a smaller --batch or {} \
                 needs less",
                if self.inputs.images().is_some() { "--image-size" } else { "--max-length" }
            ));
        }
    }
}

impl JobInputs {
    pub(crate) fn images(&self) -> Option<&ImageInputs> {
        match self {
            Self::Images(images) => Some(images),
            Self::Texts(_) => None,
        }
    }

    /// What a sample is called, several of them.
    pub(crate) fn unit(&self) -> &'static str {
        self.of_training().unit()
    }

    /// Of `val` or `test`.
    pub(super) fn of_set(&self, set: &str) -> SetInputs<'_> {
        match self {
            Self::Images(images) => SetInputs::Images(&images.pool),
            Self::Texts(texts) if set == "val" => SetInputs::Texts(&texts.sets.val),
            Self::Texts(texts) => SetInputs::Texts(&texts.sets.test),
        }
    }

    /// Writes the tokenizer beside a model of texts, and names its files, see [`tl_train::SavedText`].
    pub(super) fn write_tokenizer(&self, dir: &RunDir) -> anyhow::Result<Vec<(String, String)>> {
        match self {
            Self::Images(_) => Ok(Vec::new()),
            Self::Texts(texts) => texts.write_tokenizer(dir),
        }
    }

    fn of_training(&self) -> SetInputs<'_> {
        match self {
            Self::Images(images) => SetInputs::Images(&images.pool),
            Self::Texts(texts) => SetInputs::Texts(&texts.sets.train),
        }
    }
}

impl ImageInputs {
    fn announce(&self, size: u32, ui: &Ui) {
        let why = match size < self.usual {
            true => {
                format!(" ({} is usual; the images' shorter side is {} px)", self.usual, self.median)
            }
            false => String::new(),
        };
        ui.line(&format!("input      {size} × {size} px{why}"));
        if let Some(side) = self.shrink {
            ui.line(&format!(
                "           photos of {} px are shrunk to a short side of {side} px before they are augmented",
                self.median
            ));
        }
    }
}

/// An image net on images that can be decoded.
fn image_net(
    resolved: &mut Resolved,
    folder: Dataset,
    (args, machine): (&Settings, &Machine),
    ui: &RefCell<Ui>,
) -> anyhow::Result<Built> {
    let Net::Image(card) = resolved.net else { return Err(Exit(1).into()) };
    let device = machine::device(machine);
    if resolved.augment_auto {
        let preset = Augment::preset(folder.train.len(), folder.classes.len());
        resolved.spec.augment = preset.recipe().into();
    }
    let decoded = decoded_cache(&args.caches)?;
    let pool = DataPool::new(machine.data_threads)?;
    let all: Vec<Sample> = folder.train.iter().chain(&folder.val).cloned().collect();
    let data = prepare::verify(folder, resolved.spec.skip_bad, &pool, ui)?;
    let median = tl_data::probe(&all)?.median_short_side;
    let chosen = prepare::weights(card, &resolved.spec.weights, ui)?;
    let partial = resolved.spec.partial_weights.then_some(resolved.spec.seed);
    let loaded = chosen.load(card, false, (partial, device), ui)?;
    let (weights, matched) = (loaded.weights, loaded.matched.clone());
    let usual = weights.input.size;
    let size = resolved.spec.image_size.unwrap_or_else(|| prepare::input_size(card, usual, median));
    let model = prepare::model(resolved, loaded, &data, (size, device))?;
    resolved.spec.image_size = Some(size);
    let view = View::train(model.preprocess()?, resolved.spec.augment.clone());
    let shrink = shrink(resolved, &view, (size, median))?;
    let inputs = JobInputs::Images(ImageInputs { pool, decoded, shrink, median, usual });
    let origin = Origin { row: weights.name, pretrained: chosen.pretrained() };
    Ok(Built { data, origin, model, inputs, matched: Some(matched) })
}

/// The data as the trainer takes it.
fn lend<'a>(
    data: &'a Samples,
    resolved: &'a Resolved,
    inputs: &'a JobInputs,
    stop: &'a std::sync::atomic::AtomicBool,
) -> Feed<'a> {
    let inputs = match inputs {
        JobInputs::Images(images) => Inputs::Images(tl_train::Images {
            pool: &images.pool,
            augmentation: &resolved.spec.augment,
            shrink: images.shrink,
            decoded: images.decoded.as_ref(),
        }),
        JobInputs::Texts(texts) => {
            Inputs::Texts(tl_train::Texts { train: &texts.sets.train, val: &texts.sets.val })
        }
    };
    Feed {
        train: &data.train,
        val: &data.val,
        ids: Some((&data.facts.train_sha256, &data.facts.val_sha256)),
        weights: data.weights.as_ref(),
        stop,
        inputs,
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
fn class_weights(kind: ClassWeights, task: Task, data: &Samples) -> anyhow::Result<Option<Vec<f32>>> {
    let floats = |weights: Vec<f64>| Some(weights.into_iter().map(|weight| weight as f32).collect());
    if kind != ClassWeights::None && matches!(task, Task::MultiLabel { .. }) {
        let counts = tl_data::label_counts(&data.train, data.classes.len())?;
        return Ok(floats(tl_data::pos_weights(&counts, data.train.len() as u64)?));
    }
    let weighting = match kind {
        ClassWeights::None => return Ok(None),
        ClassWeights::Balanced => ClassWeighting::Balanced,
        // The paper's own value for sets of this size.
        ClassWeights::Effective => ClassWeighting::EffectiveNumber { beta: 0.999 },
    };
    let counts = tl_data::class_counts(data.train.iter().map(|sample| sample.label), data.classes.len())?;
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
fn class_counts(task: Task, data: &Samples) -> anyhow::Result<Vec<usize>> {
    if !matches!(task, Task::Softmax { .. } | Task::Binary) {
        return Ok(Vec::new());
    }
    let labels = data.train.iter().map(|sample| sample.label);
    let counts = tl_data::class_counts(labels, data.classes.len())?;
    Ok(counts.into_iter().map(|count| usize::try_from(count).unwrap_or(usize::MAX)).collect())
}
