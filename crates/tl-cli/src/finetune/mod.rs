//! `tl finetune`: check everything, say what will happen, train, read the model back, say what came of it.

mod job;
mod record;
mod resume;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use tl_data::Sample;
use tl_heads::Task;
use tl_run::analysis::Analysis;
use tl_run::{
    Best, Evaluation, Manifest, PhaseTime, Prediction, RunDir, RunReport, Status, Summary, WeightsFacts,
};
use tl_train::{Answers, CHECKPOINT, Checkpoint, Checkpointing, Ended, Outcome, SavedModel, Scored};

use crate::args::FinetuneArgs;
use crate::errors::Exit;
use crate::evaluate::PRESENT;
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::judge;
use crate::live::Live;
use crate::machine;
use crate::spec::Spec;
use crate::texts;
use crate::ui::{self, Ui};

pub(crate) use job::{Built, Job, JobInputs, Origin};
use record::{Recorder, Run};

pub(crate) fn run(args: &FinetuneArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::quiet(args.quiet));
    if let Some(run) = &args.resume {
        return resume::run(run, args, interrupt, &ui);
    }
    let mut job = Job::from_args(&args.settings, args.run.as_deref(), &ui)?;
    job.announce(&ui);
    job.choose(&interrupt.stop, &ui)?;
    job.make_baseline(&ui)?;
    let run = job.create_run(args.run.as_deref(), interrupt)?;
    go(&job, run, None, (args, interrupt), &ui)
}

/// Trains, from a checkpoint on if there is one, and finishes the run.
fn go(
    job: &Job,
    mut run: Run,
    checkpoint: Option<Checkpoint>,
    (args, interrupt): (&FinetuneArgs, &Interrupt),
    ui: &RefCell<Ui>,
) -> anyhow::Result<()> {
    const EVERY: u64 = 30;
    interrupt.be_graceful();
    let every = Duration::from_secs(args.checkpoint_every.unwrap_or(EVERY));
    if args.json {
        ui.borrow().result(&(job.begins(&run).to_string() + "\n"))?;
    }
    let outcome = job.train(&mut run, checkpoint, (every, interrupt, args.json), ui)?;
    job.finish(run, outcome, args.json, ui)
}

impl Job {
    fn create_run(&self, path: Option<&Path>, interrupt: &Interrupt) -> anyhow::Result<Run> {
        if interrupt.stop.load(Ordering::SeqCst) {
            return Err(Exit(EXIT_CODE).into());
        }
        let now = tl_run::utc_now();
        let path = match path {
            Some(path) => path.to_owned(),
            None => default_run_dir(&self.resolved.spec, &now["short"]),
        };
        let tensors: usize = self.model.tensors().map(|param| param.tensor.numel() * size_of::<f32>()).sum();
        // The model, and a checkpoint: weights, the best ones, moments, and the file that takes its place.
        machine::check_space(&path, tensors as u64 * 8 + (16 << 20))?;
        let pretrained = self.origin.pretrained.clone();
        let manifest = Manifest {
            version: machine::version(),
            started: now["long"].clone(),
            resumed: Vec::new(),
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            data: self.data.facts.clone(),
            weights: WeightsFacts {
                name: pretrained.name,
                source: pretrained.source,
                sha256: pretrained.sha256,
                licence: pretrained.licence,
            },
            machine: self.machine.clone(),
            compute: self.why.clone(),
        };
        let dir = RunDir::create(&path)?;
        let run = Run { dir, manifest, epochs: Vec::new(), before: 0 };
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
        run.dir.write_text("plan.txt", &self.plan.to_string())?;
        run.dir.write_json("manifest.json", &run.manifest)?;
        run.dir.write_text("split.json", &self.data.saved_split)?;
        run.dir.write_text("classes.txt", &(self.data.classes.join("\n") + "\n"))?;
        // The last: a run with a spec has all the rest as well.
        run.dir.write_json("spec.json", &spec)?;
        Ok(())
    }

