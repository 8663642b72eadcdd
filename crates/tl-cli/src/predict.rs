//! `tl predict`: what images show, by a saved model or by a pretrained net's own classifier.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tl_backbones::Loaded;
use tl_data::{DataPool, Loader, LoaderOptions, Preprocess, Sample, View};
use tl_heads::Task;
use tl_train::SavedModel;

use crate::args::PredictArgs;
use crate::dataset;
use crate::errors::Exit;
use crate::evaluate::PRESENT;
use crate::machine;
use crate::prepare;
use crate::ui::{self, Ui};

/// Names of classes, labels or numbers and, for each image, what is said of each.
type Answers = (Vec<String>, Vec<Vec<f32>>);

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    anyhow::ensure!(args.top != Some(0), "--top is 0, expected 1 or more");
    let (run, images) = match (&args.backbone, &args.paths[..]) {
        (Some(_), images) => (None, images),
        (None, [run, images @ ..]) if !images.is_empty() => (Some(run), images),
        _ => anyhow::bail!(
            "expected a run directory and at least one image\n\n\
             hint: `tl predict RUN IMAGE…`, or `tl predict --backbone NAME IMAGE…` for the pretrained net itself"
        ),
    };
    let pool = DataPool::new(machine.data_threads)?;
    let mut saved = run.map(|run| SavedModel::load(run, Device::Cpu)).transpose()?;
    let paths = dataset::list(images)?;
    let samples: Vec<Sample> = paths.into_iter().map(unlabelled).collect();
    let bad = prepare::check_images(&samples, &pool, &ui);
    let samples = prepare::good(samples, &bad);
    if let Some((saved, model)) = &mut saved {
        let with = (model, saved.sha256.as_str());
        crate::evaluate::choose(with, (&samples, &pool), args.precision, &machine, &ui)?;
    }
    let task = saved.as_ref().map(|(_, model)| model.task);
    let numbers = matches!(task, Some(Task::Regression { .. }));
    anyhow::ensure!(
        !(numbers && args.top.is_some()),
        "--top is for classes and labels, and this model says numbers"
    );
    let (classes, rows) = match (saved, &args.backbone) {
        // Outputs of a regression are in units of its training set, which mean nothing to anyone.
        (Some((saved, model)), _) if args.raw && !numbers => {
            let runner = model.runner(0..model.stages(), tl_train::EVAL_BATCH, samples.len());
            let logits = |xs: &Tensor| Ok(model.classify(&runner.run(xs)?));
            let rows = outputs(&samples, model.preprocess, &pool, logits)?;
            let classes = match model.task {
                // One output: how much more likely the second class is.
                Task::Binary => saved.classes[1..].to_vec(),
                _ => saved.classes,
            };
            (classes, rows)
        }
        (Some((saved, model)), _) => {
            ui.borrow_mut().start("predicting", samples.len() as u64, false);
            let rows = tl_train::predict(&model, &samples, &pool, &mut |done| ui.borrow().at(done as u64));
            ui.borrow_mut().stop();
            (saved.classes, rows?)
        }
        (None, backbone) => published(backbone.as_deref().unwrap_or_default(), args, &samples, &pool, &ui)?,
    };
    let lines = samples.iter().zip(&rows).map(|(sample, row)| match task {
        _ if args.raw => raw_line(args.json, sample, row, &classes),
        Some(Task::MultiLabel { .. }) => labels_line(args, sample, row, &classes),
        Some(Task::Regression { .. }) => numbers_line(args.json, sample, row, &classes),
        _ => classes_line(args, sample, row, &classes),
    });
    ui::print(&lines.collect::<String>())?;
    // What could be read was answered; what could not is named, and the exit code says so.
    for bad in &bad {
        ui.borrow().line(&format!("error: image `{}` cannot be decoded: {}", bad.path.display(), bad.reason));
    }
    if bad.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
}

pub(crate) fn unlabelled(path: PathBuf) -> Sample {
    let rel = tl_data::folder::path_text(&path);
    Sample { path, label: 0, target: None, id: 0, rel }
}

