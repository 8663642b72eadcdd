//! `tl predict`: what images show, by a saved model or by a pretrained net's own classifier.

mod format;

use std::cell::RefCell;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tch::{Device, Kind, Tensor};
use tl_backbones::Loaded;
use tl_data::{DataPool, Loader, LoaderOptions, Preprocess, Sample, View};
use tl_heads::Task;
use tl_train::{Model, Reads, SavedModel, SetInputs};

use crate::args::PredictArgs;
use crate::dataset;
use crate::errors::Exit;
use crate::judge;
use crate::machine;
use crate::prepare;
use crate::texts;
use crate::ui::{self, Ui};

pub(crate) use format::{Format, PAIR, Saying, shortened};

/// Names of classes, labels or numbers and, for each image, what is said of each.
type Answers = (Vec<String>, Vec<Vec<f32>>);

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let device = machine::device(&machine);
    anyhow::ensure!(args.top != Some(0), "--top is 0, expected 1 or more");
    if let Some(threshold) = args.threshold {
        anyhow::ensure!((0.0..=1.0).contains(&threshold), "--threshold is {threshold}, expected 0 to 1");
    }
    let (run, images) = match (&args.backbone, &args.paths[..]) {
        (Some(_), images) => (None, images),
        (None, [run, images @ ..]) if !images.is_empty() => (Some(run), images),
        _ => anyhow::bail!(
            "expected a run directory and at least one image\n\n\
             hint: `tl predict RUN IMAGE…`, or `tl predict --backbone NAME IMAGE…` for the pretrained net itself"
        ),
    };
    if let Some(name) = args.backbone.as_deref().filter(|name| texts::is_text_net(name)) {
        anyhow::bail!(
            "`{name}` is a net of texts and has no classes of its own\n\n\
             hint: fine-tune it with `tl finetune --task text`, or take its features with `tl features`"
        );
    }
    let pool = DataPool::new(machine.data_threads)?;
    let mut saved = run.map(|run| load(run, args.calibrated, device)).transpose()?;
    if let Some((run, (_, Model { reads: Reads::Texts { .. }, .. }))) = run.zip(saved.as_ref())
        && let Some(saved) = saved.take()
    {
        return texts::predict(args, saved, (run, images), &machine, &ui);
    }
    let paths = dataset::list(&with_stdin(images)?)?;
    let samples: Vec<Sample> = paths.into_iter().map(unlabelled).collect();
    let bad = prepare::check_images(&samples, &pool, &ui);
    let samples = prepare::good(samples, &bad);
    if samples.is_empty() {
        return name_bad(&bad, &ui);
    }
    if let Some((saved, model)) = &mut saved {
        let with = (model, saved.sha256.as_str());
        crate::evaluate::choose(with, (&samples, SetInputs::Images(&pool)), args.precision, &machine, &ui)?;
    }
    let task = saved.as_ref().map(|(_, model)| model.task);
    let numbers = matches!(task, Some(Task::Regression { .. }));
    anyhow::ensure!(
        !(numbers && (args.top.is_some() || args.threshold.is_some())),
        "--top is for classes and labels, and so is --threshold, and this model says numbers"
    );
    let (classes, rows) = match (saved, &args.backbone) {
        // Outputs of a regression are in units of its training set, which mean nothing to anyone.
        (Some((saved, model)), _) if args.raw && !numbers => {
            let runner = model.runner(0..model.stages(), tl_train::EVAL_BATCH, samples.len());
            let logits = |xs: &Tensor| Ok(model.classify(&runner.run(xs)?));
            let rows = outputs(&samples, (model.preprocess()?, device), &pool, logits)?;
            let classes = match model.task {
                // One output: how much more likely the second class is.
                Task::Binary => saved.classes[1..].to_vec(),
                _ => saved.classes,
            };
            (classes, rows)
        }
        (Some((saved, model)), _) => {
            ui.borrow_mut().start("predicting", samples.len() as u64, false);
            let rows = tl_train::predict(&model, &samples, &pool, args.looks(), &mut |done| {
                ui.borrow().at(done as u64);
            });
            ui.borrow_mut().stop();
            (saved.classes, rows?)
        }
        (None, backbone) => {
            let name = backbone.as_deref().unwrap_or_default();
            published((name, device), args, &samples, &pool, &ui)?
        }
    };
    let saying = Saying {
        names: &classes,
        task,
        raw: args.raw,
        top: args.top,
        threshold: args.threshold,
        key: "file",
    };
    let format = match args.format {
        _ if args.json => Format::Json,
        Some(format) => format,
        None if std::io::stdout().is_terminal() => Format::Table,
        None => Format::Lines,
    };
    ui::print(&saying.text(format, &samples, &rows)?)?;
    name_bad(&bad, &ui)
}

