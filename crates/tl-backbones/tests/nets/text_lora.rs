//! Low-rank adapters against peft, on the nets of `text.rs`, and the table of text nets. The golden data is made by
//! `tests/golden/make_text_nets.py` at the top of the project.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tch::{Device, Kind};
use tl_backbones::text::{Lora, Packs, TEXT_CARDS, TextConfig, TextSource, find};
use tl_backbones::{Backbone, Mode};
use tl_torch::{Fill, Role};

use crate::formula::{Summary, fill, worst};
use crate::text::{batch, config};

#[derive(Deserialize)]
struct Adapted {
    rank: i64,
    alpha: f64,
    targets: Vec<String>,
    adapters: usize,
    hidden: Summary,
    grads: BTreeMap<String, Summary>,
    merged: BTreeMap<String, Summary>,
}

fn plain(name: &str) -> Backbone {
    let net = Backbone::text(name, &config(name), Device::Cpu, Fill::Later).unwrap();
    fill(&net.store);
    net
}

#[test]
fn adapters_equal_those_of_peft_and_merge() {
    let nets: BTreeMap<String, Adapted> =
        serde_json::from_str(include_str!("../data/text_lora.json")).unwrap();
    for (name, golden) in nets {
        let base = plain(&name);
        let (xs, mask) = batch(&name);
        let mode = Mode { mask: Some(&mask), ..Mode::EVAL };
        let real = mask.to_kind(Kind::Float).unsqueeze(2);
        let run = |net: &Backbone| net.forward(&xs, 0..net.stages.len(), |_| mode) * &real;

        let Adapted { rank, alpha, targets, .. } = golden;
        let lora = Lora { rank, alpha, dropout: 0.0, targets };
        let net = base.with_lora(&lora, 1).unwrap();
        // B begins as zero, A does not.
        assert!(run(&net).allclose(&run(&base), 1e-6, 1e-6, false), "{name}");
        let adapters: Vec<_> = net.store.iter().filter(|param| param.role == Role::Adapter).collect();
        assert_eq!(adapters.len(), golden.adapters, "{name}");
        for param in &adapters {
            assert_eq!(
                param.name.ends_with("lora_B.weight"),
                param.tensor.count_nonzero(None).int64_value(&[]) == 0
            );
        }

        fill(&net.store);
        for param in net.store.iter() {
            let _ = param.tensor.set_requires_grad(param.role == Role::Adapter);
        }
        let ys = run(&net);
        let difference = worst(&ys, &golden.hidden);
        assert!(difference < 1e-4, "{name}: {difference:e}");
        ys.square().sum(Kind::Float).backward();
        for (param, golden) in &golden.grads {
            let difference = worst(&net.store.get(param).unwrap().tensor.grad(), golden);
            assert!(difference < 1e-3, "{name} {param}: {difference:e}");
        }

        // With packed layers where there is no adapter, and plain ones where there is.
        let packs = Packs::new(false).unwrap();
        let mode = Mode { packs: Some(&packs), ..mode };
        let packed = tch::no_grad(|| net.forward(&xs, 0..net.stages.len(), |_| mode) * &real);
        let difference = worst(&packed, &golden.hidden);
        assert!(difference < 1e-4, "{name}, packed: {difference:e}");

        let merged = net.merged().unwrap();
        let names = |net: &Backbone| net.store.iter().map(|param| param.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&merged), names(&base), "{name}");
        for (param, golden) in &golden.merged {
            let difference = worst(&merged.store.get(param).unwrap().tensor, golden);
            assert!(difference < 1e-5, "{name} {param}: {difference:e}");
        }
        assert!(run(&merged).allclose(&ys, 1e-3, 1e-4, false), "{name}");
    }
}

