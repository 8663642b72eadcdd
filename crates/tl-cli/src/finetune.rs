//! `tl finetune`: check everything, say what will happen, train, read the model back, say what came of it.

use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use tl_backbones::Weights;
use tl_data::{Augment, ClassWeighting, DataPool, DecodedCache, Sample, View};
use tl_finetune::Plan;
use tl_heads::Task;
use tl_run::{
    Best, EpochRow, Evaluation, Machine, Manifest, PhaseTime, Prediction, ReportData, RunDir, Status,
    Summary, WeightsFacts,
};
use tl_train::{Ended, EpochResult, Model, Observer, Options, Outcome, SavedModel, Scored, Tick};

use crate::args::FinetuneArgs;
use crate::errors::{Exit, Problems};
use crate::fit;
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::machine;
use crate::memory;
use crate::prepare::{self, Chosen, Images};
use crate::spec::{ClassWeights, Resolved, Spec, resolve};
use crate::ui::{self, Ui};

pub(crate) fn run(args: &FinetuneArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let start = Instant::now();
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let mut problems = Problems::default();
    let resolved = resolve(args, &mut problems);
    let folder = resolved.as_ref().and_then(|resolved| prepare::open_data(resolved, &mut problems));
    if let Some(resolved) = &resolved {
        fit::check(resolved, folder.as_ref().map(|folder| folder.classes.len()), &mut problems);
    }
    problems.check()?;
    let (Some(mut resolved), Some(folder)) = (resolved, folder) else { return Err(Exit(1).into()) };

    if resolved.augment_auto {
        resolved.spec.augment = Augment::preset(folder.train.len(), folder.classes.len()).recipe().into();
    }
    let decoded = decoded_cache(args)?;
    let pool = DataPool::new(machine.data_threads)?;
    let all: Vec<Sample> = folder.train.iter().chain(&folder.val).cloned().collect();
    let mut images = prepare::verify(folder, resolved.spec.skip_bad, &pool, &ui)?;
    let median = tl_data::probe(&all)?.median_short_side;
    let chosen = prepare::weights(resolved.card, &resolved.spec.weights, &ui)?;
    let partial = resolved.spec.partial_weights.then_some(resolved.spec.seed);
    let loaded = chosen.load(resolved.card, false, partial, &ui)?;
    let (weights, matched) = (loaded.weights, loaded.matched.clone());
    let usual = weights.input.size;
    let size = resolved.spec.image_size.unwrap_or_else(|| prepare::input_size(resolved.card, usual, median));
    let model = prepare::model(&resolved, loaded, &images, size)?;
    let (schedule, plan) = prepare::plan(&resolved, &model)?;
    images.warnings.extend(prepare::check_anew(&matched, &model, &plan)?);
    resolved.spec.image_size = Some(size);
    let view = View::train(model.preprocess, resolved.spec.augment.clone());
    let shrink = match resolved.spec.shrink {
        None => shrink_side(&view, median),
        Some(0) => None,
        Some(side) if side < size => {
            anyhow::bail!("--shrink is {side}, expected at least the net's input of {size} pixels, or 0")
        }
        Some(side) => Some(side),
    };
    images.warnings.extend(resolved.spec.augment.warnings());
    if args.augment.is_some() && !plan.phases.iter().any(|phase| phase.augment) {
        let plain = "--augment is given, and no phase of this schedule augments";
        images.warnings.push(plain.to_owned());
    }
    if resolved.spec.balanced_sampling && resolved.spec.class_weights != ClassWeights::None {
        let twice = "--class-weights and --balanced-sampling together make up for rare classes twice";
        images.warnings.push(twice.to_owned());
    }
    let decoded = decoded.filter(|_| plan.phases.iter().any(|phase| phase.augment || phase.frontier == 0));
    resolved.spec.schedule = Some(schedule);

    let job =
        Job { resolved, images, chosen, weights, model, plan, pool, decoded, shrink, machine, median, start };
    job.announce(&ui);
    let mut run = job.create_run(interrupt)?;
    interrupt.be_graceful();
    let outcome = job.train(&mut run, interrupt, &ui)?;
    job.finish(run, outcome, args.json, &ui)
}

