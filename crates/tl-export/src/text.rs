//! Text nets as they leave: tokens in, pooled features out.
//!
//! The decision behind it: nothing in the pass is taken from the sizes of a batch. Places of tokens are counted in the
//! pass itself, and every text has a mask, so the recording takes texts of any number and length.

use tch::{Device, Kind, Tensor};
use tl_backbones::Mode;
use tl_train::Model;

/// What tokens look like that stand for texts.
pub(crate) struct Tokens {
    pub(crate) vocabulary: i64,
    /// The most of a text.
    pub(crate) most: i64,
    /// Whether segments are told apart.
    pub(crate) types: bool,
}

impl Tokens {
    /// `n` texts of up to `tokens` tokens, each shorter than the one before it, as far as that goes: ids, mask, segments.
    pub(crate) fn inputs(&self, n: i64, tokens: i64, name: &str, device: Device) -> Vec<Tensor> {
        let t = tokens.min(self.most).max(1);
        let drawn = tl_torch::uniform(1, name, (n * t) as usize, 0.5);
        let ids: Vec<i64> =
            drawn.iter().map(|x| ((f64::from(*x) + 0.5) * self.vocabulary as f64) as i64).collect();
        let ids = Tensor::from_slice(&ids).clamp(0, self.vocabulary - 1).view([n, t]);
        let places = Tensor::arange(t, (Kind::Int64, Device::Cpu));
        let lengths: Vec<i64> = (0..n).map(|i| (t - 3 * i).max(1)).collect();
        let mask = places.unsqueeze(0).lt_tensor(&Tensor::from_slice(&lengths).unsqueeze(1));
        let mut inputs = vec![ids, mask.to_kind(Kind::Int64)];
        if self.types {
            inputs.push((places.ge(t / 2)).to_kind(Kind::Int64).repeat([n, 1]));
        }
        inputs.into_iter().map(|xs| xs.to_device(device)).collect()
    }
}

/// Ids, mask and, where the net has them, segments, to pooled features.
///
/// # Shapes
/// int64 `[N, T]` to `[N, D]`; to `[N, T, D]` where nothing is pooled.
pub(crate) fn embed(model: &Model, inputs: &[Tensor]) -> Tensor {
    let (ids, mask) = (&inputs[0], inputs[1].to_kind(Kind::Bool));
    // A net without segments looks at its ids alone; one with a single segment looks for that.
    let types = match inputs.get(2) {
        Some(types) => types.shallow_clone(),
        None => ids.zeros_like(),
    };
    let ones = ids.narrow(0, 0, 1).ones_like();
    let positions = ones.cumsum(1, None::<Kind>) - ones;
    let mode = Mode { mask: Some(&mask), positions: Some(&positions), ..Mode::EVAL };
    model.forward(&Tensor::stack(&[ids, &types], 2), 0, model.stages(), |_| mode)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};
    use tl_backbones::Backbone;
    use tl_backbones::text::TextConfig;
    use tl_heads::Task;
    use tl_torch::{Fill, Traced};
    use tl_train::{NewHead, Pretrained};

    use super::*;
    use crate::{ABOUT, About, Existing, Net};

    /// What the small nets have in common, in BERT's words.
    pub(crate) fn bert(family: &str) -> Value {
        json!({ "model_type": family, "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40, "type_vocab_size": 2,
            "pad_token_id": 1, "embedding_size": 8 })
    }

    pub(crate) fn model(config: &Value, head: &str, task: Task) -> Model {
        let config = TextConfig::parse(config.to_string().as_bytes()).unwrap();
        let backbone = Backbone::text("small", &config, Device::Cpu, Fill::Seed(1)).unwrap();
        let task = match task {
            Task::Softmax { classes } if head.starts_with("tokens") => {
                Task::Tagging { tags: classes, entities: true }
            }
            task => task,
        };
        let head = NewHead { spec: head.parse().unwrap(), task, dropout: 0.1, fill: Fill::Seed(2) };
        let names = match task {
            Task::Tagging { .. } => ["O", "B-X", "I-X"].map(str::to_owned).to_vec(),
            _ => (0..task.names()).map(|i| format!("class {i}")).collect(),
        };
        Model::for_texts(backbone, head, names, 24, Device::Cpu).unwrap()
    }

    pub(crate) fn pretrained() -> Pretrained {
        let [name, source, licence] = ["small", "nowhere", "unknown"].map(str::to_owned);
        Pretrained { name, source, sha256: "0".repeat(64), licence }
    }

    /// The model itself, without places and as short as it is, is what a recording has to equal.
    #[test]
    fn torchscript_takes_texts_of_any_number_and_length() {
        let dir = tempfile::tempdir().unwrap();
        let gpt2 = json!({ "model_type": "gpt2", "vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2,
            "n_positions": 40 });
        let t5 = json!({ "model_type": "t5", "vocab_size": 50, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2,
            "num_heads": 2, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12 });
        for (i, (config, head, inputs)) in
            [(bert("bert"), "gap-bn-8-gelu", 3), (gpt2, "last", 2), (t5, "max", 2)].into_iter().enumerate()
        {
            let model = model(&config, head, Task::Softmax { classes: 3 });
            let net = Net::of(&model, pretrained(), "0.1.0", false).unwrap();
            let path = dir.path().join(format!("{i}.pt"));
            net.record().unwrap().torchscript(&path, Existing::Keep).unwrap();
            let (loaded, about) = Traced::load(&path, ABOUT).unwrap();
            assert_eq!(serde_json::from_str::<About>(&about).unwrap(), net.about);
            assert_eq!(net.about.text.as_ref().unwrap().inputs.len(), inputs);
            for (n, t) in [(1, 1), (4, 30)] {
                let tokens = Tokens { vocabulary: 50, most: 40, types: inputs == 3 };
                let given = tokens.inputs(n, t, "test", Device::Cpu);
                let got = loaded.run_all(&given.iter().collect::<Vec<_>>()).unwrap();
                for row in 0..n {
                    let real = given[1].get(row).sum(Kind::Int64).int64_value(&[]);
                    let one = |i: usize| given[i].get(row).narrow(0, 0, real).unsqueeze(0);
                    let types = if inputs == 3 { one(2) } else { one(0).zeros_like() };
                    let xs = Tensor::stack(&[one(0), types], 2);
                    let pooled = model.forward(&xs, 0, model.stages(), |_| Mode::EVAL);
                    let expected = model.head.forward(&pooled, None);
                    assert!(
                        expected.allclose(&got.get(row).unsqueeze(0), 1e-4, 1e-5, false),
                        "{config} {n} {t}"
                    );
                }
            }
        }
    }
}
