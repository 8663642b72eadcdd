//! `tl features`: what a net makes of images, written to a file for use elsewhere.
//!
//! Rows are written as they are computed, so that the file may be larger than memory, and it appears only when it is
//! whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context;
use serde_json::json;
use tch::{Device, Tensor};
use tl_backbones::Backbone;
use tl_data::{DataPool, Loader, LoaderOptions, Sample, View};
use tl_heads::{Head, HeadSpec, Task};
use tl_torch::Fill;
use tl_train::{EVAL_BATCH, Model, NewHead, Precision, SavedModel, SetInputs, TrainError};
use tl_weights::TensorWriter;

use crate::args::FeaturesArgs;
use crate::dataset;
use crate::errors::Exit;
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::machine;
use crate::output::fresh;
use crate::predict::{floats, unlabelled};
use crate::prepare;
use crate::texts;
use crate::ui::{self, Ui};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Npy,
    Safetensors,
}

/// A net up to the stage whose output is wanted.
struct Tap {
    /// Of its head only the pooling is used.
    model: Model,
    /// Stages that run.
    level: usize,
    take: Take,
    /// Of one image's output.
    shape: Vec<i64>,
}

/// What is taken of the output.
enum Take {
    /// Features as the head of a model gets them.
    Pooled,
    /// The output of a stage, pooled.
    StagePooled(Box<Head>),
    /// The output of a stage.
    Stage,
}

pub(crate) fn run(args: &FeaturesArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let device = machine::device(&machine);
    let format = format(&args.out)?;
    let list = names_file(&args.out, format);
    for path in [Some(&args.out), list.as_ref()].into_iter().flatten() {
        fresh("--out", path)?;
    }
    let (run, images) = match (&args.backbone, &args.paths[..]) {
        (Some(_), images) => (None, images),
        (None, [run, images @ ..]) if !images.is_empty() => (Some(run), images),
        _ => anyhow::bail!(
            "expected a run directory and at least one image or folder\n\n\
             hint: `tl features RUN IMAGE… --out FILE`, or `tl features --backbone NAME IMAGE… --out FILE`"
        ),
    };
    let named = args.backbone.as_deref().is_some_and(texts::is_text_net);
    if named || run.is_some_and(|run| texts::is_text_run(run)) {
        return texts::features(args, (run.map(PathBuf::as_path), images), (format, device), interrupt);
    }
    anyhow::ensure!(!args.normalize, "--normalize is for texts");
    let paths = dataset::list(images)?;
    let mut tap = tap(args, run.map(PathBuf::as_path), device, &ui)?;
    let pool = DataPool::new(machine.data_threads)?;
    let samples: Vec<Sample> = paths.into_iter().map(unlabelled).collect();
    let bad = prepare::check_images(&samples, &pool, &ui);
    prepare::refuse_bad(&bad, Path::new(""), args.skip_bad)?;
    for bad in &bad {
        ui.borrow().line(&format!("warning: left out {}: {}", bad.path.display(), bad.reason));
    }
    let samples = prepare::good(samples, &bad);
    anyhow::ensure!(!samples.is_empty(), "none of the images can be decoded");
    // What others compute with should not depend on the machine, unless that is asked for.
    let precision = args.precision.unwrap_or(Precision::F32);
    tap.model.compute =
        tl_train::choose(&mut tap.model, None, (&samples, SetInputs::Images(&pool)), precision)?.compute;

    let mut shape = vec![samples.len()];
    shape.extend(tap.shape.iter().map(|&n| n as usize));
    let names: Vec<&str> = samples.iter().map(|sample| sample.rel.as_str()).collect();
    let mut writer = match format {
        Format::Npy => TensorWriter::npy(&args.out, &shape)?,
        Format::Safetensors => {
            let files = serde_json::to_string(&names)?;
            let about = [("files", files), ("backbone", tap.model.backbone.name().to_owned())];
            let metadata: BTreeMap<String, String> = about.map(|(k, v)| (k.to_owned(), v)).into();
            TensorWriter::safetensors(&args.out, "features", &shape, Vec::new(), &metadata)?
        }
    };
    // From here on there is a temporary file that has to go.
    interrupt.be_graceful();
    let stage = &tap.model.backbone.stages[tap.level - 1].name;
    let (n, each) = (samples.len(), &shape[1..]);
    ui.borrow()
        .line(&format!("features   {n} images, {} after {stage}, {each:?} each", tap.model.backbone.name()));
    let rows = write_rows(&tap, &samples, &pool, &mut writer, interrupt, &ui);
    ui.borrow_mut().stop();
    rows?;
    let written = writer.finish()?;
    if let Some(list) = &list {
        tl_fetch::write_whole(list, (names.join("\n") + "\n").as_bytes())?;
    }
    if args.json {
        let report = json!({ "file": args.out, "shape": shape, "bytes": written.bytes, "sha256": written.sha256,
            "backbone": tap.model.backbone.name(), "files": list });
        return ui::print_json(&report);
    }
    let beside = list.map_or("in its metadata".to_owned(), |list| format!("in {}", list.display()));
    say_written(&args.out, (&shape, written.bytes), ("names of the images", &beside))
}

/// What was written for a person.
pub(crate) fn say_written(
    out: &Path,
    (shape, bytes): (&[usize], u64),
    (what, place): (&str, &str),
) -> anyhow::Result<()> {
    let (out, bytes) = (out.display(), ui::bytes(bytes));
    ui::print_tables(&format!("wrote      {out}: {shape:?} float32, {bytes}\n           {what} {place}\n"))
}