    /// The first event of a run.
    fn begins(&self, run: &Run) -> serde_json::Value {
        let phases = self.plan.phases.iter();
        let phases = phases.map(|phase| serde_json::json!({ "name": phase.name, "epochs": phase.epochs }));
        serde_json::json!({
            "event": "start",
            "run": run.dir.path(),
            "phases": phases.collect::<Vec<_>>(),
            "monitor": self.monitor.to_string(),
            "train_images": self.data.train.len(),
            "val_images": self.data.val.len(),
            "epochs_before": run.before,
        })
    }

    fn train(
        &self,
        run: &mut Run,
        checkpoint: Option<Checkpoint>,
        (every, interrupt, json): (Duration, &Interrupt, bool),
        ui: &RefCell<Ui>,
    ) -> anyhow::Result<Outcome> {
        let feed = self.training(&interrupt.stop);
        let mut options = self.options()?;
        options.checkpoints = Some(Checkpointing { dir: run.dir.path().to_owned(), every });
        ui.borrow()
            .row(&record::header(self.model.task, &options.monitor.to_string(), self.inputs.unit()), "");
        for row in &run.epochs[..run.before] {
            ui.borrow().row(&record::line(row, self.model.task), "");
        }
        let mut live = Live::new(&self.plan, &options.monitor.to_string());
        run.epochs.iter().for_each(|row| live.epoch(&row.phase, row.epoch, row.monitored, row.seconds));
        ui.borrow_mut().watch(live.of(self.inputs.unit()));
        interrupt.beside(ui.borrow().handle());
        let mut recorder = Recorder { run, ui, json };
        let outcome = tl_train::train(&self.model, &self.plan, &feed, &options, checkpoint, &mut recorder);
        ui.borrow_mut().stop();
        match outcome {
            Ok(outcome) if outcome.best.is_none() => Err(self.nothing_kept(run, &outcome.ended)),
            Err(error) if run.before == 0 && run.epochs.is_empty() && !has_checkpoint(run) => {
                run.dir.discard();
                Err(error.into())
            }
            outcome => Ok(outcome?),
        }
    }

    /// The error of a run that ended before its first epoch did.
    fn nothing_kept(&self, run: &Run, ended: &Ended) -> anyhow::Error {
        if let Ended::Diverged { phase, epoch, step } = ended {
            run.dir.discard();
            return anyhow::anyhow!(
                "the loss is not a number or far too high in phase `{phase}`, epoch {epoch}, step {step}; no epoch had ended, \
                 nothing was kept\n\nhint: {DIVERGED}"
            );
        }
        if has_checkpoint(run) {
            Ui::new().line(&format!("stopped before the first epoch ended; {}", go_on(run.dir.path())));
        } else {
            run.dir.discard();
            Ui::new().line("stopped before the first step; nothing was kept");
        }
        Exit(EXIT_CODE).into()
    }

