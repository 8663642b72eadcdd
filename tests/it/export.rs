//! A model leaves: what is written, that a package is as good as a run, that nothing is replaced unasked, and what is refused.
//! That others load it with the same outputs is shown by `tests/export/check.py`.

use std::fs;

use serde_json::Value;

use crate::support::{json, names, run, small_set};

#[test]
fn a_model_leaves_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "sneaker"], 6, 3);
    let fit =
        ["finetune", "--data", "data", "--run", "ours", "--preset", "feature-extraction", "--epochs", "2"];
    run(dir, &[&fit[..], &["--image-size", "64", "--classes", "binary", "--quiet"]].concat())
        .expect_success();
    let export =
        |format: &str, more: &[&str]| run(dir, &[&["export", "ours", "--format", format], more].concat());

    let text = export("onnx", &[]).expect_success().stdout;
    assert!(text.starts_with("wrote      ours.onnx, "), "{text}");
    assert!(text.contains("input      float32 [N, 3, 64, 64], RGB\n"), "{text}");
    assert!(text.contains("output     logits of 2 classes\n"), "{text}");
    assert!(text.contains("licence    Apache-2.0 (weights `"), "{text}");
    let before = fs::read(dir.join("ours.onnx")).unwrap();
    export("onnx", &[]).expect_error(&["`ours.onnx` exists", "--force"]);
    export("onnx", &["--force", "--probabilities"]).expect_success();
    assert!(before != fs::read(dir.join("ours.onnx")).unwrap(), "probabilities are another net");
    export("onnx", &["--force"]).expect_success();
    assert!(before == fs::read(dir.join("ours.onnx")).unwrap(), "the same bytes for the same model");

    let said = export("torchscript", &["--json", "--out", "net.pt"]).expect_success().stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["files"][0]["bytes"], fs::metadata(dir.join("net.pt")).unwrap().len());
    assert_eq!(said["about"]["classes"], serde_json::json!(["bag", "sneaker"]));
    assert!(said["difference"].as_f64().unwrap() < 1e-4, "{said}");

    export("safetensors", &[]).expect_success();
    let config = json(&dir.join("ours-timm/config.json"));
    assert_eq!(
        (&config["architecture"], &config["num_classes"]),
        (&"tf_efficientnet_lite0".into(), &1.into())
    );
    assert_eq!(config["pretrained_cfg"]["input_size"], serde_json::json!([3, 64, 64]));
    export("safetensors", &[]).expect_error(&["`ours-timm` exists"]);

    export("package", &[]).expect_success();
    let inside = [
        "LICENCE.txt",
        "README.md",
        "classes.txt",
        "model.json",
        "model.safetensors",
        "spec.json",
        "tl.json",
    ];
    assert_eq!(names(&dir.join("ours.tl")), inside);
    let card = fs::read_to_string(dir.join("ours.tl/README.md")).unwrap();
    assert!(card.starts_with("---\nlicense: apache-2.0\n"), "{card}");
    for part in [
        "`bag`, `sneaker`",
        "12 training, 6 validation",
        "| val (6) | accuracy | ",
        " to ",
        "## Intended use",
    ] {
        assert!(card.contains(part), "`{part}` is not in:\n{card}");
    }
    let ask = |model: &str| {
        run(dir, &["predict", model, "data/val", "--raw", "--precision", "f32"]).expect_success().stdout
    };
    assert_eq!(ask("ours"), ask("ours.tl"));
    run(dir, &["evaluate", "ours.tl", "data/val"]).expect_success();

    // What was there and is not ours stays.
    fs::write(dir.join("ours.tl/note.txt"), "mine").unwrap();
    fs::write(dir.join("ours.tl/README.md"), "old").unwrap();
    export("package", &["--force"]).expect_success();
    assert_eq!(fs::read_to_string(dir.join("ours.tl/README.md")).unwrap(), card);
    assert_eq!(fs::read_to_string(dir.join("ours.tl/note.txt")).unwrap(), "mine");
    let here = names(dir);
    assert_eq!(here, ["data", "net.pt", "ours", "ours-timm", "ours.onnx", "ours.tl"]);

    export("package", &["--probabilities"]).expect_error(&["--probabilities is for TorchScript and ONNX"]);
    let whole = fs::read(dir.join("ours.tl/model.safetensors")).unwrap();
    fs::write(dir.join("ours.tl/model.safetensors"), &whole[..whole.len() - 1]).unwrap();
    run(dir, &["export", "ours.tl", "--format", "onnx", "--out", "x"]).expect_error(&["sha256", "hint: "]);
    let newer =
        fs::read_to_string(dir.join("ours/model.json")).unwrap().replacen("\"format\": ", "\"format\": 9", 1);
    fs::write(dir.join("ours.tl/model.json"), newer).unwrap();
    run(dir, &["export", "ours.tl", "--format", "onnx", "--out", "x"])
        .expect_error(&["has format 9", "newer"]);
    assert_eq!(names(dir), here);
}

#[test]
fn what_timm_has_no_words_for_is_refused_with_what_works() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "sneaker"], 2, 1);
    let fit =
        ["finetune", "--data", "data", "--run", "ours", "--preset", "feature-extraction", "--epochs", "1"];
    run(dir, &[&fit[..], &["--image-size", "64", "--head", "concat-16", "--quiet"]].concat())
        .expect_success();
    run(dir, &["export", "ours", "--format", "safetensors"])
        .expect_error(&["its head is `concat-16`", "hint: --format torchscript and --format onnx"]);
    run(dir, &["export", "--backbone", "efficientnet-lite0", "--format", "package"])
        .expect_error(&["--format package is for a run"]);
    run(dir, &["export", "--backbone", "dinov2-small", "--format", "onnx"]).expect_error(&["dinov2-small"]);
    assert_eq!(names(dir), ["data", "ours"]);
}