/// The published classifier's answers.
fn published(
    name: &str,
    args: &PredictArgs,
    samples: &Arc<[Sample]>,
    pool: &DataPool,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Answers> {
    let card = tl_backbones::find(name)?;
    if card.top.is_none() {
        return Err(tl_backbones::BackboneError::NoClassifier { backbone: card.name }.into());
    }
    let chosen = prepare::weights(card, args.weights.as_deref().unwrap_or(""), ui)?;
    let Loaded { backbone, classifier, classes, weights, .. } = chosen.load(card, true, None, ui)?;
    let classifier = classifier.context("the net has no classifier")?;
    let names = match tl_backbones::class_names(classes) {
        Some(names) => names.into_iter().map(str::to_owned).collect(),
        None => (0..classes).map(|i| i.to_string()).collect(),
    };
    let rows = outputs(samples, prepare::preprocess(weights.input, weights.input.size), pool, |xs| {
        let logits = tch::no_grad(|| classifier.forward(&backbone, &backbone.features(xs)));
        Ok(if args.raw { logits } else { logits.softmax(1, Kind::Float) })
    })?;
    Ok((names, rows))
}

/// What `net` says to each image.
fn outputs(
    samples: &Arc<[Sample]>,
    preprocess: Preprocess,
    pool: &DataPool,
    net: impl Fn(&Tensor) -> anyhow::Result<Tensor>,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let options = LoaderOptions::in_order(samples.len(), tl_train::EVAL_BATCH);
    let mut rows = Vec::new();
    for batch in Loader::new(samples.clone(), View::Eval(preprocess), options, pool)? {
        let batch = batch?;
        let ys = net(&tl_train::batch_tensor(&batch, Device::Cpu))?;
        rows.extend((0..ys.size()[0]).map(|i| floats(&ys.get(i))));
    }
    Ok(rows)
}

pub(crate) fn floats(xs: &Tensor) -> Vec<f32> {
    let mut values = vec![0f32; xs.numel()];
    let n = values.len();
    xs.contiguous().copy_data(&mut values, n);
    values
}

/// The places of the highest values, highest first.
fn highest(row: &[f32], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    order.truncate(most);
    order
}

/// The likeliest classes.
fn classes_line(args: &PredictArgs, sample: &Sample, row: &[f32], classes: &[String]) -> String {
    const USUAL: usize = 5;
    let order = highest(row, args.top.unwrap_or(USUAL));
    if args.json {
        let top: Vec<_> =
            order.iter().map(|&i| json!({ "class": classes[i], "probability": row[i] })).collect();
        return json!({ "file": sample.rel, "top": top }).to_string() + "\n";
    }
    let top: Vec<String> = order.iter().map(|&i| format!("{} {:.4}", classes[i], row[i])).collect();
    format!("{}\t{}\n", sample.rel, top.join(", "))
}

/// The labels that the image is said to have, or so many of the likeliest; as JSON with the probabilities of all.
fn labels_line(args: &PredictArgs, sample: &Sample, row: &[f32], labels: &[String]) -> String {
    let said = match args.top {
        Some(top) => highest(row, top),
        None => highest(row, row.len()).into_iter().filter(|&i| row[i] >= PRESENT).collect(),
    };
    if args.json {
        let said: Vec<&str> = said.iter().map(|&i| labels[i].as_str()).collect();
        let all = labels.iter().zip(row).map(|(label, p)| json!({ "label": label, "probability": p }));
        let all: Vec<_> = all.collect();
        return json!({ "file": sample.rel, "labels": said, "all": all }).to_string() + "\n";
    }
    let said: Vec<String> = said.iter().map(|&i| format!("{} {:.4}", labels[i], row[i])).collect();
    format!("{}\t{}\n", sample.rel, if said.is_empty() { "-".to_owned() } else { said.join(", ") })
}

/// Every number by its name.
fn numbers_line(json: bool, sample: &Sample, row: &[f32], names: &[String]) -> String {
    let pairs = names.iter().zip(row);
    if json {
        let values: Vec<_> = pairs.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        return json!({ "file": sample.rel, "values": values }).to_string() + "\n";
    }
    let values: Vec<String> = pairs.map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{}\t{}\n", sample.rel, values.join(", "))
}

/// All outputs of one image, in the order of the classes.
fn raw_line(json: bool, sample: &Sample, row: &[f32], classes: &[String]) -> String {
    if json {
        return json!({ "file": sample.rel, "outputs": row, "classes": classes }).to_string() + "\n";
    }
    let row: Vec<String> = row.iter().map(f32::to_string).collect();
    format!("{}\t{}\n", sample.rel, row.join("\t"))
}