    fn finish(&self, run: Run, mut outcome: Outcome, json: bool, ui: &RefCell<Ui>) -> anyhow::Result<()> {
        let mut saved = SavedModel::write(
            &self.model,
            self.origin.row,
            self.inputs.write_tokenizer(&run.dir)?,
            self.origin.pretrained.clone(),
            &machine::version(),
            run.dir.path(),
        )?;
        run.dir.write_json("model.json", &saved)?;
        texts::write_adapter(&self.model, &self.resolved, &run.dir)?;
        let (evaluations, analyses, looks) = self.measure(&run, outcome.val.take(), ui)?;
        saved.temperature = judge::fitted(&analyses);
        if saved.temperature.is_some() {
            run.dir.write_json("model.json", &saved)?;
        }
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
                monitor: best.metric.to_string(),
                monitored: best.value,
                val_accuracy: best.accuracy,
                val_loss: best.loss,
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
            baseline: self.baseline.clone(),
            skipped: self.data.skipped.clone(),
            warnings: self.warnings(val),
            evaluations,
        };
        run.dir.write_history(&run.epochs, self.inputs.unit())?;
        run.dir.write_json(judge::ANALYSIS, &analyses)?;
        run.dir.write_json("summary.json", &summary)?;
        self.write_report(&run, &summary, (&analyses, &looks))?;
        let path = run.dir.path().to_owned();
        if matches!(outcome.ended, Ended::Finished | Ended::Diverged { .. }) {
            // There is nothing to go on to.
            run.dir.remove(CHECKPOINT)?;
        }
        run.dir.close()?;
        if !json {
            ui.borrow().line("");
            show_summary(&summary, &path, self.inputs.unit())?;
        } else {
            let event = serde_json::json!({ "event": "end", "run": path, "summary": summary });
            ui::print(&format!("{event}\n"))?;
        }
        conclude(&outcome.ended, &summary, &path)
    }

    /// Reads the model back from disk and runs it over validation and test images, as `tl evaluate` would. What the trainer
    /// knows of the validation images already holds for the model on disk if it has the same bits.
    fn measure(
        &self,
        run: &Run,
        mut known: Option<Scored>,
        ui: &RefCell<Ui>,
    ) -> anyhow::Result<(Vec<Evaluation>, Vec<Analysis>, Looks)> {
        let (_, mut model) = SavedModel::load(run.dir.path(), self.model.device)?;
        model.compute = self.model.compute.clone();
        known = known.filter(|_| model.has_weights_of(&self.model));
        let (mut evaluations, mut analyses, mut looks) = (Vec::new(), Vec::<Analysis>::new(), Looks::new());
        for (set, samples) in [("val", &self.data.val), ("test", &self.data.test)] {
            if samples.is_empty() {
                continue;
            }
            let scored = match known.take() {
                Some(scored) => scored,
                None => crate::evaluate::score(&model, samples, self.inputs.of_set(set), ui)?,
            };
            let name = format!("{set}_predictions.csv");
            match self.tagged(set) {
                Some(texts) => {
                    texts::write_words((&run.dir, &name), &scored, (samples, texts), &self.data.classes)?
                }
                None => write_predictions(&run.dir, &name, &scored, (samples, &self.data.classes))?,
            }
            // Of the first set there is, which nothing was trained on either.
            if looks.is_empty() && matches!(self.inputs, JobInputs::Images(_)) {
                let time = self.start.elapsed().mul_f64(SHARE_OF_LOOKS).max(TIME_OF_LOOKS);
                looks.insert(set.to_owned(), crate::looks::looks(&model, &scored, samples, time));
            }
            evaluations.push(crate::evaluate::evaluation(set, &scored, &self.data.classes));
            let fitted = judge::fitted(&analyses);
            analyses.push(match self.tagged(set) {
                Some(texts) => texts::analyse(set, &scored, (samples, texts), &self.data.classes),
                None => judge::analyse(set, &scored, (samples, &self.data.classes), fitted),
            });
        }
        Ok((evaluations, analyses, looks))
    }

    /// The texts of `val` or `test`, where their words have tags.
    fn tagged(&self, set: &str) -> Option<&[tl_text::TextSample]> {
        let JobInputs::Texts(texts) = &self.inputs else { return None };
        let samples = if set == "val" { &texts.dataset.val } else { &texts.dataset.test };
        texts.dataset.tagging.is_some().then_some(samples)
    }

    fn warnings(&self, val: &Evaluation) -> Vec<String> {
        let mut warnings = self.data.warnings.clone();
        let interval = val.accuracy_low.zip(val.accuracy_high);
        let width = interval.map_or(0.0, |(low, high)| high - low) * 100.0;
        if width > 5.0 {
            warnings.push(format!(
                "validation has {} {}: the 95 % interval of its accuracy is {width:.1} points wide, and smaller \
                 differences between runs mean little",
                val.images,
                self.inputs.unit()
            ));
        }
        warnings
    }

    fn write_report(
        &self,
        run: &Run,
        summary: &Summary,
        (analyses, looks): (&[Analysis], &Looks),
    ) -> anyhow::Result<()> {
        let name = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        // Of a table its own name: the folder that its files are relative to may be anything.
        let data = name(&self.resolved.spec.data.to_string_lossy())
            .or_else(|| name(&self.data.facts.path))
            .unwrap_or_default();
        let path = run.dir.path();
        let report = RunReport {
            title: &format!("{} on {data}", self.model.backbone.name()),
            names: &self.data.classes,
            plan: &self.plan.to_string(),
            epochs: &run.epochs,
            summary,
            manifest: &run.manifest,
            repeat: &format!(
                "tl finetune --config {}    # the same run into a new directory\n\
                 tl runs reproduce {}    # the same, and every figure compared",
                ui::word(&path.join("spec.json")),
                ui::word(path)
            ),
            analyses,
            pictures: &self.pictures(analyses),
            texts: &self.texts(analyses),
            unit: self.inputs.unit(),
            looks,
        };
        run.dir.write_plots(&report.plots())?;
        Ok(run.dir.write_text("report.html", &report.html())?)
    }

    /// Pictures of the images that the analyses name.
    fn pictures(&self, analyses: &[Analysis]) -> BTreeMap<String, Vec<u8>> {
        let samples = self.data.val.iter().chain(self.data.test.iter());
        let images = self.inputs.images();
        images.map_or_else(BTreeMap::new, |images| judge::pictures(analyses, samples, &images.pool))
    }

    /// The texts that the analyses name.
    fn texts(&self, analyses: &[Analysis]) -> BTreeMap<String, String> {
        let JobInputs::Texts(texts) = &self.inputs else { return BTreeMap::new() };
        let sets: [(&[Sample], &[_]); 2] =
            [(&self.data.val, &texts.dataset.val), (&self.data.test, &texts.dataset.test)];
        texts::named(&analyses.iter().flat_map(Analysis::files).collect(), &sets)
    }
}