/// Everything a run needs, checked.
struct Job {
    resolved: Resolved,
    images: Images,
    chosen: Chosen,
    /// The row of the card that the weights are named as.
    weights: &'static Weights,
    model: Model,
    plan: Plan,
    pool: DataPool,
    decoded: Option<DecodedCache>,
    /// The short side of images before they are augmented.
    shrink: Option<u32>,
    machine: Machine,
    median: u32,
    start: Instant,
}

/// A run directory and what has been recorded in it.
struct Run {
    dir: RunDir,
    manifest: Manifest,
    epochs: Vec<EpochRow>,
}

impl Job {
    fn announce(&self, ui: &RefCell<Ui>) {
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
        ui.line(&format!("           {} classes: {}{more}", classes.len(), names.join(", ")));
        for note in notes {
            ui.line(&format!("           {note}"));
        }
        // The package or repository is enough here; the manifest has the file in it too.
        let source = self.chosen.located.source.split(": ").next().unwrap_or_default();
        ui.line(&format!("backbone   {}, weights from {}", self.model.backbone.card.name, source));
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
            "head       {} over {} classes{}, dropout {}",
            self.model.head.spec,
            classes.len(),
            match self.model.task {
                Task::Binary => format!(" (one sigmoid, the probability of {})", classes[1]),
                _ => String::new(),
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

    fn create_run(&self, interrupt: &Interrupt) -> anyhow::Result<Run> {
        if interrupt.stop.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Exit(EXIT_CODE).into());
        }
        let now = tl_run::utc_now();
        let path = match &self.resolved.run {
            Some(path) => path.clone(),
            None => default_run_dir(&self.resolved.spec, &now["short"]),
        };
        let tensors: usize = self.model.tensors().map(|param| param.tensor.numel() * size_of::<f32>()).sum();
        machine::check_space(&path, tensors as u64 * 2 + (16 << 20))?;
        let pretrained = self.chosen.pretrained();
        let manifest = Manifest {
            version: machine::version(),
            started: now["long"].clone(),
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            data: self.images.facts.clone(),
            weights: WeightsFacts {
                name: pretrained.name,
                source: pretrained.source,
                sha256: pretrained.sha256,
                licence: pretrained.licence,
            },
            machine: self.machine.clone(),
        };
        let dir = RunDir::create(&path)?;
        let run = Run { dir, manifest, epochs: Vec::new() };
        self.write_start(&run).inspect_err(|_| run.dir.discard())?;
        Ok(run)
    }

    fn write_start(&self, run: &Run) -> anyhow::Result<()> {
        // The run keeps its own copies, so that it can be repeated whatever becomes of the files.
        let mut spec = self.resolved.spec.clone();
        if let Some(path) = &spec.source.exclude {
            let list = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read `{}`", path.display()))?;
            run.dir.write_text("excluded.txt", &list)?;
            spec.source.exclude = Some("excluded.txt".into());
        }
        if spec.source.split.is_some() {
            spec.source.split = Some("split.json".into());
        }
        run.dir.write_json("spec.json", &spec)?;
        run.dir.write_text("plan.txt", &self.plan.to_string())?;
        run.dir.write_json("manifest.json", &run.manifest)?;
        run.dir.write_text("split.json", &self.images.saved_split)?;
        run.dir.write_text("classes.txt", &(self.images.classes.join("\n") + "\n"))?;
        Ok(())
    }