#[test]
fn an_adapter_is_a_layer_behind_the_one_it_adapts() {
    for name in ["bert", "distilbert", "roberta", "electra", "gpt2", "t5"] {
        let base = plain(name);
        let lora = Lora::usual(config(name).family);
        let net = base.with_lora(&lora, 1).unwrap();
        let adapters: Vec<_> =
            net.observe_text(5).layers.into_iter().filter(|layer| layer.kind == "LoRA").collect();
        assert_eq!(adapters.len(), lora.targets.len() * (net.stages.len() - 1), "{name}");
        assert!(
            adapters.iter().all(|layer| layer.name.ends_with(".lora") && layer.params.len() == 2),
            "{name}"
        );
        for (i, stage) in net.stages.iter().enumerate() {
            let inside = adapters.iter().filter(|layer| layer.stage == i);
            assert!(inside.clone().all(|layer| stage.params().contains(&layer.params.start)), "{name}");
            assert_eq!(inside.count() > 0, i > 0, "{name}");
        }
    }
}

#[test]
fn adapters_that_do_not_fit_say_all_that_is_wrong() {
    let lora = Lora { rank: 0, alpha: -1.0, dropout: 1.0, targets: vec!["query".into(), "q_proj".into()] };
    let error = plain("bert").with_lora(&lora, 1).unwrap_err().to_string();
    for part in ["rank 0", "alpha -1", "dropout 1", "`q_proj`", "dense, key, query, value"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let lora = Lora::usual(config("bert").family);
    let adapted = plain("bert").with_lora(&lora, 1).unwrap();
    assert!(adapted.with_lora(&lora, 1).unwrap_err().to_string().contains("adapters already"));
}

#[derive(Deserialize)]
struct Known {
    config: TextConfig,
    params: usize,
}

#[test]
fn the_table_of_text_nets_is_true() {
    let known: BTreeMap<String, Known> =
        serde_json::from_str(include_str!("../data/text_cards.json")).unwrap();
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for card in TEXT_CARDS {
        for name in card.aliases.iter().chain([&card.name]) {
            assert!(names.insert(*name), "{name} comes twice");
            assert_eq!(find(name).unwrap().name, card.name);
        }
        let Known { config, params } = &known[card.name];
        let net = Backbone::text(card.name, config, Device::Cpu, Fill::Shapes).unwrap();
        assert_eq!(net.store.count(), *params, "{}", card.name);
        if card.params != *params {
            wrong.push(format!("{}: {params}", card.name));
        }
        let says = (card.family, card.layers, card.width);
        assert_eq!(says, (config.family, config.layers, config.width), "{}", card.name);
        assert!(config.max_tokens().is_none_or(|most| most == card.max_tokens), "{}", card.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(TEXT_CARDS.len(), known.len());
}

#[test]
fn names_are_cards_repositories_or_folders() {
    assert_eq!(TextSource::resolve("bert-base-uncased").unwrap().name, "google-bert/bert-base-uncased");
    assert!(TextSource::resolve("owner/net@abc").unwrap().card.is_none());
    assert_eq!(TextSource::resolve("hf://owner/net").unwrap().name, "owner/net");
    let pinned = TextSource::resolve("bert-base-uncased@abc").unwrap();
    assert!(pinned.card.is_none() && pinned.name == "google-bert/bert-base-uncased@abc");
    for name in ["no-such-net", "a/b/c", "../x", "", "owner/net@"] {
        let error = TextSource::resolve(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no text net `{name}`")), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    let error = TextSource::resolve(path).unwrap_err().to_string();
    assert!(
        error.contains("pytorch_model.bin or pytorch_model.bin.index.json; tokenizer.json or vocab.txt"),
        "{error}"
    );
    std::fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    std::fs::write(dir.path().join("vocab.txt"), "").unwrap();
    let cache = tl_weights::Cache::open(dir.path().join("cache"));
    let files = TextSource::resolve(path).unwrap().fetch(&cache, &tl_weights::quiet).unwrap();
    assert!(files.weights.path.ends_with("pytorch_model.bin") && files.tokenizer.path.ends_with("vocab.txt"));
    assert!(files.config().unwrap_err().to_string().contains("no `model_type`"));
}