/// Where some answers came from, by set.
type Looks = BTreeMap<String, Vec<tl_run::Look>>;

/// Part of the time of a run, so far, that may go into pictures of where its answers came from.
const SHARE_OF_LOOKS: f64 = 0.05;
/// This may go into them in any case.
const TIME_OF_LOOKS: Duration = Duration::from_millis(500);

/// What to do about a loss that no longer comes down.
const DIVERGED: &str = "lower the rates of the phase, clip gradients (`clip_norm`), or let the rate rise more slowly (`warmup`), \
                        in a spec.json that is run with --config; or look for odd samples with `tl data doctor` or `tl text doctor`";

fn has_checkpoint(run: &Run) -> bool {
    run.dir.path().join(CHECKPOINT).exists()
}

/// How to take a run up again.
fn go_on(run: &Path) -> String {
    format!("go on with: tl finetune --resume {}", ui::word(run))
}

fn default_run_dir(spec: &Spec, now: &str) -> PathBuf {
    let data = spec.data.file_name().map_or("data".into(), |name| name.to_string_lossy());
    // Of a folder or a repository its last name.
    let net = spec.backbone.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let base = format!("runs/{net}-{data}-s{}-{now}", spec.seed);
    // Two runs in one second are told apart by a number.
    let numbered = (2..).map(|i| PathBuf::from(format!("{base}-{i}")));
    std::iter::once(PathBuf::from(&base)).chain(numbered).find(|path| !path.exists()).unwrap_or_default()
}

