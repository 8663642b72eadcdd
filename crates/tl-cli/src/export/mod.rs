//! `tl export`: a model for use elsewhere.
//!
//! The decision behind it: what is written says itself how to use it, so every format carries the same description
//! (`tl_export::About`), and what is printed is read from that.

mod card;
mod licences;
mod package;
mod texts;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use tch::Device;
use tl_data::{Interpolation, Preprocess};
use tl_export::{About, Existing, Folder, Net, Outputs, Timm, Transformers};
use tl_train::{Model, SavedModel};
use tl_weights::Written;

use crate::args::{ExportArgs, ExportFormat};
use crate::machine;
use crate::output;
use crate::prepare;
use crate::ui::{self, Ui};

/// What was written.
struct Exported {
    about: About,
    files: Vec<(PathBuf, Written)>,
    /// How far the recording is from the net, where there is one.
    difference: Option<f64>,
    /// What else has to be known of it, by word.
    notes: Vec<(&'static str, String)>,
    /// How to load it.
    try_it: String,
}

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    machine::set_up_cpu(&args.threads)?;
    let script = matches!(args.format, ExportFormat::Torchscript | ExportFormat::Onnx);
    anyhow::ensure!(
        script || !args.probabilities,
        "--probabilities is for TorchScript and ONNX\n\nhint: --format {} holds no answers, only weights",
        args.format.word()
    );
    let exported = match (&args.run, &args.backbone) {
        (Some(run), _) => trained(args, run)?,
        (None, Some(name)) if crate::texts::is_text_net(name) => texts::published(args, name, &ui)?,
        (None, backbone) => published(args, backbone.as_deref().unwrap_or_default(), &ui)?,
    };
    if args.json {
        let files = exported
            .files
            .iter()
            .map(|(path, written)| json!({ "path": path, "bytes": written.bytes, "sha256": written.sha256 }));
        let report = json!({ "format": args.format.word(), "files": files.collect::<Vec<_>>(),
            "about": exported.about, "difference": exported.difference });
        return ui::print_json(&report);
    }
    ui::print_tables(&lines(&exported))
}

/// Where it goes.
fn out(args: &ExportArgs, name: &str) -> anyhow::Result<PathBuf> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}{}", args.format.ending())));
    output::place("--out", &out)?;
    Ok(out)
}

fn existing(args: &ExportArgs) -> Existing {
    if args.force { Existing::Replace } else { Existing::Keep }
}

fn trained(args: &ExportArgs, run: &Path) -> anyhow::Result<Exported> {
    let (saved, model) = crate::predict::load(run, args.calibrated, Device::Cpu)?;
    let out = out(args, &name_of(run))?;
    if saved.text.is_some() {
        return texts::trained(args, run, (&saved, &model), out);
    }
    only_texts(args)?;
    let net = Net::trained(&saved, &model, args.probabilities)?;
    match args.format {
        ExportFormat::Torchscript | ExportFormat::Onnx => recorded(args, &net, out),
        // It says that this is for texts.
        ExportFormat::Transformers => {
            Err(Transformers::of(&model).err().context("a model of images")?.into())
        }
        ExportFormat::Safetensors => timm(args, &net, (&saved, &model), out),
        ExportFormat::Package | ExportFormat::Zip => {
            let try_it = format!("tl predict {} IMAGE…", ui::word(&out));
            packed(args, run, (&saved, &model, &net.about), (&out, try_it))
        }
    }
}

/// A package, as a folder or in one file.
fn packed(
    args: &ExportArgs,
    run: &Path,
    (saved, model, about): (&SavedModel, &Model, &About),
    (out, try_it): (&Path, String),
) -> anyhow::Result<Exported> {
    let one = args.format == ExportFormat::Zip;
    let begin = if one { Folder::in_file } else { Folder::begin };
    let mut folder = begin(out, existing(args))?;
    package::fill(&mut folder, run, (saved, model, about))?;
    let files = if one { vec![(out.to_owned(), folder.zip()?)] } else { settle(folder, out)? };
    Ok(Exported { about: about.clone(), files, difference: None, notes: Vec::new(), try_it })
}

fn only_texts(args: &ExportArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        !args.embeddings,
        "--embeddings is for texts\n\nhint: `tl features` writes the pooled features of images"
    );
    Ok(())
}

fn published(args: &ExportArgs, name: &str, ui: &RefCell<Ui>) -> anyhow::Result<Exported> {
    anyhow::ensure!(
        matches!(args.format, ExportFormat::Torchscript | ExportFormat::Onnx),
        "--format {} is for a run\n\n\
         hint: a pretrained net can be written as torchscript or onnx; its weights are published as they are",
        args.format.word()
    );
    only_texts(args)?;
    let card = tl_backbones::find(name)?;
    if card.top.is_none() {
        return Err(tl_backbones::BackboneError::NoClassifier { backbone: card.name }.into());
    }
    let chosen = prepare::weights(card, args.weights.as_deref().unwrap_or(""), ui)?;
    let loaded = chosen.load(card, true, (None, Device::Cpu), ui)?;
    let names = match tl_backbones::class_names(loaded.classes) {
        Some(names) => names.into_iter().map(str::to_owned).collect(),
        None => (0..loaded.classes).map(|i| i.to_string()).collect(),
    };
    let input = loaded.weights.input;
    let preprocess = prepare::preprocess(input, input.size);
    let origin = (chosen.pretrained(), env!("CARGO_PKG_VERSION"));
    let net = Net::published((card, &loaded), (names, preprocess), origin, args.probabilities)?;
    recorded(args, &net, out(args, card.name)?)
}

