//! What has to be known to use an exported net. The decision: every format carries the same description, and what is
//! printed is read from it.

use serde::{Deserialize, Serialize};
use tl_backbones::text::TextConfig;
use tl_data::Preprocess;
use tl_train::Pretrained;

/// Name of the description inside a TorchScript file, and its key among the metadata of an ONNX file.
pub const ABOUT: &str = "tl.json";
/// Name of the input of an ONNX net of images.
pub const INPUT: &str = "images";
/// Names of the inputs of nets of texts, as transformers has them.
pub(crate) const IDS: &str = "input_ids";
pub(crate) const MASK: &str = "attention_mask";
pub(crate) const TYPES: &str = "token_type_ids";

/// What the outputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outputs {
    /// As they come from the last layer: `[N, classes]`, `[N, labels]`, or `[N, 1]`, the log-odds of the second class.
    Logits,
    /// Of each class or label, `[N, classes]`.
    Probabilities,
    /// In their own units, `[N, numbers]`.
    Numbers,
    /// Pooled features of texts, which no head has seen, `[N, width]`.
    Embeddings,
}

impl Outputs {
    /// The name of the output of an ONNX net.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::Numbers => "numbers",
            Self::Embeddings => "embeddings",
        }
    }
}

/// What has to be known to use an exported net: `tl.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of this format.
    pub format: u32,
    /// What the model does: `image-classification`, `image-multi-label-classification` or `image-regression`; the same of
    /// `text`; or `text-embedding`.
    pub task: String,
    /// Name of the net.
    pub backbone: String,
    /// What the outputs are.
    pub outputs: Outputs,
    /// What the net divides its logits by before they become probabilities, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Names of what it answers about: classes in label order, labels, or numbers. With one output for two classes, the
    /// output is about the second.
    pub classes: Vec<String>,
    /// What the net takes, if that is images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// How an image becomes that: short side to `resize`, centre crop of `input`, values to 0..1, minus `mean`, by `std`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<Preprocess>,
    /// What the net takes, if that is texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextInput>,
    /// What the net started from, with the licence.
    pub pretrained: Pretrained,
    /// Version of the program that wrote it.
    pub version: String,
}

/// The input of a net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its dimensions in order, without their sizes.
    pub layout: String,
    /// What the channels are.
    pub channels: String,
    /// Type of its values.
    pub dtype: String,
    /// Sizes of the dimensions behind the first, which is the number of images: any.
    pub shape: [i64; 3],
}

impl Input {
    pub(crate) fn of(side: u32) -> Self {
        let side = i64::from(side);
        let [layout, channels, dtype] = ["NCHW", "RGB", "float32"].map(str::to_owned);
        Self { layout, channels, dtype, shape: [3, side, side] }
    }
}

/// What a net takes of texts: tokens, any number of them, with what fills up at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextInput {
    /// Its inputs in order, int64 `[N, T]`: `input_ids`, `attention_mask` (1 for what is real, 0 for what fills up) and,
    /// where the net tells segments apart, `token_type_ids`.
    pub inputs: Vec<String>,
    /// Type of their values.
    pub dtype: String,
    /// The most tokens of a text that the model was made for, special tokens counted.
    pub max_length: usize,
    /// The id that fills up.
    pub pad: i64,
    /// The tokenizer's files and the sha256 of each, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokenizer: Vec<(String, String)>,
}

impl TextInput {
    pub(crate) fn of(config: &TextConfig, max_length: usize, tokenizer: Vec<(String, String)>) -> Self {
        let segments = config.types > 1;
        let inputs = [(IDS, true), (MASK, true), (TYPES, segments)];
        let inputs = inputs.iter().filter(|(_, has)| *has).map(|(name, _)| (*name).to_owned()).collect();
        Self { inputs, dtype: "int64".to_owned(), max_length, pad: config.pad, tokenizer }
    }

    pub(crate) fn has_types(&self) -> bool {
        self.inputs.iter().any(|name| name == TYPES)
    }
}