    fn train(&self, run: &mut Run, interrupt: &Interrupt, ui: &RefCell<Ui>) -> anyhow::Result<Outcome> {
        let images = tl_train::Images {
            train: &self.images.train,
            val: &self.images.val,
            pool: &self.pool,
            augmentation: &self.resolved.spec.augment,
            shrink: self.shrink,
            decoded: self.decoded.as_ref(),
            weights: self.images.weights.as_ref(),
            stop: &interrupt.stop,
        };
        let spec = &self.resolved.spec;
        let options = Options {
            seed: spec.seed,
            batch: spec.batch,
            label_smoothing: spec.label_smoothing,
            cache_budget: spec.cache_budget_mib.saturating_mul(1 << 20),
            class_weights: class_weights(spec.class_weights, &self.images)?,
            balanced_sampling: spec.balanced_sampling,
        };
        ui.borrow().line(EPOCH_HEADER);
        let mut recorder = Recorder { run, ui, showing: "" };
        let outcome = tl_train::train(&self.model, &self.plan, &images, &options, &mut recorder);
        ui.borrow_mut().stop();
        match outcome {
            Ok(outcome) if outcome.best.is_none() => {
                run.dir.discard();
                Err(self.nothing_kept(&outcome.ended))
            }
            outcome => Ok(outcome?),
        }
    }

    /// The error of a run that ended before its first epoch did.
    fn nothing_kept(&self, ended: &Ended) -> anyhow::Error {
        match ended {
            Ended::Diverged { phase, epoch, step } => anyhow::anyhow!(
                "the loss is not a number in phase `{phase}`, epoch {epoch}, step {step}; no epoch had ended, \
                 nothing was kept\n\nhint: lower the rates of the phase in a spec.json, or look for odd images"
            ),
            _ => {
                Ui::new().line("stopped before the first epoch ended; nothing was kept");
                Exit(EXIT_CODE).into()
            }
        }
    }

    fn finish(self, run: Run, outcome: Outcome, json: bool, ui: &RefCell<Ui>) -> anyhow::Result<()> {
        let saved = SavedModel::write(
            &self.model,
            self.weights,
            self.chosen.pretrained(),
            &machine::version(),
            run.dir.path(),
        )?;
        run.dir.write_json("model.json", &saved)?;
        let evaluations = self.measure(&run, ui)?;
        let Some(best) = &outcome.best else { return Err(Exit(1).into()) };
        let val = &evaluations[0];
        let summary = Summary {
            status: match outcome.ended {
                Ended::Finished => Status::Finished,
                Ended::Stopped => Status::Interrupted,
                Ended::Diverged { .. } => Status::Diverged,
                Ended::Failed { .. } => Status::Failed,
            },
            best: Best {
                epoch: best.epoch,
                phase: best.phase.clone(),
                val_accuracy: best.val.accuracy(),
                val_loss: best.val.loss,
            },
            val_accuracy: val.accuracy,
            epochs: outcome.epochs,
            phases: outcome
                .seconds
                .iter()
                .map(|(phase, seconds)| PhaseTime { phase: phase.clone(), seconds: *seconds })
                .collect(),
            seconds: self.start.elapsed().as_secs_f64(),
            images_per_second: outcome.images_per_second,
            wait_seconds: outcome.wait_seconds,
            cache_bytes: outcome.cache_bytes,
            peak_memory_bytes: machine::peak_memory(),
            model_sha256: saved.sha256,
            skipped: self.images.skipped.clone(),
            warnings: self.warnings(val),
            evaluations,
        };
        run.dir.write_json("summary.json", &summary)?;
        self.write_report(&run, &summary)?;
        show_summary(&summary, run.dir.path(), json)?;
        conclude(&outcome.ended, &summary, run.dir.path())
    }

