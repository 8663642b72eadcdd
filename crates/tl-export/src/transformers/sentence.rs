//! The modules of sentence-transformers: the net, its pooling, and a dense layer for each of a head.
//!
//! The decision behind it: they are strung together, so that a head of any depth is one of them; what comes out at the
//! end are the outputs of the model, or, without a head, embeddings.

use serde_json::{Value, json};
use tch::Tensor;
use tl_heads::{Activation, Pool};
use tl_train::Model;

use super::head::{Layer, said};
use super::{CONFIG, TENSORS, refusal, tensors, text};
use crate::error::ExportError;
use crate::files::Folder;

/// A module behind the net, in its own folder.
#[derive(Debug)]
pub(super) struct Module {
    kind: &'static str,
    config: Value,
    tensors: Vec<(String, Tensor)>,
}

/// Pooling and the layers of a head.
pub(super) fn modules(model: &Model, layers: &[Layer]) -> Result<Vec<Module>, ExportError> {
    let mut modules = vec![pooling(model)?];
    for (i, layer) in layers.iter().enumerate() {
        let last = i + 1 == layers.len();
        modules.push(if last { dense(&said(model, layer)) } else { dense(layer) });
    }
    Ok(modules)
}

fn pooling(model: &Model) -> Result<Module, ExportError> {
    let pool = model.head.spec.pool;
    if matches!(pool, Pool::Gem | Pool::Flatten | Pool::Tokens) {
        let reason = format!("sentence-transformers has no pooling `{}`", pool.word());
        return Err(refusal(reason, super::OTHERWISE));
    }
    // Of several the maximum comes first, as here.
    let config = json!({
        "word_embedding_dimension": model.backbone.width(),
        "pooling_mode_cls_token": pool == Pool::Class,
        "pooling_mode_mean_tokens": matches!(pool, Pool::Average | Pool::Concat),
        "pooling_mode_max_tokens": matches!(pool, Pool::Max | Pool::Concat),
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "pooling_mode_lasttoken": pool == Pool::Last,
        "include_prompt": true,
    });
    Ok(Module { kind: "Pooling", config, tensors: Vec::new() })
}

fn dense(layer: &Layer) -> Module {
    let size = layer.weight.size();
    let activation = match layer.activation {
        Activation::None => "torch.nn.modules.linear.Identity",
        Activation::Relu => "torch.nn.modules.activation.ReLU",
        Activation::Gelu => "torch.nn.modules.activation.GELU",
        Activation::Silu => "torch.nn.modules.activation.SiLU",
        Activation::Tanh => "torch.nn.modules.activation.Tanh",
        Activation::Elu => "torch.nn.modules.activation.ELU",
        Activation::Leaky => "torch.nn.modules.activation.LeakyReLU",
    };
    let config = json!({
        "in_features": size[1], "out_features": size[0], "bias": true, "activation_function": activation,
    });
    let tensors = [("linear.weight", &layer.weight), ("linear.bias", &layer.bias)];
    let tensors = tensors.map(|(name, xs)| (name.to_owned(), xs.shallow_clone())).into();
    Module { kind: "Dense", config, tensors }
}

/// Their files, and the list of them.
pub(super) fn write(folder: &mut Folder, modules: &[Module], max_length: usize) -> Result<(), ExportError> {
    let entry = |i: usize, path: &str, kind: &str| {
        json!({ "idx": i, "name": i.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{kind}") })
    };
    let mut list = vec![entry(0, "", "Transformer")];
    for (i, module) in (1..).zip(modules) {
        let path = format!("{i}_{}", module.kind);
        folder.add_text(&format!("{path}/{CONFIG}"), &text(&module.config))?;
        if !module.tensors.is_empty() {
            tensors(folder, &format!("{path}/{TENSORS}"), &module.tensors)?;
        }
        list.push(entry(i, &path, module.kind));
    }
    folder.add_text("modules.json", &text(&list.into()))?;
    let lengths = json!({ "max_seq_length": max_length, "do_lower_case": false });
    folder.add_text("sentence_bert_config.json", &text(&lengths))
}
