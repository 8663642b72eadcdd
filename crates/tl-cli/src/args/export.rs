//! The words of `tl export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ThreadArgs;

pub(super) const EXAMPLES: &str = "Examples:
  tl export runs/ants --format onnx                     ants.onnx, for onnxruntime and others
  tl export runs/ants --format torchscript --out net.pt --probabilities
  tl export runs/ants --format safetensors              ants-timm/, for timm.create_model(\"local-dir:ants-timm\", pretrained=True)
  tl export runs/ants --format package                  ants.tl/, for tl predict and tl evaluate, with a model card
  tl export runs/ants --format zip                      ants.zip, the same in one file
  tl export --backbone resnet50 --format onnx           the pretrained net with its own 1,000 classes
  tl export runs/reviews --format transformers          reviews-transformers/, for transformers.pipeline or sentence-transformers
  tl export runs/reviews --format onnx --embeddings     the vector of a text, which the head would get
  tl export --backbone minilm --format transformers     the pretrained net of texts, with its pooling

What was exported takes float32 [N, 3, S, S], any N, normalised as the file says: an extra file tl.json in TorchScript,
metadata tl.json in ONNX, a file tl.json in a folder. Of texts it takes int64 [N, T], any N and T, by the names of transformers:
input_ids, attention_mask and, where the net tells segments apart, token_type_ids.";

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Run directory, a folder with its model.json and model.safetensors, or a package; left out with --backbone
    #[arg(value_name = "RUN", required_unless_present = "backbone", conflicts_with = "backbone")]
    pub(crate) run: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: ExportFormat,
    /// File or folder to write [default: the name of the run or net, with .pt, .onnx, -timm, -transformers, .tl or .zip, here]
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// A pretrained net with its published classifier, or one of texts with its pooling, in place of a run
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<String>,
    /// Its weights: a name from `tl backbones`, or a file
    #[arg(long, value_name = "NAME|FILE", requires = "backbone")]
    pub(crate) weights: Option<String>,
    /// TorchScript and ONNX: the net says probabilities and not logits
    #[arg(long)]
    pub(crate) probabilities: bool,
    /// With --probabilities: at the temperature that the run fitted on its validation samples, see `tl predict --help`
    #[arg(long, requires = "probabilities", conflicts_with = "backbone")]
    pub(crate) calibrated: bool,
    /// Of texts: the pooled features, as `tl features` has them, in place of what the head makes of them
    #[arg(long, conflicts_with = "probabilities")]
    pub(crate) embeddings: bool,
    /// Replace files that are there. Of a folder only files of the same names are replaced
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print what was written as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a model is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One file for torch.jit.load in Python and libtorch in C++
    Torchscript,
    /// One file for onnxruntime and others, opset 17
    Onnx,
    /// A folder with model.safetensors and config.json, as timm reads it
    Safetensors,
    /// A folder with model.safetensors, config.json and tokenizer.json, as transformers reads it; of a head that it has
    /// not, the modules of sentence-transformers
    Transformers,
    /// A folder with everything to use the model here and to pass it on: model, classes, licence, model card
    Package,
    /// The same in one file, which `tl predict` and others take as it is
    Zip,
}

impl ExportFormat {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Torchscript => "torchscript",
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::Transformers => "transformers",
            Self::Package => "package",
            Self::Zip => "zip",
        }
    }

    /// What is put behind the name of a run or net.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Torchscript => ".pt",
            Self::Onnx => ".onnx",
            Self::Safetensors => "-timm",
            Self::Transformers => "-transformers",
            Self::Package => ".tl",
            Self::Zip => ".zip",
        }
    }
}
