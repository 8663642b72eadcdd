//! `--lora`: adapters train, the net stays, and what is left serves as any model does, here and in peft.

use std::fs;
use std::path::Path;

use crate::support::{epochs, interrupt, is_epoch, json, run};
use crate::texts::{table, tiny_net};

const WORDS: [&str; 8] =
    ["finetune", "--task", "text", "--data", "reviews.csv", "--backbone", "tiny", "--preset"];

/// Names, and the bytes of each tensor.
fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let value = |about: &serde_json::Value| {
        let at = |i: usize| 8 + length + about["data_offsets"][i].as_u64().unwrap() as usize;
        bytes[at(0)..at(1)].to_vec()
    };
    tensors.map(|(name, about)| (name.clone(), value(about))).collect()
}

#[test]
fn adapters_train_in_place_of_the_net() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    table(dir, 60);
    let words = |run: &'static str| {
        let more = ["ulmfit", "--lora", "2", "--lora-dropout", "0.1", "--lora-targets", "query,dense"];
        let more = [&more[..], &["--epochs", "2,2,60", "--batch", "4", "--checkpoint-every", "0"]].concat();
        [&WORDS[..], &more, &["--run", run]].concat()
    };
    let whole = run(dir, &words("whole")).expect_success();
    // Of two layers: queries, outputs of attention and of the perceptron, and its inner layer.
    let count = 2 * 2 * ((16 + 16) + (16 + 16) + (16 + 32) + (32 + 16));
    let said =
        format!("lora       rank 2, alpha 8, dropout 0.1, on query, dense: {count} parameters beside ");
    assert!(whole.stderr.contains(&said), "{}", whole.stderr);
    let plan = fs::read_to_string(dir.join("whole/plan.txt")).unwrap();
    assert!(plan.contains(&(count + 34).to_string()) && !plan.contains("embeddings"), "{plan}");

    // What peft reads, and beside it a model like any other.
    let config = json(&dir.join("whole/adapter/adapter_config.json"));
    assert_eq!((&config["r"], &config["lora_alpha"]), (&2.into(), &8.0.into()));
    // `dense` alone would mean the pooler of the published net too.
    let targets = config["target_modules"].as_array().unwrap();
    assert!(targets.len() == 8 && targets.contains(&"encoder.layer.0.output.dense".into()), "{config}");
    let adapters = tensors(&dir.join("whole/adapter/adapter_model.safetensors"));
    assert_eq!(adapters.len(), 16);
    assert!(adapters.iter().all(|(name, values)| name.starts_with("base_model.model.encoder.layer.")
        && values.iter().any(|byte| *byte != 0)));
    let before: std::collections::BTreeMap<_, _> =
        tensors(&dir.join("tiny/model.safetensors")).into_iter().collect();
    for (name, values) in tensors(&dir.join("whole/model.safetensors")) {
        let Some(before) = before.get(&name) else {
            assert!(name.starts_with("head."), "{name}");
            continue;
        };
        let adapted = name.ends_with("query.weight") || name.ends_with("dense.weight");
        assert_eq!(adapted, values != *before, "{name}");
    }
    run(dir, &["predict", "whole", "the film is good"]).expect_success();

    // Stopped where the adapters of both layers train; the checkpoint has nothing of the net.
    let stopped = interrupt(dir, &words("stopped"), |line| is_epoch(line, "all"));
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    let kept = tensors(&dir.join("stopped/checkpoint.safetensors"));
    let of_weights = kept.iter().filter(|(name, _)| name.starts_with("weights/"));
    assert!(of_weights.clone().count() == 18 && kept.len() == 4 * 18, "{}", kept.len());
    run(dir, &["finetune", "--resume", "stopped"]).expect_success();
    assert_eq!(epochs(&dir.join("stopped")), epochs(&dir.join("whole")));
    for file in ["model.safetensors", "adapter/adapter_model.safetensors", "adapter/head.safetensors"] {
        let bytes = |run: &str| fs::read(dir.join(run).join(file)).unwrap();
        assert!(bytes("stopped") == bytes("whole"), "{file}: other bits");
    }
}

#[test]
fn what_is_wrong_with_adapters_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    table(dir, 20);
    let bad = ["--lora", "99", "--lora-alpha", "0", "--lora-dropout", "1", "--lora-targets", "query,q_proj"];
    run(dir, &[&WORDS[..7], &bad].concat()).expect_error(&[
        "rank 99, expected 1 to 16",
        "alpha 0, expected a number above 0",
        "dropout 1, expected 0 up to but not 1",
        "no linear layer is called `q_proj`, there are dense, key, query, value",
    ]);
    run(dir, &[&WORDS[..7], &["--lora-alpha", "4", "--lora-targets", "query"]].concat())
        .expect_error(&["--lora-alpha is given without --lora", "--lora-targets is given without --lora"]);
    run(dir, &["finetune", "--lora"]).expect_error(&["--lora is for texts"]);
}
