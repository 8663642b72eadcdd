//! `tl evaluate`: a saved model against a folder of labelled images, or a table. What `finetune` says of its model at the
//! end is made here as well.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use tl_data::{DataPool, LabelledFolder, Sample, Task};
use tl_heads::Task as HeadTask;
use tl_run::analysis::{Analysis, Calibration, Confused, CostlyWord};
use tl_run::{Evaluation, EvaluationReport, LabelResult, Machine, SetReport, TargetResult};
use tl_train::{Model, Precision, SavedModel, Scored, Scores, SetInputs};

use crate::args::EvaluateArgs;
use crate::dataset;
use crate::judge;
use crate::machine;
use crate::output::fresh;
use crate::prepare;
use crate::remembered;
use crate::texts::{self, Asked};
use crate::ui::{self, Ui};

/// Finds out how to compute a model, of the file with this sha256, for one look at every sample.
pub(crate) fn choose(
    (model, sha256): (&mut Model, &str),
    samples: (&Arc<[Sample]>, SetInputs<'_>),
    precision: Option<Precision>,
    machine: &Machine,
    ui: &RefCell<Ui>,
) -> anyhow::Result<()> {
    let precision = precision.unwrap_or_default();
    let about = serde_json::json!({ "machine": machine, "precision": precision, "model": sha256,
        samples.1.unit(): samples.0.len() });
    let find = || Ok(tl_train::choose(model, None, samples, precision)?);
    let choice = remembered::choice(about, &ui.borrow(), find)?;
    model.compute = choice.compute;
    Ok(())
}

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    args.report.as_deref().map(|path| fresh("--report", path)).transpose()?;
    let machine = machine::set_up(&args.threads)?;
    let (saved, mut model) = SavedModel::load(&args.run, machine::device(&machine))?;
    let calibrated =
        if args.calibrated { Some(judge::calibration(&args.run, &saved, model.task)?) } else { None };
    let pool = DataPool::new(machine.data_threads)?;
    let asked = match &saved.text {
        Some(text) => Given::Texts(texts::asked(args, (&saved, text), model.task)?),
        None => Given::Images(images(args, &saved.classes, model.task, (&pool, &ui))?),
    };
    let (samples, inputs, part) = match &asked {
        Given::Texts(asked) => {
            let Asked { samples, encoded, part, .. } = asked;
            let tagged = matches!(model.task, HeadTask::Tagging { .. });
            let words: &[Sample] = if tagged { samples } else { &[] };
            texts::say_cut(encoded, words, saved.text.as_ref().map_or(0, |text| text.max_length), &ui);
            (samples, SetInputs::Texts(encoded), part.map(str::to_owned))
        }
        Given::Images((samples, part)) => (samples, SetInputs::Images(&pool), part.clone()),
    };
    choose((&mut model, &saved.sha256), (samples, inputs), args.precision, &machine, &ui)?;
    let mut scored = score(&model, samples, inputs, &ui)?;
    let set = part.unwrap_or_else(|| "data".to_owned());
    // What the reliability of the answers was before shows beside what it is.
    let plain = calibrated
        .map(|temperature| scored.calibrated(temperature))
        .map(|new| std::mem::replace(&mut scored, new));
    let evaluation = evaluation(&set, &scored, &saved.classes);
    let temperature = calibrated.or(saved.temperature).or_else(|| judge::temperature(&args.run));
    let mut analysis = match &asked {
        Given::Texts(Asked { texts, .. }) if scored.tags.is_some() => {
            texts::analyse(&set, &scored, (samples, texts), &saved.classes)
        }
        _ => judge::analyse(&set, &scored, (samples, &saved.classes), temperature),
    };
    if let Some(plain) = &plain {
        let before = judge::analyse(&set, plain, (samples, &saved.classes), temperature).calibration;
        analysis.calibration = before.map(|before| Calibration { applied: true, ..before });
    }
    if let Some(path) = &args.report {
        let wanted = analysis.files();
        let (pictures, texts, looks) = match &asked {
            Given::Texts(Asked { texts, .. }) => {
                (BTreeMap::new(), texts::named(&wanted, &[(&samples[..], texts)]), Vec::new())
            }
            Given::Images(_) => {
                let pictures = judge::pictures(std::slice::from_ref(&analysis), samples.iter(), &pool);
                // Somebody asked for the page, so it has all that it can have.
                (pictures, BTreeMap::new(), crate::looks::looks(&model, &scored, samples, Duration::MAX))
            }
        };
        let set = SetReport {
            names: &saved.classes,
            evaluation: &evaluation,
            analysis: &analysis,
            pictures: &pictures,
            texts: &texts,
            unit: inputs.unit(),
            monitor: tl_train::default_metric(model.task, &[]).name(),
            looks: &looks,
        };
        write_report(path, args, set)?;
        ui.borrow().line(&format!("report     {}", path.display()));
    }
    if args.json {
        let calibrated = analysis.calibration.as_ref().filter(|calibration| calibration.applied);
        let calibrated = calibrated.map(|calibration| Calibrated {
            temperature: calibration.temperature,
            ece_before: calibration.ece,
            ece_after: calibration.ece_scaled,
        });
        let analysis = args.analysis.then_some(&analysis);
        let all = Measured { evaluation: &evaluation, calibrated, analysis };
        return ui::print_json(&all);
    }
    let unit = inputs.unit();
    let details = details((&evaluation, unit), &analysis, &saved.classes);
    let gap = if details.is_empty() { "" } else { "\n" };
    ui::print_tables(&format!("{}\n{gap}{details}", lines(&evaluation, unit).join("\n")))
}

