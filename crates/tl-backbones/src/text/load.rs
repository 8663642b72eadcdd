//! Published weights into a text net.
//!
//! The decision: loading is as strict as for images. What belongs to the nets that transformers puts around an encoder
//! (poolers, heads of pretraining and of tasks, a decoder) is known by name, is set aside, and is listed; whatever else
//! is left over, or missing, is an error.

use std::cell::RefCell;
use std::path::Path;

use tch::{Device, Tensor};
use tl_torch::{Fill, ParamStore};
use tl_weights::{Expected, Matched, Rename, WeightFile};

use super::config::{Family, TextConfig};
use crate::backbone::Backbone;
use crate::error::BackboneError;
use crate::layers::Act;
use crate::load::copy;

/// A text net with its weights.
#[derive(Debug)]
pub struct LoadedText {
    /// The net.
    pub backbone: Backbone,
    /// The pretrained dense layer on the first token, where the file has one.
    pub pooler: Option<Pooler>,
    /// Tensors of the file that belong to heads and decoders, and were set aside.
    pub set_aside: Vec<String>,
    /// How the rest fits.
    pub matched: Matched,
}

/// A pretrained dense layer on the first token. It is the layer of a head `cls-WIDTH-ACTIVATION`.
#[derive(Debug)]
pub struct Pooler {
    /// `[width, width]`.
    pub weight: Tensor,
    /// `[width]`.
    pub bias: Tensor,
    /// What comes behind it.
    pub act: Act,
}

impl Pooler {
    /// Reads the pooler out of a file of weights; none if it has none of the right shape. It is the one of BERT, ALBERT and
    /// RoBERTa (Devlin et al. 2018, with a hyperbolic tangent), or the dense layer with which the classifiers of RoBERTa,
    /// ELECTRA (a GELU) and DistilBERT (a ReLU) begin.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(config: &TextConfig, path: &Path) -> Result<Option<Self>, BackboneError> {
        Self::find(config, &WeightFile::open(path)?)
    }

    fn find(config: &TextConfig, file: &WeightFile) -> Result<Option<Self>, BackboneError> {
        let layers: &[(&str, Act)] = match config.family {
            Family::Bert => &[("pooler.dense", Act::Tanh)],
            // A classifier that was trained knows more than the pooler beside it, which was not.
            Family::Roberta | Family::XlmRoberta | Family::Camembert => {
                &[("classifier.dense", Act::Tanh), ("pooler.dense", Act::Tanh)]
            }
            Family::Electra => &[("classifier.dense", Act::Gelu)],
            Family::DistilBert => &[("pre_classifier", Act::Relu)],
            Family::Albert => &[("pooler", Act::Tanh)],
            Family::Gpt2 | Family::T5 | Family::Mt5 => &[],
        };
        let read = |layer: &str, end: &str, shape: &[i64]| -> Result<Option<Tensor>, BackboneError> {
            let wanted = format!("{layer}.{end}");
            let Some(name) = file.names().find(|name| plain_name(config.family, name) == wanted) else {
                return Ok(None);
            };
            let fits = file
                .info(name)
                .is_some_and(|info| info.shape.iter().map(|&n| n as i64).eq(shape.iter().copied()));
            Ok(if fits { Some(Tensor::from_slice(&file.read_f32(name)?).view(shape)) } else { None })
        };
        let width = config.width;
        for &(layer, act) in layers {
            let weight = read(layer, "weight", &[width, width])?;
            if let (Some(weight), Some(bias)) = (weight, read(layer, "bias", &[width])?) {
                return Ok(Some(Self { weight, bias, act }));
            }
        }
        Ok(None)
    }
}

