//! `tl evaluate`: a saved model against a folder of labelled images.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tl_data::{DataPool, LabelledFolder, Sample, Task};
use tl_run::Evaluation;
use tl_train::{Model, SavedModel, Scored};

use crate::args::EvaluateArgs;
use crate::dataset;
use crate::machine;
use crate::prepare;
use crate::ui::{self, Ui};

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let (saved, model) = SavedModel::load(&args.run, tch::Device::Cpu)?;
    let (root, samples, part, warnings) = labelled(args, &saved.classes, dataset::task_of(model.task))?;
    let pool = DataPool::new(machine.data_threads)?;
    let bad = prepare::check_images(&samples, &pool, &ui);
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
    let scored = score(&model, &samples, &pool, &ui)?;
    let set = part.unwrap_or_else(|| "data".to_owned());
    let evaluation = evaluation(&set, &scored);
    if args.json {
        return ui::print(&(serde_json::to_string_pretty(&evaluation)? + "\n"));
    }
    ui::print(&format!("{}\n\n{}", line(&evaluation), confusion(&evaluation, &saved.classes)))
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
    pool: &DataPool,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Scored> {
    ui.borrow_mut().start("evaluating", samples.len() as u64, false);
    let never = AtomicBool::new(false);
    let scored = tl_train::evaluate(model, samples, pool, &never, &mut |done| ui.borrow().at(done as u64));
    ui.borrow_mut().stop();
    Ok(scored?)
}

pub(crate) fn evaluation(set: &str, scored: &Scored) -> Evaluation {
    let scores = &scored.scores;
    let (accuracy_low, accuracy_high) = tl_train::wilson(scores.right(), scores.images());
    Evaluation {
        set: set.to_owned(),
        images: scores.images(),
        accuracy: scores.accuracy(),
        accuracy_low,
        accuracy_high,
        balanced_accuracy: scores.balanced_accuracy(),
        loss: scores.loss,
        confusion: scores.confusion.clone(),
    }
}

/// The result in one line.
pub(crate) fn line(evaluation: &Evaluation) -> String {
    let Evaluation { set, images, accuracy, accuracy_low, accuracy_high, balanced_accuracy, loss, .. } =
        evaluation;
    let right = (accuracy * *images as f64).round();
    format!(
        "{set:10} {accuracy:.4} accuracy ({right} of {images}, 95 % interval {accuracy_low:.3} to {accuracy_high:.3}), \
         balanced {balanced_accuracy:.4}, loss {loss:.4}"
    )
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