/// What there is to measure.
enum Given {
    /// The images, and the part of a split that they are.
    Images((Arc<[Sample]>, Option<String>)),
    Texts(Asked),
}

/// The labelled images that can be decoded.
fn images(
    args: &EvaluateArgs,
    classes: &[String],
    task: HeadTask,
    (pool, ui): (&DataPool, &RefCell<Ui>),
) -> anyhow::Result<(Arc<[Sample]>, Option<String>)> {
    let given = args.texts.given();
    anyhow::ensure!(given.is_empty(), "{} is for texts, and this model takes images", given.join(" and "));
    let (root, samples, part, warnings) = labelled(args, classes, dataset::task_of(task))?;
    let bad = prepare::check_images(&samples, pool, ui);
    prepare::refuse_bad(&bad, &root, args.skip_bad)?;
    for bad in &bad {
        let skipped = prepare::skipped(bad, &root);
        ui.borrow().line(&format!("warning: left out {}: {}", skipped.file, skipped.reason));
    }
    for warning in &warnings {
        ui.borrow().line(&format!("warning: {warning}"));
    }
    let samples = prepare::good(samples, &bad);
    anyhow::ensure!(!samples.is_empty(), "no image in `{}` can be decoded", root.display());
    Ok((samples, part))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Measured<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibrated: Option<Calibrated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis: Option<&'a Analysis>,
}

/// What `--calibrated` did.
#[derive(Serialize)]
struct Calibrated {
    temperature: Option<f64>,
    ece_before: f64,
    ece_after: Option<f64>,
}

fn write_report(path: &Path, args: &EvaluateArgs, set: SetReport<'_>) -> anyhow::Result<()> {
    let calibrated = if args.calibrated { " --calibrated" } else { "" };
    let command = format!("tl evaluate {} {}{calibrated}", ui::word(&args.run), ui::word(&args.data));
    let facts = [
        ("model", args.run.display().to_string()),
        ("data", args.data.display().to_string()),
        ("command", command),
        ("at", tl_run::utc_now()["long"].clone()),
    ];
    let name =
        |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let title = format!("{} on {}", name(&args.run), name(&args.data));
    let page = EvaluationReport { title: &title, facts: &facts, set }.html(&machine::version());
    Ok(tl_run::write_whole(path, |file| file.write_all(page.as_bytes()))?)
}

/// The folder, its images, the part of the split they are, and what a person should know.
type Labelled = (PathBuf, Vec<Sample>, Option<String>, Vec<String>);

/// The labelled images of a folder or a table.
fn labelled(args: &EvaluateArgs, classes: &[String], task: Task) -> anyhow::Result<Labelled> {
    dataset::needs_table(&args.data, task)?;
    if args.data.is_file() {
        let (samples, part) = dataset::labelled_table(&args.data, &args.columns, (task, classes))?;
        let root = args.data.parent().unwrap_or(Path::new("")).to_owned();
        return Ok((root, samples, part.map(str::to_owned), Vec::new()));
    }
    let LabelledFolder { root, part, samples, warnings, .. } = LabelledFolder::open(&args.data, classes)?;
    Ok((root, samples, part, warnings))
}

/// Runs the model over the samples, with a bar.
pub(crate) fn score(
    model: &Model,
    samples: &Arc<[Sample]>,
    inputs: SetInputs<'_>,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Scored> {
    ui.borrow_mut().start("evaluating", samples.len() as u64, false);
    let never = AtomicBool::new(false);
    let scored = tl_train::evaluate(model, samples, inputs, &never, &mut |done| ui.borrow().at(done as u64));
    ui.borrow_mut().stop();
    Ok(scored?)
}

/// From this probability on a label counts as said.
pub(crate) const PRESENT: f32 = 0.5;