    /// Reads the model back from disk and runs it over validation and test images, as `tl evaluate` would.
    fn measure(&self, run: &Run, ui: &RefCell<Ui>) -> anyhow::Result<Vec<Evaluation>> {
        let (_, model) = SavedModel::load(run.dir.path(), tch::Device::Cpu)?;
        let mut evaluations = Vec::new();
        for (set, samples) in [("val", &self.images.val), ("test", &self.images.test)] {
            if samples.is_empty() {
                continue;
            }
            let scored = crate::evaluate::score(&model, samples, &self.pool, ui)?;
            let rows = predictions(&scored, samples, &self.images.classes);
            run.dir.write_predictions(&format!("{set}_predictions.csv"), &rows)?;
            evaluations.push(crate::evaluate::evaluation(set, &scored));
        }
        Ok(evaluations)
    }

    fn warnings(&self, val: &Evaluation) -> Vec<String> {
        let mut warnings = self.images.warnings.clone();
        let width = (val.accuracy_high - val.accuracy_low) * 100.0;
        if width > 5.0 {
            warnings.push(format!(
                "validation has {} images: the 95 % interval of its accuracy is {width:.1} points wide, and smaller \
                 differences between runs mean little",
                val.images
            ));
        }
        warnings
    }

    fn write_report(&self, run: &Run, summary: &Summary) -> anyhow::Result<()> {
        let name = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        let data = name(&self.images.facts.path).unwrap_or_default();
        let page = tl_run::html(&ReportData {
            title: &format!("{} on {data}", self.model.backbone.card.name),
            classes: &self.images.classes,
            plan: &self.plan.to_string(),
            epochs: &run.epochs,
            summary,
            manifest: &run.manifest,
            repeat: &format!("tl finetune --config {}", run.dir.path().join("spec.json").display()),
        });
        Ok(run.dir.write_text("report.html", &page)?)
    }
}

/// Where decoded images are kept, if anywhere.
fn decoded_cache(args: &FinetuneArgs) -> anyhow::Result<Option<DecodedCache>> {
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

/// A factor for each class in the loss.
fn class_weights(kind: ClassWeights, images: &Images) -> anyhow::Result<Option<Vec<f32>>> {
    let weighting = match kind {
        ClassWeights::None => return Ok(None),
        ClassWeights::Balanced => ClassWeighting::Balanced,
        // The paper's own value for sets of this size.
        ClassWeights::Effective => ClassWeighting::EffectiveNumber { beta: 0.999 },
    };
    let counts = tl_data::class_counts(images.train.iter().map(|sample| sample.label), images.classes.len())?;
    let weights = tl_data::class_weights(&counts, weighting)?;
    Ok(Some(weights.into_iter().map(|weight| weight as f32).collect()))
}

fn default_run_dir(spec: &Spec, now: &str) -> PathBuf {
    let data = spec.data.file_name().map_or("data".into(), |name| name.to_string_lossy());
    let base = format!("runs/{}-{data}-s{}-{now}", spec.backbone, spec.seed);
    // Two runs in one second are told apart by a number.
    let numbered = (2..).map(|i| PathBuf::from(format!("{base}-{i}")));
    std::iter::once(PathBuf::from(&base)).chain(numbered).find(|path| !path.exists()).unwrap_or_default()
}

fn predictions(scored: &Scored, samples: &[Sample], classes: &[String]) -> Vec<Prediction> {
    let rows = samples.iter().zip(&scored.probabilities).zip(scored.predicted());
    rows.map(|((sample, probabilities), predicted)| Prediction {
        file: sample.rel.clone(),
        label: classes[sample.label as usize].clone(),
        predicted: classes[predicted as usize].clone(),
        probability: probabilities[predicted as usize],
    })
    .collect()
}

/// What a run that did not reach its end says, and its exit code.
fn conclude(ended: &Ended, summary: &Summary, run: &Path) -> anyhow::Result<()> {
    let kept = format!("the best weights, of epoch {}, are in `{}`", summary.best.epoch, run.display());
    match ended {
        Ended::Finished => Ok(()),
        Ended::Stopped => {
            Ui::new().line(&format!("stopped after epoch {}; {kept}", summary.epochs));
            Err(Exit(EXIT_CODE).into())
        }
        Ended::Failed { error } => Err(anyhow::anyhow!("{error}; {kept}")),
        Ended::Diverged { phase, epoch, step } => Err(anyhow::anyhow!(
            "the loss is not a number in phase `{phase}`, epoch {epoch}, step {step}; {kept}\n\n\
             hint: lower the rates of the phase in its spec.json and run it with --config"
        )),
    }
}

fn show_summary(summary: &Summary, run: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        return ui::print(&(serde_json::to_string_pretty(summary)? + "\n"));
    }
    let mut lines = vec![String::new()];
    for evaluation in &summary.evaluations {
        lines.push(crate::evaluate::line(evaluation));
    }
    lines.push(format!("best       epoch {}, phase {}", summary.best.epoch, summary.best.phase));
    let parts: Vec<String> =
        summary.phases.iter().map(|part| format!("{} {:.1}", part.phase, part.seconds)).collect();
    let waited = match summary.wait_seconds {
        waited if waited < 0.05 => String::new(),
        waited => format!("; the net waited {waited:.1} for images"),
    };
    lines.push(format!("time       {:.1} s: {}{waited}", summary.seconds, parts.join(", ")));
    if let Some(peak) = summary.peak_memory_bytes {
        let cache = ui::bytes(summary.cache_bytes);
        lines.push(format!("memory     {} at most, {cache} of it activations", ui::bytes(peak)));
    }
    lines.extend(summary.warnings.iter().map(|warning| format!("note       {warning}")));
    lines.push(format!("model      {}", run.join("model.safetensors").display()));
    lines.push(format!("report     {}", run.join("report.html").display()));
    lines.push(format!("try it     tl predict {} IMAGE…", run.display()));
    ui::print(&(lines.join("\n") + "\n"))
}