/// A saved model, at its temperature with `--calibrated`.
pub(crate) fn load(run: &Path, calibrated: bool, device: Device) -> anyhow::Result<(SavedModel, Model)> {
    let (saved, model) = SavedModel::load(run, device)?;
    if !calibrated {
        return Ok((saved, model));
    }
    let temperature = judge::calibration(run, &saved, model.task)?;
    Ok((saved, model.with_temperature(temperature)?))
}

/// What could be read was answered; what could not is named, and the exit code says so.
fn name_bad(bad: &[tl_data::BadImage], ui: &RefCell<Ui>) -> anyhow::Result<()> {
    for bad in bad {
        ui.borrow().line(&format!("error: image `{}` cannot be decoded: {}", bad.path.display(), bad.reason));
    }
    if bad.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
}

/// With the names on standard input, a line each, in the place of `-`.
pub(crate) fn with_stdin(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() != "-" {
            all.push(path.clone());
            continue;
        }
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .context("failed to read the list on standard input")?;
        all.extend(
            text.lines()
                .map(|line| line.trim_end_matches('\r'))
                .filter(|line| !line.is_empty())
                .map(PathBuf::from),
        );
    }
    anyhow::ensure!(!all.is_empty(), "the list on standard input is empty");
    Ok(all)
}

pub(crate) fn unlabelled(path: PathBuf) -> Sample {
    let rel = tl_data::folder::path_text(&path);
    Sample { path, label: 0, target: None, id: 0, rel }
}

/// The published classifier's answers.
fn published(
    (name, device): (&str, Device),
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
    let Loaded { backbone, classifier, classes, weights, .. } =
        chosen.load(card, true, (None, device), ui)?;
    let classifier = classifier.context("the net has no classifier")?;
    let names = match tl_backbones::class_names(classes) {
        Some(names) => names.into_iter().map(str::to_owned).collect(),
        None => (0..classes).map(|i| i.to_string()).collect(),
    };
    let preprocess = prepare::preprocess(weights.input, weights.input.size);
    let looks = args.looks();
    let rows = outputs(samples, (looks.preprocess(preprocess), device), pool, |xs| {
        let say = |xs: &Tensor| {
            let logits = tch::no_grad(|| classifier.forward(&backbone, &backbone.features(xs)));
            if args.raw { logits } else { logits.softmax(1, Kind::Float) }
        };
        let said: Vec<Tensor> = looks.of(xs, preprocess.input).iter().map(say).collect();
        Ok(Tensor::stack(&said, 0).mean_dim([0].as_slice(), false, Kind::Float))
    })?;
    Ok((names, rows))
}

/// What `net` says to each image.
fn outputs(
    samples: &Arc<[Sample]>,
    (preprocess, device): (Preprocess, Device),
    pool: &DataPool,
    net: impl Fn(&Tensor) -> anyhow::Result<Tensor>,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let options = LoaderOptions::in_order(samples.len(), tl_train::EVAL_BATCH);
    let mut rows = Vec::new();
    for batch in Loader::new(samples.clone(), View::Eval(preprocess), options, pool)? {
        let batch = batch?;
        let ys = net(&tl_train::batch_tensor(&batch, device))?;
        rows.extend((0..ys.size()[0]).map(|i| floats(&ys.get(i))));
    }
    Ok(rows)
}

pub(crate) fn floats(xs: &Tensor) -> Vec<f32> {
    let mut values = vec![0f32; xs.numel()];
    let n = values.len();
    xs.to_device(Device::Cpu).contiguous().copy_data(&mut values, n);
    values
}