pub(crate) fn evaluation(set: &str, scored: &Scored, names: &[String]) -> Evaluation {
    let scores = scored.scores.as_ref();
    let interval = scores.map(|scores| tl_train::wilson(scores.right(), scores.images()));
    let mut evaluation = Evaluation {
        set: set.to_owned(),
        images: scored.images(),
        accuracy: scores.map(Scores::accuracy),
        accuracy_low: interval.map(|(low, _)| low),
        accuracy_high: interval.map(|(_, high)| high),
        balanced_accuracy: scores.map(Scores::balanced_accuracy),
        loss: scored.loss,
        confusion: scores.map(|scores| scores.confusion.clone()).unwrap_or_default(),
        metrics: scored.metrics(),
        classes: Vec::new(),
        labels: Vec::new(),
        targets: Vec::new(),
    };
    let ones = || names.iter().enumerate().map(|(i, name)| (name.clone(), scored.one(i)));
    match scored.task {
        HeadTask::Softmax { .. } | HeadTask::Binary => {
            evaluation.metrics = judge::class_metrics(scored, names.len());
            evaluation.classes = judge::class_results(&evaluation.confusion, names);
        }
        HeadTask::MultiLabel { .. } => evaluation.labels = ones().map(label_result).collect(),
        HeadTask::Tagging { .. } => {
            evaluation.confusion = scored.tags.iter().flat_map(|tags| tags.confusion.clone()).collect();
            evaluation.labels = texts::entity_results(scored, names);
        }
        HeadTask::Regression { .. } => {
            let targets = ones().map(|(target, one)| TargetResult { target, metrics: one.metrics() });
            evaluation.targets = targets.collect();
        }
    }
    evaluation
}

fn label_result((label, one): (String, Scored)) -> LabelResult {
    let said: Vec<bool> = one.probabilities.iter().flatten().map(|p| *p >= PRESENT).collect();
    let there: Vec<bool> = one.present().into_iter().flatten().collect();
    let count =
        |of: &dyn Fn(bool, bool) -> bool| said.iter().zip(&there).filter(|(a, b)| of(**a, **b)).count();
    let (images, predicted) = (count(&|_, there| there), count(&|said, _| said));
    let right = count(&|said, there| said && there);
    let share = |of: usize| (of > 0).then(|| right as f64 / of as f64);
    let mut metrics = one.metrics();
    // Of a single label the mean over labels is its own.
    let f1 = metrics.remove("macro-f1");
    metrics.remove("micro-f1");
    let more = [("f1", f1), ("precision", share(predicted)), ("recall", share(images))];
    metrics.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    LabelResult { label, images, predicted, right, metrics }
}

/// The result in a line, or one for each of several numbers.
pub(crate) fn lines(evaluation: &Evaluation, unit: &str) -> Vec<String> {
    let Evaluation { set, images, accuracy, loss, metrics, targets, .. } = evaluation;
    if let Some(accuracy) = accuracy {
        return vec![accuracy_line(evaluation, *accuracy)];
    }
    let figures = |metrics: &BTreeMap<String, f64>| {
        let figure = |(name, value): (&String, &f64)| format!("{value:.4} {}", tl_run::metric_title(name));
        metrics.iter().map(figure).collect::<Vec<_>>().join(", ")
    };
    match &targets[..] {
        [] => vec![format!("{set:10} {} ({images} {unit}), loss {loss:.4}", figures(metrics))],
        [target] => vec![format!(
            "{set:10} {}: {} ({images} {unit}), loss {loss:.4}",
            target.target,
            figures(&target.metrics)
        )],
        several => {
            let all = figures(metrics);
            let all = if all.is_empty() { String::new() } else { format!("{all} on average, ") };
            let mut lines = vec![format!("{set:10} {all}loss {loss:.4} ({images} {unit})")];
            let line = |one: &TargetResult| format!("{:10} {}: {}", "", one.target, figures(&one.metrics));
            lines.extend(several.iter().map(line));
            lines
        }
    }
}

fn accuracy_line(evaluation: &Evaluation, accuracy: f64) -> String {
    let Evaluation { set, images, accuracy_low, accuracy_high, balanced_accuracy, loss, .. } = evaluation;
    let right = (accuracy * *images as f64).round();
    let figure = |value: &Option<f64>, decimals: usize| {
        value.map_or("?".to_owned(), |value| format!("{value:.decimals$}"))
    };
    format!(
        "{set:10} {accuracy:.4} accuracy ({right} of {images}, 95 % interval {} to {}), balanced {}, loss {loss:.4}",
        figure(accuracy_low, 3),
        figure(accuracy_high, 3),
        figure(balanced_accuracy, 4),
    )
}

/// More columns are wider than a terminal.
const WIDEST: usize = 20;

