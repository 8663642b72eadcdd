//! A model comes back from its two files as it was: every kind of net, head and detail that a file has to carry.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, find};
use tl_data::Preprocess;
use tl_heads::Task;
use tl_torch::{Fill, Role, channels_last};
use tl_train::{Model, NewHead, Pretrained, SavedModel};

fn pretrained() -> Pretrained {
    let text = |text: &str| text.to_owned();
    Pretrained { name: text("file"), source: text("x"), sha256: text("0"), licence: text("unknown") }
}

/// Builds, saves and loads a model, and compares the outputs of both.
fn survives(net: &str, row: &str, head: &str, task: Task, dir: &Path) -> serde_json::Value {
    let card = find(net).unwrap();
    let weights = card.find_weights(row).unwrap();
    let backbone = Backbone::for_weights(card, weights, Device::Cpu, Fill::Seed(1)).unwrap();
    let head = NewHead { spec: head.parse().unwrap(), task, dropout: 0.1, fill: Fill::Seed(2) };
    let classes: Vec<String> = (0..task.names()).map(|i| format!("class {i}")).collect();
    let size = 64 / card.multiple() * card.multiple();
    let preprocess = Preprocess::imagenet(size.max(card.min_size));
    let model = Model::new(backbone, head, classes, preprocess, Device::Cpu).unwrap();
    // Running statistics of a head that has trained.
    for param in model.head.store.iter().filter(|param| param.role == Role::Buffer) {
        let _ = tch::no_grad(|| param.tensor.shallow_clone().uniform_(0.5, 1.5));
    }
    let saved = SavedModel::write(&model, weights.name, Vec::new(), pretrained(), "test", dir).unwrap();
    let json = serde_json::to_value(&saved).unwrap();
    std::fs::write(dir.join("model.json"), json.to_string()).unwrap();
    let (again, loaded) = SavedModel::load(dir, Device::Cpu).unwrap();
    assert_eq!(again, saved);
    let side = i64::from(preprocess.input);
    let xs = channels_last(&Tensor::rand([2, 3, side, side], (Kind::Float, Device::Cpu)));
    assert!(model.logits(&xs, 0).equal(&loaded.logits(&xs, 0)), "{net} {row}");
    json
}

#[test]
fn every_kind_of_net_and_head_survives() {
    let softmax = Task::Softmax { classes: 3 };
    let cases = [
        ("efficientnet-lite0", "in1k", "gap", softmax),
        // Two rows of one net that differ by an epsilon.
        ("mobilenet-v3-small", "lamb-in1k", "max", softmax),
        ("mobilenet-v3-small", "torchvision-v1", "max", softmax),
        // A norm between pooling and head, on either side of the pooling.
        ("convnext-tiny", "", "gap-16", Task::Binary),
        ("convnext-tiny", "", "concat-bn-drop0.25-8-gelu-bn", Task::Binary),
        // Tokens.
        ("vit-small-patch16", "", "cls", softmax),
        ("vit-small-patch16", "", "flatten-4", softmax),
    ];
    for (net, row, head, task) in cases {
        let dir = tempfile::tempdir().unwrap();
        let json = survives(net, row, head, task, dir.path());
        assert_eq!(
            (&json["backbone"], &json["head"], &json["format"]),
            (&net.into(), &head.into(), &3.into())
        );
    }
}

#[test]
fn the_rows_of_a_net_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    survives("mobilenet-v3-small", "torchvision-v1", "gap", Task::Binary, dir.path());
    let logits = || {
        let (_, model) = SavedModel::load(dir.path(), Device::Cpu).unwrap();
        model.logits(&Tensor::ones([1, 3, 64, 64], (Kind::Float, Device::Cpu)), 0)
    };
    let before = logits();
    edit(dir.path(), |json| json["weights"] = "lamb-in1k".into());
    assert!(!logits().equal(&before));
}