impl Backbone {
    /// Builds the text net with the weights in `path`, safetensors or `.bin`, named as transformers names them: with or
    /// without the name of the net before, with or without its heads.
    ///
    /// # Errors
    /// Unreadable file; missing, extra or misshapen tensors, all named.
    pub fn load_text(
        name: &str,
        config: &TextConfig,
        path: &Path,
        device: Device,
    ) -> Result<LoadedText, BackboneError> {
        let file = WeightFile::open(path)?;
        // Shapes alone first: a wrong configuration may describe a net that is larger than the memory.
        let shapes = Self::text(name, config, device, Fill::Shapes)?;
        let (matched, set_aside) = match_file(config.family, &shapes.store, &file);
        if !matched.is_full() {
            let (path, report) = (path.to_owned(), matched.to_string());
            return Err(BackboneError::Misfit { path, backbone: name.to_owned(), report });
        }
        let backbone = Self::text(name, config, device, Fill::Later)?;
        for (name, file_name) in &matched.applied {
            copy(&backbone.store, name, &file, file_name)?;
        }
        let pooler = Pooler::find(config, &file)?;
        Ok(LoadedText { backbone, pooler, set_aside, matched })
    }
}

fn match_file(family: Family, store: &ParamStore, file: &WeightFile) -> (Matched, Vec<String>) {
    let shapes: Vec<Vec<usize>> =
        store.iter().map(|param| param.tensor.size().iter().map(|&n| n as usize).collect()).collect();
    let expected: Vec<Expected<'_>> =
        store.iter().zip(&shapes).map(|(param, shape)| Expected { name: &param.name, shape }).collect();
    let set_aside = RefCell::new(Vec::new());
    let alone = !file.names().any(|name| name == "shared.weight");
    let matched = tl_weights::match_names(&expected, file, &|name| {
        let plain = plain_name(family, name);
        if belongs_to_a_head(family, &plain) {
            set_aside.borrow_mut().push(name.to_owned());
            return Rename::Ignore;
        }
        match &*plain {
            // Numbers from 0 on, and triangles, that some versions save.
            "embeddings.position_ids" | "embeddings.token_type_ids" => Rename::Ignore,
            _ if family == Family::Gpt2
                && [".attn.bias", ".attn.masked_bias"].iter().any(|end| plain.ends_with(end)) =>
            {
                Rename::Ignore
            }
            // The table of T5 is saved once or twice.
            "encoder.embed_tokens.weight" if alone => Rename::To("shared.weight".to_owned()),
            "encoder.embed_tokens.weight" => Rename::Ignore,
            _ => Rename::To(plain),
        }
    });
    (matched, set_aside.into_inner())
}

/// Without what a net around it puts before its names, and in the words of today.
fn plain_name(family: Family, name: &str) -> String {
    let prefix = match family {
        Family::Bert => "bert.",
        Family::DistilBert => "distilbert.",
        Family::Roberta | Family::XlmRoberta | Family::Camembert => "roberta.",
        Family::Electra => "electra.",
        Family::Albert => "albert.",
        Family::Gpt2 | Family::T5 | Family::Mt5 => "transformer.",
    };
    let plain = name.strip_prefix(prefix).unwrap_or(name);
    let renamed = [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")];
    let renamed = renamed
        .iter()
        .find_map(|(old, new)| plain.strip_suffix(old).map(|rest| format!("{rest}LayerNorm.{new}")));
    renamed.unwrap_or_else(|| plain.to_owned())
}

/// Parts that nets for pretraining and for tasks have beside the encoder.
fn belongs_to_a_head(family: Family, name: &str) -> bool {
    const HEADS: [&str; 16] = [
        "pooler",
        "cls",
        "classifier",
        "qa_outputs",
        "lm_head",
        "pre_classifier",
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector",
        "generator_predictions",
        "generator_lm_head",
        "discriminator_predictions",
        "score",
        "multiple_choice_head",
        "predictions",
        "sop_classifier",
    ];
    let part = name.split('.').next().unwrap_or_default();
    let t5 = matches!(family, Family::T5 | Family::Mt5);
    HEADS.contains(&part) || (t5 && matches!(part, "decoder" | "classification_head"))
}
