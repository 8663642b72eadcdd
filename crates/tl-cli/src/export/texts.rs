//! `tl export` of texts.
//!
//! The decision behind it: what a text becomes is the tokenizer's part, and that goes along: in a folder as a file, and with
//! a file of TorchScript or ONNX by its name and sha256, as it lies in the run.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tch::Device;
use tl_export::{About, Folder, Layout, Net, Transformers};
use tl_heads::{HeadSpec, Task};
use tl_text::{TokenOptions, Tokenizer};
use tl_torch::Fill;
use tl_train::{Model, NewHead, Pretrained, SavedModel};

use super::card::{self, For};
use super::{Exported, existing, licences, out, package, packed, recorded, settle};
use crate::args::{ExportArgs, ExportFormat};
use crate::texts;
use crate::ui::{self, Ui};

/// The most tokens of a text that a pretrained net is written for, where it takes more.
const USUAL_LENGTH: i64 = 512;

pub(super) fn trained(
    args: &ExportArgs,
    run: &Path,
    (saved, model): (&SavedModel, &Model),
    out: PathBuf,
) -> anyhow::Result<Exported> {
    let text = saved.text.as_ref().context("the model does not take texts")?;
    let tokenizer = texts::tokenizer_of(run, text)?;
    let mut net = match args.embeddings {
        true => Net::embeddings(model, saved.pretrained.clone(), &saved.version)?,
        false => Net::trained(saved, model, args.probabilities)?,
    };
    if let Some(input) = &mut net.about.text {
        input.tokenizer.clone_from(&text.tokenizer);
    }
    match args.format {
        ExportFormat::Torchscript | ExportFormat::Onnx => {
            let mut exported = recorded(args, &net, out)?;
            if let Some((name, _)) = text.tokenizer.first() {
                exported.notes.push(("tokenizer", ui::word(&run.join(name))));
            }
            Ok(exported)
        }
        ExportFormat::Safetensors => {
            anyhow::bail!(
                "--format safetensors is for images, in timm's names\n\nhint: --format transformers is for texts"
            )
        }
        ExportFormat::Transformers => {
            let (words, records) = (words(args, model)?, package::records(run)?);
            let (whom, readme) = (words.whom(&out), |whom| match args.embeddings {
                true => card::embeddings(&saved.backbone, &saved.pretrained, &whom),
                false => card::text((saved, model), records.as_ref(), whom),
            });
            let readme = readme(whom);
            written(args, words, (&net.about, &tokenizer), (readme, &saved.pretrained), &out)
        }
        ExportFormat::Package | ExportFormat::Zip => {
            anyhow::ensure!(
                !args.embeddings,
                "--embeddings is not for packages\n\nhint: a package holds the whole model"
            );
            let try_it = format!("tl predict {} TEXT…", ui::word(&out));
            packed(args, run, (saved, model, &net.about), (&out, try_it))
        }
    }
}

/// A pretrained net and the pooling that goes with it.
pub(super) fn published(args: &ExportArgs, name: &str, ui: &RefCell<Ui>) -> anyhow::Result<Exported> {
    anyhow::ensure!(
        !args.probabilities,
        "--probabilities is for models with a head, and `{name}` has none\n\nhint: leave it out for embeddings"
    );
    anyhow::ensure!(
        !matches!(args.format, ExportFormat::Package | ExportFormat::Zip | ExportFormat::Safetensors),
        "--format {} is for a run\n\n\
         hint: a pretrained net of texts can be written as torchscript, onnx or transformers",
        args.format.word()
    );
    let net = texts::find(name)?;
    let fetched = net.fetch(args.weights.as_deref().unwrap_or_default(), ui)?;
    let most = net.config.max_tokens().unwrap_or(USUAL_LENGTH).min(USUAL_LENGTH);
    let max_length = usize::try_from(most).unwrap_or(1);
    let tokenizer = fetched.tokenizer(TokenOptions { max_length, special_tokens: true })?;
    fetched.check_vocabulary(&tokenizer, &net.config)?;
    // Of the head only the pooling is used.
    let head = NewHead {
        spec: HeadSpec::from(net.pool),
        task: Task::Regression { targets: 1 },
        dropout: 0.0,
        fill: Fill::Seed(0),
    };
    let backbone = net.load(&fetched, Device::Cpu)?;
    let model = Model::for_texts(backbone, head, vec!["none".to_owned()], max_length, Device::Cpu)?;
    let pretrained = fetched.pretrained(&net);
    let mut leaving = Net::embeddings(&model, pretrained.clone(), env!("CARGO_PKG_VERSION"))?;
    let files = fetched.tokenizer_files.iter();
    let files: Vec<_> = files.map(|file| (file.name.clone(), file.sha256.clone())).collect();
    if let Some(input) = &mut leaving.about.text {
        input.tokenizer = files;
    }
    let short = name.rsplit('/').next().unwrap_or(name);
    let out = out(args, short)?;
    if args.format != ExportFormat::Transformers {
        let mut exported = recorded(args, &leaving, out)?;
        if let Some(file) = fetched.tokenizer_files.first() {
            exported.notes.push(("tokenizer", ui::word(&file.path)));
        }
        return Ok(exported);
    }
    let words = Words::of(Transformers::embeddings(&model)?, true);
    let readme = card::embeddings(&net.name, &pretrained, &words.whom(&out));
    written(args, words, (&leaving.about, &tokenizer), (readme, &pretrained), &out)
}