fn format(out: &Path) -> anyhow::Result<Format> {
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(Format::Npy),
        Some("safetensors") => Ok(Format::Safetensors),
        _ => anyhow::bail!("--out is `{}`, expected a name in .npy or .safetensors", out.display()),
    }
}

/// The list of images beside a format that has no room for it.
fn names_file(out: &Path, format: Format) -> Option<PathBuf> {
    (format == Format::Npy).then(|| out.with_extension("files.txt"))
}

/// The net, with a head of which only the pooling is used.
fn tap(args: &FeaturesArgs, run: Option<&Path>, device: Device, ui: &RefCell<Ui>) -> anyhow::Result<Tap> {
    let (backbone, mut preprocess, pooling) = match run {
        Some(run) => {
            let (_, model) = SavedModel::load(run, device)?;
            let preprocess = model.preprocess()?;
            (model.backbone, preprocess, HeadSpec::from(model.head.spec.pool))
        }
        None => {
            let card = tl_backbones::find(args.backbone.as_deref().unwrap_or_default())?;
            let chosen = prepare::weights(card, args.weights.as_deref().unwrap_or(""), ui)?;
            let loaded = chosen.load(card, false, (args.partial_weights.then_some(0), device), ui)?;
            let input = loaded.weights.input;
            (loaded.backbone, prepare::preprocess(input, input.size), prepare::default_head(card))
        }
    };
    if let Some(size) = args.image_size {
        backbone.check_size(size)?;
        preprocess = preprocess.scaled_to(size);
    }
    let level = level(&backbone, args.stage.as_deref())?;
    let pooling = match &args.pool {
        Some(text) => text.parse::<HeadSpec>()?,
        None => pooling,
    };
    anyhow::ensure!(
        pooling.parts().is_empty(),
        "--pool is `{pooling}`, expected pooling and nothing behind it"
    );
    let place = (device, Fill::Later);
    let last = level == backbone.stages.len();
    let head = NewHead { spec: pooling.clone(), task: Task::Binary, dropout: 0.0, fill: Fill::Later };
    let names = ["0", "1"].map(str::to_owned).to_vec();
    let model = Model::new(backbone, head, names, preprocess, device)?;
    // Below the last stage features come as they are, unless pooling is asked for.
    let take = match (args.raw, last, &args.pool) {
        (false, true, _) => Take::Pooled,
        (false, false, Some(_)) => {
            let features = tl_train::features(&model.backbone, &model.observed, level);
            Take::StagePooled(Box::new(Head::new(pooling, features, 1, 0.0, place)?))
        }
        _ => Take::Stage,
    };
    let shape = match &take {
        Take::Pooled => vec![model.head.pooled_width()],
        Take::StagePooled(head) => vec![head.pooled_width()],
        Take::Stage => model.observed.shapes[level].clone(),
    };
    Ok(Tap { model, level, take, shape })
}

/// The number of stages up to the one of that name.
fn level(backbone: &Backbone, stage: Option<&str>) -> anyhow::Result<usize> {
    let Some(name) = stage else { return Ok(backbone.stages.len()) };
    let known = || backbone.stages.iter().map(|stage| &*stage.name).collect::<Vec<_>>().join(", ");
    let found = backbone.stage_idx(name).with_context(|| {
        format!("`{}` has no stage `{name}`\n\nhint: it has {}", backbone.name(), known())
    })?;
    Ok(found + 1)
}

impl Tap {
    /// What computes rows for `images` images in all.
    ///
    /// # Shapes
    /// `[N, 3, H, W]` to `[N, …]`, each row as [`Tap::shape`] says.
    fn rows(&self, images: usize) -> impl Fn(&Tensor) -> Result<Tensor, TrainError> {
        let Self { model, level, take, .. } = self;
        // The last level of a model is what its head gets.
        let raw = *level == model.stages() && !matches!(take, Take::Pooled);
        let runner = match raw {
            true => model.maps_runner(EVAL_BATCH),
            false => model.runner(0..*level, EVAL_BATCH, images),
        };
        move |xs| {
            let ys = runner.run(xs)?;
            Ok(match take {
                // What the net has between pooling and head was made for the last stage.
                Take::StagePooled(head) => tch::no_grad(|| head.pool(&ys)),
                Take::Pooled | Take::Stage => ys,
            })
        }
    }
}

fn write_rows(
    tap: &Tap,
    samples: &Arc<[Sample]>,
    pool: &DataPool,
    writer: &mut TensorWriter,
    interrupt: &Interrupt,
    ui: &RefCell<Ui>,
) -> anyhow::Result<()> {
    ui.borrow_mut().start("features", samples.len() as u64, false);
    let options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
    let (rows, mut done) = (tap.rows(samples.len()), 0);
    for batch in Loader::new(samples.clone(), View::Eval(tap.model.preprocess()?), options, pool)? {
        let batch = batch?;
        if interrupt.stop.load(Ordering::SeqCst) {
            return Err(Exit(EXIT_CODE).into());
        }
        writer.write(&floats(&rows(&tl_train::batch_tensor(&batch, tap.model.device))?))?;
        done += batch.labels.len() as u64;
        ui.borrow().at(done);
    }
    Ok(())
}
