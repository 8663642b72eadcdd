//! A net of texts on random weights and made-up texts: features, embeddings of many texts, and steps of training.
//!
//! The decision behind it: lengths come from formulas that the scripts of the peers have too, so both sides compute the same
//! tokens and fill up as much as each of them does.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use tl_backbones::text::TextConfig;
use tl_backbones::{Backbone, Dropout, Mode};
use tl_heads::{Pool, Task};
use tl_text::tokens::{Encoded, Tokens};
use tl_torch::Fill;
use tl_train::{Compute, Model, NewHead, embed_texts, text_tensor};

use crate::nets::train;
use crate::{Group, Work, rate};

/// The sizes of all-MiniLM-L6-v2.
const MINILM: &str = r#"{ "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
    "num_attention_heads": 12, "intermediate_size": 1536, "max_position_embeddings": 512, "type_vocab_size": 2,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1 }"#;
const LONGEST: usize = 128;
const WAYS: [(&str, bool); 2] = [("f32", false), ("bf16", true)];

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
    groups.extend(["last stage", "half", "all"].map(steps));
    groups
}

/// Pooled features, without gradients.
fn features(word: &str, texts: fn() -> Encoded) -> Group {
    Group {
        names: WAYS.iter().map(|(way, _)| format!("{word} minilm {way}")).collect(),
        unit: "texts/s",
        make: Box::new(move |chosen| {
            let wanted = WAYS.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            wanted
                .map(|((_, bf16), _)| {
                    let mut model = model()?;
                    model.compute = Compute { bf16: *bf16, ..Compute::default() };
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
fn steps(part: &'static str) -> Group {
    Group {
        names: WAYS.iter().map(|(way, _)| format!("step minilm {part} {way}")).collect(),
        unit: "texts/s",
        make: Box::new(move |chosen| {
            let model = Rc::new(model()?);
            let stages = model.stages();
            let from = match part {
                "all" => 0,
                "half" => stages / 2,
                _ => stages - 1,
            };
            let ways = WAYS.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            ways.map(|((_, bf16), _)| step(&model, from, *bf16)).collect()
        }),
    }
}

fn step(model: &Rc<Model>, from: usize, bf16: bool) -> anyhow::Result<Work> {
    let encoded = few();
    let places: Vec<u32> = (0..encoded.texts.len() as u32).collect();
    let input = text_tensor(&encoded, &places, Device::Cpu)?;
    let frozen = Mode { mask: input.mask.as_ref(), ..Mode::EVAL };
    let xs = tch::no_grad(|| model.forward(&input.xs, 0, from, |_| frozen));
    let labels = Tensor::arange(places.len() as i64, (Kind::Int64, Device::Cpu)).remainder(2);
    Ok(train(model, from, bf16, labels, move |model, seed| {
        let dropout = Some(Dropout { hidden: 0.1, attention: 0.0, seed });
        let mode = Mode { dropout, mask: input.mask.as_ref(), ..Mode::EVAL };
        model.forward(&xs, from, model.stages(), |_| mode)
    }))
}
