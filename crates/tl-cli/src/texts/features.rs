//! `tl features` of texts: a vector for each, from a pretrained net or a run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;
use tch::{Device, Tensor};
use tl_heads::{Head, HeadSpec, Part, Pool, Task};
use tl_text::{TokenOptions, Tokenizer};
use tl_torch::Fill;
use tl_train::{Model, NewHead, Precision, SavedModel, SetInputs};
use tl_weights::TensorWriter;

use super::{MAX_LENGTH, find, tokenizer_of};
use crate::args::{FeaturesArgs, Pooling};
use crate::errors::Exit;
use crate::features::{Format, say_written};
use crate::interrupt::{EXIT_CODE, Interrupt};
use crate::output::fresh;
use crate::predict::floats;
use crate::ui::{self, Ui};

/// Whether a run has a model of texts.
pub(crate) fn is_text_run(run: &Path) -> bool {
    let about = std::fs::read(run.join("model.json")).ok();
    let about: Option<serde_json::Value> = about.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    about.is_some_and(|about| about.get("text").is_some())
}

pub(crate) fn run(
    args: &FeaturesArgs,
    (run, words): (Option<&Path>, &[PathBuf]),
    (format, device): (Format, Device),
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    refuse(args)?;
    let (mut model, tokenizer) = net(args, run, device, &ui)?;
    let (samples, encoded) = super::predict::given(words, &args.texts, &tokenizer)?;
    super::predict::say_cut(&encoded, &[], tokenizer.options().max_length, &ui);
    // What others compute with should not depend on the machine, unless that is asked for.
    let precision = args.precision.unwrap_or(Precision::F32);
    let inputs = SetInputs::Texts(&encoded);
    model.compute = tl_train::choose(&mut model, None, (&samples, inputs), precision)?.compute;
    let shape = [samples.len(), width(&model.head)];
    let names: Vec<String> = samples.iter().map(|sample| tl_data::shown(&sample.rel).to_string()).collect();
    let list = (format == Format::Npy).then(|| args.out.with_extension("texts.txt"));
    list.as_deref().map(|list| fresh("--out", list)).transpose()?;
    let net = model.backbone.name().to_owned();
    let mut writer = match format {
        Format::Npy => TensorWriter::npy(&args.out, &shape)?,
        Format::Safetensors => {
            let about = [("texts", serde_json::to_string(&names)?), ("backbone", net.clone())];
            let metadata: BTreeMap<String, String> = about.map(|(k, v)| (k.to_owned(), v)).into();
            TensorWriter::safetensors(&args.out, "features", &shape, Vec::new(), &metadata)?
        }
    };
    // From here on there is a temporary file that has to go.
    interrupt.be_graceful();
    ui.borrow().line(&format!("features   {} texts, {net}, {} values each", shape[0], shape[1]));
    ui.borrow_mut().start("features", shape[0] as u64, false);
    let stopped = || interrupt.stop.load(std::sync::atomic::Ordering::Relaxed);
    let rows = tl_train::embed_texts(&model, &encoded, &mut |done| {
        ui.borrow().at(done as u64);
        !stopped()
    });
    ui.borrow_mut().stop();
    let mut rows = rows?;
    if stopped() {
        return Err(Exit(EXIT_CODE).into());
    }
    if !model.head.spec.parts().is_empty() {
        rows = hidden(&model.head, &rows);
    }
    for mut row in rows {
        if args.normalize {
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            row.iter_mut().for_each(|value| *value /= norm);
        }
        writer.write(&row)?;
    }
    let written = writer.finish()?;
    if let Some(list) = &list {
        tl_fetch::write_whole(list, (names.join("\n") + "\n").as_bytes())?;
    }
    if args.json {
        let report = json!({ "file": args.out, "shape": shape, "bytes": written.bytes, "sha256": written.sha256,
            "backbone": net, "files": list });
        return ui::print_json(&report);
    }
    let beside = list.map_or("in its metadata".to_owned(), |list| format!("in {}", list.display()));
    say_written(&args.out, (&shape, written.bytes), ("the texts", &beside))
}