/// TorchScript or ONNX.
fn recorded(args: &ExportArgs, net: &Net<'_>, out: PathBuf) -> anyhow::Result<Exported> {
    let existing = existing(args);
    // Before the work, not only after it.
    if existing == Existing::Keep && out.symlink_metadata().is_ok() {
        return Err(tl_export::ExportError::Exists { path: out }.into());
    }
    let recorded = net.record()?;
    let word = ui::word(&out);
    let (written, try_it) = match args.format {
        ExportFormat::Onnx => {
            (recorded.onnx(&out, existing)?, format!("onnxruntime.InferenceSession(\"{word}\")"))
        }
        _ => (recorded.torchscript(&out, existing)?, format!("torch.jit.load(\"{word}\")")),
    };
    let difference = Some(recorded.difference);
    let (files, notes) = (vec![(out, written)], Vec::new());
    Ok(Exported { about: net.about.clone(), files, difference, notes, try_it })
}

fn timm(
    args: &ExportArgs,
    net: &Net<'_>,
    (saved, model): (&SavedModel, &Model),
    out: PathBuf,
) -> anyhow::Result<Exported> {
    let timm = Timm::of(saved, model)?;
    let mut folder = Folder::begin(&out, existing(args))?;
    timm.write(net, &mut folder)?;
    let try_it = format!("timm.create_model(\"local-dir:{}\", pretrained=True)", out.display());
    let (files, notes) = (settle(folder, &out)?, Vec::new());
    Ok(Exported { about: net.about.clone(), files, difference: None, notes, try_it })
}

fn settle(folder: Folder, out: &Path) -> anyhow::Result<Vec<(PathBuf, Written)>> {
    Ok(folder.settle()?.into_iter().map(|(name, written)| (out.join(name), written)).collect())
}

/// The last part of a run's path, also of `.`.
fn name_of(run: &Path) -> String {
    let whole = run.canonicalize().unwrap_or_else(|_| run.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| "model".to_owned());
    name.strip_suffix(ExportFormat::Package.ending()).map_or(name.clone(), str::to_owned)
}

/// For a person.
fn lines(exported: &Exported) -> String {
    let Exported { about, files, difference, notes, try_it } = exported;
    let mut text = String::new();
    for (path, written) in files {
        text += &format!("{:10} {}, {}\n", "wrote", path.display(), ui::bytes(written.bytes));
    }
    if let Some(input) = &about.input {
        let [c, h, w] = input.shape;
        text += &format!("{:10} {} [N, {c}, {h}, {w}], {}\n", "input", input.dtype, input.channels);
    }
    if let Some(preprocess) = &about.preprocess {
        text += &format!("{:10} {}\n", "prepare", prepared(preprocess));
    }
    if let Some(input) = &about.text {
        let (inputs, most) = (input.inputs.join(", "), input.max_length);
        text += &format!("{:10} {inputs}: {} [N, T], T up to {most}\n", "input", input.dtype);
    }
    text += &format!("{:10} {}\n", "output", output(about));
    let from = &about.pretrained;
    text += &format!("{:10} {} (weights `{}`: {})\n", "licence", from.licence, from.name, from.source);
    if let Some(difference) = difference {
        let near = match *difference {
            0.0 => "equals the net".to_owned(),
            difference => format!("is within {difference:.0e} of the net"),
        };
        text += &format!("{:10} the recording {near}\n", "checked");
    }
    for (word, note) in notes {
        text += &format!("{word:10} {note}\n");
    }
    text + &format!("{:10} {try_it}\n", "try it")
}

/// How an image becomes input, in words.
fn prepared(preprocess: &Preprocess) -> String {
    let Preprocess { input, resize, interpolation, mean, std } = preprocess;
    let filter = match interpolation {
        Interpolation::Nearest => "nearest",
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    };
    format!(
        "short side to {resize} ({filter}), centre {input} x {input}, to 0..1, minus {mean:?}, by {std:?}"
    )
}

fn output(about: &About) -> String {
    let n = about.classes.len();
    let things = things(&about.task);
    match about.outputs {
        Outputs::Embeddings => "pooled features, a vector for each text".to_owned(),
        Outputs::Numbers => format!("{n} {things} in their own units"),
        outputs => format!("{} of {n} {things}", outputs.name()),
    }
}

/// What a model of that task answers about.
fn things(task: &str) -> &'static str {
    match task.split_once('-').map_or(task, |(_, does)| does) {
        "multi-label-classification" => "labels",
        "regression" => "numbers",
        _ => "classes",
    }
}

/// A file of the run as text.
fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}