/// One line an image. Of classes the likeliest and its probability; of labels those it has, those it is said to have, and
/// the probability of each; of each number what is right and what was said.
fn write_predictions(
    dir: &RunDir,
    name: &str,
    scored: &Scored,
    (samples, names): (&[Sample], &[String]),
) -> anyhow::Result<()> {
    let said = || samples.iter().zip(&scored.probabilities);
    let rows = match &scored.answers {
        Answers::Classes(_) => {
            let rows = said().zip(scored.predicted());
            let rows = rows.map(|((sample, probabilities), predicted)| Prediction {
                file: sample.rel.clone(),
                label: names[sample.label as usize].clone(),
                predicted: names[predicted as usize].clone(),
                probability: probabilities[predicted as usize],
            });
            return Ok(dir.write_predictions(name, &rows.collect::<Vec<_>>())?);
        }
        Answers::Rows(rows) => rows,
        // They are written word by word.
        Answers::Tags(_) => return Ok(()),
    };
    let numbers = matches!(scored.task, Task::Regression { .. });
    let mut header = vec!["file".to_owned()];
    match numbers {
        true => header.extend(names.iter().flat_map(|name| [name.clone(), format!("predicted {name}")])),
        false => {
            header.extend(["labels".to_owned(), "predicted".to_owned()]);
            header.extend_from_slice(names);
        }
    }
    let those = |has: &dyn Fn(usize) -> bool| {
        let names = names.iter().enumerate().filter(|(i, _)| has(*i));
        names.map(|(_, name)| name.as_str()).collect::<Vec<_>>().join("|")
    };
    let row = |((sample, said), right): ((&Sample, &Vec<f32>), &Vec<f32>)| {
        let mut row = vec![sample.rel.clone()];
        match numbers {
            true => row.extend(right.iter().zip(said).flat_map(|(a, b)| [a.to_string(), b.to_string()])),
            false => {
                row.extend([those(&|i| right[i] > 0.0), those(&|i| said[i] >= PRESENT)]);
                row.extend(said.iter().map(f32::to_string));
            }
        }
        row
    };
    Ok(dir.write_table(name, &header, &said().zip(rows).map(row).collect::<Vec<_>>())?)
}

/// What a run that did not reach its end says, and its exit code.
fn conclude(ended: &Ended, summary: &Summary, run: &Path) -> anyhow::Result<()> {
    let kept = format!("the best weights, of epoch {}, are in `{}`", summary.best.epoch, run.display());
    match ended {
        Ended::Finished => Ok(()),
        Ended::Stopped => {
            Ui::new().line(&format!("stopped after epoch {}; {kept}; {}", summary.epochs, go_on(run)));
            Err(Exit(EXIT_CODE).into())
        }
        Ended::Failed { error } => Err(anyhow::anyhow!("{error}; {kept}; {}", go_on(run))),
        Ended::Diverged { phase, epoch, step } => Err(anyhow::anyhow!(
            "the loss is not a number or far too high in phase `{phase}`, epoch {epoch}, step {step}; {kept}\n\n\
             hint: {DIVERGED}"
        )),
    }
}

fn show_summary(summary: &Summary, run: &Path, unit: &str) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for evaluation in &summary.evaluations {
        lines.extend(crate::evaluate::lines(evaluation, unit));
    }
    lines.extend(summary.baseline.as_ref().map(tl_run::Baseline::line));
    lines.push(format!("best       epoch {}, phase {}", summary.best.epoch, summary.best.phase));
    let parts: Vec<String> =
        summary.phases.iter().map(|part| format!("{} {:.1}", part.phase, part.seconds)).collect();
    let waited = match summary.wait_seconds {
        waited if waited < 0.05 => String::new(),
        waited => format!("; the net waited {waited:.1} for {unit}"),
    };
    lines.push(format!("time       {:.1} s: {}{waited}", summary.seconds, parts.join(", ")));
    if let Some(peak) = summary.peak_memory_bytes {
        let cache = ui::bytes(summary.cache_bytes);
        lines.push(format!("memory     {} at most, {cache} of it activations", ui::bytes(peak)));
    }
    lines.extend(summary.warnings.iter().map(|warning| format!("note       {warning}")));
    lines.push(format!("model      {}", run.join("model.safetensors").display()));
    lines.push(format!("report     {}", run.join("report.html").display()));
    let one = if unit == "texts" { "TEXT" } else { "IMAGE" };
    lines.push(format!("try it     tl predict {} {one}…", ui::word(run)));
    ui::print_tables(&(lines.join("\n") + "\n"))
}