const EPOCH_HEADER: &str =
    "phase         epoch   train loss  accuracy   val loss  accuracy  balanced   seconds  images/s";

/// Writes every epoch down and shows it.
struct Recorder<'a> {
    run: &'a mut Run,
    ui: &'a RefCell<Ui>,
    showing: &'static str,
}

impl Observer for Recorder<'_> {
    fn tick(&mut self, tick: Tick) {
        let mut ui = self.ui.borrow_mut();
        if self.showing != tick.what {
            ui.start(tick.what, tick.of as u64, false);
            self.showing = tick.what;
        }
        ui.at(tick.done as u64);
        if tick.done == tick.of {
            ui.stop();
            self.showing = "";
        }
    }

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn Error + Send + Sync>> {
        let row = epoch_row(result);
        self.run.dir.add_epoch(&row)?;
        let EpochRow { phase, epoch, train_loss, train_accuracy, val_loss, val_accuracy, .. } = &row;
        let mark = if result.best { " *" } else { "" };
        self.ui.borrow().line(&format!(
            "{phase:12}  {epoch:5}  {train_loss:11.4}  {train_accuracy:8.4}  {val_loss:9.4}  {val_accuracy:8.4}  \
             {:8.4}  {:8.2}  {:8.0}{mark}",
            row.val_balanced_accuracy, row.seconds, row.images_per_second,
        ));
        self.run.epochs.push(row);
        Ok(())
    }
}

fn epoch_row(result: &EpochResult) -> EpochRow {
    EpochRow {
        epoch: result.epoch,
        phase: result.phase.clone(),
        phase_epoch: result.phase_epoch,
        train_loss: result.train.loss,
        train_accuracy: result.train.accuracy(),
        val_loss: result.val.loss,
        val_accuracy: result.val.accuracy(),
        val_balanced_accuracy: result.val.balanced_accuracy(),
        rate_head: result.rate_head,
        rate_last_stage: result.rate_last_stage,
        seconds: result.seconds,
        images_per_second: result.train.images() as f64 / result.train_seconds.max(f64::MIN_POSITIVE),
        wait_seconds: result.wait_seconds,
    }
}
