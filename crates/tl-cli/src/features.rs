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
use tl_backbones::{Backbone, Mode};
use tl_data::{DataPool, Loader, LoaderOptions, Preprocess, Sample, View};
use tl_heads::{Head, HeadSpec};
use tl_torch::Fill;
use tl_train::SavedModel;
use tl_weights::TensorWriter;

use crate::args::FeaturesArgs;
use crate::dataset;
use crate::errors::Exit;
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::machine;
use crate::predict::{floats, unlabelled};
use crate::prepare;
use crate::ui::{self, Ui};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Safetensors,
}

/// A net up to the stage whose output is wanted.
struct Tap {
    backbone: Backbone,
    preprocess: Preprocess,
    /// Stages that run.
    level: usize,
    /// Of which only the pooling is used; none for output as it is.
    pool: Option<Head>,
    /// Of one image's output.
    shape: Vec<i64>,
}

pub(crate) fn run(args: &FeaturesArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let machine = machine::set_up(&args.threads)?;
    let format = format(&args.out)?;
    let list = names_file(&args.out, format);
    for path in [Some(&args.out), list.as_ref()].into_iter().flatten() {
        anyhow::ensure!(!path.exists(), "`{}` exists\n\nhint: give another name with --out", path.display());
    }
    let (run, images) = match (&args.backbone, &args.paths[..]) {
        (Some(_), images) => (None, images),
        (None, [run, images @ ..]) if !images.is_empty() => (Some(run), images),
        _ => anyhow::bail!(
            "expected a run directory and at least one image or folder\n\n\
             hint: `tl features RUN IMAGE… --out FILE`, or `tl features --backbone NAME IMAGE… --out FILE`"
        ),
    };
    let paths = dataset::list(images)?;
    let tap = tap(args, run.map(PathBuf::as_path), &ui)?;
    let pool = DataPool::new(machine.data_threads)?;
    let samples: Vec<Sample> = paths.into_iter().map(unlabelled).collect();
    let bad = prepare::check_images(&samples, &pool, &ui);
    prepare::refuse_bad(&bad, Path::new(""), args.skip_bad)?;
    for bad in &bad {
        ui.borrow().line(&format!("warning: left out {}: {}", bad.path.display(), bad.reason));
    }
    let samples = prepare::good(samples, &bad);
    anyhow::ensure!(!samples.is_empty(), "none of the images can be decoded");

    let mut shape = vec![samples.len()];
    shape.extend(tap.shape.iter().map(|&n| n as usize));
    let names: Vec<&str> = samples.iter().map(|sample| sample.rel.as_str()).collect();
    let mut writer = match format {
        Format::Npy => TensorWriter::npy(&args.out, &shape)?,
        Format::Safetensors => {
            let files = serde_json::to_string(&names)?;
            let about = [("files", files), ("backbone", tap.backbone.card.name.to_owned())];
            let metadata: BTreeMap<String, String> = about.map(|(k, v)| (k.to_owned(), v)).into();
            TensorWriter::safetensors(&args.out, "features", &shape, Vec::new(), &metadata)?
        }
    };
    // From here on there is a temporary file that has to go.
    interrupt.be_graceful();
    let stage = tap.backbone.stages[tap.level - 1].name;
    let (n, each) = (samples.len(), &shape[1..]);
    ui.borrow()
        .line(&format!("features   {n} images, {} after {stage}, {each:?} each", tap.backbone.card.name));
    let rows = write_rows(&tap, &samples, &pool, &mut writer, interrupt, &ui);
    ui.borrow_mut().stop();
    rows?;
    let written = writer.finish()?;
    if let Some(list) = &list {
        tl_fetch::write_whole(list, (names.join("\n") + "\n").as_bytes())?;
    }
    if args.json {
        let report = json!({ "file": args.out, "shape": shape, "bytes": written.bytes, "sha256": written.sha256,
            "backbone": tap.backbone.card.name, "files": list });
        return ui::print(&(serde_json::to_string_pretty(&report)? + "\n"));
    }
    let beside = list.map_or("names of the images in its metadata".to_owned(), |list| {
        format!("names of the images in {}", list.display())
    });
    ui::print(&format!("{} {shape:?} float32, {}; {beside}\n", args.out.display(), ui::bytes(written.bytes)))
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
fn tap(args: &FeaturesArgs, run: Option<&Path>, ui: &RefCell<Ui>) -> anyhow::Result<Tap> {
    let (backbone, mut preprocess, pooling) = match run {
        Some(run) => {
            let (_, model) = SavedModel::load(run, Device::Cpu)?;
            (model.backbone, model.preprocess, HeadSpec::from(model.head.spec.pool))
        }
        None => {
            let card = tl_backbones::find(args.backbone.as_deref().unwrap_or_default())?;
            let chosen = prepare::weights(card, args.weights.as_deref().unwrap_or(""), ui)?;
            let loaded = chosen.load(card, false, args.partial_weights.then_some(0), ui)?;
            let input = loaded.weights.input;
            (loaded.backbone, prepare::preprocess(input, input.size), prepare::default_head(card))
        }
    };
    if let Some(size) = args.image_size {
        backbone.card.check_size(size)?;
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
    let observed = backbone.observe(preprocess.input);
    // Below the last stage features come as they are, unless pooling is asked for.
    let pooled = !args.raw && (level == backbone.stages.len() || args.pool.is_some());
    let features = tl_train::features(&backbone, &observed, level);
    let place = (Device::Cpu, Fill::Later);
    let pool = pooled.then(|| Head::new(pooling, features, 1, 0.0, place)).transpose()?;
    let shape = match &pool {
        Some(head) => vec![head.pooled_width()],
        None => observed.shapes[level].clone(),
    };
    Ok(Tap { backbone, preprocess, level, pool, shape })
}

/// The number of stages up to the one of that name.
fn level(backbone: &Backbone, stage: Option<&str>) -> anyhow::Result<usize> {
    let Some(name) = stage else { return Ok(backbone.stages.len()) };
    let known = || backbone.stages.iter().map(|stage| stage.name).collect::<Vec<_>>().join(", ");
    let found = backbone.stage_idx(name).with_context(|| {
        format!("`{}` has no stage `{name}`\n\nhint: it has {}", backbone.card.name, known())
    })?;
    Ok(found + 1)
}

impl Tap {
    /// # Shapes
    /// `[N, 3, H, W]` to `[N, …]`, each row as [`Tap::shape`] says.
    fn rows(&self, xs: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let ys = self.backbone.forward(xs, 0..self.level, |_| Mode::EVAL);
            match &self.pool {
                None => ys,
                Some(head) if self.level == self.backbone.stages.len() => {
                    tl_train::pool(&self.backbone, head, &ys)
                }
                // What the net has between pooling and head was made for the last stage.
                Some(head) => head.pool(&ys),
            }
        })
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
    let options = LoaderOptions::in_order(samples.len(), tl_train::EVAL_BATCH);
    let mut done = 0;
    for batch in Loader::new(samples.clone(), View::Eval(tap.preprocess), options, pool)? {
        let batch = batch?;
        if interrupt.stop.load(Ordering::SeqCst) {
            return Err(Exit(EXIT_CODE).into());
        }
        writer.write(&floats(&tap.rows(&tl_train::batch_tensor(&batch, Device::Cpu))))?;
        done += batch.labels.len() as u64;
        ui.borrow().at(done);
    }
    Ok(())
}
