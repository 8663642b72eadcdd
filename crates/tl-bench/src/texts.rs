//! A net of texts on random weights and made-up texts: features, embeddings of many texts, and steps of training.
//!
//! The decision behind it: lengths come from formulas that the scripts of the peers have too, so both sides compute the same
//! tokens and fill up as much as each of them does.

use tch::Device;
use tl_backbones::text::TextConfig;
use tl_backbones::{Backbone, Mode};
use tl_heads::{Pool, Task};
use tl_text::tokens::{Encoded, Tokens};
use tl_torch::Fill;
use tl_train::{Compute, Model, NewHead, TextInput, embed_texts, text_tensor};

use crate::nets::{WAYS, step_groups};
use crate::{Group, Work, rate};

/// The sizes of all-MiniLM-L6-v2.
const MINILM: &str = r#"{ "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
    "num_attention_heads": 12, "intermediate_size": 1536, "max_position_embeddings": 512, "type_vocab_size": 2,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1 }"#;
const LONGEST: usize = 128;

fn model() -> anyhow::Result<Model> {
    let config = TextConfig::parse(MINILM.as_bytes())?;
    let backbone = Backbone::text("minilm", &config, Device::Cpu, Fill::Seed(1))?;
    let task = Task::Softmax { classes: 2 };
    let head = NewHead { spec: Pool::Average.into(), task, dropout: 0.0, fill: Fill::Seed(1) };
    let model = Model::for_texts(backbone, head, vec!["0".into(), "1".into()], LONGEST, Device::Cpu)?;
    for param in model.tensors() {
        let _ = param.tensor.set_requires_grad(false);
    }
    Ok(model)
}

/// Texts of these lengths.
fn texts(lengths: impl Iterator<Item = usize>) -> Encoded {
    let text = |length: usize| Tokens {
        ids: (0..length).map(|i| 1000 + (i * 7919 + length) as u32 % 29_000).collect(),
        types: vec![0; length],
        words: vec![None; length],
        cut: false,
    };
    Encoded { texts: lengths.map(text).collect(), pad: 0 }
}

/// A batch as an epoch has them, of about the same length.
fn few() -> Encoded {
    texts((0..32).map(|i| 24 + i * 5 % 9))
}

/// Sentences as they come.
fn many() -> Encoded {
    texts((0..512).map(|i| 6 + i * 37 % 53))
}

pub(crate) fn groups() -> Vec<Group> {
    let mut groups = vec![features("forward", few), features("embed", many)];
    groups.extend(steps());
    groups
}

/// Pooled features, without gradients.
fn features(word: &str, texts: fn() -> Encoded) -> Group {
    Group {
        names: WAYS.iter().map(|(way, ..)| format!("{word} minilm {way}")).collect(),
        unit: "texts/s",
        make: Box::new(move |chosen| {
            let wanted = WAYS.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            wanted
                .map(|((_, bf16, compiled), _)| {
                    let mut model = model()?;
                    model.compute = Compute { bf16: *bf16, compiled: *compiled, ..Compute::default() };
                    let texts = texts();
                    let work: Work = Box::new(move || {
                        rate(texts.texts.len(), || {
                            let rows = embed_texts(&model, &texts, &mut |_| true)?;
                            anyhow::ensure!(rows.iter().all(|row| row.len() == 384), "features are missing");
                            Ok(())
                        })
                    });
                    Ok(work)
                })
                .collect()
        }),
    }
}

/// As a phase trains them: with the published dropout, on kept rows of what is below.
fn steps() -> Vec<Group> {
    step_groups("minilm", "texts/s", model, |model, from| {
        let encoded = few();
        let places: Vec<u32> = (0..encoded.texts.len() as u32).collect();
        let TextInput { xs, mask } = text_tensor(&encoded, &places, Device::Cpu)?;
        let frozen = Mode { mask: mask.as_ref(), ..Mode::EVAL };
        let xs = tch::no_grad(|| model.forward(&xs, 0, from, |_| frozen));
        Ok(TextInput { xs, mask })
    })
}