/// A model in the words of others, and what is said of it.
struct Words {
    model: Transformers,
    embeddings: bool,
}

fn words(args: &ExportArgs, model: &Model) -> anyhow::Result<Words> {
    let made = if args.embeddings { Transformers::embeddings(model)? } else { Transformers::of(model)? };
    Ok(Words::of(made, args.embeddings))
}

impl Words {
    fn of(model: Transformers, embeddings: bool) -> Self {
        Self { model, embeddings }
    }

    /// What loads it, in one line.
    fn try_it(&self, out: &Path) -> String {
        let place = out.display();
        match self.model.layout {
            Layout::Sequence => format!("transformers.pipeline(\"text-classification\", \"{place}\")"),
            Layout::Token => format!("transformers.pipeline(\"token-classification\", \"{place}\")"),
            Layout::Sentence => {
                format!(
                    "sentence_transformers.SentenceTransformer(\"{place}\", device=\"cpu\").encode([\"A text.\"])"
                )
            }
        }
    }

    /// What has to be known of it.
    fn note(&self) -> Option<&'static str> {
        match self.model.layout {
            _ if self.model.passes_on => Some(
                "the class of transformers has one dense layer more than the model; it is filled so that it passes on what \
                 the classes need, and is good for use in f32 or bf16, not to be trained on",
            ),
            Layout::Sentence if !self.embeddings => Some(
                "transformers has no class with this pooling and head, so these are modules of sentence-transformers: what \
                 `encode` returns are the outputs of the model, in the order of id2label in config.json",
            ),
            _ => None,
        }
    }

    fn whom(&self, out: &Path) -> For {
        let name = out.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned());
        let call = self.try_it(Path::new(&name));
        let library = match self.model.layout {
            Layout::Sentence => "sentence-transformers",
            _ => "transformers",
        };
        let module = library.replace('-', "_");
        let notes = self.note().map_or_else(String::new, |note| {
            let (first, rest) = note.split_at(1);
            format!("\n{}{rest}.\n", first.to_uppercase())
        });
        For::Python { library, lines: format!("import {module}\n{call}"), notes }
    }
}

/// The folder.
fn written(
    args: &ExportArgs,
    words: Words,
    (about, tokenizer): (&About, &Tokenizer),
    (readme, pretrained): (String, &Pretrained),
    out: &Path,
) -> anyhow::Result<Exported> {
    let mut folder = Folder::begin(out, existing(args))?;
    words.model.write(about, &tokenizer.to_json()?, &mut folder)?;
    folder.add_text("LICENCE.txt", &licences::text(&about.backbone, pretrained))?;
    folder.add_text("README.md", &readme)?;
    let mut notes = vec![("class", words.model.architecture.clone())];
    notes.extend(words.note().map(|note| ("note", note.to_owned())));
    let files = settle(folder, out)?;
    Ok(Exported { about: about.clone(), files, difference: None, notes, try_it: words.try_it(out) })
}