fn edit(dir: &Path, change: impl Fn(&mut serde_json::Value)) {
    let path = dir.join("model.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn the_first_format_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    survives("efficientnet-lite0", "in1k", "gap", Task::Softmax { classes: 3 }, dir.path());
    // What format 1 did not have.
    edit(dir.path(), |json| {
        let fields = json.as_object_mut().unwrap();
        fields.remove("outputs");
        fields.remove("weights");
        fields.insert("format".into(), 1.into());
    });
    let (_, model) = SavedModel::load(dir.path(), Device::Cpu).unwrap();
    assert_eq!(model.task, Task::Softmax { classes: 3 });
}

#[test]
fn a_description_that_does_not_fit_is_an_error() {
    let refused = |change: &dyn Fn(&mut serde_json::Value), text: &str| {
        let dir = tempfile::tempdir().unwrap();
        survives("efficientnet-lite0", "in1k", "gap", Task::Binary, dir.path());
        edit(dir.path(), change);
        let error = SavedModel::load(dir.path(), Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    refused(&|json| json["preprocess"]["input"] = 10.into(), "cannot take images of 10 × 10");
    refused(
        &|json| json["outputs"] = serde_json::json!({ "kind": "softmax", "classes": 5 }),
        "do not fit 2 classes",
    );
    refused(
        &|json| json["outputs"] = serde_json::json!({ "kind": "multi-label", "labels": 3 }),
        "do not fit",
    );
    refused(&|json| json["weights"] = "in22k".into(), "no published weights `in22k`");
    refused(&|json| json["head"] = "cls".into(), "takes the class token");
}

#[test]
fn the_scale_of_numbers_survives() {
    let dir = tempfile::tempdir().unwrap();
    survives("efficientnet-lite0", "in1k", "gap", Task::MultiLabel { labels: 1 }, dir.path());
    let json = survives("efficientnet-lite0", "in1k", "gap", Task::Regression { targets: 2 }, dir.path());
    assert!(json.get("target_stats").is_none() && json["task"] == "image-regression", "{json}");
    let outputs = Tensor::from_slice(&[1.0f32, -2.0]).view([1, 2]);
    let set = |mean: &[f64], std: &[f64]| {
        edit(dir.path(), |json| json["target_stats"] = serde_json::json!({ "mean": mean, "std": std }));
        SavedModel::load(dir.path(), Device::Cpu)
    };
    let (saved, model) = set(&[31.5, -2.0], &[4.0, 0.5]).unwrap();
    assert_eq!(model.answers(&outputs), [[35.5, -3.0]]);
    assert_eq!(serde_json::to_value(&saved).unwrap()["target_stats"]["std"][0], 4.0);
    for (mean, std) in [(vec![31.5], vec![4.0]), (vec![0.0; 2], vec![1.0, 0.0])] {
        let error = set(&mean, &std).unwrap_err().to_string();
        assert!(error.contains("is no scale for 2 numbers"), "{error}");
    }
}

#[test]
fn a_temperature_is_for_a_choice_between_classes() {
    let model = |task: Task| {
        let backbone =
            Backbone::new(find("mobilenet-v3-small").unwrap(), Device::Cpu, Fill::Seed(1)).unwrap();
        let head = NewHead { spec: "gap".parse().unwrap(), task, dropout: 0.0, fill: Fill::Seed(2) };
        let names = (0..task.names()).map(|i| i.to_string()).collect();
        Model::new(backbone, head, names, Preprocess::imagenet(64), Device::Cpu).unwrap()
    };
    let xs = channels_last(&Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu)));
    for task in [Task::Softmax { classes: 3 }, Task::Binary] {
        let plain = model(task);
        let logits = plain.logits(&xs, 0);
        let scaled = plain.with_temperature(2.0).unwrap().logits(&xs, 0);
        assert!((logits / 2.0).allclose(&scaled, 1e-6, 1e-7, false));
    }
    for (task, temperature) in
        [(Task::Regression { targets: 1 }, 2.0), (Task::MultiLabel { labels: 2 }, 2.0), (Task::Binary, 0.0)]
    {
        let error = model(task).with_temperature(temperature).unwrap_err().to_string();
        assert!(error.contains(&format!("a temperature of {temperature}")), "{error}");
    }
}