/// What is said of images.
fn refuse(args: &FeaturesArgs) -> anyhow::Result<()> {
    let given = [
        ("--stage", args.stage.is_some()),
        ("--raw", args.raw),
        ("--image-size", args.image_size.is_some()),
        ("--partial-weights", args.partial_weights),
        ("--skip-bad", args.skip_bad),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            anyhow::bail!("{flag} is for images, and the net takes texts\n\nhint: leave it out")
        }
        None => Ok(()),
    }
}

/// The net, with a head of which only the pooling is used, and its tokenizer.
fn net(
    args: &FeaturesArgs,
    run: Option<&Path>,
    device: Device,
    ui: &RefCell<Ui>,
) -> anyhow::Result<(Model, Tokenizer)> {
    let weights = args.weights.as_deref().unwrap_or_default();
    let mut published = None;
    let (backbone, tokenizer, usual) = match run {
        Some(run) => {
            let (saved, model) = SavedModel::load(run, device)?;
            let Some(text) = &saved.text else { anyhow::bail!("the model does not take texts") };
            let mut text = text.clone();
            text.max_length = args.max_length.unwrap_or(text.max_length);
            let tokenizer = tokenizer_of(run, &text)?;
            // A model of tags pools nothing; the mean over its tokens is a text's vector.
            let pool = match model.head.spec.pool {
                Pool::Tokens => Pool::Average,
                pool => pool,
            };
            (model.backbone, tokenizer, HeadSpec::from(pool))
        }
        None => {
            let net = find(args.backbone.as_deref().unwrap_or_default())?;
            let fetched = net.fetch(weights, ui)?;
            let most = net.config.max_tokens().and_then(|most| usize::try_from(most).ok());
            let max_length = args.max_length.unwrap_or(MAX_LENGTH.min(most.unwrap_or(usize::MAX)));
            let tokenizer = fetched.tokenizer(TokenOptions { max_length, special_tokens: true })?;
            fetched.check_vocabulary(&tokenizer, &net.config)?;
            let (backbone, usual) = (net.load(&fetched, device)?, net.pool.into());
            published = Some(net);
            (backbone, tokenizer, usual)
        }
    };
    let word = args.pool.as_deref().map(|word| Pooling::from_str(word, true).map_err(|_| word));
    let spec = match (&word, &published) {
        (None, _) => usual,
        (Some(Ok(Pooling::Pooler)), None) => anyhow::bail!(
            "--pool pooler is for a pretrained net; a run has its pooler in its head\n\nhint: --pool cls is what that is given"
        ),
        (Some(Ok(pooling)), Some(net)) => net.head(*pooling, weights)?,
        (Some(Ok(pooling)), None) => pooling.pool().into(),
        (Some(Err(text)), _) => {
            let spec = text.parse::<HeadSpec>()?;
            anyhow::ensure!(
                spec.parts().is_empty(),
                "--pool is `{spec}`, expected pooling and nothing behind it"
            );
            spec
        }
    };
    let pooler = !spec.parts().is_empty();
    let head = NewHead { spec, task: Task::Binary, dropout: 0.0, fill: Fill::Later };
    let names = ["0", "1"].map(str::to_owned).to_vec();
    let max_length = tokenizer.options().max_length;
    let model = Model::for_texts(backbone, head, names, max_length, device)?;
    if let Some(net) = published.filter(|_| pooler) {
        net.put_pooler(weights, &model.head.store)?;
    }
    Ok((model, tokenizer))
}

/// Values of a vector.
fn width(head: &Head) -> usize {
    let last = head.spec.parts().iter().rev().find_map(|part| match part {
        Part::Dense { width, .. } => Some(*width),
        Part::BatchNorm | Part::Dropout(_) => None,
    });
    last.unwrap_or(head.pooled_width()) as usize
}

/// Rows behind the layers that a head has before its last.
fn hidden(head: &Head, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
    const ROWS: usize = 1024;
    let device = head.store.iter().next().map_or(Device::Cpu, |param| param.tensor.device());
    let some = |rows: &[Vec<f32>]| {
        let xs = Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1]).to_device(device);
        let ys = tch::no_grad(|| head.hidden(&xs));
        let width = ys.size().last().map_or(1, |&width| width as usize);
        floats(&ys).chunks(width).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    rows.chunks(ROWS).flat_map(some).collect()
}