/// What there is to say of single classes or labels.
fn details((evaluation, unit): (&Evaluation, &str), analysis: &Analysis, classes: &[String]) -> String {
    if !evaluation.labels.is_empty() {
        return match evaluation.confusion.is_empty() {
            true => labels(("label", unit), &evaluation.labels),
            // Of words with tags.
            false => tags(evaluation, analysis, classes),
        };
    }
    if evaluation.confusion.is_empty() {
        // Numbers have a line each already.
        return String::new();
    }
    let table = match classes.len() {
        0..=WIDEST => confusion(evaluation, classes),
        n => format!("{n} classes are too many for a table here; --report FILE has what is confused\n"),
    };
    let mut text = format!("{table}\n{}", labels(("class", unit), &evaluation.classes));
    for pair in analysis.confused.iter().take(5) {
        text.push_str(&format!(
            "{}{} taken for {}: {} of {}\n",
            if pair == &analysis.confused[0] { "\n" } else { "" },
            pair.label,
            pair.predicted,
            pair.images,
            pair.of
        ));
    }
    if let Some(calibration) = &analysis.calibration {
        text.push_str(&calibration_line(calibration, unit));
        text.push_str(&match analysis.suspects.len() {
            1 => "\n1 label looks wrong; the page of --report shows it\n".to_owned(),
            n => format!("\n{n} labels look wrong; the page of --report shows them\n"),
        });
    }
    text
}

fn calibration_line(calibration: &Calibration, unit: &str) -> String {
    let Calibration { ece, temperature, ece_scaled, applied, fitted_here, .. } = calibration;
    let (Some(t), Some(scaled)) = (temperature, ece_scaled) else {
        return format!("\ncalibration error {ece:.4}");
    };
    let fitted = if *fitted_here { "these" } else { "validation" };
    match applied {
        true => format!("\ncalibration error {scaled:.4}, {ece:.4} before the temperature of {t:.3}"),
        false => format!(
            "\ncalibration error {ece:.4}, {scaled:.4} at temperature {t:.3} (fitted on {fitted} {unit})"
        ),
    }
}

/// Entities by kind or words by tag, the tags that are taken for each other, and the words that cost most.
fn tags(evaluation: &Evaluation, analysis: &Analysis, names: &[String]) -> String {
    const MOST: usize = 5;
    let entities = evaluation.metrics.contains_key("entity-f1");
    let mut text = labels((if entities { "entity" } else { "tag" }, "there"), &evaluation.labels);
    for (place, pair) in analysis.confused.iter().take(MOST).enumerate() {
        let gap = if place == 0 { "\n" } else { "" };
        let Confused { label, predicted, images, of } = pair;
        text.push_str(&format!("{gap}{label} taken for {predicted}: {images} of {of} words\n"));
    }
    if !analysis.words.is_empty() {
        let word = |word: &CostlyWord| format!("{} ({} of {})", word.word, word.wrong, word.there);
        let words: Vec<String> = analysis.words.iter().take(MOST).map(word).collect();
        text.push_str(&format!(
            "\nwords that cost most, and how often they are wrong: {}\n",
            words.join(", ")
        ));
    }
    match names.len() {
        0..=WIDEST => text + "\n" + &confusion(evaluation, names),
        _ => text,
    }
}

fn labels((what, unit): (&str, &str), rows: &[LabelResult]) -> String {
    let metrics: Vec<&str> = ["precision", "recall", "f1", "auroc", "average-precision"]
        .into_iter()
        .filter(|metric| rows.iter().any(|row| row.metrics.contains_key(*metric)))
        .collect();
    let name = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0).max(what.len());
    let mut text = format!("{what:name$}  {unit:>6}  predicted  right");
    metrics.iter().for_each(|metric| text.push_str(&format!("  {:>9}", tl_run::metric_title(metric))));
    for LabelResult { label, images, predicted, right, metrics: values } in rows {
        text.push_str(&format!("\n{label:name$}  {images:>6}  {predicted:>9}  {right:>5}"));
        for metric in &metrics {
            let width = tl_run::metric_title(metric).chars().count().max(9);
            let value = values.get(*metric).map_or("-".to_owned(), |value| format!("{value:.4}"));
            text.push_str(&format!("  {value:>width$}"));
        }
    }
    text.push('\n');
    text
}

/// Rows are labels, columns predictions.
fn confusion(evaluation: &Evaluation, classes: &[String]) -> String {
    let name = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max(5);
    let most = evaluation.confusion.iter().flatten().max().copied().unwrap_or(0);
    let cell = most.to_string().len().max(classes.len().to_string().len()) + 1;
    let number = classes.len().to_string().len();
    let mut text = format!("{:number$} {:name$}", "", "label");
    (1..=classes.len()).for_each(|i| text.push_str(&format!(" {i:>cell$}")));
    for (i, (class, row)) in classes.iter().zip(&evaluation.confusion).enumerate() {
        text.push_str(&format!("\n{:>number$} {class:name$}", i + 1));
        row.iter().for_each(|count| text.push_str(&format!(" {count:>cell$}")));
    }
    text.push('\n');
    text
}
